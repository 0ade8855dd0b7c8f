//! Fields of a request's body. Absent, null and empty are the same to OKX; numbers come as text or
//! bare.

use rust_decimal::Decimal;
use serde_json::Value;

use super::super::core::{
    AlgoKind, Amend, Attached, Leg, LegChange, NewAlgo, NewOrder, Rejection, Stp, Trail,
};
use crate::domain::InstKind;
use crate::domain::{OrdType, Side};

/// A text field.
pub(super) fn field<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or("")
}

/// "Parameter … error".
pub(super) fn bad(name: &str) -> Rejection {
    Rejection::new("51000", format!("Parameter {name} error"))
}

/// A number, if given.
pub(super) fn decimal(body: &Value, name: &str) -> Result<Option<Decimal>, Rejection> {
    match &body[name] {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => bounded(text, name).map(Some),
        Value::Number(number) => bounded(&number.to_string(), name).map(Some),
        _ => Err(bad(name)),
    }
}

/// Parses a number and refuses one beyond this bound: no sensible value is larger, and no product
/// of two within it overflows.
fn bounded(text: &str, name: &str) -> Result<Decimal, Rejection> {
    let value: Decimal = text.parse().map_err(|_| bad(name))?;
    if value.abs() <= Decimal::from(1_000_000_000_000i64) && value.scale() <= 12 {
        Ok(value)
    } else {
        Err(bad(name))
    }
}

fn truth(value: &Value) -> bool {
    value.as_bool().unwrap_or(false) || value.as_str() == Some("true")
}

fn net_only(body: &Value) -> Result<(), Rejection> {
    if matches!(field(body, "posSide"), "" | "net") {
        Ok(())
    } else {
        Err(bad("posSide"))
    }
}

/// Trigger and order price of `prefix`TriggerPx and `prefix`OrdPx; -1 or nothing is a market order.
fn leg(body: &Value, trigger: &str, price: &str) -> Result<Option<Leg>, Rejection> {
    let Some(at) = decimal(body, trigger)? else {
        return Ok(None);
    };
    let price = decimal(body, price)?.filter(|price| *price != Decimal::NEGATIVE_ONE);
    Ok(Some(Leg { trigger: at, price }))
}

/// A create.
pub(super) fn order(body: &Value) -> Result<NewOrder, Rejection> {
    let side = Side::parse(field(body, "side")).ok_or_else(|| bad("side"))?;
    let kind = field(body, "ordType");
    let inst = field(body, "instId").to_owned();
    let swap = InstKind::named(&inst) == InstKind::Swap;
    let (ord_type, all_or_none) = match kind {
        "fok" => (OrdType::Ioc, true),
        "optimal_limit_ioc" if swap => (OrdType::Market, false),
        other => (OrdType::parse(other).ok_or_else(|| bad("ordType"))?, false),
    };
    net_only(body)?;
    let spot_market = ord_type == OrdType::Market && !swap;
    let size_in_quote = spot_market
        && match field(body, "tgtCcy") {
            "" => side == Side::Buy,
            "quote_ccy" => true,
            "base_ccy" => false,
            _ => return Err(bad("tgtCcy")),
        };
    let mut attached = Vec::new();
    for item in body["attachAlgoOrds"].as_array().into_iter().flatten() {
        let (stop, target) = (
            leg(item, "slTriggerPx", "slOrdPx")?,
            leg(item, "tpTriggerPx", "tpOrdPx")?,
        );
        if stop.is_some() || target.is_some() {
            let algo_cl_ord_id = field(item, "attachAlgoClOrdId").to_owned();
            attached.push(Attached {
                algo_cl_ord_id,
                stop,
                target,
                size: decimal(item, "sz")?,
            });
        }
    }
    let stp = Stp::parse(field(body, "stpMode")).ok_or_else(|| bad("stpMode"))?;
    if all_or_none && stp == Stp::CancelBoth {
        return Err(Rejection::new(
            "54036",
            "You can't place FOK orders under the cancel both mode.",
        ));
    }
    let slippage = decimal(body, "slippagePct")?.filter(|_| ord_type == OrdType::Market);
    if slippage.is_some_and(|share| share <= Decimal::ZERO || share > Decimal::ONE) {
        return Err(Rejection::new("54085", "The slippagePct is out of range."));
    }
    Ok(NewOrder {
        inst,
        td_mode: field(body, "tdMode").to_owned(),
        side,
        ord_type,
        all_or_none,
        shown_as: if matches!(kind, "fok" | "optimal_limit_ioc") {
            kind.to_owned()
        } else {
            String::new()
        },
        size: decimal(body, "sz")?.ok_or_else(|| bad("sz"))?,
        size_in_quote,
        price: decimal(body, "px")?.filter(|_| ord_type != OrdType::Market),
        cl_ord_id: field(body, "clOrdId").to_owned(),
        tag: field(body, "tag").to_owned(),
        reduce_only: truth(&body["reduceOnly"]),
        stp,
        slippage,
        attached,
    })
}

/// An amendment.
pub(super) fn amend(body: &Value) -> Result<Amend, Rejection> {
    Ok(Amend {
        size: decimal(body, "newSz")?,
        price: decimal(body, "newPx")?,
        cancel_on_fail: truth(&body["cxlOnFail"]),
        req_id: field(body, "reqId").to_owned(),
    })
}

/// An algo order.
pub(super) fn algo(body: &Value) -> Result<NewAlgo, Rejection> {
    let kind = AlgoKind::parse(field(body, "ordType")).ok_or_else(|| bad("ordType"))?;
    net_only(body)?;
    let (stop, target) = match kind {
        AlgoKind::Trigger => (leg(body, "triggerPx", "orderPx")?, None),
        AlgoKind::Trailing => (None, None),
        _ => (
            leg(body, "slTriggerPx", "slOrdPx")?,
            leg(body, "tpTriggerPx", "tpOrdPx")?,
        ),
    };
    let trail = (kind == AlgoKind::Trailing)
        .then(|| {
            Ok::<_, Rejection>(Trail {
                ratio: decimal(body, "callbackRatio")?,
                spread: decimal(body, "callbackSpread")?,
                active: decimal(body, "activePx")?,
                best: None,
            })
        })
        .transpose()?;
    let whole = match field(body, "closeFraction") {
        "" => false,
        "1" => true,
        _ => return Err(bad("closeFraction")),
    };
    let size = decimal(body, "sz")?;
    Ok(NewAlgo {
        cl_ord_id: field(body, "algoClOrdId").to_owned(),
        tag: field(body, "tag").to_owned(),
        inst: field(body, "instId").to_owned(),
        td_mode: field(body, "tdMode").to_owned(),
        side: Side::parse(field(body, "side")).ok_or_else(|| bad("side"))?,
        kind,
        size: if whole {
            None
        } else {
            Some(size.ok_or_else(|| bad("sz"))?)
        },
        reduce_only: whole || truth(&body["reduceOnly"]),
        stop,
        target,
        trail,
    })
}

/// Changes of stop and target.
type Legs = (LegChange, LegChange);

/// New size, stop and target of an `amend-algos` item.
pub(super) fn algo_amend(body: &Value) -> Result<(Option<Decimal>, Legs), Rejection> {
    let change = |trigger: &str, price: &str| {
        let price =
            decimal(body, price)?.map(|price| Some(price).filter(|p| *p != Decimal::NEGATIVE_ONE));
        Ok::<_, Rejection>(LegChange {
            trigger: decimal(body, trigger)?,
            price,
        })
    };
    let stop = change("newSlTriggerPx", "newSlOrdPx")?;
    let stop = if stop.trigger.is_none() && stop.price.is_none() {
        change("newTriggerPx", "newOrdPx")?
    } else {
        stop
    };
    Ok((
        decimal(body, "newSz")?,
        (stop, change("newTpTriggerPx", "newTpOrdPx")?),
    ))
}
