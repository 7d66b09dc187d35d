//! Whose turn it is to write.
//!
//! `SQLite` lets one process write at a time, but its waiters sleep and try again: one of several busy processes may
//! starve for seconds. So they queue before they ask it. The lock is taken through a gate: who waits for its turn
//! stands in the gate, and who has just had a turn finds the gate taken and comes after the one who stands there.
//!
//! The kernel lets go of the locks of a process that dies, but not of one that is stopped, and a lock cannot be waited
//! for with a limit. So who waits for long has a thread of its own wait, the usher, and goes without a turn when that takes
//! too long. Nothing but fairness depends on this queue: what keeps the file whole are the locks of `SQLite`
//! itself.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, ErrorKind};
use std::mem;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::core::named_thread;
use super::error::FileStoreError;
use super::guard::leads_to;
use super::place::Place;

/// How long a turn is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// For so long one looks for oneself, which costs less than to be told by another thread: most turns are short.
const SOON: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_micros(50);
const LONGEST_LOOK: Duration = Duration::from_millis(1);

/// Who is the next one looks without a pause at first: to sleep, and to be woken, takes longer than many a turn.
const NEXT: Duration = Duration::from_millis(1);

/// One thread's place in the queue of a store.
#[derive(Debug)]
pub(super) struct Turn {
    shared: Arc<Shared>,
    usher: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    gate: File,
    turn: File,
    usher: Mutex<Usher>,
    changed: Condvar,
}

/// What the usher is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usher {
    /// There is no usher yet.
    Unknown,
    None,
    Wanted,
    Taken,
    /// Who asked goes without. The usher still stands there.
    Abandoned,
    Over,
}

/// The turn; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Taken(Arc<Shared>);

impl Turn {
    pub fn new(place: &Place) -> Result<Self, FileStoreError> {
        let shared = Shared {
            gate: place.lock_file("gate")?,
            turn: place.lock_file("turn")?,
            usher: Mutex::new(Usher::Unknown),
            changed: Condvar::new(),
        };
        Ok(Self { shared: Arc::new(shared), usher: None })
    }

    /// Whether others queue at the same files. Somebody may have removed them.
    fn is_that_of(&self, place: &Place) -> bool {
        let Shared { gate, turn, .. } = &*self.shared;
        leads_to(&place.locks.join("gate"), gate) && leads_to(&place.locks.join("turn"), turn)
    }

    /// Waits for its turn, at the files that are there now; `None` if that takes too long, because one who is before it is
    /// held up.
    pub fn take(&mut self, place: &Place) -> Option<Taken> {
        if !self.is_that_of(place)
            && let Ok(present) = place.prepare_locks().and_then(|()| Self::new(place))
        {
            *self = present;
        }
        self.take_here()
    }

    fn take_here(&mut self) -> Option<Taken> {
        let shared = &*self.shared;
        let mut usher = shared.usher.lock();
        match *usher {
            Usher::Abandoned => return None,
            _ if shared.try_take() => return Some(Taken(Arc::clone(&self.shared))),
            Usher::Unknown => {
                let waiting = Arc::clone(&self.shared);
                let Ok(usher) = named_thread("reprise-usher", move || waiting.wait_for_turns()) else {
                    let _ = shared.gate.unlock();
                    return None;
                };
                self.usher = Some(usher);
            }
            _ => {}
        }
        *usher = Usher::Wanted;
        shared.changed.notify_all();
        let end = Instant::now() + PATIENCE;
        while *usher == Usher::Wanted {
            if shared.changed.wait_until(&mut usher, end).timed_out() && *usher == Usher::Wanted {
                *usher = Usher::Abandoned;
                return None;
            }
        }
        *usher = Usher::None;
        Some(Taken(Arc::clone(&self.shared)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let before = mem::replace(&mut *self.shared.usher.lock(), Usher::Over);
        self.shared.changed.notify_all();
        // One that stands in the gate ends when it has come through; another one is about to end, and its files with it.
        if let Some(usher) = self.usher.take().filter(|_| before != Usher::Abandoned) {
            let _ = usher.join();
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Of a file that is open and locked; were it to fail, the kernel ends the turn with the process.
        let _ = self.0.turn.unlock();
    }
}

impl Shared {
    /// Takes the turn, if it is ours before long.
    fn try_take(&self) -> bool {
        let end = Instant::now() + SOON;
        let (mut in_gate_since, mut look) = (None, LOOK);
        loop {
            if in_gate_since.is_none() && self.gate.try_lock().is_ok() {
                in_gate_since = Some(Instant::now());
            }
            let is_taken = in_gate_since.is_some() && self.turn.try_lock().is_ok();
            if is_taken || Instant::now() >= end {
                // Otherwise the usher goes on standing there, but where a lock cannot be taken twice by one who has it.
                if in_gate_since.is_some() && (is_taken || cfg!(not(unix))) {
                    let _ = self.gate.unlock();
                }
                return is_taken;
            }
            match in_gate_since {
                Some(since) if since.elapsed() < NEXT => thread::yield_now(),
                Some(_) => thread::sleep(LOOK),
                // There is time.
                None => {
                    thread::sleep(look);
                    look = LONGEST_LOOK.min(2 * look);
                }
            }
        }
    }

    /// What the usher does.
    fn wait_for_turns(&self) {
        loop {
            let mut usher = self.usher.lock();
            while !matches!(*usher, Usher::Wanted | Usher::Over) {
                self.changed.wait(&mut usher);
            }
            if *usher == Usher::Over {
                return;
            }
            drop(usher);
            // Without a lock to be had there is no queue: all go on as if it were their turn.
            let _ = lock(&self.gate).and_then(|()| lock(&self.turn));
            let _ = self.gate.unlock();
            let mut usher = self.usher.lock();
            match *usher {
                Usher::Wanted => {
                    *usher = Usher::Taken;
                    self.changed.notify_all();
                }
                other => {
                    let _ = self.turn.unlock();
                    if other == Usher::Abandoned {
                        *usher = Usher::None;
                    }
                }
            }
        }
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

    use super::*;

    #[test]
    fn who_has_just_had_a_turn_comes_after_who_waits_for_one() {
        let (_folder, place) = Place::of_a_test();
        let (mut greedy, mut patient) = (Turn::new(&place).unwrap(), Turn::new(&place).unwrap());
        let gate = place.lock_file("gate").unwrap();
        let turns = Mutex::new(Vec::new());
        thread::scope(|scope| {
            let taken = greedy.take(&place).unwrap();
            scope.spawn(|| {
                let _taken = patient.take(&place);
                turns.lock().push("patient");
            });
            while !matches!(gate.try_lock(), Err(TryLockError::WouldBlock)) {
                gate.unlock().unwrap();
                thread::yield_now();
            }
            drop(taken);
            let _taken = greedy.take(&place);
            turns.lock().push("greedy");
        });
        assert_eq!(*turns.lock(), ["patient", "greedy"]);
    }

    #[cfg(unix)]
    #[test]
    fn who_has_lost_the_files_of_the_queue_queues_where_the_others_do() {
        let (_folder, place) = Place::of_a_test();
        let mut turn = Turn::new(&place).unwrap();
        std::fs::remove_dir_all(&place.locks).unwrap();
        let _taken = turn.take(&place).unwrap();
        let there = place.lock_file("turn").unwrap();
        assert!(matches!(there.try_lock(), Err(TryLockError::WouldBlock)));
    }

    #[test]
    fn one_who_is_stopped_in_the_gate_holds_nobody_up() {
        let (_folder, place) = Place::of_a_test();
        let stopped = place.lock_file("gate").unwrap();
        stopped.lock().unwrap();
        let mut turn = Turn::new(&place).unwrap();
        assert!(turn.take(&place).is_none());
        let again = Instant::now();
        assert!(turn.take(&place).is_none());
        assert!(again.elapsed() < PATIENCE, "the usher is still there");
        stopped.unlock().unwrap();
        while turn.take(&place).is_none() {
            thread::yield_now();
        }
    }
}
