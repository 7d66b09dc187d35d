//! Brings what the journal holds into the file, beside the requests and not inside of one.
#![forbid(unsafe_code)]

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::core::Core;
use super::error::FileStoreError;
use super::schema;
use super::turn::Turn;

/// Pages that are written to the journal between two times that it is copied into the file: 4 MiB.
const SOFT: u32 = 1_000;

/// At so many pages, 16 MiB, the journal has to begin anew, which needs a moment without writers.
const HARD: u32 = 4_000;

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
        if state.is_due() {
            self.changed.notify_one();
        }
    }

    pub fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Blocks until there is enough to copy; `None` when the store is closed.
    fn wait(&self) -> Option<u32> {
        let mut state = self.state.lock();
        while !state.is_closed && !state.is_due() {
            self.changed.wait(&mut state);
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

/// Works until the store is closed.
pub(super) fn run(core: &Core) {
    let open = || Ok::<_, FileStoreError>((schema::open(&core.place)?, Turn::new(&core.place)?));
    // Without it all still works, until the disk is full: the writer says so then.
    let Ok((connection, turn)) = open() else { return };
    while let Some(pages) = core.pages.wait() {
        let mut copied = checkpoint(&connection, "PASSIVE");
        if pages >= HARD {
            let taken = turn.take();
            // Little is left to copy by now.
            copied = checkpoint(&connection, "RESTART");
            drop(taken);
        }
        // Where a reader or the disk was in the way, it is tried again when there is more.
        core.pages.set_copied(copied.unwrap_or(pages).max(pages));
    }
}

/// The number of pages in the journal, as it was copied.
fn checkpoint(connection: &Connection, how: &str) -> Option<u32> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get(1)).ok()
}
