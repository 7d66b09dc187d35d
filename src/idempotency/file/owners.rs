//! Which processes live.
//!
//! Every process that claims keys holds a lock on a file of its own. The kernel lets go of it when the process dies,
//! in whatever way, and at no other time; the number of a process could be another one's by now.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;

use super::error::FileStoreError;
use super::place::{Place, private_file};

const PREFIX: &str = "owner-";

/// Names one process at one store, for as long as it has the store open. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process(pub i64);

/// This process's own lock.
#[derive(Debug)]
pub(super) struct Life {
    pub process: Process,
    file: File,
}

impl Life {
    /// Begins one.
    pub fn begin(place: &Place) -> Result<Self, FileStoreError> {
        loop {
            let process = Process(rand::random::<i64>() & i64::MAX);
            let path = place.locks.join(name_of(process));
            match private_file().create_new(true).open(&path) {
                Ok(file) => {
                    file.lock().map_err(|error| FileStoreError::system(&path, &error))?;
                    // Who tidied up before it was locked has taken it for a dead one's.
                    if path.exists() {
                        return Ok(Self { process, file });
                    }
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(FileStoreError::system(&path, &error)),
            }
        }
    }

    /// Ends it: what this process has claimed is free.
    pub fn end(self, place: &Place) {
        // The name goes first. A file that stays behind is without a lock, which says the same.
        let _ = fs::remove_file(place.locks.join(name_of(self.process)));
        drop(self.file);
    }

    /// Goes on for as long as the process, with nothing left to do for it: claims that it still holds must not be free
    /// before their leases have run out, for what they were made for may still be running.
    pub fn go_on(self) {
        std::mem::forget(self.file);
    }
}

/// What is known of the processes, within one look at the store.
#[derive(Debug)]
pub(super) struct Owners<'a> {
    place: &'a Place,
    known: HashMap<Process, bool>,
}

impl<'a> Owners<'a> {
    /// `own` is the process itself, which may be one that only reads.
    pub fn new(place: &'a Place, own: Option<Process>) -> Self {
        Self { place, known: own.map(|process| (process, true)).into_iter().collect() }
    }

    pub fn is_alive(&mut self, process: Process) -> bool {
        *self.known.entry(process).or_insert_with(|| is_locked(self.place, &name_of(process)))
    }
}

/// Removes what dead processes have left.
pub(super) fn tidy_up(place: &Place) {
    let Ok(entries) = fs::read_dir(&place.locks) else { return };
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        if !name.starts_with(PREFIX) {
            continue;
        }
        let path = place.locks.join(name);
        // Locked until it is gone, so that nobody begins a life with it. One that cannot be removed is in nobody's way.
        if let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(path);
        }
    }
}

fn name_of(process: Process) -> String {
    format!("{PREFIX}{:016x}", process.0)
}

fn is_locked(place: &Place, name: &str) -> bool {
    match File::open(place.locks.join(name)) {
        // Shared, so that two who look at the same time do not take each other for its owner.
        Ok(file) => matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
        // Without permission to look, or files to look with, its lease has to run out.
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_as_long_as_its_lock() {
        let (_folder, place) = Place::of_a_test();
        let life = Life::begin(&place).unwrap();
        let process = life.process;
        let alive = || Owners::new(&place, None).is_alive(process);
        assert!(alive());
        tidy_up(&place);
        assert!(alive());
        // As the kernel does when the process is killed: the lock goes, the file stays.
        drop(life.file);
        assert!(!alive());
        tidy_up(&place);
        assert!(fs::read_dir(&place.locks).unwrap().next().is_none());
        assert!(!alive());
    }
}
