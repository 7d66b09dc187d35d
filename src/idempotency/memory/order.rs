//! Which batch is dropped next: a cache of moka's, that knows of each batch its weight and how long it is kept. Batches that
//! go before all others have a queue beside it, and only the room that the cache leaves them.
//!
//! Nobody writes to the cache who holds a shard: what it drops takes the lock of a shard. What it must learn is put down as
//! a chore, and done by [`Order::turn`], by one thread at a time, as a rule one that serves no requests.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
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
    kept: Mutex<Queues>,
}

/// What is kept, by when it was used last.
#[derive(Debug)]
struct Queues {
    first: First,
    cache: Cache<BatchId, Kept>,
}

/// The batches that go first: the one that was not used for longest before all others.
#[derive(Debug, Default)]
struct First {
    by_use: BTreeMap<u64, BatchId>,
    kept: HashMap<BatchId, Place>,
    uses: u64,
    weight: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    last_use: u64,
    weight: u64,
}

impl First {
    fn put(&mut self, batch: BatchId, weight: u64) {
        self.forget(batch);
        self.uses += 1;
        self.weight += weight;
        self.by_use.insert(self.uses, batch);
        self.kept.insert(batch, Place { last_use: self.uses, weight });
    }

    fn make_use(&mut self, batch: BatchId) {
        if let Some(Place { weight, .. }) = self.kept.get(&batch) {
            self.put(batch, *weight);
        }
    }

    fn forget(&mut self, batch: BatchId) {
        if let Some(Place { last_use, weight }) = self.kept.remove(&batch) {
            self.by_use.remove(&last_use);
            self.weight -= weight;
        }
    }

    fn drop_one(&mut self) -> Option<BatchId> {
        let (_, batch) = self.by_use.first_key_value()?;
        let batch = *batch;
        self.forget(batch);
        Some(batch)
    }
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
        let kept = Mutex::new(Queues { first: First::default(), cache });
        Self { chores: Chores::default(), shards, capacity, unit, kept }
    }

    /// Tells the cache what it must learn, and drops what it says.
    pub(super) fn turn(&self) {
        let Queues { first, cache } = &mut *self.kept.lock();
        for chore in self.chores.take() {
            match chore {
                Chore::Weigh { batch, weight, retention } => {
                    if !self.shards[batch.shard()].lock().settled.has(batch) {
                        continue;
                    }
                    let weight = u32::try_from(weight.div_ceil(self.unit)).unwrap_or(u32::MAX);
                    if batch.drops_first {
                        first.put(batch, weight.into());
                    } else {
                        cache.insert(batch, Kept { weight, retention: Duration::from_millis(retention) });
                    }
                }
                Chore::Use(batch) => {
                    self.shards[batch.shard()].lock().settled.reset_use(batch);
                    if batch.drops_first {
                        first.make_use(batch);
                    } else {
                        cache.get(&batch);
                    }
                }
                Chore::Forget(batch) if batch.drops_first => first.forget(batch),
                Chore::Forget(batch) => cache.invalidate(&batch),
            }
        }
        cache.run_pending_tasks();
        while first.weight + cache.weighted_size() > self.capacity / self.unit
            && let Some(batch) = first.drop_one()
        {
            self.shards[batch.shard()].lock().settled.drop_batch(batch, Why::Evicted);
        }
    }

    /// The same, where the thread that should do it has fallen behind.
    pub(super) fn turn_if_late(&self) {
        if self.chores.weight.load(Ordering::Relaxed) > self.capacity / WAITING_SHARE {
            self.turn();
        }
    }
}
