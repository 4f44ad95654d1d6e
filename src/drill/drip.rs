//! What a stand-in sends: all at once, or a byte at a time without end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior};

/// How long one byte takes, in the scenario's time.
pub(super) const A_BYTE: Duration = Duration::from_secs(1);

/// The content of an answer.
pub(super) enum Content {
    /// All of it; `None` once it is sent.
    Whole(Option<Bytes>),
    /// A byte at each tick, and blanks when there is no more. Whoever reads it must give up by himself.
    Dripping(Bytes, Interval),
}

impl Content {
    /// Sends all of it.
    pub(super) fn whole(content: String) -> Self {
        Self::Whole(Some(Bytes::from(content)).filter(|content| !content.is_empty()))
    }

    /// Sends a byte at a time; `pause` is in the world's time.
    pub(super) fn dripping(content: String, pause: Duration) -> Self {
        let mut ticks = tokio::time::interval(pause.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Dripping(Bytes::from(content), ticks)
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(content) => Poll::Ready(content.take().map(|content| Ok(Frame::data(content)))),
            Self::Dripping(content, ticks) => ticks.poll_tick(cx).map(|_| {
                let byte = if content.is_empty() { Bytes::from_static(b" ") } else { content.split_to(1) };
                Some(Ok(Frame::data(byte)))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(content) => SizeHint::with_exact(content.as_ref().map_or(0, |content| content.len() as u64)),
            Self::Dripping(..) => SizeHint::default(),
        }
    }
}
