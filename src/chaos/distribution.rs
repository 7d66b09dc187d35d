//! How long a delay is: laws over whole milliseconds, each the inverse of its distribution function at one draw.
//!
//! Logarithms and powers come from `libm`, whose results are the same bits on every platform; those of the system are
//! not.

use super::draw;
use super::plan::PlanError;

/// The longest delay that `setTimeout` takes, in milliseconds; it treats a longer one as 1 ms.
pub const MAX_MS: u32 = i32::MAX.cast_unsigned();

/// A law of delays. Whatever it gives is a whole number of milliseconds from 0 to its own maximum.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution(Law);

#[derive(Debug, Clone, PartialEq)]
enum Law {
    Uniform {
        min_ms: u32,
        max_ms: u32,
    },
    Normal {
        mean_ms: f64,
        deviation_ms: f64,
        max_ms: u32,
    },
    LogNormal {
        median_ms: f64,
        sigma: f64,
        max_ms: u32,
    },
    Pareto {
        min_ms: f64,
        alpha: f64,
        max_ms: u32,
    },
    Exponential {
        min_ms: f64,
        mean_ms: f64,
    },
    /// (share of delays at or below, milliseconds), both not falling, from share 0 to share 1.
    Percentiles(Vec<(f64, f64)>),
}

impl Distribution {
    /// Whole milliseconds from `min_ms` to `max_ms`, both included, each as likely. One value if both are the same.
    ///
    /// # Errors
    ///
    /// [`PlanError::LatencyRange`] if `min_ms` is above `max_ms`, or that above [`MAX_MS`].
    pub fn uniform(min_ms: u32, max_ms: u32) -> Result<Self, PlanError> {
        if min_ms > max_ms || max_ms > MAX_MS {
            return Err(PlanError::LatencyRange(min_ms, max_ms));
        }
        Ok(Self(Law::Uniform { min_ms, max_ms }))
    }

    /// A bell around `mean_ms`; what would be below 0 is 0, what would be above `max_ms` is that.
    ///
    /// # Errors
    ///
    /// [`PlanError::Distribution`] if a number is negative or not finite, or `max_ms` is above [`MAX_MS`].
    pub fn normal(mean_ms: f64, deviation_ms: f64, max_ms: u32) -> Result<Self, PlanError> {
        check(mean_ms >= 0.0 && deviation_ms >= 0.0, &[mean_ms, deviation_ms], max_ms, "normal")?;
        Ok(Self(Law::Normal { mean_ms, deviation_ms, max_ms }))
    }

    /// Half of the delays are below `median_ms`; the logarithm has the standard deviation `sigma`. The usual shape of
    /// a server's own latencies.
    ///
    /// # Errors
    ///
    /// [`PlanError::Distribution`] if the median is not above 0, sigma is negative, or `max_ms` is above [`MAX_MS`].
    pub fn log_normal(median_ms: f64, sigma: f64, max_ms: u32) -> Result<Self, PlanError> {
        check(median_ms > 0.0 && sigma >= 0.0, &[median_ms, sigma], max_ms, "lognormal")?;
        Ok(Self(Law::LogNormal { median_ms, sigma, max_ms }))
    }

    /// At least `min_ms`, with a tail that is the heavier the smaller `alpha` is.
    ///
    /// # Errors
    ///
    /// [`PlanError::Distribution`] if one of the two is not above 0, or `max_ms` is above [`MAX_MS`].
    pub fn pareto(min_ms: f64, alpha: f64, max_ms: u32) -> Result<Self, PlanError> {
        check(min_ms > 0.0 && alpha > 0.0, &[min_ms, alpha], max_ms, "pareto")?;
        Ok(Self(Law::Pareto { min_ms, alpha, max_ms }))
    }

    /// The gaps between events that come at random, `mean_ms` apart on average, but never closer than `min_ms`: the
    /// law without memory, shifted by `min_ms`. At most [`MAX_MS`].
    ///
    /// # Errors
    ///
    /// [`PlanError::Distribution`] if `min_ms` is negative or not below `mean_ms`, or that is above [`MAX_MS`].
    pub fn exponential(min_ms: f64, mean_ms: f64) -> Result<Self, PlanError> {
        let holds = min_ms >= 0.0 && min_ms < mean_ms && mean_ms <= f64::from(MAX_MS);
        check(holds, &[min_ms, mean_ms], MAX_MS, "exponential")?;
        Ok(Self(Law::Exponential { min_ms, mean_ms }))
    }

    /// As measured: pairs of a share (from 0 to 1) and the delay that this share stays at or below, with straight
    /// lines between them.
    ///
    /// # Errors
    ///
    /// [`PlanError::Distribution`] if the shares do not rise from 0 to 1, a delay falls, or is above [`MAX_MS`].
    pub fn percentiles(points: Vec<(f64, f64)>) -> Result<Self, PlanError> {
        let rises = points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let shares = (points.first().map(|point| point.0), points.last().map(|point| point.0));
        let ends = shares == (Some(0.0), Some(1.0))
            && points.first().is_some_and(|&(_, ms)| ms >= 0.0)
            && points.last().is_some_and(|&(_, ms)| ms <= f64::from(MAX_MS));
        if !rises || !ends || points.len() < 2 {
            return Err(PlanError::Distribution("percentiles"));
        }
        Ok(Self(Law::Percentiles(points)))
    }

    /// The delay for a draw, in milliseconds.
    #[must_use]
    pub fn at(&self, draw: u64) -> u32 {
        let share = draw::open_unit(draw);
        match &self.0 {
            Law::Uniform { min_ms, max_ms } => min_ms + draw::below(max_ms - min_ms + 1, draw),
            Law::Normal { mean_ms, deviation_ms, max_ms } => {
                whole(mean_ms + deviation_ms * standard_normal(share), *max_ms)
            }
            Law::LogNormal { median_ms, sigma, max_ms } => {
                whole(median_ms * libm::exp(sigma * standard_normal(share)), *max_ms)
            }
            Law::Pareto { min_ms, alpha, max_ms } => {
                whole(min_ms * libm::pow(1.0 - share, -1.0 / alpha), *max_ms)
            }
            Law::Exponential { min_ms, mean_ms } => {
                whole(min_ms - (mean_ms - min_ms) * libm::log(1.0 - share), MAX_MS)
            }
            Law::Percentiles(points) => {
                let above = points.partition_point(|&(at, _)| at <= share).clamp(1, points.len() - 1);
                let ((from, low), (to, high)) = (points[above - 1], points[above]);
                whole(low + (high - low) * (share - from) / (to - from), MAX_MS)
            }
        }
    }
}

fn check(holds: bool, numbers: &[f64], max_ms: u32, law: &'static str) -> Result<(), PlanError> {
    let finite = numbers.iter().all(|number| number.is_finite());
    if holds && finite && max_ms <= MAX_MS { Ok(()) } else { Err(PlanError::Distribution(law)) }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and max_ms by the clamp"
)]
fn whole(ms: f64, max_ms: u32) -> u32 {
    ms.round().clamp(0.0, f64::from(max_ms)) as u32
}

/// The inverse of the standard normal distribution function: Wichura, algorithm AS 241 (1988), PPND16, with a
/// relative error of about 10^-16.
#[expect(clippy::excessive_precision, reason = "the coefficients as they were published")]
fn standard_normal(share: f64) -> f64 {
    const CENTRE: ([f64; 8], [f64; 8]) = (
        [
            3.387_132_872_796_366_608_0,
            133.141_667_891_784_377_45,
            1_971.590_950_306_551_442_7,
            13_731.693_765_509_461_125,
            45_921.953_931_549_871_457,
            67_265.770_927_008_700_853,
            33_430.575_583_588_128_105,
            2_509.080_928_730_122_672_7,
        ],
        [
            1.0,
            42.313_330_701_600_911_252,
            687.187_007_492_057_908_3,
            5_394.196_021_424_751_107_7,
            21_213.794_301_586_595_867,
            39_307.895_800_092_710_61,
            28_729.085_735_721_942_674,
            5_226.495_278_852_854_561,
        ],
    );
    const SHOULDER: ([f64; 8], [f64; 8]) = (
        [
            1.423_437_110_749_683_577_34,
            4.630_337_846_156_545_295_90,
            5.769_497_221_460_691_405_50,
            3.647_848_324_763_204_605_04,
            1.270_458_252_452_368_382_58,
            0.241_780_725_177_450_611_770,
            0.022_723_844_989_269_184_583_3,
            7.745_450_142_783_414_076_40e-4,
        ],
        [
            1.0,
            2.053_191_626_637_758_821_87,
            1.676_384_830_183_803_849_40,
            0.689_767_334_985_100_004_550,
            0.148_103_976_427_480_074_590,
            0.015_198_666_563_616_457_196_6,
            5.475_938_084_995_344_946_00e-4,
            1.050_750_071_644_416_843_24e-9,
        ],
    );
    const TAIL: ([f64; 8], [f64; 8]) = (
        [
            6.657_904_643_501_103_777_20,
            5.463_784_911_164_114_369_90,
            1.784_826_539_917_291_335_80,
            0.296_560_571_828_504_891_230,
            0.026_532_189_526_576_123_093_0,
            1.242_660_947_388_078_438_60e-3,
            2.711_555_568_743_487_578_15e-5,
            2.010_334_399_292_288_132_65e-7,
        ],
        [
            1.0,
            0.599_832_206_555_887_937_690,
            0.136_929_880_922_735_805_310,
            0.014_875_361_290_850_615_025_0,
            7.868_691_311_456_132_591_00e-4,
            1.846_318_317_510_054_681_80e-5,
            1.421_511_758_316_445_888_70e-7,
            2.044_263_103_389_939_785_64e-15,
        ],
    );
    let ratio = |(over, under): ([f64; 8], [f64; 8]), at: f64| {
        let polynomial = |coefficients: [f64; 8]| coefficients.iter().rev().fold(0.0, |sum, c| sum * at + c);
        polynomial(over) / polynomial(under)
    };
    let centred = share - 0.5;
    if centred.abs() <= 0.425 {
        return centred * ratio(CENTRE, 0.180_625 - centred * centred);
    }
    let distance = libm::sqrt(-libm::log(share.min(1.0 - share)));
    let size = if distance <= 5.0 { ratio(SHOULDER, distance - 1.6) } else { ratio(TAIL, distance - 5.0) };
    if centred < 0.0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uniform_law_includes_both_ends() {
        for (min, max) in [(100, 5_000), (0, MAX_MS), (7, 7)] {
            let law = Distribution::uniform(min, max).unwrap();
            assert_eq!((law.at(0), law.at(u64::MAX)), (min, max));
        }
        for (min, max) in [(500, 100), (0, MAX_MS + 1)] {
            assert_eq!(Distribution::uniform(min, max), Err(PlanError::LatencyRange(min, max)));
        }
    }

    /// Against the tables of the standard normal distribution.
    #[test]
    fn the_inverse_of_the_normal_distribution() {
        for (share, expected) in [
            (0.5, 0.0),
            (0.975, 1.959_963_984_540_054),
            (0.158_655_253_931_457_05, -1.0),
            (1e-9, -5.997_807_015_007_687),
            (1e-20, -9.262_340_089_798_409),
        ] {
            assert!((standard_normal(share) - expected).abs() < 1e-9, "{share}: {}", standard_normal(share));
        }
    }

    #[test]
    fn no_draw_leaves_the_bounds_of_a_law() {
        let laws = [
            Distribution::normal(100.0, 1e6, 500).unwrap(),
            Distribution::log_normal(100.0, 50.0, 500).unwrap(),
            Distribution::pareto(100.0, 0.001, 500).unwrap(),
        ];
        for law in laws {
            assert!(law.at(0) <= 500);
            assert_eq!(law.at(u64::MAX), 500);
        }
    }

    #[test]
    fn exponential_gaps_have_their_mean_and_their_minimum() {
        let law = Distribution::exponential(200.0, 1_000.0).unwrap();
        assert_eq!(law.at(0), 200);
        // 1 - 1/e of all gaps are at most as long as the mean.
        let at = |share: f64| law.at(share_as_draw(share));
        assert_eq!(at(1.0 - libm::exp(-1.0)), 1_000);
        assert_eq!(at(0.5), 200 + 555);
        // The mean over evenly spaced draws is the integral of the inverse, by the midpoint rule.
        let n = 100_000_u32;
        let sum: u64 = (0..n).map(|i| u64::from(at((f64::from(i) + 0.5) / f64::from(n)))).sum();
        assert!((sum / u64::from(n)).abs_diff(1_000) <= 1, "{}", sum / u64::from(n));
        assert_eq!(Distribution::exponential(0.0, f64::from(MAX_MS)).unwrap().at(u64::MAX), MAX_MS);
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share is from 0 to below 1"
    )]
    fn share_as_draw(share: f64) -> u64 {
        (share * 18_446_744_073_709_551_616.0) as u64
    }

    #[test]
    fn percentiles_are_met_exactly() {
        let law =
            Distribution::percentiles(vec![(0.0, 10.0), (0.5, 20.0), (0.99, 400.0), (1.0, 1_000.0)]).unwrap();
        assert_eq!((law.at(0), law.at(1 << 63), law.at(u64::MAX)), (10, 20, 1_000));
    }

    #[test]
    fn what_is_no_law_is_refused() {
        assert!(Distribution::normal(f64::NAN, 1.0, 5).is_err());
        assert!(Distribution::log_normal(0.0, 1.0, 5).is_err());
        assert!(Distribution::pareto(1.0, 0.0, 5).is_err());
        assert!(Distribution::normal(1.0, 1.0, MAX_MS + 1).is_err());
        for (min_ms, mean_ms) in [(-1.0, 5.0), (5.0, 5.0), (0.0, f64::NAN), (0.0, 3e9)] {
            assert!(Distribution::exponential(min_ms, mean_ms).is_err());
        }
        for points in [vec![], vec![(0.0, 1.0)], vec![(0.0, 5.0), (1.0, 4.0)], vec![(0.1, 1.0), (1.0, 4.0)]] {
            assert_eq!(Distribution::percentiles(points), Err(PlanError::Distribution("percentiles")));
        }
    }
}
