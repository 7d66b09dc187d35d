//! Which open stores of a process are one and the same.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::core::Core;
use super::place::Place;
use super::{Access, FileOptions, FileStore, FileStoreError, Shared};

/// The open files of a process: whoever opens a file that is open gets the same store, and its one writer.
#[derive(Debug, Default)]
pub struct FileStores(Mutex<HashMap<(Place, Access), Weak<Shared>>>);

impl FileStores {
    /// Opens a store, or joins those who have it open in this process.
    ///
    /// # Errors
    ///
    /// As [`FileStore::open`], [`FileStoreError::OptionsDiffer`], and [`FileStoreError::Replaced`] for as long as a store of
    /// the file that was there before is open.
    pub fn open(&self, path: &Path, options: FileOptions) -> Result<FileStore, FileStoreError> {
        let place = Place::find(path, options.allowed)?;
        let mut open = self.0.lock();
        open.retain(|_, shared| shared.strong_count() > 0);
        let key = (place, options.access);
        if let Some(shared) = open.get(&key).and_then(Weak::upgrade) {
            shared.0.guard.check()?;
            return if shared.0.options.agree_with(&options) {
                Ok(FileStore::of(shared, path))
            } else {
                Err(FileStoreError::OptionsDiffer(key.0.file))
            };
        }
        let shared = Arc::new(Shared(Core::open(&key.0, options)?));
        open.insert(key, Arc::downgrade(&shared));
        Ok(FileStore::of(shared, path))
    }
}
