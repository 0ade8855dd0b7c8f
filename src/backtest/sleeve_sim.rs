//! One sleeve in one instrument, bar by bar: what is held, the order that works, the stop. Pure;
//! whole ticks and lots.

use crate::domain::Side;
use crate::fills::{
    CostTerms, Guarded, Kind, LotSteps, Number, PartFill, Trigger, through, triggered,
};

/// An order that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimOrder {
    /// Counted from zero in the order of decisions.
    pub id: u32,
    pub side: Side,
    pub kind: Kind,
    /// Still to be filled.
    pub lots: i64,
    /// Index of the first bar that may fill it.
    pub from: usize,
    /// Index of the first bar that may not any more.
    pub until: usize,
    /// True if the order adds to the sleeve or reverses it.
    pub opening: bool,
    /// Stop and target that guard the sleeve once the order has ended.
    pub stop: Option<i64>,
    pub target: Option<i64>,
}

/// Cause of a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Order,
    Stop,
    Target,
    Liquidation,
}

/// One fill of a sleeve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Done<N> {
    pub cause: Cause,
    /// The order, or the one whose stop it was.
    pub order: u32,
    pub side: Side,
    pub fill: PartFill<N>,
}

/// A sleeve in one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SleeveSim {
    /// Lots, signed.
    pub held: i64,
    pub order: Option<SimOrder>,
    guard: Option<SimGuard>,
    /// A stop or target has gone off and is not filled yet.
    leaving: Option<(Trigger, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SimGuard {
    order: u32,
    stop: Option<i64>,
    target: Option<i64>,
}

impl SleeveSim {
    /// True while an order is working or the position is being closed.
    pub const fn is_busy(&self) -> bool {
        self.order.is_some() || self.leaving.is_some()
    }

    /// True if nothing can happen in a bar between these prices.
    pub fn is_quiet(&self, low: i64, high: i64) -> bool {
        if self.is_busy() {
            return false;
        }
        let Some(guard) = self.guard else { return true };
        let (below, above) = if self.held > 0 {
            (guard.stop, guard.target)
        } else {
            (guard.target, guard.stop)
        };
        below.is_none_or(|price| low > price) && above.is_none_or(|price| high < price)
    }

    /// The stop in force, in ticks.
    pub fn stop(&self) -> Option<i64> {
        self.guard.and_then(|guard| guard.stop)
    }

    /// Moves the stop nearer to the price; one that is further away changes nothing.
    pub fn tighten(&mut self, stop: i64) {
        let long = self.held > 0;
        if let Some(guard) = self.guard.as_mut().filter(|_| self.held != 0) {
            guard.stop = Some(match guard.stop {
                None => stop,
                Some(now) if long => now.max(stop),
                Some(now) => now.min(stop),
            });
        }
    }

    /// Takes an order.
    ///
    /// # Panics
    /// If one is under way: the allocator waits for it.
    pub fn place(&mut self, order: SimOrder) {
        assert!(!self.is_busy(), "a sleeve has one order at a time");
        assert!(order.lots > 0, "an order is of something");
        self.order = Some(order);
    }

    /// Whatever works is taken back, and what is held is to leave by a market order of this name,
    /// from a bar on.
    pub fn close(&mut self, id: u32, from: usize) {
        self.order = None;
        if self.held != 0 && self.leaving.is_none() {
            let side = if self.held > 0 { Side::Sell } else { Side::Buy };
            let (kind, lots) = (Kind::Market, self.held.abs());
            let (until, opening) = (usize::MAX, false);
            self.order = Some(SimOrder {
                id,
                side,
                kind,
                lots,
                from,
                until,
                opening,
                stop: None,
                target: None,
            });
        }
    }

    /// Lets one bar pass. `room`: lots that the bar may still fill. `purse`: what purchases may
    /// cost; none on margin.
    pub fn pass<N: Number>(
        &mut self,
        (index, bar): (usize, &LotSteps),
        room: &mut i64,
        purse: Option<N>,
        terms: &CostTerms<N>,
        out: &mut Vec<Done<N>>,
    ) {
        let mut at = Till {
            bar,
            room,
            purse,
            terms,
            out,
        };
        if self.leaving.is_none()
            && let Some((trigger, base)) = self
                .goes_off(bar, true)
                .filter(|(_, base)| *base == bar.open)
        {
            // It was there when the bar began, and the bar begins beyond it.
            self.leave(trigger, base, &mut at);
        } else if let Some((trigger, _)) = self.leaving {
            self.leave(trigger, bar.open, &mut at);
        }
        if self.leaving.is_none() {
            self.work(index, &mut at);
            if let Some((trigger, base)) = self.goes_off(bar, false) {
                self.leave(trigger, base, &mut at);
            }
        }
    }

    fn goes_off(&self, bar: &LotSteps, at_open: bool) -> Option<(Trigger, i64)> {
        let guard = self.guard.filter(|_| self.held != 0)?;
        triggered(
            bar,
            &Guarded {
                long: self.held > 0,
                stop: guard.stop,
                target: guard.target,
            },
            at_open,
        )
    }

    /// The order's turn.
    fn work<N: Number>(&mut self, index: usize, at: &mut Till<'_, N>) {
        let Some(mut order) = self.order.filter(|order| index >= order.from) else {
            return;
        };
        if index >= order.until {
            return self.end(&order);
        }
        let fresh = index == order.from;
        let mut matched = through(
            at.bar,
            (order.side, order.kind),
            order.lots,
            fresh,
            *at.room,
            at.terms,
        );
        if let (Some(fill), Some(purse), Side::Buy) = (matched.fill, at.purse, order.side)
            && fill.value + fill.fee > purse
        {
            // What it costs per lot now it costs at most when it is smaller.
            let affordable = (purse * N::whole(fill.lots) / (fill.value + fill.fee))
                .floor()
                .max(0);
            let room = affordable.min(*at.room);
            matched = through(
                at.bar,
                (order.side, order.kind),
                order.lots,
                fresh,
                room,
                at.terms,
            );
            // Coins are bought with what there is; the rest of the order would wait for ever.
            matched.over = true;
        }
        if let Some(fill) = matched.fill {
            order.lots -= fill.lots;
            self.book(
                Done {
                    cause: Cause::Order,
                    order: order.id,
                    side: order.side,
                    fill,
                },
                at,
            );
        }
        self.order = Some(order);
        if matched.over || order.lots == 0 {
            self.end(&order);
        }
    }

    /// The order has ended: what it leaves guards what is held from now on.
    fn end(&mut self, order: &SimOrder) {
        self.order = None;
        let same_side = self.held != 0 && (self.held > 0) == (order.side == Side::Buy);
        if order.opening && same_side {
            self.guard = Some(SimGuard {
                order: order.id,
                stop: order.stop,
                target: order.target,
            });
        }
    }

    /// Out of all of it, as far as the bar fills; whatever else worked is taken back.
    fn leave<N: Number>(&mut self, trigger: Trigger, base: i64, at: &mut Till<'_, N>) {
        self.order = None;
        let lots = self.held.abs();
        let size = lots.min(*at.room);
        let side = if self.held > 0 { Side::Sell } else { Side::Buy };
        let id = self.guard.map_or(0, |guard| guard.order);
        if size > 0 {
            let fill = crate::fills::taker(at.bar, side, base, size, at.terms);
            let cause = if trigger == Trigger::Stop {
                Cause::Stop
            } else {
                Cause::Target
            };
            self.book(
                Done {
                    cause,
                    order: id,
                    side,
                    fill,
                },
                at,
            );
        }
        self.leaving = (self.held != 0).then_some((trigger, self.held.abs()));
    }

    fn book<N: Number>(&mut self, done: Done<N>, at: &mut Till<'_, N>) {
        let before = self.held;
        self.held += signed(done.side, done.fill.lots);
        if self.held == 0 || (before > 0) != (self.held > 0) {
            self.guard = None;
        }
        *at.room -= done.fill.lots;
        if let Some(purse) = &mut at.purse {
            let cost = done.fill.value;
            *purse = if done.side == Side::Buy {
                *purse - cost
            } else {
                *purse + cost
            } - done.fill.fee;
        }
        at.out.push(done);
    }

    /// The venue closes all of it, whatever the room.
    pub fn liquidate<N: Number>(&mut self, fill: PartFill<N>, out: &mut Vec<Done<N>>) {
        let side = if self.held > 0 { Side::Sell } else { Side::Buy };
        debug_assert_eq!(fill.lots, self.held.abs(), "a liquidation takes all");
        let order = self.guard.map_or(0, |guard| guard.order);
        *self = Self::default();
        out.push(Done {
            cause: Cause::Liquidation,
            order,
            side,
            fill,
        });
    }
}

/// Inputs of a bar's fills, and where the fills go.
struct Till<'a, N> {
    bar: &'a LotSteps,
    room: &'a mut i64,
    purse: Option<N>,
    terms: &'a CostTerms<N>,
    out: &'a mut Vec<Done<N>>,
}

/// Lots with the sign a side gives them.
pub const fn signed(side: Side, lots: i64) -> i64 {
    match side {
        Side::Buy => lots,
        Side::Sell => -lots,
    }
}
