//! Amending an order that rests.

use rust_decimal::Decimal;

use super::types::*;
use super::{Event, Exchange};
use crate::domain::{OrdType, Side};

impl Exchange {
    /// `trade/amend-order`: a new total size, a new price, or both. `Ok` means it was amended; an
    /// order whose new size is at or below what is filled counts as filled.
    pub fn amend(
        &mut self,
        inst: &str,
        ord_id: &str,
        cl_ord_id: &str,
        amend: &Amend,
    ) -> Result<u64, Rejection> {
        if ord_id.is_empty() && cl_ord_id.is_empty() {
            return Err(Rejection::new(
                "51003",
                "Either client order ID or order ID is required.",
            ));
        }
        let gone =
            "Order modification failed as the order has been filled, canceled or does not exist.";
        let order = self
            .find_order(inst, ord_id, cl_ord_id)
            .filter(|o| o.status.is_open())
            .cloned();
        let order = order.ok_or_else(|| Rejection::new("51503", gone))?;
        if amend.size.is_none() && amend.price.is_none() {
            return Err(Rejection::new(
                "51500",
                "You must enter a price, quantity or TP/SL.",
            ));
        }
        match self.check_amend(&order, amend) {
            Ok(()) => {}
            Err(refusal) => {
                if amend.cancel_on_fail {
                    self.cancel_with(order.id, "1");
                }
                return Err(refusal);
            }
        }
        self.apply_amend(order.id, amend);
        Ok(order.id)
    }

    fn check_amend(&self, order: &VenueOrder, amend: &Amend) -> Result<(), Rejection> {
        let inst = self.rules(
            &self
                .market
                .get(&order.inst)
                .expect("orders are in listed instruments")
                .listing
                .inst,
        );
        Self::check_live(inst)?;
        self.check_feed(&order.inst)?;
        let size = amend.size.unwrap_or(order.size);
        if size <= Decimal::ZERO || !(size % inst.lot.0).is_zero() {
            return Err(Rejection::new(
                "51121",
                "Order quantity must be a multiple of the lot size.",
            ));
        }
        if size < inst.min_size.0 {
            return Err(Rejection::new(
                "51020",
                "Your order should meet or exceed the minimum order amount.",
            ));
        }
        if size > inst.max_limit_size.0 {
            return Err(Rejection::new("51101", "Order amount exceeds the maximum."));
        }
        let old = order.price.unwrap_or_default();
        let price = match amend.price {
            Some(price) => self.check_price(inst, order.side, Some(price), order.ord_type)?,
            None => old,
        };
        let moved = VenueOrder {
            price: Some(price),
            size,
            ..order.clone()
        };
        if order.ord_type == OrdType::PostOnly && !self.fillable(&moved).is_empty() {
            return Err(Rejection::new(
                "51511",
                "Failed to amend: a post-only order would be filled at once.",
            ));
        }
        if order.reduce_only {
            let held = self
                .ledger
                .positions
                .get(&order.inst)
                .map_or(Decimal::ZERO, |p| p.qty);
            let reducible = if order.side == Side::Sell {
                held
            } else {
                -held
            };
            if size - order.filled > reducible.max(Decimal::ZERO) {
                let why =
                    "Failed to amend order: reduce-only orders can't be larger than the position.";
                return Err(Rejection::new("51170", why));
            }
            return Ok(());
        }
        self.check_funds(
            &order.inst,
            order.side,
            size - order.filled,
            price,
            Some(order),
        )
    }

    fn apply_amend(&mut self, id: u64, amend: &Amend) {
        let now = self.now;
        let order = self.ledger.orders.get_mut(&id).expect("checked by amend");
        let grown = amend.size.is_some_and(|size| size > order.size);
        let moved = amend.price.is_some_and(|price| Some(price) != order.price);
        if let Some(size) = amend.size {
            order.size = size.max(order.filled);
            order.asked = order.size;
        }
        order.price = amend.price.or(order.price);
        order.updated = now;
        self.changes.orders.insert(id);
        let order = &self.ledger.orders[&id];
        self.events.push(Event::Amended(
            Box::new(order.clone()),
            amend.req_id.clone(),
        ));
        self.events.push(Event::Account);
        if order.filled == order.size {
            return self.finish(id, Status::Filled, "");
        }
        // Only a smaller size keeps its place; any other change is a new arrival at its price.
        if moved || grown {
            self.match_incoming(id);
            if self.ledger.orders[&id].status.is_open() {
                self.note_resting(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::market::SimMarket;
    use super::*;
    use crate::domain::Ms;

    const SWAP: &str = "BTC-USDT-SWAP";

    fn resting() -> (Exchange, u64, Decimal) {
        let mut x = Exchange::new(
            Arc::new(SimMarket::new(4)),
            VenueLedger::default(),
            Ms::secs(1_780_000_000),
        );
        x.deposit("USDT", Decimal::from(100_000));
        x.advance(Ms::secs(1_780_000_000));
        let price = x.book(SWAP).bids[0].price - Decimal::from(100);
        let new = NewOrder {
            ord_type: OrdType::Limit,
            price: Some(price),
            cl_ord_id: "one".into(),
            ..NewOrder::market(SWAP, Side::Buy, Decimal::from(5))
        };
        let id = x.place(new).unwrap();
        (x, id, price)
    }

    fn size(size: i64) -> Amend {
        Amend {
            size: Some(Decimal::from(size)),
            ..Default::default()
        }
    }

    /// A new price loses the place in the queue.
    #[test]
    fn only_size_decrease_keeps_queue_place() {
        let (mut x, id, price) = resting();
        x.ledger.orders.get_mut(&id).unwrap().queue_ahead = Decimal::ONE;
        x.amend(SWAP, "", "one", &size(3)).unwrap();
        assert_eq!(x.ledger.orders[&id].queue_ahead, Decimal::ONE);
        let better = x.book(SWAP).bids[0].price;
        x.amend(
            SWAP,
            "",
            "one",
            &Amend {
                price: Some(better),
                ..Default::default()
            },
        )
        .unwrap();
        assert_ne!(x.ledger.orders[&id].queue_ahead, Decimal::ONE);
        assert!(better > price && x.ledger.orders[&id].size == Decimal::from(3));
    }

    #[test]
    fn an_amended_price_that_crosses_takes() {
        let (mut x, id, _) = resting();
        let ask = x.book(SWAP).asks[24].price;
        x.amend(
            SWAP,
            &id.to_string(),
            "",
            &Amend {
                price: Some(ask),
                ..Default::default()
            },
        )
        .unwrap();
        assert_eq!(x.ledger.orders[&id].status, Status::Filled);
    }

    /// The order stays live unless cancel-on-fail was set; after that it cannot be amended.
    #[test]
    fn invalid_amend_is_refused() {
        let (mut x, id, price) = resting();
        let code =
            |x: &mut Exchange, amend: &Amend| x.amend(SWAP, "", "one", amend).unwrap_err().code;
        assert_eq!(code(&mut x, &Amend::default()), "51500");
        assert_eq!(
            code(
                &mut x,
                &Amend {
                    price: Some(price + Decimal::new(1, 2)),
                    ..Default::default()
                }
            ),
            "51000"
        );
        assert_eq!(
            code(
                &mut x,
                &Amend {
                    size: Some(Decimal::new(5, 3)),
                    ..Default::default()
                }
            ),
            "51121"
        );
        assert_eq!(code(&mut x, &size(900_000)), "51008");
        assert_eq!(x.ledger.orders[&id].status, Status::Live);
        assert_eq!(
            code(
                &mut x,
                &Amend {
                    cancel_on_fail: true,
                    ..size(900_000)
                }
            ),
            "51008"
        );
        assert_eq!(x.ledger.orders[&id].status, Status::Canceled);
        assert_eq!(code(&mut x, &size(2)), "51503");
    }
}
