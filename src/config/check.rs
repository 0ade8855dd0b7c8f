//! The checked configuration: every value in range, every reference resolved, or a list of
//! problems.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rust_decimal::Decimal;

use super::Problems;
use super::address::is_local;
use super::backtest::{BacktestSettings, read_backtest};
use super::contender::{ContenderSettings, Plays, Stage, check_contenders, read_contender};
use super::layers::Layers;
use super::llm::{ModelEndpoint, read_model};
use super::reader::{Problem, ReadNotes, Section};
use super::risk::{ProtectionSettings, read_limits};
use super::truth::{TruthSettings, read_truth};
use crate::domain::{Bar, InstId, Limits, Ms, Retire, Rule};

/// Source of market data and destination of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Sim,
    Paper,
    OkxDemo,
    Live,
}

impl Mode {
    /// Returns the mode's name in the configuration and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Sim => "sim",
            Mode::Paper => "paper",
            Mode::OkxDemo => "okx-demo",
            Mode::Live => "live",
        }
    }
    /// Returns the mode's letter in client order ids.
    pub const fn letter(self) -> char {
        match self {
            Mode::Sim => 's',
            Mode::Paper => 'p',
            Mode::OkxDemo => 'd',
            Mode::Live => 'l',
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Mode::Sim, Mode::Paper, Mode::OkxDemo, Mode::Live]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| format!("must be sim, paper, okx-demo or live, is '{text}'"))
    }
}

/// Over what order operations travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderTransport {
    Rest,
    WebSocket,
}

impl FromStr for OrderTransport {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "rest" => Ok(OrderTransport::Rest),
            "websocket" => Ok(OrderTransport::WebSocket),
            other => Err(format!("must be rest or websocket, is '{other}'")),
        }
    }
}

/// The embedded exchange.
#[derive(Clone, Debug)]
pub struct ExchangeSettings {
    pub seed: u64,
    pub speed: f64,
    pub deposit: Decimal,
    /// Orders are filled by whole bars, as backtests fill them, and not by the book.
    pub by_bar: bool,
    /// Candle files to play instead of a seeded market, each `FILE` or `INSTRUMENT=FILE`.
    pub candles: Vec<String>,
}

/// The venue and how patient we are with it.
#[derive(Clone, Debug)]
pub struct VenueSettings {
    /// Empty: the embedded exchange.
    pub rest_url: String,
    pub ws_url: String,
    /// The account we insist on.
    pub uid: Option<String>,
    pub request_timeout: Duration,
    pub order_transport: OrderTransport,
    pub order_expiry: Ms,
    pub ping_after: Duration,
    pub silence: Duration,
}

/// Settings for turning proposals into sizes.
#[derive(Clone, Debug)]
pub struct AllocationSettings {
    /// Share of a slot below which a change is left alone.
    pub no_trade_band: Decimal,
    /// Share of equity that is never allotted.
    pub reserve: Decimal,
    /// Treatment of a position whose contender no longer trades the instrument.
    pub retire: Retire,
}

/// Intervals between comparisons of our state with the venue's.
#[derive(Clone, Debug)]
pub struct SyncSettings {
    pub account: Ms,
    pub orders: Ms,
    /// Between two rounds of the checks before trading, wall time.
    pub preflight: Duration,
}

/// The record of what the venue says.
#[derive(Clone, Debug)]
pub struct TapeSettings {
    pub record: bool,
    pub keep_days: i64,
}

/// Timeouts of the supervisor.
#[derive(Clone, Debug)]
pub struct Supervision {
    pub freeze: Duration,
    pub stop: Duration,
}

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub mode: Mode,
    pub trading_enabled: bool,
    /// Which source says that trading is off, if one does.
    pub trading_off_by: Option<String>,
    pub exchange: ExchangeSettings,
    pub venue: VenueSettings,
    pub instruments: Vec<InstId>,
    /// The bar that cycles are counted in.
    pub bar: Bar,
    /// Longer bars that are followed beside it.
    pub more_bars: Vec<Bar>,
    pub history_bars: usize,
    pub barrier: Ms,
    /// Maximum time a timestamp may be ahead of the venue's clock, venue time.
    pub time_ahead: Ms,
    pub every_bars: i64,
    pub models: Vec<ModelEndpoint>,
    pub contenders: Vec<ContenderSettings>,
    pub allocation: AllocationSettings,
    pub risk: Limits,
    pub protection: ProtectionSettings,
    pub sync: SyncSettings,
    pub truth: TruthSettings,
    pub supervision: Supervision,
    pub tape: TapeSettings,
    pub backtest: BacktestSettings,
    pub layers: Layers,
}

impl Config {
    /// Checks the merged layers.
    ///
    /// # Errors
    /// All problems found, each with its key.
    pub fn check(layers: Layers) -> Result<Self, Problems> {
        let mut notes = ReadNotes::default();
        let config = Self::read(layers, &mut notes);
        config
            .filter(|_| notes.problems.is_empty())
            .ok_or(Problems(notes.problems))
    }

    /// Reads the merged layers; problems and keys are noted.
    pub(super) fn read(layers: Layers, notes: &mut ReadNotes) -> Option<Self> {
        let mut root = Section::new("", layers.tree.clone(), notes);
        let mode = root.parse("mode", Mode::Sim);
        let enabled = root.table("trading", |s| s.truth("enabled"));
        let exchange = root.table("exchange", |s| ExchangeSettings {
            seed: s.int("seed", 0, i64::MAX).unsigned_abs(),
            speed: s.float("speed", 0.1, 10_000.0),
            deposit: s.decimal("deposit_usdt", Decimal::ONE, Decimal::from(1_000_000_000)),
            by_bar: read_fills(s),
            candles: s.texts("candles"),
        });
        let venue = root.table("venue", |s| read_venue(s, mode));
        let instruments: Vec<InstId> = root.list("instrument", |s| InstId::new(s.text("id")));
        let market = root.table("market", |s| {
            let bar = s.parse("bar", Bar::M1);
            (
                bar,
                s.int("history_bars", 2, 10_000),
                s.int("barrier_ms", 100, 600_000),
                read_more_bars(s, bar),
                Ms(s.int("time_ahead_ms_max", 0, 600_000)),
            )
        });
        let every_bars = root.table("decision", |s| s.int("every_bars", 1, 1440));
        let models: Vec<ModelEndpoint> = root.list("model", read_model);
        let contenders: Vec<Option<ContenderSettings>> = root.list("contender", |s| {
            read_contender(s, &instruments, (market.0, &market.3), &models)
        });
        let percent = |s: &mut Section<'_>, name| {
            s.decimal(name, Decimal::ZERO, Decimal::from(100)) / Decimal::ONE_HUNDRED
        };
        let allocation = root.table("allocation", |s| AllocationSettings {
            no_trade_band: percent(s, "no_trade_band_pct"),
            reserve: percent(s, "reserve_pct"),
            retire: s.parse("retired", Retire::Hold),
        });
        let (risk, protection) = root.table("risk", read_limits);
        let sync = root.table("sync", |s| SyncSettings {
            account: Ms(s.int("account_ms", 1000, 3_600_000)),
            orders: Ms(s.int("orders_ms", 1000, 3_600_000)),
            preflight: millis(s.int("preflight_ms", 1000, 86_400_000)),
        });
        let truth = root.table("truth", read_truth);
        let supervision = root.table("supervision", |s| Supervision {
            freeze: millis(s.int("freeze_ms", 200, 600_000)),
            stop: millis(s.int("stop_ms", 100, 29_000)),
        });
        let backtest = root.table("backtest", read_backtest);
        let tape = root.table("tape", |s| TapeSettings {
            record: s.truth("record"),
            keep_days: s.int("keep_days", 1, 3650),
        });
        if instruments.is_empty() {
            root.problem("instrument", "at least one is needed");
        }
        if instruments.iter().collect::<BTreeSet<_>>().len() < instruments.len() {
            root.problem("instrument", "names one instrument twice");
        }
        // Relations between values are worth a word only once each value is one.
        let sound = root.is_sound();
        if sound && risk.value(Rule::OrderNotionalMin) > risk.value(Rule::OrderNotionalMax) {
            root.problem(
                "risk.order_notional_min",
                "is more than order_notional_max: no order would pass",
            );
        }
        if sound && supervision.freeze <= venue.request_timeout {
            root.problem(
                "supervision.freeze_ms",
                "must be more than venue.request_timeout_ms: waiting for an answer is not freezing",
            );
        }
        let contenders: Vec<ContenderSettings> = contenders.into_iter().flatten().collect();
        check_contenders(&mut root, &contenders);
        if sound && risk.ms(Rule::AccountAge) <= sync.account {
            root.problem(
                "risk.account_age_ms_max",
                "must be more than sync.account_ms, or no order ever passes",
            );
        }
        if models
            .iter()
            .map(|model| &model.id)
            .collect::<BTreeSet<_>>()
            .len()
            < models.len()
        {
            root.problem("model", "two models have one id");
        }
        // A model is asked at the close of its own bar, whatever the rules' cycles are.
        let of_rules =
            |c: &&ContenderSettings| c.bar != market.0 && matches!(c.plays, Plays::Rule { .. });
        for contender in contenders.iter().filter(of_rules) {
            if contender.bar.span().0 % (market.0.span().0 * every_bars) != 0 {
                let why = format!(
                    "decides every {every_bars} bars of {}, which does not meet every close of {}'s {} bar",
                    market.0, contender.id, contender.bar
                );
                root.problem("decision.every_bars", why);
            }
        }
        for contender in &contenders {
            let Plays::Model(settings) = &contender.plays else {
                continue;
            };
            let warmup = settings.fallback.as_ref().map_or(0, |rule| {
                (rule.strategy.build)(&rule.params, false).warmup()
            });
            // It is fed from the history that is at hand when it is needed.
            if sound && warmup > market.1.unsigned_abs() as usize {
                let why = format!(
                    "the fallback of {} needs {warmup} bars before it says anything",
                    contender.id
                );
                root.problem("market.history_bars", why);
            }
        }
        if mode != Mode::Sim && !exchange.candles.is_empty() {
            root.problem(
                "exchange.candles",
                format!("recorded candles are a market of mode sim; the mode is {mode}"),
            );
        }
        if mode != Mode::Sim && market.0 == Bar::S1 && !is_local(&venue.ws_url, "ws://") {
            root.problem(
                "market.bar",
                "OKX has 1s bars only as history; use 1m or longer",
            );
        }
        if allocation.reserve >= Decimal::ONE {
            root.problem("allocation.reserve_pct", "leaves nothing to trade with");
        }
        let (trading_enabled, trading_off_by) = trading_switch(&mut root, mode, enabled, &layers);
        root.finish();
        Some(Self {
            mode,
            trading_enabled,
            trading_off_by,
            exchange,
            venue,
            instruments,
            bar: market.0,
            more_bars: market.3,
            history_bars: market.1.unsigned_abs() as usize,
            barrier: Ms(market.2),
            time_ahead: market.4,
            every_bars,
            models,
            contenders,
            allocation,
            risk,
            protection,
            sync,
            truth,
            supervision,
            tape,
            backtest,
            layers,
        })
    }

    /// Every bar size that is followed, shortest first.
    pub fn bars(&self) -> Vec<Bar> {
        std::iter::once(self.bar)
            .chain(self.more_bars.iter().copied())
            .collect()
    }

    /// Contenders that trade.
    pub fn live_contenders(&self) -> impl Iterator<Item = &ContenderSettings> {
        self.contenders.iter().filter(|c| c.stage == Stage::Live)
    }
}

fn read_fills(s: &mut Section<'_>) -> bool {
    match s.text("fills").as_str() {
        "book" => false,
        "bar" => true,
        other => {
            s.problem("fills", format!("must be book or bar, is '{other}'"));
            false
        }
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

fn read_more_bars(s: &mut Section<'_>, base: Bar) -> Vec<Bar> {
    let mut bars = Vec::new();
    for word in s.texts("more_bars") {
        match word.parse::<Bar>() {
            Ok(bar) if bar <= base => s.problem(
                "more_bars",
                format!("{bar} is not longer than bar = {base}"),
            ),
            Ok(bar) if bar.span().0 % base.span().0 != 0 => {
                s.problem(
                    "more_bars",
                    format!("{bar} is not a whole number of bar = {base}"),
                );
            }
            Ok(bar) if bars.contains(&bar) => s.problem("more_bars", format!("names {bar} twice")),
            Ok(bar) => bars.push(bar),
            Err(error) => s.problem("more_bars", error.to_string()),
        }
    }
    bars.sort_unstable();
    bars
}

fn read_venue(s: &mut Section<'_>, mode: Mode) -> VenueSettings {
    let settings = VenueSettings {
        rest_url: s.text("rest_url").trim_end_matches('/').to_owned(),
        ws_url: s.text("ws_url").trim_end_matches('/').to_owned(),
        uid: Some(s.text("uid")).filter(|uid| !uid.is_empty()),
        request_timeout: millis(s.int("request_timeout_ms", 100, 60_000)),
        order_transport: s.parse("order_transport", OrderTransport::Rest),
        order_expiry: Ms(s.int("order_expiry_ms", 500, 60_000)),
        ping_after: millis(s.int("ping_after_ms", 100, 25_000)),
        silence: millis(s.int("silence_ms", 500, 600_000)),
    };
    if settings.rest_url.is_empty() != settings.ws_url.is_empty() {
        s.problem(
            "ws_url",
            "rest_url and ws_url belong together: give both or neither",
        );
    }
    for (name, url, plain, sealed) in [
        ("rest_url", &settings.rest_url, "http://", "https://"),
        ("ws_url", &settings.ws_url, "ws://", "wss://"),
    ] {
        if !url.is_empty() && !url.starts_with(sealed) && !is_local(url, plain) {
            s.problem(
                name,
                format!("must begin with {sealed}: a key never travels in clear text, except to this machine"),
            );
        }
    }
    if !settings.ws_url.is_empty() && !settings.ws_url.ends_with("/ws/v5") {
        s.problem("ws_url", "must end with /ws/v5");
    }
    // OKX tells demo from live by the host; an exchange on this machine goes by the header.
    let host_tells =
        matches!(mode, Mode::Live | Mode::OkxDemo) && !is_local(&settings.ws_url, "ws://");
    if host_tells && settings.ws_url.contains("pap.okx.com") != (mode == Mode::OkxDemo) {
        s.problem(
            "ws_url",
            format!("is not the WebSocket host of mode {mode}; demo trading has its own (ws…pap.okx.com)"),
        );
    }
    if settings.rest_url.is_empty() && mode != Mode::Sim {
        s.problem(
            "rest_url",
            format!("mode {mode} needs the venue's address, e.g. https://www.okx.com"),
        );
    }
    if mode == Mode::Live && settings.uid.is_none() {
        s.problem(
            "uid",
            "mode live needs the account pinned: the uid that `account/config` shows",
        );
    }
    settings
}

/// Trading is on only if no source says off. Only `true` and `false` are spellings.
fn trading_switch(
    root: &mut Section<'_>,
    mode: Mode,
    enabled: bool,
    layers: &Layers,
) -> (bool, Option<String>) {
    for (who, word) in &layers.trading {
        if who.starts_with("TRADING_ENABLED") && word != "true" && word != "false" {
            root.problem(
                "TRADING_ENABLED",
                format!("must be exactly true or false, is '{word}'"),
            );
        }
    }
    match layers.trading.iter().find(|(_, word)| word == "false") {
        Some((who, _)) => (false, Some(format!("{who} says false"))),
        None if mode == Mode::Live && layers.trading_word.as_deref() != Some("true") => (
            false,
            Some("mode live without TRADING_ENABLED=true in the environment".to_owned()),
        ),
        None => (enabled, None),
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Problems(vec![problem])
    }
}

#[cfg(test)]
mod tests;
