//! Notices when the files of a store are no longer those that this process has open: somebody has replaced or removed them.
//! Another process would open other files by the same name, and both would grant the same keys.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::error::FileStoreError;
use super::holds::Session;
use super::place::Place;

/// Tells one file from another, whatever its name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl Identity {
    /// Of what a path leads to; `None` if that is nothing.
    pub fn at(path: &Path) -> io::Result<Option<Self>> {
        look(path).map(|found| found.as_ref().map(Self::of))
    }

    #[cfg(unix)]
    pub fn of(found: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { device: found.dev(), inode: found.ino() }
    }

    /// Windows lets nobody replace a file that is open.
    #[cfg(not(unix))]
    pub fn of(_: &Metadata) -> Self {
        Self {}
    }

    /// A number that hardly any other file of its file system has; it lasts as long as the file.
    pub fn number(self) -> u64 {
        #[cfg(unix)]
        return self.inode;
        #[cfg(not(unix))]
        return 0;
    }
}

fn look(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a path still leads to a file that is open.
pub(super) fn leads_to(path: &Path, file: &File) -> bool {
    let opened = file.metadata().map(|found| Identity::of(&found));
    matches!((Identity::at(path), opened), (Ok(Some(there)), Ok(opened)) if there == opened)
}

/// One of the files, as it was when it was opened.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    identity: Identity,
    /// It never becomes shorter than that.
    least: u64,
}

/// The files of an open store.
#[derive(Debug)]
pub(super) struct Guard {
    watched: Vec<Watched>,
    /// The path by which each session asked for the database, where that is another one.
    names: Mutex<HashMap<Session, Arc<Path>>>,
    failure: OnceLock<FileStoreError>,
}

/// A page of the database, and of the memory that its processes share: the least of both.
const PAGE: u64 = 4096;

impl Guard {
    /// Watches over the files as they are now. `file` is what the database was before it was opened.
    pub fn new(place: &Place, file: Option<Identity>) -> Result<Self, FileStoreError> {
        let mut watched = Vec::new();
        // The journal is cut short when it begins anew; the others are not while they are in use.
        for (path, is_cut) in
            [(place.file.clone(), false), (place.journal(), true), (place.shared_memory(), false)]
        {
            let found = look(&path).map_err(|error| FileStoreError::system(&path, &error))?;
            if let Some(found) = found {
                let least = if is_cut { 0 } else { found.len().min(PAGE) };
                watched.push(Watched { identity: Identity::of(&found), path, least });
            }
        }
        if file.is_some_and(|file| watched.first().is_none_or(|found| found.identity != file)) {
            return Err(FileStoreError::Replaced(place.file.clone()));
        }
        Ok(Self { watched, names: Mutex::default(), failure: OnceLock::new() })
    }

    /// Watches over a path that leads to the database, too, for as long as that session lasts: a link may be made to lead
    /// elsewhere.
    pub fn watch_name(&self, session: Session, path: &Path) {
        let Ok(path) = std::path::absolute(path) else { return };
        if self.watched.first().is_none_or(|file| file.path != path) {
            self.names.lock().insert(session, path.into());
        }
    }

    /// A session has ended: its path is of no concern to the others.
    pub fn forget_name(&self, session: Session) {
        self.names.lock().remove(&session);
    }

    fn check_names(&self) -> Result<(), FileStoreError> {
        // The disk may take long: sessions come and go meanwhile.
        let names: HashSet<Arc<Path>> = self.names.lock().values().cloned().collect();
        names.iter().try_for_each(|name| match self.check_name(name) {
            Err(_) if !self.names.lock().values().any(|watched| watched == name) => Ok(()),
            checked => checked,
        })
    }

    fn check_name(&self, path: &Path) -> Result<(), FileStoreError> {
        let there = match fs::metadata(path) {
            Ok(found) => Some(Identity::of(&found)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(_) => return Ok(()),
        };
        let is_same = self.watched.first().is_none_or(|file| Some(file.identity) == there);
        if is_same { Ok(()) } else { Err(FileStoreError::Replaced(path.to_owned())) }
    }

    /// Whether the files are still in their places. Once they are not, they never are again.
    pub fn check(&self) -> Result<(), FileStoreError> {
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let found = self.watched.iter().try_for_each(Watched::check).and_then(|()| self.check_names());
        if let Err(failure) = &found {
            // Another thread may have noticed it, too.
            let _ = self.failure.set(failure.clone());
        }
        found
    }

    pub fn failure(&self) -> Option<FileStoreError> {
        self.failure.get().cloned()
    }

    /// Whether that file, which was opened by its path, is the one that is watched.
    pub fn knows(&self, path: &Path, file: &File) -> bool {
        let found = file.metadata().map(|found| Identity::of(&found)).ok();
        self.watched.iter().all(|watched| watched.path != path || Some(watched.identity) == found)
    }
}

impl Watched {
    fn check(&self) -> Result<(), FileStoreError> {
        match look(&self.path) {
            Ok(Some(found)) if Identity::of(&found) != self.identity => Err(self.replaced()),
            // To go on would not only read nonsense: the system kills who reads shared memory that is gone.
            Ok(Some(found)) if found.len() < self.least => Err(FileStoreError::Damaged {
                path: self.path.clone(),
                reason: "it was cut short while it was open".to_owned(),
            }),
            Ok(None) => Err(self.replaced()),
            // That nobody may look there now says nothing of the file.
            Ok(Some(_)) | Err(_) => Ok(()),
        }
    }

    fn replaced(&self) -> FileStoreError {
        FileStoreError::Replaced(self.path.clone())
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn watched() -> (tempfile::TempDir, Place, Guard) {
        let (folder, place) = Place::of_a_test();
        for path in [place.file.clone(), place.journal(), place.shared_memory()] {
            fs::write(path, [0; 8192]).unwrap();
        }
        let guard = Guard::new(&place, Identity::at(&place.file).unwrap()).unwrap();
        guard.check().unwrap();
        (folder, place, guard)
    }

    #[test]
    fn each_of_the_files_is_missed_and_never_found_again() {
        for path in [|place: &Place| place.file.clone(), Place::journal, Place::shared_memory] {
            let (_folder, place, guard) = watched();
            let (path, aside) = (path(&place), place.locks.join("aside"));
            fs::rename(&path, &aside).unwrap();
            assert_eq!(guard.check().unwrap_err(), FileStoreError::Replaced(path.clone()));
            fs::rename(&aside, &path).unwrap();
            assert_eq!(guard.check().unwrap_err(), FileStoreError::Replaced(path));
        }
    }

    #[test]
    fn another_file_of_the_same_name_and_content_is_not_the_same_file() {
        let (_folder, place, guard) = watched();
        let copy = place.locks.join("copy");
        fs::copy(&place.file, &copy).unwrap();
        fs::rename(&copy, &place.file).unwrap();
        assert_eq!(guard.check().unwrap_err(), FileStoreError::Replaced(place.file.clone()));
        let other = File::open(&place.file).unwrap();
        assert!(!guard.knows(&place.file, &other) && leads_to(&place.file, &other));
    }

    #[test]
    fn a_file_that_is_cut_short_is_damaged_but_not_a_journal() {
        let (_folder, place, guard) = watched();
        fs::write(place.journal(), []).unwrap();
        guard.check().unwrap();
        fs::write(place.shared_memory(), []).unwrap();
        assert!(matches!(guard.check(), Err(FileStoreError::Damaged { .. })));
    }
}
