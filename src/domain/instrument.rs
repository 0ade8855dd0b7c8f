//! Instruments that may be traded, and their steps of price and size. The only place that rounds,
//! always in a stated direction.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{InstId, Price, Qty, Side, Usd};

/// Kinds of instrument we trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum InstKind {
    /// Coins against coins; no short side, fees may come out of the coin bought.
    Spot,
    /// Linear perpetual swap, margined and settled in the quote currency.
    Swap,
}

impl InstKind {
    /// OKX's `instType`.
    pub const fn okx(self) -> &'static str {
        match self {
            InstKind::Spot => "SPOT",
            InstKind::Swap => "SWAP",
        }
    }

    /// Kind of an instrument by its name, the only place that reads it from there. OKX names spot
    /// pairs `BTC-USDT` and perpetual swaps `BTC-USDT-SWAP` (`instId`); what is neither, such as a
    /// dated future, counts as spot and is refused where its rules are read.
    pub fn named(inst: &str) -> Self {
        match inst.rsplit('-').next() {
            Some("SWAP") => InstKind::Swap,
            _ => InstKind::Spot,
        }
    }
}

/// The venue's word on whether it may be traded. Only `Live` may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstState {
    Live,
    /// Anything else, in the venue's own spelling.
    Other(String),
}

/// One instrument's rules, as the venue states them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instrument {
    pub id: InstId,
    pub kind: InstKind,
    pub base: String,
    pub quote: String,
    /// Price step.
    pub tick: Price,
    /// Size step, in base units or contracts.
    pub lot: Qty,
    /// Least size; need not equal the lot.
    pub min_size: Qty,
    /// Largest size of one limit order.
    pub max_limit_size: Qty,
    /// Most of one market order: contracts of a swap, worth in the quote currency on spot (OKX
    /// `maxMktSz`); see [`Instrument::most_at_market`].
    #[serde(default = "unbounded")]
    pub max_market_size: Qty,
    /// Base units in one contract (ctVal × ctMult); 1 for spot.
    pub contract_value: Decimal,
    /// Largest leverage; 1 for spot.
    pub max_leverage: Decimal,
    /// Code of the instrument in WebSocket order operations; differs between live and demo.
    pub code: Option<i64>,
    pub state: InstState,
}

/// A row of a database from before this was kept.
fn unbounded() -> Qty {
    Qty(Decimal::MAX)
}

impl Instrument {
    /// Returns the number of steps in a value; `None`: more than a decimal can count, so that
    /// rounding would change nothing.
    fn steps(
        &self,
        value: rust_decimal::Decimal,
        step: rust_decimal::Decimal,
    ) -> Option<rust_decimal::Decimal> {
        value.checked_div(step)
    }
    /// Size rounded **toward zero** to the lot: never more than was meant.
    pub fn floor_lot(&self, qty: Qty) -> Qty {
        Qty(self
            .steps(qty.0, self.lot.0)
            .map_or(qty.0, |lots| lots.trunc().saturating_mul(self.lot.0)))
    }
    /// The most that one market order may be, in base units or contracts, at about this price: on
    /// spot the venue says it in the quote currency. Without a price, what a limit order may be.
    pub fn most_at_market(&self, price: Price) -> Qty {
        match self.kind {
            InstKind::Swap => self.max_market_size,
            InstKind::Spot => {
                let units = Some(price.0).filter(|px| *px > Decimal::ZERO);
                let units = units.and_then(|px| self.max_market_size.0.checked_div(px));
                units.map_or(self.max_limit_size, |units| self.floor_lot(Qty(units)))
            }
        }
    }
    /// Price rounded **down** to the tick.
    pub fn floor_tick(&self, price: Price) -> Price {
        Price(
            self.steps(price.0, self.tick.0)
                .map_or(price.0, |ticks| ticks.floor().saturating_mul(self.tick.0)),
        )
    }
    /// Price rounded **up** to the tick.
    pub fn ceil_tick(&self, price: Price) -> Price {
        Price(
            self.steps(price.0, self.tick.0)
                .map_or(price.0, |ticks| ticks.ceil().saturating_mul(self.tick.0)),
        )
    }
    /// A limit price rounded so that it is never worse for us than what was asked.
    pub fn limit_tick(&self, side: Side, price: Price) -> Price {
        match side {
            Side::Buy => self.floor_tick(price),
            Side::Sell => self.ceil_tick(price),
        }
    }
    /// True if the size is a whole number of lots.
    pub fn on_lot(&self, qty: Qty) -> bool {
        qty.0
            .checked_rem(self.lot.0)
            .is_some_and(|rest| rest.is_zero())
    }
    /// True if the price is a whole number of ticks.
    pub fn on_tick(&self, price: Price) -> bool {
        price
            .0
            .checked_rem(self.tick.0)
            .is_some_and(|rest| rest.is_zero())
    }
    /// Why the venue's rules, as they are here, have no room for an order of this size and limit
    /// price. `None`: it can be sent.
    pub fn why_unfit(&self, qty: Qty, limit: Option<Price>) -> Option<String> {
        if let InstState::Other(state) = &self.state {
            return Some(format!("{} is not live: {state}", self.id));
        }
        if qty < self.min_size || !self.on_lot(qty) {
            return Some(format!(
                "its size of {qty} is not at least {} in steps of {}",
                self.min_size, self.lot
            ));
        }
        let limit = limit.filter(|limit| limit.0 <= Decimal::ZERO || !self.on_tick(*limit));
        limit.map(|limit| {
            format!(
                "its price of {limit} is not above 0 in steps of {}",
                self.tick
            )
        })
    }
    /// Value of `qty` at `price`, without sign. `None` on overflow.
    pub fn notional(&self, qty: Qty, price: Price) -> Option<Usd> {
        qty.0
            .abs()
            .checked_mul(self.contract_value)?
            .checked_mul(price.0)
            .map(Usd)
    }
    /// The size whose value at `price` is `value`, rounded toward zero to the lot. Zero if price is
    /// not positive.
    pub fn size_for(&self, value: Usd, price: Price) -> Qty {
        let unit = match price.0.checked_mul(self.contract_value) {
            Some(unit) if unit > Decimal::ZERO => unit,
            _ => return Qty::ZERO,
        };
        value
            .0
            .checked_div(unit)
            .map_or(Qty::ZERO, |raw| self.floor_lot(Qty(raw)))
    }
    /// The currency that margin, profit and swap fees are counted in.
    pub fn settle(&self) -> &str {
        &self.quote
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A swap with awkward steps: ten contracts to the coin, halves of a tick.
    pub fn swap() -> Instrument {
        Instrument {
            id: InstId::from("ETH-USDT-SWAP"),
            kind: InstKind::Swap,
            base: "ETH".into(),
            quote: "USDT".into(),
            tick: Price(Decimal::new(5, 2)),
            lot: Qty(Decimal::new(1, 1)),
            min_size: Qty(Decimal::new(1, 1)),
            max_limit_size: Qty(Decimal::from(100_000)),
            max_market_size: Qty(Decimal::from(10_000)),
            contract_value: Decimal::new(1, 1),
            max_leverage: Decimal::from(10),
            code: Some(7),
            state: InstState::Live,
        }
    }

    /// On a swap it is in contracts; without a price the cap of a limit order applies.
    #[test]
    fn spot_market_order_cap_is_in_dollars() {
        let price = |text: &str| Price(text.parse().unwrap());
        let most = |inst: &Instrument, at: &str| inst.most_at_market(price(at)).to_string();
        let most_of = |kind: InstKind| Instrument {
            kind,
            max_market_size: Qty(Decimal::from(1_000_000)),
            ..swap()
        };
        assert_eq!(most(&most_of(InstKind::Swap), "40000"), "1000000");
        assert_eq!(most(&most_of(InstKind::Spot), "40000"), "25");
        let cheap = Instrument {
            max_limit_size: Qty(Decimal::MAX),
            ..most_of(InstKind::Spot)
        };
        assert_eq!(
            most(&cheap, "0.00001"),
            "100000000000",
            "a million dollars of a coin worth nothing"
        );
        assert_eq!(
            most(&most_of(InstKind::Spot), "0"),
            swap().max_limit_size.to_string(),
            "no price"
        );
    }

    proptest! {
        /// The rounded quantity lies on the lot, less than one lot away.
        #[test]
        fn lots_round_toward_zero(mantissa in -10_000_000_000i64..10_000_000_000, scale in 0u32..10) {
            let (inst, qty) = (swap(), Qty(Decimal::new(mantissa, scale)));
            let floored = inst.floor_lot(qty);
            prop_assert!(inst.on_lot(floored));
            prop_assert!(floored.abs() <= qty.abs());
            prop_assert!(qty.abs().0 - floored.abs().0 < inst.lot.0);
        }

        /// Rounding to the tick goes down for a buy and up for a sell.
        #[test]
        fn limit_is_never_worse_than_asked(mantissa in 1i64..10_000_000_000, scale in 0u32..8) {
            let (inst, price) = (swap(), Price(Decimal::new(mantissa, scale)));
            prop_assert!(inst.limit_tick(Side::Buy, price) <= price);
            prop_assert!(inst.limit_tick(Side::Sell, price) >= price);
            prop_assert!(inst.on_tick(inst.limit_tick(Side::Buy, price)));
        }

        /// The size for a value never costs more than that value at its price.
        #[test]
        fn row_84_size_never_exceeds_its_value(value in 0i64..1_000_000_000, price in 1i64..1_000_000_000) {
            let (inst, value, price) = (swap(), Usd(Decimal::new(value, 2)), Price(Decimal::new(price, 2)));
            prop_assert!(inst.notional(inst.size_for(value, price), price).unwrap() <= value);
        }
    }
}
