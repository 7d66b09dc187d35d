//! The plan: a configuration that has been checked, as data. What cannot be right cannot be built.

use super::draw::{self, Seed};

/// Why a plan cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Not a number from 0 to 1.
    #[error("a probability is {0}; allowed: a number from 0 to 1")]
    Probability(f64),
    /// The shortest delay is longer than the longest, or the longest is more than a timer can hold.
    #[error("a latency range is {0} to {1} ms; allowed: the first not above the second, the second up to {max}", max = LatencyRange::MAX_MS)]
    LatencyRange(u32, u32),
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
        u128::from(draw) < self.threshold
    }
}

/// How long a delay may be: whole milliseconds, uniform, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencyRange {
    min_ms: u32,
    max_ms: u32,
}

impl LatencyRange {
    /// The longest delay that `setTimeout` takes; it treats a longer one as 1 ms.
    pub const MAX_MS: u32 = i32::MAX.cast_unsigned();

    /// From `min_ms` to `max_ms`, both included.
    ///
    /// # Errors
    ///
    /// [`PlanError::LatencyRange`] if `min_ms` is above `max_ms`, or that above [`LatencyRange::MAX_MS`].
    pub fn new(min_ms: u32, max_ms: u32) -> Result<Self, PlanError> {
        if min_ms > max_ms || max_ms > Self::MAX_MS {
            return Err(PlanError::LatencyRange(min_ms, max_ms));
        }
        Ok(Self { min_ms, max_ms })
    }

    /// The delay for a draw, in milliseconds.
    #[must_use]
    pub fn at(self, draw: u64) -> u32 {
        self.min_ms + draw::below(self.max_ms - self.min_ms + 1, draw)
    }
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answered with one of [`super::ERROR_STATUSES`], the handler not run.
    Error,
    /// Held for a while before the handler runs.
    Latency(LatencyRange),
    /// One registered kernel is killed; the request itself goes on.
    KernelKill,
}

/// A fault and how often. The name is part of every draw: two rules with one name would hit the same requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Names the rule in draws.
    pub name: String,
    /// What it does.
    pub fault: Fault,
    /// How often.
    pub probability: Probability,
}

/// The rates of the three basic faults, each independent of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Of requests that are answered with an error.
    pub failure: Probability,
    /// Of requests that are held.
    pub latency: Probability,
    /// How long they are held.
    pub latency_range: LatencyRange,
    /// Of requests at which a kernel is killed.
    pub kernel_kill: Probability,
}

/// A seed and the rules that are drawn under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Under which all draws are made.
    pub seed: Seed,
    /// Every rule is asked for every request; of several that would do the same kind of thing, the first does.
    pub rules: Vec<Rule>,
}

impl Plan {
    /// The plan that the rates stand for: the rules `failure`, `latency` and `kernel-kill`, those above zero.
    #[must_use]
    pub fn from_rates(seed: Seed, rates: Rates) -> Self {
        let rule = |name: &str, fault, probability| Rule { name: name.to_owned(), fault, probability };
        Self {
            seed,
            rules: vec![
                rule("failure", Fault::Error, rates.failure),
                rule("latency", Fault::Latency(rates.latency_range), rates.latency),
                rule("kernel-kill", Fault::KernelKill, rates.kernel_kill),
            ],
        }
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
    fn a_latency_range_includes_both_ends() {
        let range = LatencyRange::new(100, 5_000).unwrap();
        assert_eq!((range.at(0), range.at(u64::MAX)), (100, 5_000));
        let widest = LatencyRange::new(0, LatencyRange::MAX_MS).unwrap();
        assert_eq!((widest.at(0), widest.at(u64::MAX)), (0, LatencyRange::MAX_MS));
        let point = LatencyRange::new(7, 7).unwrap();
        assert_eq!((point.at(0), point.at(u64::MAX)), (7, 7));
        for (min, max) in [(500, 100), (0, LatencyRange::MAX_MS + 1)] {
            assert_eq!(LatencyRange::new(min, max), Err(PlanError::LatencyRange(min, max)));
        }
    }
}
