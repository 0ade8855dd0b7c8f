//! Choosing among many runs, and how much of the choice is luck. Pure.

use serde::Serialize;

use super::run_summary::Figures;
use crate::stats::moments::Moments;
use crate::stats::{Interval, Overfit, cscv, deflated, expected_max, intervals};

/// One run to choose.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub number: i64,
    pub strategy: String,
    pub params: String,
    pub inst: String,
    pub bar: String,
    /// Time span of the run, ms.
    pub span: (i64, i64),
    pub figures: Figures,
    /// (UTC day, return).
    pub returns: Vec<(i32, f64)>,
}

/// One run in its place.
#[derive(Clone, Debug, Serialize)]
pub struct Ranked {
    pub place: usize,
    pub number: i64,
    pub strategy: String,
    pub params: String,
    pub inst: String,
    pub bar: String,
    pub metric: f64,
    /// Chance that its true Sharpe ratio is above what the best of all trials without skill would
    /// show.
    pub deflated: Option<f64>,
    /// Ninety-five percent, of the Sharpe ratio.
    pub sharpe: Interval,
    pub figures: Figures,
}

/// A ranking with what it is worth.
#[derive(Clone, Debug, Serialize)]
pub struct Ranking {
    pub metric: String,
    /// Number of runs tried, and how many of them are here.
    pub trials: usize,
    pub there: usize,
    pub days: usize,
    /// Standard deviation of the trials' Sharpe ratios, a year, and what the best of them would
    /// show without skill.
    pub spread: f64,
    pub expected_best: f64,
    /// Probability of backtest overfitting of a choice by Sharpe ratio, among the runs on the
    /// winner's market.
    pub pbo: Option<f64>,
    pub pbo_runs: usize,
    pub rows: Vec<Ranked>,
    pub verdict: String,
    pub distinguishable: bool,
}

/// Blocks of time that cross-validation cuts; fewer if there are not two days for each.
const BLOCKS: usize = 16;
const RESAMPLES: usize = 1000;
/// Beyond this much confidence a winner is told apart from luck.
const CONFIDENCE: f64 = 0.95;
const DAYS: f64 = 365.0;
/// A record of fewer days tells nobody apart.
const FEW_DAYS: usize = 60;

/// Ranks by a metric and keeps the best. `trials` is how many were tried in all, which may be more
/// than there are here; `seed` is of the resamples.
///
/// # Errors
/// An unknown metric, or nothing to rank.
pub fn rank(
    candidates: &[Candidate],
    metric: &str,
    top: usize,
    (trials, seed): (usize, u64),
) -> Result<Ranking, String> {
    if candidates.is_empty() {
        return Err("there are no runs to rank".into());
    }
    if candidates[0].figures.metric(metric).is_none() {
        return Err(format!(
            "no metric '{metric}'; there are {}",
            Figures::METRICS.join(", ")
        ));
    }
    let value = |c: &Candidate| c.figures.metric(metric).unwrap_or(f64::NEG_INFINITY);
    let mut order: Vec<&Candidate> = candidates.iter().collect();
    // Of two alike the one that was listed first.
    order.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.number.cmp(&b.number)));
    let moments: Vec<Moments> = candidates.iter().map(|c| Moments::of(&values(c))).collect();
    let ratios: Vec<f64> = moments.iter().map(Moments::sharpe).collect();
    let spread = Moments::of(&ratios).deviation;
    let trials = trials.max(candidates.len());
    let row = |(index, c): (usize, &&Candidate)| {
        let returns = values(c);
        let sharpe = |returns: &[f64]| [Moments::of(returns).sharpe() * DAYS.sqrt()];
        let [sharpe] = intervals(&returns, sharpe, (RESAMPLES, 0.95, seed));
        Ranked {
            place: index + 1,
            number: c.number,
            strategy: c.strategy.clone(),
            params: c.params.clone(),
            inst: c.inst.clone(),
            bar: c.bar.clone(),
            metric: value(c),
            deflated: deflated(&Moments::of(&returns), trials as f64, spread * spread),
            sharpe,
            figures: c.figures.clone(),
        }
    };
    let rows: Vec<Ranked> = order.iter().take(top.max(1)).enumerate().map(row).collect();
    let (overfit, pbo_runs) = overfit(order[0], candidates);
    let mut ranking = Ranking {
        metric: metric.to_owned(),
        trials,
        there: candidates.len(),
        days: order[0].returns.len(),
        spread: spread * DAYS.sqrt(),
        expected_best: spread * DAYS.sqrt() * expected_max(trials as f64),
        pbo: overfit.map(|found| found.probability),
        pbo_runs,
        rows,
        verdict: String::new(),
        distinguishable: false,
    };
    judge(&mut ranking);
    Ok(ranking)
}

fn values(candidate: &Candidate) -> Vec<f64> {
    candidate.returns.iter().map(|(_, value)| *value).collect()
}

/// Cross-validates the choice among the runs over the winner's days on its market.
fn overfit(winner: &Candidate, all: &[Candidate]) -> (Option<Overfit>, usize) {
    let same = |c: &&Candidate| {
        (&c.inst, &c.bar, c.span) == (&winner.inst, &winner.bar, winner.span)
            && c.returns.len() == winner.returns.len()
    };
    let runs: Vec<Vec<f64>> = all.iter().filter(same).map(values).collect();
    let days = winner.returns.len();
    let blocks = (1..=BLOCKS / 2)
        .map(|half| 2 * half)
        .rfind(|blocks| days / blocks >= 2);
    let found =
        blocks.and_then(|blocks| cscv(&runs.iter().map(Vec::as_slice).collect::<Vec<_>>(), blocks));
    (found, runs.len())
}

/// The plain sentence.
fn judge(ranking: &mut Ranking) {
    let best = &ranking.rows[0];
    let mut doubts = Vec::new();
    if ranking.days < FEW_DAYS {
        doubts.push(format!(
            "{} days are too few to judge by; {FEW_DAYS} are the least",
            ranking.days
        ));
    }
    if ranking.there < ranking.trials {
        doubts.push(format!(
            "only {} of {} runs are there",
            ranking.there, ranking.trials
        ));
    }
    if ranking.trials > 1 && ranking.pbo.is_none() {
        doubts.push(
            "whether the choice is overfitted cannot be told: too few runs or days on its market"
                .to_owned(),
        );
    }
    match best.deflated {
        None => doubts.push("it has no returns that vary".to_owned()),
        Some(dsr) if dsr < CONFIDENCE => doubts.push(format!(
            "the best of {} trials without any skill would be expected to show a Sharpe ratio of {:.2}, and the chance that its own \
             true one is above that is {:.0} %",
            ranking.trials,
            ranking.expected_best,
            100.0 * dsr
        )),
        Some(_) => {}
    }
    if let Some(pbo) = ranking.pbo.filter(|pbo| *pbo > 0.1) {
        doubts.push(format!(
            "in {:.0} % of the ways to split the time in half the one with the best Sharpe ratio of one half was no better than the median in the other",
            100.0 * pbo
        ));
    }
    if best.sharpe.low <= 0.0 {
        doubts.push(format!(
            "the 95 % interval of its Sharpe ratio reaches down to {:.2}",
            best.sharpe.low
        ));
    }
    let name = format!(
        "{} {} on {} {}",
        best.strategy, best.params, best.inst, best.bar
    );
    ranking.distinguishable = doubts.is_empty();
    ranking.verdict = if doubts.is_empty() {
        let pbo = ranking.pbo.map_or_else(String::new, |pbo| {
            format!(", probability of overfitting {:.0} %", 100.0 * pbo)
        });
        format!(
            "The winner, {name}, is distinguishable from luck: deflated Sharpe ratio {:.0} %{pbo}. That is this history; the next is \
             another.",
            100.0 * best.deflated.unwrap_or_default()
        )
    } else {
        format!(
            "The winner, {name}, is NOT distinguishable from luck: {}.",
            doubts.join("; ")
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    fn figures(sharpe: f64) -> Figures {
        let all = serde_json::json!({
            "equity_end": 1.0, "total_return": 0.0, "buy_and_hold": 0.0, "cagr": null, "volatility": 0.0, "sharpe": sharpe,
            "sortino": null, "calmar": null, "omega": null, "max_drawdown": 0.0, "max_drawdown_days": 0.0, "exposure": 0.0,
            "turnover": 0.0, "skew": 0.0, "kurtosis": 3.0, "cvar_95": 0.0, "alpha": null, "beta": null, "psr": null, "trades": 1,
            "hit_rate": null, "profit_factor": null, "expectancy": null, "best_share": null, "orders": 1, "blocked": 0, "halts": 0,
            "liquidations": 0, "fees": 0.0, "funding": 0.0, "days": 300
        });
        serde_json::from_value(all).unwrap()
    }

    /// So many runs of noise; the one of this number earns this much a day beside it.
    fn runs(count: i64, skilled: Option<(i64, f64)>) -> Vec<Candidate> {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        (0..count)
            .map(|number| {
                let edge = skilled
                    .filter(|(who, _)| *who == number)
                    .map_or(0.0, |(_, edge)| edge);
                let mut noise = || {
                    (0..4)
                        .map(|_| (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 - 0.5)
                        .sum::<f64>()
                };
                let returns: Vec<(i32, f64)> =
                    (0..300).map(|day| (day, edge + 0.01 * noise())).collect();
                let m = Moments::of(&returns.iter().map(|(_, r)| *r).collect::<Vec<_>>());
                Candidate {
                    number,
                    strategy: "s".into(),
                    params: "{}".into(),
                    inst: "X".into(),
                    bar: "1m".into(),
                    span: (0, 1),
                    figures: figures(m.sharpe() * DAYS.sqrt()),
                    returns,
                }
            })
            .collect()
    }

    /// The best of 200 random runs has a good Sharpe ratio and is still not distinguishable from
    /// luck.
    #[test]
    fn best_of_many_unskilled_is_luck() {
        let ranking = rank(&runs(200, None), "sharpe", 5, (200, 1)).unwrap();
        assert!(!ranking.distinguishable, "{}", ranking.verdict);
        assert!(ranking.verdict.contains("NOT distinguishable") && ranking.rows.len() == 5);
        assert!(
            ranking.rows[0].metric > 1.5,
            "and yet it looks well: {}",
            ranking.rows[0].metric
        );
        assert!(ranking.pbo.unwrap() > 0.2, "{:?}", ranking.pbo);
    }

    /// One run of 200 earns every day: it ranks first and is distinguishable, with a high deflated
    /// Sharpe and a low PBO.
    #[test]
    fn real_skill_stands_out_from_many() {
        let ranking = rank(&runs(200, Some((77, 0.004))), "sharpe", 3, (200, 1)).unwrap();
        assert_eq!(ranking.rows[0].number, 77);
        assert!(ranking.distinguishable, "{}", ranking.verdict);
        assert!(ranking.rows[0].deflated.unwrap() > 0.95 && ranking.pbo.unwrap() < 0.05);
    }

    /// Either too few days of returns, or only 50 of 400 runs given.
    #[test]
    fn too_little_data_is_never_distinguishable() {
        let mut few = runs(50, Some((7, 0.02)));
        few.iter_mut().for_each(|run| run.returns.truncate(20));
        let ranking = rank(&few, "sharpe", 1, (50, 1)).unwrap();
        assert!(
            !ranking.distinguishable && ranking.verdict.contains("too few"),
            "{}",
            ranking.verdict
        );
        let part = rank(&runs(50, Some((7, 0.02))), "sharpe", 1, (400, 1)).unwrap();
        assert!(
            !part.distinguishable && part.verdict.contains("only 50 of 400"),
            "{}",
            part.verdict
        );
    }

    /// The error for an unknown metric lists the known ones.
    #[test]
    fn unknown_metric_or_no_runs_is_refused() {
        assert!(
            rank(&runs(3, None), "sharp", 1, (3, 1))
                .unwrap_err()
                .contains("there are sharpe")
        );
        assert!(rank(&[], "sharpe", 1, (1, 1)).is_err());
    }
}
