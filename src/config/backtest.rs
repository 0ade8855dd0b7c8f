//! `[backtest]`: what a simulated account begins with, and what trading costs there.

use rust_decimal::Decimal;

use super::reader::Section;
use crate::domain::InstKind;
use crate::fills::{Costs, Tier};

/// Starting point of backtests: cash and trading costs.
#[derive(Clone, Debug)]
pub struct BacktestSettings {
    pub cash: Decimal,
    spot: Costs,
    swap: Costs,
}

impl BacktestSettings {
    /// Returns the trading costs of a kind of instrument.
    pub const fn costs(&self, kind: InstKind) -> &Costs {
        match kind {
            InstKind::Spot => &self.spot,
            InstKind::Swap => &self.swap,
        }
    }
}

pub(super) fn read_backtest(s: &mut Section<'_>) -> BacktestSettings {
    let cash = s.decimal("cash_usdt", Decimal::ONE, Decimal::from(1_000_000_000));
    let bps = |s: &mut Section<'_>, name, least: i64, most: i64| {
        s.decimal(name, Decimal::from(least), Decimal::from(most)) / Decimal::from(10_000)
    };
    let percent = |s: &mut Section<'_>, name| {
        s.decimal(name, Decimal::ZERO, Decimal::from(100)) / Decimal::ONE_HUNDRED
    };
    let half_spread = bps(s, "half_spread_bps", 0, 1000);
    let impact = bps(s, "impact_bps", 0, 10_000);
    let participation = percent(s, "participation_pct");
    if participation.is_zero() {
        s.problem("participation_pct", "of nothing nothing fills");
    }
    let latency_bars = u32::try_from(s.int("latency_bars", 0, 1000)).unwrap_or_default();
    let funding = bps(s, "funding_bps", -1000, 1000);
    let maintenance = percent(s, "maintenance_pct");
    let liquidation_fee = percent(s, "liquidation_fee_pct");
    let tiers = |s: &mut Section<'_>, name| {
        let tiers = s.list(name, |s| Tier {
            volume_30d: s.decimal(
                "volume_30d_usdt",
                Decimal::ZERO,
                Decimal::from(1_000_000_000_000i64),
            ),
            maker: bps(s, "maker_bps", -100, 1000),
            taker: bps(s, "taker_bps", -100, 1000),
        });
        if tiers.first().is_none_or(|tier| !tier.volume_30d.is_zero()) {
            s.problem(name, "must begin with a tier of volume_30d_usdt = 0");
        }
        if tiers
            .windows(2)
            .any(|pair| pair[0].volume_30d >= pair[1].volume_30d)
        {
            s.problem(name, "must ascend by volume_30d_usdt");
        }
        tiers
    };
    let (spot, swap) = (tiers(s, "spot_tiers"), tiers(s, "swap_tiers"));
    let costs = |tiers, funding| Costs {
        tiers,
        half_spread,
        impact,
        participation,
        latency_bars,
        funding,
        maintenance,
        liquidation_fee,
    };
    BacktestSettings {
        cash,
        spot: costs(spot, Decimal::ZERO),
        swap: costs(swap, funding),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Layers, Overrides};
    use super::*;
    use std::collections::HashMap;

    /// The costs in the default backtest configuration are those in the code, for spot and swap.
    #[test]
    fn file_and_code_defaults_agree() {
        let config =
            Config::check(Layers::read(&Overrides::default(), HashMap::new()).unwrap()).unwrap();
        for kind in [InstKind::Spot, InstKind::Swap] {
            let (file, code) = (config.backtest.costs(kind), Costs::of(kind));
            assert_eq!(*file, code);
        }
    }

    #[test]
    fn tiers_begin_at_nothing_and_ascend() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tiers.toml");
        let problem = |tiers: &str| {
            std::fs::write(&file, format!("[backtest]\nswap_tiers = [{tiers}]\n")).unwrap();
            let overrides = Overrides {
                config: Some(file.clone()),
                speed: None,
            };
            Config::check(Layers::read(&overrides, HashMap::new()).unwrap())
                .map(drop)
                .map_err(|p| p.to_string())
        };
        let tier =
            |volume: i64| format!("{{ volume_30d_usdt = {volume}, maker_bps = 1, taker_bps = 2 }}");
        assert_eq!(problem(&format!("{}, {}", tier(0), tier(100))), Ok(()));
        assert!(problem(&tier(5)).unwrap_err().contains("must begin with"));
        assert!(
            problem(&format!("{}, {}", tier(0), tier(0)))
                .unwrap_err()
                .contains("must ascend")
        );
    }
}
