//! The near end of the store: hand a fact in, hear when it is on disk.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::domain::record::{AlgoStep, Record};
use crate::domain::{ClOrdId, Ms, OrderIntent};
use crate::runtime::sabotage::{self, Promise};
use crate::runtime::{HeldFiles, StageError};

/// Proof that an intent is durable: COMMIT at synchronous=FULL has returned. Only the writer makes
/// one, it cannot be cloned, and sending an order consumes it: at most one send per intent.
#[derive(Debug)]
pub struct IntentReceipt {
    cl_ord_id: ClOrdId,
}

impl IntentReceipt {
    /// The intent it stands for.
    pub fn cl_ord_id(&self) -> &ClOrdId {
        &self.cl_ord_id
    }
}

/// Answer of the writer to one fact.
#[derive(Debug)]
pub(super) enum Ack {
    Durable,
    /// The client order id exists already: this decision has been carried out before.
    Duplicate,
    /// The store failed; what was handed in may or may not be on disk.
    Failed(String),
}

/// A fact on its way, and who waits for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub record: Record,
    pub ack: Option<oneshot::Sender<Ack>>,
}

/// Handle to the writer. Records are applied in the order they were handed in, over all handles.
#[derive(Clone, Debug)]
pub struct Journal {
    pub(super) tx: mpsc::Sender<Entry>,
    pub(super) held: HeldFiles,
}

impl Journal {
    /// Files that are looked at with each commit: must one of them go, the store fails.
    pub fn held(&self) -> HeldFiles {
        self.held.clone()
    }

    /// Returns when the fact is on disk. Waits while the writer is behind.
    ///
    /// # Errors
    /// When the store has failed; the caller must stop.
    pub async fn append(&self, record: Record) -> Result<(), StageError> {
        match self.ask(record).await? {
            Ack::Durable | Ack::Duplicate => Ok(()),
            Ack::Failed(why) => Err(StageError::Store(why)),
        }
    }

    /// Hands a fact in without waiting for the disk. It is still written, in order, before anything
    /// handed in later; a failure to write it ends the writer, and with it the process.
    ///
    /// # Errors
    /// When the writer is gone.
    pub async fn post(&self, record: Record) -> Result<(), StageError> {
        self.tx
            .send(Entry { record, ack: None })
            .await
            .map_err(|_| gone())
    }

    /// Writes an intent ahead of its order. `None`: this client order id was used before.
    ///
    /// # Errors
    /// When the store has failed; the order must not be sent.
    pub async fn intend(
        &self,
        intent: Arc<OrderIntent>,
        expires_at: Ms,
        at: Ms,
    ) -> Result<Option<IntentReceipt>, StageError> {
        let cl_ord_id = intent.cl_ord_id.clone();
        if sabotage::breaks(Promise::P1) {
            self.post(Record::Intent {
                intent,
                expires_at,
                at,
            })
            .await?;
            return Ok(Some(IntentReceipt { cl_ord_id }));
        }
        match self
            .ask(Record::Intent {
                intent,
                expires_at,
                at,
            })
            .await?
        {
            Ack::Durable => Ok(Some(IntentReceipt { cl_ord_id })),
            Ack::Duplicate => Ok(None),
            Ack::Failed(why) => Err(StageError::Store(why)),
        }
    }

    /// Writes a stop that stands alone ahead of its request.
    ///
    /// # Errors
    /// When the store has failed; the stop must not be sent.
    pub async fn intend_stop(&self, step: AlgoStep) -> Result<IntentReceipt, StageError> {
        let cl_ord_id = ClOrdId::new(step.stop.id.as_str());
        self.append(Record::Algo(Box::new(step))).await?;
        Ok(IntentReceipt { cl_ord_id })
    }

    /// Facts that wait for the writer.
    pub fn depth(&self) -> usize {
        self.tx.max_capacity() - self.tx.capacity()
    }

    async fn ask(&self, record: Record) -> Result<Ack, StageError> {
        let (ack, answer) = oneshot::channel();
        self.tx
            .send(Entry {
                record,
                ack: Some(ack),
            })
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

fn gone() -> StageError {
    StageError::Store("the writer has stopped".to_owned())
}
