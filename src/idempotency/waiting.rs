//! A place among those who wait for the end of a claim.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

/// A place in the queue of those who wait for a key.
#[derive(Debug)]
pub struct Waiting {
    settled: tokio::sync::futures::OwnedNotified,
    lease_left: Duration,
}

impl Waiting {
    /// Takes the place: whoever ends the claim from here on wakes it.
    pub(super) fn new(waiters: &Arc<Notify>, lease_left: Duration) -> Self {
        Self { settled: Arc::clone(waiters).notified_owned(), lease_left }
    }

    /// Ends when the key's claim is settled, or when its lease, as it was when the waiting began, has run out.
    pub async fn done(self) {
        // Either way the caller claims again and learns what happened.
        let _ = tokio::time::timeout(self.lease_left, self.settled).await;
    }
}
