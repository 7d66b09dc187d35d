//! What the chaos engine promises: the same victims in any order, exact rates, even laws.
//!
//! Every test has fixed seeds, so it passes always or never. The bounds are those that a correct engine would break
//! once in 10^9 seeds.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

use std::collections::HashSet;

use proptest::prelude::*;
use reprise::chaos::{
    Ask, Decision, Distribution, Drawn, Draws, Engine, Fault, Hit, Injected, Plan, Probability, Purpose,
    Request, Rule, Seed, Selection, Statuses, When,
};

mod engine;
mod planted;

const STATUSES: [u16; 4] = [500, 503, 504, 429];
const ALL: u32 = u32::MAX;

const SEEDS: [&str; 3] = ["1", "42", "a seed of words"];

fn p(value: f64) -> Probability {
    Probability::new(value).unwrap()
}

fn rule(name: &str, fault: Fault, probability: f64) -> Rule {
    Rule { name: name.to_owned(), fault, probability: p(probability), when: When::default() }
}

fn delay(min_ms: u32, max_ms: u32) -> Fault {
    Fault::Latency(Distribution::uniform(min_ms, max_ms).unwrap())
}

fn error() -> Fault {
    Fault::Error(Statuses::new(STATUSES.map(|status| (status, 1)).to_vec()).unwrap())
}

fn plan(seed: &str, failure: f64, latency: f64, kernel_kill: f64) -> Plan {
    let rules = vec![
        rule("failure", error(), failure),
        rule("latency", delay(100, 110), latency),
        rule("kernel-kill", Fault::KernelKill, kernel_kill),
    ];
    Plan::new(Seed::from_text(seed), Selection::Independent, rules).unwrap()
}

fn decide(plan: &Plan, key: &str, attempt: u32) -> Decision {
    let draws = Draws::new(plan.seed.request(key), attempt);
    plan.decide(&draws, Ask { matched: ALL, attempt, elapsed_ms: 0, asked: &[] }, &())
}

/// The next request with this key, as an engine meets it.
fn decide_next(engine: &Engine, key: &str, matched: u32) -> Decision {
    engine.decide(Request { key, matched, elapsed_ms: 0, asked: &[] }).decision
}

fn status(decision: &Decision) -> Option<u16> {
    match decision.fault {
        Some(Hit { drawn: Drawn::Status(status), .. }) => Some(status),
        _ => None,
    }
}

fn latency_ms(decision: &Decision) -> Option<u32> {
    match decision.latency {
        Some(Hit { drawn: Drawn::Ms(ms), .. }) => Some(ms),
        _ => None,
    }
}

fn key(n: usize) -> String {
    format!("key:{n}")
}

/// One decision for each of `n` keys, in the order of the keys.
fn decisions(plan: &Plan, n: usize) -> Vec<Decision> {
    (0..n).map(|n| decide(plan, &key(n), 0)).collect()
}

fn failures(decisions: &[Decision]) -> HashSet<usize> {
    decisions.iter().enumerate().filter(|(_, decision)| decision.fault.is_some()).map(|(n, _)| n).collect()
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
            assert_eq!(decide_next(&engine, &key(n), ALL), expected[n], "key {n}, step {step}");
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
                        assert_eq!(decide_next(engine, &key(n), ALL), expected[n]);
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
            assert!(before.fault.is_none() || before.fault == after.fault);
            assert!(before.latency.is_none() || before.latency == after.latency);
            assert!(before.kill.is_none() || before.kill == after.kill);
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
    beside_others.rules.insert(0, rule("another", delay(1, 1), 0.5));
    assert_eq!(failures(&alone), failures(&decisions(&beside_others, N)));
}

#[test]
fn zero_never_fires_and_one_always_does() {
    const N: usize = 1_000_000;
    let (never, always) = (plan("42", 0.0, 0.0, 0.0), plan("42", 1.0, 1.0, 1.0));
    for n in 0..N {
        assert!(decide(&never, &key(n), 0).is_nothing());
        let all = decide(&always, &key(n), 0);
        assert!(all.fault.is_some() && all.latency.is_some() && all.kill.is_some());
    }
}

#[test]
fn each_fault_has_exactly_its_own_rate() {
    const N: u32 = 100_000;
    for seed in SEEDS {
        for (failure, latency, kill) in [(0.05, 0.10, 0.01), (0.5, 0.8, 0.001), (0.01, 0.001, 0.5)] {
            let decisions = decisions(&plan(seed, failure, latency, kill), N as usize);
            let count = |fires: fn(&Decision) -> bool| decisions.iter().filter(|d| fires(d)).count();
            assert_rate("failures", count(|d| d.fault.is_some()), N, failure);
            assert_rate("latencies", count(|d| d.latency.is_some()), N, latency);
            assert_rate("kills", count(|d| d.kill.is_some()), N, kill);
            // Independent: both happen as often as chance has it, no more and no less.
            let both = count(|d| d.fault.is_some() && d.latency.is_some());
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
    let attempts: Vec<[bool; 3]> = (0..N as usize)
        .map(|n| [(); 3].map(|()| decide_next(&engine, &key(n), ALL).fault.is_some()))
        .collect();
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
    let of_attempts: Vec<Decision> =
        (0..=N).map(|attempt| decide(&plan, "GET /api/orders", attempt)).collect();
    for (what, sequence) in [("keys", of_keys), ("attempts", of_attempts)] {
        let repeats = sequence.windows(2).filter(|w| w[0].fault.is_some() == w[1].fault.is_some()).count();
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
            let status = status(&decision).unwrap();
            counts[STATUSES.iter().position(|&known| known == status).unwrap()] += 1;
        }
        assert!(chi_square(&counts) < CHI_SQUARE_3, "{counts:?}");
    }
}

#[test]
fn every_delay_of_the_range_is_as_likely_as_the_others_and_no_other_occurs() {
    for seed in SEEDS {
        let mut counts = [0; 11];
        for decision in decisions(&plan(seed, 0.0, 1.0, 0.0), 100_000) {
            counts[latency_ms(&decision).unwrap() as usize - 100] += 1;
        }
        assert!(chi_square(&counts) < CHI_SQUARE_10, "{counts:?}");
    }
}

#[test]
fn every_kernel_is_as_likely_a_victim_as_the_others() {
    let mut counts = [0; 5];
    for decision in decisions(&plan("42", 0.0, 0.0, 1.0), 100_000) {
        let Some(Hit { drawn: Drawn::Victim(share), .. }) = decision.kill else { panic!("no kill") };
        counts[(0_u32..5).rposition(|victim| f64::from(victim) <= share * 5.0).unwrap()] += 1;
    }
    assert!(chi_square(&counts) < CHI_SQUARE_4, "{counts:?}");
}

fn exclusive(probabilities: &[f64]) -> Plan {
    let rules =
        probabilities.iter().enumerate().map(|(n, &probability)| rule(&n.to_string(), error(), probability));
    Plan::new(Seed::from_text("42"), Selection::Exclusive, rules.collect()).unwrap()
}

fn chosen(plan: &Plan, n: usize) -> Vec<Option<usize>> {
    decisions(plan, n).iter().map(|decision| decision.fault.map(|hit| hit.rule)).collect()
}

#[test]
fn rules_that_exclude_each_other_keep_their_exact_rates_and_never_meet() {
    const N: u32 = 100_000;
    let rates = [0.05, 0.3, 0.01, 0.2];
    let chosen = chosen(&exclusive(&rates), N as usize);
    for (rule, &rate) in rates.iter().enumerate() {
        assert_rate("rule", chosen.iter().filter(|&&hit| hit == Some(rule)).count(), N, rate);
    }
    assert_rate("all", chosen.iter().flatten().count(), N, 0.56);
    assert!(chosen_of(&[0.25, 0.25, 0.5]).iter().all(Option::is_some));
}

fn chosen_of(rates: &[f64]) -> Vec<Option<usize>> {
    chosen(&exclusive(rates), 100_000)
}

#[test]
fn a_rule_behind_the_others_changes_none_of_them_and_a_higher_rate_keeps_its_victims() {
    let before = chosen_of(&[0.1, 0.2]);
    for (earlier, later) in before.iter().zip(chosen_of(&[0.1, 0.2, 0.7])) {
        assert_eq!(earlier.or(Some(2)), later);
    }
    for (fewer, more) in before.iter().zip(chosen_of(&[0.1, 0.6])) {
        assert!(fewer.is_none() || *fewer == more);
    }
}

#[test]
fn first_every_attempts_and_max_bound_a_rule() {
    let hits = |when: When, attempts: usize| {
        let mut bounded = rule("bounded", error(), 1.0);
        bounded.when = when;
        let plan = Plan::new(Seed::from_text("42"), Selection::Exclusive, vec![bounded]).unwrap();
        let engine = Engine::new(plan);
        let hit = |n: usize| decide_next(&engine, &key(n % attempts), ALL).fault.is_some();
        (0..6).map(hit).collect::<Vec<_>>()
    };
    assert_eq!(hits(When { first: Some(2), ..When::default() }, 6), [true, true, false, false, false, false]);
    assert_eq!(hits(When { every: Some(3), ..When::default() }, 6), [false, false, true, false, false, true]);
    assert_eq!(hits(When { max: Some(1), ..When::default() }, 6), [true, false, false, false, false, false]);
    assert_eq!(
        hits(When { attempts: vec![2], ..When::default() }, 2),
        [false, false, true, true, false, false]
    );
}

#[test]
fn a_rule_is_not_asked_for_a_request_that_it_is_not_for() {
    let engine = Engine::new(plan("42", 1.0, 1.0, 1.0));
    let decision = decide_next(&engine, "key:1", 0b010);
    assert!(decision.fault.is_none() && decision.latency.is_some() && decision.kill.is_none());
}

/// Kolmogorov and Smirnov: the largest distance of what was drawn from the law, against its bound at 10^-9.
#[test]
fn every_law_of_delays_is_the_one_it_says() {
    type ShareBelow = fn(f64) -> f64;
    const N: u32 = 100_000;
    let laws: [(Distribution, ShareBelow); 4] = [
        (Distribution::uniform(1, 100_000).unwrap(), |ms| ms / 100_000.0),
        (Distribution::pareto(1_000.0, 1.5, 2_000_000_000).unwrap(), |ms| 1.0 - (1_000.0 / ms).powf(1.5)),
        (Distribution::exponential(1_000.0, 50_000.0).unwrap(), |ms| {
            1.0 - f64::exp((1_000.0 - ms) / 49_000.0)
        }),
        (Distribution::percentiles(vec![(0.0, 0.0), (0.5, 1_000.0), (1.0, 100_000.0)]).unwrap(), |ms| {
            if ms <= 1_000.0 { ms / 2_000.0 } else { 0.5 + (ms - 1_000.0) / 198_000.0 }
        }),
    ];
    let bound = (f64::ln(2.0 / 1e-9) / (2.0 * f64::from(N))).sqrt();
    for (law, share_below) in laws {
        let seed = Seed::from_text("42");
        let draw = |n| Draws::new(seed.request(&key(n)), 0).draw("slow", reprise::chaos::Purpose::Latency);
        let mut delays: Vec<u32> = (0..N as usize).map(|n| law.at(draw(n))).collect();
        delays.sort_unstable();
        let share = |place: usize| f64::from(u32::try_from(place).unwrap()) / f64::from(N);
        let distance = delays
            .iter()
            .enumerate()
            .map(|(place, &ms)| (share_below(f64::from(ms).max(1.0)) - share(place)).abs())
            .fold(0.0, f64::max);
        // A thousandth for the rounding to whole milliseconds.
        assert!(distance < bound + 0.001, "{law:?}: {distance}");
    }
}

#[test]
fn what_was_done_is_counted_and_rates_are_zero_before_the_first_request() {
    let engine = Engine::new(plan("42", 1.0, 1.0, 0.0));
    assert_eq!((engine.metrics().failure_rate(), engine.metrics().latency_rate()), (0.0, 0.0));
    for n in 0..4 {
        decide_next(&engine, &key(n), ALL);
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
            prop_assert_eq!(decide_next(&engine, request, ALL), decide(&plan, request, u32::try_from(seen).unwrap()));
        }
    }
}
