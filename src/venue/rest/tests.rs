//! Pages of the venue's lists.

use super::orders::next_page;
use super::*;

/// A page is full by the rows received, including those skipped; an unreadable row of ours is an
/// error.
#[test]
fn page_size_counts_raw_rows() {
    let row = |n: i32| {
        serde_json::json!({"instType": "OPTION", "instId": "X", "ordId": n.to_string(), "clOrdId": "theirs",
        "state": "a new word", "side": "buy", "sz": "1", "accFillSz": "0", "avgPx": "", "px": "1", "fillPx": "", "fillSz": "0",
        "fillFee": "0", "fillFeeCcy": "", "tradeId": "", "execType": "", "fillTime": "", "cancelSource": "", "category": "normal",
        "uTime": "5"})
    };
    let page = |rows: i32| Value::Array((1..=rows).map(row).collect());
    let read = wire::parse_orders(&page(100).to_string()).unwrap();
    assert!(
        read.is_empty(),
        "somebody else's, in a state we do not know"
    );
    assert_eq!(next_page(&page(100), "ordId").as_deref(), Some("100"));
    assert_eq!(next_page(&page(99), "ordId"), None);
    let mut ours = row(1);
    ours["clOrdId"] = "as12345678901234567890123456".into();
    assert!(
        wire::parse_orders(&Value::Array(vec![ours]).to_string()).is_err(),
        "of our own nothing is guessed"
    );
}
