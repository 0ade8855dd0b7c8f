//! From a wish to an order, as `allocation/sizing.rs` does it, for one sleeve in one instrument.

use rust_decimal::Decimal;

use super::super::sleeve_sim::{SimOrder, SleeveSim};
use super::super::{BacktestMarket, Contender, Rules};
use super::side_of;
use crate::domain::{Side, WorkingPolicy};
use crate::fills::{Kind, Number};

/// Sizing inputs that do not change within a run.
pub(super) struct Sizing {
    /// Share of equity that the slot is.
    slot: f64,
    band: f64,
    stop_default: f64,
    /// Gain of one lot per tick.
    unit: f64,
    /// Lots of the smallest order.
    least: i64,
    swap: bool,
    execution: WorkingPolicy,
    span: i64,
}

impl Sizing {
    pub(super) fn of(market: &BacktestMarket, contender: &Contender, rules: &Rules) -> Self {
        let inst = &market.instrument;
        let unit = inst.tick.0 * inst.lot.0 * inst.contract_value;
        Self {
            slot: f64::of((Decimal::ONE - rules.reserve) * contender.weight),
            band: f64::of(rules.no_trade_band),
            stop_default: f64::of(rules.stop_default),
            unit: f64::of(unit),
            least: Number::ceil(inst.min_size.0 / inst.lot.0).max(1),
            swap: market.is_swap(),
            execution: contender.execution,
            span: market.columns.bar.span().0,
        }
    }

    /// The order that brings the sleeve to its target, if one is worth it. `until` is counted in
    /// bars from its first.
    #[inline]
    pub(super) fn child(
        &self,
        sleeve: &SleeveSim,
        target: i32,
        stop: f64,
        equity: f64,
        close: f64,
    ) -> Option<SimOrder> {
        if sleeve.is_busy() {
            return None;
        }
        let share = f64::from(if self.swap { target } else { target.max(0) }) / 10_000.0;
        let slot = equity * self.slot;
        let lot_value = close * self.unit;
        let magnitude = Number::floor(slot * share.abs() / lot_value).max(0);
        let wanted = if share < 0.0 { -magnitude } else { magnitude };
        let delta = wanted - sleeve.held;
        let lots = delta.abs();
        if lots < self.least || (wanted != 0 && (lots as f64) * lot_value < self.band * slot) {
            return None;
        }
        Some(self.order(sleeve.held, (wanted, delta), target, stop, close))
    }

    #[cold]
    #[inline(never)]
    fn order(
        &self,
        held: i64,
        (wanted, delta): (i64, i64),
        target: i32,
        stop: f64,
        close: f64,
    ) -> SimOrder {
        let side = side_of(delta);
        let opening = !(held * wanted.signum() >= 0 && wanted.abs() < held.abs());
        let (bid, ask) = (close - 1.0, close + 1.0);
        let (kind, lasts) = match self.execution {
            WorkingPolicy::Market { .. } => (Kind::Market, usize::MAX),
            WorkingPolicy::IocLimit { collar, .. } => {
                let collar = f64::of(collar.fraction());
                let limit = match side {
                    Side::Buy => Number::floor(ask * (1.0 + collar)),
                    Side::Sell => Number::ceil(bid * (1.0 - collar)),
                };
                (Kind::Ioc(limit), usize::MAX)
            }
            WorkingPolicy::PostOnly { ttl, .. } => {
                let limit = if side == Side::Buy { bid } else { ask };
                let bars = (ttl.0 + self.span - 1) / self.span;
                (Kind::PostOnly(limit as i64), bars.max(1) as usize)
            }
        };
        let price = match kind {
            Kind::Market => close,
            Kind::Ioc(limit) | Kind::Limit(limit) | Kind::PostOnly(limit) => limit as f64,
        };
        let away = |from: f64, share: f64, side: Side| match side {
            Side::Buy => Number::ceil(from * (1.0 - share)),
            Side::Sell => Number::floor(from * (1.0 + share)),
        };
        let protects = |trigger: &i64| {
            if side == Side::Buy {
                (*trigger as f64) < price
            } else {
                (*trigger as f64) > price
            }
        };
        let distance = (stop * 1e6).round() / 1e6;
        let named = (distance > 0.0 && target != 0)
            .then(|| away(close, distance, side_of(i64::from(target))));
        let stop = named
            .filter(protects)
            .or_else(|| {
                Some(away(price, self.stop_default, side))
                    .filter(|trigger| *trigger > 0 && protects(trigger))
            })
            .filter(|_| opening);
        SimOrder {
            id: 0,
            side,
            kind,
            lots: delta.abs(),
            from: 0,
            until: lasts,
            opening,
            stop,
            target: None,
        }
    }
}
