//! Market data anybody may ask for.

use serde_json::{Value, json};

use super::super::core::{Exchange, closed_candles};
use super::super::market::Listed;
use super::super::render;
use super::{Request, Site, VenueFailure};
use crate::domain::{Bar, InstKind, Ms};

/// "Parameter … error", HTTP 400.
pub(super) fn bad(name: &str) -> VenueFailure {
    VenueFailure::new(400, "51000", format!("Parameter {name} error"))
}

/// 51001.
pub(super) fn unknown(inst: &str) -> VenueFailure {
    VenueFailure::new(
        200,
        "51001",
        format!("Instrument ID or Spread ID {inst} doesn't exist."),
    )
}

/// A whole number within `range`, or `default` where none is given.
pub(super) fn number(
    request: &Request,
    name: &str,
    default: i64,
    most: i64,
) -> Result<i64, VenueFailure> {
    match request.param(name) {
        "" => Ok(default),
        text => text
            .parse::<i64>()
            .ok()
            .filter(|n| *n > 0)
            .map(|n| n.min(most))
            .ok_or_else(|| bad(name)),
    }
}

fn time(request: &Request, name: &str) -> Result<Option<Ms>, VenueFailure> {
    match request.param(name) {
        "" => Ok(None),
        text => match text.parse() {
            Ok(ms @ -1..=9_999_999_999_999) => Ok(Some(Ms(ms))),
            _ => Err(bad(name)),
        },
    }
}

pub(super) async fn instruments(site: &Site, request: &Request) -> Result<Value, VenueFailure> {
    let kind = request.param("instType");
    if !["SPOT", "SWAP", "FUTURES", "OPTION", "MARGIN", "EVENTS"].contains(&kind) {
        return Err(bad("instType"));
    }
    if kind == "OPTION" && request.param("instFamily").is_empty() && request.param("uly").is_empty()
    {
        return Err(VenueFailure::new(
            400,
            "50015",
            "Either parameter uly or instFamily is required.",
        ));
    }
    let wanted = request.param("instId");
    if !wanted.is_empty() && site.engine.market.get(wanted).is_none() {
        return Err(unknown(wanted));
    }
    let (kind, wanted) = (kind.to_owned(), wanted.to_owned());
    let rows = move |x: &mut Exchange| -> Value {
        let listed = x.market.all().map(|l| &l.listing.inst);
        let asked = listed
            .filter(|i| i.kind.okx() == kind && (wanted.is_empty() || wanted == i.id.as_str()));
        asked
            .map(|inst| render::instrument(x.rules(inst)))
            .collect()
    };
    Ok(site.engine.ask(rows).await?)
}

async fn bars(
    site: &Site,
    request: &Request,
    recent: bool,
    most: i64,
) -> Result<Vec<Value>, VenueFailure> {
    let inst = request.param("instId").to_owned();
    if site.engine.market.get(&inst).is_none() {
        return Err(unknown(&inst));
    }
    let bar: Bar = match request.param("bar") {
        "" => Bar::M1,
        bar => bar.parse().map_err(|_| bad("bar"))?,
    };
    let limit = number(request, "limit", 100, most)? as usize;
    let (after, before) = (time(request, "after")?, time(request, "before")?);
    let name = inst.clone();
    let (range, closed, shifts) = site
        .engine
        .ask(move |x| {
            // A feed that has not spoken yet has no history to show: that is not an empty one.
            if !x.is_shown(&inst) {
                return Err(VenueFailure::new(
                    503,
                    "50001",
                    "Service temporarily unavailable: the price feed is cut.",
                ));
            }
            let oldest = recent.then(|| Ms(x.now().floor(bar.span()).0 - 1440 * bar.span().0));
            let page = render::CandleRows {
                after,
                before,
                limit,
                with_forming: recent,
                oldest,
            };
            let market = std::sync::Arc::clone(&x.market);
            let listed = market.get(&inst).ok_or_else(|| unknown(&inst))?;
            let range = render::candle_range(x, listed, bar, page);
            // A long stretch of seconds is walked beside the exchange, not while orders wait.
            let here = listed.is_fed() || range.to.since(range.from) <= LONG_WALK;
            let closed = here.then(|| x.candles(listed, bar, range.from, range.to));
            Ok((range, closed, x.ledger.shifts.clone()))
        })
        .await??;
    let market = std::sync::Arc::clone(&site.engine.market);
    let rows = tokio::task::spawn_blocking(move || {
        let listed = market.get(&name)?;
        let closed = match closed {
            Some(closed) => closed,
            None => closed_candles(listed, &shifts, bar, range.from, range.to),
        };
        Some(render::candle_rows(listed, range.forming, &closed))
    });
    let rows = rows
        .await
        .map_err(|_| VenueFailure::new(500, "50026", "System error. Try again later."))?;
    Ok(rows.unwrap_or_default())
}

/// The longest stretch of time whose bars are made while orders wait.
const LONG_WALK: Ms = Ms::secs(86_400);

pub(super) async fn candles(
    site: &Site,
    request: &Request,
    recent: bool,
) -> Result<Value, VenueFailure> {
    bars(site, request, recent, 300).await.map(Value::Array)
}

/// Six columns: time, prices, confirm. The mark price is the last price here.
pub(super) async fn mark_candles(
    site: &Site,
    request: &Request,
    recent: bool,
) -> Result<Value, VenueFailure> {
    let rows = bars(site, request, recent, 100).await?;
    Ok(rows
        .iter()
        .map(|row| json!([row[0], row[1], row[2], row[3], row[4], row[8]]))
        .collect())
}

pub(super) async fn market(
    site: &Site,
    request: &Request,
    endpoint: &str,
) -> Result<Value, VenueFailure> {
    match endpoint {
        "public/time" => return Ok(json!([{"ts": site.now().0.to_string()}])),
        "system/status" => return Ok(json!([])),
        _ => {}
    }
    let inst = request.param("instId").to_owned();
    let kind = request.param("instType").to_owned();
    let everything = match endpoint {
        "market/tickers" => {
            if !["SPOT", "SWAP", "FUTURES", "OPTION"].contains(&kind.as_str()) {
                return Err(bad("instType"));
            }
            true
        }
        "public/mark-price" => inst.is_empty(),
        "public/funding-rate" => inst == "ANY",
        "public/position-tiers" | "public/open-interest" => inst.is_empty(),
        _ => false,
    };
    if !everything && site.engine.market.get(&inst).is_none() {
        return Err(unknown(&inst));
    }
    let of_swaps =
        endpoint.starts_with("public/funding-rate") || endpoint == "public/open-interest";
    let family = request.param("instFamily").to_owned();
    let depth = number(
        request,
        "sz",
        1,
        if endpoint == "market/books-full" {
            5000
        } else {
            400
        },
    )? as usize;
    let page = PageQuery {
        limit: number(request, "limit", 100, most(endpoint))? as usize,
        after: place(request, "after")?,
        before: place(request, "before")?,
        by_time: request.param("type") == "2",
    };
    let endpoint = endpoint.to_owned();
    site.engine
        .ask(move |x| {
            let market = std::sync::Arc::clone(&x.market);
            let mut rows = Vec::new();
            for listed in market.all() {
                let i = &listed.listing.inst;
                let wanted = match everything {
                    true => {
                        (kind.is_empty() || i.kind.okx() == kind)
                            && (!of_swaps || i.kind == InstKind::Swap)
                    }
                    false => i.id.as_str() == inst,
                };
                let priced = matches!(
                    endpoint.as_str(),
                    "market/ticker" | "market/tickers" | "public/mark-price" | "public/price-limit"
                );
                if wanted && priced && !x.is_shown(i.id.as_str()) {
                    return Err(VenueFailure::new(
                        503,
                        "50001",
                        "Service temporarily unavailable: the price feed is cut.",
                    ));
                }
                let in_family = family.is_empty() || format!("{}-{}", i.base, i.quote) == family;
                if wanted && in_family {
                    if of_swaps && i.kind != InstKind::Swap {
                        return Err(unknown(&inst));
                    }
                    rows.extend(rows_of(x, listed, &endpoint, depth, page));
                }
            }
            Ok(Value::Array(rows))
        })
        .await?
}

/// A trade id or a time, where given; neither is negative or longer than 16 digits.
fn place(request: &Request, name: &str) -> Result<Option<i64>, VenueFailure> {
    match request.param(name) {
        "" => Ok(None),
        text => text
            .parse()
            .ok()
            .filter(|n| (0..=9_999_999_999_999_999).contains(n))
            .map(Some)
            .ok_or_else(|| bad(name)),
    }
}

/// Which rows of a list.
#[derive(Clone, Copy, Debug)]
struct PageQuery {
    limit: usize,
    /// Records older than this, a trade id or a time.
    after: Option<i64>,
    before: Option<i64>,
    by_time: bool,
}

fn most(endpoint: &str) -> i64 {
    match endpoint {
        "market/trades" => 500,
        "public/funding-rate-history" => 400,
        _ => 100,
    }
}

fn rows_of(
    x: &mut Exchange,
    listed: &Listed,
    endpoint: &str,
    depth: usize,
    page: PageQuery,
) -> Vec<Value> {
    let inst = listed.listing.inst.id.as_str();
    match endpoint {
        "market/books" | "market/books-full" => {
            let (seq, _) = x.depth_snapshot(inst);
            let mut row = render::book(x, listed, depth, seq);
            if endpoint == "market/books-full" {
                for side in ["asks", "bids"] {
                    for level in row[side].as_array_mut().into_iter().flatten() {
                        *level = json!([level[0], level[1], level[3]]);
                    }
                }
            }
            vec![row]
        }
        "market/ticker" | "market/tickers" => vec![render::ticker(x, listed)],
        "public/funding-rate" => vec![render::funding(x, listed)],
        "public/funding-rate-history" => funding_history(x, inst, page),
        "public/mark-price" => vec![render::mark_price(x, listed)],
        "public/price-limit" => vec![render::price_limit(x, listed)],
        // Of a market that is fed nobody here knows it.
        "public/open-interest" if listed.is_fed() => Vec::new(),
        "public/open-interest" => vec![render::open_interest(x, listed)],
        "public/position-tiers" => vec![render::tier(listed)],
        "market/trades" => render::trades(x, listed, None, page.limit),
        "market/history-trades" => {
            // Ids of a market of our own say their second; a feed's are looked through by time.
            let by_second = page.by_time && !listed.is_fed();
            let below = page.after.map(|at| {
                if by_second {
                    at.div_euclid(1000) * 2
                } else {
                    at
                }
            });
            let number =
                |row: &Value, name: &str| row[name].as_str().and_then(|n| n.parse::<i64>().ok());
            let fits = |row: &Value| {
                let place = number(row, if page.by_time { "ts" } else { "tradeId" });
                place.is_some_and(|n| {
                    page.before.is_none_or(|b| n > b) && page.after.is_none_or(|a| n < a)
                })
            };
            let below = below.filter(|_| !page.by_time || by_second);
            render::trades(x, listed, below, page.limit)
                .into_iter()
                .filter(fits)
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Rates that were paid, newest first.
fn funding_history(x: &Exchange, inst: &str, page: PageQuery) -> Vec<Value> {
    const EIGHT_HOURS: i64 = 28_800_000;
    let newest = page
        .after
        .map_or(x.now().0, |after| (after - 1).min(x.now().0))
        .div_euclid(EIGHT_HOURS)
        * EIGHT_HOURS;
    let times = (0..page.limit as i64).map(|i| newest - i * EIGHT_HOURS);
    times
        .take_while(|at| *at > 0 && page.before.is_none_or(|before| *at > before))
        .map(|at| {
            let rate = x.funding_rate(inst, Ms(at)).normalize().to_string();
            json!({"instType": "SWAP", "instId": inst, "fundingRate": rate, "realizedRate": rate,
                "fundingTime": at.to_string(), "method": "current_period", "formulaType": "noRate"})
        })
        .collect()
}
