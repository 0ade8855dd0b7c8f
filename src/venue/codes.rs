//! Meaning of OKX's codes for us. The default for anything unlisted on an order is *ambiguous*: the
//! request may have taken effect, and only the venue can say (P3).

use serde_json::Value;

use crate::domain::VenueOrdId;

/// Consequence of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Try again after resynchronising the clock or logging in.
    Resync,
    /// Try again later; certainly not accepted.
    Backoff,
    /// Try again later; an order operation may have been accepted.
    BackoffUnsure,
    /// Refused for good.
    Reject,
    /// Possibly in effect: ask by client order id before anything else.
    Ambiguous,
    /// Stop trading; a person must look.
    Stop,
    /// Says something of an order's state, not whether we succeeded: ask.
    State,
}

/// The class of a code, after the venue's error list and its mirror in the reference (section 8).
pub fn class(code: &str) -> Class {
    let Ok(number) = code.parse::<u32>() else {
        return Class::Ambiguous;
    };
    match number {
        50011 | 50061 => Class::Backoff,
        50001 | 50013 | 50026 | 50023 | 50040 | 51029 | 51030 | 51113 | 51513 | 60009 | 60014
        | 60020 | 60023 | 63999 => Class::BackoffUnsure,
        50004 | 51054 | 51149 | 51412 | 64007 => Class::Ambiguous,
        50102 | 50112 | 60004 | 60006 | 60011 => Class::Resync,
        50005
        | 50007..=50009
        | 50012
        | 50017..=50022
        | 50027..=50030
        | 50032
        | 50033
        | 50035
        | 50051
        | 50052
        | 50059
        | 50060
        | 50100
        | 50101
        | 50103..=50107
        | 50110
        | 50111
        | 50113
        | 50114
        | 50119..=50121
        | 51009
        | 51010
        | 51024
        | 51155
        | 51732..=51737
        | 4088
        | 60005
        | 60007
        | 60024
        | 60027
        | 60032 => Class::Stop,
        50042
        | 50071
        | 51011
        | 51016
        | 51065
        | 51023
        | 51043
        | 51058
        | 51169
        | 51063
        | 51603
        | 51400..=51402
        | 51405
        | 51410
        | 51416
        | 51503
        | 51509
        | 51510 => Class::State,
        50000
        | 50002
        | 50006
        | 50014..=50016
        | 50024
        | 50025
        | 50036..=50038
        | 50044
        | 50046
        | 50053
        | 50062
        | 50072
        | 50115
        | 50122
        | 60012
        | 60013
        | 60008
        | 60018
        | 60019
        | 60028..=60030
        | 64000..=64003 => Class::Reject,
        51000..=51999 | 54000..=54999 | 58000..=59999 => Class::Reject,
        _ => Class::Ambiguous,
    }
}

/// Result of a create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The venue took it; it may be live, filled or cancelled by now.
    Accepted(VenueOrdId),
    /// Certainly not taken.
    Rejected {
        code: String,
        msg: String,
        stop: bool,
    },
    /// Not proven either way.
    Unknown(String),
}

/// Result of a cancel. Even `Accepted` proves nothing about the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    Accepted,
    /// Filled, cancelled, or never there: ask.
    Ask(String),
    /// Try again.
    Again(String),
}

struct ItemCode {
    code: String,
    msg: String,
    /// The venue's name of what was asked about, and ours as the answer repeats it; empty where it
    /// says neither.
    venue_id: String,
    name: String,
    /// True if the item is about one order, not about the request as a whole.
    of_one: bool,
}

/// The verdict on the one item of an order operation: its `sCode` decides, not the top code.
fn item(body: &str) -> Option<ItemCode> {
    let reply: Value = serde_json::from_str(body).ok()?;
    let text = |value: &Value| {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    if let Some(first) = reply["data"].as_array().and_then(|rows| rows.first())
        && let Some(code) = text(&first["sCode"])
    {
        return Some(ItemCode {
            code,
            msg: text(&first["sMsg"]).unwrap_or_default(),
            // A stop's reply has names of its own.
            venue_id: text(&first["ordId"])
                .or_else(|| text(&first["algoId"]))
                .unwrap_or_default(),
            name: text(&first["clOrdId"])
                .or_else(|| text(&first["algoClOrdId"]))
                .unwrap_or_default(),
            of_one: true,
        });
    }
    let code = text(&reply["code"])?;
    Some(ItemCode {
        code,
        msg: text(&reply["msg"]).unwrap_or_default(),
        venue_id: String::new(),
        name: String::new(),
        of_one: false,
    })
}

/// Describes an answer that belongs to another question than ours: a connection or a proxy is out
/// of step. `None`: it is ours, or names no order, as answers to a whole request do.
fn stranger(of: OrderRef<'_>, item: &ItemCode) -> Option<String> {
    let differs = |said: &str, asked: &str| !said.is_empty() && !asked.is_empty() && said != asked;
    if differs(&item.name, of.name) {
        return Some(format!(
            "an answer about {}, not about {}: it proves nothing",
            item.name, of.name
        ));
    }
    differs(&item.venue_id, of.venue_id).then(|| {
        format!(
            "an answer about the venue's {}, not about {}: it proves nothing",
            item.venue_id, of.venue_id
        )
    })
}

/// The order or stop that a request is about: our name of it and the venue's, as far as we know
/// them. An answer belongs to its request only if it repeats them.
#[derive(Clone, Copy, Debug, Default)]
pub struct OrderRef<'a> {
    pub name: &'a str,
    pub venue_id: &'a str,
}

impl<'a> OrderRef<'a> {
    /// Refers to an order or stop by our own id.
    pub const fn ours(name: &'a str) -> Self {
        Self { name, venue_id: "" }
    }
}

/// Judges the reply to a create of `name`; `body` is whatever came, under whatever HTTP status.
pub fn judge_create(name: &str, body: &str) -> CreateOutcome {
    let Some(item) = item(body) else {
        return CreateOutcome::Unknown(format!("a reply that is not OKX's: {}", excerpt(body)));
    };
    if let Some(why) = stranger(OrderRef::ours(name), &item) {
        return CreateOutcome::Unknown(why);
    }
    let ItemCode {
        code,
        msg,
        venue_id,
        name: said,
        of_one,
    } = item;
    // OKX repeats the client order id in every item; an acknowledgement without it is nobody's.
    if code == "0" && !venue_id.is_empty() && said == name {
        return CreateOutcome::Accepted(VenueOrdId::new(venue_id));
    }
    match class(&code) {
        _ if code == "0" && venue_id.is_empty() => {
            CreateOutcome::Unknown("success without an order id".to_owned())
        }
        _ if code == "0" => {
            CreateOutcome::Unknown("success that does not say of which order".to_owned())
        }
        // OKX repeats the name in refusals too: one without it may be about somebody else's order.
        _ if of_one && said != name => {
            CreateOutcome::Unknown(format!("{code} {msg}, and not of which order"))
        }
        Class::Reject | Class::Backoff => CreateOutcome::Rejected {
            code,
            msg,
            stop: false,
        },
        Class::Resync => CreateOutcome::Rejected {
            code,
            msg,
            stop: false,
        },
        Class::Stop => CreateOutcome::Rejected {
            code,
            msg,
            stop: true,
        },
        Class::Ambiguous | Class::BackoffUnsure | Class::State => {
            CreateOutcome::Unknown(format!("{code} {msg}"))
        }
    }
}

/// Judges the reply to a cancel or a move.
pub fn judge_cancel(asked: OrderRef<'_>, body: &str) -> CancelOutcome {
    let Some(item) = item(body) else {
        return CancelOutcome::Again(excerpt(body));
    };
    if let Some(why) = stranger(asked, &item) {
        return CancelOutcome::Again(why);
    }
    let ItemCode { code, msg, .. } = item;
    if code == "0" {
        return CancelOutcome::Accepted;
    }
    match class(&code) {
        Class::State | Class::Reject => CancelOutcome::Ask(format!("{code} {msg}")),
        _ => CancelOutcome::Again(format!("{code} {msg}")),
    }
}

pub(super) fn excerpt(body: &str) -> String {
    body.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn create(body: &str, expected: &str) {
        let shown = match judge_create("a", body) {
            CreateOutcome::Accepted(id) => format!("accepted {id}"),
            CreateOutcome::Rejected { code, stop, .. } => {
                format!("rejected {code}{}", if stop { " stop" } else { "" })
            }
            CreateOutcome::Unknown(_) => "unknown".to_owned(),
        };
        assert_eq!(shown, expected, "{body}");
    }

    fn one(code: &str, s_code: &str, ord_id: &str) -> String {
        format!(
            r#"{{"code":"{code}","msg":"","data":[{{"ordId":"{ord_id}","clOrdId":"a","sCode":"{s_code}","sMsg":"m"}}]}}"#
        )
    }

    #[test]
    fn item_code_overrides_the_top_code() {
        create(&one("0", "0", "9"), "accepted 9");
        create(&one("0", "51000", ""), "rejected 51000");
        create(&one("1", "51008", ""), "rejected 51008");
        create(&one("0", "51149", "9"), "unknown");
    }

    /// Ambiguous or unlisted codes, and empty or cut-off bodies.
    #[test]
    fn possibly_accepted_create_is_unknown() {
        for code in [
            "50001", "50004", "50013", "50026", "50040", "51113", "51513", "60014", "51054",
            "51149", "51016", "64007", "99999", "banana",
        ] {
            create(&one("1", code, ""), "unknown");
        }
        create("", "unknown");
        create("<html>502 Bad Gateway</html>", "unknown");
        create(r#"{"code":"0","data":[]}"#, "unknown");
        create(&one("0", "0", ""), "unknown");
        create(&one("0", "0", "9")[..40], "unknown");
    }

    #[test]
    fn answer_about_another_order_proves_nothing() {
        let about = |name: &str, code: &str, ord_id: &str| {
            json!({"code": "0", "msg": "", "data": [{"ordId": ord_id, "clOrdId": name, "sCode": code, "sMsg": "m"}]})
                .to_string()
        };
        create(&about("b", "0", "9"), "unknown");
        create(&about("b", "51008", ""), "unknown");
        create(&about("", "0", "9"), "unknown");
        create(&about("", "51008", ""), "unknown");
        create(&about("a", "0", "9"), "accepted 9");
        let stop = r#"{"code":"0","data":[{"algoId":"7","algoClOrdId":"b","sCode":"0"}]}"#;
        create(stop, "unknown");
        create(&stop.replace("\"b\"", "\"a\""), "accepted 7");
        let ours = OrderRef {
            name: "a",
            venue_id: "9",
        };
        assert!(matches!(
            judge_cancel(ours, &about("b", "0", "9")),
            CancelOutcome::Again(_)
        ));
        assert!(matches!(
            judge_cancel(ours, &about("a", "0", "8")),
            CancelOutcome::Again(_)
        ));
        assert!(matches!(
            judge_cancel(ours, &about("", "51400", "8")),
            CancelOutcome::Again(_)
        ));
        assert!(matches!(
            judge_cancel(ours, &about("a", "0", "9")),
            CancelOutcome::Accepted
        ));
    }

    #[test]
    fn rate_limits_are_certainly_not_accepted() {
        create(
            r#"{"msg":"Too Many Requests","code":"50011"}"#,
            "rejected 50011",
        );
        create(&one("1", "50061", ""), "rejected 50061");
        create(&one("1", "50036", ""), "rejected 50036");
    }

    #[test]
    fn a_wrong_key_stops_trading() {
        for code in ["50101", "50105", "50111", "50113", "50110", "50119"] {
            create(
                &format!(r#"{{"msg":"x","code":"{code}"}}"#),
                &format!("rejected {code} stop"),
            );
        }
    }

    /// The order is looked up rather than taken as cancelled.
    #[test]
    fn cancel_of_missing_order_asks_first() {
        assert!(matches!(
            judge_cancel(OrderRef::ours("a"), &one("1", "51400", "")),
            CancelOutcome::Ask(_)
        ));
        assert!(matches!(
            judge_cancel(OrderRef::ours("a"), &one("0", "0", "9")),
            CancelOutcome::Accepted
        ));
        assert!(matches!(
            judge_cancel(OrderRef::ours("a"), "gone"),
            CancelOutcome::Again(_)
        ));
        assert!(matches!(
            judge_cancel(OrderRef::ours("a"), &one("1", "51412", "")),
            CancelOutcome::Again(_)
        ));
    }
}
