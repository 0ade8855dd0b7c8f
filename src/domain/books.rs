//! Our own books: positions and balances folded from fills, fees and funding, and nothing else.
//!
//! Average entry price and realised profit are rounded half-even to [`SCALE`] decimals at each
//! fill, so two folds over the same fills agree to the last digit.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use super::units::quotient;
use super::{Bill, Fill, InstKind, Instrument, Price, Qty, Side, Usd};

/// Decimals kept of an average price, a fee and a profit.
pub const SCALE: u32 = 12;

/// Half-even to [`SCALE`] decimals.
pub fn settle(value: Decimal) -> Decimal {
    value
        .round_dp_with_strategy(SCALE, RoundingStrategy::MidpointNearestEven)
        .normalize()
}

/// A position of one owner (the account, or one contender) in one instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Signed; for spot what is left after fees taken in the coin.
    pub qty: Qty,
    /// Volume-weighted entry of what is open; zero when flat.
    pub average: Price,
    /// Profit of what was closed, before fees, in the quote currency.
    pub realised: Decimal,
    /// Fees in the quote currency (fees in the coin are valued at the fill's price); negative is
    /// paid.
    pub fees: Decimal,
}

impl Holding {
    /// Adds one fill; returns the profit it realised, in the quote currency.
    pub fn apply(&mut self, inst: &Instrument, fill: &Fill) -> Decimal {
        let profit = self.shift(inst, fill.side.signed(fill.qty), fill.price);
        if fill.fee_ccy == inst.quote {
            self.fees = self.fees.saturating_add(fill.fee);
        } else {
            self.qty = Qty(self.qty.0.saturating_add(fill.fee).normalize());
            self.fees = settle(
                self.fees
                    .saturating_add(fill.fee.saturating_mul(fill.price.0)),
            );
        }
        if self.qty.is_zero() {
            self.average = Price::ZERO;
        }
        profit
    }

    /// Adds `signed` at `price`, without a fee: the trade half of a fill, or a move between
    /// sleeves. Returns the profit it realised, in the quote currency.
    pub fn shift(&mut self, inst: &Instrument, signed: Qty, price: Price) -> Decimal {
        let (signed, held) = (signed.0, self.qty.0);
        let profit = if held.is_zero() || held.is_sign_negative() == signed.is_sign_negative() {
            let total = held.saturating_add(signed);
            self.average = Price(settle(quotient(
                self.average
                    .0
                    .saturating_mul(held)
                    .saturating_add(price.0.saturating_mul(signed)),
                total,
            )));
            Decimal::ZERO
        } else {
            let closed = held.abs().min(signed.abs());
            let direction = if held.is_sign_negative() {
                Decimal::NEGATIVE_ONE
            } else {
                Decimal::ONE
            };
            let profit = settle(
                price
                    .0
                    .saturating_sub(self.average.0)
                    .saturating_mul(closed)
                    .saturating_mul(inst.contract_value)
                    .saturating_mul(direction),
            );
            if signed.abs() > held.abs() {
                self.average = price;
            }
            profit
        };
        self.qty = Qty(held.saturating_add(signed).normalize());
        if self.qty.is_zero() {
            self.average = Price::ZERO;
        }
        self.realised = settle(self.realised.saturating_add(profit));
        profit
    }

    /// Profit of what is open at `mark`, in the quote currency.
    pub fn unrealised(&self, inst: &Instrument, mark: Price) -> Usd {
        Usd(mark
            .0
            .saturating_sub(self.average.0)
            .saturating_mul(self.qty.0)
            .saturating_mul(inst.contract_value))
    }
}

/// The whole account as our own fills and the venue's non-trade bills make it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Swap positions by instrument; spot holdings are balances.
    pub positions: BTreeMap<String, Holding>,
    /// Cash by currency.
    pub cash: BTreeMap<String, Decimal>,
}

impl Books {
    /// Adds one fill. Fills of one instrument must come in the order of their trade ids.
    pub fn fill(&mut self, inst: &Instrument, fill: &Fill) {
        match inst.kind {
            InstKind::Swap => {
                let holding = self.positions.entry(inst.id.to_string()).or_default();
                let profit = holding.apply(inst, fill);
                self.add(inst.settle(), profit.saturating_add(fill.fee));
            }
            InstKind::Spot => {
                let value = fill.price.0.saturating_mul(fill.qty.0);
                let (coins, money) = match fill.side {
                    Side::Buy => (fill.qty.0, -value),
                    Side::Sell => (-fill.qty.0, value),
                };
                self.add(&inst.base, coins);
                self.add(&inst.quote, money);
                self.add(&fill.fee_ccy, fill.fee);
            }
        }
    }

    /// Adds a transfer, a funding payment or another bill that is not a trade.
    pub fn bill(&mut self, bill: &Bill) {
        self.add(&bill.ccy, bill.change);
    }

    fn add(&mut self, ccy: &str, change: Decimal) {
        let cash = self.cash.entry(ccy.to_owned()).or_default();
        *cash = cash.saturating_add(change).normalize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Liquidity, Ms, RunId, instrument::tests::swap};

    fn fill(side: Side, qty: &str, price: &str, fee: &str) -> Fill {
        Fill {
            inst: "ETH-USDT-SWAP".into(),
            trade_id: "1".into(),
            order_id: "as1".into(),
            venue_id: "9".into(),
            contender: "trend".into(),
            run_id: RunId(uuid::Uuid::nil()),
            side,
            price: price.parse().unwrap(),
            qty: qty.parse().unwrap(),
            fee: fee.parse().unwrap(),
            fee_ccy: "USDT".into(),
            liquidity: Liquidity::Taker,
            at: Ms(0),
        }
    }

    /// `buy 2 @ 100` … then `qty avg realised`.
    #[track_caller]
    fn check(story: &str, expected: &str) {
        let (inst, mut holding) = (swap(), Holding::default());
        for line in story.split("; ") {
            let words: Vec<&str> = line.split(' ').collect();
            holding.apply(
                &inst,
                &fill(Side::parse(words[0]).unwrap(), words[1], words[3], "0"),
            );
        }
        assert_eq!(
            format!(
                "{} @ {} won {}",
                holding.qty,
                holding.average,
                holding.realised.normalize()
            ),
            expected
        );
    }

    #[test]
    fn entries_average_and_exits_realise() {
        check("buy 2 @ 100; buy 1 @ 130", "3 @ 110 won 0");
        check("buy 2 @ 100; sell 1 @ 110", "1 @ 100 won 1");
        check("buy 2 @ 100; sell 2 @ 90", "0 @ 0 won -2");
    }
    /// The part beyond zero opens at the price of the flipping fill.
    #[test]
    fn flip_restarts_at_its_own_price() {
        check("buy 2 @ 100; sell 5 @ 110", "-3 @ 110 won 2");
        check("sell 3 @ 110; buy 1 @ 100; buy 4 @ 120", "2 @ 120 won -1");
    }
    /// Half to even.
    #[test]
    fn averages_round_at_twelve_decimals() {
        check("buy 1 @ 1; buy 2 @ 2", "3 @ 1.666666666667 won 0");
    }

    /// A sleeve can sell what is left after the fee, not what it bought.
    #[test]
    fn base_currency_fee_reduces_the_holding() {
        let inst = Instrument {
            kind: InstKind::Spot,
            contract_value: Decimal::ONE,
            ..swap()
        };
        let mut books = Books::default();
        let mut buy = fill(Side::Buy, "2", "100", "-0.002");
        buy.fee_ccy = "ETH".into();
        books.fill(&inst, &buy);
        assert_eq!(books.cash["ETH"].to_string(), "1.998");
        assert_eq!(books.cash["USDT"].to_string(), "-200");
        let mut sleeve = Holding::default();
        sleeve.apply(&inst, &buy);
        assert_eq!(
            sleeve.qty.to_string(),
            "1.998",
            "a sleeve can sell what is left, not what it bought"
        );
    }
}
