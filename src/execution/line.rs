//! Transport of order operations: the venue's REST side, or its WebSocket while that is up.

use std::future::Future;

use crate::domain::{ClOrdId, InstId, Instrument, Ms, OrderId, OrderIntent, Price, Qty, StopOrder};
use crate::venue::{CancelOutcome, CreateOutcome, OrderSocket, Trading};

/// A resting order's move to another price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub order: OrderId,
    pub limit: Price,
    /// The name of this request (`reqId`).
    pub request: ClOrdId,
}

/// The power to trade. Each call goes out once; what is not a clear answer comes back as unknown.
pub trait OrderLine: Send + Sync + 'static {
    /// Waits for room in the budget of new orders, before the deadline is stamped and the switch is
    /// looked at.
    fn room_to_create(&self, inst: &InstId) -> impl Future<Output = ()> + Send;
    /// Sends a create.
    fn create(
        &self,
        intent: &OrderIntent,
        inst: &Instrument,
        expires_at: Ms,
    ) -> impl Future<Output = CreateOutcome> + Send;
    /// Asks for a move.
    fn amend(
        &self,
        inst: &Instrument,
        to: &Move,
        expires_at: Ms,
    ) -> impl Future<Output = CancelOutcome> + Send;
    /// Waits for room in the budget of cancels.
    fn room_to_cancel(&self, inst: &InstId) -> impl Future<Output = ()> + Send;
    /// Asks for a cancel, by our id. Without the instrument's rules only REST can.
    fn cancel(
        &self,
        inst: &InstId,
        rules: Option<&Instrument>,
        id: &str,
    ) -> impl Future<Output = CancelOutcome> + Send;
    /// Waits for room in the budget of new stops.
    fn room_to_stop(&self, inst: &InstId) -> impl Future<Output = ()> + Send;
    /// Places a stop that stands alone.
    fn place_stop(
        &self,
        stop: &StopOrder,
        inst: &Instrument,
    ) -> impl Future<Output = CreateOutcome> + Send;
    /// Asks for a stop's new size and trigger, by our id.
    fn amend_stop(
        &self,
        inst: &InstId,
        id: &str,
        qty: Qty,
        trigger: Price,
    ) -> impl Future<Output = CancelOutcome> + Send;
    /// Asks for a stop's cancel, by our id.
    fn cancel_algo(&self, inst: &InstId, id: &str) -> impl Future<Output = CancelOutcome> + Send;
}

/// The real one.
#[derive(Debug)]
pub struct VenueLine {
    pub rest: Trading,
    /// Used while it is up, if configured.
    pub socket: Option<OrderSocket>,
}

impl VenueLine {
    fn socket(&self) -> Option<&OrderSocket> {
        self.socket.as_ref().filter(|socket| socket.is_up())
    }
}

impl OrderLine for VenueLine {
    async fn room_to_create(&self, inst: &InstId) {
        self.rest.room_to_create(inst).await;
    }

    async fn create(
        &self,
        intent: &OrderIntent,
        inst: &Instrument,
        expires_at: Ms,
    ) -> CreateOutcome {
        match self.socket() {
            Some(socket) => socket.create(intent, inst, expires_at).await,
            None => self.rest.create(intent, inst, expires_at).await,
        }
    }

    async fn amend(&self, inst: &Instrument, to: &Move, expires_at: Ms) -> CancelOutcome {
        match self.socket() {
            Some(socket) => {
                socket
                    .amend(inst, to.order.as_str(), to.limit, &to.request, expires_at)
                    .await
            }
            None => {
                self.rest
                    .amend(
                        &inst.id,
                        to.order.as_str(),
                        to.limit,
                        &to.request,
                        expires_at,
                    )
                    .await
            }
        }
    }

    async fn room_to_cancel(&self, inst: &InstId) {
        self.rest.room_to_cancel(inst).await;
    }

    async fn cancel(&self, inst: &InstId, rules: Option<&Instrument>, id: &str) -> CancelOutcome {
        match (self.socket(), rules) {
            (Some(socket), Some(rules)) => socket.cancel(rules, id).await,
            _ => self.rest.cancel(inst, id).await,
        }
    }

    async fn room_to_stop(&self, inst: &InstId) {
        self.rest.room_to_stop(inst).await;
    }

    async fn place_stop(&self, stop: &StopOrder, inst: &Instrument) -> CreateOutcome {
        self.rest.place_stop(stop, inst).await
    }

    async fn amend_stop(&self, inst: &InstId, id: &str, qty: Qty, trigger: Price) -> CancelOutcome {
        self.rest.amend_stop(inst, id, qty, trigger).await
    }

    async fn cancel_algo(&self, inst: &InstId, id: &str) -> CancelOutcome {
        self.rest.cancel_algo(inst, id).await
    }
}
