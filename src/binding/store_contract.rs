//! The store contract over the memory store: what `claim`, `complete` and their siblings of the TypeScript interface
//! do, one crossing each. The middleware takes the shorter way of `desk`; checkpoints and wrapped stores come here.
#![expect(clippy::needless_pass_by_value, reason = "napi hands over owned values")]

use napi::bindgen_prelude::{Buffer, BufferSlice, Latin1String};
use napi_derive::napi;

use super::idempotency::{NativeMemoryStore, digest, millis, number, whole};
use crate::idempotency::{
    Answer, Claim, Differs, DigestBuilder, Identified, Outcome, Owner, Settlement, Written,
};

/// A request to become the owner of a key; all names are digests in hexadecimal but the owner's, which is any text.
#[napi(object, object_to_js = false)]
pub struct NativeClaimRequest {
    /// Which record.
    pub key: String,
    /// What is asked for.
    pub fingerprint: String,
    /// Who asks.
    pub identity: String,
    /// Who claims.
    pub owner: String,
    /// Milliseconds that the claim holds without renewal.
    pub lease_ms: f64,
    /// Milliseconds that what becomes of it is kept.
    pub retention_ms: f64,
    /// Whether an indeterminate record counts as free.
    pub over_indeterminate: bool,
}

/// The answer to a claim: `outcome`, and what goes with it.
#[napi(object, object_from_js = false)]
pub struct NativeClaimOutcome {
    /// `claimed`, `completed`, `in-progress`, `not-replayable`, `indeterminate`, `mismatch` or `full`.
    pub outcome: &'static str,
    /// Of `claimed`.
    pub fence: Option<f64>,
    /// Of `claimed`, where an earlier claim saved any.
    pub progress: Option<Buffer>,
    /// Of `completed`, one character a byte.
    pub head: Option<String>,
    /// Of `completed`.
    pub body: Option<Buffer>,
    /// Of `in-progress`.
    pub lease_left_ms: Option<f64>,
    /// Of `mismatch`: `fingerprint` or `identity`.
    pub differs: Option<&'static str>,
}

/// A claim that is held.
#[napi(object, object_to_js = false)]
pub struct NativeClaimRef {
    /// Its key.
    pub key: String,
    /// Who holds it.
    pub owner: String,
    /// Its fence.
    pub fence: f64,
}

#[napi]
impl NativeMemoryStore {
    /// Makes the claimant the owner of the key, or says why not.
    #[napi(catch_unwind)]
    pub fn claim(&self, request: NativeClaimRequest) -> NativeClaimOutcome {
        self.store.claim(&request.into()).into()
    }

    /// Ends a claim with an answer; false if the claim was lost.
    #[napi(catch_unwind)]
    pub fn complete(
        &self,
        claim: NativeClaimRef,
        head: Latin1String,
        body: BufferSlice<'_>,
        retention_ms: f64,
    ) -> bool {
        self.settle(&claim, Settlement::Complete(Answer::new(&head, &body)), retention_ms)
    }

    /// Ends a claim without one: `release`, `not-replayable` or `indeterminate`; false if the claim was lost.
    #[napi(catch_unwind)]
    pub fn end(
        &self,
        claim: NativeClaimRef,
        #[napi(ts_arg_type = "'release' | 'not-replayable' | 'indeterminate'")] how: String,
        retention_ms: f64,
    ) -> bool {
        self.settle(&claim, settlement(&how), retention_ms)
    }

    /// Prolongs a claim's lease; false if the claim was lost.
    #[napi(catch_unwind)]
    pub fn renew(&self, claim: NativeClaimRef, lease_ms: f64) -> bool {
        let written =
            self.store.renew(&digest(&claim.key), owner(&claim.owner), whole(claim.fence), millis(lease_ms));
        written == Written::Done
    }

    /// Marks the commit point; false if the claim was lost.
    #[napi(catch_unwind)]
    pub fn commit_point(&self, claim: NativeClaimRef) -> bool {
        let written = self.store.commit_point(&digest(&claim.key), owner(&claim.owner), whole(claim.fence));
        written == Written::Done
    }

    /// Saves progress for the next claim; false if the claim was lost.
    #[napi(catch_unwind)]
    pub fn save(&self, claim: NativeClaimRef, progress: BufferSlice<'_>) -> bool {
        let written = self.store.save(
            &digest(&claim.key),
            owner(&claim.owner),
            whole(claim.fence),
            progress.as_ref().into(),
        );
        written == Written::Done
    }

    fn settle(&self, claim: &NativeClaimRef, settlement: Settlement, retention_ms: f64) -> bool {
        let written = self.store.settle(
            &digest(&claim.key),
            owner(&claim.owner),
            whole(claim.fence),
            settlement,
            millis(retention_ms),
        );
        written == Written::Done
    }
}

impl From<NativeClaimRequest> for Claim {
    fn from(request: NativeClaimRequest) -> Self {
        let key = digest(&request.key);
        Self {
            request: Identified {
                key,
                fingerprint: digest(&request.fingerprint),
                identity: digest(&request.identity),
                // Known to whoever made the key; not part of the contract.
                name: key,
            },
            owner: owner(&request.owner),
            lease: millis(request.lease_ms),
            retention: millis(request.retention_ms),
            over_indeterminate: request.over_indeterminate,
        }
    }
}

impl From<Outcome> for NativeClaimOutcome {
    fn from(outcome: Outcome) -> Self {
        let mut answer = Self {
            outcome: "claimed",
            fence: None,
            progress: None,
            head: None,
            body: None,
            lease_left_ms: None,
            differs: None,
        };
        match outcome {
            Outcome::Claimed { fence, progress } => {
                answer.fence = Some(number(fence));
                answer.progress = progress.map(|progress| progress.to_vec().into());
            }
            Outcome::Completed(kept) => {
                answer.outcome = "completed";
                answer.head = Some(kept.head().iter().copied().map(char::from).collect());
                answer.body = Some(kept.body().to_vec().into());
            }
            Outcome::InProgress { lease_left } => {
                answer.outcome = "in-progress";
                answer.lease_left_ms = Some(lease_left.as_secs_f64() * 1000.0);
            }
            Outcome::Mismatch(differs) => {
                answer.outcome = "mismatch";
                answer.differs =
                    Some(if differs == Differs::Fingerprint { "fingerprint" } else { "identity" });
            }
            Outcome::NotReplayable => answer.outcome = "not-replayable",
            Outcome::Indeterminate => answer.outcome = "indeterminate",
            Outcome::Full => answer.outcome = "full",
        }
        answer
    }
}

pub(super) fn settlement(how: &str) -> Settlement {
    match how {
        "not-replayable" => Settlement::NotReplayable,
        "indeterminate" => Settlement::Indeterminate,
        _ => Settlement::Release,
    }
}

pub(super) fn owner(text: &str) -> Owner {
    let digest = DigestBuilder::new("owner").field(text.as_bytes()).finish();
    let mut half = [0; 16];
    half.copy_from_slice(&digest.0[..16]);
    Owner(u128::from_le_bytes(half))
}
