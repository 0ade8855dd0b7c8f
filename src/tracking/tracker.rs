//! The order tracker's task: the single owner of order truth. Hears the executor, the venue's own
//! stream, account sync and people; does what [`Reconciler`] says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::mass_status::{look_everywhere, mass_status};
use super::reconcile::{Answer, Effect, Now, Reconciler, TruthEvent, VenueQuery};
use super::wire::{PrivateFeed, Wire};
use crate::domain::record::{Record, RunKind};
use crate::domain::{AccountView, Incident, MarketView, Ms, OrdersView, Readiness, RunId};
use crate::execution::ExecutionReport;
use crate::runtime::{Actor, Beat, Clock, RunIds, Shutdown, StageError, faults};
use crate::store::{Journal, Opened};
use crate::venue::{Stream, StreamEvent, VenueError, parse_algos, parse_orders};

/// A person asks the tracker.
#[derive(Debug)]
pub enum TruthAsk {
    /// List the open incidents, after a fresh comparison has been begun if wanted.
    Cases {
        compare: bool,
        done: oneshot::Sender<Vec<Incident>>,
    },
    /// Accept a case, by its id. Answers with the run that does it, or why it cannot be.
    Accept {
        case: String,
        done: oneshot::Sender<Result<RunId, String>>,
    },
}

/// The tracker.
pub struct Tracker<W> {
    pub wire: W,
    pub clock: Clock,
    pub ids: Arc<RunIds>,
    pub journal: Journal,
    pub reconciler: Reconciler,
    pub reports: mpsc::Receiver<ExecutionReport>,
    pub asks: mpsc::Receiver<TruthAsk>,
    pub account: watch::Receiver<Option<Arc<AccountView>>>,
    pub market: watch::Receiver<MarketView>,
    pub view: watch::Sender<OrdersView>,
    pub readiness: watch::Sender<Readiness>,
    /// Told when fills arrive, so that the account is read soon.
    pub nudge: watch::Sender<u64>,
    /// Reads the record, once what was handed to the journal before is in it.
    pub reload: Reload,
    pub beat: Beat,
}

/// Reads everything the database remembers.
pub type Reload = Arc<dyn Fn() -> Result<Opened, String> + Send + Sync>;

/// After the executor has gone, wait this long for orders that do not rest to end.
const LINGER: Duration = Duration::from_secs(3);

/// Background work of the tracker.
struct TrackerTasks {
    answers: JoinSet<Result<Answer, VenueError>>,
    orders: Stream,
    stops: Stream,
    began: Instant,
}

impl<W: Wire> Actor for Tracker<W> {
    async fn run(&mut self, _stop: Shutdown) -> Result<(), StageError> {
        let mut lines = TrackerTasks {
            answers: JoinSet::new(),
            orders: self.wire.listen(PrivateFeed::Orders),
            stops: self.wire.listen(PrivateFeed::Stops),
            began: Instant::now(),
        };
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let mut leaving: Option<Instant> = None;
        let mut accounts = true;
        self.view.send_replace(self.reconciler.view());
        loop {
            let heard = tokio::select! {
                biased;
                report = self.reports.recv(), if leaving.is_none() => match report {
                    Some(report) => Some(TruthEvent::Report(report)),
                    None => {
                        leaving = Some(Instant::now() + LINGER);
                        None
                    }
                },
                event = lines.orders.next() => from_stream(PrivateFeed::Orders, event)?,
                event = lines.stops.next() => from_stream(PrivateFeed::Stops, event)?,
                Some(answer) = lines.answers.join_next() => match answer {
                    Ok(answer) => Some(TruthEvent::Answer(answer?)),
                    Err(lost) => return Err(StageError::Venue(format!("a question was lost: {lost}"))),
                },
                changed = self.account.changed(), if accounts => match changed {
                    Ok(()) => self.account.borrow_and_update().clone().map(TruthEvent::Account),
                    Err(_) => {
                        accounts = false; // account sync has ended; shutdown follows the data
                        None
                    }
                },
                Some(ask) = self.asks.recv() => self.on_ask(ask).await?,
                _ = tick.tick() => Some(TruthEvent::Tick),
            };
            faults::point("tracker").await;
            if let Some(heard) = heard {
                // An intent is reported before its bytes leave. This task may have stood still
                // between looking for reports and looking at the venue: what was reported by now is
                // heard first, or an order of ours would look like a stray.
                while !matches!(heard, TruthEvent::Report(_))
                    && let Ok(report) = self.reports.try_recv()
                {
                    self.hear(TruthEvent::Report(report), &mut lines).await?;
                }
                self.hear(heard, &mut lines).await?;
            }
            self.beat.tick();
            if leaving
                .is_some_and(|until| Instant::now() >= until || self.reconciler.only_resting())
            {
                return Ok(());
            }
        }
    }
}

impl<W: Wire> Tracker<W> {
    async fn hear(
        &mut self,
        heard: TruthEvent,
        lines: &mut TrackerTasks,
    ) -> Result<(), StageError> {
        let wall = Ms(i64::try_from(lines.began.elapsed().as_millis()).unwrap_or(i64::MAX));
        let swept = matches!(heard, TruthEvent::Answer(Answer::Sweep(_)));
        let acts = self.reconciler.hear(
            heard,
            Now {
                venue: self.clock.now(),
                wall,
            },
        );
        let (mut show, mut nudge) = (false, false);
        // Shutting the gate waits for nobody; opening it waits for the rows that say why.
        let shut = acts.iter().rev().find_map(|act| match act {
            Effect::Readiness(next) if *next != Readiness::Ready => Some(next.clone()),
            _ => None,
        });
        if let Some(next) = shut {
            self.readiness.send_replace(next);
        }
        for act in acts {
            match act {
                Effect::Keep(records) => {
                    faults::point("tracker_keep").await;
                    self.journal.post(Record::Together(records)).await?;
                    faults::point("tracker_kept").await;
                }
                Effect::Ask(ask) => {
                    lines.answers.spawn(answer(self.wire.clone(), ask));
                }
                Effect::Readiness(next) => {
                    self.journal
                        .append(Record::Probe {
                            at: self.clock.now(),
                        })
                        .await?;
                    self.view.send_replace(self.reconciler.view());
                    self.readiness.send_replace(next);
                }
                Effect::Refold => {
                    // Everything handed in before is in the database when this is.
                    self.journal
                        .append(Record::Probe {
                            at: self.clock.now(),
                        })
                        .await?;
                    let opened = (self.reload)().map_err(StageError::Store)?;
                    self.reconciler.refold(&opened);
                    show = true;
                }
                Effect::Show => show = true,
                Effect::ReadAccount => nudge = true,
                Effect::Reopen(PrivateFeed::Orders) => {
                    lines.orders = self.wire.listen(PrivateFeed::Orders)
                }
                Effect::Reopen(PrivateFeed::Stops) => {
                    lines.stops = self.wire.listen(PrivateFeed::Stops)
                }
            }
        }
        if show {
            self.view.send_replace(self.reconciler.view());
        }
        if swept {
            faults::point("sweep_joined").await;
        }
        if nudge {
            self.nudge.send_modify(|n| *n += 1);
        }
        Ok(())
    }

    async fn on_ask(&mut self, ask: TruthAsk) -> Result<Option<TruthEvent>, StageError> {
        // Whoever asked may have gone.
        match ask {
            TruthAsk::Cases { compare, done } => {
                drop(done.send(self.reconciler.cases().to_vec()));
                Ok(compare.then_some(TruthEvent::Compare))
            }
            TruthAsk::Accept { case, done } => {
                if let Err(why) = self.reconciler.acceptable(&case) {
                    drop(done.send(Err(why)));
                    return Ok(None);
                }
                let at = self.clock.now();
                let run_id = self.ids.next(at);
                let trigger = format!("reconcile --accept {case}");
                self.journal
                    .append(Record::Run {
                        run_id,
                        kind: RunKind::Command,
                        trigger,
                        at,
                        caused_by: None,
                    })
                    .await?;
                let mids = |view: &MarketView| -> BTreeMap<_, _> {
                    let quotes = view
                        .insts
                        .iter()
                        .filter_map(|(inst, m)| Some((inst.clone(), m.quote?.mid())));
                    quotes.collect()
                };
                let prices = mids(&self.market.borrow());
                drop(done.send(Ok(run_id)));
                Ok(Some(TruthEvent::Accept {
                    case,
                    run_id,
                    prices,
                }))
            }
        }
    }
}

/// Translates a stream's event for the reconciler.
fn from_stream(
    feed: PrivateFeed,
    event: Option<StreamEvent>,
) -> Result<Option<TruthEvent>, StageError> {
    Ok(match event {
        Some(StreamEvent::Up) => Some(TruthEvent::Up(feed)),
        Some(StreamEvent::Down(why)) => Some(TruthEvent::Down(feed, why)),
        Some(StreamEvent::Push { data, .. }) => Some(match feed {
            PrivateFeed::Orders => match parse_orders(data.get()) {
                Ok(pushes) => TruthEvent::Orders(pushes),
                Err(problem) => TruthEvent::Garbled(feed, problem.to_string()),
            },
            PrivateFeed::Stops => match parse_algos(data.get()) {
                Ok(pushes) => TruthEvent::Stops(pushes),
                Err(problem) => TruthEvent::Garbled(feed, problem.to_string()),
            },
        }),
        Some(StreamEvent::ConnCount { channel, count }) if channel == "orders" => {
            Some(TruthEvent::Connections(count))
        }
        Some(StreamEvent::Refused { code, msg }) => {
            return Err(StageError::Refused(format!("{code} {msg}")));
        }
        Some(StreamEvent::ConnCount { .. } | StreamEvent::Reply(_)) => None,
        None => return Err(StageError::Gone("a private stream")),
    })
}

/// Asks, and brings the answer back. What a person must mend ends the process; any other failure is
/// an answer too.
async fn answer<W: Wire>(wire: W, ask: VenueQuery) -> Result<Answer, VenueError> {
    fn told<T>(result: Result<T, VenueError>) -> Result<Result<T, String>, VenueError> {
        match result {
            Ok(found) => Ok(Ok(found)),
            Err(error) if error.needs_person() => Err(error),
            Err(error) => Ok(Err(error.to_string())),
        }
    }
    Ok(match ask {
        VenueQuery::Sweep(wanted) => Answer::Sweep(told(mass_status(&wire, wanted).await)?),
        VenueQuery::Order(question) => {
            let result = told(super::mass_status::ask(&wire, &question).await)?;
            Answer::Order {
                id: question.id,
                result,
            }
        }
        VenueQuery::Everywhere(question, kind, cursor) => {
            let result = told(look_everywhere(&wire, &question, kind, cursor).await)?;
            Answer::Everywhere {
                id: question.id,
                result,
            }
        }
        VenueQuery::Fills(id, inst, venue_id) => {
            let result = told(wire.fills_of(&inst, &venue_id).await)?;
            Answer::Fills { id, result }
        }
    })
}
