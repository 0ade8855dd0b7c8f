//! One errand for protection: a stop placed, moved or cancelled. A stop is written ahead like any
//! order.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::line::OrderLine;
use super::report::{ExecutionReport, OrderEvent};
use crate::domain::record::AlgoStep;
use crate::domain::{Departure, Instrument, RunId, StopOrder};
use crate::risk::{PermissionWatch, StopWork};
use crate::runtime::{Clock, StageError, faults};
use crate::store::Journal;
use crate::venue::CreateOutcome;

pub(super) struct StopTask<L> {
    pub instrument: Arc<Instrument>,
    pub line: Arc<L>,
    pub permission: PermissionWatch,
    pub clock: Clock,
    pub journal: Journal,
    pub reports: mpsc::Sender<ExecutionReport>,
}

impl<L: OrderLine> StopTask<L> {
    pub(super) async fn run(self, work: StopWork) -> Result<(), StageError> {
        match work {
            StopWork::Place(placing) => self.place(placing.stop()).await,
            StopWork::Amend {
                inst,
                id,
                qty,
                trigger,
                run_id,
            } => {
                let outcome = self.line.amend_stop(&inst, &id, qty, trigger).await;
                info!(event = "stop_amend", %run_id, %inst, algo_id = id, %qty, %trigger, ?outcome, "asked the venue to move a stop");
                self.report(run_id, OrderEvent::StopAsked(id, outcome))
                    .await
            }
            StopWork::Cancel { inst, id, run_id } => {
                let outcome = self.line.cancel_algo(&inst, &id).await;
                info!(event = "stop_cancel", %run_id, %inst, algo_id = id, ?outcome, "asked the venue to cancel a stop");
                self.report(run_id, OrderEvent::StopAsked(id, outcome))
                    .await
            }
        }
    }

    async fn place(&self, stop: &StopOrder) -> Result<(), StageError> {
        let evidence = format!(
            "{} {} at {}",
            stop.side.as_str(),
            stop.qty.unwrap_or_default(),
            stop.trigger
        );
        let at = self.clock.now();
        let step = AlgoStep {
            stop: stop.clone(),
            from: None,
            cause: "gate",
            evidence,
            at,
        };
        faults::point("stop_before").await;
        let receipt = self.journal.intend_stop(step).await?;
        faults::point("stop_durable").await;
        self.report(
            stop.run_id,
            OrderEvent::StopIntended(Box::new(stop.clone())),
        )
        .await?;
        self.line.room_to_stop(&stop.inst).await;
        let outcome = if self.permission.lets(Departure::Protect) {
            assert_eq!(
                receipt.cl_ord_id().as_str(),
                stop.id,
                "a receipt stands for its own stop only"
            );
            self.line.place_stop(stop, &self.instrument).await
        } else {
            let msg = "trading was switched off".to_owned();
            CreateOutcome::Rejected {
                code: "local".into(),
                msg,
                stop: false,
            }
        };
        faults::point("stop_answered").await;
        match &outcome {
            CreateOutcome::Accepted(venue_id) => {
                info!(event = "stop_placed", run_id = %stop.run_id, algo_id = stop.id, %venue_id, inst = %stop.inst,
                    contender = %stop.contender, qty = %stop.qty.unwrap_or_default(), trigger = %stop.trigger, "the venue has the stop");
            }
            CreateOutcome::Rejected { code, msg, .. } => {
                warn!(event = "stop_refused", run_id = %stop.run_id, algo_id = stop.id, inst = %stop.inst, %code, %msg, "the venue refused a stop");
            }
            CreateOutcome::Unknown(why) => {
                warn!(event = "stop_unknown", run_id = %stop.run_id, algo_id = stop.id, inst = %stop.inst, %why, "no clear answer to a stop; asking the venue");
            }
        }
        self.report(
            stop.run_id,
            OrderEvent::StopAnswered(stop.id.clone(), outcome),
        )
        .await
    }

    async fn report(&self, run_id: RunId, news: OrderEvent) -> Result<(), StageError> {
        self.reports
            .send(ExecutionReport { run_id, news })
            .await
            .map_err(|_| StageError::Gone("the tracker"))
    }
}
