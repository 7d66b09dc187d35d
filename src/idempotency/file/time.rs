//! The two clocks of a file, both in milliseconds.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds, as `SQLite` counts: signed.
pub(super) type Ms = i64;

/// What time it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Since the host was started. Leases go by it: it is the same for all processes of the host, goes on while the
    /// host sleeps, and no change of the date moves it. That it begins anew with the host does no harm, for the owners
    /// of all leases from before are gone.
    pub uptime: Ms,
    /// Since 1970. Retention goes by it, for records outlive the host's uptime.
    pub date: Ms,
}

impl Now {
    pub fn read() -> Self {
        let date = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, ms);
        Self { uptime: uptime().unwrap_or(date), date }
    }
}

pub(super) fn ms(duration: Duration) -> Ms {
    Ms::try_from(duration.as_millis()).unwrap_or(Ms::MAX)
}

/// A span that began before it ended; otherwise none is left.
pub(super) fn left(until: Ms, now: Ms) -> Duration {
    Duration::from_millis(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
}

#[cfg(unix)]
fn uptime() -> Option<Ms> {
    use rustix::time::{ClockId, clock_gettime};
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    let time = clock_gettime(clock);
    Some(time.tv_sec.checked_mul(1000)? + time.tv_nsec / 1_000_000)
}

/// There is none to be had without unsafe code: the date has to do.
#[cfg(not(unix))]
fn uptime() -> Option<Ms> {
    None
}
