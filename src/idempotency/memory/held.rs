//! Records that are held: claims, and what became of those that nobody knows the end of.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::Vacant;
use super::hold::HeldFor;
use crate::clock::Millis;
use crate::idempotency::record::{Claim, Differs, Outcome, Owner, Progress};
use crate::idempotency::request::Identified;

/// When to look again, in milliseconds, at a claim whose lease is over and whose thread lives: nobody tells when it ends.
const LOOK_AGAIN: Millis = 1_000;

#[derive(Debug)]
pub(super) struct Held {
    pub(super) request: Identified,
    pub(super) owner: Owner,
    pub(super) fence: u64,
    pub(super) retention: Millis,
    pub(super) state: HeldState,
    /// Beyond its lease a claim holds for so long.
    pub(super) hold: Option<HeldFor>,
    pub(super) progress: Option<Progress>,
    pub(super) waiters: Option<Arc<Notify>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum HeldState {
    Claimed { lease_until: Millis, committed: bool },
    Indeterminate { until: Millis },
}

impl Held {
    /// What the record answers to a claim; [`Budgets::end_if_lapsed`] comes first.
    pub(super) fn answer(&self, claim: &Claim, now: Millis) -> Result<Outcome, Vacant> {
        let vacant = || Vacant { last_fence: self.fence, progress: self.progress.clone() };
        let Some(state) = self.state_at(now) else {
            return Err(vacant());
        };
        if let Some(differs) = Differs::between(&self.request, &claim.request) {
            return Ok(Outcome::Mismatch(differs));
        }
        Ok(match state {
            HeldState::Claimed { .. } if self.owner == claim.owner => {
                Outcome::Claimed { fence: self.fence, progress: self.progress.clone() }
            }
            HeldState::Claimed { lease_until, .. } => {
                Outcome::InProgress { lease_left: self.lease_left(lease_until, now) }
            }
            HeldState::Indeterminate { .. } if claim.over_indeterminate => return Err(vacant()),
            HeldState::Indeterminate { .. } => Outcome::Indeterminate,
        })
    }

    /// What the record is at a time: a claim that has lapsed leaves nothing, or an indeterminate record behind the commit
    /// point.
    pub(super) fn state_at(&self, now: Millis) -> Option<HeldState> {
        match self.state {
            HeldState::Claimed { lease_until, committed } => {
                let lapses = self.lapses(lease_until);
                if lapses > now {
                    return Some(self.state);
                }
                let until = lapses.saturating_add(self.retention);
                (committed && until > now).then_some(HeldState::Indeterminate { until })
            }
            HeldState::Indeterminate { until } => (until > now).then_some(self.state),
        }
    }

    /// What is left of the lease; where the claim holds without one, how long to wait for news of its thread.
    pub(super) fn lease_left(&self, lease_until: Millis, now: Millis) -> Duration {
        let look_again = self.lapses(lease_until).min(now.saturating_add(LOOK_AGAIN));
        Duration::from_millis(lease_until.max(look_again).saturating_sub(now))
    }

    /// Whether nobody misses it: lapsed for as long again as anyone may come back to it.
    pub(super) fn is_forgettable(&self, now: Millis) -> bool {
        match self.state {
            HeldState::Claimed { lease_until, committed: false } => {
                now > self.lapses(lease_until).saturating_add(self.retention)
            }
            _ => self.state_at(now).is_none(),
        }
    }

    pub(super) fn is_claim_of(&self, owner: Owner, fence: u64) -> bool {
        matches!(self.state, HeldState::Claimed { .. }) && self.owner == owner && self.fence == fence
    }

    pub(super) fn committed(&self) -> bool {
        matches!(self.state, HeldState::Claimed { committed: true, .. })
    }

    pub(super) fn wake(&self) {
        if let Some(waiters) = &self.waiters {
            waiters.notify_waiters();
        }
    }

    /// When the claim is over, if nobody does anything about it: with its lease, or with its hold if that is longer.
    fn lapses(&self, lease_until: Millis) -> Millis {
        self.hold.as_ref().and_then(HeldFor::until).map_or(lease_until, |until| until.max(lease_until))
    }
}

/// How many records are held. Nothing held is ever dropped, so each kind has room for as many as the limit says, and
/// indeterminate records beyond that take the room of claims: what cannot be decided for a day must not keep out what is
/// decided within a second.
#[derive(Debug)]
pub(super) struct Budgets {
    most: u64,
    claims: Apart,
    indeterminate: Apart,
}

/// Written by every thread, so in a line of the processor's cache in which nothing else is: the others would wait for it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart(AtomicU64);

impl Budgets {
    pub(super) fn new(most: u64) -> Self {
        Self { most, claims: Apart::default(), indeterminate: Apart::default() }
    }

    /// Takes the room of a claim, if there is any.
    pub(super) fn admit(&self) -> bool {
        let over = self.indeterminate.0.load(Ordering::Relaxed).saturating_sub(self.most);
        let admitted = self.claims.0.fetch_add(1, Ordering::Relaxed) < self.most.saturating_sub(over);
        if !admitted {
            self.claims.0.fetch_sub(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Ends a claim of which nobody knows the end.
    pub(super) fn end_unknown(&self, held: &mut Held, until: Millis) {
        self.leave(held);
        self.indeterminate.0.fetch_add(1, Ordering::Relaxed);
        held.state = HeldState::Indeterminate { until };
        held.hold = None;
    }

    /// A claim that lapsed behind its commit point has an end from now on, which is final.
    pub(super) fn end_if_lapsed(&self, held: &mut Held, now: Millis) {
        if let (HeldState::Claimed { .. }, Some(HeldState::Indeterminate { until })) =
            (held.state, held.state_at(now))
        {
            self.end_unknown(held, until);
        }
    }

    /// Gives the room of a record back.
    pub(super) fn leave(&self, held: &Held) {
        let count = match held.state {
            HeldState::Claimed { .. } => &self.claims,
            HeldState::Indeterminate { .. } => &self.indeterminate,
        };
        count.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether room for claims becomes scarce.
    pub(super) fn are_claims_many(&self) -> bool {
        self.claims.0.load(Ordering::Relaxed) > self.most / 2
    }

    pub(super) fn count(&self) -> u64 {
        self.claims.0.load(Ordering::Relaxed) + self.indeterminate.0.load(Ordering::Relaxed)
    }
}
