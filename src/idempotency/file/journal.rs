//! Brings what the journal holds into the file, beside the requests and not inside of one.
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::core::Core;
use super::error::FileStoreError;
use super::place::Place;
use super::schema;
use super::turn::Turn;

/// Pages that are written to the journal between two times that it is copied into the file: 16 MiB.
const SOFT: u32 = 4_000;

/// At so many pages, 32 MiB, the journal has to begin anew, which needs a moment in which it is copied to its end.
const HARD: u32 = 8_000;

/// At so many pages, 256 MiB, there is no room for claims. A reader that stays keeps the journal from beginning anew, and
/// nothing else would keep it from filling the disk.
const FULL: u32 = 65_536;

/// How often it is looked whether a full journal can begin anew.
const LOOK: Duration = Duration::from_millis(250);

/// How long the journal is.
#[derive(Debug, Default)]
pub(super) struct Pages {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    count: u32,
    copied: u32,
    is_closed: bool,
}

impl Pages {
    pub fn set(&self, count: u32) {
        let mut state = self.state.lock();
        if count < state.count {
            // It has begun anew.
            state.copied = 0;
        }
        state.count = count;
        if state.is_due() || count >= FULL {
            self.changed.notify_one();
        }
    }

    /// Whether new claims may be written. What has been claimed can still be completed.
    pub fn have_room(&self) -> bool {
        self.state.lock().count < FULL
    }

    pub fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Blocks until there is enough to copy; `None` when the store is closed.
    fn wait(&self) -> Option<u32> {
        let mut state = self.state.lock();
        while !state.is_closed && !state.is_due() {
            if state.count < FULL {
                self.changed.wait(&mut state);
            } else if self.changed.wait_for(&mut state, LOOK).timed_out() {
                break;
            }
        }
        (!state.is_closed).then_some(state.count)
    }

    fn set_copied(&self, pages: u32) {
        self.state.lock().copied = pages;
    }
}

impl State {
    fn is_due(&self) -> bool {
        self.count >= self.copied.saturating_add(SOFT)
    }
}

/// What the thread works with.
pub(super) struct Journal {
    connection: Connection,
    turn: Turn,
}

impl Journal {
    /// A store without it would grow its journal until it is full, so a store does not open without it.
    pub fn open(place: &Place) -> Result<Self, FileStoreError> {
        Ok(Self { connection: schema::open(place)?, turn: Turn::new(place)? })
    }

    /// Works until the store is closed.
    pub fn run(mut self, core: &Core) {
        while let Some(pages) = core.pages.wait() {
            // The writer refuses what comes, too.
            if core.guard.check().is_err() {
                return;
            }
            let round = AssertUnwindSafe(|| match pages {
                FULL.. => self.begin_anew(core, pages),
                _ => self.keep_short(core, pages),
            });
            if catch_unwind(round).is_err() {
                // It is tried again when there is more. That it panicked has been said where panics are said.
                core.pages.set_copied(pages);
            }
        }
    }

    fn keep_short(&mut self, core: &Core, pages: u32) {
        let mut copied = copy(&self.connection);
        // Another process may be at it, or may have just done it.
        if copied.is_some_and(|copied| copied >= HARD) {
            // What was written meanwhile first, so that little is left to copy while nobody writes. Who writes next finds
            // nothing in the journal that is not in the file, and begins it anew.
            copy(&self.connection);
            let taken = self.turn.take(&core.place);
            copied = copy(&self.connection);
            drop(taken);
        }
        // Where a reader or the disk was in the way, it is tried again when there is more.
        core.pages.set_copied(copied.unwrap_or(pages).max(pages));
    }

    fn begin_anew(&mut self, core: &Core, pages: u32) {
        // What is copied now holds nobody up.
        copy(&self.connection);
        let taken = self.turn.take(&core.place);
        let left = begin_anew(&self.connection);
        if let Some(left) = left {
            // Before others write again: what the writer counts then is newer.
            core.pages.set(left);
        }
        drop(taken);
        core.pages.set_copied(left.unwrap_or(pages));
    }
}

/// Has a journal that is far too long begin anew, and gives its space back to the disk, if no reader is in the way. The
/// number of pages that are in it then.
fn begin_anew(connection: &Connection) -> Option<u32> {
    connection.busy_timeout(Duration::ZERO).ok()?;
    let left = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(1)).ok();
    connection.busy_timeout(schema::BUSY).ok()?;
    left
}

/// Copies into the file what no reader holds back; the number of pages in the journal, unless another process is at it.
fn copy(connection: &Connection) -> Option<u32> {
    let copied = connection
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get::<_, bool>(0)?, row.get(1)?)));
    copied.ok().and_then(|(is_busy, pages)| (!is_busy).then_some(pages))
}
