//! Making flat by command: what to send for each instrument, and the permit that lets it leave
//! while halted. Pure.

use rust_decimal::Decimal;

use crate::domain::ids::ClientIdSeed;
use crate::domain::record::{Allocation, Proposal};
use crate::domain::{
    AccountView, Bps, ContenderId, InstKind, Instrument, Ms, OrdType, OrderIntent, OrdersView,
    Price, Purpose, Qty, Quote, RunId, Side, Usd,
};

/// Positions that a flattening covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flatten {
    /// Also what is not ours in our instruments.
    pub everything: bool,
    /// True if positions that are not ours may stay: they are listed, and are no reason to say that
    /// the account is not flat.
    pub ours_only: bool,
}

/// One instrument to be made flat.
#[derive(Debug)]
pub struct Flat {
    pub proposal: Proposal,
    pub allocation: Allocation,
    /// `None`: there is nothing to close; `allocation.reason` says why.
    pub intent: Option<OrderIntent>,
}

/// Inputs of a close.
pub struct Closing<'a> {
    pub run_id: RunId,
    pub now: Ms,
    pub env: char,
    pub uid: &'a str,
    pub install_epoch: &'a str,
    pub account: &'a AccountView,
    pub orders: &'a OrdersView,
    pub scope: Flatten,
}

/// Returns the holdings of an instrument that a close is to bring to zero: on a swap the venue's
/// net position less what is known not to be ours (unless everything is to go), on spot what our
/// sleeves hold, never more than the balance.
pub fn held(inst: &Instrument, orders: &OrdersView, account: &AccountView, scope: Flatten) -> Qty {
    match inst.kind {
        InstKind::Swap if scope.everything => {
            account.positions.get(&inst.id).map_or(Qty::ZERO, |p| p.qty)
        }
        InstKind::Swap => {
            let there = account
                .positions
                .get(&inst.id)
                .map_or(Decimal::ZERO, |p| p.qty.0);
            let foreign = orders
                .foreign
                .get(&inst.id)
                .map_or(Decimal::ZERO, |qty| qty.0);
            // Reduce-only: never past what is there.
            let ours = there.saturating_sub(foreign);
            let same_side = !ours.is_zero() && ours.is_sign_negative() == there.is_sign_negative();
            if same_side {
                Qty(ours.clamp(-there.abs(), there.abs()))
            } else {
                Qty::ZERO
            }
        }
        InstKind::Spot => {
            let there = account
                .balances
                .get(&inst.base)
                .map_or(Decimal::ZERO, |b| b.cash);
            Qty(orders.net(&inst.id).min(there).max(Decimal::ZERO))
        }
    }
}

/// The order that closes what the account holds of an instrument, or as much of it as one order
/// may; reduce-only on a swap.
pub fn flatten(inst: &Instrument, quote: Option<&Quote>, of: &Closing<'_>, attempt: u32) -> Flat {
    let position = of.account.positions.get(&inst.id);
    let held = held(inst, of.orders, of.account, of.scope).0;
    let side = Side::of(Qty(held)).opposite();
    let mark = position.and_then(|p| p.mark);
    let reference = quote.map(Quote::mid).or(mark).unwrap_or(Price::ZERO);
    let qty = inst.floor_lot(Qty(held.abs()).min(inst.most_at_market(reference)));
    let contender = ContenderId::system();
    let proposal = Proposal {
        contender: contender.clone(),
        inst: inst.id.clone(),
        target: Some(Bps(0)),
        stop: None,
        reason: "close by command".into(),
        good_for: None,
    };
    let mut allocation = Allocation {
        contender: contender.clone(),
        inst: inst.id.clone(),
        sleeve: Usd::ZERO,
        weight: Decimal::ZERO,
        current: Qty(held),
        target: Qty::ZERO,
        cl_ord_id: None,
        reason: String::new(),
    };
    if qty < inst.min_size || qty.is_zero() {
        allocation.reason = format!("nothing to close: {} held", held.normalize());
        return Flat {
            proposal,
            allocation,
            intent: None,
        };
    }
    let seed = ClientIdSeed {
        env: of.env,
        uid: of.uid,
        install_epoch: of.install_epoch,
        run_id: of.run_id,
        contender: &contender,
        inst: &inst.id,
        purpose: Purpose::Flatten,
        leg: 0,
        attempt,
    };
    let intent = OrderIntent {
        cl_ord_id: seed.client_order_id(),
        run_id: of.run_id,
        contender,
        inst: inst.id.clone(),
        side,
        ord_type: OrdType::Market,
        qty,
        limit: None,
        purpose: Purpose::Flatten,
        leg: 0,
        attempt,
        reduce_only: inst.kind == InstKind::Swap,
        stop: None,
        reference,
        decided_at: of.now,
        ttl: None,
        slippage: None,
        moves: None,
        sleeve: Usd::ZERO,
        weight: Decimal::ZERO,
        good_for: None,
    };
    allocation.cl_ord_id = Some(intent.cl_ord_id.clone());
    allocation.reason = format!("flatten {} {}", side.as_str(), qty);
    Flat {
        proposal,
        allocation,
        intent: Some(intent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::books::Holding;
    use crate::domain::instrument::tests::swap;
    use crate::domain::{Balance, Position};
    use std::collections::BTreeMap;

    /// Checks which order is sent when the venue's position is `venue`, our sleeves hold `ours` and
    /// the balance of the coin is `coin`.
    #[track_caller]
    fn check(kind: InstKind, venue: i64, ours: i64, coin: i64, expected: &str) {
        beside(
            kind,
            0,
            (venue, ours, coin),
            &Instrument { kind, ..swap() },
            expected,
        );
    }

    /// The same with a position that is not ours, under these rules.
    #[track_caller]
    fn beside(
        kind: InstKind,
        foreign: i64,
        (venue, ours, coin): (i64, i64, i64),
        inst: &Instrument,
        expected: &str,
    ) {
        let inst = Instrument {
            kind,
            ..inst.clone()
        };
        let mut account = AccountView {
            as_of: Ms(0),
            other_bills: BTreeMap::new(),
            transfers: BTreeMap::new(),
            funding: BTreeMap::new(),
            equity: Usd::ZERO,
            available: Usd::ZERO,
            balances: BTreeMap::new(),
            positions: BTreeMap::new(),
            unreadable: BTreeMap::new(),
        };
        let position = Position {
            inst: inst.id.clone(),
            qty: Qty(Decimal::from(venue)),
            average: None,
            mark: None,
            unrealised: Decimal::ZERO,
            notional: None,
            liquidation: None,
            leverage: None,
            at: Ms(0),
        };
        account.positions.insert(inst.id.clone(), position);
        let d = Decimal::from(coin);
        let balance = Balance {
            ccy: inst.base.clone(),
            cash: d,
            equity: d,
            available: d,
            frozen: Decimal::ZERO,
            equity_usd: Usd::ZERO,
        };
        account.balances.insert(inst.base.clone(), balance);
        let mut orders = OrdersView::default();
        let held = Holding {
            qty: Qty(Decimal::from(ours)),
            ..Holding::default()
        };
        orders.holdings.insert(("a".into(), inst.id.clone()), held);
        orders
            .foreign
            .insert(inst.id.clone(), Qty(Decimal::from(foreign)));
        let run_id = RunId(uuid::Uuid::nil());
        let closing = Closing {
            run_id,
            now: Ms(0),
            env: 's',
            uid: "1",
            install_epoch: "e",
            account: &account,
            orders: &orders,
            scope: Flatten::default(),
        };
        let flat = flatten(&inst, None, &closing, 0);
        let shown = match flat.intent {
            Some(i) => format!(
                "{} {}{}",
                i.side.as_str(),
                i.qty,
                if i.reduce_only { " reduce-only" } else { "" }
            ),
            None => flat.allocation.reason,
        };
        assert_eq!(shown, expected);
    }

    /// Of a coin only what is ours and present in the account is sold.
    #[test]
    fn swap_closes_whole_spot_closes_ours() {
        check(InstKind::Swap, 7, 5, 0, "sell 7 reduce-only");
        check(InstKind::Swap, -7, 0, 0, "buy 7 reduce-only");
        check(InstKind::Swap, 0, 5, 0, "nothing to close: 0 held");
        check(InstKind::Spot, 0, 5, 9, "sell 5");
        check(InstKind::Spot, 0, 5, 3, "sell 3");
        check(InstKind::Spot, 0, 0, 9, "nothing to close: 0 held");
    }

    /// Only our part is closed, and never more than the venue holds.
    #[test]
    fn foreign_position_is_not_closed() {
        let check = |foreign, venue, expected| {
            beside(InstKind::Swap, foreign, (venue, 0, 0), &swap(), expected)
        };
        check(2, 7, "sell 5 reduce-only");
        check(-2, 7, "sell 7 reduce-only");
        check(-2, -7, "buy 5 reduce-only");
        check(9, 7, "nothing to close: 0 held");
        check(7, 7, "nothing to close: 0 held");
    }

    /// A position of exactly the minimum size is closed; a smaller one is reported as nothing to
    /// close.
    #[test]
    fn smallest_order_closes_less_is_reported() {
        let least = |n: i64| Instrument {
            min_size: Qty(Decimal::from(n)),
            ..swap()
        };
        beside(
            InstKind::Swap,
            0,
            (7, 0, 0),
            &least(7),
            "sell 7 reduce-only",
        );
        beside(
            InstKind::Swap,
            0,
            (7, 0, 0),
            &least(8),
            "nothing to close: 7 held",
        );
        let most = Instrument {
            max_market_size: Qty(Decimal::from(3)),
            ..swap()
        };
        beside(InstKind::Swap, 0, (7, 0, 0), &most, "sell 3 reduce-only");
    }
}
