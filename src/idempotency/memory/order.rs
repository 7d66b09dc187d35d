//! Which batch is dropped next: a cache of moka's, that knows of each batch its weight and how long it is kept.
//!
//! Nobody writes to the cache who holds a shard: what it drops takes the lock of a shard. What it must learn is put down as
//! a chore, and done by [`Order::turn`], by one thread at a time, as a rule one that serves no requests.
#![forbid(unsafe_code)]

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::notification::RemovalCause;
use moka::policy::{EvictionPolicy, Expiry};
use moka::sync::Cache;
use parking_lot::Mutex;

use super::Shards;
use super::batch::BatchId;
use super::table::Why;
use crate::clock::Millis;

/// What share of a store may wait to be told to the cache before those who write do that themselves.
const WAITING_SHARE: u64 = 16;

/// Something that the cache must learn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chore {
    /// A batch has this weight from now on, and is kept for so long.
    Weigh { batch: BatchId, weight: u64, retention: Millis },
    /// A record of the batch was used.
    Use(BatchId),
    /// There is nothing left in the batch.
    Forget(BatchId),
}

/// What the cache must learn, in the order in which it happened.
#[derive(Debug, Default)]
pub(super) struct Chores {
    waiting: Mutex<Vec<Chore>>,
    weight: AtomicU64,
}

impl Chores {
    pub(super) fn push(&self, chore: Chore) {
        if let Chore::Weigh { weight, .. } = chore {
            self.weight.fetch_add(weight, Ordering::Relaxed);
        }
        self.waiting.lock().push(chore);
    }

    fn take(&self) -> Vec<Chore> {
        self.weight.store(0, Ordering::Relaxed);
        mem::take(&mut self.waiting.lock())
    }
}

#[derive(Debug)]
pub(super) struct Order {
    pub(super) chores: Chores,
    shards: Shards,
    capacity: u64,
    /// The cache's weights are 32 bits wide: larger stores are weighed in larger units.
    unit: u64,
    cache: Mutex<Cache<BatchId, Kept>>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    weight: u32,
    retention: Duration,
}

struct Retention;

impl Expiry<BatchId, Kept> for Retention {
    fn expire_after_create(&self, _: &BatchId, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.retention)
    }

    fn expire_after_update(
        &self,
        _: &BatchId,
        kept: &Kept,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.retention)
    }
}

impl Order {
    pub(super) fn new(capacity: u64, shards: Shards) -> Self {
        let unit = capacity / u64::from(u32::MAX) + 1;
        let dropped_from = Shards::clone(&shards);
        let cache = Cache::builder()
            .max_capacity(capacity / unit)
            .weigher(|_, kept: &Kept| kept.weight)
            // The default policy refuses new records when full; a store that forgets what just ran is no store.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Retention)
            .eviction_listener(move |id, _, cause| {
                let why = match cause {
                    RemovalCause::Size => Why::Evicted,
                    RemovalCause::Expired => Why::Expired,
                    // By `turn`.
                    RemovalCause::Explicit | RemovalCause::Replaced => return,
                };
                dropped_from[id.shard()].lock().settled.drop_batch(*id, why);
            })
            .build();
        Self { chores: Chores::default(), shards, capacity, unit, cache: Mutex::new(cache) }
    }

    /// Tells the cache what it must learn, and drops what it says.
    pub(super) fn turn(&self) {
        let cache = self.cache.lock();
        for chore in self.chores.take() {
            match chore {
                Chore::Weigh { batch, weight, retention } => {
                    if !self.shards[batch.shard()].lock().settled.has(batch) {
                        continue;
                    }
                    let weight = u32::try_from(weight.div_ceil(self.unit)).unwrap_or(u32::MAX);
                    cache.insert(batch, Kept { weight, retention: Duration::from_millis(retention) });
                }
                Chore::Use(batch) => {
                    self.shards[batch.shard()].lock().settled.reset_use(batch);
                    cache.get(&batch);
                }
                Chore::Forget(batch) => cache.invalidate(&batch),
            }
        }
        cache.run_pending_tasks();
    }

    /// The same, where the thread that should do it has fallen behind.
    pub(super) fn turn_if_late(&self) {
        if self.chores.weight.load(Ordering::Relaxed) > self.capacity / WAITING_SHARE {
            self.turn();
        }
    }
}
