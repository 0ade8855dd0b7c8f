//! Listed instruments, with the rules and fees of each.

use rust_decimal::Decimal;

use crate::domain::{InstKind, InstState, Instrument, Price, Qty};

/// One listed instrument. Rates are shares of notional, negative is a cost, as OKX signs them.
#[derive(Debug, Clone)]
pub struct Listing {
    pub inst: Instrument,
    pub maker: Decimal,
    pub taker: Decimal,
    /// Price at the start of 2026.
    pub base_price: f64,
    /// Standard deviation of a second's log return.
    pub sigma: f64,
    /// The tick as the path sees it.
    pub tick_f64: f64,
    /// Ticks between best bid and best ask, at least.
    pub spread: i64,
    /// Lots at the best level, on average.
    pub depth: i64,
}

fn listing(
    id: &str,
    code: i64,
    (tick, lot, min, contract): (&str, &str, &str, &str),
    (base_price, sigma, spread, depth): (f64, f64, i64, i64),
) -> Listing {
    let decimal = |text: &str| {
        text.parse::<Decimal>()
            .expect("listing constants are decimals")
    };
    let kind = InstKind::named(id);
    let mut names = id.split('-');
    let (maker, taker) = fees(kind);
    Listing {
        inst: Instrument {
            id: id.into(),
            kind,
            base: names.next().unwrap_or_default().to_owned(),
            quote: names.next().unwrap_or_default().to_owned(),
            tick: Price(decimal(tick)),
            lot: Qty(decimal(lot)),
            min_size: Qty(decimal(min)),
            max_limit_size: Qty(Decimal::from(1_000_000)),
            max_market_size: Qty(Decimal::from(1_000_000)),
            contract_value: decimal(contract),
            max_leverage: if kind == InstKind::Spot {
                Decimal::ONE
            } else {
                Decimal::from(50)
            },
            code: Some(code),
            state: InstState::Live,
        },
        maker,
        taker,
        base_price,
        sigma,
        tick_f64: tick.parse().expect("listing constants are numbers"),
        spread,
        depth,
    }
}

/// Maker and taker rate of OKX's first tier (trade-fee, Lv1).
fn fees(kind: InstKind) -> (Decimal, Decimal) {
    match kind {
        InstKind::Spot => (Decimal::new(-8, 4), Decimal::new(-10, 4)),
        InstKind::Swap => (Decimal::new(-2, 4), Decimal::new(-5, 4)),
    }
}

/// Lists an instrument of another exchange under that exchange's rules and our fees.
pub fn listed_as(inst: Instrument) -> Listing {
    let (maker, taker) = fees(inst.kind);
    Listing {
        inst,
        maker,
        taker,
        base_price: 0.0,
        sigma: 0.0,
        tick_f64: 1.0,
        spread: 0,
        depth: 0,
    }
}

/// Three coins, spot and USDT-margined perpetual swap of each. Steps and contract values as on OKX
/// (public/instruments, 2025), depth thin enough that ordinary orders fill in parts.
pub fn listings() -> Vec<Listing> {
    vec![
        listing(
            "BTC-USDT",
            10,
            ("0.1", "0.00000001", "0.00001", "1"),
            (88_000.0, 1.0e-4, 20, 3_000_000),
        ),
        listing(
            "ETH-USDT",
            11,
            ("0.01", "0.000001", "0.001", "1"),
            (3_000.0, 1.3e-4, 8, 900_000),
        ),
        listing(
            "SOL-USDT",
            12,
            ("0.01", "0.000001", "0.01", "1"),
            (125.0, 1.7e-4, 1, 20_000_000),
        ),
        listing(
            "BTC-USDT-SWAP",
            20,
            ("0.1", "0.01", "0.01", "0.01"),
            (88_000.0, 1.0e-4, 10, 400),
        ),
        listing(
            "ETH-USDT-SWAP",
            21,
            ("0.01", "0.01", "0.01", "0.1"),
            (3_000.0, 1.3e-4, 4, 1_000),
        ),
        listing(
            "SOL-USDT-SWAP",
            22,
            ("0.01", "0.01", "0.01", "1"),
            (125.0, 1.7e-4, 1, 2_500),
        ),
    ]
}
