//! What of an answer is acted on: each item for itself, what takes risk off first. Pure.
//!
//! The gate judges what comes of it again, by its own rules; here stands what only makes sense for an idea with a stop and a
//! target: sides, distances, what is earned for what is risked, and whether the moment it was thought in is over.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::answer::Mode;
use super::code::Code;
use super::parse::{Item, Refused, Want};
use super::plan::{Plan, held, holds, timeframe, works};
use super::prompt::{Arm, Contract, atr, mark};
use crate::domain::record::Proposal;
use crate::domain::{
    AccountView, Bps, Extras, InstId, InstKind, Instrument, MarketView, Ms, OrdersView, Price, Qty, RunId,
};

/// The moment an answer is judged in.
pub struct Moment<'a> {
    pub now: Ms,
    pub run_id: RunId,
    pub arm: &'a Arm,
    /// What the model was shown.
    pub asked: &'a Contract,
    pub market: &'a MarketView,
    pub account: &'a AccountView,
    pub orders: &'a OrdersView,
    pub plans: &'a BTreeMap<InstId, Plan>,
    pub extras: &'a BTreeMap<InstId, Extras>,
    pub opens_today: u32,
    /// Why nothing may open.
    pub close_only: Option<&'a str>,
}

/// What became of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub item: Item,
    pub code: Code,
    pub detail: String,
    /// What goes to the allocator: the target, or nothing.
    pub proposal: Proposal,
    /// What is watched from now on, if it opens.
    pub plan: Option<Plan>,
    /// Where the stop is to be from now on.
    pub tightened: Option<Price>,
}

impl Item {
    /// What it asks for, in one word.
    pub const fn action(&self) -> &'static str {
        match &self.want {
            Want::Hold => "hold",
            Want::Close => "close",
            Want::TightenStop => "tighten_stop",
            Want::Open { long: true, .. } => "open_long",
            Want::Open { long: false, .. } => "open_short",
            Want::Weight(_) => "weight",
        }
    }
}

/// Judges all items of an answer.
pub fn judge(moment: &Moment<'_>, mut items: Vec<Item>) -> Vec<Verdict> {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<InstId> =
        items.iter().filter(|item| !seen.insert(item.inst.clone())).map(|item| item.inst.clone()).collect();
    let rank = |item: &Item| match item.want {
        Want::Close => 0,
        Want::TightenStop | Want::Hold => 1,
        Want::Open { .. } | Want::Weight(_) => 2,
    };
    items.sort_by_key(rank);
    let mut taken = Taken::of(moment);
    let mut out = Vec::new();
    for item in items {
        let judged = if twice.contains(&item.inst) {
            Err(Refused::new(Code::SymbolTwice, "listed more than once"))
        } else {
            one(moment, &item, &mut taken)
        };
        out.push(verdict(moment, item, judged));
    }
    out
}

/// What an accepted item leads to.
#[derive(Default)]
struct Move {
    target: Option<Bps>,
    stop: Option<Price>,
    plan: Option<Plan>,
    tightened: Option<Price>,
}

fn verdict(moment: &Moment<'_>, item: Item, judged: Result<Move, Refused>) -> Verdict {
    let (code, detail, done) = match judged {
        Ok(done) => (Code::Accepted, String::new(), done),
        Err(refused) => (refused.code, refused.detail, Move::default()),
    };
    let said: String = item.reason.chars().take(200).collect();
    let proposal = Proposal {
        contender: moment.arm.id.clone(),
        inst: item.inst.clone(),
        target: done.target,
        stop: done.stop,
        reason: match code {
            Code::Accepted => format!("{}: {said}", item.action()),
            _ => format!("{} refused: {code} {detail}", item.action()),
        },
    };
    Verdict { item, code, detail, proposal, plan: done.plan, tightened: done.tightened }
}

/// What the arm has open or on its way, and what this answer has opened so far.
struct Taken {
    /// Dollars in each position.
    positions: BTreeMap<InstId, Decimal>,
    /// Dollars at risk in each.
    risks: BTreeMap<InstId, Decimal>,
    /// Opened by this answer, and by earlier ones that nothing has been bought on yet.
    opened: u32,
}

impl Taken {
    fn of(moment: &Moment<'_>) -> Self {
        let arm = &moment.arm.id;
        let mut taken = Self { positions: BTreeMap::new(), risks: BTreeMap::new(), opened: 0 };
        for inst in &moment.arm.instruments {
            let qty = held(moment.orders, moment.market, arm, inst);
            let plan = moment.plans.get(inst);
            let worth = || {
                let instrument = &moment.market.insts.get(inst)?.instrument;
                mark(moment.market, inst).and_then(|px| instrument.notional(Qty(qty), px)).map(|usd| usd.0)
            };
            let pending = qty.is_zero() && (plan.is_some() || works(moment.orders, arm, inst));
            if qty.is_zero() && !pending {
                continue;
            }
            // What is on its way counts as if it were there.
            let expected = plan.map_or(Decimal::ZERO, |plan| plan.worth_usd);
            taken
                .positions
                .insert(inst.clone(), worth().unwrap_or_default().max(if pending { expected } else { Decimal::ZERO }));
            taken.risks.insert(inst.clone(), plan.map_or(Decimal::ZERO, |plan| plan.risk_usd));
            taken.opened += u32::from(pending);
        }
        taken
    }
}

fn refuse<T>(code: Code, detail: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::new(code, detail))
}

fn one(moment: &Moment<'_>, item: &Item, taken: &mut Taken) -> Result<Move, Refused> {
    let arm = moment.arm;
    let about = moment.asked.data.meta.symbol.as_ref();
    if !arm.instruments.contains(&item.inst) || about.is_some_and(|only| *only != item.inst) {
        return refuse(Code::UnknownSymbol, format!("{:.40} was not asked about", item.inst.as_str()));
    }
    let held = held(moment.orders, moment.market, &arm.id, &item.inst);
    if !matches!(item.want, Want::Hold | Want::Close) {
        unchanged(moment, item, held)?;
    }
    match item.want {
        Want::Hold => Ok(Move::default()),
        Want::Close if held.is_zero() => refuse(Code::ActionState, "nothing is held"),
        Want::Close => {
            taken.positions.remove(&item.inst);
            taken.risks.remove(&item.inst);
            Ok(Move { target: Some(Bps(0)), ..Move::default() })
        }
        Want::TightenStop if held.is_zero() => refuse(Code::ActionState, "nothing is held"),
        Want::TightenStop => tighten(moment, item, held),
        Want::Open { .. } if !held.is_zero() => {
            let same = matches!(item.want, Want::Open { long, .. } if long == (held > Decimal::ZERO));
            match same {
                true => refuse(Code::ActionState, format!("{held} is held already")),
                false => refuse(Code::Flip, format!("{held} is held; close it first")),
            }
        }
        Want::Open { long, risk } => {
            if risk <= Decimal::ZERO || risk > arm.limits.risk_per_trade {
                let most = (arm.limits.risk_per_trade * Decimal::ONE_HUNDRED).normalize();
                return refuse(Code::RiskSize, format!("risk_pct must be above 0 and at most {most}"));
            }
            enter(moment, item, (long, risk, held), taken)
        }
        Want::Weight(weight) => {
            let long = weight > Decimal::ZERO;
            if !held.is_zero() && long != (held > Decimal::ZERO) {
                return refuse(Code::Flip, format!("{held} is held; close it first"));
            }
            enter(moment, item, (long, weight.abs() * arm.limits.risk_budget, held), taken)
        }
    }
}

/// An idea belongs to the position it was thought on: what opens, resizes or tightens is not carried over to another one.
fn unchanged(moment: &Moment<'_>, item: &Item, held: Decimal) -> Result<(), Refused> {
    let plan = moment.plans.get(&item.inst);
    if let Some(why) = plan.and_then(|plan| plan.leaving.as_ref()) {
        return refuse(Code::ActionState, format!("it is being left: {why}"));
    }
    let shown = moment.asked.data.positions.iter().find(|position| position.symbol == item.inst);
    let sign = |qty: Decimal| {
        if qty.is_zero() {
            0
        } else if qty.is_sign_negative() {
            -1
        } else {
            1
        }
    };
    let was = shown.map_or(0, |position| if position.side == "short" { -1 } else { 1 });
    if was != sign(held) {
        return refuse(Code::ActionState, "the position is another than was shown");
    }
    // An order that may still fill, or one that the tracker has not heard of yet.
    let pending = works(moment.orders, &moment.arm.id, &item.inst) || (held.is_zero() && plan.is_some());
    if pending && item.want != Want::TightenStop {
        return refuse(Code::Repeated, "an earlier decision about it is still on its way");
    }
    Ok(())
}

fn instrument<'a>(moment: &'a Moment<'_>, inst: &InstId) -> Result<(&'a Instrument, Price), Refused> {
    let shown = moment.market.insts.get(inst);
    let found = shown.filter(|shown| shown.quote.is_some()).zip(mark(moment.market, inst));
    found
        .map(|(shown, px)| (&*shown.instrument, px))
        .ok_or_else(|| Refused::new(Code::NoMarket, "no price to judge it by"))
}

fn tighten(moment: &Moment<'_>, item: &Item, held: Decimal) -> Result<Move, Refused> {
    let (inst, mark) = instrument(moment, &item.inst)?;
    let Some(stop) = item.stop else { return refuse(Code::StopMissing, "stop_px is null") };
    let long = held > Decimal::ZERO;
    let Some(plan) = moment.plans.get(&item.inst).filter(|plan| plan.long == long) else {
        return refuse(Code::ActionState, "what is held is no idea of its own any more");
    };
    let stop = toward(inst, long, stop);
    behind(moment, item, (long, stop, mark))?;
    if if long { stop <= plan.stop } else { stop >= plan.stop } {
        return refuse(Code::StopLooser, format!("stop {stop} is not tighter than {}", plan.stop));
    }
    Ok(Move { tightened: Some(stop), ..Move::default() })
}

/// A stop must be behind every price that could set it off: the mark, the last trade, and the touch it would be sold into.
fn behind(moment: &Moment<'_>, item: &Item, (long, stop, mark): (bool, Price, Price)) -> Result<(), Refused> {
    let quote = moment.market.insts.get(&item.inst).and_then(|shown| shown.quote);
    let near = quote.map_or(mark, |q| if long { mark.min(q.last).min(q.bid) } else { mark.max(q.last).max(q.ask) });
    if stop <= Price::ZERO || (long && stop >= near) || (!long && stop <= near) {
        return refuse(Code::StopSide, format!("stop {stop} is not behind the price {near}"));
    }
    Ok(())
}

/// A stop on the tick that is nearer to the price: never further away than was said.
fn toward(inst: &Instrument, long: bool, stop: Decimal) -> Price {
    if long { inst.ceil_tick(Price(stop)) } else { inst.floor_tick(Price(stop)) }
}

fn enter(
    moment: &Moment<'_>,
    item: &Item,
    (long, risk, held): (bool, Decimal, Decimal),
    taken: &mut Taken,
) -> Result<Move, Refused> {
    let (arm, limits) = (moment.arm, &moment.arm.limits);
    let (inst, mark) = instrument(moment, &item.inst)?;
    if !long && inst.kind == InstKind::Spot {
        return refuse(Code::NotAllowed, "spot has no short side");
    }
    let Some(stop) = item.stop else { return refuse(Code::StopMissing, "stop_px is null") };
    let levels = prices(moment, item, inst, (long, stop, mark))?;
    believed(moment, item)?;
    let known = moment.plans.get(&item.inst).filter(|plan| !held.is_zero() && plan.long == long);
    if let Some(plan) = known.filter(|plan| if long { levels.stop < plan.stop } else { levels.stop > plan.stop }) {
        return refuse(Code::StopLooser, format!("stop {} is looser than {}", levels.stop, plan.stop));
    }
    // What is lost on the way in and out, per unit of price.
    let quote = moment.market.insts.get(&item.inst).and_then(|shown| shown.quote);
    let spread = quote.and_then(|q| (q.ask.0 - q.bid.0).checked_div(q.mid().0)).unwrap_or_default();
    let costs = mark.0 * (arm.taker(inst.kind) * Decimal::TWO + spread);
    let risked = (mark.0 - levels.stop.0).abs() + costs;
    if let Some(target) = levels.target {
        let ratio = ((target.0 - mark.0).abs() - costs) / risked;
        if ratio < limits.reward_risk {
            let (ratio, least) = (ratio.round_dp(2).normalize(), limits.reward_risk.normalize());
            return refuse(Code::RewardRisk, format!("{ratio} times the risk after costs; at least {least}"));
        }
    }
    let sleeve = arm.sleeve(moment.account.equity);
    let leverage = if inst.kind == InstKind::Spot { limits.leverage.min(Decimal::ONE) } else { limits.leverage };
    let others: Decimal = taken.positions.iter().filter(|(other, _)| **other != item.inst).map(|(_, usd)| *usd).sum();
    let room = (sleeve * leverage - others).max(Decimal::ZERO);
    let worth = (sleeve * risk * mark.0 / risked).min(room).min(limits.position_usd);
    let slot = sleeve / Decimal::from(arm.instruments.len().max(1));
    let share = worth.checked_div(slot).unwrap_or_default() * Decimal::from(10_000);
    let bps = i32::try_from(share.trunc()).unwrap_or(i32::MAX);
    let qty = inst.size_for(crate::domain::Usd(worth), mark);
    if bps < 1 || qty < inst.min_size {
        return refuse(
            Code::TooSmall,
            format!("{} USD is less than the smallest order", worth.round_dp(2).normalize()),
        );
    }
    let depth = moment.extras.get(&item.inst).and_then(|read| read.depth_usd);
    if let Some(depth) = depth.filter(|depth| *depth < limits.depth_times * worth) {
        let (depth, worth) = (depth.round_dp(0), worth.round_dp(0));
        return refuse(Code::Depth, format!("{depth} USD within 10 bps for an order of {worth}"));
    }
    let adds = held.abs() < qty.0;
    if adds {
        may_open(moment, item, taken, held)?;
        in_time(moment, item, mark)?;
    }
    let risk_usd = (worth * risked / mark.0).round_dp(8).normalize();
    if matches!(item.want, Want::Weight(_)) {
        let others: Decimal = taken.risks.iter().filter(|(other, _)| **other != item.inst).map(|(_, usd)| *usd).sum();
        let budget = sleeve * limits.risk_budget;
        if adds && others + risk_usd > budget {
            let (others, budget) = (others.round_dp(2).normalize(), budget.round_dp(2).normalize());
            return refuse(
                Code::RiskSize,
                format!("with {others} USD at risk in what is kept it is more than {budget}"),
            );
        }
    }
    if held.is_zero() {
        taken.opened += 1;
    }
    taken.positions.insert(item.inst.clone(), worth);
    taken.risks.insert(item.inst.clone(), risk_usd);
    let plan = Plan {
        contender: arm.id.clone(),
        inst: item.inst.clone(),
        run_id: known.map_or(moment.run_id, |plan| plan.run_id),
        long,
        entry: known.map_or(mark, |plan| plan.entry),
        stop: levels.stop,
        first_stop: known.map_or(levels.stop, |plan| plan.first_stop),
        target: levels.target,
        horizon_min: item.horizon_min,
        p_target_first: item.p_target_first,
        invalidation: item.invalidation.clone(),
        thesis: item.reason.chars().take(super::plan::THESIS).collect(),
        opened: known.map_or(moment.now, |plan| plan.opened),
        risk_usd,
        worth_usd: worth.round_dp(8).normalize(),
        leaving: None,
    };
    let target = Some(Bps(if long { bps } else { -bps }));
    Ok(Move { target, stop: Some(levels.stop), plan: Some(plan), tightened: None })
}

struct Levels {
    stop: Price,
    target: Option<Price>,
}

/// Sides and distances of stop and target.
fn prices(
    moment: &Moment<'_>,
    item: &Item,
    inst: &Instrument,
    (long, stop, mark): (bool, Decimal, Price),
) -> Result<Levels, Refused> {
    let (arm, limits) = (moment.arm, &moment.arm.limits);
    let stop = toward(inst, long, stop);
    behind(moment, item, (long, stop, mark))?;
    let Some(atr) = moment.market.insts.get(&item.inst).and_then(|shown| atr(shown.history(arm.bar))) else {
        return refuse(Code::NoMarket, "no average true range yet");
    };
    let away = |price: Price| ((price.0 - mark.0).abs() / atr).round_dp(2).normalize();
    let [least, most] = limits.stop_atr;
    if away(stop) < least || away(stop) > most {
        let shown = away(stop);
        return refuse(Code::StopDistance, format!("stop is {shown} average true ranges away; {least} to {most}"));
    }
    if let Some(liquidation) = moment.account.positions.get(&item.inst).and_then(|held| held.liquidation) {
        // Half a percent before it, or the venue is first.
        let near = liquidation.0 * Decimal::new(5, 3);
        let reached = if long { stop.0 <= liquidation.0 + near } else { stop.0 >= liquidation.0 - near };
        if reached && (liquidation < mark) == long {
            return refuse(Code::StopLiquidation, format!("liquidated at {liquidation} before stop {stop}"));
        }
    }
    let Some(target) = item.target else {
        return match arm.mode {
            Mode::Single => refuse(Code::TargetMissing, "target_px is null"),
            Mode::Portfolio => Ok(Levels { stop, target: None }),
        };
    };
    let target = toward(inst, !long, target);
    if target <= Price::ZERO || (long && target <= mark) || (!long && target >= mark) {
        return refuse(Code::TargetSide, format!("target {target} is not beyond the mark {mark}"));
    }
    if away(target) > limits.target_atr {
        let (shown, most) = (away(target), limits.target_atr);
        return refuse(Code::TargetFar, format!("target is {shown} average true ranges away; at most {most}"));
    }
    Ok(Levels { stop, target: Some(target) })
}

/// What will be scored and watched must be sayable.
fn believed(moment: &Moment<'_>, item: &Item) -> Result<(), Refused> {
    match (item.p_target_first, item.target) {
        (Some(p), _) if p < Decimal::ZERO || p > Decimal::ONE => {
            return refuse(Code::Probability, format!("p_target_first is {p}; 0 to 1"));
        }
        (None, Some(_)) => return refuse(Code::Probability, "p_target_first is null"),
        (Some(_), Some(_)) if item.horizon_min.is_none_or(|minutes| minutes == 0) => {
            return refuse(Code::Probability, "horizon_min is null or 0");
        }
        _ => {}
    }
    let Some(condition) = &item.invalidation else { return Ok(()) };
    let Some(shown) = moment.market.insts.get(&item.inst) else { return Ok(()) };
    let Some(bar) = timeframe(&condition.tf, shown.series.keys().copied()) else {
        return refuse(Code::Predicate, format!("no series of {:.20}", condition.tf));
    };
    match holds(condition, shown.history(bar)) {
        true => refuse(Code::Predicate, "it holds already"),
        false => Ok(()),
    }
}

fn may_open(moment: &Moment<'_>, item: &Item, taken: &Taken, held: Decimal) -> Result<(), Refused> {
    let (arm, limits) = (moment.arm, &moment.arm.limits);
    if let Some(why) = moment.close_only {
        return refuse(Code::CloseOnly, why);
    }
    if held.is_zero() {
        let open = taken.positions.len();
        if open >= limits.positions as usize {
            return refuse(Code::MaxPositions, format!("{open} are open; at most {}", limits.positions));
        }
        if moment.opens_today + taken.opened >= limits.opens_per_day {
            return refuse(Code::OpensPerDay, format!("{} a day", limits.opens_per_day));
        }
    }
    let lost = moment.orders.tally.of(&arm.id, &item.inst).and_then(|counts| counts.last_loss);
    match lost.filter(|at| moment.now.since(*at) < limits.cooldown) {
        Some(at) => {
            refuse(Code::Cooldown, format!("a trade was closed at a loss {} s ago", moment.now.since(at).0 / 1000))
        }
        None => Ok(()),
    }
}

fn in_time(moment: &Moment<'_>, item: &Item, mark: Price) -> Result<(), Refused> {
    let limits = &moment.arm.limits;
    let age = moment.now.since(moment.asked.data.meta.as_of_ms);
    if age > limits.ttl {
        return refuse(Code::Stale, format!("thought of {} ms ago; at most {}", age.0, limits.ttl.0));
    }
    let asked = moment.asked.data.market.get(&item.inst).and_then(|shown| shown.mark.or(shown.last));
    let Some(asked) = asked.filter(|asked| *asked > Price::ZERO) else {
        return refuse(Code::NoMarket, "it was shown no price");
    };
    let moved = ((mark.0 - asked.0).abs() / asked.0 * Decimal::from(10_000)).round_dp(1).normalize();
    let most = item.deviation_bps.unwrap_or(limits.deviation_bps).min(limits.deviation_bps);
    if moved > Decimal::from(most) {
        return refuse(Code::Moved, format!("the mark has moved {moved} bps since; at most {most}"));
    }
    Ok(())
}
