//! The gate in a backtest: what is let out, denied, and what a breach leads to.

use super::*;

impl ExactRun<'_> {
    /// As the gate looks: what is over ends, equity is counted, the account's own rules are judged.
    pub(super) fn look(&mut self, now: Ms, account: &AccountView) {
        self.restrictions.expire(now);
        self.book.observe(account);
        for (rule, breach) in assess(account.equity, &self.book, &self.rules.limits, now) {
            self.lead_to(rule, Scope::System, &breach, now);
        }
    }

    pub(super) fn lead_to(
        &mut self,
        rule: Rule,
        scope: Scope,
        breach: &crate::domain::record::Breach,
        now: Ms,
    ) {
        let Some(restriction) = consequence(rule, scope, breach, &self.rules.limits, now) else {
            return;
        };
        let halt = Halt {
            at: now,
            rule: rule.as_str().to_owned(),
            state: restriction.state.as_str().to_owned(),
            until: restriction.until,
            flatten: restriction.flatten,
        };
        let scope = restriction.scope.clone();
        if self.restrictions.latch(restriction) {
            if halt.flatten {
                self.flatten(&scope, now);
            }
            self.outcome.halted(halt);
        }
    }

    /// Closes everything held in a scope.
    pub(super) fn flatten(&mut self, scope: &Scope, now: Ms) {
        for at in 0..self.sims.len() {
            let sim = &mut self.sims[at];
            let market = &self.markets[sim.market];
            if sim.sleeve.held == 0 || !scope.covers(&sim.contender, &market.instrument.id) {
                continue;
            }
            let id = self.outcome.orders;
            self.outcome.orders += 1;
            sim.sleeve.close(
                id,
                self.next[sim.market] + market.costs.latency_bars as usize,
            );
            sim.decided = now.0;
            if let Some(shown) = &mut sim.shown {
                self.orders.open.remove(&shown.id);
                (shown.id, shown.opening) = (order_id(id), false);
                if let Some(order) = sim.sleeve.order {
                    shown.side = order.side;
                }
            }
            self.show(at);
        }
    }

    pub(super) fn judge(
        &mut self,
        intent: Arc<OrderIntent>,
        market: &MarketView,
        account: &AccountView,
        now: Ms,
    ) -> Result<(Side, String), String> {
        let Some(at) = self.sims.iter().position(|sim| {
            sim.contender == intent.contender
                && self.markets[sim.market].instrument.id == intent.inst
        }) else {
            unreachable!("an intent is of a sim");
        };
        let shown = &market.insts[&intent.inst];
        let view = View {
            now,
            instrument: &shown.instrument,
            market,
            account: Some(account),
            equity: Some(account.equity),
            book: &self.book,
            orders: &self.orders,
            readiness: &Readiness::Ready,
            restrictions: &self.restrictions,
            recent: &self.recent,
            in_flight: &[],
        };
        match check(intent, &view, &self.rules.limits) {
            Ok(approved) => {
                let intent = Arc::clone(approved.intent());
                self.let_out(at, &intent, now);
                self.blocked(&intent, approved.without(), now);
                Ok((intent.side, intent.qty.to_string()))
            }
            Err(refused) => {
                self.blocked(&refused.intent, &refused.breaches, now);
                let codes: Vec<&str> = refused
                    .breaches
                    .iter()
                    .map(|breach| breach.code.as_str())
                    .collect();
                Err(codes.join(" "))
            }
        }
    }

    /// Counts breaches, and carries out what they lead to.
    pub(super) fn blocked(&mut self, intent: &OrderIntent, breaches: &[Breach], now: Ms) {
        for breach in breaches {
            self.outcome.blocked(&breach.code, 1, now);
            if let Ok(rule) = breach.code.parse::<Rule>() {
                self.lead_to(rule, scope_of(rule, intent), breach, now);
            }
        }
    }

    pub(super) fn let_out(&mut self, at: usize, intent: &OrderIntent, now: Ms) {
        let sim = &mut self.sims[at];
        let market = &self.markets[sim.market];
        let inst = &market.instrument;
        let lots = |qty: Qty| (qty.0 / inst.lot.0).to_i64().unwrap_or_default();
        let ticks = |price: Price| (price.0 / inst.tick.0).to_i64().unwrap_or_default();
        let id = self.outcome.orders;
        self.outcome.orders += 1;
        let limit = intent.limit.map_or(0, ticks);
        let kind = match intent.ord_type {
            OrdType::Market => Kind::Market,
            OrdType::Ioc => Kind::Ioc(limit),
            OrdType::Limit => Kind::Limit(limit),
            OrdType::PostOnly => Kind::PostOnly(limit),
        };
        let from = self.next[sim.market] + market.costs.latency_bars as usize;
        let span = market.columns.bar.span().0;
        let lasts = match self.contenders[sim.who].execution {
            WorkingPolicy::PostOnly { ttl, .. } => ((ttl.0 + span - 1) / span).max(1) as usize,
            WorkingPolicy::IocLimit { .. } | WorkingPolicy::Market { .. } => usize::MAX,
        };
        sim.sleeve.place(SimOrder {
            id,
            side: intent.side,
            kind,
            lots: lots(intent.qty),
            from,
            until: lasts.saturating_add(from),
            opening: intent.is_opening(),
            stop: intent.stop.as_ref().map(|stop| ticks(stop.trigger)),
            target: None,
        });
        sim.decided = now.0;
        self.recent.note(Sent::of(intent, now));
        sim.shown = Some(OpenOrder {
            id: order_id(id),
            run_id: intent.run_id,
            contender: intent.contender.clone(),
            inst: intent.inst.clone(),
            side: intent.side,
            state: OrderState::Acked,
            leaves: intent.qty,
            price: intent.limit.unwrap_or(intent.reference),
            limit: intent.limit,
            created_at: now,
            cancel_after: None,
            opening: intent.is_opening(),
            protective: false,
        });
        self.show(at);
    }
}
