//! The settled records of one shard, in batches.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::batch::{Batch, BatchId, BatchState, Kind, Lifetime, Sizing};
use super::order::{Chore, Chores};
use super::settled::{Asked, End, Settled};
use crate::clock::Millis;
use crate::idempotency::digest::{BuildDigestHasher, Digest};

/// Nobody who settles a record clears away more than so many, and nobody fewer than two while there are any: they must
/// become fewer.
const MOST_CLEARED: usize = 64;
const LEAST_CLEARED: usize = 2;

#[derive(Debug)]
pub(super) struct Table {
    shard: usize,
    sizing: Sizing,
    /// Each in a box: a table that grows moves all that is in it, while a request waits.
    records: HashMap<Digest, Box<Settled>, BuildDigestHasher>,
    batches: HashMap<BatchId, Batch>,
    /// Those that take records: one for each kind.
    open: Vec<(Kind, BatchId)>,
    open_records: u64,
    open_weight: u64,
    /// Dropped, but not cleared away yet.
    dropped: Vec<Dropped>,
    next_batch: u64,
    bytes: u64,
    evicted: u64,
}

#[derive(Debug)]
struct Dropped {
    batch: Batch,
    why: Why,
}

/// Why a batch is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// To make room.
    Evicted,
    /// All of it has expired.
    Expired,
}

/// What is settled for a key from now on.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) request: Asked,
    pub(super) fence: u64,
    pub(super) until: Millis,
    pub(super) end: End,
}

/// What a table keeps at the moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) evicted: u64,
}

impl Table {
    pub(super) fn new(shard: usize, sizing: Sizing) -> Self {
        Self {
            shard,
            sizing,
            records: HashMap::default(),
            batches: HashMap::new(),
            open: Vec::new(),
            open_records: 0,
            open_weight: 0,
            dropped: Vec::new(),
            next_batch: 0,
            bytes: 0,
            evicted: 0,
        }
    }

    /// What is settled for a key, for somebody who makes use of it: what was not used for longest is dropped first.
    pub(super) fn make_use(&mut self, key: &Digest, now: Millis, chores: &Chores) -> Option<&Settled> {
        let settled = self.records.get(key).filter(|settled| settled.until > now)?;
        if let Some(batch) = self.batches.get_mut(&settled.batch)
            && let BatchState::Full { used: used @ false, .. } = &mut batch.state
        {
            *used = true;
            chores.push(Chore::Use(settled.batch));
        }
        Some(settled)
    }

    pub(super) fn has(&self, id: BatchId) -> bool {
        self.batches.contains_key(&id)
    }

    /// The cache is about to be told of all uses up to now.
    pub(super) fn reset_use(&mut self, id: BatchId) {
        if let Some(Batch { state: BatchState::Full { used, .. }, .. }) = self.batches.get_mut(&id) {
            *used = false;
        }
    }

    pub(super) fn put(&mut self, key: Digest, entry: Entry, now: Millis, chores: &Chores) {
        let Entry { request, fence, until, end } = entry;
        let size = end.size();
        self.clear(LEAST_CLEARED, size);
        self.remove(&key, now, chores);
        let weight = self.sizing.weight_of(size);
        let lifetime = Lifetime::of(until.saturating_sub(now));
        let id = self.open_batch(Kind { lifetime, drops_first: end.drops_first() });
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.keys.push(key);
            batch.live += 1;
            batch.weight += weight;
            batch.until = batch.until.max(until);
        }
        self.bytes += size;
        self.open_records += 1;
        self.open_weight += weight;
        self.records.insert(key, Box::new(Settled { request, fence, until, end, batch: id }));
        if self.open_records >= self.sizing.records || self.open_weight >= self.sizing.weight {
            self.close(now, chores);
        }
    }

    /// Frees a key, if there is anything: what is left is its fence.
    pub(super) fn free(&mut self, key: &Digest, now: Millis, chores: &Chores) {
        if let Some(settled) = self.records.get(key) {
            let Settled { request, fence, until, .. } = &**settled;
            let entry = Entry { request: *request, fence: *fence, until: *until, end: End::Free(None) };
            self.put(*key, entry, now, chores);
        }
    }

    /// Drops a batch, if it is still there.
    pub(super) fn drop_batch(&mut self, id: BatchId, why: Why) {
        if let Some(batch) = self.batches.remove(&id) {
            self.dropped.push(Dropped { batch, why });
        }
    }

    /// Drops what has expired and has nobody else to do so: batches that are not full yet, and those that go first.
    pub(super) fn drop_expired(&mut self, now: Millis, chores: &Chores) {
        let lapsed = |id: &BatchId| self.batches.get(id).is_none_or(|batch| batch.until <= now);
        let (lapsed, open) = self.open.drain(..).partition(|(_, id)| lapsed(id));
        self.open = open;
        for (_, id) in lapsed {
            if let Some(Batch { live, weight, .. }) = self.batches.get(&id) {
                self.open_records -= *live as u64;
                self.open_weight -= weight;
            }
            self.drop_batch(id, Why::Expired);
        }
        let full = self.batches.values().filter(|batch| batch.state != BatchState::Open);
        let lapsed: Vec<BatchId> =
            full.filter(|batch| batch.id.drops_first && batch.until <= now).map(|batch| batch.id).collect();
        for id in lapsed {
            chores.push(Chore::Forget(id));
            self.drop_batch(id, Why::Expired);
        }
    }

    /// Clears away all that was dropped.
    pub(super) fn clear_all(&mut self) {
        while !self.dropped.is_empty() {
            self.clear(MOST_CLEARED, 0);
        }
    }

    pub(super) fn count(&self) -> Count {
        Count { records: self.records.len() as u64, bytes: self.bytes, evicted: self.evicted }
    }

    pub(super) fn named<'a>(&'a self, name: &'a Digest) -> impl Iterator<Item = Digest> + 'a {
        self.records.iter().filter(|(_, settled)| settled.request.name == *name).map(|(key, _)| *key)
    }

    /// Clears away so many of the records that were dropped, and as many bytes. So each writer clears up as much as it
    /// writes, in memory that it is about to use again; done elsewhere, that would take a second core as long as the first.
    fn clear(&mut self, records: usize, bytes: u64) {
        let mut cleared = 0;
        for done in 0..MOST_CLEARED {
            if done >= records && cleared >= bytes {
                break;
            }
            let Some(Dropped { batch, why }) = self.dropped.last_mut() else {
                break;
            };
            let Some(key) = batch.keys.pop() else {
                self.dropped.pop();
                continue;
            };
            let (id, why) = (batch.id, *why);
            if self.records.get(&key).is_some_and(|settled| settled.batch == id)
                && let Some(settled) = self.records.remove(&key)
            {
                let size = settled.end.size();
                cleared += size;
                self.bytes -= size;
                self.evicted += u64::from(why == Why::Evicted);
            }
        }
    }

    fn open_batch(&mut self, kind: Kind) -> BatchId {
        if let Some((_, id)) = self.open.iter().find(|(open, _)| *open == kind) {
            return *id;
        }
        let id = BatchId::new(self.shard, self.next_batch, kind.drops_first);
        self.next_batch += 1;
        self.open.push((kind, id));
        let (keys, state) = (Vec::new(), BatchState::Open);
        self.batches.insert(id, Batch { id, keys, live: 0, weight: 0, until: 0, state });
        id
    }

    /// Closes all open batches: the cache decides about them from now on.
    fn close(&mut self, now: Millis, chores: &Chores) {
        for (_, id) in self.open.drain(..) {
            if let Some(batch) = self.batches.get_mut(&id) {
                batch.keys.shrink_to_fit();
                batch.state = BatchState::Full { known_weight: batch.weight, used: false };
                let retention = batch.until.saturating_sub(now);
                chores.push(Chore::Weigh { batch: id, weight: batch.weight, retention });
            }
        }
        (self.open_records, self.open_weight) = (0, 0);
    }

    /// Takes a key's record out of its batch.
    fn remove(&mut self, key: &Digest, now: Millis, chores: &Chores) {
        let Some(settled) = self.records.remove(key) else {
            return;
        };
        let size = settled.end.size();
        self.bytes -= size;
        // A batch that was dropped is no more.
        let Some(batch) = self.batches.get_mut(&settled.batch) else {
            return;
        };
        let weight = self.sizing.weight_of(size);
        batch.live -= 1;
        batch.weight -= weight;
        match &mut batch.state {
            BatchState::Open => {
                batch.keys.retain(|other| other != key);
                self.open_records -= 1;
                self.open_weight -= weight;
            }
            BatchState::Full { .. } if batch.live == 0 => {
                chores.push(Chore::Forget(batch.id));
                self.batches.remove(&settled.batch);
            }
            // Keys that are freed and claimed over and over must not take the room of those that stay.
            BatchState::Full { known_weight, .. } if batch.weight <= *known_weight / 2 => {
                *known_weight = batch.weight;
                let retention = batch.until.saturating_sub(now);
                chores.push(Chore::Weigh { batch: batch.id, weight: batch.weight, retention });
            }
            BatchState::Full { .. } => {}
        }
    }
}
