//! Asking the venue for everything: open orders, each order we believe alive, new fills, live stops.
//! All of it, or an error: a failed read is never taken for "nothing there" (P4).

use std::collections::BTreeSet;

use crate::domain::{ClOrdId, InstId, InstKind, Ms, OrderId};
use crate::venue::{AlgoPush, FillReport, OrderPush, Venue, VenueError};

/// An order to ask about.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub id: OrderId,
    pub inst: InstId,
    /// By our id, else by the venue's.
    pub cl_ord_id: Option<ClOrdId>,
    pub venue_id: Option<String>,
}

/// What the venue said, complete.
#[derive(Debug)]
pub(super) struct Sweep {
    pub began: Ms,
    pub pending: Vec<OrderPush>,
    /// Orders that were not pending, asked one by one, with whether the venue had named them before we
    /// asked; `None`: it does not know it.
    pub asked: Vec<(OrderId, bool, Option<OrderPush>)>,
    /// Orders behind fills without a client order id: perhaps children of our stops.
    pub nameless: Vec<OrderPush>,
    pub fills: Vec<FillReport>,
    pub algos: Vec<AlgoPush>,
    /// Which listening of the private stream this belongs to.
    pub epoch: u64,
}

/// What to ask in one sweep.
#[derive(Debug)]
pub(super) struct Wanted {
    pub questions: Vec<Question>,
    /// `None`: this database has never read fills. What happened before it is not its business.
    pub fills_cursor: Option<String>,
    /// Venue ids of orders we know, so that their fills need no question.
    pub known: BTreeSet<String>,
    /// Stops that should be alive.
    pub stops: Vec<String>,
    pub epoch: u64,
}

/// Reads everything.
pub(super) async fn sweep(venue: &Venue, wanted: Wanted) -> Result<Sweep, VenueError> {
    let began = venue.clock().now();
    let pending = venue.orders_pending().await?;
    let mut asked = Vec::new();
    for question in wanted.questions {
        let is_pending = |push: &OrderPush| {
            question.cl_ord_id.as_ref().is_some_and(|id| push.cl_ord_id == id.as_str())
                || question.venue_id.as_deref() == Some(push.report.venue_id.as_str())
        };
        if pending.iter().any(is_pending) {
            continue;
        }
        asked.push((question.id.clone(), question.venue_id.is_some(), ask(venue, &question).await?));
    }
    let fills = match &wanted.fills_cursor {
        Some(cursor) => venue.fills_since(Some(cursor)).await?,
        None => venue.newest_fill().await?.into_iter().collect(),
    };
    let mut nameless = Vec::new();
    if wanted.fills_cursor.is_some() {
        let orders: BTreeSet<(&str, &InstId)> = fills
            .iter()
            .filter(|f| f.cl_ord_id.is_empty() && !wanted.known.contains(f.venue_id.as_str()))
            .map(|f| (f.venue_id.as_str(), &f.inst))
            .collect();
        for (venue_id, inst) in orders {
            match venue.order_by_venue_id(inst, venue_id).await {
                Ok(push) => nameless.push(push),
                Err(error) if error.is_not_found() => {} // somebody else's, and forgotten
                Err(error) => return Err(error),
            }
        }
    }
    let mut algos = venue.algos_pending().await?;
    let missing = wanted.stops.iter().any(|id| algos.iter().all(|a| a.algo_id != *id));
    if missing {
        algos.extend(venue.algos_ended().await?.into_iter().filter(|a| wanted.stops.contains(&a.algo_id)));
    }
    Ok(Sweep { began, pending, asked, nameless, fills, algos, epoch: wanted.epoch })
}

/// Asks for one order; `None`: the venue says it does not know it.
pub(super) async fn ask(venue: &Venue, question: &Question) -> Result<Option<OrderPush>, VenueError> {
    let answer = match (&question.cl_ord_id, &question.venue_id) {
        (Some(id), _) => venue.order(&question.inst, id).await,
        (None, Some(id)) => venue.order_by_venue_id(&question.inst, id).await,
        (None, None) => return Ok(None),
    };
    match answer {
        Ok(push) => Ok(Some(push)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// One pass of the proof that an order never reached the book: not known, not pending, not in history,
/// and no fill carries its id. `Ok(None)`: absent everywhere. `Ok(Some)`: there it is.
pub(super) async fn look_everywhere(
    venue: &Venue,
    question: &Question,
    kind: InstKind,
    fills_cursor: Option<String>,
) -> Result<Option<OrderPush>, VenueError> {
    if let Some(push) = ask(venue, question).await? {
        return Ok(Some(push));
    }
    let ours = |push: &OrderPush| question.cl_ord_id.as_ref().is_some_and(|id| push.cl_ord_id == id.as_str());
    if let Some(push) = venue.orders_pending().await?.into_iter().find(ours) {
        return Ok(Some(push));
    }
    if let Some(push) = venue.orders_history(kind).await?.into_iter().find(ours) {
        return Ok(Some(push));
    }
    let filled = venue.fills_since(fills_cursor.as_deref()).await?;
    if let Some(fill) =
        filled.into_iter().find(|f| question.cl_ord_id.as_ref().is_some_and(|id| f.cl_ord_id == id.as_str()))
    {
        return venue.order_by_venue_id(&question.inst, fill.venue_id.as_str()).await.map(Some);
    }
    Ok(None)
}
