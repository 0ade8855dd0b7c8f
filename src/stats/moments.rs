//! Mean, deviation, skew and kurtosis.

/// Moments of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    pub n: usize,
    pub mean: f64,
    /// Standard deviation with n − 1.
    pub deviation: f64,
    /// Third standardised moment of the sample as it is (with n).
    pub skew: f64,
    /// Fourth standardised moment of the sample as it is, not in excess: 3 for a normal one.
    pub kurtosis: f64,
}

impl Moments {
    /// Of these values. Fewer than two have no deviation; ones that do not vary are taken as
    /// neither skewed nor heavy.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len();
        if n == 0 {
            return Self {
                kurtosis: 3.0,
                ..Self::default()
            };
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let (mut second, mut third, mut fourth) = (0.0, 0.0, 0.0);
        for value in values {
            let off = value - mean;
            let square = off * off;
            second += square;
            third += square * off;
            fourth += square * square;
        }
        let variance = second / n as f64;
        // Rounding alone makes a little of it.
        let varies = variance > (mean * mean) * 1e-28;
        let (skew, kurtosis) = match varies {
            true => (
                third / n as f64 / variance.powf(1.5),
                fourth / n as f64 / (variance * variance),
            ),
            false => (0.0, 3.0),
        };
        let deviation = if n > 1 && varies {
            (second / (n - 1) as f64).sqrt()
        } else {
            0.0
        };
        Self {
            n,
            mean,
            deviation,
            skew,
            kurtosis,
        }
    }

    /// Mean over deviation, per period; zero without a deviation.
    pub fn sharpe(&self) -> f64 {
        if self.deviation > 0.0 {
            self.mean / self.deviation
        } else {
            0.0
        }
    }
}

/// The value below which a share of a sorted sample lies, interpolated between neighbours (Hyndman
/// and Fan's type 7).
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        n => {
            let at = share.clamp(0.0, 1.0) * (n - 1) as f64;
            let (low, high) = (at.floor() as usize, at.ceil() as usize);
            sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)] // what is exact is compared exactly
    use super::*;

    #[test]
    fn small_sample_moments_by_hand() {
        // 1 2 3 10: mean 4, squares 9 4 1 36, cubes -27 -8 -1 216, fourths 81 16 1 1296.
        let m = Moments::of(&[1.0, 2.0, 3.0, 10.0]);
        assert!((m.deviation - (50.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert!((m.skew - 45.0 / 12.5f64.powf(1.5)).abs() < 1e-15);
        assert!((m.kurtosis - 348.5 / 156.25).abs() < 1e-14);
        assert_eq!(
            Moments::of(&[0.1; 9]).sharpe(),
            0.0,
            "what does not vary has no ratio"
        );
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(
            [0.0, 0.5, 1.0, 0.25].map(|q| quantile(&sorted, q)),
            [1.0, 3.0, 8.0, 1.75]
        );
    }
}
