//! Where the store is: its file, and the folder of locks beside it. All of them are for their owner's eyes only.
#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::error::FileStoreError;
use super::file_system::{FileSystem, Remote};
use super::privacy;

/// The paths of one store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The database. Absolute, with links resolved, so that it names the store.
    pub file: PathBuf,
    /// The folder of locks.
    pub locks: PathBuf,
}

impl Place {
    /// Finds the place that a path leads to, on a disk or a file system that is allowed. Creates nothing.
    pub fn find(path: &Path, allowed: Option<FileSystem>) -> Result<Self, FileStoreError> {
        let file = resolve(path).map_err(|error| FileStoreError::system(path, &error))?;
        // The file may be mounted by itself; its journal lies beside it in any case.
        let remote = [Some(file.as_path()), file.parent()].into_iter().flatten().find_map(Remote::of);
        if let Some(remote) = remote.filter(|remote| remote.is_refused(allowed)) {
            return Err(FileStoreError::NetworkFileSystem { path: file, kind: remote.name() });
        }
        let locks = beside(&file, ".locks");
        Ok(Self { file, locks })
    }

    /// Creates what is missing: an empty file, and the folder of locks. Refuses what others own or may write to.
    pub fn prepare(&self) -> Result<(), FileStoreError> {
        let fail = |error: io::Error| FileStoreError::system(&self.file, &error);
        if let Some(folder) = self.file.parent() {
            privacy::check_surroundings(folder)?;
        }
        self.prepare_locks()?;
        for path in [self.file.clone(), self.journal(), self.shared_memory()] {
            privacy::check_file(&path)?;
        }
        // SQLite gives its journals the mode of the file. An existing file must not even be opened here: closing it
        // would let go of the locks that SQLite may hold on it in this process.
        match private_file().create_new(true).open(&self.file) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(fail(error)),
            _ => Ok(()),
        }
    }

    /// Creates the folder of locks if it is missing.
    pub fn prepare_locks(&self) -> Result<(), FileStoreError> {
        match private_folder().create(&self.locks) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(FileStoreError::system(&self.file, &error));
            }
            _ => {}
        }
        privacy::check_folder(&self.locks)?;
        privacy::narrow(&self.locks, 0o700)
    }

    /// Takes from the files what others may do with them. Not before it is known that they are a store's.
    pub fn narrow(&self) -> Result<(), FileStoreError> {
        for path in [self.file.clone(), self.journal(), self.shared_memory()] {
            privacy::narrow(&path, 0o600)?;
        }
        Ok(())
    }

    /// Opens a file in the folder of locks, made if it is missing.
    pub fn lock_file(&self, name: &str) -> Result<File, FileStoreError> {
        let path = self.locks.join(name);
        privacy::check_file(&path)?;
        let file =
            private_file().create(true).open(&path).map_err(|error| FileStoreError::system(&path, &error))?;
        privacy::check_open(&path, &file)?;
        Ok(file)
    }

    /// The journal of the database.
    pub fn journal(&self) -> PathBuf {
        beside(&self.file, "-wal")
    }

    /// The memory that the processes of the database share.
    pub fn shared_memory(&self) -> PathBuf {
        beside(&self.file, "-shm")
    }

    /// Bytes of the database and of its journal.
    pub fn sizes(&self) -> (u64, u64) {
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        (size(&self.file), size(&self.journal()))
    }

    /// One in a folder of its own, which is gone with the first of the two.
    #[cfg(test)]
    pub fn of_a_test() -> (tempfile::TempDir, Self) {
        let folder = tempfile::tempdir().unwrap();
        let place = Self::find(&folder.path().join("store"), None).unwrap();
        place.prepare().unwrap();
        (folder, place)
    }
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The absolute path without links. The file itself need not exist yet; its folder must.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Ok(existing) => return Ok(existing),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let name =
        path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "not the path of a file"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(fs::canonicalize(folder)?.join(name))
}

pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has modes"))]
fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_the_file_itself_whatever_path_leads_there() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("link")).unwrap();
        let direct = Place::find(&folder.path().join("a/store"), None).unwrap();
        assert_eq!(Place::find(&folder.path().join("link/store"), None).unwrap(), direct);
        direct.prepare().unwrap();
        std::os::unix::fs::symlink("a/store", folder.path().join("other")).unwrap();
        assert_eq!(Place::find(&folder.path().join("other"), None).unwrap(), direct);
    }

    #[test]
    fn a_folder_that_is_missing_is_said() {
        let error = Place::find(Path::new("/no/such/folder/store"), None).unwrap_err();
        assert!(matches!(error, FileStoreError::System { .. }), "{error}");
    }
}
