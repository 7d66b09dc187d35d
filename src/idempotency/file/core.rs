//! What the threads of an open store share.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, mem};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::bell::Bell;
use super::error::FileStoreError;
use super::guard::Guard;
use super::holds::{Holds, Session};
use super::journal::{Journal, Pages};
use super::keeper;
use super::ledger::Ended;
use super::owners::{Lives, Process};
use super::place::Place;
use super::queue::Queue;
use super::syncer::{self, Syncer};
use super::waiters::Waiters;
use super::writer::Writer;
use super::{Access, Durability, FileOptions};

/// How long the opening of a file may take. A journal that a crash has left behind is read meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open store of this process.
#[derive(Debug)]
pub(super) struct Core {
    pub place: Place,
    pub options: FileOptions,
    pub guard: Guard,
    /// Who this process is at the store; none where it only reads.
    pub lives: Option<Lives>,
    pub queue: Queue,
    pub holds: Holds,
    pub waiters: Waiters,
    pub pages: Arc<Pages>,
    pub syncer: Syncer,
    pub syncs: AtomicU64,
    bell: Option<Arc<Bell>>,
    /// The threads beside the writer.
    helpers: Mutex<Vec<JoinHandle<()>>>,
    sessions: AtomicU64,
    is_over: watch::Sender<bool>,
}

/// A store whose threads are still to be started.
struct Started {
    core: Arc<Core>,
    writer: Writer,
    /// Absent where the store only reads.
    helpers: Option<Helpers>,
}

/// What the threads beside the writer work with.
struct Helpers {
    bell: Arc<Bell>,
    journal: Journal,
}

impl Core {
    /// Opens the store on its threads.
    pub fn open(place: &Place, options: FileOptions) -> Result<Arc<Self>, FileStoreError> {
        // Without room: what is sent is received, or comes back.
        let (tell, opened) = mpsc::sync_channel(0);
        let at = place.clone();
        let start = move || match Self::start(at, options) {
            Ok(Started { core, writer, helpers }) => {
                if tell.send(Ok((Arc::clone(&core), helpers))).is_err() {
                    // Who opens it has lost patience.
                    core.close();
                }
                writer.run(&core);
                let is_over = core.is_over.clone();
                // The last one who has it closes its descriptors.
                drop(core);
                is_over.send_replace(true);
            }
            Err(error) => {
                // Who opens it may have lost patience.
                let _ = tell.send(Err(error));
            }
        };
        spawn("reprise-file", place, start)?;
        let (core, helpers) =
            opened.recv_timeout(PATIENCE).map_err(|_| FileStoreError::Busy(place.file.clone()))??;
        if let Some(helpers) = helpers {
            core.spawn(helpers).inspect_err(|_| core.close())?;
        }
        Ok(core)
    }

    fn spawn(self: &Arc<Self>, Helpers { bell, journal }: Helpers) -> Result<(), FileStoreError> {
        let (kept, copied) = (Arc::clone(self), Arc::clone(self));
        self.add_helper(spawn("reprise-keeper", &self.place, move || keeper::run(&kept, &bell))?);
        self.add_helper(spawn("reprise-journal", &self.place, move || journal.run(&copied))?);
        if self.is_synced() {
            let syncer = Arc::clone(self);
            self.add_helper(spawn("reprise-syncer", &self.place, move || syncer::run(&syncer))?);
        }
        Ok(())
    }

    /// Has the writer wait for that thread before it closes the file.
    pub fn add_helper(&self, thread: JoinHandle<()>) {
        let mut helpers = self.helpers.lock();
        helpers.retain(|helper| !helper.is_finished());
        helpers.push(thread);
    }

    fn start(place: Place, options: FileOptions) -> Result<Started, FileStoreError> {
        let (mut writer, lives) = Writer::open(&place, options.access)?;
        let pages = Arc::<Pages>::default();
        writer
            .count_pages(Arc::clone(&pages))
            .map_err(|error| FileStoreError::sqlite(&place.file, &error))?;
        let helpers = match options.access {
            Access::ReadWrite => {
                Some(Helpers { bell: Arc::new(Bell::new(&place)?), journal: Journal::open(&place)? })
            }
            Access::ReadOnly => None,
        };
        let core = Arc::new(Self {
            guard: writer.guard(&place)?,
            lives,
            place,
            options,
            queue: Queue::default(),
            holds: Holds::default(),
            waiters: Waiters::default(),
            pages,
            syncer: Syncer::default(),
            syncs: AtomicU64::new(0),
            bell: helpers.as_ref().map(|helpers| Arc::clone(&helpers.bell)),
            helpers: Mutex::default(),
            sessions: AtomicU64::new(0),
            is_over: watch::Sender::new(false),
        });
        Ok(Started { core, writer, helpers })
    }

    pub fn new_session(&self) -> Session {
        Session(self.sessions.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether what is written must survive a power cut before it is told.
    pub fn is_synced(&self) -> bool {
        self.options.durability == Durability::Fsync && self.options.access == Access::ReadWrite
    }

    /// All names of this process, its present one last; one that only reads has none.
    pub fn processes(&self) -> Vec<Process> {
        self.lives.as_ref().map_or_else(Vec::new, Lives::processes)
    }

    /// Tells those who wait for them that claims have ended.
    pub fn tell_of(&self, ended: &[Ended]) {
        for claim in ended {
            self.waiters.wake(&claim.key);
        }
        if let Some(bell) = self.bell.as_ref().filter(|_| ended.iter().any(|claim| claim.waited)) {
            bell.ring();
        }
    }

    /// Ends the threads, once what is queued is done.
    pub fn close(&self) {
        self.queue.close();
        self.pages.close();
        // Its keeper listens.
        if let Some(bell) = &self.bell {
            bell.ring();
        }
        // Who waits learns by its next step that the store is closed.
        self.waiters.wake_those_of(|_| true);
    }

    /// Blocks until no other thread works on the file.
    pub fn be_alone(&self) {
        self.syncer.close();
        let threads = mem::take(&mut *self.helpers.lock());
        for thread in threads {
            // That it panicked, if it did, has been said where panics are said.
            let _ = thread.join();
        }
    }

    /// Ends when the file is closed.
    pub fn over(&self) -> watch::Receiver<bool> {
        self.is_over.subscribe()
    }
}

fn spawn(
    name: &str,
    place: &Place,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, FileStoreError> {
    named_thread(name, body).map_err(|error| FileStoreError::system(&place.file, &error))
}

/// A thread that debuggers and the system know by that name.
pub(super) fn named_thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(body)
}
