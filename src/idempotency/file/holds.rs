//! Claims whose leases this process prolongs by itself, so that an event loop that is blocked does not lose them.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::ledger::ClaimName;
use crate::idempotency::Digest;

/// As long as no process runs.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Names one user of the store in this process; with it end its holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session(pub u64);

#[derive(Debug)]
struct Hold {
    name: ClaimName,
    session: Session,
    lease: Duration,
    renew_at: Instant,
    until: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<HashMap<Digest, Hold>>);

impl Holds {
    /// Keeps up a claim for so long from now.
    pub fn add(&self, name: ClaimName, session: Session, lease: Duration, hold: Duration) {
        let now = Instant::now();
        let until = now + hold.min(LONGEST);
        let hold = Hold { name, session, lease, renew_at: now + lease.min(LONGEST) / 2, until };
        self.0.lock().insert(name.key, hold);
    }

    /// The owner has renewed it by itself.
    pub fn renewed(&self, name: &ClaimName, lease: Duration) {
        if let Some(hold) = self.0.lock().get_mut(&name.key).filter(|hold| hold.name == *name) {
            hold.lease = lease;
            hold.renew_at = Instant::now() + lease.min(LONGEST) / 2;
        }
    }

    /// The owner ends the claim, or tries to; or it was lost.
    pub fn let_go(&self, name: &ClaimName) {
        let mut holds = self.0.lock();
        if holds.get(&name.key).is_some_and(|hold| hold.name == *name) {
            holds.remove(&name.key);
        }
    }

    /// A user of the store is gone.
    pub fn let_go_of(&self, session: Session) {
        self.0.lock().retain(|_, hold| hold.session != session);
    }

    /// What has to be renewed now. It comes again after a quarter of its lease, unless it was renewed.
    pub fn take_due(&self) -> Vec<(ClaimName, Duration)> {
        let now = Instant::now();
        let mut holds = self.0.lock();
        holds.retain(|_, hold| hold.until > now);
        let due = holds.values_mut().filter(|hold| hold.renew_at <= now);
        due.map(|hold| {
            hold.renew_at = now + hold.lease.min(LONGEST) / 4;
            (hold.name, hold.lease)
        })
        .collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}
