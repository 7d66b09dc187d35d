//! What can go wrong with a file.
#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why a [`super::FileStore`] could not be opened, or could not do what it was asked for. Nothing of a step that failed
/// was written, but for [`FileStoreError::Unsynced`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileStoreError {
    /// Another process, or the disk, held the file up for too long.
    #[error("{0} is held up by another process, or by its disk")]
    Busy(PathBuf),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The file's pages do not fit together, or are not of a database at all.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was noticed.
        reason: String,
    },
    /// Another user owns one of the files or folders, or may write to it.
    #[error("{path} {reason}")]
    NotPrivate {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody has replaced or removed one of the files while this process had it open.
    #[error("{0} was replaced or removed while it was open")]
    Replaced(PathBuf),
    /// The file system may not keep the promises of shared memory and locks that the file needs.
    #[error("{path} is on a network file system, or one that may be no disk of this host ({kind})")]
    NetworkFileSystem {
        /// The file.
        path: PathBuf,
        /// Which one.
        kind: &'static str,
    },
    /// The file was made or changed by another program, or made by a version of reprise that this one does not know.
    #[error("{path} holds {found}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
    },
    /// The file is open in this process with other options.
    #[error("{0} is open in this process with other options")]
    OptionsDiffer(PathBuf),
    /// The store was opened for inspection only.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The disk would not sync: what was written may not survive a power cut.
    #[error("{path} could not be synced: {reason}")]
    Unsynced {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The system refused: no space, no permission, no such folder.
    #[error("{path}: {reason}")]
    System {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

impl FileStoreError {
    pub(super) fn system(path: &std::path::Path, error: &io::Error) -> Self {
        Self::System { path: path.to_owned(), reason: error.to_string() }
    }

    pub(super) fn sqlite(path: &std::path::Path, error: &rusqlite::Error) -> Self {
        let (path, reason) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(path),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { path, reason },
            _ => Self::System { path, reason },
        }
    }
}
