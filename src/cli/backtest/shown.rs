//! Results for people.

use comfy_table::CellAlignment;

use super::super::output::{say, sheet};
use crate::backtest::diagnosis::Weight;
use crate::backtest::report::Report;
use crate::backtest::{BacktestMarket, Contender, RunOutcome, months};
use crate::domain::Ms;
use crate::fills::Number;
use crate::stats::Interval;

/// Prints the contender and the markets of a run.
pub(super) fn head(markets: &[BacktestMarket], contender: &Contender) {
    let columns = &*markets[0].columns;
    let names: Vec<&str> = markets
        .iter()
        .map(|market| market.instrument.id.as_str())
        .collect();
    let from = markets
        .iter()
        .map(|market| market.columns.ts[0])
        .min()
        .unwrap_or_default();
    let to = markets
        .iter()
        .map(|market| market.columns.closes(market.columns.len() - 1).0)
        .max()
        .unwrap_or_default();
    let params: Vec<String> = contender
        .params
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    say(format_args!(
        "{} ({}) on {} {}, {} bars, {} to {}",
        contender.strategy.name,
        params.join(" "),
        names.join(", "),
        columns.bar,
        markets
            .iter()
            .map(|market| market.columns.len())
            .max()
            .unwrap_or_default(),
        day(from),
        day(to)
    ));
}

fn day(at: i64) -> String {
    Ms(at).iso()[..16].replace('T', " ")
}

/// A share in percent.
pub(super) fn percent(value: f64) -> String {
    format!("{:.2} %", 100.0 * value)
}

fn maybe(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

fn plain(value: f64) -> String {
    format!("{value:.3}")
}

/// All of a run.
pub(super) fn run<N: Number>(
    markets: &[BacktestMarket],
    contender: &Contender,
    report: &Report,
    outcome: &RunOutcome<N>,
) {
    head(markets, contender);
    let (p, t) = (&report.performance, &report.performance.trades);
    let mut table = sheet(&["figure", "value", "figure", "value", "figure", "value"]);
    let money = |value: f64| format!("{value:.2}");
    let rows: [[(&str, String); 3]; 10] = [
        [
            ("equity at the end", money(report.equity_end)),
            ("Sharpe", plain(p.sharpe)),
            ("trades", t.trades.to_string()),
        ],
        [
            ("total return", percent(p.total_return)),
            ("Sortino", maybe(p.sortino, plain)),
            ("hit rate", maybe(t.hit_rate, percent)),
        ],
        [
            ("buy and hold", percent(p.buy_and_hold)),
            ("Calmar", maybe(p.calmar, plain)),
            ("profit factor", maybe(t.profit_factor, plain)),
        ],
        [
            ("CAGR", maybe(p.cagr, percent)),
            ("Omega", maybe(p.omega, plain)),
            ("expectancy", maybe(t.expectancy, money)),
        ],
        [
            ("volatility", percent(p.volatility)),
            ("skew", plain(p.skew)),
            ("average win", maybe(t.average_win, money)),
        ],
        [
            ("largest drawdown", percent(p.max_drawdown)),
            ("kurtosis", plain(p.kurtosis)),
            ("average loss", maybe(t.average_loss, money)),
        ],
        [
            ("longest drawdown", format!("{:.1} d", p.max_drawdown_days)),
            ("VaR 95 %", percent(p.var_95)),
            (
                "average time",
                maybe(t.average_hours, |hours| format!("{hours:.1} h")),
            ),
        ],
        [
            ("exposure", percent(p.exposure)),
            ("CVaR 95 %", percent(p.cvar_95)),
            ("fees", money(report.paid.fees)),
        ],
        [
            ("turnover a year", format!("{:.0} ×", p.turnover)),
            ("tail ratio", maybe(p.tail_ratio, plain)),
            ("funding", money(report.paid.funding)),
        ],
        [
            ("alpha a year", maybe(p.alpha, percent)),
            ("beta", maybe(p.beta, plain)),
            (
                "orders, fills",
                format!("{}, {}", report.orders, report.fills),
            ),
        ],
    ];
    for row in rows {
        table.add_row(
            row.into_iter()
                .flat_map(|(name, value)| [name.to_owned(), value])
                .collect::<Vec<_>>(),
        );
    }
    for column in [1, 3, 5] {
        table
            .column_mut(column)
            .expect("six columns")
            .set_cell_alignment(CellAlignment::Right);
    }
    say(table);
    let unit = if p.period == "day" { "days" } else { "bars" };
    say(format_args!(
        "returns by {unit}, a year has 365 days ({:.0} {unit}); Sharpe by bars {:.3}",
        p.periods_per_year, p.sharpe_bars
    ));
    if let Some(intervals) = &report.intervals {
        let shown =
            |i: &Interval, show: fn(f64) -> String| format!("{} to {}", show(i.low), show(i.high));
        say(format_args!(
            "95 % intervals: Sharpe {}, mean return a year {}, volatility {}",
            shown(&intervals.sharpe, plain),
            shown(&intervals.annual_return, percent),
            shown(&intervals.volatility, percent)
        ));
    }
    say(format_args!(
        "chance that the true Sharpe is above 0: {}; days a record like this needs for 95 %: {}",
        maybe(p.psr, percent),
        maybe(p.min_track_record_days, |days| format!("{days:.0}"))
    ));
    costs(report);
    month_table(
        &outcome.at,
        &outcome.equity.iter().map(|e| e.float()).collect::<Vec<_>>(),
        report.equity_start,
    );
    doubts(report);
}

fn costs(report: &Report) {
    let mut table = sheet(&["costs", "total return", "Sharpe", "drawdown", "trades"]);
    for s in &report.stress {
        let factor = format!("× {}", s.factor);
        table.add_row([
            factor,
            percent(s.total_return),
            plain(s.sharpe),
            percent(s.max_drawdown),
            s.trades.to_string(),
        ]);
    }
    for column in 1..5 {
        table
            .column_mut(column)
            .expect("five columns")
            .set_cell_alignment(CellAlignment::Right);
    }
    say(table);
}

fn month_table(at: &[i64], equity: &[f64], start: f64) {
    let rows = months::monthly(at, equity, start);
    if rows.iter().flat_map(|(_, of)| of).flatten().count() < 2 {
        return;
    }
    let heads: Vec<&str> = std::iter::once("%")
        .chain(months::NAMES)
        .chain(["year"])
        .collect();
    let mut table = sheet(&heads);
    for (year, of) in rows {
        let whole = of
            .iter()
            .flatten()
            .fold(1.0, |product, month| product * (1.0 + month))
            - 1.0;
        let cell = |month: &Option<f64>| {
            month.map_or_else(String::new, |value| format!("{:.1}", 100.0 * value))
        };
        let mut row = vec![year.to_string()];
        row.extend(of.iter().map(cell));
        row.push(format!("{:.1}", 100.0 * whole));
        table.add_row(row);
    }
    say(table);
}

fn doubts(report: &Report) {
    for finding in &report.findings {
        let word = match finding.weight {
            Weight::Error => "ERROR",
            Weight::Warning => "warning",
            Weight::Note => "note",
        };
        say(format_args!("{word}: {} [{}]", finding.text, finding.code));
    }
}

/// Every fill, a line each.
pub(super) fn fills_csv<N: Number + std::fmt::Display>(
    market: &BacktestMarket,
    outcome: &RunOutcome<N>,
) -> String {
    use std::fmt::Write as _;
    let inst = &market.instrument;
    let mut out =
        String::from("bar_ts_ms,decided_ms,order,cause,side,qty,price,value,fee,liquidity,held\n");
    for row in &outcome.fills {
        let cause = format!("{:?}", row.cause).to_lowercase();
        let qty = |lots: i64| (inst.lot.0 * rust_decimal::Decimal::from(lots)).normalize();
        let price = (inst.tick.0 * rust_decimal::Decimal::from(row.ticks)).normalize();
        let (side, liquidity) = (row.side.as_str(), if row.maker { "maker" } else { "taker" });
        writeln!(
            out,
            "{},{},{},{cause},{side},{},{price},{},{},{liquidity},{}",
            row.ts,
            row.decided,
            row.order,
            qty(row.lots),
            row.value,
            row.fee,
            qty(row.held)
        )
        .ok();
    }
    out
}
