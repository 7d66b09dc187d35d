//! What the steps of the core take: `cargo bench --bench core [-- <filter>]`.
//!
//! `pairs` is the memory store: a new key is claimed, completed with 1 KiB, and claimed once more, which replays it. The
//! same on two threads, and SHA-256 on both, which shares nothing: what two threads of this machine can be at most.
#![expect(clippy::unwrap_used, reason = "a program for developers")]

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use reprise::chaos::{self, Engine, Fault, Plan, Probability, Rule, Seed, Selection, Statuses, When};
use reprise::idempotency::{
    Answer, Body, Claim, Digest, DigestBuilder, Identified, Limits, MemoryStore, Outcome, Owner, Registry,
    Request, Settlement, Written, identify,
};

const BODY: [u8; 1024] = [b'x'; 1024];
const HEAD: &[u8] = b"201\nCreated\n2026-01-01T00:00:00.000Z\nContent-Type\napplication/json";
const LEASE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(86_400);
/// So many answers are kept, as by a server that has run for a while: every new one evicts an old one.
const LIVE: u64 = 100_000;

criterion_group! {
    name = core;
    config = Criterion::default().sample_size(30).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = threads, fingerprint, decision
}
criterion_main!(core);

fn threads(criterion: &mut Criterion) {
    let store = Registry::default().private(Limits { max_bytes: LIVE * 2048, max_entries: LIVE });
    let next = AtomicU64::new(0);
    for _ in 0..LIVE {
        pair(&store, next.fetch_add(1, Ordering::Relaxed));
    }
    let mut pairs = criterion.benchmark_group("pairs");
    for count in [1, 2] {
        pairs.throughput(Throughput::Elements(count));
        pairs.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter_custom(|times| {
                // Far apart, so that no two threads ever name the same key.
                let first = next.fetch_add(times * count, Ordering::Relaxed);
                at_once(count, |which| (0..times).for_each(|i| pair(&store, first + which * times + i)))
            });
        });
    }
    pairs.finish();
    let mut alone = criterion.benchmark_group("sha256");
    for count in [1, 2] {
        alone.throughput(Throughput::Elements(count));
        alone.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter_custom(|times| {
                at_once(count, |_| {
                    (0..times).for_each(|_| {
                        black_box(DigestBuilder::new("bench").field(black_box(&BODY)).finish());
                    });
                })
            });
        });
    }
    alone.finish();
}

/// From the moment when all threads are there until the last one is done.
fn at_once(threads: u64, work: impl Fn(u64) + Sync) -> Duration {
    let ready = Barrier::new(usize::try_from(threads).unwrap() + 1);
    thread::scope(|scope| {
        for which in 0..threads {
            let (ready, work) = (&ready, &work);
            scope.spawn(move || {
                ready.wait();
                work(which);
                ready.wait();
            });
        }
        ready.wait();
        let since = Instant::now();
        ready.wait();
        since.elapsed()
    })
}

fn pair(store: &MemoryStore, number: u64) {
    let request = request_of(number);
    let claim = |owner| Claim { request, owner, lease: LEASE, retention: DAY, over_indeterminate: false };
    let owner = Owner(u128::from(number));
    let Outcome::Claimed { fence, .. } = store.claim(&claim(owner)) else { panic!("not claimed") };
    let settlement = Settlement::Complete(Answer::new(HEAD, &BODY));
    assert_eq!(store.settle(&request.key, owner, fence, settlement, DAY), Written::Done);
    let Outcome::Completed(answer) = store.claim(&claim(Owner(u128::MAX))) else { panic!("not replayed") };
    assert_eq!(answer.body().len(), BODY.len());
}

/// As uniform as a digest is, and made in no time.
fn request_of(number: u64) -> Identified {
    let mut digest = [0; 32];
    for (word, eight) in (1_u64..).zip(digest.chunks_exact_mut(8)) {
        // The finalizer of SplitMix64.
        let mut bits = number.wrapping_mul(4).wrapping_add(word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        eight.copy_from_slice(&(bits ^ (bits >> 31)).to_le_bytes());
    }
    let digest = Digest(digest);
    Identified { key: digest, fingerprint: digest, identity: digest, name: digest }
}

fn fingerprint(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fingerprint");
    for bytes in [300, 10 * 1024] {
        let text = order_of(bytes);
        group.throughput(Throughput::Bytes(text.len() as u64));
        for (kind, body) in [("json", Body::Json(&text)), ("bytes", Body::Raw(text.as_bytes()))] {
            let request = Request {
                method: "POST",
                original_url: "/orders?x=1",
                key: Some("7c0f2a8e-4a5b-4d0c-9c43-2f8d1f5c7f11"),
                content_type: "application/json",
                scope: None,
                caller: Some("Bearer abc"),
                body,
            };
            group.bench_with_input(BenchmarkId::new(kind, bytes), &request, |bencher, request| {
                bencher.iter(|| identify(black_box(request), 255));
            });
        }
    }
    group.finish();
}

/// JSON of about that size, as an order has it.
fn order_of(bytes: usize) -> String {
    let mut items = Vec::new();
    let text = |items: &[String]| format!(r#"{{"status":"paid","id":4711,"items":[{}]}}"#, items.join(","));
    while text(&items).len() < bytes {
        let number = items.len();
        items.push(format!(r#"{{"sku":"A-{}","quantity":{},"price":12.5}}"#, 1000 + number, number % 9 + 1));
    }
    text(&items)
}

fn decision(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    let never_hit = Probability::new(1e-12).unwrap();
    for (name, probability, matched) in [
        ("armed, no rule is for the request", Probability::ALWAYS, 0),
        ("armed, three draws that do not hit", never_hit, 0b111),
        ("armed, every draw hits", Probability::ALWAYS, 0b111),
    ] {
        let rules = ["error", "refused", "unavailable"].map(|rule| Rule {
            name: rule.to_owned(),
            fault: Fault::Error(Statuses::new(vec![(503, 1)]).unwrap()),
            probability,
            when: When::default(),
        });
        let plan = Plan::new(Seed::from_text("42"), Selection::Independent, rules.into()).unwrap();
        let engine = Engine::new(plan);
        let keys: Vec<String> = (0..1024).map(|number| format!("key:order-{number}")).collect();
        let mut keys = keys.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let key = keys.next().unwrap();
                engine.decide(chaos::Request { key, matched, elapsed_ms: 0, asked: &[] })
            });
        });
    }
    group.finish();
}
