//! Which processes live.
//!
//! Every process that claims keys holds a lock on a file of its own. The kernel lets go of it when the process dies,
//! in whatever way, and at no other time; the number of a process could be another one's by now.
//!
//! Only that file, without its lock, proves a death. That there is no file of that name proves nothing, for somebody may
//! have tidied up: the leases of its process have to run out. The name of a process says which file is its own, so that no
//! other one is taken for it, and in which run of the host it lives: no process lives longer.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::Hasher;
use std::io::ErrorKind;
use std::sync::LazyLock;

use parking_lot::Mutex;
use siphasher::sip::SipHasher13;

use super::error::FileStoreError;
use super::guard::{Identity, leads_to};
use super::place::{Place, private_file};

const PREFIX: &str = "owner-";
/// What a file is called until it is locked.
const UNLOCKED: &str = "new-";

/// From the least bit on: a digest of the number of its file, one of the host's run, and chance. 63 bits in all.
const FILE_BITS: u32 = 24;
const RUN_BITS: u32 = 16;
/// The bit of a run that is known. A process that cannot read which run it is in has 0 for it.
const KNOWN_RUN: i64 = 1 << (RUN_BITS - 1);

/// Names one process at one store, for as long as it has the store open, or until its file is gone. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process(pub i64);

impl Process {
    fn of(file: Identity) -> Self {
        let chance = rand::random::<i64>() & (i64::MAX >> (FILE_BITS + RUN_BITS));
        Self((chance << (FILE_BITS + RUN_BITS)) | (this_run().unwrap_or(0) << FILE_BITS) | file_digest(file))
    }

    fn has(self, file: Identity) -> bool {
        self.0 & ((1 << FILE_BITS) - 1) == file_digest(file)
    }

    /// Whether the host is known to have been started anew since it began.
    fn is_of_another_run(self) -> bool {
        let run = (self.0 >> FILE_BITS) & ((1 << RUN_BITS) - 1);
        run & KNOWN_RUN != 0 && this_run().is_some_and(|this| run != this)
    }

    /// It, had it begun in another run.
    #[cfg(test)]
    pub fn in_another_run(self) -> Self {
        Self(self.0 ^ (1 << FILE_BITS))
    }

    fn file_name(self) -> String {
        format!("{PREFIX}{:016x}", self.0)
    }
}

fn file_digest(file: Identity) -> i64 {
    short_digest(&file.number().to_le_bytes(), FILE_BITS)
}

/// Which run of the host this is; `None` where the system does not say so to this process.
fn this_run() -> Option<i64> {
    static RUN: LazyLock<Option<i64>> = LazyLock::new(|| {
        let id = fs::read("/proc/sys/kernel/random/boot_id").ok().filter(|id| !id.is_empty())?;
        Some(KNOWN_RUN | short_digest(&id, RUN_BITS - 1))
    });
    *RUN
}

fn short_digest(bytes: &[u8], bits: u32) -> i64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    (hasher.finish() >> (64 - bits)).cast_signed()
}

/// This process's own lock.
#[derive(Debug)]
struct Life {
    process: Process,
    file: File,
}

impl Life {
    fn begin(place: &Place) -> Result<Self, FileStoreError> {
        loop {
            let path = place.locks.join(format!("{UNLOCKED}{:016x}", rand::random::<u64>()));
            let fail = |error| FileStoreError::system(&path, &error);
            let file = match private_file().create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                opened => opened.map_err(fail)?,
            };
            file.lock().map_err(fail)?;
            let process = Process::of(Identity::of(&file.metadata().map_err(fail)?));
            match fs::rename(&path, place.locks.join(process.file_name())) {
                Ok(()) => return Ok(Self { process, file }),
                // Who tidied up before it was locked has taken it for a dead one's.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(fail(error)),
            }
        }
    }

    fn is_known(&self, place: &Place) -> bool {
        leads_to(&place.locks.join(self.process.file_name()), &self.file)
    }

    fn end(self, place: &Place) {
        if self.is_known(place) {
            // One that stays behind is without a lock, as after a death.
            let _ = fs::remove_file(place.locks.join(self.process.file_name()));
        }
    }
}

/// The lives of this process at one store: the last one is its own, those before were lost with their files.
#[derive(Debug)]
pub(super) struct Lives(Mutex<Vec<Life>>);

impl Lives {
    /// Begins the first one.
    pub fn begin(place: &Place) -> Result<Self, FileStoreError> {
        Ok(Self(Mutex::new(vec![Life::begin(place)?])))
    }

    /// All names of this process, its present one last.
    pub fn processes(&self) -> Vec<Process> {
        self.0.lock().iter().map(|life| life.process).collect()
    }

    /// Begins another life if somebody has removed the file of this one. Claims of the old one are taken along as they
    /// are renewed.
    pub fn go_on(&self, place: &Place) {
        let mut lives = self.0.lock();
        if lives.last().is_some_and(|life| life.is_known(place)) {
            return;
        }
        // Where that fails the old one goes on: its claims hold until their leases run out.
        if let Ok(life) = place.prepare_locks().and_then(|()| Life::begin(place)) {
            lives.push(life);
        }
    }

    /// The lives that were lost. No claim is made in their names any more.
    pub fn lost(&self) -> Vec<Process> {
        let mut processes = self.processes();
        processes.pop();
        processes
    }

    /// Ends lives that were lost and have no claims.
    pub fn end_lost(&self, place: &Place, spent: &[Process]) {
        for life in self.0.lock().extract_if(.., |life| spent.contains(&life.process)) {
            life.end(place);
        }
    }

    /// Ends them. What this process has claimed keeps its lease, for what it was claimed for may still be running: a
    /// file that is gone proves no death.
    pub fn end(&self, place: &Place) {
        for life in self.0.lock().drain(..) {
            life.end(place);
        }
    }
}

/// What is known of the processes, within one look at the store.
#[derive(Debug)]
pub(super) struct Owners<'a> {
    place: &'a Place,
    known: HashMap<Process, bool>,
}

impl<'a> Owners<'a> {
    /// `own` are the names of this process, which may be one that only reads.
    pub fn new(place: &'a Place, own: &[Process]) -> Self {
        Self { place, known: own.iter().map(|process| (*process, true)).collect() }
    }

    /// False only where it is known that the process is dead.
    pub fn may_live(&mut self, process: Process) -> bool {
        *self.known.entry(process).or_insert_with(|| !is_dead(self.place, process))
    }
}

fn is_dead(place: &Place, process: Process) -> bool {
    let path = place.locks.join(process.file_name());
    match File::open(&path) {
        Ok(file) => match file.metadata() {
            Ok(found) if process.has(Identity::of(&found)) => {
                // Shared, so that two who look at the same time do not take each other for its owner. An owner who has
                // closed the store removes its file before it lets go of the lock.
                file.try_lock_shared().is_ok() && leads_to(&path, &file)
            }
            Ok(_) => process.is_of_another_run(),
            Err(_) => false,
        },
        Err(error) if error.kind() == ErrorKind::NotFound => process.is_of_another_run(),
        // Without permission to look, or files to look with, its lease has to run out.
        Err(_) => false,
    }
}

/// Removes what dead processes have left, but for the proofs of death that are still needed.
pub(super) fn tidy_up(place: &Place, has_claims: impl Fn(Process) -> bool) {
    let Ok(entries) = fs::read_dir(&place.locks) else { return };
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let process = name.strip_prefix(PREFIX).map(|number| i64::from_str_radix(number, 16));
        let is_needed = match process {
            Some(Ok(process)) => has_claims(Process(process)),
            Some(Err(_)) => false,
            None => !name.starts_with(UNLOCKED),
        };
        if is_needed {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn files(place: &Place) -> usize {
        fs::read_dir(&place.locks).unwrap().count()
    }

    /// A life, and whether others take it for dead.
    fn life() -> (tempfile::TempDir, Place, Life, impl Fn(&Place) -> bool) {
        let (folder, place) = Place::of_a_test();
        let life = Life::begin(&place).unwrap();
        let process = life.process;
        (folder, place, life, move |place: &Place| !Owners::new(place, &[]).may_live(process))
    }

    #[test]
    fn a_process_lives_as_long_as_its_lock() {
        let (_folder, place, life, is_dead) = life();
        assert!(!is_dead(&place));
        tidy_up(&place, |_| false);
        assert!(!is_dead(&place));
        // As the kernel does when the process is killed: the lock goes, the file stays.
        drop(life.file);
        assert!(is_dead(&place));
        tidy_up(&place, |process| process == life.process);
        assert!(is_dead(&place), "its claims still need the proof");
        tidy_up(&place, |_| false);
        assert_eq!(files(&place), 0);
    }

    #[test]
    fn a_file_that_is_missing_or_another_one_is_no_proof_of_death() {
        let (_folder, place, life, is_dead) = life();
        let path = place.locks.join(life.process.file_name());
        let copy = place.locks.join("copy");
        fs::copy(&path, &copy).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!is_dead(&place));
        #[cfg(unix)]
        {
            fs::rename(&copy, &path).unwrap();
            assert!(!is_dead(&place));
        }
        fs::remove_dir_all(&place.locks).unwrap();
        assert!(!is_dead(&place));
    }

    #[test]
    fn a_process_that_does_not_know_its_run_of_the_host_is_not_taken_for_one_of_another() {
        let (_folder, place) = Place::of_a_test();
        let life = Life::begin(&place).unwrap();
        let unknown = Process(life.process.0 & !(((1 << RUN_BITS) - 1) << FILE_BITS));
        assert!(Owners::new(&place, &[]).may_live(unknown));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_of_another_run_of_the_host_is_dead_without_a_file_but_not_with_its_lock() {
        let (_folder, place) = Place::of_a_test();
        let life = Life::begin(&place).unwrap();
        let before = life.process.in_another_run();
        let may_live = |process| Owners::new(&place, &[]).may_live(process);
        assert!(!may_live(before));
        let (own, other) = (life.process.file_name(), before.file_name());
        fs::rename(place.locks.join(own), place.locks.join(other)).unwrap();
        assert!(may_live(before));
    }

    #[test]
    fn who_loses_its_file_begins_another_life_and_leaves_none_behind() {
        let (_folder, place) = Place::of_a_test();
        let lives = Lives::begin(&place).unwrap();
        lives.go_on(&place);
        assert_eq!(lives.processes().len(), 1);
        fs::remove_dir_all(&place.locks).unwrap();
        lives.go_on(&place);
        let [lost, present] = lives.processes()[..] else { panic!("there are two") };
        assert_ne!(lost, present);
        assert!(Owners::new(&place, &[]).may_live(lost));
        assert_eq!(files(&place), 1);
        lives.end(&place);
        assert_eq!(files(&place), 0);
        assert!(Owners::new(&place, &[]).may_live(present), "what it holds keeps its lease");
    }
}
