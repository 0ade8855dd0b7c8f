//! A smaller weight of what is held. It takes risk off, so what is only asked of risk that is taken
//! on is not asked of it. Pure.

use rust_decimal::Decimal;

use super::super::parse::{AnswerItem, Want};
use super::super::plan::{THESIS, TradePlan, held};
use super::enter::{is_beyond, kept_as_it_is, round_trip};
use super::{ItemEffect, Moment, Taken, behind, instrument, toward};
use crate::domain::{Bps, Instrument, Price, Usd};

/// Size, stop and risk that result from a smaller weight.
pub(super) struct Reduction<'a> {
    known: &'a TradePlan,
    inst: &'a Instrument,
    mark: Price,
    held: Decimal,
    /// The nearer to the price of the plan's stop and the one that is named.
    stop: Price,
    worth: Decimal,
    risk_usd: Decimal,
}

/// Returns the reduction, if this item makes the held position smaller and stays on its side.
pub(super) fn reduction<'a>(moment: &'a Moment<'_>, item: &AnswerItem) -> Option<Reduction<'a>> {
    let Want::Weight(weight) = item.want else {
        return None;
    };
    let (inst, mark) = instrument(moment, &item.inst).ok()?;
    let held = held(moment.orders, moment.market, &moment.profile.id, &item.inst);
    let long = held > Decimal::ZERO;
    let known = moment
        .plans
        .get(&item.inst)
        .filter(|plan| plan.long == long)?;
    if held.is_zero() || (weight > Decimal::ZERO) != long {
        return None;
    }
    // One that could go off at once says nothing; one further away does not count.
    let named = item.stop.map(|stop| toward(inst, long, stop));
    let named = named.filter(|stop| behind(moment, item, (long, *stop, mark)).is_ok());
    let sized_by = named.unwrap_or(known.stop);
    let stop = if long {
        sized_by.max(known.stop)
    } else {
        sized_by.min(known.stop)
    };
    let risked = (mark.0 - sized_by.0).abs() + mark.0 * round_trip(moment, inst);
    let budget = moment.profile.sleeve(moment.account.equity) * moment.profile.limits.risk_budget;
    let worth = (budget * weight.abs())
        .checked_mul(mark.0)?
        .checked_div(risked)?
        .min(moment.profile.limits.position_usd);
    let qty = inst.size_for(Usd(worth), mark);
    if qty.0 >= held.abs() || qty < inst.min_size {
        return None;
    }
    let risk_usd = (worth * ((mark.0 - stop.0).abs() + mark.0 * round_trip(moment, inst)) / mark.0)
        .round_dp(8)
        .normalize();
    Some(Reduction {
        known,
        inst,
        mark,
        held,
        stop,
        worth,
        risk_usd,
    })
}

impl Reduction<'_> {
    /// Builds the move: a smaller position under a stop that is no looser, or only the stop if the
    /// change does not pay for itself.
    pub(super) fn made(
        &self,
        moment: &Moment<'_>,
        item: &AnswerItem,
        taken: &mut Taken,
    ) -> ItemEffect {
        let Self {
            known,
            inst,
            mark,
            held,
            stop,
            ..
        } = *self;
        let long = known.long;
        // What is named and cannot be meant leaves what was meant before.
        let target = match item.target.map(|target| toward(inst, !long, target)) {
            Some(target) if is_beyond(long, target, mark) => Some(target),
            Some(_) => known.target,
            None => None,
        };
        let plan = TradePlan {
            stop,
            target,
            thesis: item.reason.chars().take(THESIS).collect(),
            ..known.clone()
        };
        let signed = if long { self.worth } else { -self.worth };
        if let Some(note) = kept_as_it_is(inst, (held, mark), (signed, round_trip(moment, inst))) {
            return ItemEffect {
                plan: Some(plan),
                tightened: Some(stop),
                note,
                ..ItemEffect::default()
            };
        }
        taken.positions.insert(item.inst.clone(), signed);
        taken.risks.insert(item.inst.clone(), self.risk_usd);
        let slot = moment.profile.sleeve(moment.account.equity)
            / Decimal::from(moment.profile.instruments.len().max(1));
        let share = self.worth.checked_div(slot).unwrap_or_default() * Decimal::from(10_000);
        let bps = i32::try_from(share.trunc()).unwrap_or(i32::MAX);
        ItemEffect {
            target: Some(Bps(if long { bps } else { -bps })),
            stop: Some(stop),
            plan: Some(TradePlan {
                worth_usd: self.worth.round_dp(8).normalize(),
                risk_usd: self.risk_usd,
                ..plan
            }),
            tightened: Some(stop),
            ..ItemEffect::default()
        }
    }
}
