//! Who may write to the files of a store, beside the user of this process: nobody. What others may write, others may have
//! written.
#![forbid(unsafe_code)]

use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::path::Path;

use super::error::FileStoreError;

/// Refuses a file that another user owns or may write to. One that does not exist is nobody's.
pub(super) fn check_file(path: &Path) -> Result<(), FileStoreError> {
    match fs::symlink_metadata(path) {
        Ok(found) => check(path, &found, found.is_file(), "a file"),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileStoreError::system(path, &error)),
    }
}

/// The same for a file that is open.
pub(super) fn check_open(path: &Path, file: &File) -> Result<(), FileStoreError> {
    let found = file.metadata().map_err(|error| FileStoreError::system(path, &error))?;
    check(path, &found, found.is_file(), "a file")
}

/// The same for a folder that only the store uses.
pub(super) fn check_folder(path: &Path) -> Result<(), FileStoreError> {
    let found = fs::symlink_metadata(path).map_err(|error| FileStoreError::system(path, &error))?;
    check(path, &found, found.is_dir(), "a folder")
}

fn check(path: &Path, found: &Metadata, is_of_kind: bool, kind: &str) -> Result<(), FileStoreError> {
    let reason = if is_of_kind { fault(found) } else { Some(format!("is not {kind}")) };
    reason.map_or(Ok(()), |reason| Err(FileStoreError::NotPrivate { path: path.to_owned(), reason }))
}

#[cfg(unix)]
const OTHERS_MAY_WRITE: u32 = 0o022;

#[cfg(unix)]
fn fault(found: &Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let (user, mode) = (rustix::process::geteuid().as_raw(), found.mode() & 0o7777);
    if found.uid() != user {
        return Some(format!("belongs to user {}, and this process runs as user {user}", found.uid()));
    }
    (mode & OTHERS_MAY_WRITE != 0).then(|| format!("may be written by others (mode {mode:03o})"))
}

/// Takes from a file what others may do with it. It must be a file of this user.
#[cfg(unix)]
pub(super) fn narrow(path: &Path, mode: u32) -> Result<(), FileStoreError> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let narrow = || match fs::symlink_metadata(path) {
        Ok(found) if found.mode() & 0o077 != 0 && !found.is_symlink() => {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
        }
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    narrow().map_err(|error| FileStoreError::system(path, &error))
}

/// Refuses a folder in which other users may put another file in the place of the store's. A sticky one, as `/tmp` is,
/// keeps each file to its owner; a group that this process is in may have been given the folder for its sake.
#[cfg(unix)]
pub(super) fn check_surroundings(folder: &Path) -> Result<(), FileStoreError> {
    use rustix::process::{getegid, geteuid, getgroups};
    use std::os::unix::fs::MetadataExt;
    let found = fs::metadata(folder).map_err(|error| FileStoreError::system(folder, &error))?;
    let (user, owner, mode) = (geteuid().as_raw(), found.uid(), found.mode() & 0o7777);
    let is_sticky = mode & 0o1000 != 0;
    let is_of_own_group = || {
        let groups = getgroups().unwrap_or_default();
        groups.into_iter().chain([getegid()]).any(|group| group.as_raw() == found.gid())
    };
    let reason = if owner != user && owner != 0 {
        format!("belongs to user {owner}, and this process runs as user {user}")
    } else if !is_sticky && (mode & 0o002 != 0 || (mode & 0o020 != 0 && !is_of_own_group())) {
        format!("may be written by others (mode {mode:03o})")
    } else {
        return Ok(());
    };
    Err(FileStoreError::NotPrivate { path: folder.to_owned(), reason })
}

#[cfg(not(unix))]
fn fault(_: &Metadata) -> Option<String> {
    None
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
pub(super) fn narrow(_: &Path, _: u32) -> Result<(), FileStoreError> {
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
pub(super) fn check_surroundings(_: &Path) -> Result<(), FileStoreError> {
    Ok(())
}
