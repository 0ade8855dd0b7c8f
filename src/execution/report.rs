//! Reports of the executor to the tracker.

use std::sync::Arc;

use crate::domain::{Order, OrderId, OrderIntent, Price, RunId, algo};
use crate::venue::{CancelOutcome, CreateOutcome};

/// News from the executor to the tracker, in the order it happened to each order.
#[derive(Debug)]
pub struct ExecutionReport {
    /// The run that made the order.
    pub run_id: RunId,
    pub news: OrderEvent,
}

/// One piece of news about an order.
#[derive(Debug)]
pub enum OrderEvent {
    /// Durable; bytes may follow.
    Intended(Box<Order>, Arc<OrderIntent>),
    /// Recorded and ended without the executor: blocked, suppressed, or carried out before.
    Stopped(Arc<OrderIntent>),
    /// The attempt to send begins.
    Sending(OrderId),
    /// The attempt to move a resting order begins; until the venue speaks it may rest at either
    /// price.
    Moving(OrderId, Price),
    /// Order not sent, with the reason.
    NotSent(OrderId, String),
    /// The venue's answer to the create, or the lack of one.
    Answered(OrderId, CreateOutcome),
    /// A cancel was asked for, with what the venue said.
    CancelAsked(OrderId, CancelOutcome),
    /// The move did not leave us.
    NotMoved(OrderId),
    /// A resting order's move to another price was asked for.
    MoveAsked(OrderId, Price, CancelOutcome),
    /// A stop that stands alone is durable; bytes may follow.
    StopIntended(Box<algo::StopOrder>),
    /// The venue's answer to its request, or the lack of one.
    StopAnswered(String, CreateOutcome),
    /// A stop's cancel or move was asked for.
    StopAsked(String, CancelOutcome),
}
