//! Which stores of a process are one and the same.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::memory::{Limits, MemoryStore};

/// How often a store is looked after while it is written to, and while it is not. Between two looks a thread may write a
/// sixteenth of what the store keeps before it has to look after it itself: with the defaults that is 60,000 records.
const BUSY: Duration = Duration::from_millis(2);
const IDLE: Duration = Duration::from_millis(500);

/// A store of that name has other limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store exists with other limits: {existing:?}")]
pub struct OptionsDiffer {
    /// What it was made with.
    pub existing: Limits,
}

/// The memory stores of a process: each is its maker's own, but for those of one name, which are one.
#[derive(Debug, Default)]
pub struct Registry {
    named: Mutex<HashMap<String, Weak<MemoryStore>>>,
    /// Stores that the housekeeping thread looks after; the thread lives while there are any.
    kept: Arc<Mutex<Vec<Weak<MemoryStore>>>>,
}

impl Registry {
    /// A store that nobody else gets.
    #[must_use]
    pub fn private(&self, limits: Limits) -> Arc<MemoryStore> {
        let store = Arc::new(MemoryStore::new(limits));
        self.look_after(&store);
        store
    }

    /// The store of that name: the same for every thread and every call.
    ///
    /// # Errors
    ///
    /// It exists with other limits.
    pub fn named(&self, name: &str, limits: Limits) -> Result<Arc<MemoryStore>, OptionsDiffer> {
        let mut named = self.named.lock();
        named.retain(|_, store| store.strong_count() > 0);
        if let Some(store) = named.get(name).and_then(Weak::upgrade) {
            return if store.limits() == limits {
                Ok(store)
            } else {
                Err(OptionsDiffer { existing: store.limits() })
            };
        }
        let store = self.private(limits);
        named.insert(name.to_owned(), Arc::downgrade(&store));
        Ok(store)
    }

    fn look_after(&self, store: &Arc<MemoryStore>) {
        let mut kept = self.kept.lock();
        kept.push(Arc::downgrade(store));
        if kept.len() == 1 {
            let kept = Arc::clone(&self.kept);
            let housekeeping = move || {
                while let Some(stores) = living(&kept) {
                    // Every store has its turn: no short cut at the first that changed, and none at a panic, which has
                    // been said where panics are said.
                    let maintain = |store: &MemoryStore| {
                        catch_unwind(AssertUnwindSafe(|| store.maintain())).unwrap_or(false)
                    };
                    let changed = stores.iter().filter(|store| maintain(store)).count();
                    drop(stores);
                    thread::sleep(if changed > 0 { BUSY } else { IDLE });
                }
            };
            // Without the thread all still works: those who write then look after the store, now and then.
            let _ = thread::Builder::new().name("reprise-memory".into()).spawn(housekeeping);
        }
    }
}

/// The stores that somebody still has; `None` ends the thread, and the next store starts another.
fn living(kept: &Mutex<Vec<Weak<MemoryStore>>>) -> Option<Vec<Arc<MemoryStore>>> {
    let mut kept = kept.lock();
    kept.retain(|store| store.strong_count() > 0);
    (!kept.is_empty()).then(|| kept.iter().filter_map(Weak::upgrade).collect())
}
