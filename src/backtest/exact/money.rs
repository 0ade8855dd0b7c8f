//! Funding, margin and liquidation, and what the account is worth.

use super::*;

impl ExactRun<'_> {
    pub(super) fn check_margin(&mut self, current: &[(usize, usize)], now: Ms) {
        // Positions of markets without a bar now stand at their last close.
        let (mut cash, mut exposed) = (self.outcome.cash, Vec::new());
        for (at, sim) in self
            .sims
            .iter()
            .enumerate()
            .filter(|(_, sim)| sim.sleeve.held != 0)
        {
            let market = &self.markets[sim.market];
            let index = current
                .iter()
                .find(|(m, _)| *m == sim.market)
                .map(|(_, index)| *index);
            match index.filter(|_| market.is_swap()) {
                Some(index) => exposed.push((
                    at,
                    index,
                    Exposed {
                        held: sim.sleeve.held,
                        bar: market.steps(index),
                        unit: self.terms[sim.market].unit,
                        maintenance: market.costs.maintenance,
                    },
                )),
                None => cash += self.value(sim),
            }
        }
        let positions: Vec<Exposed<Decimal>> =
            exposed.iter().map(|(_, _, exposed)| *exposed).collect();
        let Some(way) = liquidated_at(cash, &positions) else {
            return;
        };
        let mut done = Vec::new();
        for (at, index, exposed) in exposed {
            let market = self.sims[at].market;
            let fee = self.terms[market].taker + self.markets[market].costs.liquidation_fee;
            self.sims[at]
                .sleeve
                .liquidate(liquidation(&exposed, way, fee), &mut done);
            for done in done.drain(..) {
                self.book(at, index, now, done);
            }
            self.show(at);
        }
        self.outcome.liquidations += 1;
    }

    pub(super) fn pay_funding(&mut self, market: usize, index: usize, now: Ms) {
        let of = &self.markets[market];
        let due = of.funding.due(self.funded[market], now);
        self.funded[market] = now;
        let held: i64 = self
            .sims
            .iter()
            .filter(|s| s.market == market)
            .map(|s| s.sleeve.held)
            .sum();
        let (Some(rate), true, true) = (due, held != 0, of.is_swap()) else {
            return;
        };
        let paid = Decimal::from(held)
            * Decimal::from(of.steps(index).close)
            * self.terms[market].unit
            * rate;
        self.outcome.cash -= paid;
        self.outcome.funding += paid;
        *self.funding.entry(of.instrument.id.clone()).or_default() -= paid;
    }

    pub(super) fn value(&self, sim: &ExactSleeve) -> Decimal {
        let close = self.last[sim.market].map_or(Decimal::ZERO, |candle| candle.close.0);
        let inst = &self.markets[sim.market].instrument;
        Decimal::from(sim.sleeve.held) * inst.lot.0 * inst.contract_value * close
    }

    /// Equity, and positions without sign.
    pub(super) fn worth(&self) -> (Decimal, Decimal) {
        self.sims.iter().fold(
            (self.outcome.cash, Decimal::ZERO),
            |(equity, exposure), sim| {
                let value = self.value(sim);
                (equity + value, exposure + value.abs())
            },
        )
    }
}
