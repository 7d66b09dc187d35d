//! The clock that decides about leases and expiry.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Milliseconds since a [`Clock`] was made.
pub type Millis = u64;

/// A monotonic clock with a hand: changes of the system's time never move it, and [`Clock::advance`] moves it
/// forward, so that a test of a day's retention takes no day.
#[derive(Debug)]
pub struct Clock {
    origin: Instant,
    advanced: AtomicU64,
}

impl Clock {
    /// A clock that starts at zero, now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now(), advanced: AtomicU64::new(0) }
    }

    /// Milliseconds since this clock was made, plus all that it was advanced by.
    #[must_use]
    pub fn now(&self) -> Millis {
        let elapsed = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        elapsed.saturating_add(self.advanced.load(Ordering::Relaxed))
    }

    /// Moves this clock forward.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let add = |advanced: u64| Some(advanced.saturating_add(millis));
        // The closure always returns a value, so the update cannot fail.
        let _ = self.advanced.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
