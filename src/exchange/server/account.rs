//! The account: settings, balances, positions, what it could still buy.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::super::core::Exchange;
use super::super::render;
use super::parse::{decimal, field};
use super::public::{bad, unknown};
use super::{Request, Site, VenueFailure};
use crate::domain::InstKind;

pub(super) async fn set_leverage(site: &Site, body: Value) -> Result<Value, VenueFailure> {
    let inst = field(&body, "instId").to_owned();
    let leverage = decimal(&body, "lever")
        .ok()
        .flatten()
        .ok_or_else(|| bad("lever"))?;
    if field(&body, "mgnMode") != "cross" {
        return Err(bad("mgnMode"));
    }
    let echo =
        json!([{"lever": leverage.to_string(), "mgnMode": "cross", "instId": inst, "posSide": ""}]);
    let done = site
        .engine
        .ask(move |x| x.set_leverage(&inst, leverage))
        .await?;
    done.map(|()| echo)
        .map_err(|r| VenueFailure::new(200, r.code, r.msg))
}

/// Net mode is the only one this exchange has.
pub(super) async fn set_position_mode(site: &Site, body: Value) -> Result<Value, VenueFailure> {
    match field(&body, "posMode") {
        "net_mode" => Ok(json!([{"posMode": "net_mode"}])),
        "long_short_mode" => {
            let busy = |x: &mut Exchange| {
                x.open_orders().next().is_some()
                    || x.ledger.positions.values().any(|p| !p.qty.is_zero())
            };
            let busy = site.engine.ask(busy).await?;
            let (code, why) = if busy {
                (
                    "59000",
                    "Setting failed. Cancel any open orders, close positions, and stop trading bots first.",
                )
            } else {
                ("51010", "This simulation has net mode only.")
            };
            Err(VenueFailure::new(200, code, why))
        }
        _ => Err(bad("posMode")),
    }
}

/// GET endpoints of `account/` and `asset/`.
pub(super) async fn read(
    site: &Site,
    request: &Request,
    endpoint: &str,
) -> Result<Value, VenueFailure> {
    let uid = site.credentials.uid.clone();
    let (request, endpoint) = (request.for_engine(), endpoint.to_owned());
    site.engine
        .ask(move |x| rows(x, &request, &endpoint, &uid).map(Value::Array))
        .await?
}

fn rows(
    x: &mut Exchange,
    request: &Request,
    endpoint: &str,
    uid: &str,
) -> Result<Vec<Value>, VenueFailure> {
    let list = |name: &str| -> Vec<String> {
        request
            .param(name)
            .split(',')
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()
    };
    Ok(match endpoint {
        "account/config" => vec![render::account_config(uid, &x.settings)],
        "account/balance" => {
            let only = list("ccy");
            vec![render::balance(
                x,
                &only.iter().map(String::as_str).collect::<Vec<_>>(),
            )]
        }
        "account/positions" => {
            let (insts, kind) = (list("instId"), request.param("instType"));
            if let Some(inst) = insts.iter().find(|inst| x.market.get(inst).is_none()) {
                return Err(unknown(inst));
            }
            let wanted = |inst: &str| {
                (insts.is_empty() || insts.iter().any(|i| i == inst))
                    && (kind.is_empty() || kind == render::inst_type(inst))
            };
            let open = x
                .ledger
                .positions
                .iter()
                .filter(|(inst, p)| !p.qty.is_zero() && wanted(inst));
            open.map(|(inst, _)| render::position(x, inst)).collect()
        }
        "account/leverage-info" => {
            let mut out = Vec::new();
            for inst in list("instId") {
                if x.market.get(&inst).is_none() {
                    return Err(unknown(&inst));
                }
                out.push(
                    json!({"instId": inst, "mgnMode": "cross", "posSide": "net", "ccy": "",
                    "lever": x.leverage(&inst).to_string()}),
                );
            }
            out
        }
        "account/trade-fee" => match request.param("instType") {
            kind @ ("SPOT" | "SWAP") => vec![render::fee_rates(x, kind)],
            _ => return Err(bad("instType")),
        },
        "account/max-size" | "account/max-avail-size" => {
            let mut out = Vec::new();
            for inst in list("instId") {
                out.push(reach(x, request, endpoint, &inst)?);
            }
            out
        }
        "asset/currencies" => currencies(x),
        // Money outside the trading account: this exchange has none.
        "asset/balances" => Vec::new(),
        other => unreachable!("the table names {other}, which nobody serves"),
    })
}

fn reach(
    x: &Exchange,
    request: &Request,
    endpoint: &str,
    name: &str,
) -> Result<Value, VenueFailure> {
    let listed = x.market.get(name).ok_or_else(|| unknown(name))?;
    let inst = &listed.listing.inst;
    let price = request
        .param("px")
        .parse()
        .ok()
        .filter(|p| *p > Decimal::ZERO)
        .unwrap_or_else(|| x.last(name));
    let (buy, sell) = x.max_size(inst, price);
    let text = |value: Decimal| value.normalize().to_string();
    Ok(match endpoint {
        "account/max-size" => {
            let ccy = if inst.kind == InstKind::Spot {
                &inst.base
            } else {
                &inst.quote
            };
            json!({"instId": name, "ccy": ccy, "maxBuy": text(buy), "maxSell": text(sell)})
        }
        _ => {
            let sheet = x.balance_sheet();
            let free = |ccy: &str| {
                sheet
                    .get(ccy)
                    .map_or(Decimal::ZERO, |line| line.available())
            };
            let (quote, other) = (
                free(&inst.quote),
                if inst.kind == InstKind::Spot {
                    &inst.base
                } else {
                    &inst.quote
                },
            );
            json!({"instId": name, "availBuy": text(quote), "availSell": text(free(other))})
        }
    })
}

fn currencies(x: &Exchange) -> Vec<Value> {
    let mut names = std::collections::BTreeSet::new();
    for listed in x.market.all() {
        names.insert(listed.listing.inst.base.clone());
        names.insert(listed.listing.inst.quote.clone());
    }
    let row = |ccy: &String| {
        json!({
            "ccy": ccy, "name": ccy, "chain": format!("{ccy}-Simulation"), "ctAddr": "", "logoLink": "",
            "canDep": false, "canWd": false, "canInternal": false, "mainNet": true, "needTag": false,
            "minDep": "0", "minDepArrivalConfirm": "1", "minWd": "0", "maxWd": "0", "minWdUnlockConfirm": "1",
            "wdTickSz": "8", "wdQuota": "0", "usedWdQuota": "0", "fee": "0", "minFee": "0", "maxFee": "0",
            "minFeeForCtAddr": "", "maxFeeForCtAddr": "", "burningFeeRate": "", "depQuotaFixed": "",
            "usedDepQuotaFixed": "", "depQuoteDailyLayer2": "", "depEstOpenTime": "", "wdEstOpenTime": "",
        })
    };
    names.iter().map(row).collect()
}
