//! The venue as reconciliation sees it: what it can be asked, and the two streams that it is heard on.

use std::future::Future;

use crate::domain::{AccountView, ClOrdId, InstId, InstKind, Ms};
use crate::venue::{
    AlgoPush, FillReport, OrderPush, RefusedRow, Stream, StreamConfig, Subscription, Venue,
    VenueError,
};

/// The private streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrivateFeed {
    Orders,
    Stops,
}

/// Reconciliation's questions to a venue. Each returns everything, or an error.
pub trait Inquire: Clone + Send + Sync + 'static {
    /// Venue time.
    fn now(&self) -> Ms;
    /// All open orders of the account, ours and others'.
    fn orders_pending(&self) -> impl Future<Output = Result<Vec<OrderPush>, VenueError>> + Send;
    /// One order by our id.
    fn order(
        &self,
        inst: &InstId,
        id: &ClOrdId,
    ) -> impl Future<Output = Result<OrderPush, VenueError>> + Send;
    /// One order by the venue's id.
    fn order_by_venue_id(
        &self,
        inst: &InstId,
        id: &str,
    ) -> impl Future<Output = Result<OrderPush, VenueError>> + Send;
    /// Orders of a kind that ended lately.
    fn orders_history(
        &self,
        kind: InstKind,
    ) -> impl Future<Output = Result<Vec<OrderPush>, VenueError>> + Send;
    /// Fills newer than a bill id, oldest first.
    fn fills_since(
        &self,
        cursor: Option<&str>,
    ) -> impl Future<Output = Result<Vec<FillReport>, VenueError>> + Send;
    /// The newest fill, if any.
    fn newest_fill(&self) -> impl Future<Output = Result<Option<FillReport>, VenueError>> + Send;
    /// Fills of one order.
    fn fills_of(
        &self,
        inst: &InstId,
        id: &str,
    ) -> impl Future<Output = Result<Vec<FillReport>, VenueError>> + Send;
    /// Stops that are alive.
    fn algos_pending(&self) -> impl Future<Output = Result<Vec<AlgoPush>, VenueError>> + Send;
    /// Stops that ended lately.
    fn algos_ended(&self) -> impl Future<Output = Result<Vec<AlgoPush>, VenueError>> + Send;
    /// One stop by our id.
    fn algo(&self, id: &str) -> impl Future<Output = Result<AlgoPush, VenueError>> + Send;
    /// Balances and positions.
    fn account(&self) -> impl Future<Output = Result<AccountView, VenueError>> + Send;
    /// Rows of these lists that could not be believed since this was last asked.
    fn take_refused(&self) -> Vec<RefusedRow> {
        Vec::new()
    }
}

/// A venue that can be asked and listened to.
pub trait Wire: Inquire {
    /// Opens one of the private streams.
    fn listen(&self, feed: PrivateFeed) -> Stream;
}

/// The real one.
#[derive(Clone, Debug)]
pub struct VenueWire {
    pub venue: Venue,
    pub ws: String,
    pub stream: StreamConfig,
}

impl Inquire for VenueWire {
    fn now(&self) -> Ms {
        self.venue.clock().now()
    }
    async fn orders_pending(&self) -> Result<Vec<OrderPush>, VenueError> {
        self.venue.orders_pending().await
    }
    async fn order(&self, inst: &InstId, id: &ClOrdId) -> Result<OrderPush, VenueError> {
        self.venue.order(inst, id).await
    }
    async fn order_by_venue_id(&self, inst: &InstId, id: &str) -> Result<OrderPush, VenueError> {
        self.venue.order_by_venue_id(inst, id).await
    }
    async fn orders_history(&self, kind: InstKind) -> Result<Vec<OrderPush>, VenueError> {
        self.venue.orders_history(kind).await
    }
    async fn fills_since(&self, cursor: Option<&str>) -> Result<Vec<FillReport>, VenueError> {
        self.venue.fills_since(cursor).await
    }
    async fn newest_fill(&self) -> Result<Option<FillReport>, VenueError> {
        self.venue.newest_fill().await
    }
    async fn fills_of(&self, inst: &InstId, id: &str) -> Result<Vec<FillReport>, VenueError> {
        self.venue.fills_of(inst, id).await
    }
    async fn algos_pending(&self) -> Result<Vec<AlgoPush>, VenueError> {
        self.venue.algos_pending().await
    }
    async fn algos_ended(&self) -> Result<Vec<AlgoPush>, VenueError> {
        self.venue.algos_ended().await
    }
    async fn algo(&self, id: &str) -> Result<AlgoPush, VenueError> {
        self.venue.algo(id).await
    }
    async fn account(&self) -> Result<AccountView, VenueError> {
        self.venue.account().await
    }
    fn take_refused(&self) -> Vec<RefusedRow> {
        self.venue.take_refused()
    }
}

impl Wire for VenueWire {
    fn listen(&self, feed: PrivateFeed) -> Stream {
        let (kind, channel) = match feed {
            PrivateFeed::Orders => ("private", "orders"),
            PrivateFeed::Stops => ("business", "orders-algo"),
        };
        let config = StreamConfig {
            url: format!("{}/{kind}", self.ws),
            subscriptions: vec![Subscription::private(channel, "ANY")],
            signer: self.venue.signer().cloned(),
            ..self.stream.clone()
        };
        Stream::open(config, self.venue.clock().clone())
    }
}
