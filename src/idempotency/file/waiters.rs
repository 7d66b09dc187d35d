//! Those who wait in this process for the ends of claims.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ledger::Awaited;
use super::owners::Process;
use super::time::left;
use crate::idempotency::{Digest, Waiting};

#[derive(Debug)]
struct Group {
    notify: Arc<Notify>,
    claim: Awaited,
    until: Instant,
}

/// All of them, by key.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<HashMap<Digest, Group>>);

impl Waiters {
    /// Takes a place among those who wait for a key.
    pub fn enter(&self, key: Digest, claim: Awaited) -> Waiting {
        let lease_left = left(claim.lease_left, 0);
        let until = Instant::now() + lease_left.min(Duration::from_secs(86_400));
        let mut waiting = self.0.lock();
        let group = waiting.entry(key).or_insert_with(|| Group { notify: Arc::default(), claim, until });
        // The claim of those who wait already may have been taken over.
        group.claim = claim;
        group.until = group.until.max(until);
        Waiting::new(&group.notify, lease_left)
    }

    pub fn wake(&self, key: &Digest) {
        if let Some(group) = self.0.lock().remove(key) {
            group.notify.notify_waiters();
        }
    }

    /// Wakes those who wait for a claim of such a process.
    pub fn wake_those_of(&self, mut is_of: impl FnMut(Process) -> bool) {
        self.0.lock().retain(|_, group| {
            let woken = is_of(group.claim.process);
            if woken {
                group.notify.notify_waiters();
            }
            !woken
        });
    }

    /// The claims of other processes that somebody waits for here; those waited for long enough are dropped.
    pub fn abroad(&self, here: &[Process]) -> Vec<(Digest, u64)> {
        let now = Instant::now();
        let mut waiting = self.0.lock();
        waiting.retain(|_, group| group.until > now);
        let abroad = waiting.iter().filter(|(_, group)| !here.contains(&group.claim.process));
        abroad.map(|(key, group)| (*key, group.claim.fence)).collect()
    }

    /// The processes whose claims somebody waits for here.
    pub fn awaited(&self) -> HashSet<Process> {
        self.0.lock().values().map(|group| group.claim.process).collect()
    }
}
