//! The state of the moment → the data of a prompt. Pure.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::data::{
    Account, Benchmark, ClosedTrade, Contract, CostData, LimitData, MarketData, Meta, OrderData,
    PositionData, PromptData, SCHEMA,
};
use crate::domain::view::StopPhase;
use crate::domain::{
    AccountView, Bar, ContenderId, EquityBook, Extras, InstId, InstKind, MarketView, Ms,
    OrdersView, Price, Side, Usd,
};
use crate::llm::answer::AnswerMode;
use crate::llm::plan::{THESIS, TradePlan, held};
use crate::llm::series::{atr, past_return, series};

/// A contender that is a model, as configured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelProfile {
    pub id: ContenderId,
    pub mode: AnswerMode,
    pub instruments: Vec<InstId>,
    /// Bar size at whose close the profile is asked.
    pub bar: Bar,
    /// Share of equity that is its sleeve: its weight, less the reserve.
    pub share: Decimal,
    pub limits: ProfileLimits,
    /// Taker and maker fee as shares of value, for spot and swaps.
    pub spot_fees: [Decimal; 2],
    pub swap_fees: [Decimal; 2],
}

/// Limits of one profile, within what the gate allows. Shares are shares of the sleeve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProfileLimits {
    pub risk_per_trade: Decimal,
    pub risk_budget: Decimal,
    pub leverage: Decimal,
    /// Value one way in instruments that move alike, over the sleeve.
    #[serde(default)]
    pub cluster: Decimal,
    pub positions: u32,
    pub opens_per_day: u32,
    pub reward_risk: Decimal,
    /// Least and largest distance of a stop, in average true ranges.
    pub stop_atr: [Decimal; 2],
    /// Largest distance of a target, in average true ranges.
    pub target_atr: Decimal,
    pub deviation_bps: u16,
    /// Age of the prompt's data at which its answer is no longer acted on.
    pub ttl: Ms,
    /// After a trade closed at a loss.
    pub cooldown: Ms,
    /// The gate's own, of the whole account: the largest loss of a day as a share, and positions
    /// over equity.
    pub daily_loss: Decimal,
    pub gross_exposure: Decimal,
    /// Market depth over order value; zero: not looked at.
    pub depth_times: Decimal,
    /// Dollars in one position: a little below what the gate lets through in one order and in one
    /// instrument.
    pub position_usd: Decimal,
}

impl ModelProfile {
    /// Taker fee of an instrument's kind.
    pub const fn taker(&self, kind: InstKind) -> Decimal {
        match kind {
            InstKind::Spot => self.spot_fees[0],
            InstKind::Swap => self.swap_fees[0],
        }
    }
    const fn maker(&self, kind: InstKind) -> Decimal {
        match kind {
            InstKind::Spot => self.spot_fees[1],
            InstKind::Swap => self.swap_fees[1],
        }
    }
    /// Returns the profile's capital.
    pub fn sleeve(&self, equity: Usd) -> Decimal {
        (equity.0 * self.share).round_dp(8)
    }
}

/// Everything a prompt is made of.
pub struct PromptFacts<'a> {
    pub now: Ms,
    pub trigger: &'a str,
    pub last_decision: Option<Ms>,
    /// The one asked about; `None`: all of the profile's.
    pub symbol: Option<&'a InstId>,
    pub profile: &'a ModelProfile,
    pub market: &'a MarketView,
    pub account: &'a AccountView,
    pub orders: &'a OrdersView,
    /// Unit value of the account, now and in the past.
    pub book: &'a EquityBook,
    pub plans: &'a BTreeMap<InstId, TradePlan>,
    pub extras: &'a BTreeMap<InstId, Extras>,
    pub history: &'a [ClosedTrade],
    pub opens_today: u32,
    pub turnover_today: Decimal,
    pub llm_cost_today: Decimal,
    /// True if opening is not allowed: budget, breaker, halt.
    pub close_only: bool,
}

/// Returns the answers allowed for a symbol.
pub fn allowed(
    mode: AnswerMode,
    kind: InstKind,
    held: Decimal,
    may_open: bool,
) -> Vec<&'static str> {
    let mut out = Vec::new();
    if held.is_zero() {
        if may_open {
            out.push("open_long");
            if kind == InstKind::Swap {
                out.push("open_short");
            }
        }
        out.push("hold");
    } else {
        out.extend(["hold", "close"]);
        if mode == AnswerMode::Single {
            out.push("tighten_stop");
        } else if may_open {
            out.push("resize");
        }
    }
    out
}

/// Puts the data together and seals it.
pub fn build(facts: &PromptFacts<'_>) -> Contract {
    let profile = facts.profile;
    let shown: Vec<&InstId> = profile
        .instruments
        .iter()
        .filter(|inst| facts.symbol.is_none_or(|only| only == *inst))
        .collect();
    let mut missing = Vec::new();
    let kinds: BTreeMap<&InstId, InstKind> = shown
        .iter()
        .filter_map(|inst| Some((*inst, facts.market.insts.get(*inst)?.instrument.kind)))
        .collect();
    let held = |inst: &InstId| held(facts.orders, facts.market, &profile.id, inst);
    let may_open = !facts.close_only && facts.opens_today < profile.limits.opens_per_day;
    let bps = |share: Decimal| (share * Decimal::from(10_000)).round_dp(3).normalize();
    let market: BTreeMap<InstId, MarketData> = shown
        .iter()
        .map(|inst| ((*inst).clone(), market_data(facts, inst, &mut missing)))
        .collect();
    let sleeve = profile.sleeve(facts.account.equity);
    let book = facts.book;
    let known = !book.units.is_zero();
    let percent = |share: Option<Decimal>| {
        share.map(|share| (share * Decimal::ONE_HUNDRED).round_dp(3).normalize())
    };
    let data = PromptData {
        meta: Meta {
            schema: SCHEMA.to_owned(),
            snap: String::new(),
            as_of_ms: facts.now,
            trigger: facts.trigger.to_owned(),
            minutes_since_last_decision: facts
                .last_decision
                .map(|at| facts.now.since(at).0 / 60_000),
            symbol: facts.symbol.cloned(),
        },
        costs: CostData {
            taker_bps: kinds
                .iter()
                .map(|(inst, kind)| ((*inst).clone(), bps(profile.taker(*kind))))
                .collect(),
            maker_bps: kinds
                .iter()
                .map(|(inst, kind)| ((*inst).clone(), bps(profile.maker(*kind))))
                .collect(),
            est_slippage_bps: market
                .iter()
                .filter_map(|(inst, m)| {
                    Some((
                        inst.clone(),
                        (m.spread_bps? / Decimal::TWO).round_dp(3).normalize(),
                    ))
                })
                .collect(),
            llm_cost_today_usd: facts.llm_cost_today.normalize(),
            fees_today_usd: (-facts.orders.tally.fees_of(&profile.id, facts.now))
                .round_dp(4)
                .normalize(),
            turnover_today_times_sleeve: facts
                .turnover_today
                .checked_div(sleeve)
                .unwrap_or_default()
                .round_dp(3)
                .normalize(),
        },
        limits: LimitData {
            max_risk_per_trade_pct: (profile.limits.risk_per_trade * Decimal::ONE_HUNDRED)
                .normalize(),
            risk_budget_pct: (profile.limits.risk_budget * Decimal::ONE_HUNDRED).normalize(),
            max_leverage: profile.limits.leverage.normalize(),
            max_correlated_exposure: profile.limits.cluster.normalize(),
            max_positions: profile.limits.positions,
            max_gross_exposure: profile.limits.gross_exposure.normalize(),
            daily_loss_left_usd: known.then(|| {
                let least = book.open * (Decimal::ONE - profile.limits.daily_loss);
                ((book.nav - least) * book.units)
                    .max(Decimal::ZERO)
                    .round_dp(2)
                    .normalize()
            }),
            min_reward_risk: profile.limits.reward_risk.normalize(),
            atr_tf: profile.bar.okx().to_owned(),
            atr14_px: kinds
                .keys()
                .map(|inst| {
                    let shown = facts.market.insts.get(*inst);
                    let range = shown.and_then(|shown| atr(shown.history(profile.bar)));
                    (
                        (*inst).clone(),
                        range.map(|range| range.round_dp(8).normalize()),
                    )
                })
                .collect(),
            stop_atr: profile.limits.stop_atr,
            target_atr_max: profile.limits.target_atr,
            opens_left_today: profile
                .limits
                .opens_per_day
                .saturating_sub(facts.opens_today),
            allowed: kinds
                .iter()
                .map(|(inst, kind)| {
                    let words = allowed(profile.mode, *kind, held(inst), may_open);
                    (
                        (*inst).clone(),
                        words.into_iter().map(str::to_owned).collect(),
                    )
                })
                .collect(),
        },
        account: Account {
            equity_usd: facts.account.equity.0.round_dp(2).normalize(),
            available_margin_usd: facts.account.available.0.round_dp(2).normalize(),
            used_margin_pct: percent(
                facts
                    .account
                    .available
                    .0
                    .checked_div(facts.account.equity.0)
                    .map(|free| Decimal::ONE - free),
            ),
            return_since_start_pct: percent(known.then(|| book.nav - Decimal::ONE)),
            drawdown_pct: percent(
                book.nav
                    .checked_div(book.peak)
                    .filter(|_| known)
                    .map(|share| Decimal::ONE - share),
            ),
            sleeve_usd: sleeve.round_dp(2).normalize(),
            as_of_ms: facts.account.as_of,
        },
        positions: shown
            .iter()
            .filter_map(|inst| position(facts, inst, &mut missing))
            .collect(),
        orders: orders(facts, &shown),
        series: shown
            .iter()
            .filter_map(|inst| {
                let shown = facts.market.insts.get(*inst)?;
                let of = |(bar, s): (&Bar, &crate::domain::Series)| {
                    (
                        bar.okx().to_owned(),
                        series(s.candles(), *bar, &shown.instrument),
                    )
                };
                Some(((*inst).clone(), shown.series.iter().map(of).collect()))
            })
            .collect(),
        benchmark: benchmark(facts),
        history: facts.history.to_vec(),
        market,
        missing: {
            missing.sort();
            missing.dedup();
            missing
        },
    };
    Contract::seal(data)
}

fn market_data(facts: &PromptFacts<'_>, inst: &InstId, missing: &mut Vec<String>) -> MarketData {
    let shown = facts.market.insts.get(inst);
    let quote = shown.and_then(|shown| shown.quote);
    if quote.is_none() {
        missing.push(format!("market.{inst}: no quote"));
    }
    let known = facts.extras.get(inst).cloned().unwrap_or_default();
    if known.depth_usd.is_none() {
        missing.push(format!("market.{inst}.depth_usd: not read yet"));
    }
    let is_swap = shown.is_some_and(|shown| shown.instrument.kind == InstKind::Swap);
    if is_swap && known.funding_rate.is_none() {
        missing.push(format!("market.{inst}.funding_rate_bps: not read yet"));
    }
    if is_swap && known.open_interest_usd.is_none() {
        missing.push(format!("market.{inst}.open_interest_usd: not read yet"));
    }
    if is_swap && known.open_interest_24h.is_none() {
        missing.push(format!(
            "market.{inst}.open_interest_24h_pct: followed for less than a day"
        ));
    }
    let bps = |share: Decimal| (share * Decimal::from(10_000)).round_dp(3).normalize();
    MarketData {
        last: quote.map(|quote| quote.last),
        mark: shown.and_then(|shown| shown.mark).map(|(price, _)| price),
        mid: quote.map(|quote| Price(quote.mid().0.normalize())),
        spread_bps: quote
            .and_then(|q| (q.ask.0 - q.bid.0).checked_div(q.mid().0))
            .map(bps),
        depth_usd: known.depth_usd.map(|usd| usd.round_dp(0).normalize()),
        funding_rate_bps: known.funding_rate.map(bps),
        next_funding_ms: known.next_funding,
        open_interest_usd: known
            .open_interest_usd
            .map(|usd| usd.round_dp(0).normalize()),
        open_interest_24h_pct: known
            .open_interest_24h
            .map(|share| (share * Decimal::ONE_HUNDRED).round_dp(2).normalize()),
        data_age_ms: quote.map(|quote| facts.now.since(quote.at).0),
    }
}

/// Returns the price a position is valued at: the venue's mark price, else the mid.
pub fn mark(market: &MarketView, inst: &InstId) -> Option<Price> {
    market.insts.get(inst)?.mark_or_mid()
}

fn position(
    facts: &PromptFacts<'_>,
    inst: &InstId,
    missing: &mut Vec<String>,
) -> Option<PositionData> {
    let key = (facts.profile.id.clone(), inst.clone());
    let holding = facts
        .orders
        .holdings
        .get(&key)
        .filter(|_| !held(facts.orders, facts.market, &facts.profile.id, inst).is_zero())?;
    let instrument = &facts.market.insts.get(inst)?.instrument;
    let plan = facts.plans.get(inst);
    let mark = mark(facts.market, inst);
    let guard = facts.orders.guards.get(&key);
    // The venue pays on the net of all: whose it is can be said only of one who holds it alone.
    let alone = facts.orders.net(inst) == holding.qty.0 && !facts.orders.foreign.contains_key(inst);
    let funding = plan
        .and_then(|plan| plan.funding_before)
        .filter(|_| alone)
        .map(|before| {
            let now = facts.account.funding.get(inst).copied().unwrap_or_default();
            (before - now).round_dp(4).normalize()
        });
    if funding.is_none() && instrument.kind == InstKind::Swap {
        missing.push(format!(
            "positions.{inst}.funding_paid_usd: the position is shared, or older than its plan"
        ));
    }
    Some(PositionData {
        symbol: inst.clone(),
        side: if holding.qty.0 > Decimal::ZERO {
            "long"
        } else {
            "short"
        }
        .to_owned(),
        contracts: holding.qty.abs(),
        notional_usd: mark
            .and_then(|px| instrument.notional(holding.qty, px))
            .map(|usd| usd.0.round_dp(2).normalize()),
        entry_px: Price(
            holding
                .average
                .0
                .round_dp(instrument.tick.0.scale() + 2)
                .normalize(),
        ),
        mark_px: mark,
        upnl_usd: mark.map(|px| holding.unrealised(instrument, px).0.round_dp(2).normalize()),
        upnl_r: mark.zip(plan).and_then(|(px, plan)| plan.r_at(px)),
        liq_px: facts
            .account
            .positions
            .get(inst)
            .and_then(|held| held.liquidation),
        stop_px: plan
            .map(|plan| plan.stop)
            .or_else(|| guard.and_then(|guard| guard.trigger)),
        target_px: plan.and_then(|plan| plan.target),
        opened_ms: plan.map(|plan| plan.opened),
        held_min: plan.map(|plan| facts.now.since(plan.opened).0 / 60_000),
        funding_paid_usd: funding,
        thesis: plan.map(|plan| plan.thesis.chars().take(THESIS).collect()),
        invalidation: plan.and_then(|plan| plan.invalidation.clone()),
    })
}

fn orders(facts: &PromptFacts<'_>, shown: &[&InstId]) -> Vec<OrderData> {
    let word = |side: Side| side.as_str().to_owned();
    let ours = facts
        .orders
        .open
        .values()
        .filter(|o| o.contender == facts.profile.id && shown.contains(&&o.inst));
    let stops = facts
        .orders
        .stops
        .iter()
        .filter(|s| s.stop.contender == facts.profile.id && shown.contains(&&s.stop.inst));
    let mut out: Vec<OrderData> = ours
        .map(|order| OrderData {
            symbol: order.inst.clone(),
            kind: "order".to_owned(),
            side: word(order.side),
            px: order.limit,
            contracts: Some(order.leaves),
            age_s: Some(facts.now.since(order.created_at).0 / 1000),
        })
        .collect();
    out.extend(
        stops
            .filter(|shown| shown.phase == StopPhase::Live)
            .map(|shown| OrderData {
                symbol: shown.stop.inst.clone(),
                kind: "stop".to_owned(),
                side: word(shown.stop.side),
                px: Some(shown.stop.trigger),
                contracts: shown.stop.qty,
                age_s: None,
            }),
    );
    out
}

fn benchmark(facts: &PromptFacts<'_>) -> Option<Benchmark> {
    let (inst, shown) = facts
        .market
        .insts
        .iter()
        .find(|(_, shown)| shown.instrument.base == "BTC")?;
    let over = |span: i64| {
        // By the longest bars that can tell.
        shown
            .series
            .iter()
            .rev()
            .find_map(|(bar, s)| past_return(s.candles(), *bar, span))
    };
    Some(Benchmark {
        symbol: inst.clone(),
        return_1h_pct: over(3_600_000),
        return_24h_pct: over(86_400_000),
        return_7d_pct: over(7 * 86_400_000),
    })
}
