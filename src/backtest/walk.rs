//! Walk-forward: choose on one stretch of days, earn on the next, go on. Pure.
//!
//! Every run of a batch is causal, so its returns of some days are what it would have earned then,
//! whoever chose it afterwards. Days between the two stretches are purged: what a choice was made
//! on must not touch what it is judged by (López de Prado, Advances in Financial Machine Learning,
//! 2018, chapter 7).
//!
//! Walk-forward runs nothing anew: every run of a batch is causal, so its returns of some days are
//! what it would have earned then.

use serde::Serialize;

use super::rank::Candidate;
use crate::stats::moments::Moments;

/// Split of time into training, purge and test, in days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Folds {
    pub train: usize,
    pub purge: usize,
    pub test: usize,
}

/// One choice and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fold {
    /// UTC days: first of the training, first and last of the test.
    pub train_from: i32,
    pub test_from: i32,
    pub test_to: i32,
    pub number: i64,
    pub params: String,
    /// A year, in the training and in the test.
    pub train_sharpe: f64,
    pub test_sharpe: f64,
    pub test_return: f64,
    /// Place of the chosen one among all in the test.
    pub test_place: usize,
}

/// A walk over one market.
#[derive(Clone, Debug, Serialize)]
pub struct Walk {
    pub folds: Vec<Fold>,
    pub runs: usize,
    /// Of all test days together.
    pub test_return: f64,
    pub test_sharpe: f64,
    /// Test ratio over training ratio, of the folds' means: 1 is as good as promised.
    pub efficiency: Option<f64>,
    /// (UTC day, return) of the tests, in order.
    #[serde(skip)]
    pub returns: Vec<(i32, f64)>,
}

/// Walks over runs of one market and window.
///
/// # Errors
/// Runs over different days, or fewer days than one fold takes.
pub fn walk(runs: &[&Candidate], folds: Folds) -> Result<Walk, String> {
    let first = runs.first().ok_or("there are no runs")?;
    let days: Vec<i32> = first.returns.iter().map(|(day, _)| *day).collect();
    let same = |run: &&Candidate| {
        run.returns
            .iter()
            .map(|(day, _)| *day)
            .eq(days.iter().copied())
    };
    if !runs.iter().all(same) {
        return Err("runs are over different days".into());
    }
    if folds.train < 2 || folds.test < 1 {
        return Err("at least two days to choose on and one to judge by are needed".into());
    }
    let whole = folds
        .train
        .saturating_add(folds.purge)
        .saturating_add(folds.test);
    if days.len() < whole {
        return Err(format!(
            "{} days are fewer than one fold of {whole}",
            days.len()
        ));
    }
    let sharpe = |run: &Candidate, range: std::ops::Range<usize>| {
        Moments::of(
            &run.returns[range]
                .iter()
                .map(|(_, r)| *r)
                .collect::<Vec<_>>(),
        )
        .sharpe()
            * 365f64.sqrt()
    };
    let (mut made, mut returns) = (Vec::new(), Vec::new());
    let mut begin = 0;
    while begin + whole <= days.len() {
        let (train, from) = (
            begin..begin + folds.train,
            begin + folds.train + folds.purge,
        );
        let test = from..from + folds.test;
        let scored: Vec<f64> = runs.iter().map(|run| sharpe(run, train.clone())).collect();
        let best = (0..runs.len())
            .reduce(|a, b| if scored[b] > scored[a] { b } else { a })
            .unwrap_or_default();
        let earned = |run: &Candidate| {
            run.returns[test.clone()]
                .iter()
                .fold(1.0, |product, (_, r)| product * (1.0 + r))
                - 1.0
        };
        let own = earned(runs[best]);
        let place = 1 + runs.iter().filter(|run| earned(run) > own).count();
        returns.extend_from_slice(&runs[best].returns[test.clone()]);
        made.push(Fold {
            train_from: days[train.start],
            test_from: days[test.start],
            test_to: days[test.end - 1],
            number: runs[best].number,
            params: runs[best].params.clone(),
            train_sharpe: scored[best],
            test_sharpe: sharpe(runs[best], test),
            test_return: own,
            test_place: place,
        });
        begin += folds.test;
    }
    let mean = |of: fn(&Fold) -> f64| made.iter().map(of).sum::<f64>() / made.len() as f64;
    let (trained, tested) = (
        mean(|fold| fold.train_sharpe),
        mean(|fold| fold.test_sharpe),
    );
    let all: Vec<f64> = returns.iter().map(|(_, r)| *r).collect();
    Ok(Walk {
        runs: runs.len(),
        test_return: all.iter().fold(1.0, |product, r| product * (1.0 + r)) - 1.0,
        test_sharpe: Moments::of(&all).sharpe() * 365f64.sqrt(),
        efficiency: (trained > 0.0).then(|| tested / trained),
        folds: made,
        returns,
    })
}

#[cfg(test)]
mod tests {
    use super::super::run_summary::run_summary;
    use super::super::tests::{contender, market, rules};
    use super::*;
    use crate::domain::{InstKind, Ms};
    use crate::fills::Costs;

    fn candidates() -> Vec<Candidate> {
        let bars: Vec<[i64; 5]> = (0..200)
            .map(|_| [20_000, 20_001, 19_999, 20_000, 900])
            .collect();
        let of = market(InstKind::Swap, Ms(0), &bars, Costs::of(InstKind::Swap));
        let (figures, _) = run_summary(&of, &contender([(0, 0.0)], 0.0), &rules(1000));
        // Run 0 earns in the first half, run 1 in the second.
        (0..2i64)
            .map(|number| Candidate {
                number,
                strategy: "s".into(),
                params: number.to_string(),
                inst: "X".into(),
                bar: "1m".into(),
                span: (0, 1),
                figures: figures.clone(),
                returns: (0..40)
                    .map(|day| {
                        (
                            day,
                            if (day < 20) == (number == 0) {
                                0.01
                            } else {
                                -0.01
                            } + f64::from(day % 3) * 0.001,
                        )
                    })
                    .collect(),
            })
            .collect()
    }

    /// Each fold's best candidate in training is ranked by its returns in the test days after the
    /// purge.
    #[test]
    fn train_winner_is_judged_on_test_folds() {
        let all = candidates();
        let runs: Vec<&Candidate> = all.iter().collect();
        let found = walk(
            &runs,
            Folds {
                train: 10,
                purge: 2,
                test: 8,
            },
        )
        .unwrap();
        let chosen: Vec<(i32, i32, i64, usize)> = found
            .folds
            .iter()
            .map(|f| (f.test_from, f.test_to, f.number, f.test_place))
            .collect();
        // 0–9 → 12–19; 8–17 → 20–27, where the first one is wrong; 16–25 → 28–35, chosen by six
        // days of ten.
        assert_eq!(chosen, [(12, 19, 0, 1), (20, 27, 0, 2), (28, 35, 1, 1)]);
        assert_eq!(found.returns.len(), 24);
        assert!(found.folds[1].test_return < 0.0 && found.efficiency.unwrap() < 1.0);
    }

    #[test]
    fn too_few_days_are_told() {
        let all = candidates();
        let runs: Vec<&Candidate> = all.iter().collect();
        assert!(
            walk(
                &runs,
                Folds {
                    train: 30,
                    purge: 5,
                    test: 10
                }
            )
            .unwrap_err()
            .contains("fewer than one fold of 45")
        );
    }
}
