//! The one thread of a process that writes: it takes what is queued, and commits it in groups.
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};

use super::Access;
use super::core::Core;
use super::error::FileStoreError;
use super::journal::Pages;
use super::ledger::{Ended, Ledger};
use super::owners::{Life, Owners, tidy_up};
use super::place::Place;
use super::queue::{Step, Told, answer_all};
use super::rows::Rows;
use super::schema;
use super::syncer::Group;
use super::time::Now;
use super::turn::Turn;

/// How long a turn goes on while steps keep coming: so long that what a turn costs is little beside it, so short that
/// others have theirs soon.
const TURN: Duration = Duration::from_millis(4);

/// What the thread works with. Opened on it, and dropped on it.
pub(super) struct Writer {
    connection: Connection,
    /// Absent where the store only reads.
    means: Option<Means>,
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
            return Ok(Self { connection, means: None });
        }
        place.prepare()?;
        let turn = Turn::new(place)?;
        let taken = turn.take();
        let connection = schema::open(place)?;
        tidy_up(place);
        let life = Life::begin(place)?;
        drop(taken);
        Ok(Self { connection, means: Some(Means { turn, life }) })
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
            // Not before it is our turn: the longer that takes, the more goes into the group.
            let taken = self.means.as_ref().and_then(|means| means.turn.take());
            let end = Instant::now() + TURN;
            self.commit_group(core);
            while taken.is_some() && Instant::now() < end && !core.queue.is_empty() {
                self.commit_group(core);
            }
        }
        self.finish(core);
    }

    /// Commits what is queued, and answers.
    fn commit_group(&mut self, core: &Core) {
        let mut steps = core.queue.take();
        if let Some(error) = core.syncer.failure() {
            return answer_all(steps, &Err(error));
        }
        let connection = &mut self.connection;
        let attempt = AssertUnwindSafe(|| transact(connection, core, &mut steps));
        let committed = catch_unwind(attempt).unwrap_or_else(|_| {
            let reason = "a step panicked".to_owned();
            Err(FileStoreError::System { path: core.place.file.clone(), reason })
        });
        let ended = match committed {
            Ok(ended) => ended,
            Err(error) => return answer_all(steps, &Err(error)),
        };
        if core.is_synced() {
            let (early, late): (Vec<_>, Vec<_>) =
                steps.into_iter().partition(|step| step.told() == Told::Committed);
            if !late.is_empty() {
                // Others may commit meanwhile, and replay what this group has written: then they sync the journal, too.
                core.syncer.add(Group { steps: late, ended });
                return answer_all(early, &Ok(()));
            }
            steps = early;
        }
        answer_all(steps, &Ok(()));
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
