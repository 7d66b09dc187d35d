//! The checks of a decider, and the check of the checks: deciders with the bugs that tools of this kind have had are
//! each found out.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{LazyLock, Mutex};

use super::*;

/// Anything that says whether a request is hit.
trait Decider: Sync {
    /// A run under this seed, of one rule with this probability, in front of so many others.
    fn start(&self, seed: &str, probability: f64, others: usize) -> Box<dyn Run>;
}

/// Decides about the requests of one run, in the order in which they come.
trait Run: Send + Sync {
    fn hits(&self, key: usize, attempt: u32) -> bool;
}

/// Under test: the engine's plan.
struct Ours;

struct OurRun(Plan);

impl Decider for Ours {
    fn start(&self, seed: &str, probability: f64, others: usize) -> Box<dyn Run> {
        let mut rules: Vec<Rule> =
            (0..others).map(|n| rule(&format!("other-{n}"), delay(1, 9), 0.5)).collect();
        rules.push(rule("failure", error(), probability));
        Box::new(OurRun(Plan::new(Seed::from_text(seed), Selection::Independent, rules).unwrap()))
    }
}

impl Run for OurRun {
    fn hits(&self, key: usize, attempt: u32) -> bool {
        decide(&self.0, &super::key(key), attempt).fault.is_some()
    }
}

type DrawFor = fn(&Request) -> u64;
type Fires = fn(f64, u64) -> bool;

/// A decider made of two functions: 64 bits for a request, and whether they hit.
struct Planted {
    draw: DrawFor,
    fires: Fires,
}

/// What a planted decider may look at.
struct Request {
    seed: Seed,
    others: usize,
    key: usize,
    attempt: u32,
    /// How many came before in this run.
    place: u64,
}

struct PlantedRun {
    seed: Seed,
    probability: f64,
    others: usize,
    draw: DrawFor,
    fires: Fires,
    place: Mutex<u64>,
}

impl Decider for Planted {
    fn start(&self, seed: &str, probability: f64, others: usize) -> Box<dyn Run> {
        let (draw, fires) = (self.draw, self.fires);
        Box::new(PlantedRun {
            seed: Seed::from_text(seed),
            probability,
            others,
            draw,
            fires,
            place: Mutex::new(0),
        })
    }
}

impl Run for PlantedRun {
    fn hits(&self, key: usize, attempt: u32) -> bool {
        let mut place = self.place.lock().unwrap();
        *place += 1;
        let (seed, others) = (self.seed, self.others);
        let draw = (self.draw)(&Request { seed, others, key, attempt, place: *place });
        (self.fires)(self.probability, draw)
    }
}

static NO_SEED: LazyLock<Seed> = LazyLock::new(|| Seed::from_text(""));

fn keyed(seed: Seed, key: usize, attempt: u32, rule: &str) -> u64 {
    Draws::new(seed.request(&super::key(key)), attempt).draw(rule, Purpose::Fire)
}

/// A stream of random numbers that all requests take from, each rule one.
fn streamed(seed: Seed, place: u64) -> u64 {
    keyed(seed, usize::try_from(place).unwrap(), 0, "stream")
}

fn below(p: f64, draw: u64) -> bool {
    Probability::new(p).unwrap().fires(draw)
}

/// A number from 0 to below 1, to the precision that those tools have.
fn unit(draw: u64) -> f64 {
    reprise::chaos::draw::unit(draw)
}

const RIGHT: Planted = Planted { draw: |r| keyed(r.seed, r.key, r.attempt, "failure"), fires: below };

/// Each bug with where it was found.
fn bugs() -> Vec<(&'static str, Planted)> {
    vec![
        // envoyproxy/envoy#9597
        (
            "rolled twice: 2p - p²",
            Planted {
                fires: |p, draw| {
                    below(p, draw) || below(p, draw.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15))
                },
                ..RIGHT
            },
        ),
        // A zero that hits now and then.
        (
            "<= in whole percent",
            Planted { fires: |p, draw| (unit(draw) * 100.0).floor() <= p * 100.0, ..RIGHT },
        ),
        // microsoft/dev-proxy: Next(1, 100) gives 1 to 99.
        ("rate of 99", Planted { fires: |p, draw| 1.0 + (unit(draw) * 99.0).floor() <= p * 100.0, ..RIGHT }),
        // Most tools: arrival order decides.
        ("one shared stream", Planted { draw: |r| streamed(r.seed, r.place), ..RIGHT }),
        // A rule added moves the stream on.
        (
            "a stream that the other rules take from",
            Planted { draw: |r| keyed(r.seed, r.key + r.others, r.attempt, "failure"), ..RIGHT },
        ),
        // Shopify/toxiproxy: the flag has no effect.
        ("the seed is ignored", Planted { draw: |r| keyed(*NO_SEED, r.key, r.attempt, "failure"), ..RIGHT }),
        // The seed is read, and time is added to it.
        (
            "another run, other victims",
            Planted { draw: |r| RandomState::new().hash_one((r.key, r.attempt)), ..RIGHT },
        ),
        // MockServer: the same number for every call under a seed.
        ("0 or 100 percent", Planted { draw: |r| keyed(r.seed, 0, 0, "failure"), ..RIGHT }),
        // A victim that is one for ever.
        ("the attempt is ignored", Planted { draw: |r| keyed(r.seed, r.key, 0, "failure"), ..RIGHT }),
        // A draw that depends on the probability: raising it frees earlier victims.
        (
            "the upper end of the draws",
            Planted { fires: |p, draw| below(p, if p < 0.2 { draw } else { !draw }), ..RIGHT },
        ),
        // A hash that does not mix: neighbours follow each other.
        (
            "neighbouring keys alike",
            Planted { draw: |r| keyed(r.seed, r.key / 4, r.attempt, "failure"), ..RIGHT },
        ),
    ]
}

/// What is promised, each as a check that says what is wrong.
type Check = fn(&dyn Decider, usize) -> Result<(), String>;

const CHECKS: [(&str, Check); 8] = [
    ("its own rate", rates),
    ("zero never, one always", ends),
    ("any order", orders),
    ("any number of threads", threads),
    ("other rules", other_rules),
    ("a higher probability", nested),
    ("another seed, another attempt", seeds_and_attempts),
    ("neighbours", neighbours),
];

fn in_order(run: &dyn Run, n: usize, attempt: u32) -> Vec<bool> {
    (0..n).map(|key| run.hits(key, attempt)).collect()
}

fn count(hits: &[bool]) -> usize {
    hits.iter().filter(|&&hit| hit).count()
}

fn within(what: &str, count: usize, n: usize, p: f64) -> Result<(), String> {
    let (low, high) = binomial_bounds(u32::try_from(n).unwrap(), p);
    if (low..=high).contains(&count) {
        return Ok(());
    }
    Err(format!("{what}: {count} of {n} at p = {p}; expected {low} to {high}"))
}

fn same(what: &str, one: &[bool], other: &[bool]) -> Result<(), String> {
    if one == other { Ok(()) } else { Err(format!("{what}: other victims")) }
}

fn rates(decider: &dyn Decider, n: usize) -> Result<(), String> {
    for p in [0.01, 0.1, 0.5, 0.99] {
        within("rate", count(&in_order(&*decider.start("42", p, 0), n, 0)), n, p)?;
    }
    Ok(())
}

fn ends(decider: &dyn Decider, n: usize) -> Result<(), String> {
    let never = count(&in_order(&*decider.start("42", 0.0, 0), n, 0));
    let always = count(&in_order(&*decider.start("42", 1.0, 0), n, 0));
    if (never, always) == (0, n) { Ok(()) } else { Err(format!("zero hits {never}, one {always} of {n}")) }
}

fn orders(decider: &dyn Decider, n: usize) -> Result<(), String> {
    let expected = in_order(&*decider.start("42", 0.1, 0), n, 0);
    for step in [1, 7_919, 999_983] {
        let run = decider.start("42", 0.1, 0);
        let mut found = vec![false; n];
        shuffled(n, step).for_each(|key| found[key] = run.hits(key, 0));
        same("order", &expected, &found)?;
    }
    Ok(())
}

fn threads(decider: &dyn Decider, n: usize) -> Result<(), String> {
    let expected = in_order(&*decider.start("42", 0.1, 0), n, 0);
    for threads in [2, 5] {
        let run = &*decider.start("42", 0.1, 0);
        let found: Vec<Vec<(usize, bool)>> = std::thread::scope(|scope| {
            let spawn = |thread: usize| {
                scope.spawn(move || {
                    (thread..n).step_by(threads).map(|key| (key, run.hits(key, 0))).collect::<Vec<_>>()
                })
            };
            let spawned: Vec<_> = (0..threads).map(spawn).collect();
            spawned.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        if found.into_iter().flatten().any(|(key, hit)| expected[key] != hit) {
            return Err("threads: other victims".to_owned());
        }
    }
    Ok(())
}

fn other_rules(decider: &dyn Decider, n: usize) -> Result<(), String> {
    let alone = in_order(&*decider.start("42", 0.1, 0), n, 0);
    same("other rules", &alone, &in_order(&*decider.start("42", 0.1, 3), n, 0))
}

fn nested(decider: &dyn Decider, n: usize) -> Result<(), String> {
    let mut fewer = vec![false; n];
    for p in [0.001, 0.01, 0.1, 0.3, 0.9] {
        let more = in_order(&*decider.start("42", p, 0), n, 0);
        if fewer.iter().zip(&more).any(|(&before, &after)| before && !after) {
            return Err(format!("an earlier victim is free at p = {p}"));
        }
        fewer = more;
    }
    Ok(())
}

fn seeds_and_attempts(decider: &dyn Decider, n: usize) -> Result<(), String> {
    let of = |seed, attempt| in_order(&*decider.start(seed, 0.3, 0), n, attempt);
    let one = of("42", 0);
    for (what, other) in [("seed", of("43", 0)), ("attempt", of("42", 1))] {
        let both = one.iter().zip(&other).filter(|(one, other)| **one && **other).count();
        within(what, both, n, 0.09)?;
    }
    Ok(())
}

fn neighbours(decider: &dyn Decider, n: usize) -> Result<(), String> {
    let hits = in_order(&*decider.start("42", 0.5, 0), n + 1, 0);
    within("neighbours", hits.windows(2).filter(|pair| pair[0] == pair[1]).count(), n, 0.5)
}

/// Some 12 million decisions.
#[test]
fn ours_passes_every_check() {
    for (name, check) in CHECKS {
        assert_eq!(check(&Ours, 500_000), Ok(()), "{name}");
    }
}

/// And every check earns its place: some bug is found by it. What is right in the planted ones passes.
#[test]
fn every_planted_bug_is_found_and_every_check_finds_one() {
    let finds = |planted: &Planted| CHECKS.map(|(_, check)| check(planted, 10_000).is_err());
    assert_eq!(finds(&RIGHT), [false; CHECKS.len()]);
    let found: Vec<_> = bugs().iter().map(|(bug, planted)| (*bug, finds(planted))).collect();
    for (bug, by) in &found {
        assert!(by.contains(&true), "{bug}: no check found it");
    }
    for (index, (check, _)) in CHECKS.iter().enumerate() {
        assert!(found.iter().any(|(_, by)| by[index]), "{check} finds nothing");
    }
}
