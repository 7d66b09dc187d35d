//! The plan: a configuration that has been checked, as data. What cannot be right cannot be built.

use super::distribution::{self, Distribution};
use super::draw::{self, Seed};

/// Why a plan cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Not a number from 0 to 1.
    #[error("a probability is {0}; allowed: a number from 0 to 1")]
    Probability(f64),
    /// The shortest delay is longer than the longest, or the longest is more than a timer can hold.
    #[error("a latency range is {0} to {1} ms; allowed: the first not above the second, the second up to {max}", max = distribution::MAX_MS)]
    LatencyRange(u32, u32),
    /// A law of delays with parameters that make no law.
    #[error("the parameters of a {0} distribution make none")]
    Distribution(&'static str),
    /// No status has a weight above zero.
    #[error("no status has a weight above 0, or all weights together are above 2^32 - 1")]
    Statuses,
    /// A window that repeats before it is over, or never begins.
    #[error("a window of {0} ms repeats every {1} ms; allowed: a length above 0 and not above the period")]
    Window(u64, u64),
    /// More rules than a request's mask has bits.
    #[error("{0} rules; allowed: up to {max}", max = Plan::MAX_RULES)]
    TooManyRules(usize),
    /// A journal that is none of this plan.
    #[error("the journal names a rule that is not here or does something else, or a request twice")]
    Journal,
}

/// How often a rule fires: `floor(p * 2^64)`, compared with a draw of 64 bits. No rounding in between, so zero never
/// fires, one always does, and what fires at one probability fires at every higher one. A probability below `2^-64`
/// is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probability {
    /// From 0 to 2^64, both included: one bit more than a draw has, so that neither end is a special case.
    threshold: u128,
}

impl Probability {
    /// Zero.
    pub const NEVER: Self = Self { threshold: 0 };
    /// One.
    pub const ALWAYS: Self = Self { threshold: 1 << 64 };

    /// A probability from 0 to 1, both included.
    ///
    /// # Errors
    ///
    /// [`PlanError::Probability`] for everything else, NaN too.
    pub fn new(p: f64) -> Result<Self, PlanError> {
        const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;
        if !(0.0..=1.0).contains(&p) {
            return Err(PlanError::Probability(p));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to 2^64 by the check above, and the cast is the floor of the definition"
        )]
        let threshold = (p * TWO_TO_64) as u128;
        Ok(Self { threshold })
    }

    /// Whether this draw fires.
    #[must_use]
    pub fn fires(self, draw: u64) -> bool {
        self.fires_after(Self::NEVER, draw)
    }

    /// Whether this draw fires, where the part `[0, before)` of all draws belongs to others.
    #[must_use]
    pub fn fires_after(self, before: Self, draw: u64) -> bool {
        let draw = u128::from(draw);
        draw >= before.threshold && draw < before.threshold + self.threshold
    }

    /// As a number from 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a number to be read")]
    pub fn as_f64(self) -> f64 {
        self.threshold as f64 / Self::ALWAYS.threshold as f64
    }

    /// Both together, at most one.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { threshold: (self.threshold + other.threshold).min(Self::ALWAYS.threshold) }
    }

    /// On the straight line from `from` to this one: `done` of `all` of the way.
    fn on_the_way_from(self, from: Self, done: u64, all: u64) -> Self {
        if done >= all {
            return self;
        }
        // 2^64 times a share of 2^53 milliseconds stays far below 2^128.
        let step = |low: u128, high: u128| (high - low) * u128::from(done) / u128::from(all);
        let threshold = if self.threshold >= from.threshold {
            from.threshold + step(from.threshold, self.threshold)
        } else {
            from.threshold - step(self.threshold, from.threshold)
        };
        Self { threshold }
    }
}

/// Which statuses an error answers with, and how much more often one than another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses {
    weights: Vec<(u16, u32)>,
    total: u32,
}

impl Statuses {
    /// Pairs of a status and its weight.
    ///
    /// # Errors
    ///
    /// [`PlanError::Statuses`] if the weights are all zero, or together more than a `u32` holds.
    pub fn new(weights: Vec<(u16, u32)>) -> Result<Self, PlanError> {
        let total = weights.iter().try_fold(0_u32, |sum, &(_, weight)| sum.checked_add(weight));
        match total {
            Some(total) if total > 0 => Ok(Self { weights, total }),
            _ => Err(PlanError::Statuses),
        }
    }

    /// The status for a draw.
    #[must_use]
    pub fn at(&self, draw: u64) -> u16 {
        let mut place = draw::below(self.total, draw);
        for &(status, weight) in &self.weights {
            if place < weight {
                return status;
            }
            place -= weight;
        }
        unreachable!("a place is below the sum of all weights")
    }
}

/// What a rule does to a request, as far as something has to be drawn for it; the wrapper knows the rest.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Answered with one of these statuses.
    Error(Statuses),
    /// Held for a while.
    Latency(Distribution),
    /// One registered kernel is killed.
    KernelKill,
    /// Something done to the connection or to the bytes of the answer.
    Wire,
}

/// When a rule may fire at all, besides its probability. What needs the order of requests (`first`, `every`, `max`)
/// depends on that order; the rest does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    /// Only the first so many requests that match.
    pub first: Option<u64>,
    /// Only each so-manieth request that matches.
    pub every: Option<u64>,
    /// Only these attempts of a request key, the first being 1; every attempt if empty.
    pub attempts: Vec<u32>,
    /// The probability rises or falls to its value over the time since arming.
    pub ramp: Option<Ramp>,
    /// Only within this time since arming.
    pub window: Option<Window>,
    /// At most so many times.
    pub max: Option<u64>,
}

/// A straight line from one probability to that of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ramp {
    /// The probability at the time of arming.
    pub from: Probability,
    /// How long it takes, in milliseconds.
    pub over_ms: u64,
}

/// A span of time since arming, once or again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the unit is part of a number's name")]
pub struct Window {
    from_ms: u64,
    for_ms: u64,
    every_ms: Option<u64>,
}

impl Window {
    /// From `from_ms` after arming for `for_ms`, repeated with the period `every_ms`.
    ///
    /// # Errors
    ///
    /// [`PlanError::Window`] if it has no length, or its period is shorter than it.
    pub fn new(from_ms: u64, for_ms: u64, every_ms: Option<u64>) -> Result<Self, PlanError> {
        if for_ms == 0 || every_ms.is_some_and(|period| period < for_ms) {
            return Err(PlanError::Window(for_ms, every_ms.unwrap_or(0)));
        }
        Ok(Self { from_ms, for_ms, every_ms })
    }

    /// Whether it is open so many milliseconds after arming.
    #[must_use]
    pub fn is_open(&self, elapsed_ms: u64) -> bool {
        elapsed_ms.checked_sub(self.from_ms).is_some_and(|since| match self.every_ms {
            Some(period) => since % period < self.for_ms,
            None => since < self.for_ms,
        })
    }
}

/// A fault, how often, and when. The name is part of every draw: two rules with one name would hit the same requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Names the rule in draws.
    pub name: String,
    /// What it does.
    pub fault: Fault,
    /// How often.
    pub probability: Probability,
    /// When at all.
    pub when: When,
}

impl Rule {
    /// The probability at a time after arming.
    #[must_use]
    pub fn probability_at(&self, elapsed_ms: u64) -> Probability {
        self.when.ramp.map_or(self.probability, |Ramp { from, over_ms }| {
            self.probability.on_the_way_from(from, elapsed_ms, over_ms)
        })
    }

    /// The part of all draws that is this rule's where rules exclude each other: its highest probability, so that a
    /// ramp moves no other rule's part.
    pub(super) fn share(&self) -> Probability {
        self.when.ramp.map_or(self.probability, |ramp| ramp.from.max(self.probability))
    }
}

/// How several rules that match one request share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// One draw picks at most one of them. Each has exactly its probability, as long as those that match together do
    /// not add up to more than one.
    Exclusive,
    /// Each is drawn by itself. Of several that would do the same kind of thing, the first does.
    Independent,
}

/// A seed and the rules that are drawn under it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Under which all draws are made.
    pub seed: Seed,
    /// In this order.
    pub rules: Vec<Rule>,
    /// How they share a request.
    pub selection: Selection,
    /// The share of requests that no rule is for.
    pub control: Probability,
}

impl Plan {
    /// One bit of a request's mask for each rule.
    pub const MAX_RULES: usize = 32;

    /// A plan of these rules, without a control share.
    ///
    /// # Errors
    ///
    /// [`PlanError::TooManyRules`] above [`Plan::MAX_RULES`].
    pub fn new(seed: Seed, selection: Selection, rules: Vec<Rule>) -> Result<Self, PlanError> {
        if rules.len() > Self::MAX_RULES {
            return Err(PlanError::TooManyRules(rules.len()));
        }
        Ok(Self { seed, rules, selection, control: Probability::NEVER })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_never_fires_and_one_always_does() {
        let zero = Probability::new(0.0).unwrap();
        let one = Probability::new(1.0).unwrap();
        assert_eq!((zero, one), (Probability::NEVER, Probability::ALWAYS));
        for draw in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            assert!(!zero.fires(draw));
            assert!(one.fires(draw));
        }
    }

    #[test]
    fn exactly_floor_of_p_times_two_to_64_draws_fire() {
        let half = Probability::new(0.5).unwrap();
        assert!(half.fires((1 << 63) - 1));
        assert!(!half.fires(1 << 63));
        let smallest = Probability::new(2f64.powi(-64)).unwrap();
        assert!(smallest.fires(0));
        assert!(!smallest.fires(1));
        assert_eq!(Probability::new(2f64.powi(-65)).unwrap(), Probability::NEVER);
        assert_eq!(Probability::new(-0.0).unwrap(), Probability::NEVER);
    }

    #[test]
    fn the_largest_probability_below_one_does_not_always_fire() {
        let almost = Probability::new(1.0 - f64::EPSILON / 2.0).unwrap();
        assert!(almost < Probability::ALWAYS);
        assert!(!almost.fires(u64::MAX));
    }

    #[test]
    fn what_is_not_a_probability_is_refused() {
        for p in [-0.1, 1.000_000_1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(Probability::new(p), Err(PlanError::Probability(_))), "{p}");
        }
    }

    #[test]
    fn two_halves_part_all_draws_between_them() {
        let half = Probability::new(0.5).unwrap();
        for draw in [0, (1 << 63) - 1, 1 << 63, u64::MAX] {
            assert!(half.fires(draw) ^ half.fires_after(half, draw));
        }
        assert_eq!(half.plus(half), Probability::ALWAYS);
    }

    #[test]
    fn a_ramp_is_a_straight_line_up_or_down() {
        let p = |value| Probability::new(value).unwrap();
        for (from, to, half_way) in [(0.0, 1.0, 0.5), (0.5, 0.25, 0.375), (0.5, 0.5, 0.5)] {
            assert_eq!(p(to).on_the_way_from(p(from), 0, 1_000), p(from));
            assert_eq!(p(to).on_the_way_from(p(from), 500, 1_000), p(half_way));
            assert_eq!(p(to).on_the_way_from(p(from), 1_000, 1_000), p(to));
            assert_eq!(p(to).on_the_way_from(p(from), 5_000, 1_000), p(to));
        }
    }

    #[test]
    fn a_window_opens_and_closes_on_time() {
        let once = Window::new(100, 50, None).unwrap();
        let open = |window: &Window| [99, 100, 149, 150, 1_100].map(|at| window.is_open(at));
        assert_eq!(open(&once), [false, true, true, false, false]);
        let again = Window::new(100, 50, Some(1_000)).unwrap();
        assert_eq!(open(&again), [false, true, true, false, true]);
        assert!(Window::new(0, 0, None).is_err());
        assert!(Window::new(0, 50, Some(49)).is_err());
    }

    #[test]
    fn statuses_come_in_the_ratio_of_their_weights() {
        let statuses = Statuses::new(vec![(500, 3), (418, 0), (503, 1)]).unwrap();
        assert_eq!(
            [0, 1 << 62, 1 << 63, 3 << 62, u64::MAX].map(|draw| statuses.at(draw)),
            [500, 500, 500, 503, 503]
        );
        for weights in [vec![], vec![(500, 0)], vec![(500, u32::MAX), (503, 1)]] {
            assert_eq!(Statuses::new(weights), Err(PlanError::Statuses));
        }
    }
}
