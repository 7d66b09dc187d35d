//! Settled records that were written one after the other, and are dropped together.
//!
//! To keep the order and the expiry of one entry costs a cache more than all else that is done for a record. So the cache
//! (see [`super::order`]) has an entry for each batch of a shard, not for each record.
#![forbid(unsafe_code)]

use super::{Limits, SHARDS};
use crate::clock::Millis;
use crate::idempotency::digest::Digest;

/// The most records of a batch: with these, the cache's part of a record's cost is lost in the rest.
const MOST_RECORDS: u64 = 64;

/// What share of a store may lie in batches that are not full yet, of which the cache does not know: one twentieth.
const OPEN_SHARE: u64 = 20;

/// Names a batch, the shard that it is in, and whether a full store drops it before those that are not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BatchId {
    number: u64,
    pub(super) drops_first: bool,
}

impl BatchId {
    /// The n-th batch of a shard.
    pub(super) fn new(shard: usize, nth: u64, drops_first: bool) -> Self {
        Self { number: nth * SHARDS as u64 + shard as u64, drops_first }
    }

    pub(super) fn shard(self) -> usize {
        // Smaller than the number of shards.
        usize::try_from(self.number % SHARDS as u64).unwrap_or_default()
    }
}

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: BatchId,
    /// The keys that were written; a record that has left since is in another batch, or none.
    pub(super) keys: Vec<Digest>,
    /// How many of them are still in, and their weight.
    pub(super) live: usize,
    pub(super) weight: u64,
    /// When the last of them expires.
    pub(super) until: Millis,
    pub(super) state: BatchState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchState {
    /// Takes records.
    Open,
    /// Takes none any more. The cache knows this weight of it, and whether it was used since.
    Full { known_weight: u64, used: bool },
}

/// Batches hold records of one kind, that are kept for about as long: one that is kept for a minute would wait for those of
/// a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) lifetime: Lifetime,
    pub(super) drops_first: bool,
}

/// For how long records are kept, roughly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime(u32);

impl Lifetime {
    /// That of a retention: the same for two of which neither is twice the other, mostly.
    pub(super) fn of(retention: Millis) -> Self {
        Self(retention.checked_ilog2().unwrap_or(0))
    }
}

/// How much is in one batch, and what one record weighs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizing {
    /// A shard closes its batches when they have so many records,
    pub(super) records: u64,
    /// or weigh so much.
    pub(super) weight: u64,
    /// The least that a record weighs.
    share: u64,
    /// What all full batches may weigh together.
    pub(super) capacity: u64,
}

impl Sizing {
    pub(super) fn new(Limits { max_bytes, max_entries }: Limits) -> Self {
        let shards = SHARDS as u64;
        // One cache knows one weight. A record that weighs at least its share of the entries bounds both: no more
        // than `max_entries` fit, and no more than `max_bytes`.
        let share = max_bytes / max_entries.max(1);
        let open = max_bytes / OPEN_SHARE;
        let weight = open / shards;
        let records = (max_entries / OPEN_SHARE / shards).clamp(1, MOST_RECORDS);
        // What is in no full batch must fit beside them, unless each record fills a batch of its own.
        let capacity = if records == 1 { max_bytes } else { max_bytes - open };
        Self { records, weight, share, capacity }
    }

    pub(super) fn weight_of(self, size: u64) -> u64 {
        size.max(self.share)
    }
}
