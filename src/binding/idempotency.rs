//! Binding of [`crate::idempotency`].
#![expect(clippy::needless_pass_by_value, reason = "napi hands over owned values")]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use napi::bindgen_prelude::{
    Buffer, BufferSlice, Function, FunctionCallContext, Object, Result, ToNapiValue,
};
use napi::{Either, Env, Error, Status, sys};
use napi_derive::napi;

use super::text::{Latin1, Room, Text};
use crate::idempotency::{
    Answer, Body, Claim, Differs, Digest, DigestBuilder, Hold, Holder, Identified, Inspection, InvalidKey,
    Limits, MemoryStore, Outcome, Owner, Registry, Request, Settlement, Written, identify, name,
};

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

/// A claim's slot and its fence travel in one number: 2^21 claims at once in one thread, and 2^32 of one key.
const SLOTS: f64 = 2_097_152.0;

/// Told apart by their number, so that no two claimants of a process are one.
static NEXT_DESK: AtomicU64 = AtomicU64::new(1);

/// Bodies up to this size are copied into a string, larger ones into a Buffer.
const LARGEST_TEXT: usize = 4096;

/// The memory store, as JavaScript holds it.
#[napi(js_name = "NativeMemoryStore")]
pub struct NativeMemoryStore {
    pub(super) store: Arc<MemoryStore>,
}

/// What a memory store keeps at the moment.
#[napi(object, object_from_js = false)]
pub struct NativeStoreStats {
    /// Claims in progress and indeterminate records.
    pub held: f64,
    /// Completed, not replayable and released records.
    pub settled: f64,
    /// Bytes of the settled ones.
    pub bytes: f64,
    /// Settled records dropped to make room.
    pub evicted: f64,
}

/// What is kept for a key.
#[napi(object, object_from_js = false)]
pub struct NativeInspection {
    /// `in-progress`, `completed`, `not-replayable` or `indeterminate`.
    pub state: &'static str,
    /// The fence of the claim that it is or comes from.
    pub fence: f64,
    /// Milliseconds left of the lease or of the retention.
    pub left_ms: f64,
    /// The head of a kept answer, one character a byte.
    pub head: Option<String>,
    /// Its body.
    pub body: Option<Buffer>,
}

#[napi]
impl NativeMemoryStore {
    /// Shared with all that give this name, in whatever thread; without a name, with nobody. Throws `InvalidArg` where a
    /// named store has other limits.
    #[napi(constructor, catch_unwind)]
    pub fn new(name: Option<String>, max_bytes: f64, max_entries: f64) -> Result<Self> {
        let limits = Limits { max_bytes: whole(max_bytes), max_entries: whole(max_entries) };
        let store = match name {
            Some(name) => REGISTRY
                .named(&name, limits)
                .map_err(|error| Error::new(Status::InvalidArg, error.to_string()))?,
            None => REGISTRY.private(limits),
        };
        Ok(Self { store })
    }

    /// The per-request calls of one middleware on this store; see `DeskCalls`.
    #[napi(catch_unwind, ts_return_type = "DeskCalls")]
    pub fn desk<'env>(
        &self,
        env: &'env Env,
        max_key_length: f64,
        lease_ms: f64,
        hold_ms: f64,
        ttl_ms: f64,
        derived_ttl_ms: f64,
    ) -> Result<Object<'env>> {
        Desk {
            store: Arc::clone(&self.store),
            id: NEXT_DESK.fetch_add(1, Ordering::Relaxed),
            max_key_length: usize::try_from(whole(max_key_length)).unwrap_or(usize::MAX),
            lease: millis(lease_ms),
            hold: Hold { holder: Holder::this_thread(), longest: millis(hold_ms) },
            ttl: millis(ttl_ms),
            derived_ttl: millis(derived_ttl_ms),
            slots: RefCell::default(),
        }
        .calls(env)
    }

    /// Resolves when the claim of that key is settled, or when its lease as it is now has run out.
    #[napi]
    pub async fn wait_for(&self, key: String) -> Result<()> {
        // Taken before the first await, so that no completion in between is missed.
        let waiting = self.store.wait(&digest(&key));
        if let Some(waiting) = waiting {
            waiting.done().await;
        }
        Ok(())
    }

    /// The records of a key and its scope, at whatever endpoints. Looks at every record, on a thread of its own.
    #[allow(clippy::unused_async, reason = "runs on a thread that serves no requests")]
    #[napi]
    pub async fn find(&self, key: String, scope: Option<String>) -> Vec<String> {
        self.store.find(&name(scope.as_deref(), &key)).iter().map(Digest::to_hex).collect()
    }

    /// What is kept for a key, or null.
    #[napi(catch_unwind)]
    pub fn inspect(&self, key: String) -> Option<NativeInspection> {
        self.store.inspect(&digest(&key)).map(inspection)
    }

    /// Frees a key; whether there was a record.
    #[napi(catch_unwind)]
    pub fn forget(&self, key: String) -> bool {
        self.store.forget(&digest(&key))
    }

    /// Counts what is kept.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> NativeStoreStats {
        let stats = self.store.stats();
        NativeStoreStats {
            held: number(stats.held),
            settled: number(stats.settled),
            bytes: number(stats.bytes),
            evicted: number(stats.evicted),
        }
    }

    /// Moves the store's clock forward, for all who share it.
    #[napi(catch_unwind)]
    pub fn advance_clock(&self, by_ms: f64) {
        self.store.clock().advance(millis(by_ms));
    }
}

pub(super) fn inspection(found: Inspection) -> NativeInspection {
    let (state, fence, left, answer) = match found {
        Inspection::InProgress { fence, lease_left } => ("in-progress", fence, lease_left, None),
        Inspection::Completed { fence, answer, expires_in } => ("completed", fence, expires_in, Some(answer)),
        Inspection::NotReplayable { fence, expires_in } => ("not-replayable", fence, expires_in, None),
        Inspection::Indeterminate { fence, expires_in } => ("indeterminate", fence, expires_in, None),
    };
    NativeInspection {
        state,
        fence: number(fence),
        left_ms: left.as_secs_f64() * 1000.0,
        head: answer.as_ref().map(|answer| answer.head().iter().copied().map(char::from).collect()),
        body: answer.as_ref().map(|answer| answer.body().to_vec().into()),
    }
}

/// A function `(...facts)` that says how a request is known to stores: three digests in hexadecimal (key,
/// fingerprint, identity), one behind the other; or the reason why its key is none, as a number.
#[napi(catch_unwind, ts_return_type = "(...facts: RequestFacts) => string | number")]
pub fn identifier(env: &Env, max_key_length: f64) -> Result<Function<'_, (), Identification>> {
    let max_key_length = usize::try_from(whole(max_key_length)).unwrap_or(usize::MAX);
    function(env, "identify", move |call| {
        let identified = with_request(&call, |request| identify(request, max_key_length))?;
        Ok(match identified {
            Ok(Identified { key, fingerprint, identity, .. }) => {
                Either::A(key.to_hex() + &fingerprint.to_hex() + &identity.to_hex())
            }
            Err(reason) => Either::B(reason_code(reason)),
        })
    })
}

type Identification = Either<String, u32>;

/// One middleware's place at a store: its settings, and the claims that it holds, each in a numbered slot.
struct Desk {
    store: Arc<MemoryStore>,
    id: u64,
    max_key_length: usize,
    lease: Duration,
    hold: Hold,
    ttl: Duration,
    derived_ttl: Duration,
    slots: RefCell<Slots>,
}

#[derive(Default)]
struct Slots {
    taken: Vec<Option<Slot>>,
    free: Vec<usize>,
    claims: u64,
}

#[derive(Clone, Copy)]
struct Slot {
    key: Digest,
    owner: Owner,
    fence: u64,
    retention: Duration,
}

/// What `begin` answers: a claim (0 and up), a refusal (below 0, see [`Begun::refusal`]), or an answer to replay.
pub(super) enum Begun {
    Number(f64),
    Replay(Answer),
}

impl Begun {
    /// A refusal and what goes with it, in one number: `-(16 × detail + code)`.
    fn refusal(code: u32, detail: u64) -> Self {
        Self::Number(-(number(detail) * 16.0 + f64::from(code)))
    }

    /// An outcome, with the fence as the number of a claim.
    pub(super) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Claimed { fence, .. } => Self::Number(number(fence)),
            Outcome::Completed(answer) => Self::Replay(answer),
            Outcome::Mismatch(differs) => Self::refusal(MISMATCH, u64::from(differs == Differs::Identity)),
            Outcome::InProgress { lease_left } => {
                Self::refusal(IN_PROGRESS, u64::try_from(lease_left.as_millis()).unwrap_or(u64::MAX))
            }
            Outcome::NotReplayable => Self::refusal(NOT_REPLAYABLE, 0),
            Outcome::Indeterminate => Self::refusal(INDETERMINATE, 0),
            Outcome::Full => Self::refusal(FULL, 0),
        }
    }
}

impl Desk {
    fn calls(self, env: &Env) -> Result<Object<'_>> {
        let desk = Rc::new(self);
        let mut calls = Object::new(env)?;
        let here = Rc::clone(&desk);
        calls.set("begin", function(env, "begin", move |call| here.begin(&call))?)?;
        let here = Rc::clone(&desk);
        calls.set("complete", function(env, "complete", move |call| here.complete(&call))?)?;
        let here = Rc::clone(&desk);
        calls.set("settle", function(env, "settle", move |call| here.settle(&call))?)?;
        let here = Rc::clone(&desk);
        calls.set("renew", function(env, "renew", move |call| here.renew(&call))?)?;
        let here = Rc::clone(&desk);
        calls.set("progress", function(env, "progress", move |call| here.progress(&call))?)?;
        let here = Rc::clone(&desk);
        calls.set("save", function(env, "save", move |call| here.save(&call))?)?;
        calls.set("commitPoint", function(env, "commitPoint", move |call| desk.commit_point(&call))?)?;
        Ok(calls)
    }

    /// `(...facts, overIndeterminate)`: names the request and claims its key, in one crossing.
    fn begin(&self, call: &FunctionCallContext<'_>) -> Result<Begun> {
        let (identified, retention) = with_request(call, |request| {
            let retention = if request.key.is_some() { self.ttl } else { self.derived_ttl };
            (identify(request, self.max_key_length), retention)
        })?;
        let identified = match identified {
            Ok(identified) => identified,
            Err(reason) => return Ok(Begun::refusal(INVALID_KEY, reason_code(reason).into())),
        };
        let owner = self.next_owner();
        let over_indeterminate = call.get(8)?;
        let claim = Claim { request: identified, owner, lease: self.lease, retention, over_indeterminate };
        Ok(match self.store.claim_for(&claim, Some(self.hold.clone())) {
            Outcome::Claimed { fence, .. } => {
                let slot = self.take_slot(Slot { key: identified.key, owner, fence, retention });
                Begun::Number(number(fence) * SLOTS + slot)
            }
            outcome => Begun::of(outcome),
        })
    }

    /// `(slot, dropFirst, head, body?)`: ends a claim with an answer; whether the claim still held.
    fn complete(&self, call: &FunctionCallContext<'_>) -> Result<bool> {
        let mut room = Room::new();
        let head = room.reader().latin1(call.get(2)?)?;
        let answer = if call.length() > 3 {
            let body: BufferSlice<'_> = call.get(3)?;
            Answer::new(&head, &body)
        } else {
            Answer::new(&head, &[])
        };
        let answer = answer.dropped_first(call.get(1)?);
        Ok(self.end(call.get(0)?, Settlement::Complete(answer)))
    }

    /// `(slot, how)`: ends a claim without one; whether it still held.
    fn settle(&self, call: &FunctionCallContext<'_>) -> Result<bool> {
        Ok(self.end(call.get(0)?, how(call.get(1)?)))
    }

    /// `(slot)`: prolongs the lease; whether the claim still holds.
    fn renew(&self, call: &FunctionCallContext<'_>) -> Result<bool> {
        Ok(self.slot(call.get(0)?).is_some_and(|slot| {
            self.store.renew(&slot.key, slot.owner, slot.fence, self.lease) == Written::Done
        }))
    }

    /// `(slot)`: what the claim, or an earlier one of its key, has saved of its progress.
    fn progress(&self, call: &FunctionCallContext<'_>) -> Result<Option<Buffer>> {
        Ok(self
            .slot(call.get(0)?)
            .and_then(|slot| self.store.progress(&slot.key, slot.owner, slot.fence))
            .map(|progress| progress.to_vec().into()))
    }

    /// `(slot, progress)`: saves how far the owner has come; whether the claim still holds.
    fn save(&self, call: &FunctionCallContext<'_>) -> Result<bool> {
        let progress: BufferSlice<'_> = call.get(1)?;
        Ok(self.slot(call.get(0)?).is_some_and(|slot| {
            let written = self.store.save(&slot.key, slot.owner, slot.fence, progress.to_vec().into());
            written == Written::Done
        }))
    }

    /// `(slot)`: marks the commit point; whether the claim still holds.
    fn commit_point(&self, call: &FunctionCallContext<'_>) -> Result<bool> {
        Ok(self
            .slot(call.get(0)?)
            .is_some_and(|slot| self.store.commit_point(&slot.key, slot.owner, slot.fence) == Written::Done))
    }

    fn end(&self, index: u32, settlement: Settlement) -> bool {
        self.give_slot_back(index).is_some_and(|slot| {
            let written = self.store.settle(&slot.key, slot.owner, slot.fence, settlement, slot.retention);
            written == Written::Done
        })
    }

    fn next_owner(&self) -> Owner {
        let mut slots = self.slots.borrow_mut();
        slots.claims += 1;
        Owner(u128::from(self.id) << 64 | u128::from(slots.claims))
    }

    fn take_slot(&self, slot: Slot) -> f64 {
        let mut slots = self.slots.borrow_mut();
        let index = if let Some(index) = slots.free.pop() {
            slots.taken[index] = Some(slot);
            index
        } else {
            slots.taken.push(Some(slot));
            slots.taken.len() - 1
        };
        number(index as u64)
    }

    fn slot(&self, index: u32) -> Option<Slot> {
        self.slots.borrow().taken.get(index as usize).copied().flatten()
    }

    fn give_slot_back(&self, index: u32) -> Option<Slot> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.taken.get_mut(index as usize)?.take()?;
        slots.free.push(index as usize);
        Some(slot)
    }
}

impl ToNapiValue for Begun {
    unsafe fn to_napi_value(env: sys::napi_env, begun: Self) -> Result<sys::napi_value> {
        match begun {
            // SAFETY: `env` is valid by this function's contract.
            Self::Number(number) => unsafe { f64::to_napi_value(env, number) },
            Self::Replay(answer) => {
                let env = Env::from_raw(env);
                let mut parts = env.create_array(2)?;
                parts.set(0, Latin1(answer.head()))?;
                if answer.body().len() <= LARGEST_TEXT {
                    parts.set(1, Latin1(answer.body()))?;
                } else {
                    // A copy: user code must never hold bytes that the store still replays.
                    parts.set(1, &BufferSlice::copy_from(&env, answer.body())?)?;
                }
                // SAFETY: `env` is valid by this function's contract.
                unsafe { ToNapiValue::to_napi_value(env.raw(), parts) }
            }
        }
    }
}

// The codes of the seam, one for each in ts/idempotency/desk.ts.
const INVALID_KEY: u32 = 1;
const MISMATCH: u32 = 2;
const IN_PROGRESS: u32 = 3;
const NOT_REPLAYABLE: u32 = 4;
const INDETERMINATE: u32 = 5;
const FULL: u32 = 6;

const ABSENT: u32 = 0;
// 1 is a body that nobody read, 8 one that nobody can read.
const JSON: u32 = 2;
const FORM: u32 = 3;
const RAW_BYTES: u32 = 4;
const RAW_TEXT: u32 = 5;
const CONTENT_DIGEST: u32 = 6;
const JSON_BYTES: u32 = 7;

/// Reads `RequestFacts`: method, URL, key, content type, scope, caller, kind of body, body.
fn with_request<R>(call: &FunctionCallContext<'_>, body: impl FnOnce(&Request<'_>) -> R) -> Result<R> {
    let mut room = Room::new();
    let mut reader = room.reader();
    let mut read = |at: usize| reader.text(call.get(at)?);
    let (method, original_url, key) = (read(0)?, read(1)?, read(2)?);
    let (content_type, scope, caller) = (read(3)?, read(4)?, read(5)?);
    let (text, bytes): (Text<'_>, BufferSlice<'_>);
    let kept = match call.get(6)? {
        ABSENT => Body::Absent,
        kind @ (RAW_BYTES | JSON_BYTES) => {
            bytes = call.get(7)?;
            match std::str::from_utf8(&bytes) {
                Ok(text) if kind == JSON_BYTES => Body::Json(text),
                _ => Body::Raw(&bytes),
            }
        }
        kind => {
            text = read(7)?;
            match kind {
                JSON => Body::Json(text.or_empty()),
                FORM => Body::Form(text.or_empty()),
                RAW_TEXT => Body::Raw(text.or_empty().as_bytes()),
                CONTENT_DIGEST => Body::ContentDigest(text.or_empty()),
                _ => Body::Unread(text.or_empty()),
            }
        }
    };
    Ok(body(&Request {
        method: method.or_empty(),
        original_url: original_url.or_empty(),
        key: key.get(),
        content_type: content_type.or_empty(),
        scope: scope.get(),
        caller: caller.get(),
        body: kept,
    }))
}

fn reason_code(reason: InvalidKey) -> u32 {
    match reason {
        InvalidKey::Empty => 0,
        InvalidKey::TooLong => 1,
        InvalidKey::Character => 2,
        InvalidKey::Quoting => 3,
    }
}

/// How a claim ends without an answer, as a number.
pub(super) fn how(number: u32) -> Settlement {
    match number {
        0 => Settlement::Release,
        1 => Settlement::NotReplayable,
        _ => Settlement::Indeterminate,
    }
}

pub(super) fn function<'env, R: ToNapiValue>(
    env: &'env Env,
    name: &str,
    body: impl Fn(FunctionCallContext<'_>) -> Result<R> + 'static,
) -> Result<Function<'env, (), R>> {
    env.create_function_from_closure(name, body)
}

/// A digest from its hexadecimal form; any other text is a name of its own.
pub(super) fn digest(text: &str) -> Digest {
    Digest::from_hex(text).unwrap_or_else(|| DigestBuilder::new("text").field(text.as_bytes()).finish())
}

pub(super) fn millis(number: f64) -> Duration {
    Duration::from_millis(whole(number))
}

/// JavaScript's number as a whole one; the wrapper has checked its range.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, which is meant"
)]
pub(super) fn whole(number: f64) -> u64 {
    number as u64
}

/// Counts and milliseconds stay far below 2^53, up to which a JavaScript number is exact.
#[expect(clippy::cast_precision_loss, reason = "the values stay far below 2^53")]
pub(super) fn number(whole: u64) -> f64 {
    whole as f64
}
