//! Confidence in a Sharpe ratio.
//!
//! Bailey and López de Prado, "The Sharpe Ratio Efficient Frontier", Journal of Risk 15(2), 2012
//! (probabilistic Sharpe ratio, minimum track record length), and "The Deflated Sharpe Ratio",
//! Journal of Portfolio Management 40(5), 2014. All ratios here are per period, not annualised;
//! kurtosis is not in excess.

use statrs::distribution::{ContinuousCDF, Normal};

use super::Moments;

/// Euler and Mascheroni's constant.
const EULER: f64 = 0.577_215_664_901_532_9;

fn normal() -> Normal {
    Normal::standard()
}

/// Returns the factor by which the returns' skewness and kurtosis widen the variance of a Sharpe
/// ratio's estimate: `1 − γ₃·SR + (γ₄ − 1)/4·SR²`.
fn spread(m: &Moments) -> f64 {
    let sharpe = m.sharpe();
    1.0 - m.skew * sharpe + (m.kurtosis - 1.0) / 4.0 * sharpe * sharpe
}

/// Probability that the true Sharpe ratio is above `benchmark`: `Φ((SR − SR*)·√(n − 1) / √(1 −
/// γ₃·SR + (γ₄ − 1)/4·SR²))`. `None` where there is nothing to tell it from: fewer than two
/// returns, or none that varies.
pub fn probabilistic(m: &Moments, benchmark: f64) -> Option<f64> {
    (m.n > 1 && m.deviation > 0.0 && spread(m) > 0.0).then(|| {
        normal().cdf((m.sharpe() - benchmark) * ((m.n - 1) as f64).sqrt() / spread(m).sqrt())
    })
}

/// Returns needed before the Sharpe ratio is above `benchmark` with this confidence: `1 + (1 −
/// γ₃·SR + (γ₄ − 1)/4·SR²)·(Φ⁻¹(confidence)/(SR − SR*))²`. `None`: it is not above it at all.
pub fn min_track_record(m: &Moments, benchmark: f64, confidence: f64) -> Option<f64> {
    let above = m.sharpe() - benchmark;
    (above > 0.0).then(|| 1.0 + spread(m) * (normal().inverse_cdf(confidence) / above).powi(2))
}

/// The largest of so many independent Sharpe ratios without any skill, expected, in their standard
/// deviations: `(1 − γ)·Φ⁻¹(1 − 1/N) + γ·Φ⁻¹(1 − 1/(N·e))`.
pub fn expected_max(trials: f64) -> f64 {
    if trials <= 1.0 {
        return 0.0;
    }
    let at = |share: f64| normal().inverse_cdf(1.0 - share);
    (1.0 - EULER) * at(1.0 / trials) + EULER * at(1.0 / (trials * std::f64::consts::E))
}

/// Probability that the true Sharpe ratio is above what the best of `trials` without skill would
/// show, whose ratios have this variance.
pub fn deflated(m: &Moments, trials: f64, variance: f64) -> Option<f64> {
    probabilistic(m, variance.max(0.0).sqrt() * expected_max(trials))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)] // what is exact is compared exactly
    use super::*;

    /// Of a record with this ratio and these moments.
    fn record(n: usize, sharpe: f64, skew: f64, kurtosis: f64) -> Moments {
        Moments {
            n,
            mean: sharpe,
            deviation: 1.0,
            skew,
            kurtosis,
        }
    }

    #[track_caller]
    fn near(value: f64, expected: f64) {
        assert!(
            (value - expected).abs() <= 2e-9 * expected.abs().max(1.0),
            "{value} is not {expected}"
        );
    }

    #[test]
    fn psr_of_the_papers_hedge_fund() {
        // 24 months at an annual 1.585: 0.982 if normal, 0.913 with skew −2.448 and kurtosis
        // 10.164.
        let sharpe = 1.585 / 12f64.sqrt();
        near(
            probabilistic(&record(24, sharpe, 0.0, 3.0), 0.0).unwrap(),
            0.981_591_236_083_50,
        );
        near(
            probabilistic(&record(24, sharpe, -2.448, 10.164), 0.0).unwrap(),
            0.913_234_306_884_86,
        );
    }

    #[test]
    fn minimum_track_records_of_the_paper() {
        // An annual 2 against 1 at 95 %: 2.73 years of days, 2.83 of weeks, 3.24 of months, 4.99
        // with hedge-fund moments.
        let years = |per_year: f64, skew: f64, kurtosis: f64| {
            let m = record(100, 2.0 / per_year.sqrt(), skew, kurtosis);
            min_track_record(&m, 1.0 / per_year.sqrt(), 0.95).unwrap() / per_year
        };
        near(years(250.0, 0.0, 3.0), 2.731_187_801_728_18);
        near(years(52.0, 0.0, 3.0), 2.828_833_586_945_24);
        near(years(12.0, 0.0, 3.0), 3.239_800_696_44);
        near(years(12.0, -0.72, 5.78), 4.991_258_223_875_63);
        assert_eq!(
            min_track_record(&record(100, 0.1, 0.0, 3.0), 0.2, 0.95),
            None
        );
    }

    #[test]
    fn dsr_of_the_papers_numerical_example() {
        // An annual 2.5 over 1250 days, the best of N trials whose annual ratios have a variance of
        // a half.
        let dsr = |trials: f64, skew: f64, kurtosis: f64| {
            deflated(
                &record(1250, 2.5 / 250f64.sqrt(), skew, kurtosis),
                trials,
                0.5 / 250.0,
            )
            .unwrap()
        };
        near(
            (0.5f64 / 250.0).sqrt() * expected_max(100.0),
            0.113_172_001_865_13,
        );
        near(dsr(100.0, -3.0, 10.0), 0.900_396_834_449_39);
        near(dsr(46.0, -3.0, 10.0), 0.950_501_706_875_57);
        near(dsr(88.0, 0.0, 3.0), 0.950_490_816_676_01);
        near(expected_max(10.0), 1.574_598_301_345_75);
        near(expected_max(1000.0), 3.255_121_513_652_72);
    }

    /// Without variance there is no probabilistic Sharpe ratio.
    #[test]
    fn constant_returns_claim_nothing() {
        assert_eq!(probabilistic(&Moments::of(&[0.0; 50]), 0.0), None);
        assert_eq!(probabilistic(&Moments::of(&[1.0]), 0.0), None);
        assert_eq!(expected_max(1.0), 0.0);
    }
}
