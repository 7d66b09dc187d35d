//! Binding of [`crate::idempotency::file`]. No call waits for the disk: what requests ask is answered through
//! [`super::answers`], what operators ask by a promise each.
#![expect(clippy::needless_pass_by_value, reason = "napi hands over owned values")]

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use napi::bindgen_prelude::{BigInt, BufferSlice, Either4, Function, Latin1String, PromiseRaw, Result};
use napi::{Either, Env};
use napi_derive::napi;
use parking_lot::Mutex;

use super::answers::{Answer as Answered, Answers};
use super::idempotency::{NativeInspection, digest, inspection, millis, number, whole};
use super::store_contract::{NativeClaimRef, NativeClaimRequest, owner, settlement};
use crate::idempotency::file::{
    Access, ClaimName, Durability, FileOptions, FileStore, FileStoreError, FileStores, ListedState, Page,
    Pending,
};
use crate::idempotency::{Answer, Limits, Outcome, Settlement, Written};

static FILES: LazyLock<FileStores> = LazyLock::new(FileStores::default);

/// A store in a file, as JavaScript holds it.
#[napi(js_name = "NativeFileStore")]
pub struct NativeFileStore {
    /// Empty once it is closed.
    store: Mutex<Option<FileStore>>,
    answers: Arc<Answers>,
}

/// What went wrong: a code, which `ts/stores/file` has an error for, and what is to be said of it.
#[napi(object, object_from_js = false)]
pub struct NativeFailure {
    /// Which error.
    #[napi(
        ts_type = "'BUSY' | 'CLOSED' | 'DAMAGED' | 'NETWORK' | 'FORMAT' | 'OPTIONS' | 'READ_ONLY' | 'UNSYNCED' | 'SYSTEM'"
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
    /// Settled records, and, apart from them, held ones.
    pub max_entries: f64,
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
    let options = FileOptions {
        durability: if options.fsync { Durability::Fsync } else { Durability::Os },
        access: if options.read_only { Access::ReadOnly } else { Access::ReadWrite },
        limits: Limits { max_bytes: whole(options.max_bytes), max_entries: whole(options.max_entries) },
    };
    Ok(match FILES.open(Path::new(&path), options) {
        Ok(store) => {
            Either::A(NativeFileStore { store: Mutex::new(Some(store)), answers: Answers::new(&settle)? })
        }
        Err(error) => Either::B(failure(&error)),
    })
}

type Promise<'env, T> = Result<PromiseRaw<'env, Either<T, NativeFailure>>>;

#[napi]
impl NativeFileStore {
    /// Makes the claimant the owner of the key, or says why not. With `holdMs` the lease is renewed by the store for so
    /// long, until the claim is ended. Answered with the fence of a claim that was granted and finds no progress, and
    /// with the outcome of any other.
    #[napi(catch_unwind)]
    pub fn claim(
        &self,
        env: Env,
        ticket: u32,
        request: NativeClaimRequest,
        hold_ms: Option<f64>,
    ) -> Result<()> {
        let claim = request.into();
        self.answer(
            env,
            ticket,
            |store| store.claim(&claim, hold_ms.map(millis)),
            |outcome| match outcome {
                Outcome::Claimed { fence, progress: None } => Either4::A(number(fence)),
                other => Either4::C(other.into()),
            },
        )
    }

    /// Ends a claim with an answer; false if the claim was lost.
    #[napi(catch_unwind)]
    pub fn complete(
        &self,
        env: Env,
        ticket: u32,
        claim: NativeClaimRef,
        head: Latin1String,
        body: BufferSlice<'_>,
        retention_ms: f64,
    ) -> Result<()> {
        self.settle(env, ticket, claim, Settlement::Complete(Answer::new(&head, &body)), retention_ms)
    }

    /// Ends a claim without one; false if the claim was lost.
    #[napi(catch_unwind)]
    pub fn end(
        &self,
        env: Env,
        ticket: u32,
        claim: NativeClaimRef,
        #[napi(ts_arg_type = "'release' | 'not-replayable' | 'indeterminate'")] how: String,
        retention_ms: f64,
    ) -> Result<()> {
        self.settle(env, ticket, claim, settlement(&how), retention_ms)
    }

    /// Prolongs a claim's lease; false if the claim was lost.
    #[napi(catch_unwind)]
    pub fn renew(&self, env: Env, ticket: u32, claim: NativeClaimRef, lease_ms: f64) -> Result<()> {
        self.answer(env, ticket, |store| store.renew(name(&claim), millis(lease_ms)), is_done)
    }

    /// Marks the commit point; false if the claim was lost.
    #[napi(catch_unwind)]
    pub fn commit_point(&self, env: Env, ticket: u32, claim: NativeClaimRef) -> Result<()> {
        self.answer(env, ticket, |store| store.commit_point(name(&claim)), is_done)
    }

    /// Saves progress for the next claim; false if the claim was lost.
    #[napi(catch_unwind)]
    pub fn save(
        &self,
        env: Env,
        ticket: u32,
        claim: NativeClaimRef,
        progress: BufferSlice<'_>,
    ) -> Result<()> {
        let progress = progress.as_ref().into();
        self.answer(env, ticket, |store| store.save(name(&claim), progress), is_done)
    }

    /// Resolves when the claim of that key has ended, or when its lease as it is now has run out.
    #[napi(catch_unwind, ts_return_type = "Promise<boolean | NativeFailure>")]
    pub fn wait_for<'env>(&self, env: &'env Env, key: String) -> Promise<'env, bool> {
        let waiting = self.with(|store| store.wait(digest(&key)));
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
        let settlement = if how == "completed" {
            Settlement::Complete(Answer::new(&head, &body))
        } else {
            settlement(&how)
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
        let store = self.store.lock().take();
        spawn(env, async move {
            if let Some(store) = store {
                store.close().await;
            }
            Ok(true)
        })
    }

    fn settle(
        &self,
        env: Env,
        ticket: u32,
        claim: NativeClaimRef,
        settlement: Settlement,
        retention_ms: f64,
    ) -> Result<()> {
        let step = |store: &FileStore| store.settle(name(&claim), settlement, millis(retention_ms));
        self.answer(env, ticket, step, is_done)
    }

    /// Asks what is answered for that ticket.
    fn answer<T: Send + 'static>(
        &self,
        env: Env,
        ticket: u32,
        step: impl FnOnce(&FileStore) -> Pending<T>,
        convert: fn(T) -> Answered,
    ) -> Result<()> {
        let reply = self.answers.expect(env, ticket)?;
        let answer = move |result: std::result::Result<T, FileStoreError>| {
            reply.answer(result.map_or_else(|error| Either4::D(failure(&error)), convert))
        };
        match self.with(step) {
            Ok(pending) => pending.take_with(answer),
            Err(error) => answer(Err(error)).wake(),
        }
        Ok(())
    }

    fn ask<'env, T: Send + 'static, R: napi::bindgen_prelude::ToNapiValue + Send + 'static>(
        &self,
        env: &'env Env,
        step: impl FnOnce(&FileStore) -> Pending<T>,
        convert: impl FnOnce(T) -> R + Send + 'static,
    ) -> Promise<'env, R> {
        let pending = self.with(step);
        spawn(env, async move { Ok(convert(pending?.await?)) })
    }

    fn with<T>(&self, step: impl FnOnce(&FileStore) -> T) -> std::result::Result<T, FileStoreError> {
        self.store.lock().as_ref().map(step).ok_or(FileStoreError::Closed)
    }
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

fn name(claim: &NativeClaimRef) -> ClaimName {
    ClaimName { key: digest(&claim.key), owner: owner(&claim.owner), fence: whole(claim.fence) }
}

fn is_done(written: Written) -> Answered {
    Either4::B(written == Written::Done)
}

fn failure(error: &FileStoreError) -> NativeFailure {
    let failure = match error {
        FileStoreError::Busy(_) => "BUSY",
        FileStoreError::Closed => "CLOSED",
        FileStoreError::Damaged { .. } => "DAMAGED",
        FileStoreError::NetworkFileSystem { .. } => "NETWORK",
        FileStoreError::Foreign { .. } => "FORMAT",
        FileStoreError::OptionsDiffer(_) => "OPTIONS",
        FileStoreError::ReadOnly => "READ_ONLY",
        FileStoreError::Unsynced { .. } => "UNSYNCED",
        FileStoreError::System { .. } => "SYSTEM",
    };
    NativeFailure { failure, message: error.to_string() }
}
