//! Trading costs: every setting with its default.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::Number;
use crate::domain::{InstKind, Instrument};

/// Fees from a trailing volume on. Shares of notional, positive is paid, negative a rebate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// Dollars filled within the last 30 days from which it holds.
    pub volume_30d: Decimal,
    pub maker: Decimal,
    pub taker: Decimal,
}

/// Trading costs, as configured. Shares are plain fractions: 0.0005 is five hundredths of a
/// percent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Costs {
    /// Ascending by volume; the first holds from nothing on.
    pub tiers: Vec<Tier>,
    /// Half the distance between bid and ask, as a share of the price.
    pub half_spread: Decimal,
    /// Slippage of an order as large as all the bar's volume, as a share of the price; smaller ones
    /// by the square root.
    pub impact: Decimal,
    /// The largest share of a bar's volume that may be filled.
    pub participation: Decimal,
    /// Bars between a decision and the first bar that may fill it, beyond the next.
    pub latency_bars: u32,
    /// Funding that longs pay shorts every eight hours where the data has no rate, as a share of
    /// the position.
    pub funding: Decimal,
    /// Equity that a position needs, as a share of its value; below it is liquidated.
    pub maintenance: Decimal,
    /// Cost of a liquidation besides the taker fee, as a share of the position.
    pub liquidation_fee: Decimal,
}

impl Costs {
    /// Returns the costs of an ordinary OKX account (fee schedule Lv1: spot 0.08 % and 0.10 %,
    /// swaps 0.02 % and 0.05 %), with a half-spread of half a basis point, ten basis points of
    /// impact for a whole bar's volume, at most a tenth of that volume filled, funding of 0.01 %
    /// each eight hours on swaps, and 0.4 % maintenance margin (OKX's first tier for BTC).
    pub fn of(kind: InstKind) -> Self {
        let (maker, taker, funding) = match kind {
            InstKind::Spot => (Decimal::new(8, 4), Decimal::new(10, 4), Decimal::ZERO),
            InstKind::Swap => (Decimal::new(2, 4), Decimal::new(5, 4), Decimal::new(1, 4)),
        };
        Self {
            tiers: vec![Tier {
                volume_30d: Decimal::ZERO,
                maker,
                taker,
            }],
            half_spread: Decimal::new(5, 5),
            impact: Decimal::new(10, 4),
            participation: Decimal::new(10, 2),
            latency_bars: 0,
            funding,
            maintenance: Decimal::new(4, 3),
            liquidation_fee: Decimal::new(5, 3),
        }
    }

    /// The same with what is paid multiplied: fees, spread, impact and funding. Zero is a world
    /// without friction, two one that is twice as dear.
    #[must_use]
    pub fn times(&self, factor: Decimal) -> Self {
        let tier = |t: &Tier| Tier {
            maker: t.maker * factor,
            taker: t.taker * factor,
            ..*t
        };
        Self {
            tiers: self.tiers.iter().map(tier).collect(),
            half_spread: self.half_spread * factor,
            impact: self.impact * factor,
            funding: self.funding * factor,
            ..self.clone()
        }
    }

    /// The tier of a trailing volume.
    pub fn tier(&self, volume_30d: Decimal) -> Tier {
        let reached = self
            .tiers
            .iter()
            .rev()
            .find(|tier| tier.volume_30d <= volume_30d);
        reached
            .or_else(|| self.tiers.first())
            .copied()
            .unwrap_or(Tier {
                volume_30d: Decimal::ZERO,
                maker: Decimal::ZERO,
                taker: Decimal::ZERO,
            })
    }
}

/// Costs in one instrument's steps, as numbers of one kind.
#[derive(Clone, Copy, Debug)]
pub struct CostTerms<N> {
    pub maker: N,
    pub taker: N,
    pub half_spread: N,
    pub impact: N,
    pub participation: N,
    /// Gain of one lot per tick, in the quote currency.
    pub unit: N,
}

impl<N: Number> CostTerms<N> {
    /// Of an instrument, in a tier.
    pub fn of(costs: &Costs, tier: Tier, inst: &Instrument) -> Self {
        Self {
            maker: N::of(tier.maker),
            taker: N::of(tier.taker),
            half_spread: N::of(costs.half_spread),
            impact: N::of(costs.impact),
            participation: N::of(costs.participation),
            unit: N::of(unit(inst)),
        }
    }
}

/// Returns the gain of one lot per tick.
fn unit(inst: &Instrument) -> Decimal {
    let value = inst
        .tick
        .0
        .checked_mul(inst.lot.0)
        .and_then(|step| step.checked_mul(inst.contract_value));
    value.unwrap_or_default().normalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A volume exactly at the threshold gets the new tier.
    #[test]
    fn tier_applies_from_its_volume() {
        let tier = |volume, taker| Tier {
            volume_30d: Decimal::from(volume),
            maker: Decimal::ZERO,
            taker: Decimal::new(taker, 4),
        };
        let costs = Costs {
            tiers: vec![tier(0, 5), tier(1000, 4), tier(5000, 3)],
            ..Costs::of(InstKind::Swap)
        };
        let taker = |volume: i64| costs.tier(Decimal::from(volume)).taker;
        assert_eq!(
            [0, 999, 1000, 4999, 5000, 9999].map(taker),
            [5, 5, 4, 4, 3, 3].map(|bps| Decimal::new(bps, 4))
        );
    }

    /// Fees, spread, impact and funding are scaled; participation and maintenance margin are not.
    #[test]
    fn stress_multiplies_costs_only() {
        let (once, twice) = (
            Costs::of(InstKind::Swap),
            Costs::of(InstKind::Swap).times(Decimal::TWO),
        );
        assert_eq!(twice.tiers[0].taker, once.tiers[0].taker * Decimal::TWO);
        assert_eq!(
            (twice.participation, twice.maintenance),
            (once.participation, once.maintenance)
        );
        let free = once.times(Decimal::ZERO);
        assert_eq!(
            (free.impact, free.half_spread, free.funding),
            Default::default()
        );
    }
}
