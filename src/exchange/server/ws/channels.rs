//! Which channels there are, where each lives, and what it says first.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::super::super::core::Exchange;
use super::super::super::render;
use crate::domain::{Bar, InstKind};

/// The three URLs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Url {
    Public,
    Private,
    Business,
}

impl Url {
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Url::Public, Url::Private, Url::Business]
            .into_iter()
            .find(|url| url.name() == text)
    }
    pub(super) const fn name(self) -> &'static str {
        match self {
            Url::Public => "public",
            Url::Private => "private",
            Url::Business => "business",
        }
    }
}

/// Returns the URL that serves a channel; `None` if there is no such channel.
pub(super) fn home(channel: &str) -> Option<Url> {
    match channel {
        "tickers" | "trades" | "books" | "books5" | "bbo-tbt" | "mark-price" | "price-limit"
        | "funding-rate" | "instruments" | "status" | "books-l2-tbt" | "books50-l2-tbt" => {
            Some(Url::Public)
        }
        "orders"
        | "account"
        | "positions"
        | "balance_and_position"
        | "fills"
        | "liquidation-warning" => Some(Url::Private),
        "orders-algo" | "algo-advance" | "trades-all" => Some(Url::Business),
        _ => bar_of(channel).map(|_| Url::Business),
    }
}

/// The bar of a candle channel, of trades or of the mark price.
pub(super) fn bar_of(channel: &str) -> Option<Bar> {
    channel
        .strip_prefix("candle")
        .or_else(|| channel.strip_prefix("mark-price-candle"))?
        .parse()
        .ok()
}

/// True if the channel needs a login.
pub(super) fn is_private(channel: &str) -> bool {
    home(channel) == Some(Url::Private) || matches!(channel, "orders-algo" | "algo-advance")
}

/// True if the channel is reserved for accounts that trade more than this one does.
pub(super) fn needs_higher_tier(channel: &str) -> bool {
    matches!(channel, "books-l2-tbt" | "books50-l2-tbt" | "fills")
}

/// Channels whose subject is one instrument.
pub(super) fn needs_instrument(channel: &str) -> bool {
    !is_private(channel) && !matches!(channel, "instruments" | "status")
}

/// Channels whose connections OKX counts per account.
pub(super) fn is_counted(channel: &str) -> bool {
    matches!(
        channel,
        "orders" | "account" | "positions" | "balance_and_position" | "liquidation-warning"
    )
}

/// Returns the subject of a subscription: an instrument, else an instrument type, else a currency,
/// else everything (empty).
pub(super) fn subject(arg: &Value) -> &str {
    arg["instId"]
        .as_str()
        .or_else(|| arg["instType"].as_str())
        .or_else(|| arg["ccy"].as_str())
        .unwrap_or("")
}

/// Returns a field of `extraParams`, in which a client may ask for events only, without the regular
/// push.
pub(super) fn extra(arg: &Value, name: &str) -> Option<String> {
    let extra: Value = serde_json::from_str(arg["extraParams"].as_str()?).ok()?;
    extra[name].as_str().map(str::to_owned)
}

/// Returns a channel's first push after a subscription: `data` and the fields beside it, without
/// `arg`; for `books` also the number of the snapshot, so that older changes can be left out.
pub(super) fn first_words(
    x: &mut Exchange,
    channel: &str,
    inst: &str,
) -> Option<(String, Option<i64>)> {
    let snapshot = |data: Value| {
        Some((
            format!(r#""eventType":"snapshot","curPage":1,"lastPage":true,"data":{data}"#),
            None,
        ))
    };
    match channel {
        "account" => snapshot(json!([render::balance(x, &[])])),
        "positions" => {
            let open = x.ledger.positions.iter().filter(|(_, p)| !p.qty.is_zero());
            snapshot(open.map(|(inst, _)| render::position(x, inst)).collect())
        }
        "balance_and_position" => Some((
            format!(
                r#""data":[{}]"#,
                render::balance_and_position(x, "snapshot", &[])
            ),
            None,
        )),
        "instruments" => {
            let rows: Value = x
                .market
                .all()
                .filter(|l| l.listing.inst.kind.okx() == inst)
                .map(|l| render::instrument(x.rules(&l.listing.inst)))
                .collect();
            Some((format!(r#""data":{rows}"#), None))
        }
        "books" => {
            let (seq, _) = x.depth_snapshot(inst);
            let market = std::sync::Arc::clone(&x.market);
            let mut row = render::book(x, market.get(inst)?, 400, seq);
            row["checksum"] = json!(0);
            row["prevSeqId"] = json!(-1);
            Some((format!(r#""action":"snapshot","data":[{row}]"#), Some(seq)))
        }
        _ => {
            let market = std::sync::Arc::clone(&x.market);
            let listed = market.get(inst)?;
            let data = match bar_of(channel) {
                Some(bar) => {
                    let row = render::bar_row(listed, &x.forming(listed, bar)?, false);
                    format!("[{}]", shaped(channel, row))
                }
                None if matches!(channel, "trades" | "trades-all") => return None,
                None if channel == "funding-rate" && listed.listing.inst.kind != InstKind::Swap => {
                    return None;
                }
                None => render::push(x, listed, channel)?,
            };
            Some((format!(r#""data":{data}"#), None))
        }
    }
}

/// Mark-price candles have six columns.
fn shaped(channel: &str, row: Value) -> Value {
    if channel.starts_with("mark-price") {
        json!([row[0], row[1], row[2], row[3], row[4], row[8]])
    } else {
        row
    }
}

/// Connections per counted channel.
#[derive(Debug, Default)]
pub(in crate::exchange::server) struct ChannelCounts(Mutex<BTreeMap<String, usize>>);

/// Connections one account may have on one of them.
pub(super) const CONNECTIONS_MAX: usize = 30;

impl ChannelCounts {
    /// One connection more; how many there are now.
    pub(super) fn join(&self, channel: &str) -> usize {
        let mut counts = self.0.lock().expect("no holder of this lock can panic");
        let count = counts.entry(channel.to_owned()).or_default();
        *count += 1;
        *count
    }
    /// One less.
    pub(super) fn leave(&self, channel: &str) {
        let mut counts = self.0.lock().expect("no holder of this lock can panic");
        if let Some(count) = counts.get_mut(channel) {
            *count = count.saturating_sub(1);
        }
    }
}
