//! Where the store is: its file, and the folder of locks beside it. All of them are for their owner's eyes only.
#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::error::FileStoreError;

/// The paths of one store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The database. Absolute, with links resolved, so that it names the store.
    pub file: PathBuf,
    /// The folder of locks.
    pub locks: PathBuf,
}

impl Place {
    /// Finds the place that a path leads to. Creates nothing.
    pub fn find(path: &Path) -> Result<Self, FileStoreError> {
        let file = resolve(path).map_err(|error| FileStoreError::system(path, &error))?;
        if let Some(kind) = network_file_system(&file) {
            return Err(FileStoreError::NetworkFileSystem { path: file, kind });
        }
        let locks = beside(&file, ".locks");
        Ok(Self { file, locks })
    }

    /// Creates what is missing: an empty file, and the folder of locks.
    pub fn prepare(&self) -> Result<(), FileStoreError> {
        let fail = |error: io::Error| FileStoreError::system(&self.file, &error);
        match private_folder().create(&self.locks) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(fail(error)),
            _ => {}
        }
        // SQLite gives its journals the mode of the file. An existing file must not even be opened here: closing it
        // would let go of the locks that SQLite may hold on it in this process.
        match private_file().create_new(true).open(&self.file) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(fail(error)),
            _ => Ok(()),
        }
    }

    /// Opens a file in the folder of locks, made if it is missing.
    pub fn lock_file(&self, name: &str) -> Result<File, FileStoreError> {
        let path = self.locks.join(name);
        private_file().create(true).open(&path).map_err(|error| FileStoreError::system(&path, &error))
    }

    /// The journal of the database.
    pub fn journal(&self) -> PathBuf {
        beside(&self.file, "-wal")
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
        let place = Self::find(&folder.path().join("store")).unwrap();
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

/// The network file system that a file is on, if it is. A journal with shared memory is unsafe there, since the
/// memory of two hosts is not shared.
#[cfg(target_os = "linux")]
fn network_file_system(file: &Path) -> Option<&'static str> {
    let found = rustix::fs::statfs(file.parent()?).ok()?;
    // The magic numbers of statfs(2).
    network_kind(u32::try_from(found.f_type & 0xFFFF_FFFF).ok()?)
}

#[cfg(target_os = "linux")]
fn network_kind(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0xFF53_4D42 | 0xFE53_4D42 | 0x517B => Some("SMB"),
        0x0102_1997 => Some("9p"),
        0x00C3_6400 => Some("Ceph"),
        0x5346_414F | 0x6B41_4653 => Some("AFS"),
        0x7375_7245 => Some("Coda"),
        0x564C => Some("NCP"),
        0x0BD0_0BD0 => Some("Lustre"),
        0x0116_1970 => Some("GFS2"),
        0x7461_636F => Some("OCFS2"),
        _ => None,
    }
}

#[cfg(target_os = "macos")]
fn network_file_system(file: &Path) -> Option<&'static str> {
    let found = rustix::fs::statfs(file.parent()?).ok()?;
    let name: Vec<u8> =
        found.f_fstypename.iter().map_while(|c| (*c != 0).then_some(c.cast_unsigned())).collect();
    match name.as_slice() {
        b"nfs" => Some("NFS"),
        b"smbfs" => Some("SMB"),
        b"afpfs" => Some("AFP"),
        b"webdav" => Some("WebDAV"),
        _ => None,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn network_file_system(file: &Path) -> Option<&'static str> {
    use std::path::{Component, Prefix};
    match file.components().next()? {
        Component::Prefix(prefix) if matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..)) => {
            Some("SMB")
        }
        _ => None,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_by_their_numbers() {
        assert_eq!(network_kind(0x6969), Some("NFS"));
        assert_eq!(network_kind(0xFE53_4D42), Some("SMB"));
        // ext4, tmpfs, overlayfs, xfs, btrfs.
        for local in [0xEF53, 0x0102_1994, 0x794C_7630, 0x5846_5342, 0x9123_683E] {
            assert_eq!(network_kind(local), None);
        }
    }

    #[test]
    fn a_place_is_named_by_the_file_itself_whatever_path_leads_there() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("link")).unwrap();
        let direct = Place::find(&folder.path().join("a/store")).unwrap();
        assert_eq!(Place::find(&folder.path().join("link/store")).unwrap(), direct);
        direct.prepare().unwrap();
        std::os::unix::fs::symlink("a/store", folder.path().join("other")).unwrap();
        assert_eq!(Place::find(&folder.path().join("other")).unwrap(), direct);
    }

    #[test]
    fn a_folder_that_is_missing_is_said() {
        let error = Place::find(Path::new("/no/such/folder/store")).unwrap_err();
        assert!(matches!(error, FileStoreError::System { .. }), "{error}");
    }
}
