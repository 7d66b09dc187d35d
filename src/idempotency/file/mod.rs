//! The store that lives in a file, shared by the processes of one host.
//!
//! The file is a database of `SQLite`. One thread of each process writes (`writer`): it waits for the process's turn,
//! takes what has been queued meanwhile, and commits it as one transaction. Where that must survive a power cut, another
//! thread (`syncer`) writes it to the disk before anyone hears of it. What each record may become is in `ledger`, how it
//! is kept in `rows` and `schema`.
//!
//! A claim is free when its lease has run out, or at once when its owner dies: every process holds a lock that the
//! kernel lets go of (`owners`). While an owner lives, a thread renews its leases (`holds`, `keeper`), so that a
//! process which is busy does not lose them; one that is stopped does.
#![forbid(unsafe_code)]

mod bell;
mod core;
mod error;
mod file_system;
mod guard;
mod holds;
mod journal;
mod keeper;
mod ledger;
mod operators;
mod owners;
mod pending;
mod place;
mod privacy;
mod queue;
mod registry;
mod rows;
mod schema;
mod syncer;
mod time;
mod turn;
mod upkeep;
mod waiters;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use error::FileStoreError;
pub use file_system::FileSystem;
pub use ledger::ClaimName;
pub use operators::{Listed, ListedState, Page};
pub use pending::Pending;
pub use registry::FileStores;

use self::core::Core;
use holds::Session;
use place::Place;
use queue::Told;
use time::ms;

use super::{Claim, Digest, Inspection, Limits, Outcome, Progress, Settlement, Waiting, Written};

/// What a store in a file survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of any process. A power cut takes the last moments, never the file.
    #[default]
    Os,
    /// A power cut, too: one sync for each group of writes, before anyone hears of them.
    Fsync,
}

/// What a store in a file is opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Access {
    /// To serve requests. The file is made if it is missing.
    #[default]
    ReadWrite,
    /// To look into it, while others may write.
    ReadOnly,
}

/// How a store in a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// What it survives.
    pub durability: Durability,
    /// What it is opened for.
    pub access: Access,
    /// How much it may keep.
    pub limits: Limits,
    /// A file system that may be no disk, where the file may be all the same. Only this opening asks for it: a store that
    /// is open already may be joined without it.
    pub allowed: Option<FileSystem>,
}

impl FileOptions {
    /// Whether both can have the same open store.
    fn agree_with(&self, other: &Self) -> bool {
        Self { allowed: None, ..*self } == Self { allowed: None, ..*other }
    }
}

/// What a file holds at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStats {
    /// Claims in progress and indeterminate records.
    pub held: u64,
    /// Completed, not replayable and released records.
    pub settled: u64,
    /// Bytes of the settled ones, each with 512 of its own.
    pub bytes: u64,
    /// Settled records that were dropped to make room, since the file was made.
    pub evicted: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of its journal.
    pub journal_bytes: u64,
    /// How often this process has synced the journal, with [`Durability::Fsync`]: groups of writes share a sync.
    pub syncs: u64,
}

/// A store in a file, open. See the module.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("store");
/// use std::time::Duration;
/// use reprise::idempotency::file::{Access, Durability, FileOptions, FileStore};
/// use reprise::idempotency::{Claim, DigestBuilder, Identified, Limits, Outcome, Owner};
///
/// let limits = Limits { max_bytes: 1 << 30, max_entries: 1_000_000 };
/// let options = FileOptions { durability: Durability::Os, access: Access::ReadWrite, limits, allowed: None };
/// let store = FileStore::open(&path, options)?;
/// let key = DigestBuilder::new("example").finish();
/// let request = Identified { key, fingerprint: key, identity: key, name: key };
/// let claim = Claim {
///     request,
///     owner: Owner(1),
///     lease: Duration::from_secs(30),
///     retention: Duration::from_secs(86_400),
///     over_indeterminate: false,
/// };
/// let outcome = store.claim(&claim, None).wait()?;
/// assert!(matches!(outcome, Outcome::Claimed { fence: 1, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
    session: Session,
}

/// Closes the store when the last one who has it lets go of it.
#[derive(Debug)]
struct Shared(Arc<Core>);

impl Drop for Shared {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl FileStore {
    /// Opens a store of its own; see [`FileStores`] for one that is shared within the process.
    ///
    /// # Errors
    ///
    /// Every [`FileStoreError`] but `Closed`, `OptionsDiffer`, `ReadOnly` and `Unsynced`; `Replaced` where that happens
    /// meanwhile.
    pub fn open(path: &Path, options: FileOptions) -> Result<Self, FileStoreError> {
        let core = Core::open(&Place::find(path, options.allowed)?, options)?;
        Ok(Self::of(Arc::new(Shared(core)), path))
    }

    fn of(shared: Arc<Shared>, path: &Path) -> Self {
        let session = shared.0.new_session();
        shared.0.guard.watch_name(session, path);
        Self { shared, session }
    }

    /// Makes the claimant the owner of the key, or says why not. For as long as `hold` says, the claim's lease is renewed
    /// by the store itself while this process lives and runs: until the first try to end the claim, or until this
    /// store is dropped.
    pub fn claim(&self, claim: &Claim, hold: Option<Duration>) -> Pending<Outcome> {
        let (claim, session, core) = (*claim, self.session, Arc::clone(self.core()));
        self.write(0, told_of_claim, move |ledger| {
            let outcome = ledger.claim(&claim)?;
            if let (Outcome::Claimed { fence, .. }, Some(hold)) = (&outcome, hold) {
                let name = ClaimName { key: claim.request.key, owner: claim.owner, fence: *fence };
                core.holds.add(name, session, claim.lease, hold);
            }
            Ok(outcome)
        })
    }

    /// Ends a claim.
    pub fn settle(&self, name: ClaimName, settlement: Settlement, retention: Duration) -> Pending<Written> {
        self.core().holds.let_go(&name);
        let (bytes, told): (_, fn(&Written) -> Told) = match &settlement {
            Settlement::Complete(answer) => (answer.size(), |_| Told::Synced),
            Settlement::NotReplayable | Settlement::Indeterminate => (0, |_| Told::Synced),
            // Undone, it leaves the claim of a process that is gone, which is as free.
            Settlement::Release => (0, |_| Told::Committed),
        };
        self.write(bytes, told, move |ledger| ledger.settle(&name, settlement, ms(retention)))
    }

    /// Prolongs a claim's lease, from now.
    pub fn renew(&self, name: ClaimName, lease: Duration) -> Pending<Written> {
        self.core().holds.renewed(&name, lease);
        self.write(0, |_| Told::Committed, move |ledger| ledger.renew(&name, ms(lease)))
    }

    /// Marks the commit point: from here on the key is never silently free again.
    pub fn commit_point(&self, name: ClaimName) -> Pending<Written> {
        self.write(0, |_| Told::Synced, move |ledger| ledger.commit_point(&name))
    }

    /// Saves how far the owner has come, for whoever claims the key next.
    pub fn save(&self, name: ClaimName, progress: Progress) -> Pending<Written> {
        self.write(progress.len(), |_| Told::Synced, move |ledger| ledger.save(&name, &progress))
    }

    /// A place in the queue for a key in progress; `None` if there is nothing to wait for.
    pub fn wait(&self, key: Digest) -> Pending<Option<Waiting>> {
        let core = Arc::clone(self.core());
        self.write(
            0,
            |_| Told::Committed,
            move |ledger| Ok(ledger.wait(&key)?.map(|claim| core.waiters.enter(key, claim))),
        )
    }

    /// What is kept for a key.
    pub fn inspect(&self, key: Digest) -> Pending<Option<Inspection>> {
        self.core().queue.add(0, |_| Told::Synced, move |ledger| ledger.inspect(&key))
    }

    /// Frees a key, whatever its state; the owner of a claim on it has lost it. Whether there was anything to forget.
    pub fn forget(&self, key: Digest) -> Pending<bool> {
        self.write(0, |_| Told::Synced, move |ledger| ledger.forget(&key))
    }

    /// Some of the records, from that place on; `None` for the first ones.
    pub fn list(&self, from: Option<i64>) -> Pending<Page> {
        self.core().queue.add(0, |_| Told::Committed, move |ledger| ledger.list(from.unwrap_or(i64::MIN)))
    }

    /// Ends an indeterminate record as somebody has found out that it ended, and keeps that for `retention`; `Lost` if
    /// it is not indeterminate.
    pub fn resolve(&self, key: Digest, settlement: Settlement, retention: Duration) -> Pending<Written> {
        let bytes = if let Settlement::Complete(answer) = &settlement { answer.size() } else { 0 };
        self.write(bytes, |_| Told::Synced, move |ledger| ledger.resolve(&key, settlement, ms(retention)))
    }

    /// Counts what is kept.
    pub fn stats(&self) -> Pending<FileStats> {
        let core = Arc::clone(self.core());
        self.core().queue.add(
            0,
            |_| Told::Committed,
            move |ledger| {
                let totals = ledger.totals();
                let (file_bytes, journal_bytes) = core.place.sizes();
                let unsigned = |number| u64::try_from(number).unwrap_or(0);
                Ok(FileStats {
                    held: unsigned(totals.held),
                    settled: unsigned(totals.settled),
                    bytes: unsigned(totals.bytes),
                    evicted: unsigned(totals.evicted),
                    file_bytes,
                    journal_bytes,
                    syncs: core.syncs.load(Ordering::Relaxed),
                })
            },
        )
    }

    /// Reads the whole file and says what is wrong with it, one line for each fault; none is good. It takes long, and
    /// holds nobody up.
    pub fn verify(&self) -> Pending<Vec<String>> {
        upkeep::verify(self.core())
    }

    /// Writes a copy, as of now, to a file that does not exist. It takes long, and holds nobody up. Claims that are in
    /// progress are free in the copy, since nobody holds them there.
    pub fn backup(&self, to: &Path) -> Pending<()> {
        upkeep::backup(self.core(), to)
    }

    /// Gives the space of what was deleted back to the disk. All writers wait meanwhile.
    pub fn compact(&self) -> Pending<()> {
        match self.core().options.access {
            Access::ReadOnly => refused(),
            Access::ReadWrite => upkeep::compact(self.core()),
        }
    }

    /// Lets go of the store, once what was asked before is done. If this was the last one in this process to let go of
    /// the file, ends when the file is closed, and no thread or descriptor is left of it.
    pub async fn close(self) {
        // Others may go on with the file. Whatever became of it: nothing that was asked before comes after it.
        let _ = self.core().queue.add(0, |()| Told::Synced, |_| Ok(())).await;
        let core = Arc::clone(self.core());
        drop(self);
        if core.queue.is_closed() {
            let mut over = core.over();
            // It has descriptors of its own.
            drop(core);
            // Ends with the thread in any case.
            let _ = over.wait_for(|is_over| *is_over).await;
        }
    }

    fn core(&self) -> &Arc<Core> {
        &self.shared.0
    }

    fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        told: fn(&T) -> Told,
        step: impl FnOnce(&mut ledger::Ledger<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<T> {
        match self.core().options.access {
            Access::ReadOnly => refused(),
            Access::ReadWrite => self.core().queue.add(bytes, told, step),
        }
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        self.core().holds.let_go_of(self.session);
        self.core().guard.forget_name(self.session);
    }
}

/// A claim that was granted binds nobody but the process that made it; what is replayed must not be undone.
fn told_of_claim(outcome: &Outcome) -> Told {
    match outcome {
        Outcome::Claimed { .. } | Outcome::InProgress { .. } | Outcome::Full => Told::Committed,
        Outcome::Completed(_) | Outcome::NotReplayable | Outcome::Indeterminate | Outcome::Mismatch(_) => {
            Told::Synced
        }
    }
}

fn refused<T>() -> Pending<T> {
    let (reply, pending) = pending::pending();
    // Nobody waits yet.
    let _ = reply.send(Err(FileStoreError::ReadOnly));
    pending
}
