use thiserror::Error;

/// The numbers behind every delay: where waiting starts, how fast it grows, where it stops growing.
///
/// A `Schedule` that exists is valid, so [`compute_delay`] cannot fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    pub(super) initial_delay_ms: f64,
    pub(super) max_delay_ms: f64,
    exponential_base: f64,
}

/// Why three numbers are no [`Schedule`].
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum InvalidSchedule {
    /// The first delay is negative, infinite or not a number.
    #[error("initial delay is {0} ms; allowed: a finite number of at least 0")]
    InitialDelay(f64),
    /// The cap is negative, infinite or not a number.
    #[error("max delay is {0} ms; allowed: a finite number of at least 0")]
    MaxDelay(f64),
    /// The delays would shrink, or the base is infinite or not a number.
    #[error("exponential base is {0}; allowed: a finite number of at least 1")]
    ExponentialBase(f64),
    /// Every delay would be the cap, so one of the two numbers is not what its author meant.
    #[error("max delay is {max_delay_ms} ms; allowed: at least the initial delay, {initial_delay_ms} ms")]
    MaxBelowInitial {
        /// The first delay as given.
        initial_delay_ms: f64,
        /// The cap as given.
        max_delay_ms: f64,
    },
}

impl Schedule {
    /// A schedule that starts at `initial_delay_ms`, multiplies by `exponential_base` and never passes `max_delay_ms`.
    ///
    /// # Errors
    /// [`InvalidSchedule`] names the number that is out of range.
    pub fn new(
        initial_delay_ms: f64,
        max_delay_ms: f64,
        exponential_base: f64,
    ) -> Result<Self, InvalidSchedule> {
        let is_delay = |ms: f64| ms.is_finite() && ms >= 0.0;
        if !is_delay(initial_delay_ms) {
            return Err(InvalidSchedule::InitialDelay(initial_delay_ms));
        }
        if !is_delay(max_delay_ms) {
            return Err(InvalidSchedule::MaxDelay(max_delay_ms));
        }
        if max_delay_ms < initial_delay_ms {
            return Err(InvalidSchedule::MaxBelowInitial { initial_delay_ms, max_delay_ms });
        }
        if !(exponential_base.is_finite() && exponential_base >= 1.0) {
            return Err(InvalidSchedule::ExponentialBase(exponential_base));
        }
        Ok(Self { initial_delay_ms, max_delay_ms, exponential_base })
    }
}

impl Default for Schedule {
    /// 1 s, doubled each time, up to 30 s: the specification's defaults.
    fn default() -> Self {
        Self { initial_delay_ms: 1_000.0, max_delay_ms: 30_000.0, exponential_base: 2.0 }
    }
}

/// The delay in milliseconds before retry number `attempt`, counted from 0: `min(initial · base^attempt, max)`.
///
/// Multiplies step by step and stops at the cap, so it cannot overflow, never falls as `attempt` grows, and has the
/// same last bit on every platform; `powf` promises neither of the latter two. With the defaults that is five
/// multiplications at most.
///
/// ```
/// use reprise::retry::{Schedule, compute_delay};
/// let delays: Vec<f64> = (0..6).map(|attempt| compute_delay(attempt, &Schedule::default())).collect();
/// assert_eq!(delays, [1_000.0, 2_000.0, 4_000.0, 8_000.0, 16_000.0, 30_000.0]);
/// ```
#[must_use]
pub fn compute_delay(attempt: u32, schedule: &Schedule) -> f64 {
    let mut delay_ms = schedule.initial_delay_ms;
    for _ in 0..attempt {
        let next_ms = delay_ms * schedule.exponential_base;
        if next_ms >= schedule.max_delay_ms {
            return schedule.max_delay_ms;
        }
        // A base of 1 or a delay of 0 never moves: without this, attempt 4 000 000 000 would take that many steps.
        if next_ms <= delay_ms {
            return delay_ms;
        }
        delay_ms = next_ms;
    }
    delay_ms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedules() -> impl Strategy<Value = Schedule> {
        // From "no wait" over fractions to days; bases from constant to absurd.
        let delay = prop_oneof![Just(0.0), 1e-3..10.0, 1.0..1e6, 1e6..1e12];
        let base = prop_oneof![Just(1.0), 1.0..1.01, 1.0..4.0, 4.0..1e300];
        (delay.clone(), delay, base)
            .prop_map(|(a, b, base)| Schedule::new(f64::min(a, b), f64::max(a, b), base).unwrap())
    }

    #[test]
    fn the_specifications_table() {
        let table = [1_000.0, 2_000.0, 4_000.0, 8_000.0, 16_000.0, 30_000.0, 30_000.0];
        for (attempt, expected) in (0..).zip(table) {
            assert_eq!(compute_delay(attempt, &Schedule::default()).to_bits(), f64::to_bits(expected));
        }
    }

    #[test]
    fn the_last_attempt_there_can_be_has_the_cap_and_returns_at_once() {
        for (schedule, expected) in [
            (Schedule::default(), 30_000.0),
            (Schedule::new(0.0, 30_000.0, 2.0).unwrap(), 0.0),
            (Schedule::new(5.0, 30_000.0, 1.0).unwrap(), 5.0),
            (Schedule::new(5.0, f64::MAX, f64::MAX).unwrap(), f64::MAX),
        ] {
            assert_eq!(compute_delay(u32::MAX, &schedule).to_bits(), f64::to_bits(expected));
        }
    }

    #[test]
    fn numbers_that_make_no_schedule_are_refused_by_name() {
        use InvalidSchedule::{ExponentialBase, InitialDelay, MaxBelowInitial, MaxDelay};
        for (initial, max, base, expected) in [
            (-1.0, 1.0, 2.0, InitialDelay(-1.0)),
            (f64::INFINITY, 1.0, 2.0, InitialDelay(f64::INFINITY)),
            (1.0, -1.0, 2.0, MaxDelay(-1.0)),
            (1.0, f64::INFINITY, 2.0, MaxDelay(f64::INFINITY)),
            (1.0, 2.0, 0.5, ExponentialBase(0.5)),
            (1.0, 2.0, f64::INFINITY, ExponentialBase(f64::INFINITY)),
            (2.0, 1.0, 2.0, MaxBelowInitial { initial_delay_ms: 2.0, max_delay_ms: 1.0 }),
        ] {
            assert_eq!(Schedule::new(initial, max, base), Err(expected));
        }
        assert!(matches!(Schedule::new(f64::NAN, 1.0, 2.0), Err(InitialDelay(_))));
        assert!(matches!(Schedule::new(1.0, f64::NAN, 2.0), Err(MaxDelay(_))));
        assert!(matches!(Schedule::new(1.0, 2.0, f64::NAN), Err(ExponentialBase(_))));
    }

    proptest! {
        #[test]
        fn a_delay_lies_between_the_first_one_and_the_cap(schedule in schedules(), attempt in 0..100_000_u32) {
            let delay = compute_delay(attempt, &schedule);
            prop_assert!((schedule.initial_delay_ms..=schedule.max_delay_ms).contains(&delay));
        }

        #[test]
        fn a_later_retry_never_waits_less(schedule in schedules(), attempt in 0..10_000_u32, step in 1..100_u32) {
            prop_assert!(compute_delay(attempt, &schedule) <= compute_delay(attempt + step, &schedule));
        }

        #[test]
        fn it_is_the_formula_wherever_the_formula_does_not_overflow(schedule in schedules(), attempt in 0..1_000_i32) {
            let grown = schedule.initial_delay_ms * schedule.exponential_base.powi(attempt);
            prop_assume!(grown.is_finite());
            let formula = grown.min(schedule.max_delay_ms);
            let delay = compute_delay(attempt.unsigned_abs(), &schedule);
            // Each multiplication may round by half an epsilon, in the formula as well as in ours.
            let rounding = f64::from(attempt + 2) * f64::EPSILON;
            prop_assert!((delay - formula).abs() <= formula * rounding, "{delay} is not {formula}");
        }

        #[test]
        fn with_a_base_of_two_it_is_the_formula_to_the_last_bit(initial in 0.0..1e6_f64, attempt in 0..900_i32) {
            let schedule = Schedule::new(initial, f64::MAX, 2.0).unwrap();
            let formula = initial * 2.0_f64.powi(attempt);
            prop_assert_eq!(compute_delay(attempt.unsigned_abs(), &schedule).to_bits(), formula.to_bits());
        }
    }
}
