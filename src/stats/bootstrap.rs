//! Intervals by the stationary block bootstrap: Politis and Romano, "The Stationary Bootstrap",
//! JASA 89, 1994, with the block length of Politis and White, "Automatic Block-Length Selection for
//! the Dependent Bootstrap", Econometric Reviews 23, 2004, as corrected by Patton, Politis and
//! White, 2009.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::moments::quantile;

/// An estimate with what it might as well have been.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    pub low: f64,
    pub value: f64,
    pub high: f64,
}

/// The mean block length at which a stationary bootstrap of this series is best; at least 1, at
/// most `min(3·√n, n/3)`.
pub fn block_length(series: &[f64]) -> f64 {
    let n = series.len();
    if n < 8 {
        return 1.0;
    }
    let size = n as f64;
    let mean = series.iter().sum::<f64>() / size;
    let off: Vec<f64> = series.iter().map(|value| value - mean).collect();
    let covariance =
        |lag: usize| off.iter().zip(&off[lag..]).map(|(a, b)| a * b).sum::<f64>() / size;
    let zero = covariance(0);
    if zero <= 0.0 {
        return 1.0;
    }
    let run = 5.max(size.log10().floor() as usize);
    let most = ((size.sqrt().ceil() as usize) + run).min(n - 1);
    let band = 2.0 * (size.log10() / size).sqrt();
    let quiet: Vec<bool> = (1..=most)
        .map(|lag| (covariance(lag) / zero).abs() < band)
        .collect();
    // The first lag from which so many in a row are nothing; else the last that is something.
    let first = quiet
        .windows(run.min(quiet.len()))
        .position(|window| window.iter().all(|q| *q))
        .map(|at| at + 1);
    let last = first.unwrap_or_else(|| quiet.iter().rposition(|q| !q).map_or(1, |at| at + 1));
    let reach = (2 * last.max(1)).min(most);
    let taper = |lag: usize| {
        let share = lag as f64 / reach as f64;
        if share <= 0.5 {
            1.0
        } else {
            2.0 * (1.0 - share)
        }
    };
    let (mut g, mut spectrum) = (0.0, zero);
    for lag in 1..=reach {
        let term = 2.0 * taper(lag) * covariance(lag);
        g += term * lag as f64;
        spectrum += term;
    }
    if spectrum.abs() < f64::MIN_POSITIVE {
        return 1.0;
    }
    let best = (2.0 * g * g / (2.0 * spectrum * spectrum) * size).cbrt();
    best.clamp(1.0, (3.0 * size.sqrt()).min(size / 3.0).ceil().max(1.0))
}

/// Intervals of statistics of a series, each the middle `level` of so many resamples.
pub fn intervals<const K: usize>(
    series: &[f64],
    statistics: impl Fn(&[f64]) -> [f64; K],
    (samples, level, seed): (usize, f64, u64),
) -> [Interval; K] {
    let value = statistics(series);
    let n = series.len();
    if n < 2 || samples == 0 {
        return value.map(|value| Interval {
            low: f64::NAN,
            value,
            high: f64::NAN,
        });
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // A block ends with this probability after each value.
    let ends = (u64::MAX as f64 / block_length(series)) as u64;
    let mut found: [Vec<f64>; K] = std::array::from_fn(|_| Vec::with_capacity(samples));
    let mut sample = vec![0.0; n];
    for _ in 0..samples {
        let mut at = 0;
        for (index, slot) in sample.iter_mut().enumerate() {
            at = if index == 0 || random.next_u64() <= ends {
                ((u128::from(random.next_u64()) * n as u128) >> 64) as usize
            } else if at + 1 == n {
                0
            } else {
                at + 1
            };
            *slot = series[at];
        }
        for (list, value) in found.iter_mut().zip(statistics(&sample)) {
            list.push(value);
        }
    }
    let mut at = 0;
    value.map(|value| {
        found[at].sort_by(f64::total_cmp);
        let tail = (1.0 - level) / 2.0;
        let of = Interval {
            low: quantile(&found[at], tail),
            value,
            high: quantile(&found[at], 1.0 - tail),
        };
        at += 1;
        of
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)] // what is exact is compared exactly
    use super::*;

    /// An autoregressive series over a linear congruential generator, as the published
    /// implementations were fed.
    fn series(n: usize, phi: f64) -> Vec<f64> {
        let (mut state, mut last): (u64, Option<f64>) = (12_345, None);
        (0..n)
            .map(|_| {
                state = (1_103_515_245 * state + 12_345) % (1 << 31);
                let noise = state as f64 / (1u64 << 31) as f64 - 0.5;
                let value = last.map_or(noise, |last| phi * last + noise);
                last = Some(value);
                value
            })
            .collect()
    }

    #[test]
    fn block_lengths_agree_with_arch() {
        // PyPI's arch 8.0.0, optimal_block_length, column "stationary".
        for (n, phi, expected) in [
            (250, 0.6, 7.669_132_518_165_0),
            (250, -0.5, 8.236_877_017_294_2),
            (1000, 0.3, 6.120_300_975_836_8),
            (1000, 0.9, 25.325_077_028_523_4),
        ] {
            let found = block_length(&series(n, phi));
            assert!(
                (found - expected).abs() < 1e-9,
                "{n} {phi}: {found} is not {expected}"
            );
        }
        assert_eq!(
            block_length(&series(250, 0.0)),
            1.0,
            "0.91, and no block is shorter than one"
        );
    }

    /// 90 % intervals hold the true mean about that often; the same seed gives the same interval.
    #[test]
    fn bootstrap_intervals_cover_as_stated() {
        let mean = |values: &[f64]| [values.iter().sum::<f64>() / values.len() as f64];
        let all = series(100 * 200, 0.3);
        let truth = mean(&all)[0];
        let hits = all
            .chunks_exact(100)
            .enumerate()
            .filter(|(seed, part)| {
                let [found] = intervals(part, mean, (300, 0.9, *seed as u64));
                found.low <= truth && truth <= found.high
            })
            .count();
        // Of short series that hang together a block bootstrap is known to promise somewhat too
        // much.
        assert!(
            (150..=195).contains(&hits),
            "{hits} of 200, 180 would be right"
        );
        let once = intervals(&all[..100], mean, (50, 0.9, 7));
        assert_eq!(once, intervals(&all[..100], mean, (50, 0.9, 7)));
        assert_ne!(once, intervals(&all[..100], mean, (50, 0.9, 8)));
    }
}
