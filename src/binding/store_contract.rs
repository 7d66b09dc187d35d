//! The store contract over the memory store: what `claim`, `complete` and their siblings of the TypeScript interface
//! do, one crossing each. The middleware takes the shorter way of `desk`; checkpoints and wrapped stores come here.

use std::sync::Arc;

use napi::bindgen_prelude::{Buffer, BufferSlice, FunctionCallContext, Object, Result, ToNapiValue};
use napi::{Env, sys};
use napi_derive::napi;

use super::idempotency::{Begun, NativeMemoryStore, digest, function, how, millis, number, whole};
use super::text::Room;
use crate::idempotency::{
    Answer, Claim, Differs, Digest, DigestBuilder, Hold, Holder, Identified, MemoryStore, Outcome, Owner,
    Progress, Settlement, Written,
};

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

#[napi]
impl NativeMemoryStore {
    /// The steps of the contract; see `StoreCalls`.
    #[napi(catch_unwind, ts_return_type = "StoreCalls")]
    pub fn contract<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        // Closures, and arguments one by one: methods of a class and objects cost several times what the store does.
        let mut calls = Object::new(env)?;
        let store = Arc::clone(&self.store);
        calls.set("claim", function(env, "claim", move |call| claim(&store, &call))?)?;
        let store = Arc::clone(&self.store);
        calls.set("complete", function(env, "complete", move |call| complete(&store, &call))?)?;
        let store = Arc::clone(&self.store);
        calls.set("end", function(env, "end", move |call| end(&store, &call))?)?;
        let store = Arc::clone(&self.store);
        calls.set("renew", function(env, "renew", move |call| renew(&store, &call))?)?;
        let store = Arc::clone(&self.store);
        calls.set("commitPoint", function(env, "commitPoint", move |call| commit_point(&store, &call))?)?;
        let store = Arc::clone(&self.store);
        calls.set("save", function(env, "save", move |call| save(&store, &call))?)?;
        Ok(calls)
    }
}

/// What a claim answers: what `begin` of a desk does, and the progress of an earlier claim.
enum Claimed {
    Begun(Begun),
    Resumed { fence: u64, progress: Progress },
}

/// `(key, fingerprint, identity, owner, leaseMs, retentionMs, overIndeterminate, holdMs?)`.
fn claim(store: &MemoryStore, call: &FunctionCallContext<'_>) -> Result<Claimed> {
    let claim = claim_from(call, 0)?;
    let hold_ms: Option<f64> = call.get(7)?;
    // By whichever thread calls: the calls of a contract are that thread's own.
    let hold = hold_ms.map(|hold_ms| Hold { holder: Holder::this_thread(), longest: millis(hold_ms) });
    Ok(match store.claim_for(&claim, hold) {
        Outcome::Claimed { fence, progress: Some(progress) } => Claimed::Resumed { fence, progress },
        outcome => Claimed::Begun(Begun::of(outcome)),
    })
}

/// A claim from the arguments from that one on: `(key, fingerprint, identity, owner, leaseMs, retentionMs,
/// overIndeterminate)`. All names are digests in hexadecimal but the owner's, which is any text.
pub(super) fn claim_from(call: &FunctionCallContext<'_>, first: usize) -> Result<Claim> {
    let mut room = Room::new();
    let mut reader = room.reader();
    let key = digest(reader.text(call.get(first)?)?.required()?);
    let request = Identified {
        key,
        fingerprint: digest(reader.text(call.get(first + 1)?)?.required()?),
        identity: digest(reader.text(call.get(first + 2)?)?.required()?),
        // Known to whoever made the key; not part of the contract.
        name: key,
    };
    let owner = owner(reader.text(call.get(first + 3)?)?.required()?);
    let (lease, retention) = (millis(call.get(first + 4)?), millis(call.get(first + 5)?));
    Ok(Claim { request, owner, lease, retention, over_indeterminate: call.get(first + 6)? })
}

/// What names a claim, from the arguments from that one on: `(key, owner, fence)`.
pub(super) fn name_from(call: &FunctionCallContext<'_>, first: usize) -> Result<(Digest, Owner, u64)> {
    let mut room = Room::new();
    let mut reader = room.reader();
    let key = digest(reader.text(call.get(first)?)?.required()?);
    let owner = owner(reader.text(call.get(first + 1)?)?.required()?);
    Ok((key, owner, whole(call.get(first + 2)?)))
}

/// `(key, owner, fence, head, body, retentionMs, dropFirst)`: ends a claim with an answer; whether it still held.
fn complete(store: &MemoryStore, call: &FunctionCallContext<'_>) -> Result<bool> {
    let mut room = Room::new();
    let head = room.reader().latin1(call.get(3)?)?;
    let body: BufferSlice<'_> = call.get(4)?;
    let answer = Answer::new(&head, &body).dropped_first(call.get(6)?);
    settle(store, call, Settlement::Complete(answer), call.get(5)?)
}

/// `(key, owner, fence, how, retentionMs)`: ends a claim without one; whether it still held.
fn end(store: &MemoryStore, call: &FunctionCallContext<'_>) -> Result<bool> {
    settle(store, call, how(call.get(3)?), call.get(4)?)
}

fn settle(
    store: &MemoryStore,
    call: &FunctionCallContext<'_>,
    settlement: Settlement,
    retention_ms: f64,
) -> Result<bool> {
    with_claim(call, |key, owner, fence| {
        Ok(store.settle(key, owner, fence, settlement, millis(retention_ms)))
    })
}

/// `(key, owner, fence, leaseMs)`: prolongs a lease; whether the claim still holds.
fn renew(store: &MemoryStore, call: &FunctionCallContext<'_>) -> Result<bool> {
    with_claim(call, |key, owner, fence| Ok(store.renew(key, owner, fence, millis(call.get(3)?))))
}

/// `(key, owner, fence)`: marks the commit point; whether the claim still holds.
fn commit_point(store: &MemoryStore, call: &FunctionCallContext<'_>) -> Result<bool> {
    with_claim(call, |key, owner, fence| Ok(store.commit_point(key, owner, fence)))
}

/// `(key, owner, fence, progress)`: saves progress for the next claim; whether the claim still holds.
fn save(store: &MemoryStore, call: &FunctionCallContext<'_>) -> Result<bool> {
    let progress: BufferSlice<'_> = call.get(3)?;
    with_claim(call, |key, owner, fence| Ok(store.save(key, owner, fence, progress.as_ref().into())))
}

/// Reads the three arguments that name a claim, and writes to it.
fn with_claim(
    call: &FunctionCallContext<'_>,
    write: impl FnOnce(&Digest, Owner, u64) -> Result<Written>,
) -> Result<bool> {
    let (key, owner, fence) = name_from(call, 0)?;
    Ok(write(&key, owner, fence)? == Written::Done)
}

impl ToNapiValue for Claimed {
    unsafe fn to_napi_value(env: sys::napi_env, claimed: Self) -> Result<sys::napi_value> {
        match claimed {
            // SAFETY: `env` is valid by this function's contract.
            Self::Begun(begun) => unsafe { Begun::to_napi_value(env, begun) },
            Self::Resumed { fence, progress } => {
                let env = Env::from_raw(env);
                let mut parts = env.create_array(2)?;
                parts.set(0, number(fence))?;
                parts.set(1, &BufferSlice::copy_from(&env, &progress)?)?;
                // SAFETY: `env` is valid by this function's contract.
                unsafe { ToNapiValue::to_napi_value(env.raw(), parts) }
            }
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

fn owner(text: &str) -> Owner {
    let digest = DigestBuilder::new("owner").field(text.as_bytes()).finish();
    let mut half = [0; 16];
    half.copy_from_slice(&digest.0[..16]);
    Owner(u128::from_le_bytes(half))
}
