//! Equity and trading states: what is observed on each look, what is latched, what ends by itself.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::{CancelAsk, Gate};
use crate::domain::record::{Breach, Record};
use crate::domain::view::OpenOrder;
use crate::domain::{Ms, OrderIntent, Restriction, Rule, RunId, Scope, TradingState};
use crate::risk::restrict::{consequence, scope_of};
use crate::risk::rules::assess;
use crate::runtime::StageError;

/// A cancel is asked for again after this long, wall time.
const CANCEL_AGAIN: Ms = Ms(2000);

impl Gate {
    /// Books what is new of the account, judges the account's rules, ends what is over.
    pub(super) async fn look(&mut self) -> Result<(), StageError> {
        let now = self.clock.now();
        for ended in self.memory.restrictions.expire(now) {
            info!(
                event = "restriction_ended",
                restriction = ended.id(),
                "its time is over"
            );
            self.release(ended, "time", now).await?;
        }
        let Some(account) = self.account.borrow().clone() else {
            return Ok(());
        };
        if self.memory.book.observe(&account) {
            self.journal
                .post(Record::Equity(Box::new(self.memory.book.clone())))
                .await?;
        }
        self.work.account = Some(Arc::clone(&account));
        if now.since(account.as_of) > self.limits.ms(Rule::AccountAge) {
            return Ok(()); // what is held now is not known well enough to lose trading over
        }
        let equity = {
            let market = self.market.borrow();
            self.equity(&account, &market)
        };
        let found = assess(equity, &self.memory.book, &self.limits, now);
        for (rule, breach) in found {
            self.lead_to(
                rule,
                Scope::System,
                &breach,
                (self.seal.start_run, true),
                now,
            )
            .await?;
        }
        Ok(())
    }

    /// Takes back what rests and may not any more: while halted everything but what closes, while
    /// reduce-only what opens; and what opens while the tracker has found something that lets
    /// nothing open.
    pub(super) async fn take_back(&mut self) -> Result<(), StageError> {
        if !self.protects() {
            return Ok(());
        }
        let wall = self.wall();
        self.work
            .cancelled
            .retain(|_, at| wall.since(*at) < CANCEL_AGAIN);
        let due: Vec<CancelAsk> = {
            let orders = self.orders.borrow();
            let works = |o: &&OpenOrder| {
                !o.state.is_final() && !o.protective && !self.work.cancelled.contains_key(&o.id)
            };
            let readiness = self.readiness.borrow();
            let permission = self.permission(&readiness);
            let may_not = |o: &&OpenOrder| !permission.rests(o.opening, &o.contender, &o.inst);
            let ask = |o: &OpenOrder| CancelAsk {
                inst: o.inst.clone(),
                order: o.id.clone(),
                run_id: self.seal.start_run,
            };
            orders
                .open
                .values()
                .filter(works)
                .filter(may_not)
                .map(ask)
                .collect()
        };
        for ask in due {
            self.work.cancelled.insert(ask.order.clone(), wall);
            self.cancels
                .send(ask)
                .await
                .map_err(|_| StageError::Gone("the executor"))?;
        }
        Ok(())
    }

    /// Applies the consequences of a denied order's breaches besides the denial.
    pub(super) async fn consequences(
        &mut self,
        intent: &Arc<OrderIntent>,
        breaches: &[Breach],
    ) -> Result<(), StageError> {
        let now = self.clock.now();
        for breach in breaches {
            let Ok(rule) = breach.code.parse::<Rule>() else {
                continue;
            };
            self.lead_to(
                rule,
                scope_of(rule, intent),
                breach,
                (intent.run_id, false),
                now,
            )
            .await?;
        }
        Ok(())
    }

    async fn lead_to(
        &mut self,
        rule: Rule,
        scope: Scope,
        breach: &Breach,
        (run_id, event): (RunId, bool),
        now: Ms,
    ) -> Result<(), StageError> {
        let Some(restriction) = consequence(rule, scope.clone(), breach, &self.limits, now) else {
            return Ok(());
        };
        if self.restrict(restriction, "gate", run_id, now).await? && event {
            let (order_id, scope, breach) = (None, scope.to_string(), breach.clone());
            self.journal
                .post(Record::RiskEvent {
                    run_id,
                    order_id,
                    scope,
                    breach,
                    at: now,
                })
                .await?;
        }
        Ok(())
    }

    /// Puts a restriction in force, at once and for good: others see it before this returns, and it
    /// is durable when it does. `false`: it was in force already.
    pub(super) async fn restrict(
        &mut self,
        restriction: Restriction,
        who: &str,
        run_id: RunId,
        at: Ms,
    ) -> Result<bool, StageError> {
        let from = self.memory.restrictions.state(&restriction.scope);
        if !self.memory.restrictions.latch(restriction.clone()) {
            return Ok(false);
        }
        self.restrictions
            .send_replace(self.memory.restrictions.clone());
        match restriction.state {
            TradingState::Halted => {
                error!(event = "restricted", restriction = restriction.id(), state = %restriction.state,
                why = restriction.why, who, "trading is halted")
            }
            _ => {
                warn!(event = "restricted", restriction = restriction.id(), state = %restriction.state,
                why = restriction.why, who, "trading is restricted")
            }
        }
        let record = Record::Restricted {
            restriction,
            from,
            who: who.to_owned(),
            run_id,
            at,
        };
        self.journal.append(record).await?;
        Ok(true)
    }

    async fn release(&mut self, ended: Restriction, by: &str, at: Ms) -> Result<(), StageError> {
        self.restrictions
            .send_replace(self.memory.restrictions.clone());
        let to = self.memory.restrictions.state(&ended.scope);
        let run_id = self.seal.start_run;
        self.journal
            .append(Record::Released {
                restriction: ended,
                to,
                by: by.to_owned(),
                run_id,
                at,
            })
            .await
    }
}
