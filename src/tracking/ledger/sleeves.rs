//! Holdings of each contender: fills of its own orders, and moves that no trade of its own made.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::Ledger;
use crate::domain::books::Holding;
use crate::domain::record::{Adjustment, Record};
use crate::domain::tally::Counted;
use crate::domain::{ContenderId, Fill, InstId, Instrument, Ms, OrderId, Price, Qty, RunId, Usd};

impl Ledger {
    /// Sum of all sleeves in an instrument.
    pub fn net(&self, inst: &InstId) -> Decimal {
        self.holdings
            .iter()
            .filter(|((_, on), _)| on == inst)
            .map(|(_, held)| held.qty.0)
            .sum()
    }

    /// Sleeves that hold something of an instrument.
    pub fn sleeves(&self, inst: &InstId) -> BTreeMap<ContenderId, Decimal> {
        let held = self
            .holdings
            .iter()
            .filter(|((_, on), held)| on == inst && !held.qty.is_zero());
        held.map(|((contender, _), held)| (contender.clone(), held.qty.0))
            .collect()
    }

    /// Adds a fill to the sleeve of its contender and to the account's books.
    pub(super) fn book(&mut self, fill: &Fill) {
        let Some(inst) = self.instruments.get(&fill.inst) else {
            return;
        };
        let inst = Arc::clone(inst);
        let held = self
            .holdings
            .entry((fill.contender.clone(), fill.inst.clone()))
            .or_default();
        let before = held.clone();
        held.apply(&inst, fill);
        let after = held.clone();
        self.books.fill(&inst, fill);
        let value = inst.notional(fill.qty, fill.price).unwrap_or_default();
        self.count(
            &inst,
            (&before, &after),
            (&fill.contender, &fill.inst, &fill.order_id),
            value,
            fill.at,
        );
    }

    /// Adds a move between sleeves.
    pub(super) fn shift(&mut self, row: &Adjustment) {
        let Some(inst) = self.instruments.get(&row.inst) else {
            return;
        };
        let inst = Arc::clone(inst);
        let held = self
            .holdings
            .entry((row.contender.clone(), row.inst.clone()))
            .or_default();
        let before = held.clone();
        held.shift(&inst, row.qty, row.price);
        let after = held.clone();
        let order = OrderId::new(row.reference.as_str());
        let owner = (&row.contender, &row.inst, &order);
        self.count(&inst, (&before, &after), owner, Usd::ZERO, row.at);
    }

    /// Counts a fill or a move. What is below the smallest order is nothing.
    fn count(
        &mut self,
        inst: &Instrument,
        (before, after): (&Holding, &Holding),
        (contender, on, order): (&ContenderId, &InstId, &OrderId),
        value: Usd,
        at: Ms,
    ) {
        let size = |held: &Holding| {
            if held.qty.abs() < inst.min_size {
                Decimal::ZERO
            } else {
                held.qty.0
            }
        };
        let worth = |held: &Holding| held.realised.saturating_add(held.fees);
        let (profit, held) = (
            worth(after).saturating_sub(worth(before)),
            (size(before), size(after)),
        );
        let (fee, purpose) = (
            after.fees.saturating_sub(before.fees),
            self.orders.get(order).map(|order| order.purpose),
        );
        self.tally.count(&Counted {
            contender,
            inst: on,
            order,
            value,
            profit,
            fee,
            purpose,
            held,
            at,
        });
    }

    /// A trade that no decision of a contender made (a close by command, a liquidation) is booked
    /// to the order's owner; what it does not hold of that is taken from the other sleeves whose
    /// position it closed, each its share.
    pub(super) fn hand_down(&mut self, fill: &Fill, kind: &'static str) -> Vec<Record> {
        let owner = fill.contender.clone();
        let left = self
            .holdings
            .get(&(owner.clone(), fill.inst.clone()))
            .map_or(Decimal::ZERO, |h| h.qty.0);
        let Some(inst) = self.instruments.get(&fill.inst).cloned() else {
            return Vec::new();
        };
        if left.is_zero() || left.is_sign_negative() != (fill.side == crate::domain::Side::Sell) {
            return Vec::new();
        }
        let mut sleeves = self.sleeves(&fill.inst);
        sleeves.remove(&owner);
        let shares = spread(left, &sleeves, inst.lot.0);
        let mut out = Vec::new();
        for (contender, share) in shares {
            for (who, qty) in [(contender, share), (owner.clone(), -share)] {
                out.push(self.adjust(
                    who,
                    &fill.inst,
                    qty,
                    fill.price,
                    (kind, fill.order_id.as_str()),
                    fill.run_id,
                    fill.at,
                ));
            }
        }
        out
    }

    /// Takes from the foreign position what an order without an owner (a close of everything, a
    /// stop of a position that is not ours) has taken from it. Returns the rows and what is left of
    /// the foreign position.
    pub fn settle_foreign(
        &mut self,
        inst: &InstId,
        foreign: Decimal,
        price: Price,
        (run_id, at): (RunId, Ms),
    ) -> (Vec<Record>, Decimal) {
        let (mut rows, mut left) = (Vec::new(), foreign);
        for owner in [ContenderId::system(), ContenderId::foreign()] {
            let held = self
                .holdings
                .get(&(owner.clone(), inst.clone()))
                .map_or(Decimal::ZERO, |h| h.qty.0);
            if held.is_zero()
                || left.is_zero()
                || held.is_sign_negative() == left.is_sign_negative()
            {
                continue;
            }
            let size = held.abs().min(left.abs());
            let back = if held.is_sign_negative() { size } else { -size };
            rows.push(self.adjust(
                owner,
                inst,
                back,
                price,
                ("foreign", "not ours"),
                run_id,
                at,
            ));
            left = left.saturating_sub(back);
        }
        (rows, left)
    }

    /// Books one move and gives its row.
    #[allow(clippy::too_many_arguments)]
    fn adjust(
        &mut self,
        contender: ContenderId,
        inst: &InstId,
        qty: Decimal,
        price: Price,
        (kind, reference): (&'static str, &str),
        run_id: RunId,
        at: Ms,
    ) -> Record {
        let row = Adjustment {
            contender,
            inst: inst.clone(),
            qty: Qty(qty),
            price,
            kind,
            reference: reference.to_owned(),
            run_id,
            at,
        };
        self.shift(&row);
        Record::Adjusted(row)
    }

    /// The venue's position is taken as it is: what is missing comes out of the sleeves on the
    /// position's side, each its share; what is too much is not ours.
    pub fn accept_position(
        &mut self,
        inst: &Instrument,
        venue: Decimal,
        foreign: Decimal,
        price: Price,
        (case, run_id, at): (&str, RunId, Ms),
    ) -> Vec<Record> {
        let ours = self.net(&inst.id);
        let claimed = venue.saturating_sub(foreign);
        // Ours is at most what we held, on the side we held it.
        let kept = if ours > Decimal::ZERO {
            claimed.clamp(Decimal::ZERO, ours)
        } else {
            claimed.clamp(ours, Decimal::ZERO)
        };
        let gone = kept.saturating_sub(ours);
        let mut rows = Vec::new();
        for (contender, share) in spread(gone, &self.sleeves(&inst.id), inst.lot.0) {
            rows.push(self.adjust(
                contender,
                &inst.id,
                share,
                price,
                ("accepted", case),
                run_id,
                at,
            ));
        }
        rows
    }
}

/// Splits `change` over those of `held` that it makes smaller: in proportion, in whole lots, what
/// is left to the largest first. Never more than any of them holds; what nobody can bear is not in
/// the answer.
pub(super) fn spread(
    change: Decimal,
    held: &BTreeMap<ContenderId, Decimal>,
    lot: Decimal,
) -> Vec<(ContenderId, Decimal)> {
    let opposite = |qty: Decimal| {
        !qty.is_zero() && !change.is_zero() && qty.is_sign_negative() != change.is_sign_negative()
    };
    let mut bearers: Vec<(&ContenderId, Decimal)> = held
        .iter()
        .filter(|(_, qty)| opposite(**qty))
        .map(|(who, qty)| (who, qty.abs()))
        .collect();
    bearers.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let total: Decimal = bearers.iter().map(|(_, qty)| *qty).sum();
    let asked = change.abs().min(total);
    if asked.is_zero() {
        return Vec::new();
    }
    let step = if lot > Decimal::ZERO {
        lot
    } else {
        Decimal::ONE
    };
    let mut shares: Vec<Decimal> = bearers
        .iter()
        .map(|(_, qty)| ((asked * *qty / total / step).floor() * step).min(*qty))
        .collect();
    let mut left = asked.saturating_sub(shares.iter().sum::<Decimal>());
    for (share, (_, qty)) in shares.iter_mut().zip(&bearers) {
        let more = left.min((*qty).saturating_sub(*share));
        *share = (*share).saturating_add(more);
        left = left.saturating_sub(more);
    }
    let sign = if change.is_sign_negative() {
        Decimal::NEGATIVE_ONE
    } else {
        Decimal::ONE
    };
    let signed = bearers
        .into_iter()
        .zip(shares)
        .filter(|(_, share)| !share.is_zero());
    signed
        .map(|((who, _), share)| (who.clone(), (share * sign).normalize()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(change: i64, held: &[(&str, i64)], expected: &str) {
        let held = held
            .iter()
            .map(|(who, qty)| ((*who).into(), Decimal::from(*qty)))
            .collect();
        let shown: Vec<String> = spread(Decimal::from(change), &held, Decimal::ONE)
            .iter()
            .map(|(who, q)| format!("{who} {q}"))
            .collect();
        assert_eq!(shown.join(", "), expected);
    }

    /// Among the sleeves it makes smaller, in whole lots.
    #[test]
    fn change_is_shared_pro_rata() {
        check(-10, &[("a", 10)], "a -10");
        check(-10, &[("a", 30), ("b", 10)], "a -8, b -2");
        check(-6, &[("a", 10), ("b", -4)], "a -6");
        check(6, &[("a", 10), ("b", -4)], "b 4");
        check(-1, &[("a", 1), ("b", 1)], "a -1");
        check(-50, &[("a", 10), ("b", 10)], "a -10, b -10");
        check(5, &[("a", 10)], "");
    }

    proptest! {
        /// And the whole change is shared out as far as holdings allow.
        #[test]
        fn shares_never_exceed_holdings(
            change in -100i64..100, held in proptest::collection::btree_map("[a-d]", -50i64..50, 0..4),
        ) {
            let held: BTreeMap<ContenderId, Decimal> =
                held.into_iter().map(|(who, qty)| (who.as_str().into(), Decimal::from(qty))).collect();
            let shares = spread(Decimal::from(change), &held, Decimal::ONE);
            let can: Decimal = held.values().filter(|q| (q.is_sign_negative()) != (change < 0)).map(Decimal::abs).sum();
            let borne: Decimal = shares.iter().map(|(_, q)| q.abs()).sum();
            prop_assert_eq!(borne, can.min(Decimal::from(change.abs())));
            for (who, share) in shares {
                prop_assert!(share.abs() <= held[&who].abs() && share.is_sign_negative() != held[&who].is_sign_negative());
            }
        }
    }
}
