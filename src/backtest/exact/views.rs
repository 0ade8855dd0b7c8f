//! Views the stages get in a backtest: the account as a complete read, the market, the frozen
//! snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::{BacktestMarket, ExactRun};
use crate::decision::{InstSnapshot, Snapshot};
use crate::domain::view::InstMarket;
use crate::domain::{
    AccountView, Balance, Candle, InstId, InstKind, MarketView, Ms, Position, Price, Qty, Quote,
    Rule, Series, Usd,
};

impl ExactRun<'_> {
    /// The account as a complete read would show it.
    pub(super) fn account(&self, now: Ms, equity: Decimal, exposure: Decimal) -> AccountView {
        let leverage = self.rules.limits.value(Rule::Leverage);
        let funding = self.funding.clone();
        let mut view = AccountView {
            as_of: now,
            equity: Usd(equity),
            funding,
            ..AccountView::default()
        };
        let (mut coins, mut margined) = (Decimal::ZERO, Decimal::ZERO);
        for sim in self.sims.iter().filter(|sim| sim.sleeve.held != 0) {
            let market = &self.markets[sim.market];
            let inst = &market.instrument;
            let (qty, value) = (inst.lot.0 * Decimal::from(sim.sleeve.held), self.value(sim));
            match inst.kind {
                InstKind::Swap => {
                    margined += value.abs();
                    let position =
                        view.positions
                            .entry(inst.id.clone())
                            .or_insert_with(|| Position {
                                inst: inst.id.clone(),
                                qty: Qty::ZERO,
                                average: None,
                                mark: self.last[sim.market].map(|candle| candle.close),
                                unrealised: Decimal::ZERO,
                                notional: None,
                                liquidation: None,
                                leverage: None,
                                at: now,
                            });
                    position.qty = Qty(position.qty.0 + qty);
                    position.notional = Some(Usd(
                        position.notional.map_or(Decimal::ZERO, |n| n.0) + value.abs()
                    ));
                }
                InstKind::Spot => {
                    coins += value;
                    let coin = view
                        .balances
                        .entry(inst.base.clone())
                        .or_insert_with(|| balance(&inst.base));
                    coin.cash += qty;
                    coin.equity += qty;
                    coin.available += qty;
                    coin.equity_usd = Usd(coin.equity_usd.0 + value);
                }
            }
        }
        debug_assert!(coins + margined <= exposure, "positions are counted once");
        let free = equity
            - coins
            - if leverage.is_zero() {
                margined
            } else {
                margined / leverage
            };
        view.available = Usd(free);
        let quote = self
            .markets
            .first()
            .map_or("USDT", |market| market.instrument.quote.as_str());
        let cash = equity - coins;
        let dollars = Balance {
            cash,
            equity: cash,
            available: free,
            equity_usd: Usd(cash),
            ..balance(quote)
        };
        view.balances.insert(quote.to_owned(), dollars);
        view
    }

    /// The market as the stages see it: a bid and an ask a tick from the last close.
    pub(super) fn view(&self, now: Ms) -> MarketView {
        let mut insts: BTreeMap<InstId, InstMarket> = BTreeMap::new();
        for (market, last) in self.markets.iter().zip(&self.last) {
            let Some(last) = last else { continue };
            let inst = &market.instrument;
            let size = Qty(inst.max_limit_size.0);
            let quote = Quote {
                bid: Price(last.close.0 - inst.tick.0),
                bid_qty: size,
                ask: Price(last.close.0 + inst.tick.0),
                ask_qty: size,
                last: last.close,
                at: now,
            };
            let bar = market.columns.bar;
            let shown = InstMarket {
                instrument: Arc::clone(inst),
                quote: Some(quote),
                mark: market.is_swap().then_some((last.close, now)),
                series: [(bar, Series::new(bar, vec![*last]))].into(),
            };
            insts.insert(inst.id.clone(), shown);
        }
        MarketView {
            insts,
            live: true,
            ..MarketView::default()
        }
    }

    pub(super) fn snapshot(&self, now: Ms, market: &MarketView, account: &AccountView) -> Snapshot {
        let bar = self.markets[0].columns.bar;
        let shown = |shown: &InstMarket| InstSnapshot {
            instrument: Arc::clone(&shown.instrument),
            bar: shown.history(bar).last().copied(),
            longer: BTreeMap::new(),
            quote: shown.quote,
        };
        let insts = market
            .insts
            .iter()
            .map(|(id, market)| (id.clone(), shown(market)))
            .collect();
        Snapshot::freeze(
            now,
            (bar, Ms(now.0 - bar.span().0)),
            insts,
            account,
            &self.orders.holdings,
        )
    }
}

fn balance(ccy: &str) -> Balance {
    Balance {
        ccy: ccy.to_owned(),
        cash: Decimal::ZERO,
        equity: Decimal::ZERO,
        available: Decimal::ZERO,
        frozen: Decimal::ZERO,
        equity_usd: Usd::ZERO,
    }
}

pub(in crate::backtest) fn candle(market: &BacktestMarket, index: usize) -> Candle {
    let (bar, inst) = (market.steps(index), &market.instrument);
    let price = |ticks: i64| Price((inst.tick.0 * Decimal::from(ticks)).normalize());
    Candle {
        ts: Ms(market.columns.ts[index]),
        open: price(bar.open),
        high: price(bar.high),
        low: price(bar.low),
        close: price(bar.close),
        volume: Qty((inst.lot.0 * Decimal::from(bar.volume)).normalize()),
    }
}
