//! Records that are held: claims, and what became of those that nobody knows the end of.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Vacant;
use crate::clock::Millis;
use crate::idempotency::record::{Claim, Differs, Outcome, Owner, Progress};
use crate::idempotency::request::Identified;

#[derive(Debug)]
pub(super) struct Held {
    pub(super) request: Identified,
    pub(super) owner: Owner,
    pub(super) fence: u64,
    pub(super) retention: Millis,
    pub(super) state: HeldState,
    pub(super) progress: Option<Progress>,
    pub(super) waiters: Option<Arc<Notify>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum HeldState {
    Claimed { lease_until: Millis, committed: bool },
    Indeterminate { until: Millis },
}

impl Held {
    pub(super) fn answer(&mut self, claim: &Claim, now: Millis) -> Result<Outcome, Vacant> {
        let Some(state) = self.state_at(now) else {
            return Err(Vacant { last_fence: self.fence, progress: self.progress.clone() });
        };
        // A lease that lapsed behind the commit point has an end from now on, which is final.
        self.state = state;
        if let Some(differs) = Differs::between(&self.request, &claim.request) {
            return Ok(Outcome::Mismatch(differs));
        }
        if matches!(state, HeldState::Indeterminate { .. }) && claim.over_indeterminate {
            return Err(Vacant { last_fence: self.fence, progress: self.progress.clone() });
        }
        Ok(match state {
            HeldState::Claimed { .. } if self.owner == claim.owner => {
                Outcome::Claimed { fence: self.fence, progress: self.progress.clone() }
            }
            HeldState::Claimed { lease_until, .. } => {
                Outcome::InProgress { lease_left: Duration::from_millis(lease_until - now) }
            }
            HeldState::Indeterminate { .. } => Outcome::Indeterminate,
        })
    }

    /// What the record is at a time: a lease that has run out leaves nothing, or an indeterminate record behind the
    /// commit point.
    pub(super) fn state_at(&self, now: Millis) -> Option<HeldState> {
        match self.state {
            HeldState::Claimed { lease_until, .. } if lease_until > now => Some(self.state),
            HeldState::Claimed { committed: false, .. } => None,
            HeldState::Claimed { lease_until, committed: true } => {
                let until = lease_until.saturating_add(self.retention);
                (until > now).then_some(HeldState::Indeterminate { until })
            }
            HeldState::Indeterminate { until } => (until > now).then_some(self.state),
        }
    }

    /// Whether nobody misses it: lapsed for as long again as anyone may come back to it.
    pub(super) fn is_forgettable(&self, now: Millis) -> bool {
        match self.state {
            HeldState::Claimed { lease_until, committed: false } => {
                now > lease_until.saturating_add(self.retention)
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
}
