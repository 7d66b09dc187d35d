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
pub struct FileStores(Mutex<HashMap<(Place, Access), Slot>>);

/// The store of one file. Locked while the store is opened, which may take long, so that those who open the same file wait,
/// and nobody else.
type Slot = Arc<Mutex<Weak<Shared>>>;

impl FileStores {
    /// Opens a store, or joins those who have it open in this process.
    ///
    /// # Errors
    ///
    /// As [`FileStore::open`], [`FileStoreError::OptionsDiffer`], and [`FileStoreError::Replaced`] for as long as a store of
    /// the file that was there before is open.
    pub fn open(&self, path: &Path, options: FileOptions) -> Result<FileStore, FileStoreError> {
        let place = Place::find(path, options.allowed)?;
        let slot = self.slot(&place, options.access);
        let mut open = slot.lock();
        if let Some(shared) = open.upgrade() {
            shared.0.guard.check()?;
            return if shared.0.options.agree_with(&options) {
                Ok(FileStore::of(shared, path))
            } else {
                Err(FileStoreError::OptionsDiffer(place.file))
            };
        }
        let shared = Arc::new(Shared(Core::open(&place, options)?));
        *open = Arc::downgrade(&shared);
        Ok(FileStore::of(shared, path))
    }

    fn slot(&self, place: &Place, access: Access) -> Slot {
        let mut slots = self.0.lock();
        // Whoever has a slot beside the map may be about to open its store.
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.lock().strong_count() > 0);
        Arc::clone(slots.entry((place.clone(), access)).or_default())
    }
}
