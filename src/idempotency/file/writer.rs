//! The one thread of a process that writes: it takes what is queued, and commits it in groups.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, TransactionBehavior};

use super::core::Core;
use super::error::FileStoreError;
use super::journal::Pages;
use super::ledger::{Ended, Ledger};
use super::owners::{Life, Owners, tidy_up};
use super::place::Place;
use super::queue::{Step, Told};
use super::rows::Rows;
use super::schema;
use super::time::Now;
use super::turn::Turn;
use super::{Access, Durability};

/// What the thread works with. Opened on it, and dropped on it.
pub(super) struct Writer {
    connection: Connection,
    /// Absent where the store only reads.
    means: Option<Means>,
    /// The journal, to sync it.
    journal: Option<File>,
    /// Set when a sync has failed: nobody knows any more what the disk holds.
    broken: Option<FileStoreError>,
}

struct Means {
    turn: Turn,
    life: Life,
}

impl Writer {
    /// Opens the file, and begins the life of this process there.
    pub fn open(place: &Place, access: Access) -> Result<Self, FileStoreError> {
        if access == Access::ReadOnly {
            let connection = schema::open_to_read(place)?;
            return Ok(Self { connection, means: None, journal: None, broken: None });
        }
        place.prepare()?;
        let turn = Turn::new(place)?;
        let taken = turn.take();
        let connection = schema::open(place)?;
        tidy_up(place);
        let life = Life::begin(place)?;
        drop(taken);
        Ok(Self { connection, means: Some(Means { turn, life }), journal: None, broken: None })
    }

    /// Who this process is at the store; none where it only reads.
    pub fn process(&self) -> Option<super::owners::Process> {
        self.means.as_ref().map(|means| means.life.process)
    }

    /// Has the pages of the journal counted after every commit.
    pub fn count_pages(&mut self, pages: Arc<Pages>) -> rusqlite::Result<()> {
        self.connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
            pages.set(u32::try_from(count).unwrap_or(0));
            Ok(())
        }))
    }

    /// Works until the queue is closed and empty.
    pub fn run(mut self, core: &Core) {
        while core.queue.wait() {
            self.commit_group(core);
        }
        self.finish(core);
    }

    fn commit_group(&mut self, core: &Core) {
        let place = &core.place;
        // Not before it is our turn: the longer that takes, the more goes into the group.
        let taken = self.means.as_ref().map(|means| means.turn.take());
        let mut steps = core.queue.take();
        if let Some(error) = &self.broken {
            return fail_all(steps, error);
        }
        let connection = &mut self.connection;
        let attempt = AssertUnwindSafe(|| transact(connection, core, &mut steps));
        let committed = catch_unwind(attempt).unwrap_or_else(|_| {
            Err(FileStoreError::System { path: place.file.clone(), reason: "a step panicked".to_owned() })
        });
        let ended = match committed {
            Ok(ended) => ended,
            Err(error) => return fail_all(steps, &error),
        };
        drop(taken);
        let is_synced = core.options.durability == Durability::Fsync && self.means.is_some();
        let (early, late): (Vec<_>, Vec<_>) =
            steps.into_iter().partition(|step| !is_synced || step.told() == Told::Committed);
        for step in early {
            step.answer(Ok(()));
        }
        if !late.is_empty() {
            // Others may commit meanwhile, and replay what this group has written: then they sync the journal, too.
            let synced = sync(&mut self.journal, place);
            core.syncs.fetch_add(1, Ordering::Relaxed);
            // A second sync may succeed without having written what the first one could not.
            self.broken = synced.clone().err();
            for step in late {
                step.answer(synced.clone());
            }
        }
        core.tell_of(&ended);
    }

    fn finish(self, core: &Core) {
        let Self { connection, means, .. } = self;
        if let Some(Means { life, .. }) = means {
            // Where that is not known, they may be held.
            let holds_claims = Rows(&connection).has_claims(life.process, Now::read().uptime).unwrap_or(true);
            if holds_claims {
                life.go_on();
            } else {
                life.end(&core.place);
            }
        }
        core.be_alone();
        // The last one to close the file empties the journal into it. That it cannot, the next one to open it will do.
        let _ = connection.close();
    }
}

/// Writes the journal to the disk. What it holds then survives a power cut.
fn sync(journal: &mut Option<File>, place: &Place) -> Result<(), FileStoreError> {
    let sync = || -> io::Result<()> {
        let journal = match journal {
            Some(journal) => journal,
            // It stays as long as any connection is open, and ours is.
            none => {
                let opened = OpenOptions::new().write(true).open(place.journal())?;
                if let Some(folder) = place.file.parent().filter(|_| cfg!(unix)) {
                    File::open(folder)?.sync_all()?;
                }
                none.insert(opened)
            }
        };
        journal.sync_data()
    };
    sync().map_err(|error| FileStoreError::Unsynced { path: place.file.clone(), reason: error.to_string() })
}

fn transact(
    connection: &mut Connection,
    core: &Core,
    steps: &mut [Box<dyn Step>],
) -> Result<Vec<Ended>, FileStoreError> {
    let behavior = match core.options.access {
        Access::ReadWrite => TransactionBehavior::Immediate,
        Access::ReadOnly => TransactionBehavior::Deferred,
    };
    let mut run = || {
        let transaction = connection.transaction_with_behavior(behavior)?;
        let owners = Owners::new(&core.place, core.process);
        let mut ledger = Ledger::open(Rows(&transaction), owners, core.process_id(), core.options.limits)?;
        for step in steps.iter_mut() {
            step.run(&mut ledger)?;
        }
        let ended = ledger.close()?;
        transaction.commit()?;
        Ok(ended)
    };
    run().map_err(|error| FileStoreError::sqlite(&core.place.file, &error))
}

fn fail_all(steps: Vec<Box<dyn Step>>, error: &FileStoreError) {
    for step in steps {
        step.answer(Err(error.clone()));
    }
}
