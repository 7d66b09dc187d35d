//! Binding of [`crate::idempotency::file`]. No call waits for the disk: what requests ask is answered through
//! [`super::answers`], what operators ask by a promise each.
#![expect(clippy::needless_pass_by_value, reason = "napi hands over owned values")]

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use napi::bindgen_prelude::{
    BigInt, BufferSlice, Either4, Function, FunctionCallContext, Latin1String, Object, PromiseRaw, Result,
};
use napi::{Either, Env, Error, Status};
use napi_derive::napi;
use parking_lot::Mutex;

use super::answers::{Answer as Answered, Answers};
use super::idempotency::{NativeInspection, digest, function, how, inspection, millis, number, whole};
use super::store_contract::{claim_from, name_from};
use super::text::Room;
use crate::idempotency::file::{
    Access, ClaimName, Durability, FileOptions, FileStore, FileStoreError, FileStores, FileSystem,
    ListedState, Page, Pending,
};
use crate::idempotency::{Answer, Limits, Outcome, Settlement, Written};

static FILES: LazyLock<FileStores> = LazyLock::new(FileStores::default);

/// A store in a file, as JavaScript holds it.
#[napi(js_name = "NativeFileStore")]
pub struct NativeFileStore(Arc<Open>);

struct Open {
    /// Empty once it is closed.
    store: Mutex<Option<FileStore>>,
    answers: Arc<Answers>,
}

/// What went wrong: a code, which `ts/stores/file` has an error for, and what is to be said of it.
#[napi(object, object_from_js = false)]
pub struct NativeFailure {
    /// Which error.
    #[napi(
        ts_type = "'BUSY' | 'CLOSED' | 'DAMAGED' | 'NOT_PRIVATE' | 'REPLACED' | 'NETWORK' | 'FORMAT' | 'OPTIONS' | 'READ_ONLY' | 'UNSYNCED' | 'SYSTEM'"
    )]
    pub failure: &'static str,
    /// The sentence.
    pub message: String,
}

/// How a file is opened.
#[napi(object, object_to_js = false)]
pub struct NativeFileOptions {
    /// Whether writes survive a power cut.
    pub fsync: bool,
    /// Whether the file is only looked into.
    pub read_only: bool,
    /// Bytes of settled records.
    pub max_bytes: f64,
    /// Settled records, apart from them claims, and apart from both indeterminate records.
    pub max_entries: f64,
    /// A file system that may be no disk, where the file may be all the same.
    #[napi(ts_type = "'fuse' | 'vboxsf' | 'vmhgfs'")]
    pub allow_file_system: Option<String>,
}

/// What a file holds at the moment.
#[napi(object, object_from_js = false)]
pub struct NativeFileStats {
    /// Claims in progress and indeterminate records.
    pub held: f64,
    /// Completed, not replayable and released records.
    pub settled: f64,
    /// Bytes of the settled ones.
    pub bytes: f64,
    /// Settled records dropped to make room.
    pub evicted: f64,
    /// Bytes of the file.
    pub file_bytes: f64,
    /// Bytes of its journal.
    pub journal_bytes: f64,
}

/// Some records, and where the next ones begin.
#[napi(object, object_from_js = false)]
pub struct NativePage {
    /// The records.
    pub records: Vec<NativeListed>,
    /// What to ask for next; absent at the end.
    pub next: Option<BigInt>,
}

/// A record in a list.
#[napi(object, object_from_js = false)]
pub struct NativeListed {
    /// Its name, in hexadecimal.
    pub key: String,
    /// Its state.
    #[napi(ts_type = "'in-progress' | 'completed' | 'not-replayable' | 'indeterminate'")]
    pub state: &'static str,
    /// The fence of the claim that it is or comes from.
    pub fence: f64,
    /// Milliseconds left of the lease or of the retention.
    pub left_ms: f64,
    /// Bytes of its answer.
    pub bytes: f64,
}

impl From<Page> for NativePage {
    fn from(page: Page) -> Self {
        let records = page.records.into_iter().map(|record| NativeListed {
            key: record.key.to_hex(),
            state: match record.state {
                ListedState::InProgress => "in-progress",
                ListedState::Completed => "completed",
                ListedState::NotReplayable => "not-replayable",
                ListedState::Indeterminate => "indeterminate",
            },
            fence: number(record.fence),
            left_ms: record.left.as_secs_f64() * 1000.0,
            bytes: number(record.bytes),
        });
        Self { records: records.collect(), next: page.next.map(BigInt::from) }
    }
}

/// Opens a file, or joins those who have it open in this process. `settle` is called with what was asked with a ticket
/// and is answered: tickets and answers in turn.
#[napi(catch_unwind)]
pub fn open_file_store(
    path: String,
    options: NativeFileOptions,
    #[napi(ts_arg_type = "(answers: (number | boolean | NativeClaimOutcome | NativeFailure)[]) => void")]
    settle: Function<'_, Vec<Answered>, ()>,
) -> Result<Either<NativeFileStore, NativeFailure>> {
    let file_system = |name: String| {
        let unknown = || {
            format!(
                "allowFileSystem is {name:?}; allowed: {}",
                FileSystem::ALL.map(FileSystem::name).join(", ")
            )
        };
        FileSystem::of_name(&name).ok_or_else(|| Error::new(Status::InvalidArg, unknown()))
    };
    let options = FileOptions {
        allowed: options.allow_file_system.map(file_system).transpose()?,
        durability: if options.fsync { Durability::Fsync } else { Durability::Os },
        access: if options.read_only { Access::ReadOnly } else { Access::ReadWrite },
        limits: Limits { max_bytes: whole(options.max_bytes), max_entries: whole(options.max_entries) },
    };
    Ok(match FILES.open(Path::new(&path), options) {
        Ok(store) => Either::A(NativeFileStore(Arc::new(Open {
            store: Mutex::new(Some(store)),
            answers: Answers::new(&settle)?,
        }))),
        Err(error) => Either::B(failure(&error)),
    })
}

type Promise<'env, T> = Result<PromiseRaw<'env, Either<T, NativeFailure>>>;

#[napi]
impl NativeFileStore {
    /// What requests ask; see `FileCalls`.
    #[napi(catch_unwind, ts_return_type = "FileCalls")]
    pub fn calls<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        // Closures, and arguments one by one: as `StoreCalls`.
        let mut calls = Object::new(env)?;
        let mut set = |name: &str, call: fn(&Open, &FunctionCallContext<'_>) -> Result<()>| {
            let open = Arc::clone(&self.0);
            calls.set(name, function(env, name, move |context| call(&open, &context))?)
        };
        set("claim", claim)?;
        set("complete", complete)?;
        set("end", end)?;
        set("renew", renew)?;
        set("commitPoint", commit_point)?;
        set("save", save)?;
        Ok(calls)
    }

    /// Resolves when the claim of that key has ended, or when its lease as it is now has run out.
    #[napi(catch_unwind, ts_return_type = "Promise<boolean | NativeFailure>")]
    pub fn wait_for<'env>(&self, env: &'env Env, key: String) -> Promise<'env, bool> {
        let waiting = self.0.with(|store| store.wait(digest(&key)));
        spawn(env, async move {
            let waiting = waiting?.await?;
            let waits = waiting.is_some();
            if let Some(waiting) = waiting {
                waiting.done().await;
            }
            Ok(waits)
        })
    }

    /// What is kept for a key, or null.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeInspection | null | NativeFailure>")]
    pub fn inspect<'env>(&self, env: &'env Env, key: String) -> Promise<'env, Option<NativeInspection>> {
        self.ask(env, |store| store.inspect(digest(&key)), |found| found.map(inspection))
    }

    /// Frees a key; whether there was a record.
    #[napi(catch_unwind, ts_return_type = "Promise<boolean | NativeFailure>")]
    pub fn forget<'env>(&self, env: &'env Env, key: String) -> Promise<'env, bool> {
        self.ask(env, |store| store.forget(digest(&key)), |known| known)
    }

    /// Some of the records, from that place on; without one, the first.
    #[napi(catch_unwind, ts_return_type = "Promise<NativePage | NativeFailure>")]
    pub fn list<'env>(&self, env: &'env Env, from: Option<BigInt>) -> Promise<'env, NativePage> {
        self.ask(env, |store| store.list(from.map(|from| from.get_i64().0)), NativePage::from)
    }

    /// Ends an indeterminate record, with an answer or without one; false if it is none.
    #[napi(catch_unwind, ts_return_type = "Promise<boolean | NativeFailure>")]
    pub fn resolve<'env>(
        &self,
        env: &'env Env,
        key: String,
        #[napi(ts_arg_type = "'completed' | 'not-replayable' | 'release'")] how: String,
        retention_ms: f64,
        head: Latin1String,
        body: BufferSlice<'_>,
    ) -> Promise<'env, bool> {
        let settlement = match how.as_str() {
            "completed" => Settlement::Complete(Answer::new(&head, &body)),
            "not-replayable" => Settlement::NotReplayable,
            _ => Settlement::Release,
        };
        let step = |store: &FileStore| store.resolve(digest(&key), settlement, millis(retention_ms));
        self.ask(env, step, |written| written == Written::Done)
    }

    /// Counts what is kept.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeFileStats | NativeFailure>")]
    pub fn stats<'env>(&self, env: &'env Env) -> Promise<'env, NativeFileStats> {
        self.ask(env, FileStore::stats, |stats| NativeFileStats {
            held: number(stats.held),
            settled: number(stats.settled),
            bytes: number(stats.bytes),
            evicted: number(stats.evicted),
            file_bytes: number(stats.file_bytes),
            journal_bytes: number(stats.journal_bytes),
        })
    }

    /// What is wrong with the file.
    #[napi(catch_unwind, ts_return_type = "Promise<string[] | NativeFailure>")]
    pub fn verify<'env>(&self, env: &'env Env) -> Promise<'env, Vec<String>> {
        self.ask(env, FileStore::verify, |faults| faults)
    }

    /// Writes a copy to a file that does not exist.
    #[napi(catch_unwind, ts_return_type = "Promise<boolean | NativeFailure>")]
    pub fn backup<'env>(&self, env: &'env Env, to: String) -> Promise<'env, bool> {
        self.ask(env, |store| store.backup(Path::new(&to)), |()| true)
    }

    /// Gives unused space back to the disk.
    #[napi(catch_unwind, ts_return_type = "Promise<boolean | NativeFailure>")]
    pub fn compact<'env>(&self, env: &'env Env) -> Promise<'env, bool> {
        self.ask(env, FileStore::compact, |()| true)
    }

    /// Lets go of the file, once what was asked before is done.
    #[napi(catch_unwind, ts_return_type = "Promise<boolean | NativeFailure>")]
    pub fn close<'env>(&self, env: &'env Env) -> Promise<'env, bool> {
        let store = self.0.store.lock().take();
        spawn(env, async move {
            if let Some(store) = store {
                store.close().await;
            }
            Ok(true)
        })
    }

    fn ask<'env, T: Send + 'static, R: napi::bindgen_prelude::ToNapiValue + Send + 'static>(
        &self,
        env: &'env Env,
        step: impl FnOnce(&FileStore) -> Pending<T>,
        convert: impl FnOnce(T) -> R + Send + 'static,
    ) -> Promise<'env, R> {
        let pending = self.0.with(step);
        spawn(env, async move { Ok(convert(pending?.await?)) })
    }
}

impl Open {
    /// Asks what is answered for the ticket that is the first argument.
    fn answer<T: Send + 'static>(
        &self,
        call: &FunctionCallContext<'_>,
        step: impl FnOnce(&FileStore) -> Pending<T>,
        convert: fn(T) -> Answered,
    ) -> Result<()> {
        let reply = self.answers.expect(*call.env, call.get(0)?)?;
        let answer = move |result: std::result::Result<T, FileStoreError>| {
            reply.answer(result.map_or_else(|error| Either4::D(failure(&error)), convert))
        };
        match self.with(step) {
            Ok(pending) => pending.take_with(answer),
            Err(error) => answer(Err(error)).wake(),
        }
        Ok(())
    }

    fn with<T>(&self, step: impl FnOnce(&FileStore) -> T) -> std::result::Result<T, FileStoreError> {
        self.store.lock().as_ref().map(step).ok_or(FileStoreError::Closed)
    }
}

/// `(ticket, key, fingerprint, identity, owner, leaseMs, retentionMs, overIndeterminate, holdMs)`.
fn claim(open: &Open, call: &FunctionCallContext<'_>) -> Result<()> {
    let claim = claim_from(call, 1)?;
    let hold: Option<f64> = call.get(8)?;
    open.answer(
        call,
        |store| store.claim(&claim, hold.map(millis)),
        |outcome| match outcome {
            Outcome::Claimed { fence, progress: None } => Either4::A(number(fence)),
            other => Either4::C(other.into()),
        },
    )
}

/// `(ticket, key, owner, fence, head, body, retentionMs, dropFirst)`.
fn complete(open: &Open, call: &FunctionCallContext<'_>) -> Result<()> {
    let mut room = Room::new();
    let head = room.reader().latin1(call.get(4)?)?;
    let body: BufferSlice<'_> = call.get(5)?;
    let answer = Answer::new(&head, &body).dropped_first(call.get(7)?);
    settle(open, call, Settlement::Complete(answer), call.get(6)?)
}

/// `(ticket, key, owner, fence, how, retentionMs)`.
fn end(open: &Open, call: &FunctionCallContext<'_>) -> Result<()> {
    settle(open, call, how(call.get(4)?), call.get(5)?)
}

fn settle(
    open: &Open,
    call: &FunctionCallContext<'_>,
    settlement: Settlement,
    retention_ms: f64,
) -> Result<()> {
    let name = name(call)?;
    open.answer(call, |store| store.settle(name, settlement, millis(retention_ms)), is_done)
}

/// `(ticket, key, owner, fence, leaseMs)`.
fn renew(open: &Open, call: &FunctionCallContext<'_>) -> Result<()> {
    let (name, lease) = (name(call)?, millis(call.get(4)?));
    open.answer(call, |store| store.renew(name, lease), is_done)
}

/// `(ticket, key, owner, fence)`.
fn commit_point(open: &Open, call: &FunctionCallContext<'_>) -> Result<()> {
    let name = name(call)?;
    open.answer(call, |store| store.commit_point(name), is_done)
}

/// `(ticket, key, owner, fence, progress)`.
fn save(open: &Open, call: &FunctionCallContext<'_>) -> Result<()> {
    let name = name(call)?;
    let progress: BufferSlice<'_> = call.get(4)?;
    let progress = progress.as_ref().into();
    open.answer(call, |store| store.save(name, progress), is_done)
}

fn spawn<T: napi::bindgen_prelude::ToNapiValue + Send + 'static>(
    env: &Env,
    answer: impl Future<Output = std::result::Result<T, FileStoreError>> + Send + 'static,
) -> Promise<'_, T> {
    env.spawn_future(async move {
        Ok(match answer.await {
            Ok(value) => Either::A(value),
            Err(error) => Either::B(failure(&error)),
        })
    })
}

fn name(call: &FunctionCallContext<'_>) -> Result<ClaimName> {
    let (key, owner, fence) = name_from(call, 1)?;
    Ok(ClaimName { key, owner, fence })
}

fn is_done(written: Written) -> Answered {
    Either4::B(written == Written::Done)
}

fn failure(error: &FileStoreError) -> NativeFailure {
    let failure = match error {
        FileStoreError::Busy(_) => "BUSY",
        FileStoreError::Closed => "CLOSED",
        FileStoreError::Damaged { .. } => "DAMAGED",
        FileStoreError::NotPrivate { .. } => "NOT_PRIVATE",
        FileStoreError::Replaced(_) => "REPLACED",
        FileStoreError::NetworkFileSystem { .. } => "NETWORK",
        FileStoreError::Foreign { .. } => "FORMAT",
        FileStoreError::OptionsDiffer(_) => "OPTIONS",
        FileStoreError::ReadOnly => "READ_ONLY",
        FileStoreError::Unsynced { .. } => "UNSYNCED",
        FileStoreError::System { .. } => "SYSTEM",
    };
    NativeFailure { failure, message: error.to_string() }
}
