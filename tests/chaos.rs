//! What the chaos engine promises: the same victims in any order, exact rates, even laws.
//!
//! Every test has fixed seeds, so it passes always or never. The bounds are those that a correct engine would break
//! once in 10^9 seeds.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

use std::collections::HashSet;

use proptest::prelude::*;
use reprise::chaos::{
    Decision, Draws, ERROR_STATUSES, Engine, Fault, Injected, LatencyRange, Plan, Probability, Rates, Rule,
    Seed,
};

const SEEDS: [&str; 3] = ["1", "42", "a seed of words"];

fn p(value: f64) -> Probability {
    Probability::new(value).unwrap()
}

fn plan(seed: &str, failure: f64, latency: f64, kernel_kill: f64) -> Plan {
    let rates = Rates {
        failure: p(failure),
        latency: p(latency),
        latency_range: LatencyRange::new(100, 110).unwrap(),
        kernel_kill: p(kernel_kill),
    };
    Plan::from_rates(Seed::from_text(seed), rates)
}

fn key(n: usize) -> String {
    format!("key:{n}")
}

/// One decision for each of `n` keys, in the order of the keys.
fn decisions(plan: &Plan, n: usize) -> Vec<Decision> {
    (0..n).map(|n| plan.decide(&Draws::new(plan.seed.request(&key(n)), 0), 5)).collect()
}

fn failures(decisions: &[Decision]) -> HashSet<usize> {
    decisions.iter().enumerate().filter(|(_, decision)| decision.status.is_some()).map(|(n, _)| n).collect()
}

/// The order 0..n, shuffled by a fixed multiplicative walk: `step` and `n` have no common factor.
fn shuffled(n: usize, step: usize) -> impl Iterator<Item = usize> {
    (0..n).map(move |i| (i * step + 7) % n)
}

/// The smallest and largest count that a binomial(n, p) shows but once in 10^9 times, half of that on each side.
fn binomial_bounds(n: u32, p: f64) -> (usize, usize) {
    let tail = |success: f64| {
        let odds = (success / (1.0 - success)).ln();
        let mut log_mass = f64::from(n) * (1.0 - success).ln();
        let mut below = log_mass.exp();
        let mut count = 0;
        while below < 0.5e-9 {
            log_mass += (f64::from(n - count) / f64::from(count + 1)).ln() + odds;
            below += log_mass.exp();
            count += 1;
        }
        count
    };
    (tail(p) as usize, (n - tail(1.0 - p)) as usize)
}

fn assert_rate(what: &str, count: usize, n: u32, p: f64) {
    let (low, high) = binomial_bounds(n, p);
    assert!((low..=high).contains(&count), "{what}: {count} of {n} at p = {p}; expected {low} to {high}");
}

/// Pearson's sum for counts that should be even.
fn chi_square(counts: &[usize]) -> f64 {
    let count = |n: usize| f64::from(u32::try_from(n).unwrap());
    let expected = counts.iter().copied().map(count).sum::<f64>() / count(counts.len());
    counts.iter().map(|&n| (count(n) - expected).powi(2) / expected).sum()
}

#[test]
fn the_bounds_are_the_exact_binomial_ones() {
    assert_eq!(binomial_bounds(10_000, 0.05), (372, 638));
    assert_eq!(binomial_bounds(10_000, 0.5), (4_695, 5_305));
    assert_eq!(binomial_bounds(100_000, 0.01), (814, 1_198));
}

#[test]
fn the_same_victims_in_any_order() {
    const N: usize = 20_000;
    let plan = plan("42", 0.1, 0.2, 0.05);
    let expected = decisions(&plan, N);
    for step in [1, 7_919, 12_347, 19_999] {
        let engine = Engine::new(plan.clone());
        for n in shuffled(N, step) {
            assert_eq!(engine.decide(&key(n), 5), expected[n], "key {n}, step {step}");
        }
    }
}

#[test]
fn the_same_victims_on_any_number_of_threads() {
    const N: usize = 20_000;
    let plan = plan("42", 0.1, 0.2, 0.05);
    let expected = decisions(&plan, N);
    for threads in [2, 3, 8] {
        let engine = Engine::new(plan.clone());
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (engine, expected) = (&engine, &expected);
                scope.spawn(move || {
                    for n in (thread..N).step_by(threads) {
                        assert_eq!(engine.decide(&key(n), 5), expected[n]);
                    }
                });
            }
        });
        assert_eq!(engine.metrics().total_requests, N as u64);
    }
}

#[test]
fn a_higher_probability_keeps_every_earlier_victim_and_its_fault() {
    const N: usize = 20_000;
    let mut fewer = decisions(&plan("42", 0.0, 0.0, 0.0), N);
    for probability in [0.001, 0.01, 0.05, 0.3, 0.9, 1.0] {
        let more = decisions(&plan("42", probability, probability, probability), N);
        for (before, after) in fewer.iter().zip(&more) {
            assert!(before.status.is_none() || before.status == after.status);
            assert!(before.latency_ms.is_none() || before.latency_ms == after.latency_ms);
            assert!(before.victim.is_none() || before.victim == after.victim);
        }
        assert!(failures(&more).len() > failures(&fewer).len());
        fewer = more;
    }
}

#[test]
fn another_rule_changes_no_decision_of_this_one() {
    const N: usize = 20_000;
    let alone = decisions(&plan("42", 0.1, 0.0, 0.0), N);
    let mut beside_others = plan("42", 0.1, 0.5, 0.5);
    beside_others.rules.insert(
        0,
        Rule {
            name: "another".to_owned(),
            fault: Fault::Latency(LatencyRange::new(1, 1).unwrap()),
            probability: p(0.5),
        },
    );
    assert_eq!(failures(&alone), failures(&decisions(&beside_others, N)));
}

#[test]
fn zero_never_fires_and_one_always_does() {
    const N: usize = 1_000_000;
    let (never, always) = (plan("42", 0.0, 0.0, 0.0), plan("42", 1.0, 1.0, 1.0));
    for n in 0..N {
        let draws = Draws::new(never.seed.request(&key(n)), 0);
        assert_eq!(never.decide(&draws, 5), Decision::default());
        let all = always.decide(&draws, 5);
        assert!(all.status.is_some() && all.latency_ms.is_some() && all.victim.is_some());
    }
}

#[test]
fn each_fault_has_exactly_its_own_rate() {
    const N: u32 = 100_000;
    for seed in SEEDS {
        for (failure, latency, kill) in [(0.05, 0.10, 0.01), (0.5, 0.8, 0.001), (0.01, 0.001, 0.5)] {
            let decisions = decisions(&plan(seed, failure, latency, kill), N as usize);
            let count = |fires: fn(&Decision) -> bool| decisions.iter().filter(|d| fires(d)).count();
            assert_rate("failures", count(|d| d.status.is_some()), N, failure);
            assert_rate("latencies", count(|d| d.latency_ms.is_some()), N, latency);
            assert_rate("kills", count(|d| d.victim.is_some()), N, kill);
            // Independent: both happen as often as chance has it, no more and no less.
            let both = count(|d| d.status.is_some() && d.latency_ms.is_some());
            assert_rate("both", both, N, failure * latency);
        }
    }
}

#[test]
fn another_seed_has_other_victims() {
    const N: u32 = 100_000;
    let victims = SEEDS.map(|seed| failures(&decisions(&plan(seed, 0.1, 0.0, 0.0), N as usize)));
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let shared = victims[one].intersection(&victims[other]).count();
        assert_rate("victims of both seeds", shared, N, 0.01);
    }
}

#[test]
fn a_retry_with_the_same_key_is_decided_anew() {
    const N: u32 = 50_000;
    let engine = Engine::new(plan("42", 0.3, 0.0, 0.0));
    let attempts: Vec<[bool; 3]> =
        (0..N as usize).map(|n| [(); 3].map(|()| engine.decide(&key(n), 0).status.is_some())).collect();
    for attempt in 0..3 {
        assert_rate("attempt", attempts.iter().filter(|hit| hit[attempt]).count(), N, 0.3);
    }
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let both = attempts.iter().filter(|hit| hit[one] && hit[other]).count();
        assert_rate("both attempts", both, N, 0.09);
    }
}

#[test]
fn neighbouring_keys_and_attempts_do_not_follow_each_other() {
    const N: u32 = 100_000;
    let plan = plan("42", 0.5, 0.0, 0.0);
    let of_keys = decisions(&plan, N as usize + 1);
    let request = plan.seed.request("GET /api/orders");
    let of_attempts: Vec<Decision> =
        (0..=N).map(|attempt| plan.decide(&Draws::new(request, attempt), 0)).collect();
    for (what, sequence) in [("keys", of_keys), ("attempts", of_attempts)] {
        let repeats = sequence.windows(2).filter(|w| w[0].status.is_some() == w[1].status.is_some()).count();
        assert_rate(what, repeats, N, 0.5);
    }
}

/// Critical values of chi-square at 10^-9, by degrees of freedom.
const CHI_SQUARE_3: f64 = 44.85;
const CHI_SQUARE_4: f64 = 47.88;
const CHI_SQUARE_10: f64 = 62.95;

#[test]
fn every_status_is_as_likely_as_the_others() {
    for seed in SEEDS {
        let mut counts = [0; 4];
        for decision in decisions(&plan(seed, 1.0, 0.0, 0.0), 100_000) {
            let status = decision.status.unwrap();
            counts[ERROR_STATUSES.iter().position(|&known| known == status).unwrap()] += 1;
        }
        assert!(chi_square(&counts) < CHI_SQUARE_3, "{counts:?}");
    }
}

#[test]
fn every_delay_of_the_range_is_as_likely_as_the_others_and_no_other_occurs() {
    for seed in SEEDS {
        let mut counts = [0; 11];
        for decision in decisions(&plan(seed, 0.0, 1.0, 0.0), 100_000) {
            counts[decision.latency_ms.unwrap() as usize - 100] += 1;
        }
        assert!(chi_square(&counts) < CHI_SQUARE_10, "{counts:?}");
    }
}

#[test]
fn every_kernel_is_as_likely_a_victim_as_the_others() {
    let mut counts = [0; 5];
    for decision in decisions(&plan("42", 0.0, 0.0, 1.0), 100_000) {
        counts[decision.victim.unwrap() as usize] += 1;
    }
    assert!(chi_square(&counts) < CHI_SQUARE_4, "{counts:?}");
}

#[test]
fn without_a_kernel_there_is_no_victim() {
    let engine = Engine::new(plan("42", 0.0, 0.0, 1.0));
    assert_eq!(engine.decide("key:1", 0), Decision::default());
    assert_eq!(engine.decide("key:1", 1).victim, Some(0));
}

#[test]
fn what_was_done_is_counted_and_rates_are_zero_before_the_first_request() {
    let engine = Engine::new(plan("42", 1.0, 1.0, 0.0));
    assert_eq!((engine.metrics().failure_rate(), engine.metrics().latency_rate()), (0.0, 0.0));
    for n in 0..4 {
        engine.decide(&key(n), 0);
    }
    // Deciding is not doing.
    assert_eq!(engine.metrics().failures_injected, 0);
    engine.count(Injected::Failure);
    engine.count(Injected::Latency);
    engine.count(Injected::Latency);
    engine.count(Injected::KernelKill);
    let metrics = engine.metrics();
    assert_eq!(
        (
            metrics.total_requests,
            metrics.failures_injected,
            metrics.latencies_injected,
            metrics.kernels_killed
        ),
        (4, 1, 2, 1)
    );
    assert_eq!((metrics.failure_rate(), metrics.latency_rate()), (0.25, 0.5));
}

proptest! {
    /// The model: a decision is the pure function of the plan, the key and how often that key was seen before.
    #[test]
    fn the_engine_is_the_plan_and_a_count_per_key(
        seed in ".{0,12}",
        requests in proptest::collection::vec("[a-d]{1,2}", 0..200),
        failure in 0.0..=1.0,
        latency in 0.0..=1.0,
    ) {
        let plan = plan(&seed, failure, latency, 0.5);
        let engine = Engine::new(plan.clone());
        for (place, request) in requests.iter().enumerate() {
            let seen = requests[..place].iter().filter(|earlier| *earlier == request).count();
            let draws = Draws::new(plan.seed.request(request), u32::try_from(seen).unwrap());
            prop_assert_eq!(engine.decide(request, 3), plan.decide(&draws, 3));
        }
    }
}
