//! The store that lives in the memory of one process, shared by its threads.
//!
//! Records are spread over shards by their key, and all that happens to one key happens under the lock of its shard. Claims
//! and indeterminate records are *held*, and never evicted. All other ends are *settled*, in batches (see [`batch`]): when
//! the store is full, [`order`] drops the batch that was not used for longest, those that anyone can fill before all others.
#![forbid(unsafe_code)]

mod batch;
mod held;
mod hold;
mod order;
mod settled;
mod table;

use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use self::batch::Sizing;
use self::held::{Budgets, Held, HeldState};
use self::hold::HeldFor;
pub use self::hold::{Hold, Holder};
use self::order::Order;
use self::settled::{End, RECORD_OVERHEAD};
use self::table::{Count, Entry, Table};
use super::digest::{BuildDigestHasher, Digest};
use super::record::{Answer, Claim, Inspection, Outcome, Owner, Progress, Settlement, Written};
use super::waiting::Waiting;
use crate::clock::{Clock, Millis};

/// How many tables, each with its lock, the records are spread over: enough that worker threads rarely meet, and that a
/// request waits no longer for a table that grows than for the garbage collector (with a million records, a millisecond).
const SHARDS: usize = 256;

/// How many of them one share of the housekeeping looks through.
const SWEPT: usize = 4;

/// How much a store may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of settled records, each counted with an overhead of 512.
    pub max_bytes: u64,
    /// Number of settled records, and, each apart, of claims and of indeterminate records.
    pub max_entries: u64,
}

/// What a store keeps at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Claims in progress and indeterminate records.
    pub held: u64,
    /// Completed, not replayable and released records.
    pub settled: u64,
    /// Bytes of the settled ones, with their overhead.
    pub bytes: u64,
    /// Settled records that were dropped to make room, since the store was made.
    pub evicted: u64,
}

/// A bounded store in memory. See the module.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    limits: Limits,
    /// The largest record that is kept.
    largest: u64,
    shards: Shards,
    budgets: Budgets,
    order: Order,
    changed: AtomicBool,
    next_sweep: AtomicUsize,
}

type Shards = Arc<[Mutex<Shard>]>;

#[derive(Debug)]
struct Shard {
    held: HashMap<Digest, Held, BuildDigestHasher>,
    settled: Table,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let sizing = Sizing::new(limits);
        let shard = |number| Shard { held: HashMap::default(), settled: Table::new(number, sizing) };
        let shards: Shards = (0..SHARDS).map(|number| Mutex::new(shard(number))).collect();
        Self {
            clock: Clock::new(),
            limits,
            largest: sizing.capacity,
            order: Order::new(sizing.capacity, Arc::clone(&shards)),
            shards,
            budgets: Budgets::new(limits.max_entries.min(limits.max_bytes / RECORD_OVERHEAD).max(1)),
            changed: AtomicBool::new(false),
            next_sweep: AtomicUsize::new(0),
        }
    }

    /// The limits that the store was made with.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Makes the claimant the owner of the key for as long as its lease is renewed, or says why not.
    pub fn claim(&self, claim: &Claim) -> Outcome {
        self.claim_for(claim, None)
    }

    /// The same; with a hold the claim does not lapse with its lease while the holder lives.
    pub fn claim_for(&self, claim: &Claim, beyond_lease: Option<Hold>) -> Outcome {
        let now = self.clock.now();
        let key = claim.request.key;
        let lease_until = now.saturating_add(millis(claim.lease));
        let mut shard = self.shard(&key);
        let beyond_lease = beyond_lease.map(|hold| HeldFor::from(now, hold));
        let vacant = match shard.held.get_mut(&key) {
            Some(held) => {
                self.budgets.end_if_lapsed(held, now);
                match held.answer(claim, now) {
                    Ok(outcome) => {
                        if matches!(outcome, Outcome::Claimed { .. }) {
                            held.state = HeldState::Claimed { lease_until, committed: held.committed() };
                            held.hold = beyond_lease;
                        }
                        return outcome;
                    }
                    Err(vacant) => vacant,
                }
            }
            None => match shard.settled.make_use(&key, now, &self.order.chores) {
                Some(settled) => match settled.answer(claim) {
                    Ok(outcome) => return outcome,
                    Err(vacant) => vacant,
                },
                None => Vacant { last_fence: 0, progress: None },
            },
        };
        let Vacant { last_fence, progress } = vacant;
        let fence = last_fence + 1;
        let held = Held {
            request: claim.request,
            owner: claim.owner,
            fence,
            retention: millis(claim.retention),
            state: HeldState::Claimed { lease_until, committed: false },
            hold: beyond_lease,
            progress: progress.clone(),
            waiters: None,
        };
        match shard.held.entry(key) {
            Place::Occupied(mut lapsed) => {
                // A claim that has lapsed leaves its own room to its successor.
                if matches!(lapsed.get().state, HeldState::Indeterminate { .. }) {
                    if !self.budgets.admit() {
                        return Outcome::Full;
                    }
                    self.budgets.leave(lapsed.get());
                }
                lapsed.insert(held).wake();
            }
            Place::Vacant(place) => {
                if !self.budgets.admit() {
                    return Outcome::Full;
                }
                place.insert(held);
            }
        }
        Outcome::Claimed { fence, progress }
    }

    /// Ends a claim.
    pub fn settle(
        &self,
        key: &Digest,
        owner: Owner,
        fence: u64,
        settlement: Settlement,
        retention: Duration,
    ) -> Written {
        let mut shard = self.shard(key);
        let Some(held) = shard.held.get_mut(key).filter(|held| held.is_claim_of(owner, fence)) else {
            return Written::Lost;
        };
        let until = self.clock.now().saturating_add(millis(retention));
        let end = match settlement {
            Settlement::Complete(answer) if self.fits(&answer) => End::Completed(answer),
            // An answer that could only be dropped again must not be forgotten: it ran.
            Settlement::Complete(_) | Settlement::NotReplayable => End::NotReplayable,
            Settlement::Release if !held.committed() => End::Free(held.progress.clone()),
            Settlement::Release | Settlement::Indeterminate => {
                self.budgets.end_unknown(held, until);
                held.wake();
                return Written::Done;
            }
        };
        if let Some(held) = shard.held.remove(key) {
            self.put_away(&mut shard, *key, &held, end, millis(retention));
        }
        drop(shard);
        self.order.turn_if_late();
        Written::Done
    }

    /// Prolongs a claim's lease, from now.
    pub fn renew(&self, key: &Digest, owner: Owner, fence: u64, lease: Duration) -> Written {
        let lease_until = self.clock.now().saturating_add(millis(lease));
        self.write(key, owner, fence, |held| {
            held.state = HeldState::Claimed { lease_until, committed: held.committed() };
        })
    }

    /// Marks the commit point: from here on the key is never silently free again.
    pub fn commit_point(&self, key: &Digest, owner: Owner, fence: u64) -> Written {
        self.write(key, owner, fence, |held| {
            if let HeldState::Claimed { committed, .. } = &mut held.state {
                *committed = true;
            }
        })
    }

    /// Saves how far the owner has come, for whoever claims the key next.
    pub fn save(&self, key: &Digest, owner: Owner, fence: u64, progress: Progress) -> Written {
        self.write(key, owner, fence, |held| held.progress = Some(progress))
    }

    /// What a claim, or an earlier one of its key, has saved of its progress.
    #[must_use]
    pub fn progress(&self, key: &Digest, owner: Owner, fence: u64) -> Option<Progress> {
        let shard = self.shard(key);
        shard.held.get(key).filter(|held| held.is_claim_of(owner, fence))?.progress.clone()
    }

    /// A place in the queue for a key in progress; `None` if there is nothing to wait for.
    pub fn wait(&self, key: &Digest) -> Option<Waiting> {
        let now = self.clock.now();
        let mut shard = self.shard(key);
        let held = shard.held.get_mut(key)?;
        let Some(HeldState::Claimed { lease_until, .. }) = held.state_at(now) else {
            return None;
        };
        let lease_left = held.lease_left(lease_until, now);
        let waiters = held.waiters.get_or_insert_default();
        // Made under the lock: whoever settles the claim from here on wakes it.
        Some(Waiting::new(waiters, lease_left))
    }

    /// What is kept for a key.
    #[must_use]
    pub fn inspect(&self, key: &Digest) -> Option<Inspection> {
        let now = self.clock.now();
        let left = |until: Millis| Duration::from_millis(until.saturating_sub(now));
        let mut shard = self.shard(key);
        if let Some(held) = shard.held.get(key) {
            let fence = held.fence;
            return match held.state_at(now) {
                Some(HeldState::Claimed { lease_until, .. }) => {
                    Some(Inspection::InProgress { fence, lease_left: held.lease_left(lease_until, now) })
                }
                Some(HeldState::Indeterminate { until }) => {
                    Some(Inspection::Indeterminate { fence, expires_in: left(until) })
                }
                None => None,
            };
        }
        let settled = shard.settled.make_use(key, now, &self.order.chores)?;
        let (fence, expires_in) = (settled.fence, left(settled.until));
        match &settled.end {
            End::Completed(answer) => {
                Some(Inspection::Completed { fence, answer: answer.clone(), expires_in })
            }
            End::NotReplayable => Some(Inspection::NotReplayable { fence, expires_in }),
            End::Free(_) => None,
        }
    }

    /// The records of a key and its scope (see [`super::name`]), at whatever endpoints. Looks at every record.
    #[must_use]
    pub fn find(&self, name: &Digest) -> Vec<Digest> {
        let found = self.shards.iter().flat_map(|shard| {
            let shard = shard.lock();
            let held = shard.held.iter().filter(|(_, held)| held.request.name == *name).map(|(key, _)| *key);
            held.chain(shard.settled.named(name)).collect::<Vec<_>>()
        });
        // A key that was free and is held again is in both.
        let found: HashSet<Digest> = found.collect();
        found.into_iter().filter(|key| self.inspect(key).is_some()).collect()
    }

    /// Frees a key, whatever its state; the owner of a claim on it has lost it. Whether there was anything to forget.
    pub fn forget(&self, key: &Digest) -> bool {
        let known = self.inspect(key).is_some();
        let mut shard = self.shard(key);
        if let Some(held) = shard.held.remove(key) {
            self.put_away(&mut shard, *key, &held, End::Free(None), held.retention);
        } else {
            shard.settled.free(key, self.clock.now(), &self.order.chores);
        }
        known
    }

    /// Does what waits to be done, then counts.
    pub fn stats(&self) -> Stats {
        self.order.turn();
        let held = self.budgets.count();
        self.shards.iter().fold(Stats { held, ..Stats::default() }, |stats, shard| {
            let mut shard = shard.lock();
            shard.settled.clear_all();
            let Count { records, bytes, evicted } = shard.settled.count();
            Stats {
                settled: stats.settled + records,
                bytes: stats.bytes + bytes,
                evicted: stats.evicted + evicted,
                ..stats
            }
        })
    }

    /// The store's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A share of the housekeeping: what waits for the order of the batches, the cache's own, and what lapsed or was dropped
    /// in a few shards. Whether anything was written since the last time. Meant for a thread that serves no requests.
    pub fn maintain(&self) -> bool {
        let changed = self.changed.swap(false, Ordering::Relaxed);
        self.order.turn();
        let now = self.clock.now();
        for _ in 0..SWEPT {
            let next = self.next_sweep.fetch_add(1, Ordering::Relaxed) % SHARDS;
            self.sweep(&mut self.shards[next].lock(), now);
        }
        changed
    }

    /// Drops what lapsed in a shard, and clears away what was dropped there.
    fn sweep(&self, shard: &mut Shard, now: Millis) {
        shard.settled.drop_expired(now, &self.order.chores);
        shard.settled.clear_all();
        let mut lapsed = Vec::new();
        // Its owner may still end a claim that lapsed, until somebody asks for it or its room is needed.
        let ends_lapsed = self.budgets.are_claims_many();
        for (key, held) in &mut shard.held {
            if ends_lapsed {
                self.budgets.end_if_lapsed(held, now);
            }
            if held.is_forgettable(now) {
                lapsed.push(*key);
            }
        }
        for key in lapsed {
            if let Some(held) = shard.held.remove(&key) {
                self.put_away(shard, key, &held, End::Free(held.progress.clone()), held.retention);
            }
        }
    }

    fn shard(&self, key: &Digest) -> MutexGuard<'_, Shard> {
        self.shards[key.place_of(SHARDS)].lock()
    }

    fn write(&self, key: &Digest, owner: Owner, fence: u64, change: impl FnOnce(&mut Held)) -> Written {
        let mut shard = self.shard(key);
        match shard.held.get_mut(key).filter(|held| held.is_claim_of(owner, fence)) {
            Some(held) => {
                change(held);
                Written::Done
            }
            None => Written::Lost,
        }
    }

    /// Moves a record that is no longer held to the settled ones.
    fn put_away(&self, shard: &mut Shard, key: Digest, held: &Held, end: End, retention: Millis) {
        self.budgets.leave(held);
        let now = self.clock.now();
        let until = now.saturating_add(retention);
        let entry = Entry { request: held.request.into(), fence: held.fence, until, end };
        shard.settled.put(key, entry, now, &self.order.chores);
        // Most often it is set, and known to be by every thread: to read it costs less than to write it.
        if !self.changed.load(Ordering::Relaxed) {
            self.changed.store(true, Ordering::Relaxed);
        }
        held.wake();
    }

    fn fits(&self, answer: &Answer) -> bool {
        answer.size() as u64 + RECORD_OVERHEAD <= self.largest
    }
}

/// There is no record, but for the fence of the last claim.
struct Vacant {
    last_fence: u64,
    progress: Option<Progress>,
}

fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
