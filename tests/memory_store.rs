//! The memory store against `docs/semantics.md` §6, by a clock that the test moves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use reprise::idempotency::{
    Answer, Claim, Differs, Digest, DigestBuilder, Hold, Holder, Identified, Inspection, Limits, MemoryStore,
    Outcome, Owner, Settlement, Written,
};

const LEASE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(86_400);
const LARGE: Limits = Limits { max_bytes: 1 << 30, max_entries: 1_000_000 };

fn digest(text: &str) -> Digest {
    DigestBuilder::new("test").field(text.as_bytes()).finish()
}

fn request(key: &str, body: &str) -> Identified {
    Identified { key: digest(key), fingerprint: digest(body), identity: digest("alice"), name: digest(key) }
}

fn claim_of(request: Identified, owner: u128) -> Claim {
    Claim { request, owner: Owner(owner), lease: LEASE, retention: DAY, over_indeterminate: false }
}

fn fence(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Claimed { fence, .. } => *fence,
        other => panic!("not claimed: {other:?}"),
    }
}

fn answer(text: &str) -> Answer {
    Answer::new(b"200", text.as_bytes())
}

fn complete(store: &MemoryStore, key: &str, owner: u128, fence: u64, text: &str) -> Written {
    store.settle(&digest(key), Owner(owner), fence, Settlement::Complete(answer(text)), DAY)
}

#[test]
fn one_claim_then_in_progress_then_the_answer() {
    let store = MemoryStore::new(LARGE);
    let claim = claim_of(request("k", "a"), 1);
    assert_eq!(fence(&store.claim(&claim)), 1);
    assert!(matches!(
        store.claim(&claim_of(claim.request, 2)),
        Outcome::InProgress { lease_left } if lease_left <= LEASE && lease_left > LEASE / 2
    ));
    assert_eq!(complete(&store, "k", 1, 1, "done"), Written::Done);
    match store.claim(&claim_of(claim.request, 2)) {
        Outcome::Completed(kept) => assert_eq!(kept, answer("done")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_fingerprint_or_identity_is_a_mismatch_while_running_and_after() {
    let store = MemoryStore::new(LARGE);
    let alice = request("k", "a");
    let other_body = request("k", "b");
    let bob = Identified { identity: digest("bob"), ..alice };
    let bob_guesses = Identified { identity: digest("bob"), ..other_body };
    store.claim(&claim_of(alice, 1));
    for _ in 0..2 {
        assert!(matches!(store.claim(&claim_of(bob_guesses, 2)), Outcome::Mismatch(Differs::Identity)));
        assert!(matches!(store.claim(&claim_of(other_body, 2)), Outcome::Mismatch(Differs::Fingerprint)));
        assert!(matches!(store.claim(&claim_of(bob, 2)), Outcome::Mismatch(Differs::Identity)));
        complete(&store, "k", 1, 1, "done");
    }
}

#[test]
fn a_released_key_runs_again_with_a_higher_fence() {
    let store = MemoryStore::new(LARGE);
    for run in 1..=3 {
        let claim = claim_of(request("k", "a"), run.into());
        assert_eq!(fence(&store.claim(&claim)), run);
        let settled = store.settle(&claim.request.key, claim.owner, run, Settlement::Release, DAY);
        assert_eq!(settled, Written::Done);
    }
    // Free means free: also for another request.
    assert_eq!(fence(&store.claim(&claim_of(request("k", "other"), 9))), 4);
}

#[test]
fn a_claim_is_repeatable_by_its_owner() {
    let store = MemoryStore::new(LARGE);
    let claim = claim_of(request("k", "a"), 1);
    assert_eq!(fence(&store.claim(&claim)), 1);
    assert_eq!(fence(&store.claim(&claim)), 1);
    assert_eq!(store.stats().held, 1);
}

#[test]
fn a_lapsed_lease_is_taken_over_and_its_owner_fenced_on_every_write() {
    let store = MemoryStore::new(LARGE);
    let key = digest("k");
    store.claim(&claim_of(request("k", "a"), 1));
    store.clock().advance(LEASE + Duration::from_millis(1));
    assert_eq!(fence(&store.claim(&claim_of(request("k", "a"), 2))), 2);
    assert_eq!(complete(&store, "k", 1, 1, "stale"), Written::Lost);
    assert_eq!(store.renew(&key, Owner(1), 1, LEASE), Written::Lost);
    assert_eq!(store.commit_point(&key, Owner(1), 1), Written::Lost);
    assert_eq!(store.settle(&key, Owner(1), 1, Settlement::Release, DAY), Written::Lost);
    // Not by the right number of the wrong owner either.
    assert_eq!(complete(&store, "k", 1, 2, "stale"), Written::Lost);
    assert_eq!(complete(&store, "k", 2, 2, "fresh"), Written::Done);
}

#[test]
fn progress_is_handed_to_the_next_claim_until_there_is_an_answer() {
    let store = MemoryStore::new(LARGE);
    let key = digest("k");
    let progress = |outcome| match outcome {
        Outcome::Claimed { progress, .. } => progress.map(|bytes| bytes.to_vec()),
        other => panic!("not claimed: {other:?}"),
    };
    assert_eq!(progress(store.claim(&claim_of(request("k", "a"), 1))), None);
    assert_eq!(store.save(&key, Owner(1), 1, b"one".as_slice().into()), Written::Done);
    // After a release, after a lapse, after a lapse that the housekeeping tidied up, and to the owner itself.
    store.settle(&key, Owner(1), 1, Settlement::Release, DAY);
    assert_eq!(progress(store.claim(&claim_of(request("k", "a"), 2))), Some(b"one".to_vec()));
    assert_eq!(progress(store.claim(&claim_of(request("k", "a"), 2))), Some(b"one".to_vec()));
    assert_eq!(store.save(&key, Owner(2), 2, b"two".as_slice().into()), Written::Done);
    assert_eq!(store.save(&key, Owner(1), 1, b"stale".as_slice().into()), Written::Lost);
    store.clock().advance(LEASE * 2);
    assert_eq!(progress(store.claim(&claim_of(request("k", "a"), 3))), Some(b"two".to_vec()));
    store.clock().advance(LEASE + DAY + Duration::from_secs(1));
    for _ in 0..64 {
        store.maintain();
    }
    assert_eq!(progress(store.claim(&claim_of(request("k", "a"), 4))), Some(b"two".to_vec()));
    store.forget(&key);
    assert_eq!(progress(store.claim(&claim_of(request("k", "a"), 5))), None);
}

/// A hold for a day, by this thread.
fn hold() -> Hold {
    Hold { holder: Holder::this_thread(), longest: DAY }
}

#[test]
fn a_claim_with_a_hold_does_not_lapse_while_its_thread_lives() {
    let store = MemoryStore::new(LARGE);
    store.claim_for(&claim_of(request("k", "a"), 1), Some(hold()));
    store.clock().advance(LEASE * 100);
    for _ in 0..64 {
        store.maintain();
    }
    assert!(matches!(
        store.claim(&claim_of(request("k", "a"), 2)),
        Outcome::InProgress { lease_left } if !lease_left.is_zero()
    ));
    assert!(matches!(store.inspect(&digest("k")), Some(Inspection::InProgress { .. })));
    assert!(store.wait(&digest("k")).is_some());
    assert_eq!(complete(&store, "k", 1, 1, "done"), Written::Done);
}

#[test]
fn a_claim_with_a_hold_lapses_when_the_hold_and_the_last_lease_are_over() {
    let store = MemoryStore::new(LARGE);
    store.claim_for(&claim_of(request("k", "a"), 1), Some(Hold { longest: LEASE * 10, ..hold() }));
    store.clock().advance(LEASE / 2 * 19);
    assert_eq!(store.renew(&digest("k"), Owner(1), 1, LEASE), Written::Done);
    store.clock().advance(Duration::from_secs(29));
    assert!(matches!(store.claim(&claim_of(request("k", "a"), 2)), Outcome::InProgress { .. }));
    store.clock().advance(Duration::from_secs(1));
    assert_eq!(fence(&store.claim(&claim_of(request("k", "a"), 2))), 2);
}

#[test]
fn a_hold_ends_with_its_thread_and_leaves_the_lease() {
    let store = MemoryStore::new(LARGE);
    let claim = |key: &str| store.claim_for(&claim_of(request(key, "a"), 1), Some(hold()));
    thread::scope(|scope| {
        let of_another = scope.spawn(|| {
            claim("free");
            claim("committed");
            store.commit_point(&digest("committed"), Owner(1), 1);
        });
        of_another.join().unwrap();
    });
    // The scope waits for the function; the thread itself ends a moment later.
    store.clock().advance(LEASE / 2);
    assert!(matches!(store.claim(&claim_of(request("free", "a"), 2)), Outcome::InProgress { .. }));
    store.clock().advance(LEASE / 2);
    assert_eq!(fence(&store.claim(&claim_of(request("free", "a"), 2))), 2);
    assert!(matches!(store.claim(&claim_of(request("committed", "a"), 2)), Outcome::Indeterminate));
}

#[test]
fn renewal_keeps_a_claim() {
    let store = MemoryStore::new(LARGE);
    store.claim(&claim_of(request("k", "a"), 1));
    for _ in 0..10 {
        store.clock().advance(LEASE / 3 * 2);
        assert_eq!(store.renew(&digest("k"), Owner(1), 1, LEASE), Written::Done);
        assert!(matches!(store.claim(&claim_of(request("k", "a"), 2)), Outcome::InProgress { .. }));
    }
}

#[test]
fn behind_the_commit_point_a_key_is_never_silently_free() {
    for end in [Some(Settlement::Release), Some(Settlement::Indeterminate), None] {
        let store = MemoryStore::new(LARGE);
        let key = digest("k");
        store.claim(&claim_of(request("k", "a"), 1));
        assert_eq!(store.commit_point(&key, Owner(1), 1), Written::Done);
        // A renewal must not forget the commit point.
        store.renew(&key, Owner(1), 1, LEASE);
        match end {
            Some(end) => assert_eq!(store.settle(&key, Owner(1), 1, end, DAY), Written::Done),
            None => store.clock().advance(LEASE * 2),
        }
        assert!(matches!(store.claim(&claim_of(request("k", "a"), 2)), Outcome::Indeterminate));
        assert_eq!(complete(&store, "k", 1, 1, "late"), Written::Lost, "a verdict is final");
        let retry = Claim { over_indeterminate: true, ..claim_of(request("k", "a"), 3) };
        assert_eq!(fence(&store.claim(&retry)), 2);
        assert!(matches!(store.claim(&Claim { owner: Owner(4), ..retry }), Outcome::InProgress { .. }));
    }
}

#[test]
fn a_completion_behind_the_commit_point_is_a_completion() {
    let store = MemoryStore::new(LARGE);
    store.claim(&claim_of(request("k", "a"), 1));
    store.commit_point(&digest("k"), Owner(1), 1);
    assert_eq!(complete(&store, "k", 1, 1, "done"), Written::Done);
    assert!(matches!(store.claim(&claim_of(request("k", "a"), 2)), Outcome::Completed(_)));
}

#[test]
fn every_record_expires_by_the_stores_clock() {
    for settlement in
        [Settlement::Complete(answer("x")), Settlement::NotReplayable, Settlement::Indeterminate]
    {
        let store = MemoryStore::new(LARGE);
        let claim = claim_of(request("k", "a"), 1);
        store.claim(&claim);
        store.settle(&claim.request.key, Owner(1), 1, settlement, DAY);
        store.clock().advance(Duration::from_secs(86_399));
        assert!(!matches!(store.claim(&claim_of(claim.request, 2)), Outcome::Claimed { .. }));
        store.clock().advance(Duration::from_secs(2));
        assert!(store.inspect(&claim.request.key).is_none());
        assert!(matches!(store.claim(&claim_of(claim.request, 2)), Outcome::Claimed { .. }));
    }
}

#[test]
fn retention_may_be_longer_than_32_bits_of_milliseconds() {
    let store = MemoryStore::new(LARGE);
    let weeks = Duration::from_secs(60 * 86_400);
    store.claim(&claim_of(request("k", "a"), 1));
    store.settle(&digest("k"), Owner(1), 1, Settlement::Complete(answer("x")), weeks);
    store.clock().advance(Duration::from_secs(59 * 86_400));
    assert!(matches!(store.claim(&claim_of(request("k", "a"), 2)), Outcome::Completed(_)));
}

#[test]
fn a_store_full_of_completed_records_drops_the_least_recently_used_and_counts_it() {
    let store = MemoryStore::new(Limits { max_bytes: 1 << 20, max_entries: 3 });
    let put = |key: &str| {
        let outcome = store.claim(&claim_of(request(key, "a"), 1));
        complete(&store, key, 1, fence(&outcome), key);
        store.stats();
    };
    for key in ["a", "b", "c"] {
        put(key);
    }
    assert!(store.inspect(&digest("a")).is_some());
    store.stats();
    put("d");
    assert_eq!(store.stats().settled, 3);
    assert_eq!(store.stats().evicted, 1);
    let kept = ["a", "b", "c", "d"].map(|key| store.inspect(&digest(key)).is_some());
    assert_eq!(kept, [true, false, true, true]);
}

#[test]
fn the_oldest_is_dropped_first_wherever_it_waited_for_the_cache() {
    let store = MemoryStore::new(Limits { max_bytes: 1 << 20, max_entries: 10 });
    let keys: Vec<String> = (0..200).map(|i| format!("k{i}")).collect();
    for few in keys.chunks(20) {
        for key in few {
            let outcome = store.claim(&claim_of(request(key, "a"), 1));
            complete(&store, key, 1, fence(&outcome), key);
        }
        store.maintain();
    }
    assert_eq!(store.stats().settled, 10);
    let kept: Vec<&String> = keys.iter().filter(|key| store.inspect(&digest(key)).is_some()).collect();
    assert_eq!(kept, keys.iter().skip(190).collect::<Vec<_>>());
}

#[test]
fn the_bytes_that_are_counted_are_those_of_the_records() {
    let store = MemoryStore::new(Limits { max_bytes: 1 << 20, max_entries: 3 });
    let mut expected = 0;
    for key in ["a", "b", "c", "d"] {
        let outcome = store.claim(&claim_of(request(key, "a"), 1));
        complete(&store, key, 1, fence(&outcome), &"x".repeat(100));
        expected = (expected + 512 + "200".len() as u64 + 100).min(3 * 615);
        assert_eq!(store.stats().bytes, expected);
    }
    store.forget(&digest("d"));
    assert_eq!(store.stats().bytes, expected - 103);
}

#[test]
fn bytes_are_bounded_and_claims_are_never_evicted() {
    let limits = Limits { max_bytes: 1 << 20, max_entries: 100_000 };
    let store = MemoryStore::new(limits);
    for i in 0..500 {
        store.claim(&claim_of(request(&format!("held {i}"), "a"), 1));
    }
    let body = "x".repeat(4000);
    for i in 0..2_000 {
        let key = format!("done {i}");
        store.claim(&claim_of(request(&key, "a"), 1));
        complete(&store, &key, 1, 1, &body);
    }
    let stats = store.stats();
    assert!(stats.bytes <= limits.max_bytes, "{stats:?}");
    assert!(stats.settled > 200, "{stats:?}");
    assert_eq!(stats.settled + stats.evicted, 2_000);
    for i in 0..500 {
        let again = store.claim(&claim_of(request(&format!("held {i}"), "a"), 2));
        assert!(matches!(again, Outcome::InProgress { .. }), "{again:?}");
    }
}

/// Of which three records share a batch.
const MEDIUM: Limits = Limits { max_bytes: 1 << 24, max_entries: 16_000 };

fn put_for(store: &MemoryStore, key: &str, retention: Duration) {
    let claimed = fence(&store.claim(&claim_of(request(key, "a"), 1)));
    let end = Settlement::Complete(answer(key));
    assert_eq!(store.settle(&digest(key), Owner(1), claimed, end, retention), Written::Done);
}

fn is_kept(store: &MemoryStore, key: &str) -> bool {
    matches!(store.claim(&claim_of(request(key, "a"), 2)), Outcome::Completed(_))
}

#[test]
fn records_without_end_stay_within_both_bounds_and_the_newest_are_kept() {
    let store = MemoryStore::new(MEDIUM);
    for i in 0..60_000_u64 {
        // Two lifetimes, so that two batches of each shard are open.
        put_for(&store, &i.to_string(), if i % 2 == 0 { DAY } else { DAY / 24 });
        if i % 10_000 == 0 {
            store.maintain();
            let stats = store.stats();
            assert!(stats.settled <= MEDIUM.max_entries && stats.bytes <= MEDIUM.max_bytes, "{stats:?}");
        }
    }
    let stats = store.stats();
    assert_eq!(stats.settled + stats.evicted, 60_000);
    assert!(stats.settled > MEDIUM.max_entries * 9 / 10, "{stats:?}");
    assert!((46_000..60_000).all(|i| is_kept(&store, &i.to_string())));
}

#[test]
fn what_is_used_stays_however_many_come_after_it() {
    let store = MemoryStore::new(MEDIUM);
    put_for(&store, "used", DAY);
    put_for(&store, "forgotten", DAY);
    for i in 0..60_000 {
        put_for(&store, &i.to_string(), DAY);
        if i % 5_000 == 0 {
            assert!(is_kept(&store, "used"));
            store.maintain();
        }
    }
    store.stats();
    assert!(is_kept(&store, "used"));
    assert!(!is_kept(&store, "forgotten"));
}

#[test]
fn a_key_that_is_freed_over_and_over_takes_the_room_of_one() {
    let store = MemoryStore::new(MEDIUM);
    for i in 0..10_000 {
        put_for(&store, &i.to_string(), DAY);
    }
    for round in 0..100 {
        for key in 0..1_000 {
            let key = format!("freed {key}");
            let claimed = fence(&store.claim(&claim_of(request(&key, "a"), 1)));
            assert_eq!(claimed, round + 1);
            assert_eq!(
                store.settle(&digest(&key), Owner(1), claimed, Settlement::Release, DAY),
                Written::Done
            );
        }
        store.maintain();
    }
    let stats = store.stats();
    assert_eq!((stats.settled, stats.evicted), (11_000, 0));
    assert!((0..10_000).all(|i| is_kept(&store, &i.to_string())));
}

#[test]
fn what_is_kept_for_a_moment_does_not_wait_for_what_is_kept_for_a_day() {
    let store = MemoryStore::new(MEDIUM);
    for i in 0..2_000 {
        put_for(&store, &format!("day {i}"), DAY);
        put_for(&store, &format!("moment {i}"), Duration::from_millis(1));
    }
    // The cache goes by the system's clock.
    let since = std::time::Instant::now();
    while store.stats().settled > 2_000 {
        assert!(since.elapsed() < Duration::from_secs(20), "{:?}", store.stats());
        thread::sleep(Duration::from_millis(5));
        for _ in 0..64 {
            store.maintain();
        }
    }
    let stats = store.stats();
    assert_eq!((stats.settled, stats.evicted), (2_000, 0));
    assert!((0..2_000).all(|i| is_kept(&store, &format!("day {i}"))));
}

#[test]
fn threads_that_fill_a_store_at_once_find_what_they_just_wrote() {
    let store = MemoryStore::new(MEDIUM);
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                store.maintain();
                thread::yield_now();
            }
        });
        let writers: Vec<_> = (0..4)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    for i in 0..10_000 {
                        let key = format!("{thread} {i}");
                        put_for(store, &key, DAY);
                        assert!(is_kept(store, &key));
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let stats = store.stats();
    assert_eq!(stats.settled + stats.evicted, 40_000);
    assert!(stats.bytes <= MEDIUM.max_bytes && stats.settled <= MEDIUM.max_entries, "{stats:?}");
}

#[test]
fn a_store_full_of_claims_refuses_new_ones() {
    let store = MemoryStore::new(Limits { max_bytes: 1 << 20, max_entries: 2 });
    store.claim(&claim_of(request("a", "x"), 1));
    store.claim(&claim_of(request("b", "x"), 1));
    assert!(matches!(store.claim(&claim_of(request("c", "x"), 1)), Outcome::Full));
    assert!(matches!(store.claim(&claim_of(request("a", "x"), 2)), Outcome::InProgress { .. }));
    complete(&store, "a", 1, 1, "done");
    assert_eq!(fence(&store.claim(&claim_of(request("c", "x"), 1))), 1);
}

#[test]
fn indeterminate_records_have_room_of_their_own_and_are_never_dropped() {
    let store = MemoryStore::new(Limits { max_bytes: 1 << 20, max_entries: 3 });
    let claim = |key: &str| store.claim(&claim_of(request(key, "x"), 1));
    let end = |key: &str| store.settle(&digest(key), Owner(1), 1, Settlement::Indeterminate, DAY);
    for key in ["a", "b", "c"] {
        assert_eq!(fence(&claim(key)), 1);
        assert_eq!(end(key), Written::Done);
    }
    // As many claims as ever fit beside them.
    for key in ["d", "e", "f"] {
        assert_eq!(fence(&claim(key)), 1);
    }
    assert!(matches!(claim("g"), Outcome::Full));
    // What does not fit any more takes the room of claims.
    assert_eq!(end("d"), Written::Done);
    assert!(matches!(claim("g"), Outcome::Full));
    assert_eq!(complete(&store, "e", 1, 1, "done"), Written::Done);
    assert_eq!(fence(&claim("g")), 1);
    assert!(matches!(claim("h"), Outcome::Full));
    for key in ["a", "b", "c", "d"] {
        assert!(matches!(claim(key), Outcome::Indeterminate));
    }
    assert_eq!(store.stats().held, 6);
    // One that is retried is a claim, which needs the room of one; and one that is forgotten gives its room back.
    let retry = Claim { over_indeterminate: true, ..claim_of(request("a", "x"), 2) };
    assert!(matches!(store.claim(&retry), Outcome::Full));
    assert!(store.forget(&digest("b")));
    assert_eq!(fence(&store.claim(&retry)), 2);
    store.clock().advance(DAY + LEASE);
    for _ in 0..64 {
        store.maintain();
    }
    store.clock().advance(DAY + LEASE);
    for _ in 0..64 {
        store.maintain();
    }
    assert_eq!(store.stats().held, 0);
}

#[test]
fn claims_that_lapsed_behind_their_commit_point_keep_no_new_ones_out() {
    let store = MemoryStore::new(Limits { max_bytes: 1 << 20, max_entries: 4 });
    for key in ["a", "b", "c", "d"] {
        store.claim(&claim_of(request(key, "x"), 1));
        store.commit_point(&digest(key), Owner(1), 1);
    }
    store.clock().advance(LEASE);
    for _ in 0..64 {
        store.maintain();
    }
    assert_eq!(fence(&store.claim(&claim_of(request("e", "x"), 1))), 1);
    assert!(matches!(store.claim(&claim_of(request("a", "x"), 1)), Outcome::Indeterminate));
}

fn put_dropped_first(store: &MemoryStore, key: &str, retention: Duration) {
    let claimed = fence(&store.claim(&claim_of(request(key, "a"), 1)));
    let end = Settlement::Complete(answer(key).dropped_first(true));
    assert_eq!(store.settle(&digest(key), Owner(1), claimed, end, retention), Written::Done);
}

#[test]
fn what_is_dropped_first_never_costs_another_its_place() {
    let store = MemoryStore::new(MEDIUM);
    for i in 0..10_000 {
        put_for(&store, &format!("paid {i}"), DAY);
    }
    for i in 0..60_000 {
        let key = format!("stranger {i}");
        if i % 2 == 0 {
            put_dropped_first(&store, &key, DAY);
        } else {
            let claimed = fence(&store.claim(&claim_of(request(&key, "a"), 1)));
            store.settle(&digest(&key), Owner(1), claimed, Settlement::Release, DAY);
        }
        if i % 5_000 == 0 {
            store.maintain();
            let stats = store.stats();
            assert!(stats.settled <= MEDIUM.max_entries && stats.bytes <= MEDIUM.max_bytes, "{stats:?}");
        }
    }
    assert!((0..10_000).all(|i| is_kept(&store, &format!("paid {i}"))));
    // The newest of them are kept as long as there is room.
    assert!((58_000..60_000).step_by(2).all(|i| is_kept(&store, &format!("stranger {i}"))));
    // And those that are not dropped first may take it all.
    for i in 10_000..30_000 {
        put_for(&store, &format!("paid {i}"), DAY);
    }
    let stats = store.stats();
    assert!(stats.settled <= MEDIUM.max_entries && stats.settled > MEDIUM.max_entries * 9 / 10, "{stats:?}");
    assert!((16_000..30_000).all(|i| is_kept(&store, &format!("paid {i}"))));
}

#[test]
fn among_those_that_are_dropped_first_the_one_used_longest_ago_goes() {
    let store = MemoryStore::new(Limits { max_bytes: 1 << 20, max_entries: 4 });
    put_for(&store, "paid", DAY);
    for key in ["a", "b", "c"] {
        put_dropped_first(&store, key, DAY);
        store.stats();
    }
    assert!(is_kept(&store, "a"));
    store.stats();
    put_for(&store, "paid too", DAY);
    assert_eq!((store.stats().settled, store.stats().evicted), (4, 1));
    let kept = ["paid", "a", "b", "c", "paid too"].map(|key| store.inspect(&digest(key)).is_some());
    assert_eq!(kept, [true, true, false, true, true]);
}

#[test]
fn what_is_dropped_first_expires_as_all_else_does() {
    let store = MemoryStore::new(MEDIUM);
    for i in 0..3_000 {
        put_dropped_first(&store, &i.to_string(), DAY);
    }
    store.clock().advance(DAY + Duration::from_secs(1));
    for _ in 0..64 {
        store.maintain();
    }
    let stats = store.stats();
    assert_eq!((stats.settled, stats.evicted), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written, freed and written again: both bounds hold, and nothing is dropped that could stay if all that is
    /// dropped first were gone.
    #[test]
    fn any_mixture_stays_within_its_bounds(steps in prop::collection::vec((0..120_u8, 0..4_u8, 0..3_000_usize), 1..400)) {
        let limits = Limits { max_bytes: 40_000, max_entries: 50 };
        let store = MemoryStore::new(limits);
        // The weight of each answer that must stay while it can.
        let mut paid = HashMap::new();
        for (key, how, size) in steps {
            let name = key.to_string();
            if how == 0 {
                store.forget(&digest(&name));
                paid.remove(&name);
            } else if let Outcome::Claimed { fence, .. } = store.claim(&claim_of(request(&name, "a"), 1)) {
                let kept = answer(&"x".repeat(size));
                let weight = (kept.size() as u64 + 512).max(limits.max_bytes / limits.max_entries);
                let end = match how {
                    1 => Settlement::Release,
                    2 => Settlement::Complete(kept.dropped_first(true)),
                    _ => Settlement::Complete(kept),
                };
                prop_assert_eq!(store.settle(&digest(&name), Owner(1), fence, end, DAY), Written::Done);
                if how == 3 {
                    paid.insert(name, weight);
                }
            }
            let stats = store.stats();
            prop_assert!(stats.bytes <= limits.max_bytes && stats.settled <= limits.max_entries, "{:?}", stats);
            let asked: u64 = paid.values().sum();
            let before = paid.len();
            paid.retain(|name, _| store.inspect(&digest(name)).is_some());
            prop_assert!(paid.len() == before || asked > limits.max_bytes, "dropped at {} bytes: {:?}", asked, stats);
        }
    }
}

#[test]
fn an_answer_larger_than_the_store_is_not_replayable_rather_than_forgotten() {
    let store = MemoryStore::new(Limits { max_bytes: 4096, max_entries: 10 });
    store.claim(&claim_of(request("k", "a"), 1));
    assert_eq!(complete(&store, "k", 1, 1, &"x".repeat(5000)), Written::Done);
    assert!(matches!(store.claim(&claim_of(request("k", "a"), 2)), Outcome::NotReplayable));
}

#[test]
fn forgetting_frees_a_key_and_fences_its_owner() {
    let store = MemoryStore::new(LARGE);
    assert!(!store.forget(&digest("k")));
    store.claim(&claim_of(request("k", "a"), 1));
    assert!(store.forget(&digest("k")));
    assert_eq!(complete(&store, "k", 1, 1, "x"), Written::Lost);
    assert_eq!(fence(&store.claim(&claim_of(request("k", "a"), 2))), 2);
    complete(&store, "k", 2, 2, "x");
    assert!(store.forget(&digest("k")));
    assert_eq!(fence(&store.claim(&claim_of(request("k", "a"), 3))), 3);
}

#[test]
fn housekeeping_forgets_what_lapsed_long_ago_but_not_its_fence() {
    let store = MemoryStore::new(LARGE);
    store.claim(&claim_of(request("k", "a"), 1));
    store.clock().advance(LEASE + DAY + Duration::from_secs(1));
    for _ in 0..64 {
        store.maintain();
    }
    assert_eq!(store.stats().held, 0);
    assert_eq!(fence(&store.claim(&claim_of(request("k", "a"), 2))), 2);
}

#[test]
fn waiters_are_woken_by_whatever_ends_the_claim() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        for end in [Settlement::Complete(answer("x")), Settlement::Release, Settlement::Indeterminate] {
            let store = MemoryStore::new(LARGE);
            assert!(store.wait(&digest("k")).is_none());
            store.claim(&claim_of(request("k", "a"), 1));
            let waiting = [store.wait(&digest("k")).unwrap(), store.wait(&digest("k")).unwrap()];
            store.settle(&digest("k"), Owner(1), 1, end, DAY);
            let before = tokio::time::Instant::now();
            for one in waiting {
                one.done().await;
            }
            assert_eq!(before.elapsed(), Duration::ZERO, "woken, not timed out");
        }
        // An owner that is gone wakes nobody; then the lease is over.
        let store = MemoryStore::new(LARGE);
        store.claim(&claim_of(request("k", "a"), 1));
        let before = tokio::time::Instant::now();
        store.wait(&digest("k")).unwrap().done().await;
        assert!(before.elapsed() > LEASE / 2 && before.elapsed() <= LEASE + Duration::from_millis(1));
    });
}

#[test]
fn threads_that_claim_one_key_at_once_get_one_owner() {
    let store = Arc::new(MemoryStore::new(LARGE));
    let runs: Arc<HashMap<u64, AtomicU64>> = Arc::new((0..200).map(|key| (key, AtomicU64::new(0))).collect());
    let threads: Vec<_> = (0..8u128)
        .map(|thread| {
            let (store, runs) = (Arc::clone(&store), Arc::clone(&runs));
            thread::spawn(move || {
                for key in 0..200 {
                    let name = key.to_string();
                    let owner = thread << 64 | u128::from(key);
                    if let Outcome::Claimed { fence, .. } = store.claim(&claim_of(request(&name, "a"), owner))
                    {
                        runs[&key].fetch_add(1, Ordering::Relaxed);
                        assert_eq!(complete(&store, &name, owner, fence, &name), Written::Done);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(runs.values().all(|runs| runs.load(Ordering::Relaxed) == 1));
}

/// One step of a history, of one of three keys by one of three owners.
#[derive(Clone, Debug)]
enum Step {
    Claim { key: u8, body: u8, owner: u8 },
    Settle { key: u8, owner: u8, how: u8 },
    Renew { key: u8, owner: u8 },
    CommitPoint { key: u8, owner: u8 },
    Advance { seconds: u32 },
    Maintain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3u8, 0..2u8, 0..3u8).prop_map(|(key, body, owner)| Step::Claim { key, body, owner }),
        3 => (0..3u8, 0..3u8, 0..4u8).prop_map(|(key, owner, how)| Step::Settle { key, owner, how }),
        1 => (0..3u8, 0..3u8).prop_map(|(key, owner)| Step::Renew { key, owner }),
        1 => (0..3u8, 0..3u8).prop_map(|(key, owner)| Step::CommitPoint { key, owner }),
        1 => prop_oneof![Just(10), Just(31), Just(86_401)].prop_map(|seconds| Step::Advance { seconds }),
        1 => Just(Step::Maintain),
    ];
    prop::collection::vec(step, 1..60)
}

/// What the rules of §6 say a key is, kept as plainly as can be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Model {
    Free,
    Claimed { owner: u8, body: u8, until: u64, committed: bool },
    Ended { body: u8, until: u64, how: u8 },
}

fn at(state: Model, now: u64) -> Model {
    match state {
        Model::Claimed { until, committed: true, body, .. } if until <= now => {
            at(Model::Ended { body, until: until + DAY.as_secs(), how: 2 }, now)
        }
        Model::Claimed { until, .. } | Model::Ended { until, .. } if until <= now => Model::Free,
        state => state,
    }
}

proptest! {
    #[test]
    fn any_history_agrees_with_the_model(steps in steps()) {
        let store = MemoryStore::new(LARGE);
        let mut now = 0;
        let mut model = [Model::Free; 3];
        // Whose write is let through: the last claim's, until it is settled or seen to be lost.
        let mut held = [None::<(u8, u64)>; 3];
        let mut last_fence = [0; 3];
        let mut remembered_until = [0; 3];
        let name = |key: u8| format!("key {key}");
        for step in steps {
            match step {
                Step::Claim { key, body, owner } => {
                    let k = usize::from(key);
                    let asked = claim_of(request(&name(key), &body.to_string()), owner.into());
                    let got = store.claim(&asked);
                    model[k] = at(model[k], now);
                    match (model[k], got) {
                        (Model::Free, Outcome::Claimed { fence, .. }) => {
                            // The fence is remembered as long as the record would be.
                            prop_assert!(fence == last_fence[k] + 1 || (fence == 1 && now >= remembered_until[k]));
                            remembered_until[k] = now + LEASE.as_secs() + DAY.as_secs();
                            last_fence[k] = fence;
                            held[k] = Some((owner, fence));
                            model[k] = Model::Claimed { owner, body, until: now + LEASE.as_secs(), committed: false };
                        }
                        (Model::Claimed { body: kept, .. } | Model::Ended { body: kept, .. }, Outcome::Mismatch(Differs::Fingerprint)) => {
                            prop_assert_ne!(kept, body);
                        }
                        (Model::Claimed { owner: mine, body: kept, committed, .. }, Outcome::Claimed { fence, .. }) => {
                            prop_assert_eq!((mine, kept, fence), (owner, body, last_fence[k]));
                            model[k] = Model::Claimed { owner, body, until: now + LEASE.as_secs(), committed };
                        }
                        (Model::Claimed { owner: other, body: kept, .. }, Outcome::InProgress { .. }) => {
                            prop_assert!(other != owner && kept == body);
                        }
                        (Model::Ended { body: kept, how, .. }, got) => {
                            prop_assert_eq!(kept, body);
                            let said = match got {
                                Outcome::Completed(_) => 0,
                                Outcome::NotReplayable => 1,
                                Outcome::Indeterminate => 2,
                                other => return Err(TestCaseError::fail(format!("{other:?}"))),
                            };
                            prop_assert_eq!(said, how);
                        }
                        (state, got) => prop_assert!(false, "{:?} answered {:?}", state, got),
                    }
                    if !matches!(model[k], Model::Claimed { .. }) {
                        held[k] = None;
                    }
                }
                Step::Settle { key, owner, how } => {
                    let k = usize::from(key);
                    let settlement = match how {
                        0 => Settlement::Complete(answer("x")),
                        1 => Settlement::NotReplayable,
                        2 => Settlement::Indeterminate,
                        _ => Settlement::Release,
                    };
                    let fence = last_fence[k];
                    let written = store.settle(&digest(&name(key)), Owner(owner.into()), fence, settlement, DAY);
                    let mine = held[k].is_some_and(|held| held == (owner, fence));
                    // Long after the lease the housekeeping may have taken the claim away.
                    if written == Written::Done {
                        prop_assert!(mine);
                        remembered_until[k] = now + DAY.as_secs();
                        if let Model::Claimed { body, committed, .. } = model[k] {
                            let until = now + DAY.as_secs();
                            model[k] = match how {
                                3 if committed => Model::Ended { body, until, how: 2 },
                                3 => Model::Free,
                                how => Model::Ended { body, until, how },
                            };
                        }
                        held[k] = None;
                    } else if mine {
                        let lapsed = !matches!(at(model[k], now), Model::Claimed { .. });
                        prop_assert!(lapsed);
                    }
                }
                Step::Renew { key, owner } => {
                    let k = usize::from(key);
                    let written = store.renew(&digest(&name(key)), Owner(owner.into()), last_fence[k], LEASE);
                    if written == Written::Done {
                        prop_assert!(held[k].is_some_and(|(held, _)| held == owner));
                        if let Model::Claimed { until, .. } = &mut model[k] {
                            *until = now + LEASE.as_secs();
                        }
                    }
                }
                Step::CommitPoint { key, owner } => {
                    let k = usize::from(key);
                    let written = store.commit_point(&digest(&name(key)), Owner(owner.into()), last_fence[k]);
                    if let (Written::Done, Model::Claimed { committed, .. }) = (written, &mut model[k]) {
                        *committed = true;
                    }
                }
                Step::Advance { seconds } => {
                    store.clock().advance(Duration::from_secs(seconds.into()));
                    now += u64::from(seconds);
                }
                Step::Maintain => {
                    for _ in 0..64 {
                        store.maintain();
                    }
                }
            }
        }
    }
}
