//! Checks that only concern risk that is taken on: prices, reward for the risk, size, and whether
//! it is still in time. Pure.
//!
//! An entry of a model carries until when, and how near to its price, it is valid: gate and
//! executor check at each try, so a moved or repeated order is never a chase; what rests does not
//! outlive it.

use rust_decimal::Decimal;

use super::super::answer::AnswerMode;
use super::super::code::Code;
use super::super::parse::{AnswerItem, RefusedAnswer, Want};
use super::super::plan::{THESIS, TradePlan, holds, timeframe};
use super::super::series::atr;
use super::{ItemEffect, Moment, Taken, behind, cluster, instrument, refuse, toward};
use crate::domain::{Bps, GoodFor, InstKind, Instrument, Ms, Price, Qty};

/// An entry, or another size of what is held.
pub(super) fn enter(
    moment: &Moment<'_>,
    item: &AnswerItem,
    (long, risk, held): (bool, Decimal, Decimal),
    taken: &mut Taken,
) -> Result<ItemEffect, RefusedAnswer> {
    let (profile, limits) = (moment.profile, &moment.profile.limits);
    let (inst, mark) = instrument(moment, &item.inst)?;
    if !long && inst.kind == InstKind::Spot {
        return refuse(Code::NotAllowed, "spot has no short side");
    }
    let Some(stop) = item.stop else {
        return refuse(Code::StopMissing, "stop_px is null");
    };
    let levels = prices(moment, item, inst, (long, stop, mark))?;
    believed(moment, item)?;
    let known = moment
        .plans
        .get(&item.inst)
        .filter(|plan| !held.is_zero() && plan.long == long);
    if let Some(plan) = known.filter(|plan| {
        if long {
            levels.stop < plan.stop
        } else {
            levels.stop > plan.stop
        }
    }) {
        return refuse(
            Code::StopLooser,
            format!("stop {} is looser than {}", levels.stop, plan.stop),
        );
    }
    let rate = round_trip(moment, inst);
    // What is lost on the way in and out, per unit.
    let costs = mark.0 * rate;
    let risked = (mark.0 - levels.stop.0).abs() + costs;
    let mut note = String::new();
    if let Some(target) = levels.target {
        let funding = mark.0 * funding(moment, item, long);
        let ratio = ((target.0 - mark.0).abs() - costs - funding) / (risked + funding);
        // Told and not acted on: what a model believes is worth nothing until it is known to be
        // calibrated.
        if let Some(p) = item.p_target_first {
            let expected = (p * ratio - (Decimal::ONE - p)).round_dp(2).normalize();
            note = format!("by its own probability it expects {expected} of what it risks");
        }
        if ratio < limits.reward_risk {
            let (ratio, least) = (
                ratio.round_dp(2).normalize(),
                limits.reward_risk.normalize(),
            );
            return refuse(
                Code::RewardRisk,
                format!("{ratio} times the risk after costs; at least {least}"),
            );
        }
    }
    let sleeve = profile.sleeve(moment.account.equity);
    let leverage = if inst.kind == InstKind::Spot {
        limits.leverage.min(Decimal::ONE)
    } else {
        limits.leverage
    };
    let others: Decimal = taken
        .positions
        .iter()
        .filter(|(other, _)| **other != item.inst)
        .map(|(_, usd)| usd.abs())
        .sum();
    let room = (sleeve * leverage - others).max(Decimal::ZERO);
    let worth = (sleeve * risk * mark.0 / risked)
        .min(room)
        .min(limits.position_usd);
    let slot = sleeve / Decimal::from(profile.instruments.len().max(1));
    let share = worth.checked_div(slot).unwrap_or_default() * Decimal::from(10_000);
    let bps = i32::try_from(share.trunc()).unwrap_or(i32::MAX);
    let qty = inst.size_for(crate::domain::Usd(worth), mark);
    if bps < 1 || qty < inst.min_size {
        return refuse(
            Code::TooSmall,
            format!(
                "{} USD is less than the smallest order",
                worth.round_dp(2).normalize()
            ),
        );
    }
    let signed = if long { worth } else { -worth };
    if let Some(kept) = known.and_then(|_| kept_as_it_is(inst, (held, mark), (signed, rate))) {
        let plan = known.map(|known| TradePlan {
            stop: levels.stop,
            target: levels.target,
            horizon_min: item.horizon_min,
            p_target_first: item.p_target_first,
            invalidation: item.invalidation.clone(),
            ..known.clone()
        });
        return Ok(ItemEffect {
            plan,
            tightened: Some(levels.stop),
            note: kept,
            ..ItemEffect::default()
        });
    }
    let adds = held.abs() < qty.0;
    let good_for = if adds {
        deep_enough(moment, item, worth)?;
        may_open(moment, item, taken, held)?;
        cluster::bearable(moment, taken, (&item.inst, signed), sleeve)?;
        Some(in_time(moment, item, mark)?)
    } else {
        None
    };
    let risk_usd = (worth * risked / mark.0).round_dp(8).normalize();
    if matches!(item.want, Want::Weight(_)) {
        let others: Decimal = taken
            .risks
            .iter()
            .filter(|(other, _)| **other != item.inst)
            .map(|(_, usd)| *usd)
            .sum();
        let budget = sleeve * limits.risk_budget;
        if adds && others + risk_usd > budget {
            let (others, budget) = (
                others.round_dp(2).normalize(),
                budget.round_dp(2).normalize(),
            );
            return refuse(
                Code::RiskSize,
                format!("with {others} USD at risk in what is kept it is more than {budget}"),
            );
        }
    }
    if held.is_zero() {
        taken.opened += 1;
    }
    taken.positions.insert(item.inst.clone(), signed);
    taken.risks.insert(item.inst.clone(), risk_usd);
    let plan = TradePlan {
        contender: profile.id.clone(),
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
        thesis: item.reason.chars().take(THESIS).collect(),
        opened: known.map_or(moment.now, |plan| plan.opened),
        risk_usd,
        worth_usd: worth.round_dp(8).normalize(),
        funding_before: match known {
            Some(plan) => plan.funding_before,
            None => Some(
                moment
                    .account
                    .funding
                    .get(&item.inst)
                    .copied()
                    .unwrap_or_default(),
            ),
        },
        leaving: None,
    };
    let target = Some(Bps(if long { bps } else { -bps }));
    Ok(ItemEffect {
        target,
        stop: Some(levels.stop),
        plan: Some(plan),
        good_for,
        note,
        ..ItemEffect::default()
    })
}

/// Returns the cost of entry and exit as a share of value: the taker fee twice, and the spread.
pub(super) fn round_trip(moment: &Moment<'_>, inst: &Instrument) -> Decimal {
    let quote = moment
        .market
        .insts
        .get(&inst.id)
        .and_then(|shown| shown.quote);
    let spread = quote
        .and_then(|q| (q.ask.0 - q.bid.0).checked_div(q.mid().0))
        .unwrap_or_default();
    moment.profile.taker(inst.kind) * Decimal::TWO + spread
}

/// Returns the funding paid for holding the position over its horizon, as a share of value, if the
/// rate stays; never negative. Funding falls due at `next_funding` and at each interval after: the
/// venue's, or eight hours, OKX's most common, if the venue names none.
fn funding(moment: &Moment<'_>, item: &AnswerItem, long: bool) -> Decimal {
    const EVERY: Ms = Ms(8 * 3_600_000);
    let Some(known) = moment.extras.get(&item.inst) else {
        return Decimal::ZERO;
    };
    let (Some(rate), Some(next), Some(minutes)) =
        (known.funding_rate, known.next_funding, item.horizon_min)
    else {
        return Decimal::ZERO;
    };
    let left = moment
        .now
        .plus(Ms(i64::from(minutes) * 60_000))
        .since(next)
        .0;
    let every = known.funding_every.unwrap_or(EVERY).0.max(1);
    let times = if left < 0 { 0 } else { left / every + 1 };
    // Longs pay shorts where the rate is positive.
    let paid = if long { rate } else { -rate };
    (paid * Decimal::from(times)).max(Decimal::ZERO)
}

/// Returns a note if the change is too small to pay for itself: less than a twentieth of the
/// position, or less than three times its round trip.
pub(super) fn kept_as_it_is(
    inst: &Instrument,
    (held, mark): (Decimal, Price),
    (wanted, rate): (Decimal, Decimal),
) -> Option<String> {
    let worth = inst.notional(Qty(held.abs()), mark)?.0;
    let change = (wanted.abs() - worth).abs();
    let band = wanted.abs() * Decimal::new(5, 2).max(rate * Decimal::from(3));
    let shown = |usd: Decimal| usd.round_dp(2).normalize();
    (change < band).then(|| {
        format!(
            "kept: a change of {} USD is less than {}",
            shown(change),
            shown(band)
        )
    })
}

/// The book must hold some times what is taken from it. One that is not known is not deep.
fn deep_enough(
    moment: &Moment<'_>,
    item: &AnswerItem,
    worth: Decimal,
) -> Result<(), RefusedAnswer> {
    let times = moment.profile.limits.depth_times;
    if times.is_zero() {
        return Ok(());
    }
    match moment
        .extras
        .get(&item.inst)
        .and_then(|read| read.depth_usd)
    {
        None => refuse(Code::Depth, "how deep the book is has not been read yet"),
        Some(depth) if depth < times * worth => {
            let (depth, worth) = (depth.round_dp(0), worth.round_dp(0));
            refuse(
                Code::Depth,
                format!("{depth} USD within 10 bps for an order of {worth}"),
            )
        }
        Some(_) => Ok(()),
    }
}

struct Levels {
    stop: Price,
    target: Option<Price>,
}

/// Sides and distances of stop and target.
fn prices(
    moment: &Moment<'_>,
    item: &AnswerItem,
    inst: &Instrument,
    (long, stop, mark): (bool, Decimal, Price),
) -> Result<Levels, RefusedAnswer> {
    let (profile, limits) = (moment.profile, &moment.profile.limits);
    let stop = toward(inst, long, stop);
    behind(moment, item, (long, stop, mark))?;
    let Some(atr) = moment
        .market
        .insts
        .get(&item.inst)
        .and_then(|shown| atr(shown.history(profile.bar)))
    else {
        return refuse(Code::NoMarket, "no average true range yet");
    };
    // A range that is next to nothing measures nothing.
    let away = |price: Price| {
        let ranges = (price.0 - mark.0)
            .abs()
            .checked_div(atr)
            .filter(|ranges| *ranges < Decimal::from(1_000_000_000));
        ranges.map_or(Decimal::from(1_000_000_000), |ranges| {
            ranges.round_dp(2).normalize()
        })
    };
    let [least, most] = limits.stop_atr;
    if away(stop) < least || away(stop) > most {
        let shown = away(stop);
        return refuse(
            Code::StopDistance,
            format!("stop is {shown} average true ranges away; {least} to {most}"),
        );
    }
    if let Some(liquidation) = moment
        .account
        .positions
        .get(&item.inst)
        .and_then(|held| held.liquidation)
    {
        // Half a percent before it, or the venue is first.
        let near = liquidation.0 * Decimal::new(5, 3);
        let reached = if long {
            stop.0 <= liquidation.0 + near
        } else {
            stop.0 >= liquidation.0 - near
        };
        if reached && (liquidation < mark) == long {
            return refuse(
                Code::StopLiquidation,
                format!("liquidated at {liquidation} before stop {stop}"),
            );
        }
    }
    let Some(target) = item.target else {
        return match profile.mode {
            AnswerMode::Single => refuse(Code::TargetMissing, "target_px is null"),
            AnswerMode::Portfolio => Ok(Levels { stop, target: None }),
        };
    };
    let target = toward(inst, !long, target);
    if !is_beyond(long, target, mark) {
        return refuse(
            Code::TargetSide,
            format!("target {target} is not beyond the mark {mark}"),
        );
    }
    if away(target) > limits.target_atr {
        let (shown, most) = (away(target), limits.target_atr);
        return refuse(
            Code::TargetFar,
            format!("target is {shown} average true ranges away; at most {most}"),
        );
    }
    Ok(Levels {
        stop,
        target: Some(target),
    })
}

/// True if a target is on the winning side of the price.
pub(super) fn is_beyond(long: bool, target: Price, mark: Price) -> bool {
    target > Price::ZERO && if long { target > mark } else { target < mark }
}

/// Checks that the probability to be scored and the condition to be watched are usable.
fn believed(moment: &Moment<'_>, item: &AnswerItem) -> Result<(), RefusedAnswer> {
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
    let Some(condition) = &item.invalidation else {
        return Ok(());
    };
    let Some(shown) = moment.market.insts.get(&item.inst) else {
        return Ok(());
    };
    let Some(bar) = timeframe(&condition.tf, shown.series.keys().copied()) else {
        return refuse(
            Code::Predicate,
            format!("no series of {:.20}", condition.tf),
        );
    };
    match holds(condition, shown.history(bar)) {
        true => refuse(Code::Predicate, "it holds already"),
        false => Ok(()),
    }
}

fn may_open(
    moment: &Moment<'_>,
    item: &AnswerItem,
    taken: &Taken,
    held: Decimal,
) -> Result<(), RefusedAnswer> {
    let (profile, limits) = (moment.profile, &moment.profile.limits);
    if let Some(why) = moment.close_only {
        return refuse(Code::CloseOnly, why);
    }
    if held.is_zero() {
        let open = taken.positions.len();
        if open >= limits.positions as usize {
            return refuse(
                Code::MaxPositions,
                format!("{open} are open; at most {}", limits.positions),
            );
        }
        if moment.opens_today + taken.opened >= limits.opens_per_day {
            return refuse(Code::OpensPerDay, format!("{} a day", limits.opens_per_day));
        }
    }
    let lost = moment
        .orders
        .tally
        .of(&profile.id, &item.inst)
        .and_then(|counts| counts.last_loss);
    match lost.filter(|at| moment.now.since(*at) < limits.cooldown) {
        Some(at) => refuse(
            Code::Cooldown,
            format!(
                "a trade was closed at a loss {} s ago",
                moment.now.since(at).0 / 1000
            ),
        ),
        None => Ok(()),
    }
}

/// Not thought of too long ago, and not too far from here. What holds now holds until it leaves.
fn in_time(moment: &Moment<'_>, item: &AnswerItem, mark: Price) -> Result<GoodFor, RefusedAnswer> {
    let limits = &moment.profile.limits;
    let as_of = moment.asked.data.meta.as_of_ms;
    let age = moment.now.since(as_of);
    if age > limits.ttl {
        return refuse(
            Code::Stale,
            format!("thought of {} ms ago; at most {}", age.0, limits.ttl.0),
        );
    }
    let asked = moment
        .asked
        .data
        .market
        .get(&item.inst)
        .and_then(|shown| shown.mark.or(shown.mid).or(shown.last));
    let Some(asked) = asked.filter(|asked| *asked > Price::ZERO) else {
        return refuse(Code::NoMarket, "it was shown no price");
    };
    let moved = ((mark.0 - asked.0).abs() / asked.0 * Decimal::from(10_000))
        .round_dp(1)
        .normalize();
    let most = item
        .deviation_bps
        .unwrap_or(limits.deviation_bps)
        .min(limits.deviation_bps);
    if moved > Decimal::from(most) {
        return refuse(
            Code::Moved,
            format!("the mark has moved {moved} bps since; at most {most}"),
        );
    }
    Ok(GoodFor {
        until: as_of.plus(limits.ttl),
        price: asked,
        within: Bps(i32::from(most)),
    })
}
