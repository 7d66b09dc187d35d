//! The store that lives in the memory of one process, shared by its threads.
//!
//! Claims and indeterminate records are *held*: in sharded tables of their own, never evicted. All other ends are
//! *settled*: in a cache that drops the least recently used when it is full. The lock of a key's shard is taken
//! around every step, so that what happens to one key happens in one order.
//!
//! To write to the cache costs more than all else that a request does here. So what is settled waits beside what is
//! held until [`MemoryStore::maintain`] takes it there, on a thread that serves no requests.
#![forbid(unsafe_code)]

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use moka::notification::RemovalCause;
use moka::policy::{EvictionPolicy, Expiry};
use moka::sync::Cache;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::digest::{BuildDigestHasher, Digest};
use super::record::{Answer, Claim, Differs, Inspection, Outcome, Owner, Progress, Settlement, Written};
use super::request::Identified;
use super::waiting::Waiting;
use crate::clock::{Clock, Millis};

/// Bytes that a record costs beside its answer: digests, expiry and its place in the tables, rounded up.
const RECORD_OVERHEAD: u64 = 512;

/// How many locks the held records are spread over: enough that worker threads rarely meet.
const SHARDS: usize = 64;

/// How many settled records of a shard wait for the cache, and how large each may be: little beside any store.
const MOST_RECENT: usize = 16;
const LARGEST_RECENT: u64 = 16 << 10;

/// How much a store may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of settled records, each counted with an overhead of 512.
    pub max_bytes: u64,
    /// Number of settled records, and, apart from them, of held ones.
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
    shards: Box<[Mutex<Shard>]>,
    held: AtomicU64,
    settled: Cache<Digest, Settled, BuildDigestHasher>,
    /// Bytes of what is settled. The cache's own weights are coarser, and higher where `max_entries` bounds it.
    bytes: Arc<AtomicU64>,
    evicted: Arc<AtomicU64>,
    changed: AtomicBool,
    next_order: AtomicU64,
    next_sweep: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    held: HashMap<Digest, Held, BuildDigestHasher>,
    /// Settled, and not in the cache yet. Of two with one key, the later is right.
    recent: Vec<Recent>,
}

#[derive(Debug)]
struct Recent {
    /// Its place among those of all shards: the cache drops the oldest.
    order: u64,
    key: Digest,
    settled: Settled,
}

#[derive(Debug)]
struct Held {
    request: Identified,
    owner: Owner,
    fence: u64,
    retention: Millis,
    state: HeldState,
    progress: Option<Progress>,
    waiters: Option<Arc<Notify>>,
}

#[derive(Clone, Copy, Debug)]
enum HeldState {
    Claimed { lease_until: Millis, committed: bool },
    Indeterminate { until: Millis },
}

#[derive(Clone, Debug)]
struct Settled {
    request: Asked,
    fence: u64,
    until: Millis,
    /// How long from the moment of writing, which is all that the cache needs to drop it in time.
    retention: Millis,
    end: End,
}

/// A request without its key, under which the cache has it already: a million records are 32 MB smaller.
#[derive(Clone, Copy, Debug)]
struct Asked {
    fingerprint: Digest,
    identity: Digest,
    name: Digest,
}

#[derive(Clone, Debug)]
enum End {
    Completed(Answer),
    NotReplayable,
    /// Nothing, but for the fence, since the next claim's must be higher, and the progress that was saved.
    Free(Option<Progress>),
}

struct Retention;

impl Expiry<Digest, Settled> for Retention {
    fn expire_after_create(&self, _: &Digest, settled: &Settled, _: Instant) -> Option<Duration> {
        Some(Duration::from_millis(settled.retention))
    }

    fn expire_after_update(
        &self,
        _: &Digest,
        settled: &Settled,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(Duration::from_millis(settled.retention))
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        // The cache's weights are 32 bits wide: larger stores are weighed in larger units.
        let unit = limits.max_bytes / u64::from(u32::MAX) + 1;
        // One cache knows one weight. A record that weighs at least its share of the entries bounds both: no more
        // than `max_entries` fit, and no more than `max_bytes`.
        let share = limits.max_bytes / limits.max_entries.max(1);
        let weigh = move |_: &Digest, settled: &Settled| {
            u32::try_from(settled.size().max(share).div_ceil(unit)).unwrap_or(u32::MAX)
        };
        let bytes = Arc::new(AtomicU64::new(0));
        let evicted = Arc::new(AtomicU64::new(0));
        let (gone, count) = (Arc::clone(&bytes), Arc::clone(&evicted));
        let settled = Cache::builder()
            .max_capacity(limits.max_bytes / unit)
            .weigher(weigh)
            // The default policy refuses new records when full; a store that forgets what just ran is no store.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Retention)
            .eviction_listener(move |_, settled, cause| {
                gone.fetch_sub(settled.size(), Ordering::Relaxed);
                if cause == RemovalCause::Size {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build_with_hasher(BuildDigestHasher::default());
        Self {
            clock: Clock::new(),
            limits,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            held: AtomicU64::new(0),
            settled,
            bytes,
            evicted,
            changed: AtomicBool::new(false),
            next_order: AtomicU64::new(0),
            next_sweep: AtomicUsize::new(0),
        }
    }

    /// The limits that the store was made with.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Makes the claimant the owner of the key, or says why not.
    pub fn claim(&self, claim: &Claim) -> Outcome {
        let now = self.clock.now();
        let key = claim.request.key;
        let lease_until = now.saturating_add(millis(claim.lease));
        let mut shard = self.shard(&key);
        let vacant = match shard.held.get_mut(&key) {
            Some(held) => match held.answer(claim, now) {
                Ok(outcome) => {
                    if matches!(outcome, Outcome::Claimed { .. }) {
                        held.state = HeldState::Claimed { lease_until, committed: held.committed() };
                    }
                    return outcome;
                }
                Err(vacant) => vacant,
            },
            None => match self.settled(&shard, &key, now) {
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
            progress: progress.clone(),
            waiters: None,
        };
        match shard.held.entry(key) {
            Entry::Occupied(mut lapsed) => lapsed.insert(held).wake(),
            Entry::Vacant(place) => {
                if self.held.fetch_add(1, Ordering::Relaxed) >= self.most_held() {
                    self.held.fetch_sub(1, Ordering::Relaxed);
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
                held.state = HeldState::Indeterminate { until };
                held.wake();
                return Written::Done;
            }
        };
        if let Some(held) = shard.held.remove(key) {
            self.put_away(&mut shard, *key, &held, end, millis(retention));
        }
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
        let HeldState::Claimed { lease_until, .. } = held.state else {
            return None;
        };
        let lease_left = lease_until.checked_sub(now).filter(|left| *left > 0)?;
        let waiters = held.waiters.get_or_insert_default();
        // Made under the lock: whoever settles the claim from here on wakes it.
        Some(Waiting::new(waiters, Duration::from_millis(lease_left)))
    }

    /// What is kept for a key.
    #[must_use]
    pub fn inspect(&self, key: &Digest) -> Option<Inspection> {
        let now = self.clock.now();
        let left = |until: Millis| Duration::from_millis(until.saturating_sub(now));
        let shard = self.shard(key);
        if let Some(held) = shard.held.get(key) {
            let fence = held.fence;
            return match held.state_at(now) {
                Some(HeldState::Claimed { lease_until, .. }) => {
                    Some(Inspection::InProgress { fence, lease_left: left(lease_until) })
                }
                Some(HeldState::Indeterminate { until }) => {
                    Some(Inspection::Indeterminate { fence, expires_in: left(until) })
                }
                None => None,
            };
        }
        let settled = self.settled(&shard, key, now)?;
        let (fence, expires_in) = (settled.fence, left(settled.until));
        match settled.end {
            End::Completed(answer) => Some(Inspection::Completed { fence, answer, expires_in }),
            End::NotReplayable => Some(Inspection::NotReplayable { fence, expires_in }),
            End::Free(_) => None,
        }
    }

    /// The records of a key and its scope (see [`super::name`]), at whatever endpoints. Looks at every record.
    #[must_use]
    pub fn find(&self, name: &Digest) -> Vec<Digest> {
        self.fill_cache();
        let held = self.shards.iter().flat_map(|shard| {
            let shard = shard.lock();
            let named = shard.held.iter().filter(|(_, held)| held.request.name == *name);
            named.map(|(key, _)| *key).collect::<Vec<_>>()
        });
        let settled = self.settled.iter();
        let settled = settled.filter(|(_, settled)| settled.request.name == *name).map(|(key, _)| *key);
        // A key that was free and is held again is in both.
        let found: HashSet<Digest> = held.chain(settled).collect();
        found.into_iter().filter(|key| self.inspect(key).is_some()).collect()
    }

    /// Frees a key, whatever its state; the owner of a claim on it has lost it. Whether there was anything to forget.
    pub fn forget(&self, key: &Digest) -> bool {
        let known = self.inspect(key).is_some();
        let mut shard = self.shard(key);
        if let Some(held) = shard.held.remove(key) {
            self.put_away(&mut shard, *key, &held, End::Free(None), held.retention);
        } else if let Some(settled) = self.settled(&shard, key, 0) {
            self.keep(&mut shard, *key, Settled { end: End::Free(None), ..settled });
        }
        known
    }

    /// Does what waits to be done, then counts.
    pub fn stats(&self) -> Stats {
        self.fill_cache();
        self.settled.run_pending_tasks();
        Stats {
            held: self.held.load(Ordering::Relaxed),
            settled: self.settled.entry_count(),
            bytes: self.bytes.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }

    /// The store's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A share of the housekeeping: what waits for the cache, the cache's own, and one shard's lapsed records. Whether
    /// anything was written since the last time. Meant for a thread that serves no requests.
    pub fn maintain(&self) -> bool {
        let changed = self.changed.swap(false, Ordering::Relaxed);
        // There may be many stores, most of them idle.
        if changed {
            self.fill_cache();
        }
        self.settled.run_pending_tasks();
        let now = self.clock.now();
        let next = self.next_sweep.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = self.shards[next].lock();
        let lapsed: Vec<Digest> =
            shard.held.iter().filter(|(_, held)| held.is_forgettable(now)).map(|(key, _)| *key).collect();
        for key in lapsed {
            if let Some(held) = shard.held.remove(&key) {
                self.put_away(&mut shard, key, &held, End::Free(held.progress.clone()), held.retention);
            }
        }
        changed
    }

    fn shard(&self, key: &Digest) -> MutexGuard<'_, Shard> {
        // Other bits than those that choose a bucket inside of the shard.
        self.shards[usize::from(key.0[31]) % SHARDS].lock()
    }

    /// What is settled for a key. Most keys that are claimed are new, and to look for those in the cache is cheaper than
    /// to get them: it takes a note of every get.
    fn settled(&self, shard: &Shard, key: &Digest, now: Millis) -> Option<Settled> {
        let recent = shard.recent.iter().rfind(|recent| recent.key == *key);
        let settled = match recent {
            Some(recent) => Some(recent.settled.clone()),
            None if self.settled.contains_key(key) => self.settled.get(key),
            None => None,
        };
        settled.filter(|settled| settled.until > now)
    }

    /// Takes to the cache what waits for that, one after the other, so that no request waits for more than one.
    fn fill_cache(&self) {
        let waiting = self.shards.iter().flat_map(|shard| {
            shard.lock().recent.iter().map(|recent| (recent.order, recent.key)).collect::<Vec<_>>()
        });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable_by_key(|(order, _)| *order);
        for (order, key) in waiting {
            let mut shard = self.shard(&key);
            // Its shard may have become full meanwhile.
            if let Some(at) = shard.recent.iter().position(|recent| recent.order == order) {
                let recent = shard.recent.remove(at);
                self.settled.insert(recent.key, recent.settled);
            }
        }
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

    fn keep(&self, shard: &mut Shard, key: Digest, settled: Settled) {
        let size = settled.size();
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.changed.store(true, Ordering::Relaxed);
        let order = self.next_order.fetch_add(1, Ordering::Relaxed);
        shard.recent.push(Recent { order, key, settled });
        if shard.recent.len() > MOST_RECENT || size > LARGEST_RECENT {
            for recent in shard.recent.drain(..) {
                self.settled.insert(recent.key, recent.settled);
            }
        }
    }

    /// Moves a record that is no longer held to the settled ones.
    fn put_away(&self, shard: &mut Shard, key: Digest, held: &Held, end: End, retention: Millis) {
        self.held.fetch_sub(1, Ordering::Relaxed);
        let until = self.clock.now().saturating_add(retention);
        let settled = Settled { request: held.request.into(), fence: held.fence, until, retention, end };
        self.keep(shard, key, settled);
        held.wake();
    }

    fn fits(&self, answer: &Answer) -> bool {
        answer.size() as u64 + RECORD_OVERHEAD <= self.limits.max_bytes
    }

    fn most_held(&self) -> u64 {
        self.limits.max_entries.min(self.limits.max_bytes / RECORD_OVERHEAD).max(1)
    }
}

/// There is no record, but for the fence of the last claim.
struct Vacant {
    last_fence: u64,
    progress: Option<Progress>,
}

impl Held {
    fn answer(&mut self, claim: &Claim, now: Millis) -> Result<Outcome, Vacant> {
        let Some(state) = self.state_at(now) else {
            return Err(Vacant { last_fence: self.fence, progress: self.progress.clone() });
        };
        // A lease that lapsed behind the commit point has an end from now on, which is final.
        self.state = state;
        if let Some(differs) = Differs::between(&self.request, &claim.request) {
            return Ok(Outcome::Mismatch(differs));
        }
        if matches!(state, HeldState::Indeterminate { .. }) && claim.over_indeterminate {
            return Err(Vacant { last_fence: self.fence, progress: self.progress.clone() });
        }
        Ok(match state {
            HeldState::Claimed { .. } if self.owner == claim.owner => {
                Outcome::Claimed { fence: self.fence, progress: self.progress.clone() }
            }
            HeldState::Claimed { lease_until, .. } => {
                Outcome::InProgress { lease_left: Duration::from_millis(lease_until - now) }
            }
            HeldState::Indeterminate { .. } => Outcome::Indeterminate,
        })
    }

    /// What the record is at a time: a lease that has run out leaves nothing, or an indeterminate record behind the
    /// commit point.
    fn state_at(&self, now: Millis) -> Option<HeldState> {
        match self.state {
            HeldState::Claimed { lease_until, .. } if lease_until > now => Some(self.state),
            HeldState::Claimed { committed: false, .. } => None,
            HeldState::Claimed { lease_until, committed: true } => {
                let until = lease_until.saturating_add(self.retention);
                (until > now).then_some(HeldState::Indeterminate { until })
            }
            HeldState::Indeterminate { until } => (until > now).then_some(self.state),
        }
    }

    /// Whether nobody misses it: lapsed for as long again as anyone may come back to it.
    fn is_forgettable(&self, now: Millis) -> bool {
        match self.state {
            HeldState::Claimed { lease_until, committed: false } => {
                now > lease_until.saturating_add(self.retention)
            }
            _ => self.state_at(now).is_none(),
        }
    }

    fn is_claim_of(&self, owner: Owner, fence: u64) -> bool {
        matches!(self.state, HeldState::Claimed { .. }) && self.owner == owner && self.fence == fence
    }

    fn committed(&self) -> bool {
        matches!(self.state, HeldState::Claimed { committed: true, .. })
    }

    fn wake(&self) {
        if let Some(waiters) = &self.waiters {
            waiters.notify_waiters();
        }
    }
}

impl Asked {
    fn under(self, key: Digest) -> Identified {
        let Self { fingerprint, identity, name } = self;
        Identified { key, fingerprint, identity, name }
    }
}

impl From<Identified> for Asked {
    fn from(Identified { fingerprint, identity, name, .. }: Identified) -> Self {
        Self { fingerprint, identity, name }
    }
}

impl Settled {
    fn answer(&self, claim: &Claim) -> Result<Outcome, Vacant> {
        let outcome = match &self.end {
            End::Free(progress) => {
                return Err(Vacant { last_fence: self.fence, progress: progress.clone() });
            }
            End::Completed(answer) => Outcome::Completed(answer.clone()),
            End::NotReplayable => Outcome::NotReplayable,
        };
        let kept = self.request.under(claim.request.key);
        Ok(Differs::between(&kept, &claim.request).map_or(outcome, Outcome::Mismatch))
    }

    fn size(&self) -> u64 {
        let content = match &self.end {
            End::Completed(answer) => answer.size(),
            End::Free(Some(progress)) => progress.len(),
            End::NotReplayable | End::Free(None) => 0,
        };
        RECORD_OVERHEAD + content as u64
    }
}

fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
