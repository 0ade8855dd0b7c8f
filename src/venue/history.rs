//! Candles of the past, page by page, newest first as OKX hands them out.

use std::time::Duration;

use tracing::warn;

use super::rest::{CandlePage, Venue, VenueError};
use crate::domain::{Bar, Candle, InstId, Ms};

/// Rows of a page of `candles`; `history-candles` may hand out fewer.
const PAGE: usize = 300;
/// Rows of a page of `history-candles` that every release of OKX has granted.
const HISTORY_PAGE: usize = 100;
/// Number of times one page is asked for again.
const TRIES: u64 = 3;

/// One page, asked for again if the venue does not answer.
async fn page(
    venue: &Venue,
    inst: &InstId,
    bar: Bar,
    page: CandlePage,
) -> Result<Vec<(Candle, bool)>, VenueError> {
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
pub async fn newest_closed(
    venue: &Venue,
    inst: &InstId,
    bar: Bar,
    count: usize,
) -> Result<Vec<Candle>, VenueError> {
    let mut newest_first: Vec<Candle> = Vec::with_capacity(count);
    let mut after: Option<Ms> = None;
    while newest_first.len() < count {
        let most = if after.is_some() { HISTORY_PAGE } else { PAGE };
        let limit = most.min(count - newest_first.len() + 1);
        let rows = page(
            venue,
            inst,
            bar,
            CandlePage {
                after,
                before: None,
                limit,
                history: after.is_some(),
            },
        )
        .await?;
        let Some((oldest, _)) = rows.last() else {
            break;
        };
        after = Some(oldest.ts);
        newest_first.extend(
            rows.into_iter()
                .filter(|(_, confirmed)| *confirmed)
                .map(|(candle, _)| candle),
        );
    }
    newest_first.truncate(count);
    newest_first.reverse();
    Ok(newest_first)
}

/// Bars of one window that [`history_window`] reads at once.
pub const WINDOW: i64 = HISTORY_PAGE as i64;

/// The closed bars with `from <= ts < to`, oldest first; at most [`WINDOW`] of them may fit. What
/// the history does not have yet, because it lags, is taken from the recent list.
///
/// # Errors
/// The venue's last answer, after three tries.
pub async fn history_window(
    venue: &Venue,
    inst: &InstId,
    bar: Bar,
    from: Ms,
    to: Ms,
) -> Result<Vec<Candle>, VenueError> {
    let ask = CandlePage {
        after: Some(to),
        before: Some(Ms(from.0 - 1)),
        limit: HISTORY_PAGE,
        history: true,
    };
    let mut rows = page(venue, inst, bar, ask).await?;
    let newest = rows.first().map(|(candle, _)| candle.ts);
    // One-second bars are only history.
    if bar != Bar::S1 && newest.is_none_or(|newest| newest.plus(bar.span()) < to) {
        let recent = page(
            venue,
            inst,
            bar,
            CandlePage {
                limit: PAGE,
                history: false,
                ..ask
            },
        )
        .await?;
        rows.extend(
            recent
                .into_iter()
                .filter(|(candle, _)| newest.is_none_or(|newest| candle.ts > newest)),
        );
    }
    let inside = |c: &Candle| c.ts >= from && c.ts < to;
    let mut closed: Vec<Candle> = rows
        .into_iter()
        .filter(|(c, confirmed)| *confirmed && inside(c))
        .map(|(c, _)| c)
        .collect();
    closed.sort_unstable_by_key(|candle| candle.ts);
    closed.dedup_by_key(|candle| candle.ts);
    Ok(closed)
}
