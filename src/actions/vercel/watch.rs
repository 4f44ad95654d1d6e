//! A deadline for what goes on at Vercel, and how often to look meanwhile.

use std::time::Duration;

use super::is_passing;
use crate::action::{ActionContext, ActionError, ErrorKind};
use crate::base::clock::{after, until};
use crate::base::{HumanDuration, Timestamp};

/// A deadline, and how often to look meanwhile.
pub(super) struct Watch {
    began: Timestamp,
    ends: Timestamp,
    limit: Duration,
}

impl Watch {
    pub(super) fn new(cx: &ActionContext, limit: Duration) -> Self {
        Self { began: cx.now(), ends: after(cx.now(), limit), limit }
    }

    /// As often as Vercel's own command line looks.
    fn rhythm(&self, now: Timestamp) -> Duration {
        Duration::from_secs(match until(self.began, now).as_secs() {
            0..15 => 1,
            15..60 => 5,
            60..300 => 15,
            _ => 30,
        })
    }

    /// Waits until it is time to look again. Fails when the deadline has passed.
    pub(super) async fn pause(&self, cx: &ActionContext, told: &str) -> Result<(), ActionError> {
        self.wait(cx, self.rhythm(cx.now()), told).await
    }

    async fn wait(&self, cx: &ActionContext, wish: Duration, told: &str) -> Result<(), ActionError> {
        let left = until(cx.now(), self.ends);
        if left.is_zero() {
            let limit = HumanDuration(self.limit);
            return Err(ActionError::new(ErrorKind::Timeout, format!("after {limit}, {told}")));
        }
        cx.sleep(wish.min(left)).await
    }

    /// Asks again while the failure may pass by itself: the work goes on at Vercel whether we can see it or not.
    pub(super) async fn insist<T, F>(&self, cx: &ActionContext, ask: impl Fn() -> F) -> Result<T, ActionError>
    where
        F: Future<Output = Result<T, ActionError>>,
    {
        loop {
            match ask().await {
                Err(error) if is_passing(&error) => {
                    cx.progress(format!("waits: {}", error.message));
                    let wish = error.retry_after().unwrap_or_default().max(self.rhythm(cx.now()));
                    self.wait(cx, wish, &error.message).await?;
                }
                settled => return settled,
            }
        }
    }
}
