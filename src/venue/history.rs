//! Candles of the past, page by page, newest first as OKX hands them out.

use std::time::Duration;

use tracing::warn;

use super::rest::{CandlePage, Venue, VenueError};
use crate::domain::{Bar, Candle, InstId, Ms};

/// Rows of a page of `candles`; `history-candles` may hand out fewer.
const PAGE: usize = 300;
/// Rows of a page of `history-candles` that every release of OKX has granted.
const HISTORY_PAGE: usize = 100;
/// How often one page is asked for again.
const TRIES: u64 = 3;

/// One page, asked for again if the venue does not answer.
async fn page(venue: &Venue, inst: &InstId, bar: Bar, page: CandlePage) -> Result<Vec<(Candle, bool)>, VenueError> {
    let mut tries = 0;
    loop {
        match venue.candles(inst, bar, page).await {
            Err(error) if tries < TRIES && !error.needs_person() && !error.is_reject() => {
                tries += 1;
                warn!(event = "history_retry", %inst, %bar, %error, "reading history failed; trying again");
                tokio::time::sleep(Duration::from_millis(500 * tries)).await;
            }
            other => return other,
        }
    }
}

/// The newest `count` closed bars, oldest first; fewer if the venue has no more.
///
/// # Errors
/// The venue's last answer, after three tries.
pub async fn newest_closed(venue: &Venue, inst: &InstId, bar: Bar, count: usize) -> Result<Vec<Candle>, VenueError> {
    let mut newest_first: Vec<Candle> = Vec::with_capacity(count);
    let mut after: Option<Ms> = None;
    while newest_first.len() < count {
        let limit = PAGE.min(count - newest_first.len() + 1);
        let rows = page(venue, inst, bar, CandlePage { after, before: None, limit, history: after.is_some() }).await?;
        let Some((oldest, _)) = rows.last() else { break };
        after = Some(oldest.ts);
        newest_first.extend(rows.into_iter().filter(|(_, confirmed)| *confirmed).map(|(candle, _)| candle));
    }
    newest_first.truncate(count);
    newest_first.reverse();
    Ok(newest_first)
}

/// One page of closed bars with `from <= ts < to`, oldest first: the newest that fit. Empty: the venue
/// has none in that range.
///
/// # Errors
/// The venue's last answer, after three tries.
pub async fn history_page(venue: &Venue, inst: &InstId, bar: Bar, from: Ms, to: Ms) -> Result<Vec<Candle>, VenueError> {
    let ask = CandlePage { after: Some(to), before: Some(Ms(from.0 - 1)), limit: HISTORY_PAGE, history: true };
    let mut rows = page(venue, inst, bar, ask).await?;
    if rows.is_empty() {
        // The history lags behind the present; the newest bars are only in the other list.
        rows = page(venue, inst, bar, CandlePage { limit: PAGE, history: false, ..ask }).await?;
    }
    let mut closed: Vec<Candle> =
        rows.into_iter().filter(|(c, confirmed)| *confirmed && c.ts >= from && c.ts < to).map(|(c, _)| c).collect();
    closed.reverse();
    Ok(closed)
}
