//! Comparison of what the venue says we hold with what our fills, its bills and what is not ours
//! add up to. A difference counts only when two complete reads apart in time show the same one,
//! with everything we could have missed fetched in between.
//!
//! Cash is compared less what positions cost: profit is realised against an average that depends on
//! the order of fills, and ours may have arrived in another order than the venue's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rust_decimal::Decimal;
use tracing::{info, warn};

use super::{Effect, Now, Reconciler};
use crate::domain::record::Record;
use crate::domain::units::quotient;
use crate::domain::{
    AccountView, BaselineSubject, IncidentKind, InstId, InstKind, Instrument, Ms, Order,
    OrderState, Price, Qty,
};
use crate::tracking::ledger::Ledger;
use crate::venue::FillReport;

/// State of the comparison, and what was odd about it.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// Venue holdings that are not ours: positions by instrument, cash by currency. `None`: never
    /// compared.
    baselines: Option<BTreeMap<String, Decimal>>,
    last: Option<Arc<AccountView>>,
    /// Venue time of the last booking in each instrument.
    moved: BTreeMap<InstId, Ms>,
    suspects: BTreeMap<String, Suspect>,
    /// Instruments in which somebody else has traded since cash last agreed.
    strangers: BTreeSet<InstId>,
    /// Compared at least once in this life.
    fresh: bool,
}

/// A difference seen once.
#[derive(Clone, Debug)]
struct Suspect {
    difference: Decimal,
    since: Ms,
    /// Complete sweeps before it was seen.
    sweeps: u64,
}

/// A currency or position, compared.
struct Compared {
    subject: String,
    venue: Decimal,
    expected: Decimal,
    /// A difference below this is none.
    tolerance: Decimal,
    /// Instruments that are halted if it is odd; none: everything.
    insts: Vec<InstId>,
}

impl Audit {
    pub(super) fn remembered(baselines: Option<BTreeMap<String, Decimal>>) -> Self {
        Self {
            baselines,
            ..Self::default()
        }
    }

    /// True once anything has been compared.
    pub(super) fn is_begun(&self) -> bool {
        self.baselines.is_some()
    }

    /// Compared at least once in this life?
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The last read of the account, while nothing has been compared in this life.
    pub(super) fn unused(&self) -> Option<Arc<AccountView>> {
        self.last.clone().filter(|_| !self.fresh)
    }

    /// Instruments whose position, or coin, did not fit at the last look.
    pub(super) fn doubts(&self, ledger: &Ledger) -> BTreeMap<InstId, String> {
        let unreadable = self
            .last
            .iter()
            .flat_map(|view| &view.unreadable)
            .filter_map(|(subject, why)| {
                let inst = ledger.instrument(&InstId::from(subject.as_str()))?;
                Some((
                    inst.id.clone(),
                    format!("what the venue says of it cannot be right: {why}"),
                ))
            });
        let coins =
            self.last
                .iter()
                .flat_map(|view| &view.unreadable)
                .flat_map(|(subject, why)| {
                    let coin = ledger
                        .instruments()
                        .filter(move |i| i.kind == InstKind::Spot && i.base == *subject);
                    coin.map(move |i| {
                        (
                            i.id.clone(),
                            format!("what the venue says of it cannot be right: {why}"),
                        )
                    })
                });
        let odd = |inst: &&Arc<Instrument>| {
            let coin = inst.kind == InstKind::Spot && self.suspects.contains_key(&inst.base);
            coin || self.suspects.contains_key(inst.id.as_str())
        };
        let why = "the venue's position is not what our fills make; it is being looked at again";
        let odd = ledger
            .instruments()
            .filter(odd)
            .map(|inst| (inst.id.clone(), why.to_owned()));
        odd.chain(unreadable).chain(coins).collect()
    }

    /// A fill of ours was booked.
    pub(super) fn moved(&mut self, inst: &InstId, at: Ms) {
        self.moved.insert(inst.clone(), at);
    }

    /// A fill that is not ours.
    pub(super) fn not_ours(&mut self, row: &FillReport, at: Ms) {
        warn!(event = "foreign_fill", inst = %row.inst, side = row.side.as_str(), qty = %row.fill.qty, price = %row.fill.price,
            venue_id = %row.venue_id, "somebody else has traded on this account");
        self.strangers.insert(row.inst.clone());
        self.moved.insert(row.inst.clone(), at);
    }

    /// Positions that are not ours.
    pub(super) fn foreign(&self) -> BTreeMap<InstId, Qty> {
        let held = self
            .baselines
            .iter()
            .flatten()
            .filter(|(_, qty)| !qty.is_zero());
        held.filter_map(|(subject, qty)| match BaselineSubject::of(subject) {
            BaselineSubject::Position(inst) => Some((InstId::from(inst), Qty(*qty))),
            BaselineSubject::Cash(_) => None,
        })
        .collect()
    }

    fn baseline(&self, subject: &str) -> Decimal {
        self.baselines
            .as_ref()
            .and_then(|all| all.get(subject))
            .copied()
            .unwrap_or_default()
    }

    /// The venue's cash of a currency, less what its swap positions cost. Profit is realised
    /// against an average entry, which depends on the order of fills, and ours may have come in
    /// another order; this sum does not.
    fn cash(ledger: &Ledger, view: &AccountView, ccy: &str) -> Decimal {
        let settled = |inst: &&Arc<Instrument>| inst.kind == InstKind::Swap && inst.settle() == ccy;
        let cost = |inst: &Arc<Instrument>| {
            let position = view.positions.get(&inst.id)?;
            Some(
                position
                    .qty
                    .0
                    .saturating_mul(position.average?.0)
                    .saturating_mul(inst.contract_value),
            )
        };
        let costs: Decimal = ledger.instruments().filter(settled).filter_map(cost).sum();
        view.balances
            .get(ccy)
            .map_or(Decimal::ZERO, |b| b.cash)
            .saturating_sub(costs)
    }

    /// The same by our fills and the venue's other bills.
    fn our_cash(ledger: &Ledger, view: &AccountView, ccy: &str) -> Decimal {
        let of = |sums: &BTreeMap<String, Decimal>| sums.get(ccy).copied().unwrap_or_default();
        let settled = |inst: &&Arc<Instrument>| inst.kind == InstKind::Swap && inst.settle() == ccy;
        let cost = |inst: &Arc<Instrument>| {
            let held = ledger.books().positions.get(inst.id.as_str())?;
            Some(
                held.qty
                    .0
                    .saturating_mul(held.average.0)
                    .saturating_mul(inst.contract_value),
            )
        };
        let costs: Decimal = ledger.instruments().filter(settled).filter_map(cost).sum();
        of(&ledger.books().cash)
            .saturating_add(of(&view.other_bills))
            .saturating_sub(costs)
    }

    /// Everything that can be compared on this read: each subject, with what should be there.
    fn compare(&self, ledger: &Ledger, view: &AccountView, tolerance: Decimal) -> Vec<Compared> {
        let mut out = Vec::new();
        for inst in ledger
            .instruments()
            .filter(|inst| inst.kind == InstKind::Swap)
        {
            out.push(Compared {
                subject: inst.id.to_string(),
                venue: view
                    .positions
                    .get(&inst.id)
                    .map_or(Decimal::ZERO, |p| p.qty.0),
                expected: self
                    .baseline(inst.id.as_str())
                    .saturating_add(ledger.net(&inst.id)),
                tolerance: Decimal::ZERO,
                insts: vec![inst.id.clone()],
            });
        }
        let known = self
            .baselines
            .iter()
            .flat_map(|all| all.keys())
            .filter(|subject| matches!(BaselineSubject::of(subject), BaselineSubject::Cash(_)));
        let ccys: BTreeSet<&String> = view
            .balances
            .keys()
            .chain(known)
            .chain(ledger.books().cash.keys())
            .collect();
        for ccy in ccys {
            let worth = view
                .balances
                .get(ccy)
                .filter(|b| !b.equity.is_zero())
                .map(|b| quotient(b.equity_usd.0, b.equity));
            let coin = |inst: &&Arc<Instrument>| inst.kind == InstKind::Spot && inst.base == *ccy;
            out.push(Compared {
                subject: ccy.clone(),
                venue: Self::cash(ledger, view, ccy),
                expected: self
                    .baseline(ccy)
                    .saturating_add(Self::our_cash(ledger, view, ccy)),
                // Without a price a coin's smallest step must do.
                tolerance: match worth.filter(|w| *w > Decimal::ZERO) {
                    Some(worth) => quotient(tolerance, worth),
                    None => ledger
                        .instruments()
                        .filter(coin)
                        .map(|inst| inst.lot.0)
                        .max()
                        .unwrap_or_default(),
                },
                insts: ledger
                    .instruments()
                    .filter(coin)
                    .map(|inst| inst.id.clone())
                    .collect(),
            });
        }
        out
    }

    /// Sets what is not ours of a subject so that the venue's `amount` of it is taken as it is.
    pub(super) fn rebase(
        &mut self,
        ledger: &Ledger,
        subject: &str,
        amount: Decimal,
        at: Ms,
    ) -> Record {
        let ours = match ledger.instrument(&InstId::from(subject)) {
            Some(inst) => ledger.net(&inst.id),
            None => self
                .last
                .as_ref()
                .map_or(Decimal::ZERO, |view| Self::our_cash(ledger, view, subject)),
        };
        let amount = amount.saturating_sub(ours);
        self.baselines
            .get_or_insert_default()
            .insert(subject.to_owned(), amount);
        self.suspects.remove(subject);
        Record::Baseline {
            subject: subject.to_owned(),
            amount,
            at,
        }
    }

    /// Returns what the venue has of an instrument, and how much of that was not ours when we last
    /// agreed.
    pub(super) fn claim(&self, ledger: &Ledger, inst: &Instrument) -> Option<(Decimal, Decimal)> {
        let view = self.last.as_ref()?;
        Some(match inst.kind {
            InstKind::Swap => (
                view.positions
                    .get(&inst.id)
                    .map_or(Decimal::ZERO, |p| p.qty.0),
                self.baseline(inst.id.as_str()),
            ),
            InstKind::Spot => {
                let expected = self
                    .baseline(&inst.base)
                    .saturating_add(Self::our_cash(ledger, view, &inst.base));
                (
                    Self::cash(ledger, view, &inst.base),
                    expected.saturating_sub(ledger.net(&inst.id)),
                )
            }
        })
    }

    pub(super) fn cash_seen(&self, ledger: &Ledger, ccy: &str) -> Option<Decimal> {
        self.last.as_ref().map(|view| Self::cash(ledger, view, ccy))
    }

    /// Describes what this read of the account shows of an instrument that our fills do not make,
    /// if anything.
    pub(super) fn odd_position(
        &self,
        ledger: &Ledger,
        inst: &InstId,
        view: &AccountView,
    ) -> Option<String> {
        self.baselines.as_ref()?;
        let instrument = ledger.instrument(inst)?;
        let subject = if instrument.kind == InstKind::Spot {
            instrument.base.clone()
        } else {
            inst.to_string()
        };
        let with_bills = match &self.last {
            Some(last) => AccountView {
                other_bills: last.other_bills.clone(),
                ..view.clone()
            },
            None => view.clone(),
        };
        let all = self.compare(ledger, &with_bills, Decimal::ONE);
        let odd = all
            .into_iter()
            .find(|c| c.subject == subject && (c.venue - c.expected).abs() > c.tolerance)?;
        Some(format!(
            "{}: the venue has {}, we expect {}",
            odd.subject, odd.venue, odd.expected
        ))
    }
}

impl Reconciler {
    /// An order of nobody's has filled: what it took from what is not ours is not there any more.
    pub(super) fn settle_foreign(
        &mut self,
        inst: &InstId,
        price: Price,
        run_id: crate::domain::RunId,
        now: Now,
    ) {
        let foreign = self.audit.baseline(inst.as_str());
        let (mut rows, left) =
            self.ledger
                .settle_foreign(inst, foreign, price, (run_id, now.venue));
        if rows.is_empty() {
            return;
        }
        self.audit
            .baselines
            .get_or_insert_default()
            .insert(inst.to_string(), left);
        rows.push(Record::Baseline {
            subject: inst.to_string(),
            amount: left,
            at: now.venue,
        });
        self.acts.push(Effect::Keep(rows));
    }

    /// A complete read of the account has come.
    pub(super) fn on_account(&mut self, view: Arc<AccountView>, now: Now) {
        self.audit.last = Some(Arc::clone(&view));
        if self.swept {
            let shut = !self.audit.fresh;
            self.compare(&view, now);
            if shut {
                self.begin_sweep(now); // opens the gate, if it agrees
            }
        }
    }

    /// Compares everything that can be, once orders and fills agree.
    pub(super) fn compare(&mut self, view: &AccountView, now: Now) {
        if self.ledger.missing_fills().next().is_some() {
            return; // nothing can be said yet
        }
        if !self.audit.is_begun() {
            self.first_look(view, now);
            self.audit.fresh = self.audit.is_begun();
            return;
        }
        let mut doubt = false;
        for subject in self
            .audit
            .compare(&self.ledger, view, self.patience.cash_tolerance)
        {
            if self.is_quiet(&subject, view) {
                doubt |= self.look_at(&subject, now);
            }
        }
        // Who traded what we do not has explained what he could.
        let ledger = &self.ledger;
        if self.audit.suspects.is_empty() {
            self.audit
                .strangers
                .retain(|inst| ledger.instrument(inst).is_some());
        }
        self.audit.fresh = true;
        self.acts.push(Effect::Show);
        if doubt {
            self.begin_sweep(now);
            self.acts.push(Effect::ReadAccount);
        }
    }

    /// Before our first comparison nothing can be odd: what is there is not ours.
    pub(super) fn first_look(&mut self, view: &AccountView, now: Now) {
        let compared = self
            .audit
            .compare(&self.ledger, view, self.patience.cash_tolerance);
        let quiet = compared.iter().all(|subject| self.is_quiet(subject, view));
        if !quiet {
            return;
        }
        let mut records: Vec<Record> = Vec::new();
        self.audit.baselines = Some(BTreeMap::new());
        for c in compared.into_iter().filter(|c| c.venue != c.expected) {
            if let BaselineSubject::Position(_) = BaselineSubject::of(&c.subject) {
                warn!(event = "foreign_position", inst = c.subject, qty = %(c.venue - c.expected),
                    "a position that is not ours; counted as exposure, left alone");
            }
            records.push(
                self.audit
                    .rebase(&self.ledger, &c.subject, c.venue, now.venue),
            );
        }
        records.push(Record::Note {
            key: "compared_ms".into(),
            value: now.venue.0.to_string(),
        });
        self.acts.push(Effect::Keep(records));
        self.acts.push(Effect::Show);
    }

    /// True if the account has been read since the last thing that moved this subject.
    pub(super) fn is_readable(&self, subject: &str) -> bool {
        let Some(view) = self.audit.last.clone() else {
            return false;
        };
        let of = match self.ledger.instrument(&InstId::from(subject)) {
            Some(inst) if inst.kind == InstKind::Spot => inst.base.clone(),
            _ => subject.to_owned(),
        };
        let all = self
            .audit
            .compare(&self.ledger, &view, self.patience.cash_tolerance);
        all.iter()
            .filter(|c| c.subject == of)
            .all(|c| self.is_quiet(c, &view))
    }

    /// True if nothing was in flight when the read began, so that it can be compared with what we
    /// know.
    fn is_quiet(&self, c: &Compared, view: &AccountView) -> bool {
        let ours = |inst: &InstId| match self.ledger.instrument(inst) {
            Some(i) => {
                i.id.as_str() == c.subject
                    || i.base == c.subject
                    || i.quote == c.subject
                    || i.settle() == c.subject
            }
            None => false,
        };
        if view.unreadable.contains_key(&c.subject)
            || c.insts
                .iter()
                .any(|inst| view.unreadable.contains_key(inst.as_str()))
        {
            return false; // what it says of this cannot be believed, and is not there
        }
        let still = self
            .audit
            .moved
            .iter()
            .filter(|(inst, _)| ours(inst))
            .all(|(_, at)| *at < view.as_of);
        // An order that may fill at any moment leaves a doubt; an unknown one leaves nothing but
        // doubts.
        let unsure = |o: &Order| {
            ours(&o.inst)
                && matches!(
                    o.state(),
                    OrderState::Unknown | OrderState::Intended | OrderState::Sent
                )
        };
        still && !self.ledger.live().any(unsure)
    }

    /// One subject on a quiet read. `true`: it differs, and must be looked at again.
    fn look_at(&mut self, c: &Compared, now: Now) -> bool {
        let difference = c.venue.saturating_sub(c.expected);
        if difference.abs() <= c.tolerance {
            self.audit.suspects.remove(&c.subject);
            // We are of one mind again: whoever moved it has moved it back, or the venue was late
            // to say.
            self.end_those(now, |case| match case.kind {
                IncidentKind::Cash => case.subject == c.subject,
                IncidentKind::Corrected => {
                    c.subject == case.subject
                        || c.insts.iter().any(|inst| inst.as_str() == case.subject)
                }
                IncidentKind::Position => c.insts.iter().any(|inst| inst.as_str() == case.subject),
                _ => false,
            });
            return false;
        }
        let suspect = Suspect {
            difference,
            since: now.venue,
            sweeps: self.sweeps,
        };
        let seen = self
            .audit
            .suspects
            .entry(c.subject.clone())
            .or_insert_with(|| suspect.clone());
        if seen.difference != difference {
            *seen = suspect;
            return true;
        }
        // As long as a list may lag behind the account, and with two complete comparisons since.
        let apart = now.venue.since(seen.since) >= self.patience.absent_after
            && self.sweeps > seen.sweeps.saturating_add(1);
        if !apart {
            return true;
        }
        let why = format!(
            "the venue has {} {}, our fills make {}",
            c.venue.normalize(),
            c.subject,
            c.expected.normalize()
        );
        let coin = !c.insts.is_empty();
        // A currency that is no coin of ours moves when somebody trades, here or in what we do not
        // follow. A position that is odd because of it is a case of its own, and the money goes
        // with it.
        let traded_here = || {
            let paid_in = |inst: &InstId| {
                self.ledger
                    .instrument(inst)
                    .is_some_and(|i| i.quote == c.subject || i.settle() == c.subject)
            };
            let case = |case: &crate::domain::Incident| {
                case.kind == IncidentKind::Position && case.scope.as_ref().is_some_and(paid_in)
            };
            let doubts = self.audit.doubts(&self.ledger);
            self.cases.iter().any(case) || doubts.keys().any(paid_in)
        };
        if !coin && traded_here() {
            return false;
        }
        let ours = |inst: &InstId| self.ledger.instrument(inst).is_some();
        let swap = self
            .ledger
            .instrument(&InstId::from(c.subject.as_str()))
            .is_some();
        if !coin && !swap && self.audit.strangers.iter().any(|inst| !ours(inst)) {
            info!(event = "cash_explained", ccy = c.subject, %difference, "by trades that are not ours");
            let record = self
                .audit
                .rebase(&self.ledger, &c.subject, c.venue, now.venue);
            self.acts.push(Effect::Keep(vec![record]));
            return false;
        }
        if !coin {
            self.halt(
                IncidentKind::Cash,
                c.subject.clone(),
                None,
                why.clone(),
                now,
            );
        }
        for inst in &c.insts {
            self.halt(
                IncidentKind::Position,
                inst.to_string(),
                Some(inst.clone()),
                why.clone(),
                now,
            );
        }
        false
    }
}

impl Ledger {
    /// The entry price of what the sleeves hold of an instrument, by size; zero if they hold
    /// nothing.
    pub(super) fn average_entry(&self, inst: &InstId) -> Price {
        let held: Vec<(Decimal, Decimal)> = self.entries(inst).collect();
        let total: Decimal = held.iter().map(|(qty, _)| qty.abs()).sum();
        if total.is_zero() {
            return Price::ZERO;
        }
        Price(
            quotient(
                held.iter()
                    .map(|(qty, price)| qty.abs().saturating_mul(*price))
                    .sum::<Decimal>(),
                total,
            )
            .round_dp(12),
        )
    }
}
