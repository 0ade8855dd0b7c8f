//! A run as one HTML file that needs no network: charts as SVG inside it, style inside it, no
//! script.

use std::fmt::Write as _;

use plotters::element::{CandleStick, TriangleMarker};
use plotters::prelude::*;

use super::diagnosis::Weight;
use super::report::Report;
use super::{BacktestMarket, Contender, Rules, RunOutcome};
use crate::domain::Ms;
use crate::fills::Number;
use crate::stats::{Interval, Trip};

/// Points of a line, candles, markers and rows at most: more are not seen.
const POINTS: usize = 1200;
const CANDLES: usize = 240;
const MARKERS: usize = 600;
const ROWS: usize = 500;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#667;--line:#d6dae0;--paper:#fff;--good:#137a4b;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#9aa4b2;--line:#333a44;--paper:#14171b;--good:#4cc38a;--bad:#ff8a80}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}
p.sub{color:var(--soft);margin:.2rem 0}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}
td,th{padding:.15rem .7rem;border-bottom:1px solid var(--line);text-align:right}td:first-child,th:first-child{text-align:left}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:0 2rem}.scroll{max-height:28rem;overflow:auto}
figure{margin:.5rem 0;background:#fff;border:1px solid var(--line)}svg{width:100%;height:auto;display:block}
.good{color:var(--good)}.bad{color:var(--bad)}li.error{color:var(--bad);font-weight:600}li.warning{color:var(--bad)}
";

/// The page of a run.
pub fn page<N: Number>(
    market: &BacktestMarket,
    contender: &Contender,
    rules: &Rules,
    outcome: &RunOutcome<N>,
    report: &Report,
) -> String {
    let equity: Vec<f64> = outcome.equity.iter().map(|value| value.float()).collect();
    let mut out = String::with_capacity(1 << 18);
    let title = format!(
        "{} on {} {}",
        contender.strategy.name, market.instrument.id, market.columns.bar
    );
    let columns = &*market.columns;
    let params: Vec<String> = contender
        .params
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let ends = [columns.ts[0], columns.closes(columns.len() - 1).0].map(|at| Ms(at).iso());
    write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{0}</title><style>{STYLE}</style></head><body><h1>{0}</h1><p class=\"sub\">{1}</p>\
         <p class=\"sub\">{2} bars, {3} to {4}; begins with {5} {6}</p>\
         <p class=\"sub\">build {7}, data {8}</p>",
        escape(&title),
        escape(&params.join(", ")),
        columns.len(),
        ends[0],
        ends[1],
        rules.cash.normalize(),
        escape(&market.instrument.quote),
        env!("ARENA_BUILD"),
        columns.hash(),
    )
    .ok();
    doubts(&mut out, report);
    figures(&mut out, report);
    chart(
        &mut out,
        "Equity and drawdown",
        equity_chart(&outcome.at, &equity, report.equity_start),
    );
    chart(
        &mut out,
        "Price, entries and exits",
        price_chart(market, &report.trips),
    );
    months(&mut out, &outcome.at, &equity, report.equity_start);
    stress(&mut out, report);
    trades(&mut out, market, &report.trips);
    out.push_str("</body></html>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn doubts(out: &mut String, report: &Report) {
    if report.findings.is_empty() {
        return;
    }
    out.push_str("<h2>What should make one doubt it</h2><ul>");
    for finding in &report.findings {
        let class = match finding.weight {
            Weight::Error => "error",
            Weight::Warning => "warning",
            Weight::Note => "note",
        };
        write!(
            out,
            "<li class=\"{class}\">{} <small>[{}]</small></li>",
            escape(&finding.text),
            finding.code
        )
        .ok();
    }
    out.push_str("</ul>");
}

fn percent(value: f64) -> String {
    format!("{:.2} %", 100.0 * value)
}

fn plain(value: f64) -> String {
    format!("{value:.3}")
}

fn figures(out: &mut String, report: &Report) {
    let (p, t) = (&report.performance, &report.performance.trades);
    let or =
        |value: Option<f64>, show: fn(f64) -> String| value.map_or_else(|| "-".to_owned(), show);
    let money = |value: f64| format!("{value:.2}");
    let with = |text: String, interval: Option<&Interval>, show: fn(f64) -> String| match interval {
        Some(i) => format!(
            "{text} <small>({} to {})</small>",
            show(i.low),
            show(i.high)
        ),
        None => text,
    };
    let intervals = report.intervals.as_ref();
    let groups: [(&str, Vec<(&str, String)>); 4] = [
        (
            "Return",
            vec![
                ("equity at the end", money(report.equity_end)),
                ("total return", percent(p.total_return)),
                ("buy and hold", percent(p.buy_and_hold)),
                ("CAGR", or(p.cagr, percent)),
                ("alpha a year", or(p.alpha, percent)),
                ("beta", or(p.beta, plain)),
            ],
        ),
        (
            "Risk",
            vec![
                (
                    "volatility",
                    with(
                        percent(p.volatility),
                        intervals.map(|i| &i.volatility),
                        percent,
                    ),
                ),
                ("largest drawdown", percent(p.max_drawdown)),
                (
                    "longest drawdown",
                    format!("{:.1} days", p.max_drawdown_days),
                ),
                (
                    "VaR, CVaR 95 %",
                    format!("{}, {}", percent(p.var_95), percent(p.cvar_95)),
                ),
                (
                    "skew, kurtosis",
                    format!("{}, {}", plain(p.skew), plain(p.kurtosis)),
                ),
                ("tail ratio", or(p.tail_ratio, plain)),
                ("exposure", percent(p.exposure)),
            ],
        ),
        (
            "Return for risk",
            vec![
                (
                    "Sharpe",
                    with(plain(p.sharpe), intervals.map(|i| &i.sharpe), plain),
                ),
                ("Sortino", or(p.sortino, plain)),
                ("Calmar", or(p.calmar, plain)),
                ("Omega", or(p.omega, plain)),
                ("chance that Sharpe is above 0", or(p.psr, percent)),
                (
                    "track record needed",
                    or(p.min_track_record_days, |days| format!("{days:.0} days")),
                ),
            ],
        ),
        (
            "Trades and costs",
            vec![
                ("trades", t.trades.to_string()),
                ("hit rate", or(t.hit_rate, percent)),
                ("profit factor", or(t.profit_factor, plain)),
                (
                    "expectancy",
                    or(t.expectancy, |value| format!("{value:.2}")),
                ),
                (
                    "average win",
                    or(t.average_win, |value| format!("{value:.2}")),
                ),
                (
                    "average loss",
                    or(t.average_loss, |value| format!("{value:.2}")),
                ),
                ("turnover a year", format!("{:.0} ×", p.turnover)),
                (
                    "fees, funding",
                    format!(
                        "{}, {}",
                        money(report.paid.fees),
                        money(report.paid.funding)
                    ),
                ),
                (
                    "orders, fills",
                    format!("{}, {}", report.orders, report.fills),
                ),
            ],
        ),
    ];
    out.push_str("<h2>Figures</h2><div class=\"grid\">");
    for (name, rows) in groups {
        write!(out, "<table><tr><th>{name}</th><th></th></tr>").ok();
        for (name, value) in rows {
            write!(out, "<tr><td>{name}</td><td>{value}</td></tr>").ok();
        }
        out.push_str("</table>");
    }
    let basis = if p.period == "day" { "days" } else { "bars" };
    write!(
        out,
        "</div><p class=\"sub\">Returns by {basis}, a year has 365 days. In brackets 95 % intervals of a stationary block \
         bootstrap. Formulas and sources are in the documentation of <code>stats::performance</code>.</p>"
    )
    .ok();
}

fn chart(out: &mut String, name: &str, svg: Result<String, String>) {
    write!(out, "<h2>{name}</h2>").ok();
    match svg {
        Ok(svg) => write!(out, "<figure>{svg}</figure>").ok(),
        Err(why) => write!(
            out,
            "<p class=\"sub\">cannot be drawn: {}</p>",
            escape(&why)
        )
        .ok(),
    };
}

fn date(at: i64) -> String {
    Ms(at).iso()[..10].to_owned()
}

/// Indices of so many points, evenly spread, the last among them.
fn thinned(len: usize, most: usize) -> impl Iterator<Item = usize> {
    let step = len.div_ceil(most).max(1);
    (0..len).filter(move |index| index % step == 0 || index + 1 == len)
}

/// A range that is never empty.
fn around(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let room = ((high - low) * 0.05).max(high.abs() * 1e-4).max(1e-9);
    low - room..high + room
}

fn equity_chart(at: &[i64], equity: &[f64], start: f64) -> Result<String, String> {
    let mut svg = String::new();
    let points: Vec<usize> = thinned(at.len(), POINTS).collect();
    let mut peak = start;
    let fallen: Vec<f64> = equity
        .iter()
        .map(|value| {
            peak = peak.max(*value);
            100.0 * (value / peak - 1.0)
        })
        .collect();
    let mut draw = || -> Result<(), Box<dyn std::error::Error + '_>> {
        let root = SVGBackend::with_string(&mut svg, (1000, 420)).into_drawing_area();
        let (above, below) = root.split_vertically(280);
        let days = at[0]..at[at.len() - 1].max(at[0] + 1);
        let mut top = ChartBuilder::on(&above)
            .margin(8)
            .x_label_area_size(22)
            .y_label_area_size(70)
            .build_cartesian_2d(days.clone(), around(equity.iter().copied().chain([start])))?;
        top.configure_mesh()
            .x_label_formatter(&|at| date(*at))
            .light_line_style(TRANSPARENT)
            .draw()?;
        top.draw_series(LineSeries::new(
            points.iter().map(|i| (at[*i], equity[*i])),
            RGBColor(31, 98, 163).stroke_width(2),
        ))?;
        let mut under = ChartBuilder::on(&below)
            .margin(8)
            .x_label_area_size(4)
            .y_label_area_size(70)
            .build_cartesian_2d(days, around(fallen.iter().copied().chain([0.0])))?;
        under
            .configure_mesh()
            .disable_x_mesh()
            .y_desc("%")
            .y_labels(4)
            .light_line_style(TRANSPARENT)
            .draw()?;
        let red = RGBColor(179, 38, 30);
        under.draw_series(
            AreaSeries::new(
                points.iter().map(|i| (at[*i], fallen[*i])),
                0.0,
                red.mix(0.25),
            )
            .border_style(red),
        )?;
        root.present()?;
        Ok(())
    };
    let drawn = draw().map_err(|error| error.to_string());
    drawn.map(|()| svg)
}

fn price_chart(market: &BacktestMarket, trips: &[Trip]) -> Result<String, String> {
    let columns = &*market.columns;
    let tick = f64::of(columns.tick);
    let step = columns.len().div_ceil(CANDLES).max(1);
    // Longer candles made of what was run on.
    let fold = |part: &[usize]| {
        let of = |values: &[f64], pick: fn(f64, f64) -> f64| {
            part.iter().map(|i| values[*i]).reduce(pick).unwrap_or(0.0)
        };
        let (first, last) = (part[0], part[part.len() - 1]);
        let (high, low) = (of(&columns.high, f64::max), of(&columns.low, f64::min));
        (
            columns.ts[first],
            [columns.open[first], high, low, columns.close[last]].map(|price| price * tick),
        )
    };
    let all: Vec<usize> = (0..columns.len()).collect();
    let candles: Vec<(i64, [f64; 4])> = all.chunks(step).map(fold).collect();
    let mut svg = String::new();
    let mut draw = || -> Result<(), Box<dyn std::error::Error + '_>> {
        let root = SVGBackend::with_string(&mut svg, (1000, 420)).into_drawing_area();
        let ends = columns.ts[0]..columns.closes(columns.len() - 1).0;
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(22)
            .y_label_area_size(70)
            .build_cartesian_2d(ends, around(candles.iter().flat_map(|(_, p)| [p[1], p[2]])))?;
        chart
            .configure_mesh()
            .x_label_formatter(&|at| date(*at))
            .light_line_style(TRANSPARENT)
            .draw()?;
        let (green, red) = (RGBColor(19, 122, 75), RGBColor(179, 38, 30));
        let width = (850 / candles.len().max(1)).clamp(1, 9) as u32;
        chart.draw_series(candles.iter().map(|(at, [open, high, low, close])| {
            CandleStick::new(
                *at,
                *open,
                *high,
                *low,
                *close,
                green.filled(),
                red.filled(),
                width,
            )
        }))?;
        let marked = thinned(trips.len(), MARKERS / 2)
            .map(|index| &trips[index])
            .collect::<Vec<_>>();
        let blue = RGBColor(31, 98, 163);
        chart.draw_series(marked.iter().map(|t| {
            let style = if t.long {
                blue.filled()
            } else {
                RGBColor(200, 110, 0).filled()
            };
            TriangleMarker::new((t.opened, t.entry * tick), 5, style)
        }))?;
        chart.draw_series(
            marked
                .iter()
                .filter(|t| !t.open)
                .map(|t| Cross::new((t.closed, t.exit * tick), 4, BLACK)),
        )?;
        root.present()?;
        Ok(())
    };
    let drawn = draw().map_err(|error| error.to_string());
    drawn.map(|()| {
        let shown = if trips.len() > MARKERS / 2 { "some of the trades" } else { "all trades" };
        format!(
            "{svg}<figcaption><small>Candles of {step} bars; {shown}: entries as triangles (blue long, orange short), exits as \
             crosses.</small></figcaption>"
        )
    })
}

fn signed(value: f64, text: String) -> String {
    format!(
        "<td class=\"{}\">{text}</td>",
        if value < 0.0 { "bad" } else { "good" }
    )
}

fn months(out: &mut String, at: &[i64], equity: &[f64], start: f64) {
    out.push_str("<h2>Months</h2><table><tr><th>%</th>");
    for month in super::months::NAMES {
        write!(out, "<th>{month}</th>").ok();
    }
    out.push_str("<th>year</th></tr>");
    for (year, months) in super::months::monthly(at, equity, start) {
        write!(out, "<tr><td>{year}</td>").ok();
        for month in months {
            out.push_str(&month.map_or_else(
                || "<td></td>".into(),
                |m| signed(m, format!("{:.1}", 100.0 * m)),
            ));
        }
        let whole = months
            .iter()
            .flatten()
            .fold(1.0, |product, month| product * (1.0 + month))
            - 1.0;
        write!(
            out,
            "{}</tr>",
            signed(whole, format!("{:.1}", 100.0 * whole))
        )
        .ok();
    }
    out.push_str("</table>");
}

fn stress(out: &mut String, report: &Report) {
    if report.stress.is_empty() {
        return;
    }
    out.push_str("<h2>With other costs</h2><table><tr><th>costs</th><th>total return</th><th>Sharpe</th><th>drawdown</th><th>trades</th></tr>");
    for s in &report.stress {
        let (total, fall) = (percent(s.total_return), percent(s.max_drawdown));
        let row = format!(
            "<td>{}</td><td>{fall}</td><td>{}</td>",
            plain(s.sharpe),
            s.trades
        );
        write!(
            out,
            "<tr><td>× {}</td>{}{row}</tr>",
            s.factor,
            signed(s.total_return, total)
        )
        .ok();
    }
    out.push_str("</table>");
}

fn trades(out: &mut String, market: &BacktestMarket, trips: &[Trip]) {
    let tick = f64::of(market.columns.tick);
    write!(
        out,
        "<h2>Trades</h2><p class=\"sub\">{} trades{}</p><div class=\"scroll\"><table><tr><th>opened</th><th>closed</th><th>side</th>\
         <th>value</th><th>entry</th><th>exit</th><th>fees</th><th>profit</th></tr>",
        trips.len(),
        if trips.len() > ROWS { format!(", the first {ROWS}; all of them with --fills-csv") } else { String::new() }
    )
    .ok();
    for t in trips.iter().take(ROWS) {
        let [opened, closed] = [t.opened, t.closed].map(|at| Ms(at).iso()[..16].replace('T', " "));
        let closed = if t.open { "open".to_owned() } else { closed };
        let side = if t.long { "long" } else { "short" };
        write!(
            out,
            "<tr><td>{opened}</td><td>{closed}</td><td>{side}</td><td>{:.2}</td><td>{:.4}</td><td>{:.4}</td><td>{:.4}</td>{}</tr>",
            t.value,
            t.entry * tick,
            t.exit * tick,
            t.fees,
            signed(t.profit, format!("{:.2}", t.profit))
        )
        .ok();
    }
    out.push_str("</table></div>");
}

#[cfg(test)]
mod tests {
    use super::super::tests::{contender, market, rules};
    use super::*;
    use crate::domain::InstKind;
    use crate::fills::Costs;

    /// All tags are closed, and the page loads no script, style or image from outside.
    #[test]
    fn page_is_complete_and_self_contained() {
        let bars: Vec<[i64; 5]> = (0..300i64)
            .map(|i| [20_000 + i, 20_100 + i, 19_900, 20_050 + i, 900])
            .collect();
        let market = market(InstKind::Swap, Ms(0), &bars, Costs::of(InstKind::Swap));
        let told = contender([(0, 100.0), (80, -50.0), (200, 0.0)], 0.0);
        let rules = rules(5000);
        let outcome = super::super::kernel::run(&market, &told, &rules);
        let report = super::super::report::judge(
            std::slice::from_ref(&market),
            &told,
            &rules,
            &outcome,
            (1, 1),
        );
        let page = page(&market, &told, &rules, &outcome, &report);
        assert_eq!(page.matches("<svg").count(), 2);
        assert_eq!(page.matches("</svg>").count(), 2);
        for outside in ["http://", "https://", "<script", "src=", "@import", "url("] {
            let found = page
                .replace("http://www.w3.org/2000/svg", "")
                .contains(outside);
            assert!(!found, "{outside}");
        }
        assert!(
            page.contains("few_trades") && page.contains(">long<") && page.ends_with("</html>\n")
        );
        assert_eq!(
            page.matches("<table>").count(),
            page.matches("</table>").count()
        );
    }
}
