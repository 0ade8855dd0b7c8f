//! Account sync: complete reads of the account on a rhythm, soon after fills, and on demand.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::domain::record::{Record, RunKind};
use crate::domain::{AccountView, Bill, InstId, Ms, RunId};
use crate::runtime::sabotage::{self, Promise};
use crate::runtime::{Actor, Beat, Clock, RunIds, Shutdown, StageError, faults};
use crate::store::{Journal, Opened};
use crate::venue::{Page, Venue, VenueError, check_clock};

/// Result of a sync: the account, or why it could not be read.
pub type SyncReport = Result<(RunId, Arc<AccountView>), String>;

/// Request to read the account now.
#[derive(Debug)]
pub struct SyncAsk {
    pub done: oneshot::Sender<SyncReport>,
}

/// Which bills have been read, and what those that are not trades sum up to.
#[derive(Clone, Debug, Default)]
pub struct BillBook {
    pub cursor: Option<String>,
    pub others: BTreeMap<String, Decimal>,
    /// Those of them that are transfers.
    pub transfers: BTreeMap<String, Decimal>,
    /// Those that are funding, by instrument.
    pub funding: BTreeMap<InstId, Decimal>,
}

impl BillBook {
    /// Restores the bill book from what the database remembers.
    pub fn of(opened: &Opened) -> Self {
        let (others, transfers) = (opened.other_bills.clone(), opened.transfers.clone());
        Self {
            cursor: opened.bills_cursor.clone(),
            others,
            transfers,
            funding: opened.funding.clone(),
        }
    }
}

/// Venue requests that account sync needs.
pub trait Accounts: Clone + Send + Sync + 'static {
    /// Balances and positions, both complete.
    fn account(&self) -> impl Future<Output = Result<AccountView, VenueError>> + Send;
    /// Bills newer than the cursor, oldest first.
    fn bills_since(
        &self,
        cursor: Option<&str>,
    ) -> impl Future<Output = Result<Page<Bill>, VenueError>> + Send;
    /// The venue's clock.
    fn server_time(&self) -> impl Future<Output = Result<Ms, VenueError>> + Send;
}

impl Accounts for Venue {
    async fn account(&self) -> Result<AccountView, VenueError> {
        Venue::account(self).await
    }
    async fn bills_since(&self, cursor: Option<&str>) -> Result<Page<Bill>, VenueError> {
        Venue::bills_since(self, cursor).await
    }
    async fn server_time(&self) -> Result<Ms, VenueError> {
        Venue::server_time(self).await
    }
}

/// The account sync actor.
pub struct AccountSync<V> {
    pub venue: V,
    pub clock: Clock,
    pub ids: Arc<RunIds>,
    pub journal: Journal,
    pub every: Ms,
    pub bills: BillBook,
    pub asks: mpsc::Receiver<SyncAsk>,
    pub nudge: watch::Receiver<u64>,
    /// Signal that a fresh read is awaited.
    pub wanted: Arc<Notify>,
    pub view: watch::Sender<Option<Arc<AccountView>>>,
    pub beat: Beat,
}

/// After fills, wait this long so that one read serves several of them.
const SOON: Duration = Duration::from_millis(1000);

impl<V: Accounts> Actor for AccountSync<V> {
    async fn run(&mut self, stop: Shutdown) -> Result<(), StageError> {
        let mut next = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            let mut answer = None;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                ask = self.asks.recv() => match ask {
                    Some(ask) => answer = Some(ask.done),
                    None => return Ok(()),
                },
                changed = self.nudge.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    next = next.min(Instant::now() + SOON);
                }
                () = self.wanted.notified() => next = Instant::now(),
                () = tokio::time::sleep_until(next) => {}
                _ = tick.tick() => {}
            }
            faults::point("account").await;
            self.beat.tick();
            if answer.is_none() && Instant::now() < next {
                continue;
            }
            let trigger = if answer.is_some() {
                "asked for"
            } else {
                "rhythm"
            };
            let report = self.beat.clone().while_waiting(self.sync(trigger)).await?;
            let pause = match &report {
                Ok(_) => self.clock.wall_span(self.every).max(Duration::from_secs(1)),
                Err(_) => Duration::from_secs(2),
            };
            next = Instant::now() + pause;
            if let Some(done) = answer {
                drop(done.send(report)); // whoever asked may have gone
            }
        }
    }
}

impl<V: Accounts> AccountSync<V> {
    /// The venue's clock is the one that counts; ours may have been suspended with its machine.
    async fn check_clock(&self) {
        check_clock(&self.clock, || self.venue.server_time()).await;
    }

    async fn sync(&mut self, trigger: &str) -> Result<SyncReport, StageError> {
        self.check_clock().await;
        match sync_once(&self.venue, &self.bills).await {
            Ok((view, bills)) => {
                faults::point("account_read").await;
                let view = Arc::new(view);
                let run_id = self.ids.next(self.clock.now());
                keep_account(
                    &self.journal,
                    run_id,
                    trigger,
                    &view,
                    bills,
                    &mut self.bills,
                )
                .await?;
                debug!(event = "account_synced", %run_id, equity = %view.equity, positions = view.positions.len(), "account read");
                self.view.send_replace(Some(Arc::clone(&view)));
                Ok(Ok((run_id, view)))
            }
            Err(error) if error.needs_person() => Err(error.into()),
            Err(error) => {
                // The rows stay as they are and age; a failed read is not an empty account.
                warn!(event = "account_sync_failed", %error, "the account could not be read; the last read stands");
                Ok(Err(error.to_string()))
            }
        }
    }
}

/// Adds to a sum by its key.
fn add<K: Ord + Clone>(sums: &mut BTreeMap<K, Decimal>, key: &K, change: Decimal) {
    let sum = sums.entry(key.clone()).or_default();
    *sum = sum.saturating_add(change);
}

/// A bill that is not a trade: those are kept as fills.
fn is_other(bill: &&Bill) -> bool {
    bill.kind != "2" && bill.trade_id.is_none()
}

/// The bills that come before the first that cannot be believed: that one and what follows are
/// asked for again, and its currency is not compared meanwhile.
fn before_refused(page: Page<Bill>, unreadable: &mut BTreeMap<String, String>) -> Vec<Bill> {
    let number = |id: &str| id.parse::<u64>().unwrap_or(0);
    let first = page.refused.iter().map(|row| number(&row.id)).min();
    for row in &page.refused {
        warn!(
            event = "row_refused",
            request = "account/bills",
            id = row.id,
            why = row.why,
            "a bill that cannot be right; it is asked for again"
        );
        unreadable.insert(row.subject.clone(), row.to_string());
    }
    page.rows
        .into_iter()
        .filter(|bill| first.is_none_or(|first| number(&bill.bill_id) < first))
        .collect()
}

/// Maximum number of times the account is read again because money came or went during the read.
const AGAIN_MAX: usize = 5;

/// Reads the account and the bills since the book's cursor, both complete or an error. Money that
/// comes or goes between the two would look like profit or loss: then the account is read again.
pub async fn sync_once(
    venue: &impl Accounts,
    book: &BillBook,
) -> Result<(AccountView, Vec<Bill>), VenueError> {
    let mut bills: Vec<Bill> = Vec::new();
    let mut unreadable: BTreeMap<String, String> = BTreeMap::new();
    let mut again = 0;
    let mut view = loop {
        let view = match venue.account().await {
            // P4 broken on purpose: a failed read counts as an empty account.
            Err(_) if sabotage::breaks(Promise::P4) => AccountView::default(),
            read => read?,
        };
        let cursor = bills
            .last()
            .map(|bill| bill.bill_id.clone())
            .or_else(|| book.cursor.clone());
        let page = venue.bills_since(cursor.as_deref()).await?;
        let new = before_refused(page, &mut unreadable);
        let moved = new.iter().any(Bill::is_transfer);
        bills.extend(new);
        again += 1;
        // A database that has never read bills begins with what there is.
        if !moved || book.cursor.is_none() || again > AGAIN_MAX {
            break view;
        }
    };
    view.unreadable.extend(unreadable);
    view.other_bills = book.others.clone();
    view.transfers = book.transfers.clone();
    view.funding = book.funding.clone();
    for bill in bills.iter().filter(is_other) {
        add(&mut view.other_bills, &bill.ccy, bill.change);
        if bill.is_transfer() {
            add(&mut view.transfers, &bill.ccy, bill.change);
        }
        if let Some(inst) = bill.inst.as_ref().filter(|_| bill.is_funding()) {
            add(&mut view.funding, inst, bill.change);
        }
    }
    Ok((view, bills))
}

/// Writes one complete read, durable on return.
pub async fn keep_account(
    journal: &Journal,
    run_id: RunId,
    trigger: &str,
    view: &Arc<AccountView>,
    bills: Vec<Bill>,
    book: &mut BillBook,
) -> Result<(), StageError> {
    let run = Record::Run {
        run_id,
        kind: RunKind::Sync,
        trigger: trigger.into(),
        at: view.as_of,
        caused_by: None,
    };
    let mut rows = vec![run];
    if let Some(last) = bills.last() {
        let cursor = last.bill_id.clone();
        let others: Vec<Bill> = bills.iter().filter(is_other).cloned().collect();
        if !others.is_empty() {
            info!(
                event = "bills",
                count = others.len(),
                "transfers, funding or other bills"
            );
        }
        rows.push(Record::Bills(others));
        rows.push(Record::Note {
            key: "bills_cursor".into(),
            value: cursor.clone(),
        });
        let (others, transfers) = (view.other_bills.clone(), view.transfers.clone());
        *book = BillBook {
            cursor: Some(cursor),
            others,
            transfers,
            funding: view.funding.clone(),
        };
    }
    rows.push(Record::Account {
        run_id,
        view: Arc::clone(view),
    });
    // One transaction: bills and the cursor behind them are kept together or not at all.
    journal.append(Record::Together(rows)).await
}
