//! Attribution of the venue's statements, and whether each can be true.

use super::{Foreign, Ledger, Odd, OddKind};
use crate::domain::order::{Contradiction, FillFacts, FillNews, Teller};
use crate::domain::record::{Correction, Record};
use crate::domain::{ClOrdId, InstId, Ms, Order, OrderId, Qty, Side, StopOrder, Usd, VenueOrdId};
use crate::venue::{OrderPush, RawFill};

/// No order and no fill is worth more dollars than this: what is said to be is a mistake of
/// somebody's.
const NOTIONAL_MAX: Usd = Usd(rust_decimal::Decimal::from_parts(
    1_316_134_912,
    2328,
    0,
    false,
    0,
)); // ten trillion

/// The order of ours that a push is about.
pub(super) enum Whose {
    Ours(OrderId),
    /// The venue has made it on our behalf (the child of a stop, a liquidation), and we hear of it
    /// for the first time.
    Descendant(Box<Descendant>),
}

/// An order to be adopted, and everything that changes with it.
pub(super) struct Descendant {
    pub order: Order,
    pub venue_id: VenueOrdId,
    /// The stop it came of, triggered.
    pub stop: Option<StopOrder>,
    pub records: Vec<Record>,
}

impl Ledger {
    /// Finds whose order a push is about. Nothing changes yet: a push that turns out to be
    /// impossible must leave no trace, here or in the database.
    pub(super) fn identify(&self, push: &OrderPush, now: Ms) -> Result<Whose, Foreign> {
        if let Some(order) = self
            .by_venue
            .get(&push.report.venue_id)
            .and_then(|id| self.orders.get(id))
        {
            if !order.is_told_of(&push.inst, push.side, &push.cl_ord_id) {
                return Err(mistaken(
                    order,
                    &push.report.venue_id,
                    (&push.inst, push.side, &push.cl_ord_id),
                ));
            }
            return Ok(Whose::Ours(order.id.clone()));
        }
        if !push.cl_ord_id.is_empty() {
            let id = OrderId::from(push.cl_ord_id.as_str());
            if let Some(order) = self.orders.get(&id) {
                if !order.is_told_of(&push.inst, push.side, &push.cl_ord_id) {
                    return Err(mistaken(
                        order,
                        &push.report.venue_id,
                        (&push.inst, push.side, &push.cl_ord_id),
                    ));
                }
                return Ok(Whose::Ours(id));
            }
            let ours = ClOrdId::is_ours(&push.cl_ord_id, self.env);
            return Err(if ours {
                Foreign::OursUnknown
            } else {
                Foreign::Stranger
            });
        }
        self.descent(push, now)
            .map(|adoption| Whose::Descendant(Box::new(adoption)))
    }

    /// The order that a push is about.
    pub(super) fn order_of<'a>(&'a self, whose: &'a Whose) -> &'a Order {
        match whose {
            Whose::Ours(id) => &self.orders[id],
            Whose::Descendant(adoption) => &adoption.order,
        }
    }

    /// Adopts what is ours by descent. The records go with it: memory and database know it both or
    /// neither.
    pub(super) fn take_in(&mut self, whose: Whose) -> (OrderId, Vec<Record>) {
        match whose {
            Whose::Ours(id) => (id, Vec::new()),
            Whose::Descendant(adoption) => {
                let Descendant {
                    order,
                    venue_id,
                    stop,
                    records,
                } = *adoption;
                let id = order.id.clone();
                self.by_venue.insert(venue_id, id.clone());
                self.orders.insert(id.clone(), order);
                if let Some(stop) = stop {
                    self.stops.insert(stop.id.clone(), stop);
                }
                (id, records)
            }
        }
    }

    /// Checks that the sizes and prices told of an order can be true of it.
    pub(super) fn believable(&self, order: &Order, push: &OrderPush) -> Result<(), Foreign> {
        let fill = push.fill.as_ref();
        if let Some(fill) = fill.filter(|fill| !order.has_fill(&fill.trade_id)) {
            self.fill_believable(order, fill)?;
            let facts = FillFacts {
                qty: fill.qty,
                price: fill.price,
                fee: fill.fee,
            };
            if order.adds_up(
                &fill.trade_id,
                &facts,
                push.report.filled,
                push.report.average,
            ) == Some(false)
            {
                return Err(Foreign::Unbelievable(format!(
                    "a fill of {} at {} of order {} does not go with {} filled at {}",
                    fill.qty,
                    fill.price,
                    order.id,
                    push.report.filled,
                    push.report.average.unwrap_or_default()
                )));
            }
            // What the venue's list says of a price is believed; a push that cannot be right waits
            // for that.
            if !order.may_fill_at(fill.price) {
                let of = order
                    .limit
                    .map_or(format!("decided at {}", order.reference), |limit| {
                        format!("limited to {limit}")
                    });
                return Err(Foreign::Unbelievable(format!(
                    "a fill at {} of order {}, {of}",
                    fill.price, order.id
                )));
            }
        }
        let Some(inst) = self.instruments.get(&push.inst) else {
            return Ok(());
        };
        let price = push
            .limit
            .or(push.report.average)
            .unwrap_or(order.reference);
        for qty in [Some(push.report.filled), push.qty].into_iter().flatten() {
            if inst
                .notional(qty, price)
                .is_none_or(|worth| worth > NOTIONAL_MAX)
            {
                return Err(Foreign::Unbelievable(format!(
                    "{qty} of {} at {price}",
                    push.inst
                )));
            }
        }
        Ok(())
    }

    pub(super) fn fill_believable(&self, order: &Order, fill: &RawFill) -> Result<(), Foreign> {
        let Some(inst) = self.instruments.get(&order.inst) else {
            return Ok(());
        };
        let worth = inst
            .notional(fill.qty, fill.price)
            .filter(|worth| *worth <= NOTIONAL_MAX);
        let Some(worth) = worth else {
            return Err(Foreign::Unbelievable(format!(
                "a fill of {} {} at {}",
                fill.qty, order.inst, fill.price
            )));
        };
        // In the coin it is worth so much at the fill's own price.
        let fee = if fill.fee_ccy == inst.base {
            fill.fee.checked_mul(fill.price.0)
        } else {
            Some(fill.fee)
        };
        match fee {
            Some(fee) if fee.abs() <= worth.0 => Ok(()),
            _ => Err(Foreign::Unbelievable(format!(
                "a fee of {} on a fill worth {worth} of order {}",
                fill.fee, order.id
            ))),
        }
    }

    /// Takes a word on an execution of an order of ours.
    pub(super) fn take_fill(
        &mut self,
        id: &OrderId,
        raw: &RawFill,
        by: Teller,
        now: Ms,
    ) -> Vec<Record> {
        let Some(order) = self.orders.get_mut(id) else {
            return Vec::new();
        };
        let (before, inst, side) = (order.qty, order.inst.clone(), order.side);
        let facts = FillFacts {
            qty: raw.qty,
            price: raw.price,
            fee: raw.fee,
        };
        let news = order.add_fill(raw.trade_id.clone(), facts.clone(), by);
        let mut records = Vec::new();
        let order = &self.orders[id];
        if order.qty > before {
            records.extend(self.enlarged(id, before, now));
        }
        match news {
            FillNews::Known => {}
            FillNews::New => records.extend(self.fill(id, raw.clone(), side)),
            FillNews::Corrected { was } => {
                let why = format!(
                    "fill {} of order {id} was told as {} at {}, fee {}; the venue's list has {} at {}, fee {}",
                    raw.trade_id, was.qty, was.price, was.fee, facts.qty, facts.price, facts.fee
                );
                let order = &self.orders[id];
                let venue = order
                    .venue_id
                    .clone()
                    .unwrap_or_else(|| VenueOrdId::from(""));
                let fill = raw
                    .clone()
                    .of(&inst, side, id, &venue, &order.contender, order.run_id);
                records.push(Record::Corrected(Box::new(Correction {
                    fill,
                    was,
                    at: now,
                })));
                self.odd.push(Odd {
                    inst,
                    what: OddKind::Corrected,
                    why,
                });
            }
            FillNews::Doubtful { booked } => {
                let why = format!(
                    "fill {} of order {id} is booked as {} at {}, fee {}, and now told as {} at {}, fee {}",
                    raw.trade_id,
                    booked.qty,
                    booked.price,
                    booked.fee,
                    facts.qty,
                    facts.price,
                    facts.fee
                );
                self.odd.push(Odd {
                    inst,
                    what: OddKind::Doubtful,
                    why,
                });
            }
        }
        records
    }

    /// An order of ours is larger at the venue than it was: somebody has amended it. What it fills
    /// is ours all the same.
    pub(super) fn enlarged(&mut self, id: &OrderId, before: Qty, now: Ms) -> Vec<Record> {
        let Some(order) = self.orders.get(id) else {
            return Vec::new();
        };
        let why = format!(
            "order {id} over {before} is {} at the venue: somebody has enlarged it",
            order.qty
        );
        self.odd.push(Odd {
            inst: order.inst.clone(),
            what: OddKind::Enlarged,
            why,
        });
        let (order_id, run_id, qty) = (id.clone(), order.run_id, order.qty);
        vec![Record::Resized {
            order_id,
            run_id,
            qty,
            at: now,
        }]
    }
}

pub(super) fn mistaken(
    order: &Order,
    venue_id: &VenueOrdId,
    (inst, side, name): (&InstId, Side, &str),
) -> Foreign {
    let said = format!(
        "{} of {inst}, {}",
        if name.is_empty() {
            "an order without a name"
        } else {
            name
        },
        side.as_str()
    );
    Foreign::Mistaken(Contradiction::OtherOrder {
        order: order.id.clone(),
        venue_id: venue_id.clone(),
        said,
        named: (!name.is_empty()).then(|| OrderId::new(name)),
    })
}
