//! Probability of backtest overfitting by combinatorially symmetric cross-validation: Bailey,
//! Borwein, López de Prado and Zhu, "The Probability of Backtest Overfitting", Journal of
//! Computational Finance 20(4), 2017.
//!
//! Time is cut into an even number of blocks. For each way to take half of them, the best run of
//! that half is looked up in the other: its rank there, of N runs, gives `ω = rank/(N + 1)` and `λ
//! = ln(ω/(1 − ω))`. The share of ways with `λ ≤ 0`, the best no better than the median afterwards,
//! is the probability.

/// Result of cross-validating a choice among runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Overfit {
    /// Share of ways in which the best of one half is no better than the median of the other.
    pub probability: f64,
    pub logits: Vec<f64>,
    /// Ratio of the best of one half, and the same run's in the other.
    pub pairs: Vec<(f64, f64)>,
    /// Share of ways in which the best loses money in the other half.
    pub loss: f64,
}

/// Sums of one run over one block.
#[derive(Clone, Copy, Default)]
struct Sums {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn with(self, other: Self) -> Self {
        Self {
            n: self.n + other.n,
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
        }
    }
    /// Mean over deviation (with n − 1).
    fn sharpe(self) -> f64 {
        let mean = self.sum / self.n;
        let variance = (self.squares - self.n * mean * mean) / (self.n - 1.0);
        if variance > mean * mean * 1e-24 {
            mean / variance.sqrt()
        } else {
            0.0
        }
    }
}

/// Cross-validates a choice by Sharpe ratio among runs whose returns are over the same periods.
/// Periods that do not fill a block are left off at the end.
///
/// # Panics
/// If runs are of different lengths: whoever collects them sees to it.
///
/// `None`: fewer than two runs, an odd number of blocks, or fewer than two periods in a block.
pub fn cscv(runs: &[&[f64]], blocks: usize) -> Option<Overfit> {
    let periods = runs.first()?.len();
    assert!(
        runs.iter().all(|run| run.len() == periods),
        "runs are over the same periods"
    );
    let size = periods.checked_div(blocks)?;
    if runs.len() < 2 || blocks < 2 || blocks % 2 == 1 || blocks > 24 || size < 2 {
        return None;
    }
    // Sums of each block: any half is a sum of those.
    let sums: Vec<Vec<Sums>> = runs
        .iter()
        .map(|run| {
            run.chunks_exact(size).take(blocks).map(|block| {
                // About the block's own first value nothing is lost to rounding that a Sharpe ratio
                // needs.
                block.iter().fold(Sums::default(), |s, r| {
                    s.with(Sums {
                        n: 1.0,
                        sum: *r,
                        squares: r * r,
                    })
                })
            })
        })
        .map(Iterator::collect)
        .collect();
    let mut found = Overfit {
        probability: 0.0,
        logits: Vec::new(),
        pairs: Vec::new(),
        loss: 0.0,
    };
    let halves = (0u32..1 << blocks).filter(|half| half.count_ones() as usize == blocks / 2);
    let (mut inside, mut outside) = (vec![0.0; runs.len()], vec![0.0; runs.len()]);
    for half in halves {
        for (run, blocks) in sums.iter().enumerate() {
            let (mut own, mut other) = (Sums::default(), Sums::default());
            for (at, block) in blocks.iter().enumerate() {
                let side = if half & (1 << at) != 0 {
                    &mut own
                } else {
                    &mut other
                };
                *side = side.with(*block);
            }
            (inside[run], outside[run]) = (own.sharpe(), other.sharpe());
        }
        let best = (0..runs.len()).reduce(|a, b| if inside[b] > inside[a] { b } else { a })?;
        let below = outside
            .iter()
            .filter(|other| **other < outside[best])
            .count() as f64;
        let same = outside
            .iter()
            .filter(|other| (**other - outside[best]).abs() == 0.0)
            .count() as f64;
        // Of those that tie the middle rank; 1 is the worst.
        let share = (below + (same + 1.0) / 2.0) / (runs.len() as f64 + 1.0);
        found.logits.push((share / (1.0 - share)).ln());
        found.pairs.push((inside[best], outside[best]));
    }
    let ways = found.logits.len() as f64;
    found.probability = found.logits.iter().filter(|logit| **logit <= 0.0).count() as f64 / ways;
    found.loss = found.pairs.iter().filter(|(_, after)| *after < 0.0).count() as f64 / ways;
    Some(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)] // what is exact is compared exactly
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
    }

    fn columns(rows: usize, cols: usize, value: impl Fn(usize, usize) -> f64) -> Vec<Vec<f64>> {
        (0..cols)
            .map(|j| (0..rows).map(|t| value(t, j)).collect())
            .collect()
    }

    fn of(columns: &[Vec<f64>], blocks: usize) -> Overfit {
        cscv(
            &columns.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            blocks,
        )
        .unwrap()
    }

    /// Values and expectations on which three published implementations agree to the last logit:
    /// PyPI's rltrade-pypbo 0.0.3, phacker 0.1.0 and holdout-backtest 0.1.0.
    #[test]
    fn sixteen_periods_of_four_runs() {
        let m = columns(16, 4, |t, j| {
            let (t, j) = (t + 1, j + 1);
            ((37 * t * t + 101 * t * j + 53 * j * j + 17 * t + 29 * j) % 199) as f64 / 1000.0
                - 0.099
        });
        near(m[0][0], -0.061);
        let found = of(&m, 4);
        near(found.probability, 4.0 / 6.0);
        near(found.loss, 4.0 / 6.0);
        let mut logits = found.logits.clone();
        logits.sort_by(f64::total_cmp);
        let (far, mid) = (1.386_294_361_1, 0.405_465_108_1);
        for (value, expected) in logits.iter().zip([-far, -mid, -mid, -mid, far, far]) {
            assert!((value - expected).abs() < 1e-9);
        }
        near(found.pairs[0].0, -0.051_483_770_5);
        near(found.pairs[0].1, 0.216_062_310_7);
    }

    /// The same three, on a linear congruential generator's numbers.
    #[test]
    fn overfit_probability_with_median_ties() {
        let mut state: u64 = 12_345;
        let mut next = || {
            state = (1_103_515_245 * state + 12_345) % (1 << 31);
            (state as f64 / (1u64 << 31) as f64 - 0.5) * 0.02
        };
        let rows: Vec<Vec<f64>> = (0..200).map(|_| (0..7).map(|_| next()).collect()).collect();
        near(rows[0][0], 0.003_103_080_969_3);
        let found = of(&columns(200, 7, |t, j| rows[t][j]), 10);
        near(found.probability, 205.0 / 252.0);
        near(found.logits.iter().sum::<f64>() / 252.0, -0.497_319_905_6);
    }

    /// A run that is better everywhere has probability 0; what cannot be cut into blocks is not
    /// judged.
    #[test]
    fn dominant_run_is_not_overfit() {
        let m = columns(
            80,
            5,
            |t, j| if j == 3 { 0.01 } else { 0.0 } + ((t * 7 + j * 3) % 11) as f64 / 1000.0,
        );
        assert_eq!(of(&m, 8).probability, 0.0);
        let short = [0.1, 0.2, 0.3];
        assert_eq!(cscv(&[&short, &short], 4), None);
        assert_eq!(cscv(&[&short], 2), None);
    }
}
