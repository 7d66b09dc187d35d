//! Which stores of a process are one and the same.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::Mutex;

use super::memory::{Limits, MemoryStore};

/// How often a store is looked after while it is written to, and while it is not. Between two looks a thread may write a
/// sixteenth of what the store keeps before it has to look after it itself: with the defaults that is 60,000 records.
const BUSY: Duration = Duration::from_millis(2);
const IDLE: Duration = Duration::from_millis(500);

/// Two threads asked for one store with different limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store exists with other limits: {existing:?}")]
pub struct OptionsDiffer {
    /// What it was made with.
    pub existing: Limits,
}

/// The memory stores of a process. Threads that run the same program ask for the same names in the same number, and
/// get the same stores; one thread that asks twice gets two.
#[derive(Debug, Default)]
pub struct Registry {
    shared: Mutex<HashMap<Name, Vec<Shared>>>,
    /// Stores that the housekeeping thread looks after; the thread lives while there are any.
    kept: Arc<Mutex<Vec<Weak<MemoryStore>>>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Name {
    Given(String),
    Place(String),
}

#[derive(Debug)]
struct Shared {
    store: Weak<MemoryStore>,
    members: HashSet<ThreadId>,
}

impl Registry {
    /// A store of this thread's own.
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
        let store = self.find(Name::Given(name.to_owned()), limits, |_, _| true);
        if store.limits() == limits { Ok(store) } else { Err(OptionsDiffer { existing: store.limits() }) }
    }

    /// The store that belongs to a place in the program: each thread that comes to this place for the n-th time gets
    /// the n-th store of it. A thread never gets the same store twice.
    #[must_use]
    pub fn at_place(&self, place: &str, limits: Limits) -> Arc<MemoryStore> {
        let here = thread::current().id();
        let suits = |shared: &Shared, store: &MemoryStore| {
            store.limits() == limits && !shared.members.contains(&here)
        };
        self.find(Name::Place(place.to_owned()), limits, suits)
    }

    fn find(
        &self,
        name: Name,
        limits: Limits,
        suits: impl Fn(&Shared, &MemoryStore) -> bool,
    ) -> Arc<MemoryStore> {
        let mut all = self.shared.lock();
        all.retain(|_, stores| {
            stores.retain(|shared| shared.store.strong_count() > 0);
            !stores.is_empty()
        });
        let stores = all.entry(name).or_default();
        let here = thread::current().id();
        for shared in stores.iter_mut() {
            if let Some(store) = shared.store.upgrade().filter(|store| suits(shared, store)) {
                shared.members.insert(here);
                return store;
            }
        }
        let store = self.private(limits);
        stores.push(Shared { store: Arc::downgrade(&store), members: HashSet::from([here]) });
        store
    }

    fn look_after(&self, store: &Arc<MemoryStore>) {
        let mut kept = self.kept.lock();
        kept.push(Arc::downgrade(store));
        if kept.len() == 1 {
            let kept = Arc::clone(&self.kept);
            let housekeeping = move || {
                while let Some(stores) = living(&kept) {
                    // Every store has its turn: no short cut at the first that changed.
                    let changed = stores.iter().filter(|store| store.maintain()).count();
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
