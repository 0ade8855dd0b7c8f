//! The rules, as one pure function. Every breach is reported, each with its code, limit and value.

use std::sync::Arc;

use rust_decimal::Decimal;

use crate::domain::record::Breach;
use crate::domain::{InstState, Instrument, Ms, OrderIntent, OrdersView, Quote, Readiness, Side, Usd};
use crate::runtime::sabotage::{self, Promise};

/// The gate's limits; what the configuration checked.
#[derive(Clone, Debug)]
pub struct Limits {
    pub order_notional_max: Usd,
    pub order_notional_min: Usd,
    pub open_orders_max: usize,
    pub quote_age_max: Ms,
    pub account_age_max: Ms,
    pub decision_age_max: Ms,
    /// Share of the mid that a limit price may be away from it.
    pub price_collar: Decimal,
}

/// What the gate sees when it judges.
pub struct View<'a> {
    pub now: Ms,
    pub instrument: &'a Instrument,
    pub quote: Option<&'a Quote>,
    /// When the account was last read in full.
    pub account_as_of: Option<Ms>,
    pub orders: &'a OrdersView,
    pub readiness: &'a Readiness,
    /// Approved by us and perhaps not yet seen by the tracker.
    pub in_flight: usize,
}

/// Proof that an intent passed every rule. The field is private: only this module makes one.
#[derive(Debug)]
pub struct Approved {
    intent: Arc<OrderIntent>,
    permit: Option<Permit>,
}

impl Approved {
    /// The intent.
    pub fn intent(&self) -> &Arc<OrderIntent> {
        &self.intent
    }
    /// May it leave while halted?
    pub fn is_permitted(&self) -> bool {
        self.permit.is_some()
    }
}

/// Leave to send one protective order while halted, for a close that a person has asked for by name. Only risk makes one.
#[derive(Debug)]
pub struct Permit(());

/// Judges an order that makes flat by command: limits on risk do not hold it up, what cannot be an order does.
pub fn check_flatten(intent: Arc<OrderIntent>, inst: &Instrument) -> Result<Approved, Refused> {
    assert_eq!(intent.purpose, crate::domain::Purpose::Flatten, "a permit is for a close by command only");
    let mut breaches = Vec::new();
    if intent.qty < inst.min_size || !inst.on_lot(intent.qty) {
        let limit = format!("≥ {} in steps of {}", inst.min_size, inst.lot);
        breaches.push(Breach { code: "size_step".into(), limit, value: intent.qty.to_string() });
    }
    if let InstState::Other(state) = &inst.state {
        breaches.push(Breach { code: "instrument_not_live".into(), limit: "live".into(), value: state.clone() });
    }
    match breaches.is_empty() {
        true => Ok(Approved { intent, permit: Some(Permit(())) }),
        false => Err(Refused { intent, breaches }),
    }
}

/// Every breach, not the first: an operator fixes the whole picture once.
#[derive(Debug)]
pub struct Refused {
    pub intent: Arc<OrderIntent>,
    pub breaches: Vec<Breach>,
}

/// Judges one intent.
pub fn check(intent: Arc<OrderIntent>, view: &View<'_>, limits: &Limits) -> Result<Approved, Refused> {
    let mut breaches = Vec::new();
    let mut breach = |code: &str, limit: String, value: String| {
        breaches.push(Breach { code: code.to_owned(), limit, value });
    };

    match view.readiness {
        Readiness::Ready => {}
        _ if sabotage::breaks(Promise::P5) => {}
        Readiness::Reconciling(why) if intent.is_opening() => breach("not_reconciled", "ready".into(), why.clone()),
        Readiness::ReduceOnly(why) if intent.is_opening() => breach("reduce_only", "ready".into(), why.clone()),
        Readiness::Halted(why) => breach("halted", "ready".into(), why.clone()),
        Readiness::Reconciling(_) | Readiness::ReduceOnly(_) => {}
    }
    if let Some(why) = view.orders.frozen(&intent.inst) {
        breach("instrument_frozen", "no open question in the instrument".into(), why);
    }
    if let InstState::Other(state) = &view.instrument.state {
        breach("instrument_not_live", "live".into(), state.clone());
    }

    let inst = view.instrument;
    if intent.qty < inst.min_size || !inst.on_lot(intent.qty) {
        breach("size_step", format!("≥ {} in steps of {}", inst.min_size, inst.lot), intent.qty.to_string());
    }
    if intent.qty > inst.max_limit_size {
        breach("size_max", inst.max_limit_size.to_string(), intent.qty.to_string());
    }
    if let Some(limit) = intent.limit
        && (limit.0 <= Decimal::ZERO || !inst.on_tick(limit))
    {
        breach("price_step", format!("> 0 in steps of {}", inst.tick), limit.to_string());
    }

    match view.quote {
        None => breach("quote_missing", "a quote".into(), "none".into()),
        Some(quote) => {
            let age = view.now.since(quote.at);
            // From the future beyond all delays: our clock is off, and no age means anything.
            if age > limits.quote_age_max || age < Ms(-limits.quote_age_max.0) {
                breach("quote_age", limits.quote_age_max.to_string(), age.to_string());
            }
            let mid = quote.mid();
            if let Some(limit) = intent.limit {
                // Only the losing side: a passive price far from the market costs nothing.
                let worse = match intent.side {
                    Side::Buy => limit.0 - mid.0,
                    Side::Sell => mid.0 - limit.0,
                };
                let off = worse / mid.0;
                if off > limits.price_collar {
                    breach("price_collar", share(limits.price_collar), share(off));
                }
            }
        }
    }

    // Worst case for its side: a buy pays its limit, everything else is valued at the better of limit and reference.
    let price = intent.limit.map_or(intent.reference, |limit| limit.max(intent.reference));
    match inst.notional(intent.qty, price) {
        None => breach("order_notional", limits.order_notional_max.to_string(), "overflow".into()),
        Some(value) => {
            if value > limits.order_notional_max {
                breach("order_notional_max", format!("{} USD", limits.order_notional_max), format!("{} USD", value));
            }
            if value < limits.order_notional_min && intent.is_opening() {
                breach("order_notional_min", format!("{} USD", limits.order_notional_min), format!("{} USD", value));
            }
        }
    }

    // A move of a resting order is none more.
    let moved = usize::from(intent.moves.is_some());
    let open = (view.orders.open.len() + view.in_flight).saturating_sub(moved);
    if open >= limits.open_orders_max {
        breach("open_orders_max", limits.open_orders_max.to_string(), (open + 1).to_string());
    }
    match view.account_as_of {
        None => breach("account_unknown", "a complete read".into(), "none".into()),
        Some(at) if view.now.since(at) > limits.account_age_max => {
            breach("account_age", limits.account_age_max.to_string(), view.now.since(at).to_string());
        }
        Some(_) => {}
    }
    let age = view.now.since(intent.decided_at);
    if age > limits.decision_age_max {
        breach("decision_age", limits.decision_age_max.to_string(), age.to_string());
    }

    if breaches.is_empty() { Ok(Approved { intent, permit: None }) } else { Err(Refused { intent, breaches }) }
}

fn share(value: Decimal) -> String {
    format!("{} %", (value * Decimal::ONE_HUNDRED).round_dp(4).normalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::instrument::tests::swap;
    use crate::domain::view::OpenOrder;
    use crate::domain::{OrdType, OrderState, Price, Purpose, Qty, RunId};

    fn limits() -> Limits {
        Limits {
            order_notional_max: Usd(Decimal::from(1000)),
            order_notional_min: Usd(Decimal::from(10)),
            open_orders_max: 3,
            quote_age_max: Ms(1000),
            account_age_max: Ms(60_000),
            decision_age_max: Ms(2000),
            price_collar: Decimal::new(1, 2),
        }
    }

    fn intent(qty: &str, limit: &str) -> OrderIntent {
        OrderIntent {
            cl_ord_id: "as1".into(),
            run_id: RunId(uuid::Uuid::nil()),
            contender: "trend".into(),
            inst: swap().id,
            side: Side::Buy,
            ord_type: OrdType::Ioc,
            qty: qty.parse().unwrap(),
            limit: Some(limit.parse().unwrap()),
            purpose: Purpose::Entry,
            leg: 0,
            attempt: 0,
            reduce_only: false,
            stop: None,
            reference: Price(Decimal::ONE_HUNDRED),
            decided_at: Ms(100_000),
            ttl: None,
            slippage: None,
            moves: None,
            sleeve: Usd::ZERO,
            weight: Decimal::ONE,
        }
    }

    fn open(n: usize) -> OrdersView {
        let mut orders = OrdersView::default();
        for i in 0..n {
            let id: crate::domain::OrderId = format!("as{i}").as_str().into();
            let order = OpenOrder {
                id: id.clone(),
                run_id: RunId(uuid::Uuid::nil()),
                contender: "other".into(),
                inst: "X".into(),
                side: Side::Buy,
                state: OrderState::Acked,
                leaves: Qty(Decimal::ONE),
                price: Price(Decimal::ONE),
                limit: None,
                created_at: Ms(0),
                cancel_after: None,
                opening: true,
            };
            orders.open.insert(id, order);
        }
        orders
    }

    struct Case {
        intent: OrderIntent,
        inst: Instrument,
        quote: Option<Quote>,
        now: i64,
        account: Option<i64>,
        orders: OrdersView,
        readiness: Readiness,
    }

    /// 99 contracts of 0.1 at 100: 990 USD, just inside every limit.
    fn fine() -> Case {
        let p = |text: &str| -> Price { text.parse().unwrap() };
        let q = |text: &str| -> Qty { text.parse().unwrap() };
        Case {
            intent: intent("99", "100"),
            inst: swap(),
            quote: Some(Quote {
                bid: p("99.95"),
                bid_qty: q("1"),
                ask: p("100.05"),
                ask_qty: q("1"),
                last: p("100"),
                at: Ms(99_500),
            }),
            now: 100_500,
            account: Some(50_000),
            orders: open(2),
            readiness: Readiness::Ready,
        }
    }

    #[track_caller]
    fn expect(case: Case, codes: &[&str]) {
        let view = View {
            now: Ms(case.now),
            instrument: &case.inst,
            quote: case.quote.as_ref(),
            account_as_of: case.account.map(Ms),
            orders: &case.orders,
            readiness: &case.readiness,
            in_flight: 0,
        };
        let got: Vec<String> = match check(Arc::new(case.intent), &view, &limits()) {
            Ok(_) => Vec::new(),
            Err(refused) => refused.breaches.into_iter().map(|b| b.code).collect(),
        };
        assert_eq!(got, codes);
    }

    #[test]
    fn just_inside_every_limit_passes() {
        expect(fine(), &[]);
        expect(Case { intent: intent("100", "100"), ..fine() }, &[]);
        expect(Case { intent: intent("1", "100"), ..fine() }, &[]);
    }
    #[test]
    fn notional_is_bounded_on_both_sides() {
        expect(Case { intent: intent("100.1", "100"), ..fine() }, &["order_notional_max"]);
        expect(Case { intent: intent("0.9", "100"), ..fine() }, &["order_notional_min"]);
    }
    #[test]
    fn an_exit_may_be_small() {
        let small = OrderIntent { purpose: Purpose::Exit, ..intent("0.1", "100") };
        expect(Case { intent: small, ..fine() }, &[]);
    }
    #[test]
    fn open_orders_are_counted_with_the_new_one() {
        expect(Case { orders: open(3), ..fine() }, &["open_orders_max"]);
    }
    #[test]
    fn stale_inputs_are_refused() {
        let mut old = fine();
        old.quote.as_mut().unwrap().at = Ms(99_499);
        expect(old, &["quote_age"]);
        expect(Case { quote: None, ..fine() }, &["quote_missing"]);
        expect(Case { account: Some(40_499), ..fine() }, &["account_age"]);
        expect(Case { account: None, ..fine() }, &["account_unknown"]);
        let late = OrderIntent { decided_at: Ms(98_499), ..intent("99", "100") };
        expect(Case { intent: late, ..fine() }, &["decision_age"]);
    }
    #[test]
    fn steps_and_collar_hold() {
        expect(Case { intent: intent("99.05", "100"), ..fine() }, &["size_step"]);
        expect(Case { intent: intent("9", "100.01"), ..fine() }, &["price_step"]);
        expect(Case { intent: intent("9", "101"), ..fine() }, &[]);
        expect(Case { intent: intent("9", "101.05"), ..fine() }, &["price_collar"]);
    }
    #[test]
    fn nothing_opens_before_reconciliation_and_nothing_at_all_after_a_halt() {
        let waiting = Readiness::Reconciling("starting".into());
        expect(Case { readiness: waiting.clone(), ..fine() }, &["not_reconciled"]);
        let exit = OrderIntent { purpose: Purpose::Exit, ..intent("99", "100") };
        expect(Case { intent: exit.clone(), readiness: waiting, ..fine() }, &[]);
        expect(Case { intent: exit, readiness: Readiness::Halted("x".into()), ..fine() }, &["halted"]);
    }
    #[test]
    fn an_unknown_order_freezes_its_instrument_and_no_other() {
        let mut orders = open(1);
        orders.open.values_mut().for_each(|o| {
            o.state = OrderState::Unknown;
            o.inst = swap().id;
        });
        expect(Case { orders, ..fine() }, &["instrument_frozen"]);
        let mut elsewhere = open(1);
        elsewhere.open.values_mut().for_each(|o| o.state = OrderState::Unknown);
        expect(Case { orders: elsewhere, ..fine() }, &[]);
    }
    #[test]
    fn every_breach_is_reported_together() {
        let case = Case {
            intent: intent("100.1", "101.05"),
            orders: open(3),
            account: None,
            inst: Instrument { state: InstState::Other("suspend".into()), ..swap() },
            ..fine()
        };
        expect(
            case,
            &["instrument_not_live", "price_collar", "order_notional_max", "open_orders_max", "account_unknown"],
        );
    }
}
