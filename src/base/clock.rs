//! The clocks: the world's own, and one that runs faster for drills.

use std::time::Duration;

use super::BoxFuture;

pub use jiff::Timestamp;

/// Tells the time and waits. Everything that depends on time asks a clock, so that a drill can compress an hour.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Waits for a length of this clock's time.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// How long `duration` of this clock's time takes outside; for limits on calls to the real world.
    fn real(&self, duration: Duration) -> Duration {
        duration
    }
}

impl dyn Clock {
    /// Waits until `at`; returns at once when it has passed.
    pub async fn sleep_until(&self, at: Timestamp) {
        let left = until(self.now(), at);
        if !left.is_zero() {
            self.sleep(left).await;
        }
    }
}

/// The time from `now` to `at`; nothing when `at` has passed.
pub fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// The time `duration` after `start`, held at the end of time rather than failing.
pub fn after(start: Timestamp, duration: Duration) -> Timestamp {
    start.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

/// The time `duration` before `end`, held at the beginning of time rather than failing.
pub fn before(end: Timestamp, duration: Duration) -> Timestamp {
    end.saturating_sub(duration).unwrap_or(Timestamp::MIN)
}

/// The world's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is to ask")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that starts at a chosen time and runs `speed` times as fast as the world's.
#[derive(Debug, Clone)]
pub struct ScaledClock {
    origin: Timestamp,
    began: std::time::Instant,
    speed: f64,
}

impl ScaledClock {
    /// Starts the clock at `origin`. A `speed` below 1 is taken as 1.
    pub fn new(origin: Timestamp, speed: f64) -> Self {
        Self { origin, began: std::time::Instant::now(), speed: speed.max(1.0) }
    }
}

impl Clock for ScaledClock {
    fn now(&self) -> Timestamp {
        after(self.origin, self.began.elapsed().mul_f64(self.speed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration.div_f64(self.speed)))
    }

    fn real(&self, duration: Duration) -> Duration {
        duration.div_f64(self.speed)
    }
}
