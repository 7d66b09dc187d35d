//! How long a claim holds by itself: while the thread that made it lives. A thread that is blocked renews no lease, but it
//! is not dead, and what it was asked to do it still does.
#![forbid(unsafe_code)]

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::millis;
use crate::clock::Millis;

thread_local! {
    /// Dropped when the thread ends, however it ends.
    static LIFE: Arc<()> = Arc::new(());
}

/// A thread that makes claims.
#[derive(Clone, Debug)]
pub struct Holder(Weak<()>);

impl Holder {
    /// The thread that asks.
    #[must_use]
    pub fn this_thread() -> Self {
        Self(LIFE.try_with(Arc::downgrade).unwrap_or_default())
    }

    fn lives(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// For whose life, and for how long at most, a claim holds without renewal.
#[derive(Clone, Debug)]
pub struct Hold {
    /// The thread that has to end the claim.
    pub holder: Holder,
    /// From the claim on.
    pub longest: Duration,
}

/// A hold that has begun.
#[derive(Debug)]
pub(super) struct HeldFor {
    holder: Holder,
    until: Millis,
}

impl HeldFor {
    pub(super) fn from(now: Millis, Hold { holder, longest }: Hold) -> Self {
        Self { holder, until: now.saturating_add(millis(longest)) }
    }

    /// Until when the claim holds, as far as can be said now: nothing, once the thread has ended.
    pub(super) fn until(&self) -> Option<Millis> {
        self.holder.lives().then_some(self.until)
    }
}
