//! Cash, positions, margin, funding, liquidation.

use rust_decimal::Decimal;

use super::types::*;
use super::{BalanceLine, BalanceSheet, Event, Exchange};
use crate::domain::{InstKind, Instrument, Ms, Side};

/// Leverage of a swap until `set-leverage` says otherwise.
const DEFAULT_LEVERAGE: i64 = 5;
/// Maintenance margin as a share of notional (OKX's first tier of large coins is about this).
pub const MAINTENANCE: Decimal = Decimal::from_parts(5, 0, 0, false, 3);

impl Exchange {
    /// Puts money into the account (a transfer from outside).
    pub fn deposit(&mut self, ccy: &str, amount: Decimal) {
        self.book_bill(
            1,
            11,
            ccy,
            amount,
            "",
            None,
            (Decimal::ZERO, Decimal::ZERO),
            (Decimal::ZERO, Decimal::ZERO),
        );
        self.events.push(Event::Account);
    }

    /// Leverage in force for an instrument.
    pub fn leverage(&self, inst: &str) -> Decimal {
        self.ledger
            .leverage
            .get(inst)
            .copied()
            .unwrap_or(Decimal::from(DEFAULT_LEVERAGE))
    }

    /// `account/set-leverage`.
    pub fn set_leverage(&mut self, inst: &str, leverage: Decimal) -> Result<(), Rejection> {
        let listed = self
            .market
            .get(inst)
            .ok_or_else(|| super::unknown_instrument(inst))?;
        if leverage < Decimal::ONE || leverage > listed.listing.inst.max_leverage {
            return Err(Rejection::new(
                "59102",
                "Leverage exceeds the maximum leverage.",
            ));
        }
        self.ledger.leverage.insert(inst.to_owned(), leverage);
        self.changes.leverage = true;
        Ok(())
    }

    /// The largest order the account could pay for at `price`: (buy, sell), in base units or
    /// contracts.
    pub fn max_size(&self, inst: &Instrument, price: Decimal) -> (Decimal, Decimal) {
        let sheet = self.balance_sheet();
        let available = |ccy: &str| sheet.get(ccy).map_or(Decimal::ZERO, BalanceLine::available);
        let lots = |size: Option<Decimal>| {
            let whole = size
                .and_then(|size| size.checked_div(inst.lot.0))
                .map_or(Decimal::ZERO, |n| n.trunc());
            whole
                .checked_mul(inst.lot.0)
                .unwrap_or_default()
                .min(inst.max_limit_size.0)
        };
        match inst.kind {
            InstKind::Spot => (
                lots(available(&inst.quote).checked_div(price)),
                lots(Some(available(&inst.base))),
            ),
            InstKind::Swap => {
                let margin = available(&inst.quote) * self.leverage(inst.id.as_str());
                let opened = price
                    .checked_mul(inst.contract_value)
                    .and_then(|each| margin.checked_div(each));
                let held = self
                    .ledger
                    .positions
                    .get(inst.id.as_str())
                    .map_or(Decimal::ZERO, |p| p.qty);
                // Closing what is held frees its margin: the other side may close and open as much
                // again.
                let against = |held: Decimal| held.max(Decimal::ZERO) * Decimal::TWO;
                let with = |more: Decimal| lots(opened.and_then(|opened| opened.checked_add(more)));
                (with(against(-held)), with(against(held)))
            }
        }
    }

    /// Every currency with its derived amounts.
    pub fn balance_sheet(&self) -> BalanceSheet {
        let mut sheet: BalanceSheet = self
            .ledger
            .cash
            .iter()
            .map(|(ccy, cash)| {
                let line = BalanceLine {
                    cash: *cash,
                    usd_price: self.usd_price(ccy),
                    ..Default::default()
                };
                (ccy.clone(), line)
            })
            .collect();
        for (inst, pos) in self
            .ledger
            .positions
            .iter()
            .filter(|(_, pos)| !pos.qty.is_zero())
        {
            let (upl, notional) = self.mark(inst, pos);
            let quote = &self
                .market
                .get(inst)
                .expect("positions are in listed instruments")
                .listing
                .inst
                .quote;
            let line = sheet.entry(quote.clone()).or_default();
            line.upl += upl;
            line.imr += round(notional / self.leverage(inst));
        }
        for order in self.open_orders() {
            let (ccy, amount) = self.hold(order);
            sheet.entry(ccy).or_default().frozen += amount;
        }
        sheet
    }

    /// Unrealised profit and notional of a position at the mark price.
    pub fn mark(&self, inst: &str, pos: &Pos) -> (Decimal, Decimal) {
        // Without a price yet (a feed after a start) a position is worth what it cost: no profit,
        // no loss.
        let mark = if self.last(inst).is_zero() {
            pos.avg
        } else {
            self.last(inst)
        };
        let value = self
            .market
            .get(inst)
            .map_or(Decimal::ONE, |l| l.listing.inst.contract_value);
        (
            round((mark - pos.avg) * pos.qty * value),
            pos.qty.abs() * value * mark,
        )
    }

    /// Dollars per unit; USDT is one dollar.
    pub fn usd_price(&self, ccy: &str) -> Decimal {
        if ccy == "USDT" {
            Decimal::ONE
        } else {
            self.last(&format!("{ccy}-USDT"))
        }
    }

    /// Returns what an open order freezes, as (currency, amount).
    pub(super) fn hold(&self, order: &VenueOrder) -> (String, Decimal) {
        let inst = &self
            .market
            .get(&order.inst)
            .expect("orders are in listed instruments")
            .listing
            .inst;
        let leaves = order.size - order.filled;
        let price = order.price.unwrap_or_else(|| self.last(&order.inst));
        match (inst.kind, order.side) {
            (InstKind::Spot, Side::Buy) => (inst.quote.clone(), leaves * price),
            (InstKind::Spot, Side::Sell) => (inst.base.clone(), leaves),
            (InstKind::Swap, _) if order.reduce_only => (inst.quote.clone(), Decimal::ZERO),
            (InstKind::Swap, _) => (
                inst.quote.clone(),
                round(leaves * inst.contract_value * price / self.leverage(&order.inst)),
            ),
        }
    }

    /// Enough money for `size` more? OKX's 51008 otherwise.
    ///
    /// `instead`: a resting order of ours that this one takes the place of.
    pub(super) fn check_funds(
        &self,
        name: &str,
        side: Side,
        size: Decimal,
        price: Decimal,
        instead: Option<&VenueOrder>,
    ) -> Result<(), Rejection> {
        let inst = &self.market.get(name).expect("checked before").listing.inst;
        let sheet = self.balance_sheet();
        let given_back = instead.map(|order| self.hold(order));
        let available = |ccy: &str| {
            let line = sheet.get(ccy).cloned().unwrap_or_default();
            let back = given_back
                .as_ref()
                .filter(|(of, _)| of == ccy)
                .map_or(Decimal::ZERO, |(_, amount)| *amount);
            (line.equity() - line.frozen - line.imr + back).max(Decimal::ZERO)
        };
        let (need, have) = match (inst.kind, side) {
            (InstKind::Spot, Side::Buy) => (size * price, available(&inst.quote)),
            (InstKind::Spot, Side::Sell) => (size, available(&inst.base)),
            (InstKind::Swap, _) => {
                let held = self
                    .ledger
                    .positions
                    .get(name)
                    .map_or(Decimal::ZERO, |p| p.qty);
                let signed = |qty: Decimal| if side == Side::Buy { qty } else { -qty };
                let same_side = self.open_orders().filter(|o| {
                    o.inst == *name
                        && o.side == side
                        && !o.reduce_only
                        && instead.is_none_or(|other| other.id != o.id)
                });
                let pending: Decimal = same_side.map(|o| o.size - o.filled).sum();
                // Worst case: everything that waits on this side is filled too.
                let (without, with) = (held + signed(pending), held + signed(pending + size));
                let added = (with.abs() - held.abs().max(without.abs())).max(Decimal::ZERO);
                (
                    round(added * inst.contract_value * price / self.leverage(name)),
                    available(&inst.quote),
                )
            }
        };
        if need > have {
            let ccy = if inst.kind == InstKind::Spot && side == Side::Sell {
                &inst.base
            } else {
                &inst.quote
            };
            return Err(Rejection::new(
                "51008",
                format!(
                    "Order failed. Insufficient {ccy} balance in account. needs {need}, available {have}"
                ),
            ));
        }
        Ok(())
    }

    /// Books one execution of `order`: fee, cash, position, bills, and the pushes that follow.
    pub(super) fn execute(&mut self, order_id: u64, price: Decimal, size: Decimal, maker: bool) {
        self.execute_at(order_id, price, size, maker, None);
    }

    /// The same for a fee of its own, on a swap; negative is paid.
    pub(super) fn execute_at(
        &mut self,
        order_id: u64,
        price: Decimal,
        size: Decimal,
        maker: bool,
        own: Option<Decimal>,
    ) {
        let order = &self.ledger.orders[&order_id];
        let (name, side, cl_ord_id) = (order.inst.clone(), order.side, order.cl_ord_id.clone());
        let listed = self
            .market
            .get(&name)
            .expect("orders are in listed instruments");
        let (inst, rate) = (
            listed.listing.inst.clone(),
            if maker {
                listed.listing.maker
            } else {
                listed.listing.taker
            },
        );
        let trade_id = self.next_id() % 1_000_000_000_000;
        let signed = if side == Side::Buy { size } else { -size };
        let (fee, fee_ccy, pnl);
        match inst.kind {
            InstKind::Spot => {
                let value = price * size;
                pnl = Decimal::ZERO;
                if side == Side::Buy {
                    (fee, fee_ccy) = (round(size * rate), inst.base.clone());
                    self.bill_trade(
                        &inst.base,
                        size + fee,
                        &name,
                        order_id,
                        trade_id,
                        (size, price),
                        (fee, pnl),
                        1,
                    );
                    self.bill_trade(
                        &inst.quote,
                        -value,
                        &name,
                        order_id,
                        trade_id,
                        (size, price),
                        Default::default(),
                        1,
                    );
                } else {
                    (fee, fee_ccy) = (round(value * rate), inst.quote.clone());
                    self.bill_trade(
                        &inst.base,
                        -size,
                        &name,
                        order_id,
                        trade_id,
                        (size, price),
                        Default::default(),
                        2,
                    );
                    self.bill_trade(
                        &inst.quote,
                        value + fee,
                        &name,
                        order_id,
                        trade_id,
                        (size, price),
                        (fee, pnl),
                        2,
                    );
                }
            }
            InstKind::Swap => {
                fee = round(own.unwrap_or(price * size * inst.contract_value * rate));
                fee_ccy = inst.quote.clone();
                pnl = self.move_position(&name, signed, price, fee, trade_id, inst.contract_value);
                let sub = if side == Side::Buy { 1 } else { 2 };
                self.bill_trade(
                    &inst.quote,
                    pnl + fee,
                    &name,
                    order_id,
                    trade_id,
                    (size, price),
                    (fee, pnl),
                    sub,
                );
            }
        }
        let id = self.next_id();
        let execution = Execution {
            id,
            trade_id,
            order: order_id,
            cl_ord_id,
            inst: name.clone(),
            side,
            price,
            size,
            fee,
            fee_ccy: fee_ccy.clone(),
            pnl,
            maker,
            at: self.now,
        };
        self.ledger.executions.insert(id, execution);
        self.changes.executions.insert(id);
        let order = self.ledger.orders.get_mut(&order_id).expect("read above");
        order.filled += size;
        order.value += price * size;
        order.fee += fee;
        order.fee_ccy = fee_ccy;
        order.pnl += pnl;
        order.last_fill = Some(id);
        self.untold = Some(id);
        order.updated = self.now;
        order.status = Status::PartiallyFilled;
        self.events.push(Event::Account);
        if inst.kind == InstKind::Swap {
            self.events.push(Event::Position(name));
        }
    }

    /// Net-mode position after `signed` contracts at `price`; returns the profit realised.
    fn move_position(
        &mut self,
        inst: &str,
        signed: Decimal,
        price: Decimal,
        fee: Decimal,
        trade: u64,
        value: Decimal,
    ) -> Decimal {
        let (now, fresh) = (self.now, self.ledger.next_id);
        let pos = self.ledger.positions.entry(inst.to_owned()).or_default();
        if pos.qty.is_zero() {
            *pos = Pos {
                id: 3_000_000_000_000_000_000 + fresh,
                created: now,
                ..Default::default()
            };
        }
        let after = pos.qty + signed;
        let mut pnl = Decimal::ZERO;
        if pos.qty * signed < Decimal::ZERO {
            let closed = signed.abs().min(pos.qty.abs());
            let per_contract = if pos.qty > Decimal::ZERO {
                price - pos.avg
            } else {
                pos.avg - price
            };
            // Written as the daemon's books round it: to twelve decimals after all factors.
            pnl = round(per_contract * closed * value);
            if after * pos.qty < Decimal::ZERO {
                pos.avg = price;
            }
        } else {
            pos.avg = round((pos.avg * pos.qty + price * signed) / after);
        }
        pos.qty = after.normalize();
        if pos.qty.is_zero() {
            pos.avg = Decimal::ZERO;
        }
        pos.realised += pnl;
        pos.fee += fee;
        pos.last_trade = trade;
        pos.updated = now;
        self.changes.positions.insert(inst.to_owned());
        self.orphan_stops(inst);
        pnl
    }

    #[allow(clippy::too_many_arguments)]
    fn bill_trade(
        &mut self,
        ccy: &str,
        change: Decimal,
        inst: &str,
        order: u64,
        trade: u64,
        (size, price): (Decimal, Decimal),
        fee_pnl: (Decimal, Decimal),
        sub: u32,
    ) {
        self.book_bill(
            2,
            sub,
            ccy,
            change,
            inst,
            Some((order, trade)),
            (size, price),
            fee_pnl,
        );
    }

    #[allow(clippy::too_many_arguments)]
    fn book_bill(
        &mut self,
        kind: u32,
        sub: u32,
        ccy: &str,
        change: Decimal,
        inst: &str,
        trade: Option<(u64, u64)>,
        (size, price): (Decimal, Decimal),
        (fee, pnl): (Decimal, Decimal),
    ) {
        let cash = self.ledger.cash.entry(ccy.to_owned()).or_default();
        *cash = (*cash + change).normalize();
        let balance = *cash;
        let id = self.next_id();
        let bill = BillLine {
            id,
            kind,
            sub,
            ccy: ccy.to_owned(),
            change,
            balance,
            inst: inst.to_owned(),
            order: trade.map(|t| t.0),
            trade_id: trade.map(|t| t.1),
            size,
            price,
            fee,
            pnl,
            at: self.now,
        };
        self.ledger.bills.insert(id, bill);
        self.changes.bills.insert(id);
        self.changes.cash.insert(ccy.to_owned());
    }

    /// Pays funding on every open swap at `boundary`: quantity × contract × mark × rate, longs to
    /// shorts.
    pub(super) fn pay_funding(&mut self, boundary: Ms) {
        let open: Vec<(String, Decimal)> = self
            .ledger
            .positions
            .iter()
            .filter(|(_, p)| !p.qty.is_zero())
            .map(|(inst, p)| (inst.clone(), p.qty))
            .collect();
        for (inst, qty) in open {
            if !self.is_shown(&inst) || self.last(&inst).is_zero() {
                continue; // no price, no payment
            }
            let listed = self
                .market
                .get(&inst)
                .expect("positions are in listed instruments");
            let (value, quote) = (
                listed.listing.inst.contract_value,
                listed.listing.inst.quote.clone(),
            );
            let payment =
                round(-qty * value * self.last(&inst) * self.funding_rate(&inst, boundary));
            let sub = if payment < Decimal::ZERO { 173 } else { 174 };
            let mark = self.last(&inst);
            self.book_bill(
                8,
                sub,
                &quote,
                payment,
                &inst,
                None,
                (qty, mark),
                Default::default(),
            );
            if let Some(pos) = self.ledger.positions.get_mut(&inst) {
                pos.funding += payment;
            }
            self.changes.positions.insert(inst.clone());
            self.events.push(Event::Account);
        }
    }

    /// Closes everything at the mark when equity no longer covers the maintenance margin.
    pub(super) fn liquidate_if_broke(&mut self) {
        let held = || {
            self.ledger
                .positions
                .iter()
                .filter(|(_, p)| !p.qty.is_zero())
        };
        // Whoever holds something whose price is not known cannot be judged.
        if held().next().is_none() || held().any(|(inst, _)| !self.is_shown(inst)) {
            return;
        }
        let (mut equity, mut maintenance) = (
            self.ledger.cash.get("USDT").copied().unwrap_or_default(),
            Decimal::ZERO,
        );
        for (inst, pos) in &self.ledger.positions {
            let (upl, notional) = self.mark(inst, pos);
            equity += upl;
            maintenance += notional * MAINTENANCE;
        }
        if equity > maintenance {
            return;
        }
        let open: Vec<u64> = self.open_orders().map(|o| o.id).collect();
        for id in open {
            self.cancel_with(id, "3");
        }
        let victims: Vec<(String, Decimal)> = self
            .ledger
            .positions
            .iter()
            .filter(|(_, p)| !p.qty.is_zero())
            .map(|(inst, p)| (inst.clone(), p.qty))
            .collect();
        for (inst, qty) in victims {
            let side = if qty > Decimal::ZERO {
                Side::Sell
            } else {
                Side::Buy
            };
            let price = self.last(&inst);
            let closing = NewOrder {
                reduce_only: true,
                ..NewOrder::market(&inst, side, qty.abs())
            };
            let id = self.insert_order(&closing, "full_liquidation", None);
            self.execute(id, price, qty.abs(), false);
            self.finish(id, Status::Filled, "");
        }
    }
}
