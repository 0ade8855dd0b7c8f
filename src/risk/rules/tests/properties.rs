//! Properties over random portfolios and intents, checked by an arithmetic of their own.

use super::*;
use crate::risk::view::InFlight;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct World {
    own: i64,
    other: i64,
    foreign: i64,
    working: Vec<(bool, i64, bool)>,
    leaving: Vec<(bool, i64)>,
    side: Side,
    qty: i64,
    exit: bool,
}

fn worlds() -> impl Strategy<Value = World> {
    let size = 1i64..60;
    (
        (-90i64..90, -90i64..90, -20i64..20),
        proptest::collection::vec((any::<bool>(), size.clone(), any::<bool>()), 0..4),
        proptest::collection::vec((any::<bool>(), size.clone()), 0..3),
        (any::<bool>(), size, any::<bool>()),
    )
        .prop_map(
            |((own, other, foreign), working, leaving, (buy, qty, exit))| World {
                own,
                other,
                foreign,
                working,
                leaving,
                side: if buy { Side::Buy } else { Side::Sell },
                qty,
                exit,
            },
        )
}

const fn side(buy: bool) -> Side {
    if buy { Side::Buy } else { Side::Sell }
}

impl World {
    fn case(&self) -> Case {
        let mut case = fine().order(self.side, &self.qty.to_string(), "100");
        if self.exit {
            case = case.exit();
        }
        case = case
            .holds("trend", &self.own.to_string())
            .holds("other", &self.other.to_string());
        case.orders
            .foreign
            .insert(swap().id, Qty(Decimal::from(self.foreign)));
        for (buy, qty, own) in &self.working {
            let who = if *own { "trend" } else { "other" };
            case = case.works(who, side(*buy), &qty.to_string(), OrderState::Acked);
        }
        for (i, (buy, qty)) in self.leaving.iter().enumerate() {
            let id = OrderId::new(format!("l{i}"));
            let qty = Qty(Decimal::from(*qty));
            case.in_flight.push(InFlight {
                id,
                contender: "other".into(),
                owner: "other".into(),
                inst: swap().id,
                side: side(*buy),
                qty,
            });
        }
        case
    }

    /// Whole contracts, by plain integers and nothing of the gate's.
    fn on_side(&self) -> i64 {
        let buy = self.side == Side::Buy;
        let working: i64 = self
            .working
            .iter()
            .filter(|w| w.0 == buy)
            .map(|w| w.1)
            .sum();
        working
            + self
                .leaving
                .iter()
                .filter(|w| w.0 == buy)
                .map(|w| w.1)
                .sum::<i64>()
    }

    fn net(&self) -> i64 {
        self.own + self.other + self.foreign
    }

    fn signed(&self, qty: i64) -> i64 {
        if self.side == Side::Buy { qty } else { -qty }
    }
}

fn whole(qty: Qty) -> i64 {
    i64::try_from(qty.0.trunc()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever else works and fills first: an order that leaves while reduce-only takes from the
    /// position and never past it.
    #[test]
    fn reduce_only_never_opens_or_flips(world in worlds(), scope in 0usize..3) {
        let scope = ["system", "instrument:ETH-USDT-SWAP", "contender:trend"][scope];
        let judged = world.case().restricted(scope, TradingState::ReduceOnly).judged();
        if let Ok(approved) = judged {
            let qty = whole(approved.intent().qty);
            let (held, first) = if scope.starts_with("contender") {
                let buy = world.side == Side::Buy;
                (world.own, world.working.iter().filter(|w| w.0 == buy && w.2).map(|w| w.1).sum())
            } else {
                (world.net(), world.on_side())
            };
            let before = held + world.signed(first);
            let after = before + world.signed(qty);
            prop_assert!(qty <= world.qty);
            prop_assert!(after.abs() < before.abs() || qty == 0, "{before} -> {after}");
            prop_assert!(after.signum() == 0 || after.signum() == before.signum(), "{before} -> {after}");
            prop_assert!(!approved.intent().is_opening());
        }
    }

    /// While halted nothing leaves without a permit.
    #[test]
    fn halted_lets_nothing_through(world in worlds()) {
        prop_assert!(world.case().restricted("system", TradingState::Halted).judged().is_err());
    }

    /// Orders that the gate lets through never make a worst case larger than its limit, by an
    /// arithmetic of its own.
    #[test]
    fn approved_orders_never_exceed_position_limit(world in worlds(), limit in 1i64..3000) {
        let text = limit.to_string();
        let case = world.case().limit(Rule::Position, &text);
        // 10 000 USD of equity: a limit of n USD is n / 100 percent of it.
        let share = (Decimal::from(limit) / Decimal::ONE_HUNDRED).to_string();
        let case = case.limit(Rule::GrossExposure, &share).limit(Rule::NetExposure, &share);
        let ours = world.own + world.other + world.foreign;
        let before = ours + world.signed(world.on_side());
        let beyond = |side_size: i64| side_size.max(0) * 10;
        if let Ok(approved) = case.judged() {
            // It may have been made smaller.
            let after = before + world.signed(whole(approved.intent().qty));
            let (before, after) = (world.signed(before), world.signed(after));
            prop_assert!(beyond(after) <= limit || after <= before.max(0), "{before} -> {after} contracts, {limit} USD");
        }
    }
}
