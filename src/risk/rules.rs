//! The rules, each a pure function. Every breach is reported, each with its code, limit and value:
//! an operator fixes the whole picture once.
//!
//! An order larger than one order may be is cut to that, entries and exits alike, and the rest is
//! asked for at the next cycle; of a turn the closing part leaves first. A limit on the position is
//! not cut to: it denies.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::exposure::{spendable, values, worst_after};
use super::restrict::{Reducible, reducible, room_at_venue};
use super::view::View;
use crate::domain::record::Breach;
use crate::domain::view::InstMarket;
use crate::domain::{
    EquityBook, InstKind, InstState, Instrument, Limits, Ms, OrderIntent, Price, Purpose, Qty,
    Rule, Side, Usd,
};

/// Proof that an intent passed every rule. The field is private: only this module makes one.
#[derive(Debug)]
pub struct Approved {
    intent: Arc<OrderIntent>,
    permit: Option<Permit>,
    /// Why the opening part of a turn did not pass with it.
    without: Vec<Breach>,
}

impl Approved {
    /// The intent.
    pub fn intent(&self) -> &Arc<OrderIntent> {
        &self.intent
    }
    /// Returns the breaches by the opening part of a reversal, where only its exit passed.
    pub fn without(&self) -> &[Breach] {
        &self.without
    }
    /// True if the order may be sent while trading is halted.
    pub fn is_permitted(&self) -> bool {
        self.permit.is_some()
    }
}

/// Leave to send one protective order while halted: a close by name, a repair of protection. Only
/// risk makes one.
#[derive(Debug)]
pub struct Permit(());

impl Permit {
    pub(super) const fn issue() -> Self {
        Self(())
    }
}

/// Judges an order that makes flat by command, or takes out what is not protected: limits on risk
/// do not hold it up, what cannot be an order does.
pub fn check_permitted(intent: Arc<OrderIntent>, inst: &Instrument) -> Result<Approved, Denied> {
    let named = matches!(intent.purpose, Purpose::Flatten | Purpose::Repair);
    assert!(named, "a permit is for a named close or repair only");
    let mut breaches = Vec::new();
    if intent.qty < inst.min_size || !inst.on_lot(intent.qty) {
        let limit = format!("≥ {} in steps of {}", inst.min_size, inst.lot);
        breaches.push(Breach {
            code: "size_step".into(),
            limit,
            value: intent.qty.to_string(),
        });
    }
    if let InstState::Other(state) = &inst.state {
        breaches.push(Breach {
            code: "instrument_not_live".into(),
            limit: "live".into(),
            value: state.clone(),
        });
    }
    match breaches.is_empty() {
        true => Ok(Approved {
            intent,
            permit: Some(Permit::issue()),
            without: Vec::new(),
        }),
        false => Err(Denied { intent, breaches }),
    }
}

/// Every breach, not the first.
#[derive(Debug)]
pub struct Denied {
    pub intent: Arc<OrderIntent>,
    pub breaches: Vec<Breach>,
}

/// Judges one intent. While reduce-only, an order that would go past the position is made smaller
/// (`qty`), on swaps with the venue's own reduce-only beside it; from flat it is refused.
///
/// An order larger than one may be is made as large as one may be, an entry like an exit: what is
/// left to the target is another order's. Of a turn that may not open what closes the sleeve leaves
/// alone: nobody is kept in a position that he wants to leave because he may not take the other
/// side.
pub fn check(
    intent: Arc<OrderIntent>,
    view: &View<'_>,
    limits: &Limits,
) -> Result<Approved, Denied> {
    let refused = match check_whole(Arc::clone(&intent), view, limits) {
        Ok(approved) => return Ok(approved),
        Err(refused) => refused,
    };
    let exit = closing_part(&intent, view).map(|exit| check_whole(Arc::new(exit), view, limits));
    match exit {
        Some(Ok(approved)) => Ok(Approved {
            without: refused.breaches,
            ..approved
        }),
        _ => Err(refused),
    }
}

/// Returns the part of a reversal that only closes its sleeve; `None`: it is no reversal, or there
/// is nothing that an order could close.
fn closing_part(intent: &OrderIntent, view: &View<'_>) -> Option<OrderIntent> {
    if !intent.is_opening() || intent.moves.is_some() {
        return None;
    }
    let key = (intent.contender.clone(), intent.inst.clone());
    let held = view
        .orders
        .holdings
        .get(&key)
        .map_or(Qty::ZERO, |held| held.qty);
    let inst = view.instrument;
    let qty = inst.floor_lot(held.abs()).min(intent.qty);
    if held.is_zero() || intent.side == Side::of(held) || qty < inst.min_size || qty.is_zero() {
        return None;
    }
    let exit = OrderIntent {
        qty,
        purpose: Purpose::Exit,
        stop: None,
        good_for: None,
        ..intent.clone()
    };
    let reduce_only = inst.kind == InstKind::Swap && room_at_venue(&exit, view) >= qty.0;
    Some(OrderIntent {
        reduce_only,
        ..exit
    })
}

fn check_whole(
    intent: Arc<OrderIntent>,
    view: &View<'_>,
    limits: &Limits,
) -> Result<Approved, Denied> {
    let mut breaches = Vec::new();
    let intent = match reducible(&intent, view) {
        Reducible::Free => intent,
        Reducible::Clamped { qty, at_venue } => {
            let reduce_only =
                intent.reduce_only || (at_venue && view.instrument.kind == InstKind::Swap);
            // Whatever it was to be, it can only take off now.
            let purpose = if intent.is_opening() {
                Purpose::Exit
            } else {
                intent.purpose
            };
            Arc::new(OrderIntent {
                qty,
                reduce_only,
                purpose,
                stop: None,
                ..(*intent).clone()
            })
        }
        Reducible::Refused(objections) => {
            breaches.extend(objections);
            intent
        }
    };
    let intent = cut_to_one_order(intent, view, limits);
    // Of a turn the closing part goes first: cut so far that nothing would open, it is an exit.
    let intent = match closing_part(&intent, view) {
        Some(exit) if exit.qty == intent.qty => Arc::new(exit),
        _ => intent,
    };
    breaches.extend(sanity(&intent, view));
    for rule in Rule::ALL {
        if let Some((limit, value)) = broken(*rule, &intent, view, limits) {
            breaches.push(Breach {
                code: rule.as_str().to_owned(),
                limit,
                value,
            });
        }
    }
    match breaches.is_empty() {
        true => Ok(Approved {
            intent,
            permit: None,
            without: Vec::new(),
        }),
        false => Err(Denied { intent, breaches }),
    }
}

/// An order larger than one may be leaves in parts: it is cut to the limit, never refused for its
/// size.
fn cut_to_one_order(
    intent: Arc<OrderIntent>,
    view: &View<'_>,
    limits: &Limits,
) -> Arc<OrderIntent> {
    if intent.moves.is_some() {
        return intent;
    }
    let inst = view.instrument;
    let most = most(&intent, inst);
    let worth = inst.size_for(
        crate::domain::Usd(limits.value(Rule::OrderNotionalMax)),
        worst_price(&intent),
    );
    let ceiling = most.min(worth);
    if intent.is_opening() && intent.qty <= ceiling {
        return intent;
    }
    let qty = inst.floor_lot(intent.qty.min(ceiling));
    // Too small to be an order of its own: the rules below say what is wrong.
    if qty == intent.qty || qty < inst.min_size || qty.is_zero() {
        return intent;
    }
    Arc::new(OrderIntent {
        qty,
        ..(*intent).clone()
    })
}

/// The most that the venue takes in one order of this kind.
fn most(intent: &OrderIntent, inst: &Instrument) -> Qty {
    if intent.limit.is_some() {
        inst.max_limit_size
    } else {
        inst.most_at_market(worst_price(intent))
    }
}

/// Returns the breaches that forbid sending whatever the limits are.
fn sanity(intent: &OrderIntent, view: &View<'_>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut breach = |code: &str, limit: String, value: String| {
        breaches.push(Breach {
            code: code.to_owned(),
            limit,
            value,
        });
    };
    if let Some(why) = view.orders.frozen(&intent.inst) {
        breach(
            "instrument_frozen",
            "no open question in the instrument".into(),
            why,
        );
    }
    if let InstState::Other(state) = &view.instrument.state {
        breach("instrument_not_live", "live".into(), state.clone());
    }
    if let Some(good_for) = intent.good_for.filter(|_| intent.is_opening()) {
        let price = view
            .market
            .insts
            .get(&intent.inst)
            .and_then(InstMarket::mark_or_mid);
        if let Some(why) = good_for.over(view.now, price) {
            breach(
                "entry_over",
                "thought of a moment ago, near this price".into(),
                why,
            );
        }
    }
    let inst = view.instrument;
    if intent.qty < inst.min_size || !inst.on_lot(intent.qty) {
        breach(
            "size_step",
            format!("≥ {} in steps of {}", inst.min_size, inst.lot),
            intent.qty.to_string(),
        );
    }
    let most = most(intent, inst);
    if intent.qty > most {
        breach("size_max", most.to_string(), intent.qty.to_string());
    }
    if let Some(limit) = intent.limit
        && (limit.0 <= Decimal::ZERO || !inst.on_tick(limit))
    {
        breach(
            "price_step",
            format!("> 0 in steps of {}", inst.tick),
            limit.to_string(),
        );
    }
    if inst.notional(intent.qty, worst_price(intent)).is_none() {
        breach("order_notional", "a number".into(), "overflow".into());
    }
    if view.quote().is_none() {
        breach("quote_missing", "a quote".into(), "none".into());
    }
    if view.account.is_none() {
        breach("account_unknown", "a complete read".into(), "none".into());
    }
    breaches
}

/// Worst case for its side: a buy pays its limit, everything else is valued at the better of limit
/// and reference.
fn worst_price(intent: &OrderIntent) -> Price {
    intent
        .limit
        .map_or(intent.reference, |limit| limit.max(intent.reference))
}

/// Limit and value in words.
type Found = (String, String);

/// Checks whether this rule is broken. One arm for each: a rule without one does not compile.
/// Orders that only take risk off may bypass the limits on loss and on size of risk, never those on
/// sanity.
fn broken(rule: Rule, intent: &OrderIntent, view: &View<'_>, limits: &Limits) -> Option<Found> {
    let limit = limits.value(rule);
    let opening = intent.is_opening();
    match rule {
        Rule::DailyLoss => above_share(rule, limits, view.book.daily_loss(view.equity?, view.now)?)
            .filter(|_| opening),
        Rule::Drawdown => {
            above_share(rule, limits, view.book.drawdown(view.equity?)?).filter(|_| opening)
        }
        Rule::OrderNotionalMax => {
            let value = view.instrument.notional(intent.qty, worst_price(intent))?;
            (value.0 > limit).then(|| (usd(limit), usd(value.0)))
        }
        Rule::OrderNotionalMin => {
            let value = view.instrument.notional(intent.qty, worst_price(intent))?;
            (opening && value.0 < limit).then(|| (usd(limit), usd(value.0)))
        }
        Rule::OpenOrders => {
            // A move of a resting order is none more.
            let moved = usize::from(intent.moves.is_some());
            let open = (view.orders.open.len() + view.in_flight.len() + 1).saturating_sub(moved);
            above(limit, Decimal::from(open as u64)).filter(|_| opening)
        }
        Rule::Position => match worst_after(intent, view) {
            Some(worst) => {
                (worst.grows && worst.value.0 > limit).then(|| (usd(limit), usd(worst.value.0)))
            }
            None => opening.then(|| (usd(limit), UNKNOWN.to_owned())),
        },
        Rule::GrossExposure | Rule::NetExposure | Rule::Leverage => {
            // Without an account another rule speaks.
            let equity = view.equity?.0;
            let known = values(intent, view).filter(|_| equity > Decimal::ZERO);
            let Some(all) = known else {
                return opening.then(|| (limit.normalize().to_string(), UNKNOWN.to_owned()));
            };
            let value = match rule {
                Rule::GrossExposure => all.gross(),
                Rule::NetExposure => all.net(intent.side),
                _ => all.swaps(),
            };
            let times = value.checked_div(equity)?;
            match rule {
                Rule::Leverage => (times > limit)
                    .then(|| (limit.normalize().to_string(), times.round_dp(4).to_string())),
                _ => above_share(rule, limits, times),
            }
            .filter(|_| all.grows)
        }
        Rule::FreeBalance => {
            let (cost, free) = spendable(intent, view, limits.value(Rule::Leverage))?;
            let left = free.saturating_sub(cost);
            // Coins that are sold free money, they do not bind it.
            let least = if opening { limit } else { Decimal::ZERO };
            (left < least).then(|| (usd(least), usd(left)))
        }
        Rule::PriceCollar => beyond(rule, limits, intent, view.quote()?.mid()),
        Rule::MarkCollar => match view.mark(limits.ms(Rule::QuoteAge)) {
            // No second opinion is a reason to stay in a market: a mark may be frozen, the last
            // close is past.
            Some(mark) => beyond(rule, limits, intent, mark).filter(|_| opening),
            // On a swap the venue's own mark is the second opinion: without one nobody opens.
            None => (opening && view.instrument.kind == InstKind::Swap)
                .then(|| ("a mark price".into(), "none".into())),
        },
        Rule::PriceJump => {
            let (mid, close) = (view.quote()?.mid().0, view.close()?.0);
            let off = (mid - close).abs().checked_div(close)?;
            above_share(rule, limits, off).filter(|_| opening)
        }
        Rule::QuoteAge => {
            // A little ahead of our clock is as young as can be; what is far ahead has not come in.
            // An exit is priced by the last quote there is: its limit keeps it from worse, and
            // staying is no better.
            let age = view.now.since(view.quote()?.at).max(Ms::ZERO);
            older(rule, limits, age).filter(|_| opening)
        }
        Rule::AccountAge => older(
            rule,
            limits,
            view.now.since(view.account?.as_of).max(Ms::ZERO),
        ),
        Rule::DecisionAge => older(rule, limits, view.now.since(intent.decided_at)),
        Rule::OrderRate => above(
            limit,
            Decimal::from(view.recent.last_minute(view.now).saturating_add(1)),
        )
        .filter(|_| opening),
        Rule::OrdersPerDay => above(
            limit,
            Decimal::from(view.recent.today(view.now).saturating_add(1)),
        )
        .filter(|_| opening),
        Rule::Duplicate => younger(rule, limits, view.recent.twin(intent, view.now))
            .filter(|_| opening && intent.moves.is_none()),
        Rule::Repeats => {
            let again = opening && intent.moves.is_none();
            above(
                limit,
                Decimal::from(view.recent.repeats(intent, view.now).saturating_add(1)),
            )
            .filter(|_| again)
        }
        Rule::TradesPerDay => {
            let trades = view.orders.tally.trades(&intent.contender, view.now);
            above(limit, Decimal::from(trades.saturating_add(1))).filter(|_| opening)
        }
        Rule::Turnover => {
            let order = view.instrument.notional(intent.qty, worst_price(intent))?;
            let turned = view
                .orders
                .tally
                .turnover(view.now)
                .0
                .saturating_add(order.0);
            let share = turned.checked_div(view.equity.filter(|e| e.0 > Decimal::ZERO)?.0)?;
            above_share(rule, limits, share).filter(|_| opening)
        }
        Rule::LossStreak => above_or_at(
            limit,
            Decimal::from(
                view.orders
                    .tally
                    .losses_in_a_row(&intent.contender, view.now),
            ),
        )
        .filter(|_| opening),
        Rule::CooldownLoss => {
            let last = view
                .orders
                .tally
                .of(&intent.contender, &intent.inst)
                .and_then(|counts| counts.last_loss);
            younger(rule, limits, last.map(|at| view.now.since(at))).filter(|_| opening)
        }
        Rule::CooldownTrade => {
            let last = view
                .orders
                .tally
                .of(&intent.contender, &intent.inst)
                .and_then(|counts| counts.last_fill);
            // The next try of a decision that is being worked is no new trade.
            let fresh = opening && intent.attempt == 0;
            younger(rule, limits, last.map(|at| view.now.since(at))).filter(|_| fresh)
        }
    }
}

/// Account rules that hold whether or not anybody wants to trade.
pub fn assess(
    view_equity: Usd,
    book: &EquityBook,
    limits: &Limits,
    now: Ms,
) -> Vec<(Rule, Breach)> {
    let found = [
        (Rule::DailyLoss, book.daily_loss(view_equity, now)),
        (Rule::Drawdown, book.drawdown(view_equity)),
    ];
    let breach = |rule: Rule, (limit, value)| {
        (
            rule,
            Breach {
                code: rule.as_str().to_owned(),
                limit,
                value,
            },
        )
    };
    found
        .into_iter()
        .filter_map(|(rule, fall)| Some((rule, above_share(rule, limits, fall?)?)))
        .map(|(rule, found)| breach(rule, found))
        .collect()
}

fn above(limit: Decimal, value: Decimal) -> Option<Found> {
    (value > limit).then(|| (limit.normalize().to_string(), value.normalize().to_string()))
}

fn above_or_at(limit: Decimal, value: Decimal) -> Option<Found> {
    (value >= limit).then(|| (limit.normalize().to_string(), value.normalize().to_string()))
}

fn above_share(rule: Rule, limits: &Limits, value: Decimal) -> Option<Found> {
    (value > limits.share(rule)).then(|| (share(limits.share(rule)), share(value)))
}

/// Text for a compared quantity that cannot be valued: opening orders are denied then.
const UNKNOWN: &str = "not known";

/// Checks how far the worst price of the order is beyond a reference, on the losing side. A passive
/// price far from the market costs nothing.
fn beyond(rule: Rule, limits: &Limits, intent: &OrderIntent, reference: Price) -> Option<Found> {
    let price = intent.limit.unwrap_or(intent.reference);
    let worse = match intent.side {
        Side::Buy => price.0.saturating_sub(reference.0),
        Side::Sell => reference.0.saturating_sub(price.0),
    };
    above_share(rule, limits, worse.checked_div(reference.0)?)
}

fn older(rule: Rule, limits: &Limits, age: Ms) -> Option<Found> {
    (age > limits.ms(rule)).then(|| (limits.ms(rule).to_string(), age.to_string()))
}

fn younger(rule: Rule, limits: &Limits, age: Option<Ms>) -> Option<Found> {
    age.filter(|age| *age < limits.ms(rule))
        .map(|age| (limits.ms(rule).to_string(), age.to_string()))
}

fn usd(value: Decimal) -> String {
    format!("{} USD", value.round_dp(8).normalize())
}

fn share(value: Decimal) -> String {
    format!(
        "{} %",
        (value * Decimal::ONE_HUNDRED).round_dp(4).normalize()
    )
}

#[cfg(test)]
mod tests;
