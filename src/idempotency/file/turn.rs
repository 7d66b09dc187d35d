//! Whose turn it is to write.
//!
//! `SQLite` lets one process write at a time, but its waiters sleep and try again: one of several busy processes may
//! starve for seconds. So they queue before they ask it. The lock is taken through a gate: who waits for its turn
//! stands in the gate, and who has just had a turn finds the gate taken and comes after the one who stands there.
//!
//! The kernel lets go of the locks of a process that dies. Nothing depends on this queue but fairness: what keeps the
//! file whole are the locks of `SQLite` itself.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, ErrorKind};

use super::error::FileStoreError;
use super::place::Place;

/// One thread's place in the queue of a store.
#[derive(Debug)]
pub(super) struct Turn {
    gate: File,
    turn: File,
}

/// The turn; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Taken<'a>(&'a File);

impl Turn {
    pub fn new(place: &Place) -> Result<Self, FileStoreError> {
        Ok(Self { gate: place.lock_file("gate")?, turn: place.lock_file("turn")? })
    }

    /// Waits for its turn.
    pub fn take(&self) -> io::Result<Taken<'_>> {
        lock(&self.gate)?;
        let taken = lock(&self.turn);
        self.gate.unlock()?;
        taken.map(|()| Taken(&self.turn))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // Of a file that is open and locked; were it to fail, the kernel ends the turn with the process.
        let _ = self.0.unlock();
    }
}

fn lock(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::TryLockError;

    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn who_has_just_had_a_turn_comes_after_who_waits_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::find(&folder.path().join("store")).unwrap();
        place.prepare().unwrap();
        let (greedy, patient) = (Turn::new(&place).unwrap(), Turn::new(&place).unwrap());
        let gate = place.lock_file("gate").unwrap();
        let turns = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let taken = greedy.take().unwrap();
            scope.spawn(|| {
                let _taken = patient.take().unwrap();
                turns.lock().push("patient");
            });
            while !matches!(gate.try_lock(), Err(TryLockError::WouldBlock)) {
                gate.unlock().unwrap();
                std::thread::yield_now();
            }
            drop(taken);
            let _taken = greedy.take().unwrap();
            turns.lock().push("greedy");
        });
        assert_eq!(*turns.lock(), ["patient", "greedy"]);
    }
}
