//! Records that are settled: how a claim ended, until nobody can come back to it.
#![forbid(unsafe_code)]

use super::Vacant;
use super::batch::BatchId;
use crate::clock::Millis;
use crate::idempotency::digest::Digest;
use crate::idempotency::record::{Answer, Claim, Differs, Outcome, Progress};
use crate::idempotency::request::Identified;

/// Bytes that a record costs beside its answer: digests, expiry and its place in the tables, rounded up.
pub(super) const RECORD_OVERHEAD: u64 = 512;

#[derive(Debug)]
pub(super) struct Settled {
    pub(super) request: Asked,
    pub(super) fence: u64,
    pub(super) until: Millis,
    pub(super) end: End,
    /// With which others it is dropped.
    pub(super) batch: BatchId,
}

/// A request without its key, under which the table has it already: a million records are 32 MB smaller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    fingerprint: Digest,
    identity: Digest,
    pub(super) name: Digest,
}

#[derive(Debug)]
pub(super) enum End {
    Completed(Answer),
    NotReplayable,
    /// Nothing, but for the fence, since the next claim's must be higher, and the progress that was saved.
    Free(Option<Progress>),
}

impl Settled {
    pub(super) fn answer(&self, claim: &Claim) -> Result<Outcome, Vacant> {
        let outcome = match &self.end {
            End::Free(progress) => {
                return Err(Vacant { last_fence: self.fence, progress: progress.clone() });
            }
            End::Completed(answer) => Outcome::Completed(answer.clone()),
            End::NotReplayable => Outcome::NotReplayable,
        };
        let kept = self.request.under(claim.request.key);
        Ok(Differs::between(&kept, &claim.request).map_or(outcome, Outcome::Mismatch))
    }
}

impl Asked {
    fn under(self, key: Digest) -> Identified {
        let Self { fingerprint, identity, name } = self;
        Identified { key, fingerprint, identity, name }
    }
}

impl From<Identified> for Asked {
    fn from(Identified { fingerprint, identity, name, .. }: Identified) -> Self {
        Self { fingerprint, identity, name }
    }
}

impl End {
    /// Whether a full store drops it before others: what costs nobody anything to make, and of a free key the fence.
    pub(super) fn drops_first(&self) -> bool {
        match self {
            Self::Completed(answer) => answer.drops_first(),
            Self::Free(progress) => progress.is_none(),
            Self::NotReplayable => false,
        }
    }

    /// Bytes that a record with this end counts.
    pub(super) fn size(&self) -> u64 {
        let content = match self {
            Self::Completed(answer) => answer.size(),
            Self::Free(Some(progress)) => progress.len(),
            Self::NotReplayable | Self::Free(None) => 0,
        };
        RECORD_OVERHEAD + content as u64
    }
}
