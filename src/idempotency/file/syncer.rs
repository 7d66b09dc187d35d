//! The thread that syncs the journal, beside the writer: while the disk is at it the next groups are committed, and all
//! that were committed before a sync began share it.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::mem;
use std::sync::atomic::Ordering;

use parking_lot::{Condvar, Mutex};

use super::core::Core;
use super::error::FileStoreError;
use super::ledger::Ended;
use super::queue::{Step, answer_all};

/// What has been committed, and is not told before it is synced.
pub(super) struct Group {
    pub steps: Vec<Box<dyn Step>>,
    pub ended: Vec<Ended>,
}

/// What waits for the next sync.
#[derive(Default)]
pub(super) struct Syncer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    groups: Vec<Group>,
    is_closed: bool,
    /// Set when a sync has failed: nobody knows any more what the disk holds. A second one may succeed without having
    /// written what the first one could not.
    failure: Option<FileStoreError>,
}

impl Syncer {
    pub fn add(&self, group: Group) {
        self.state.lock().groups.push(group);
        self.changed.notify_one();
    }

    pub fn failure(&self) -> Option<FileStoreError> {
        self.state.lock().failure.clone()
    }

    /// What waits is still synced.
    pub fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Blocks until there is something to sync; `None` when nothing will come any more.
    fn next(&self) -> Option<Vec<Group>> {
        let mut state = self.state.lock();
        while state.groups.is_empty() && !state.is_closed {
            self.changed.wait(&mut state);
        }
        (!state.groups.is_empty()).then(|| mem::take(&mut state.groups))
    }
}

impl std::fmt::Debug for Syncer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Syncer({} groups)", self.state.lock().groups.len())
    }
}

/// Works until the syncer is closed.
pub(super) fn run(core: &Core) {
    // From the start: who opens it behind an error of the disk does not hear of that.
    let mut journal = open_journal(core).ok();
    while let Some(groups) = core.syncer.next() {
        let synced = core.syncer.failure().map_or_else(|| sync(&mut journal, core), Err);
        for Group { steps, ended } in groups {
            answer_all(steps, &synced);
            core.tell_of(&ended);
        }
    }
}

fn sync(journal: &mut Option<File>, core: &Core) -> Result<(), FileStoreError> {
    let place = &core.place;
    let synced = write_through(journal, core)
        .map_err(|error| FileStoreError::Unsynced { path: place.file.clone(), reason: error.to_string() });
    core.syncs.fetch_add(1, Ordering::Relaxed);
    core.syncer.state.lock().failure = synced.clone().err();
    synced
}

/// Writes the journal to the disk. What it holds then survives a power cut.
fn write_through(journal: &mut Option<File>, core: &Core) -> io::Result<()> {
    let journal = match journal {
        Some(journal) => journal,
        // It stays as long as any connection is open, and the writer's is.
        none => none.insert(open_journal(core)?),
    };
    journal.sync_data()
}

fn open_journal(core: &Core) -> io::Result<File> {
    let place = &core.place;
    let path = place.journal();
    let opened = OpenOptions::new().write(true).open(&path)?;
    if !core.guard.knows(&path, &opened) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the journal was replaced"));
    }
    if let Some(folder) = place.file.parent().filter(|_| cfg!(unix)) {
        File::open(folder)?.sync_all()?;
    }
    Ok(opened)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::place::Place;
    use super::super::queue::Told;
    use super::super::{Access, Durability, FileOptions};
    use super::*;
    use crate::idempotency::Limits;

    #[test]
    fn after_a_sync_that_failed_nothing_is_acknowledged_any_more() {
        let (_folder, place) = Place::of_a_test();
        let limits = Limits { max_bytes: 1 << 30, max_entries: 1_000 };
        let (durability, access) = (Durability::Fsync, Access::ReadWrite);
        let core = Core::open(&place, FileOptions { durability, access, limits, allowed: None }).unwrap();
        let write = || core.queue.add(0, |()| Told::Synced, |_| Ok(())).wait();
        assert_eq!(write(), Ok(()));
        // A disk that fails to sync, as this device does.
        let failed = sync(&mut Some(File::open("/dev/null").unwrap()), &core);
        assert!(matches!(failed, Err(FileStoreError::Unsynced { .. })), "{failed:?}");
        // The next sync would succeed.
        assert_eq!(write(), failed);
        assert_eq!(core.queue.add(0, |()| Told::Committed, |_| Ok(())).wait(), failed);
        core.close();
    }
}
