use super::schedule::{Schedule, compute_delay};

/// How a delay is spread, so that clients that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Not at all: exactly the schedule.
    None,
    /// Uniform between 0 and the schedule's delay.
    Full,
    /// Half of the schedule's delay, and as much again at most.
    Equal,
    /// Uniform between the first delay and three times the one before, up to the cap. It does not follow the
    /// schedule's base.
    Decorrelated,
}

/// The delay in milliseconds before retry number `retry`, counted from 0. `previous_ms` is the delay before the
/// retry before, and matters to [`Jitter::Decorrelated`] alone; the first retry has none.
///
/// A pure function: the same seed gives the same delays on every platform and in every language, whatever else drew
/// numbers in between. Never above the schedule's cap.
///
/// ```
/// use reprise::retry::{Jitter, Schedule, jittered_delay};
/// let delay = jittered_delay(2, &Schedule::default(), Jitter::Full, 7, None);
/// assert!((0.0..=4_000.0).contains(&delay));
/// ```
#[must_use]
pub fn jittered_delay(
    retry: u32,
    schedule: &Schedule,
    jitter: Jitter,
    seed: u64,
    previous_ms: Option<f64>,
) -> f64 {
    spread(retry, schedule, jitter, uniform(seed, retry), previous_ms)
}

/// The delays between `attempts` attempts. With a seed those that will be; without one the longest that can be.
#[must_use]
pub fn delays(attempts: u32, schedule: &Schedule, jitter: Jitter, seed: Option<u64>) -> Vec<f64> {
    let mut previous = None;
    (0..attempts.saturating_sub(1))
        .map(|retry| {
            let chance = seed.map_or(1.0, |seed| uniform(seed, retry));
            let delay = spread(retry, schedule, jitter, chance, previous);
            previous = Some(delay);
            delay
        })
        .collect()
}

fn spread(retry: u32, schedule: &Schedule, jitter: Jitter, chance: f64, previous_ms: Option<f64>) -> f64 {
    match jitter {
        Jitter::None => compute_delay(retry, schedule),
        Jitter::Full => compute_delay(retry, schedule) * chance,
        Jitter::Equal => {
            let half = compute_delay(retry, schedule) / 2.0;
            half + half * chance
        }
        Jitter::Decorrelated => {
            let first = schedule.initial_delay_ms;
            let previous = previous_ms.unwrap_or(first).max(first);
            // Capped before the subtraction, so that it cannot overflow.
            let widest = (previous * 3.0).min(schedule.max_delay_ms);
            first + (widest - first) * chance
        }
    }
}

/// A number from 0 up to 1, of its own for each retry: the output of `SplitMix64` (Steele, Lea and Flood 2014), whose
/// state after n steps is the seed plus n times a constant, so that any of its numbers can be had at once.
fn uniform(seed: u64, retry: u32) -> f64 {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let state = seed.wrapping_add(GAMMA.wrapping_mul(u64::from(retry) + 1));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mixed = mixed ^ (mixed >> 31);
    // The upper 53 bits: as many as a double holds.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    let chance = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
    chance
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JITTERS: [Jitter; 4] = [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated];

    #[test]
    fn the_generator_is_the_published_one() {
        // The first outputs of SplitMix64 for seed 1234567, as its reference implementation prints them.
        let published: [u64; 3] =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        for (retry, expected) in (0..).zip(published) {
            #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
            let expected = (expected >> 11) as f64 / (1_u64 << 53) as f64;
            assert_eq!(uniform(1_234_567, retry).to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn without_a_seed_the_delays_are_the_longest_that_can_be() {
        let schedule = Schedule::new(100.0, 1_000.0, 2.0).unwrap();
        for jitter in [Jitter::None, Jitter::Full, Jitter::Equal] {
            assert_eq!(delays(6, &schedule, jitter, None), [100.0, 200.0, 400.0, 800.0, 1_000.0]);
        }
        assert_eq!(delays(4, &schedule, Jitter::Decorrelated, None), [300.0, 900.0, 1_000.0]);
        assert!(delays(1, &schedule, Jitter::None, None).is_empty());
    }

    #[test]
    fn a_seed_gives_the_same_delays_in_every_language() {
        // The same table is in `__test__/retry/loop.test.ts`. To change one is to change every run that has a seed.
        let schedule = Schedule::new(100.0, 1_000.0, 2.0).unwrap();
        let table = [
            (
                Jitter::Full,
                [
                    38.982_974_839_127_15,
                    3.357_658_905_631_222_3,
                    360.304_272_242_753_37,
                    466.344_234_422_462_5,
                    452.441_895_011_468_4,
                ],
            ),
            (
                Jitter::Decorrelated,
                [
                    177.965_949_678_254_3,
                    107.284_404_884_729_01,
                    299.836_652_626_730_5,
                    566.058_574_025_966_4,
                    507.197_705_510_321_55,
                ],
            ),
        ];
        for (jitter, expected) in table {
            let bits = |delays: &[f64]| delays.iter().map(|delay| delay.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&delays(6, &schedule, jitter, Some(7))), bits(&expected));
        }
    }

    proptest! {
        #[test]
        fn no_delay_is_longer_than_the_longest_nor_than_the_cap(seed: u64, initial in 0.0..1e4_f64, more in 0.0..1e6_f64) {
            let schedule = Schedule::new(initial, initial + more, 2.0).unwrap();
            for jitter in JITTERS {
                let longest = delays(12, &schedule, jitter, None);
                for (delay, longest) in delays(12, &schedule, jitter, Some(seed)).into_iter().zip(longest) {
                    prop_assert!((0.0..=longest).contains(&delay));
                    prop_assert!(delay <= initial + more);
                }
            }
        }

        #[test]
        fn one_by_one_or_all_at_once_the_delays_are_the_same(seed: u64) {
            for jitter in JITTERS {
                let mut previous = None;
                for (retry, delay) in (0..).zip(delays(8, &Schedule::default(), jitter, Some(seed))) {
                    let single = jittered_delay(retry, &Schedule::default(), jitter, seed, previous);
                    prop_assert_eq!(single.to_bits(), delay.to_bits());
                    previous = Some(delay);
                }
            }
        }

        #[test]
        fn chance_is_spread_evenly(seed: u64) {
            let mean = (0..1_000).map(|retry| uniform(seed, retry)).sum::<f64>() / 1_000.0;
            prop_assert!((0.4..0.6).contains(&mean));
        }
    }
}
