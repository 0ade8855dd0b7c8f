//! Judgement of which items of an answer are acted on: each item on its own, those that reduce risk
//! first. Pure.
//!
//! The gate judges what comes of it again, by its own rules; here stands what only makes sense for
//! an idea with a stop and a target: sides, distances, what is earned for what is risked, and
//! whether the moment it was thought in is over.
//!
//! What is in flight counts as held: a model's next idea about the same instrument is refused until
//! the last one is bought or forgotten.

mod cluster;
mod enter;
mod reduce;

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::code::Code;
use super::parse::{AnswerItem, RefusedAnswer, Want};
use super::plan::{TradePlan, held, works};
use super::prompt::{Contract, ModelProfile, mark};
use crate::domain::record::Proposal;
use crate::domain::{
    AccountView, Bps, Extras, GoodFor, InstId, Instrument, MarketView, Ms, OrdersView, Price, Qty,
    RunId,
};
use enter::enter;

/// The moment an answer is judged in.
pub struct Moment<'a> {
    pub now: Ms,
    pub run_id: RunId,
    pub profile: &'a ModelProfile,
    /// Contract that the model was shown.
    pub asked: &'a Contract,
    pub market: &'a MarketView,
    pub account: &'a AccountView,
    pub orders: &'a OrdersView,
    pub plans: &'a BTreeMap<InstId, TradePlan>,
    pub extras: &'a BTreeMap<InstId, Extras>,
    pub opens_today: u32,
    /// Why nothing may open.
    pub close_only: Option<&'a str>,
}

/// Result of judging one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemVerdict {
    pub item: AnswerItem,
    pub code: Code,
    pub detail: String,
    /// Proposal for the allocator: the target, or none.
    pub proposal: Proposal,
    /// Plan watched from now on, if the item opens, changes or ends one.
    pub plan: Option<TradePlan>,
    /// Stop price from now on.
    pub tightened: Option<Price>,
}

impl AnswerItem {
    /// Returns the action the item asks for, in one word.
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
pub fn validate(moment: &Moment<'_>, mut items: Vec<AnswerItem>) -> Vec<ItemVerdict> {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<InstId> = items
        .iter()
        .filter(|item| !seen.insert(item.inst.clone()))
        .map(|item| item.inst.clone())
        .collect();
    let rank = |item: &AnswerItem| match item.want {
        Want::Close => 0,
        Want::TightenStop | Want::Hold => 1,
        Want::Weight(_) if reduce::reduction(moment, item).is_some() => 1,
        Want::Open { .. } | Want::Weight(_) => 2,
    };
    items.sort_by_cached_key(rank);
    let mut taken = Taken::of(moment);
    let mut out = Vec::new();
    for item in items {
        let judged = if twice.contains(&item.inst) {
            Err(RefusedAnswer::new(
                Code::SymbolTwice,
                "listed more than once",
            ))
        } else {
            one(moment, &item, &mut taken)
        };
        out.push(verdict(moment, item, judged));
    }
    out
}

/// Why a position is being left that the model has closed.
pub const CLOSED: &str = "closed by the model";

/// Effects of an accepted item.
#[derive(Default)]
struct ItemEffect {
    target: Option<Bps>,
    stop: Option<Price>,
    plan: Option<TradePlan>,
    tightened: Option<Price>,
    good_for: Option<GoodFor>,
    /// Note to report: why the item has no effect, or what it expects.
    note: String,
}

fn verdict(
    moment: &Moment<'_>,
    item: AnswerItem,
    judged: Result<ItemEffect, RefusedAnswer>,
) -> ItemVerdict {
    let (code, detail, done) = match judged {
        Ok(done) => (Code::Accepted, done.note.clone(), done),
        Err(refused) => (refused.code, refused.detail, ItemEffect::default()),
    };
    let said: String = item.reason.chars().take(200).collect();
    let proposal = Proposal {
        contender: moment.profile.id.clone(),
        inst: item.inst.clone(),
        target: done.target,
        stop: done.stop,
        reason: match code {
            Code::Accepted => format!("{}: {said}", item.action()),
            _ => format!("{} refused: {code} {detail}", item.action()),
        },
        good_for: done.good_for,
    };
    ItemVerdict {
        item,
        code,
        detail,
        proposal,
        plan: done.plan,
        tightened: done.tightened,
    }
}

/// Open and in-flight positions of the profile, and those this answer has opened so far.
struct Taken {
    /// Dollars in each position; short is negative.
    positions: BTreeMap<InstId, Decimal>,
    /// Dollars at risk in each.
    risks: BTreeMap<InstId, Decimal>,
    /// Opened by this answer, and by earlier ones that nothing has been bought on yet.
    opened: u32,
}

impl Taken {
    fn of(moment: &Moment<'_>) -> Self {
        let profile = &moment.profile.id;
        let mut taken = Self {
            positions: BTreeMap::new(),
            risks: BTreeMap::new(),
            opened: 0,
        };
        for inst in &moment.profile.instruments {
            let qty = held(moment.orders, moment.market, profile, inst);
            let plan = moment.plans.get(inst);
            let worth = || {
                let instrument = &moment.market.insts.get(inst)?.instrument;
                mark(moment.market, inst)
                    .and_then(|px| instrument.notional(Qty(qty), px))
                    .map(|usd| usd.0)
            };
            let pending = qty.is_zero() && (plan.is_some() || works(moment.orders, profile, inst));
            if qty.is_zero() && !pending {
                continue;
            }
            // What is on its way counts as if it were there.
            let expected = plan
                .filter(|_| pending)
                .map_or(Decimal::ZERO, |plan| plan.worth_usd);
            let worth = worth().unwrap_or_default().abs().max(expected);
            let long = if pending {
                plan.is_none_or(|plan| plan.long)
            } else {
                qty > Decimal::ZERO
            };
            taken
                .positions
                .insert(inst.clone(), if long { worth } else { -worth });
            let planned = plan.map_or(Decimal::ZERO, |plan| plan.risk_usd);
            let held = plan
                .filter(|_| !pending)
                .and_then(|plan| at_risk(moment, plan, qty.abs()));
            // What was planned may not have been done, or not all of it; what is held is there.
            taken.risks.insert(inst.clone(), held.unwrap_or(planned));
            taken.opened += u32::from(pending);
        }
        taken
    }
}

/// Dollars that are lost on what is held of a plan if it ends at its stop, by the price it was
/// bought at, with what it costs to go in and out; nothing where the stop is beyond it.
fn at_risk(moment: &Moment<'_>, plan: &TradePlan, qty: Decimal) -> Option<Decimal> {
    let inst = &moment.market.insts.get(&plan.inst)?.instrument;
    let distance = if plan.long {
        plan.entry.0 - plan.stop.0
    } else {
        plan.stop.0 - plan.entry.0
    };
    let worth = inst.notional(Qty(qty), plan.entry)?.0;
    let lost =
        distance.checked_div(plan.entry.0)?.max(Decimal::ZERO) + enter::round_trip(moment, inst);
    Some((worth * lost).round_dp(8).normalize())
}

fn refuse<T>(code: Code, detail: impl Into<String>) -> Result<T, RefusedAnswer> {
    Err(RefusedAnswer::new(code, detail))
}

fn one(
    moment: &Moment<'_>,
    item: &AnswerItem,
    taken: &mut Taken,
) -> Result<ItemEffect, RefusedAnswer> {
    let profile = moment.profile;
    let about = moment.asked.data.meta.symbol.as_ref();
    if !profile.instruments.contains(&item.inst) || about.is_some_and(|only| *only != item.inst) {
        return refuse(
            Code::UnknownSymbol,
            format!("{:.40} was not asked about", item.inst.as_str()),
        );
    }
    let held = held(moment.orders, moment.market, &profile.id, &item.inst);
    if !matches!(item.want, Want::Hold | Want::Close) {
        unchanged(moment, item, held)?;
    }
    match item.want {
        Want::Hold => Ok(ItemEffect::default()),
        Want::Close if held.is_zero() => refuse(Code::ActionState, "nothing is held"),
        Want::Close => {
            taken.positions.remove(&item.inst);
            taken.risks.remove(&item.inst);
            // An order may fill in part, or be refused at this moment: the daemon goes on with it
            // until nothing is held.
            let leaving = Some(CLOSED.to_owned());
            let plan = moment.plans.get(&item.inst).map(|plan| TradePlan {
                leaving,
                ..plan.clone()
            });
            Ok(ItemEffect {
                target: Some(Bps(0)),
                plan,
                ..ItemEffect::default()
            })
        }
        Want::TightenStop if held.is_zero() => refuse(Code::ActionState, "nothing is held"),
        Want::TightenStop => tighten(moment, item, held),
        Want::Open { .. } if !held.is_zero() => {
            let same =
                matches!(item.want, Want::Open { long, .. } if long == (held > Decimal::ZERO));
            match same {
                true => refuse(Code::ActionState, format!("{held} is held already")),
                false => refuse(Code::Flip, format!("{held} is held; close it first")),
            }
        }
        Want::Open { long, risk } => {
            if risk <= Decimal::ZERO || risk > profile.limits.risk_per_trade {
                let most = (profile.limits.risk_per_trade * Decimal::ONE_HUNDRED).normalize();
                return refuse(
                    Code::RiskSize,
                    format!("risk_pct must be above 0 and at most {most}"),
                );
            }
            enter(moment, item, (long, risk, held), taken)
        }
        Want::Weight(weight) => {
            let long = weight > Decimal::ZERO;
            if !held.is_zero() && long != (held > Decimal::ZERO) {
                return refuse(Code::Flip, format!("{held} is held; close it first"));
            }
            if let Some(smaller) = reduce::reduction(moment, item) {
                return Ok(smaller.made(moment, item, taken));
            }
            enter(
                moment,
                item,
                (long, weight.abs() * profile.limits.risk_budget, held),
                taken,
            )
        }
    }
}

/// An idea belongs to the position it was thought on: what opens, resizes or tightens is not
/// carried over to another one.
fn unchanged(moment: &Moment<'_>, item: &AnswerItem, held: Decimal) -> Result<(), RefusedAnswer> {
    let plan = moment.plans.get(&item.inst);
    if let Some(why) = plan.and_then(|plan| plan.leaving.as_ref()) {
        return refuse(Code::ActionState, format!("it is being left: {why}"));
    }
    let shown = moment
        .asked
        .data
        .positions
        .iter()
        .find(|position| position.symbol == item.inst);
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
    let pending =
        works(moment.orders, &moment.profile.id, &item.inst) || (held.is_zero() && plan.is_some());
    if pending && item.want != Want::TightenStop {
        return refuse(
            Code::Repeated,
            "an earlier decision about it is still on its way",
        );
    }
    Ok(())
}

fn instrument<'a>(
    moment: &'a Moment<'_>,
    inst: &InstId,
) -> Result<(&'a Instrument, Price), RefusedAnswer> {
    let shown = moment.market.insts.get(inst);
    let found = shown
        .filter(|shown| shown.quote.is_some())
        .zip(mark(moment.market, inst));
    found
        .map(|(shown, px)| (&*shown.instrument, px))
        .ok_or_else(|| RefusedAnswer::new(Code::NoMarket, "no price to judge it by"))
}

fn tighten(
    moment: &Moment<'_>,
    item: &AnswerItem,
    held: Decimal,
) -> Result<ItemEffect, RefusedAnswer> {
    let (inst, mark) = instrument(moment, &item.inst)?;
    let Some(stop) = item.stop else {
        return refuse(Code::StopMissing, "stop_px is null");
    };
    let long = held > Decimal::ZERO;
    let Some(plan) = moment
        .plans
        .get(&item.inst)
        .filter(|plan| plan.long == long)
    else {
        return refuse(
            Code::ActionState,
            "what is held is no idea of its own any more",
        );
    };
    let stop = toward(inst, long, stop);
    behind(moment, item, (long, stop, mark))?;
    if if long {
        stop <= plan.stop
    } else {
        stop >= plan.stop
    } {
        return refuse(
            Code::StopLooser,
            format!("stop {stop} is not tighter than {}", plan.stop),
        );
    }
    Ok(ItemEffect {
        tightened: Some(stop),
        ..ItemEffect::default()
    })
}

/// A stop must be behind every price that could set it off: the mark, the last trade, and the touch
/// it would be sold into.
fn behind(
    moment: &Moment<'_>,
    item: &AnswerItem,
    (long, stop, mark): (bool, Price, Price),
) -> Result<(), RefusedAnswer> {
    let quote = moment
        .market
        .insts
        .get(&item.inst)
        .and_then(|shown| shown.quote);
    let near = quote.map_or(mark, |q| {
        if long {
            mark.min(q.last).min(q.bid)
        } else {
            mark.max(q.last).max(q.ask)
        }
    });
    if stop <= Price::ZERO || (long && stop >= near) || (!long && stop <= near) {
        return refuse(
            Code::StopSide,
            format!("stop {stop} is not behind the price {near}"),
        );
    }
    Ok(())
}

/// A stop on the tick that is nearer to the price: never further away than was said.
fn toward(inst: &Instrument, long: bool, stop: Decimal) -> Price {
    if long {
        inst.ceil_tick(Price(stop))
    } else {
        inst.floor_tick(Price(stop))
    }
}
