//! Asking the venue for everything: open orders, each order we believe alive, new fills, live
//! stops. All of it, or an error: a failed read is never taken for "nothing there" (P4).

use std::collections::BTreeSet;

use tracing::debug;

use super::wire::Inquire;
use crate::domain::{AccountView, ClOrdId, InstId, InstKind, Ms, OrderId};
use crate::runtime::faults;
use crate::runtime::sabotage::{self, Promise};
use crate::venue::{AlgoPush, FillReport, OrderPush, RefusedRow, VenueError};

/// An order to ask about.
#[derive(Clone, Debug)]
pub struct OrderQuery {
    pub id: OrderId,
    pub inst: InstId,
    /// By our id, else by the venue's.
    pub cl_ord_id: Option<ClOrdId>,
    pub venue_id: Option<String>,
}

/// Mass status: the venue's answers, complete.
#[derive(Debug)]
pub struct MassStatus {
    pub began: Ms,
    pub pending: Vec<OrderPush>,
    /// Orders that were not pending, asked one by one, with whether the venue had named them before
    /// we asked; `None`: it does not know it.
    pub asked: Vec<(OrderId, bool, Option<OrderPush>)>,
    /// Orders behind fills without a client order id: perhaps children of our stops.
    pub nameless: Vec<OrderPush>,
    pub fills: Vec<FillReport>,
    pub algos: Vec<AlgoPush>,
    /// Stops that should be alive, are in no list, and that the venue does not know by name.
    pub gone: Vec<String>,
    /// Which listening of the private stream this belongs to. Rows that could not be believed: what
    /// they are about is in none of the lists above, and that says nothing.
    pub refused: Vec<RefusedRow>,
    pub epoch: u64,
}

/// Questions of one sweep.
#[derive(Debug)]
pub struct StatusRequest {
    pub questions: Vec<OrderQuery>,
    /// `None`: this database has never read fills. What happened before it is not its business.
    pub fills_cursor: Option<String>,
    /// Venue ids of orders we know, so that their fills need no question.
    pub known: BTreeSet<String>,
    /// Stops that should be alive.
    pub stops: Vec<String>,
    pub epoch: u64,
}

/// Reads everything.
pub(super) async fn mass_status(
    venue: &impl Inquire,
    wanted: StatusRequest,
) -> Result<MassStatus, VenueError> {
    let began = venue.now();
    let pending = or_empty(venue.orders_pending().await)?;
    faults::point("sweep").await;
    let mut asked = Vec::new();
    let mut refused = Vec::new();
    for question in wanted.questions {
        let is_pending = |push: &OrderPush| {
            question
                .cl_ord_id
                .as_ref()
                .is_some_and(|id| push.cl_ord_id == id.as_str())
                || question.venue_id.as_deref() == Some(push.report.venue_id.as_str())
        };
        if pending.iter().any(is_pending) {
            continue;
        }
        match ask(venue, &question).await {
            Ok(answer) => asked.push((question.id.clone(), question.venue_id.is_some(), answer)),
            // Numbers of one order that cannot be believed must not cost us the rest.
            Err(VenueError::Malformed { source, .. }) => refused.push(RefusedRow {
                what: source.what,
                subject: question.inst.to_string(),
                id: question.id.to_string(),
                why: source.why,
            }),
            Err(error) => return Err(error),
        }
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
                Ok(push) if push.report.venue_id.as_str() == venue_id && push.inst == *inst => {
                    nameless.push(push)
                }
                Ok(_) => {} // an answer about another order; its fills are asked about again

                Err(error) if error.is_not_found() => {} // somebody else's, and forgotten
                Err(error) => return Err(error),
            }
        }
    }
    let mut algos = venue.algos_pending().await?;
    let missing = wanted
        .stops
        .iter()
        .any(|id| algos.iter().all(|a| a.algo_id != *id));
    if missing {
        algos.extend(
            venue
                .algos_ended()
                .await?
                .into_iter()
                .filter(|a| wanted.stops.contains(&a.algo_id)),
        );
    }
    // The lists of what has ended hold one page: what is older is asked for by its name.
    let mut gone = Vec::new();
    for id in wanted
        .stops
        .iter()
        .filter(|id| algos.iter().all(|a| a.algo_id != **id))
        .collect::<Vec<_>>()
    {
        match venue.algo(id).await {
            Ok(push) if push.algo_id == *id => algos.push(push),
            Ok(push) => {
                debug!(
                    event = "stop_not_told",
                    algo_id = id,
                    told = push.algo_id,
                    "an answer about another stop"
                )
            }
            Err(error) if error.is_not_found() => gone.push(id.clone()),
            Err(VenueError::Malformed { source, .. }) => {
                debug!(
                    event = "stop_not_told",
                    algo_id = id,
                    why = source.why,
                    "what the venue says of a stop cannot be right"
                );
            }
            // Another word says nothing of the stop, and must not cost us the rest.
            Err(VenueError::Refused { code, msg, .. }) => {
                debug!(
                    event = "stop_not_told",
                    algo_id = id,
                    code,
                    msg,
                    "the venue does not say what became of a stop"
                );
            }
            Err(error) => return Err(error),
        }
    }
    refused.extend(venue.take_refused());
    Ok(MassStatus {
        began,
        pending,
        asked,
        nameless,
        fills,
        algos,
        gone,
        refused,
        epoch: wanted.epoch,
    })
}

/// Asks for one order; `None`: the venue says it does not know it.
pub(super) async fn ask(
    venue: &impl Inquire,
    question: &OrderQuery,
) -> Result<Option<OrderPush>, VenueError> {
    let answer = match (&question.cl_ord_id, &question.venue_id) {
        (Some(id), _) => venue.order(&question.inst, id).await,
        (None, Some(id)) => venue.order_by_venue_id(&question.inst, id).await,
        (None, None) => return Ok(None),
    };
    match answer {
        Ok(push) => answers(question, push).map(Some),
        Err(error) if error.is_not_found() || sabotage::breaks(Promise::P4) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A row about the order that was asked about; one about another order is no answer, and proves
/// nothing of either.
fn answers(question: &OrderQuery, push: OrderPush) -> Result<OrderPush, VenueError> {
    let named = question
        .cl_ord_id
        .as_ref()
        .map(|id| push.cl_ord_id == id.as_str());
    let known = question
        .venue_id
        .as_ref()
        .map(|id| push.report.venue_id.as_str() == id);
    if push.inst == question.inst && named.or(known) != Some(false) {
        return Ok(push);
    }
    let body = format!(
        "asked about {}, told of {} {} {}",
        question.id, push.inst, push.cl_ord_id, push.report.venue_id
    );
    Err(VenueError::Strange {
        request: "GET trade/order".into(),
        status: 200,
        body,
    })
}

/// Result of one look at every place where an order could be.
#[derive(Debug)]
pub struct Everywhere {
    /// There it is.
    pub order: Option<OrderPush>,
    /// Fills that carry its id, though the venue may have forgotten the order itself.
    pub fills: Vec<FillReport>,
    pub account: AccountView,
}

/// One pass of the proof that an order never reached the book: not known, not pending, not in
/// history, no fill carries its id, and the account as it is after all that.
pub(super) async fn look_everywhere(
    venue: &impl Inquire,
    question: &OrderQuery,
    kind: InstKind,
    fills_cursor: Option<String>,
) -> Result<Everywhere, VenueError> {
    let mut order = ask(venue, question).await?;
    let ours = |push: &OrderPush| {
        question
            .cl_ord_id
            .as_ref()
            .is_some_and(|id| push.cl_ord_id == id.as_str())
    };
    if order.is_none() {
        order = or_empty(venue.orders_pending().await)?
            .into_iter()
            .find(ours);
    }
    if order.is_none() {
        order = venue.orders_history(kind).await?.into_iter().find(ours);
    }
    let mut fills = Vec::new();
    if order.is_none() {
        let named = |f: &FillReport| {
            question
                .cl_ord_id
                .as_ref()
                .is_some_and(|id| f.cl_ord_id == id.as_str())
        };
        fills = venue
            .fills_since(fills_cursor.as_deref())
            .await?
            .into_iter()
            .filter(named)
            .collect();
    }
    Ok(Everywhere {
        order,
        fills,
        account: venue.account().await?,
    })
}

/// A list, or why there is none. Never the one for the other: the sabotage of this promise (P4) is
/// to do just that.
fn or_empty<T>(answer: Result<Vec<T>, VenueError>) -> Result<Vec<T>, VenueError> {
    if sabotage::breaks(Promise::P4) {
        Ok(answer.unwrap_or_default())
    } else {
        answer
    }
}
