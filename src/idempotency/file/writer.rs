//! The one thread of a process that writes: it takes what is queued, and commits it in groups.
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};

use super::Access;
use super::core::Core;
use super::error::FileStoreError;
use super::guard::{Guard, Identity};
use super::journal::Pages;
use super::ledger::{Ended, Ledger, Terms};
use super::owners::{Lives, Owners, Process, tidy_up};
use super::place::Place;
use super::queue::{Step, Told, answer_all};
use super::rows::Rows;
use super::schema;
use super::syncer::Group;
use super::turn::Turn;

/// How long a turn goes on while steps keep coming: so long that what a turn costs is little beside it, so short that
/// others have theirs soon.
const TURN: Duration = Duration::from_millis(4);

/// What the thread works with. Opened on it, and dropped on it.
pub(super) struct Writer {
    connection: Connection,
    /// Absent where the store only reads.
    turn: Option<Turn>,
    /// What the database was before it was opened.
    file: Option<Identity>,
    /// Of the schema, when it was looked at last.
    schema: Option<i64>,
}

impl Writer {
    /// Opens the file, and begins the life of this process there.
    pub fn open(place: &Place, access: Access) -> Result<(Self, Option<Lives>), FileStoreError> {
        let identity =
            || Identity::at(&place.file).map_err(|error| FileStoreError::system(&place.file, &error));
        if access == Access::ReadOnly {
            let file = identity()?;
            let connection = schema::open_to_read(place)?;
            return Ok((Self { connection, turn: None, file, schema: None }, None));
        }
        place.prepare()?;
        let mut turn = Turn::new(place)?;
        let taken = turn.take(place);
        let file = identity()?;
        let connection = schema::open(place)?;
        tidy_up(place, |process| Rows(&connection).has_claims(process).unwrap_or(true));
        let lives = Lives::begin(place)?;
        drop(taken);
        Ok((Self { connection, turn: Some(turn), file, schema: None }, Some(lives)))
    }

    /// What watches over the files that were opened.
    pub fn guard(&self, place: &Place) -> Result<Guard, FileStoreError> {
        Guard::new(place, self.file)
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
            let taken = self.turn.as_mut().and_then(|turn| turn.take(&core.place));
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
        let attempt = AssertUnwindSafe(|| self.transact(core, &mut steps));
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

    fn transact(&mut self, core: &Core, steps: &mut [Box<dyn Step>]) -> Result<Vec<Ended>, FileStoreError> {
        let Core { place, options, guard, .. } = core;
        let behavior = match options.access {
            Access::ReadWrite => TransactionBehavior::Immediate,
            Access::ReadOnly => TransactionBehavior::Deferred,
        };
        let fail = |error| FileStoreError::sqlite(&place.file, &error);
        guard.check()?;
        let transaction = self.connection.transaction_with_behavior(behavior).map_err(fail)?;
        let schema = schema::version(&transaction).map_err(fail)?;
        if self.schema != Some(schema) {
            schema::check_tables(&transaction, place)?;
            self.schema = Some(schema);
        }
        let own = core.processes();
        let terms = Terms {
            process: own.last().copied().unwrap_or(Process(0)),
            limits: options.limits,
            has_room: core.pages.have_room(),
        };
        let mut run = || {
            let mut ledger = Ledger::open(Rows(&transaction), Owners::new(place, &own), terms)?;
            for step in steps.iter_mut() {
                step.run(&mut ledger)?;
            }
            ledger.close()
        };
        let ended = run().map_err(fail)?;
        // Were they replaced meanwhile, another process would not see what this one commits.
        guard.check()?;
        transaction.commit().map_err(fail)?;
        Ok(ended)
    }

    fn finish(self, core: &Core) {
        let Self { connection, turn, .. } = self;
        drop(turn);
        core.be_alone();
        if core.guard.check().is_err() {
            // Nothing is copied into files that are no longer these, nor by memory that may be cut short.
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        // The last one to close the file empties the journal into it. That it cannot, the next one to open it will do.
        let _ = connection.close();
        if let Some(lives) = &core.lives {
            lives.end(&core.place);
        }
    }
}
