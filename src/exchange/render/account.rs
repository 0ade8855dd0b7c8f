//! The account: configuration, balances, positions, bills, fees, tiers.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::super::core::{BalanceLine, BillLine, Exchange, Execution, MAINTENANCE, Settings};
use super::super::market::Listed;
use super::{inst_type, opt, text, with_empty};
use crate::domain::InstKind;

/// `account/config` data.
pub fn account_config(uid: &str, settings: &Settings) -> Value {
    json!({
        "uid": uid, "mainUid": uid, "acctLv": settings.level, "posMode": settings.position_mode, "acctStpMode": "cancel_maker",
        "autoLoan": settings.auto_loan, "ctIsoMode": "automatic", "enableSpotBorrow": false, "feeType": "0",
        "greeksType": "PA", "ip": settings.addresses, "perm": settings.permissions, "level": "Lv1", "levelTmp": "",
        "label": "simulation", "kycLv": "3", "type": "0", "roleType": "0", "opAuth": "1", "stgyType": "0",
        "mgnIsoMode": "automatic", "liquidationGear": "-1", "spotOffsetType": "", "settleCcy": "USDT",
        "settleCcyList": ["USDT"], "spotBorrowAutoRepay": false, "spotRoleType": "0", "spotTraderInsts": [],
        "traderInsts": [],
    })
}

/// A row of `account/bills`.
pub fn bill(b: &BillLine) -> Value {
    let row = json!({
        "billId": b.id.to_string(), "type": b.kind.to_string(), "subType": b.sub.to_string(), "ccy": b.ccy,
        "balChg": text(b.change), "bal": text(b.balance), "posBalChg": "0", "posBal": "0", "sz": text(b.size),
        "px": text(b.price), "fee": text(b.fee), "pnl": text(b.pnl), "interest": "0",
        "instType": if b.inst.is_empty() { "" } else { inst_type(&b.inst) }, "instId": b.inst,
        "ordId": b.order.map(|id| id.to_string()).unwrap_or_default(),
        "tradeId": b.trade_id.map(|id| id.to_string()).unwrap_or_default(),
        "fillTime": b.at.0.to_string(), "ts": b.at.0.to_string(),
    });
    with_empty(
        row,
        &[
            "clOrdId",
            "execType",
            "fillFwdPx",
            "fillIdxPx",
            "fillMarkPx",
            "fillMarkVol",
            "fillPxUsd",
            "fillPxVol",
            "from",
            "mgnMode",
            "notes",
            "tag",
            "to",
        ],
    )
}

/// `account/balance` data; all currencies, or those named.
pub fn balance(x: &Exchange, only: &[&str]) -> Value {
    let sheet = x.balance_sheet();
    let now = x.now().0.to_string();
    let (mut total, mut imr, mut frozen) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
    let mut details = Vec::new();
    for (ccy, line) in &sheet {
        total += (line.equity() * line.usd_price).round_dp(8);
        imr += line.imr * line.usd_price;
        frozen += line.frozen * line.usd_price;
        if only.is_empty() || only.contains(&ccy.as_str()) {
            details.push(currency(ccy, line, &now));
        }
    }
    let row = json!({
        "totalEq": text(total), "isoEq": "0", "ordFroz": text(frozen), "imr": text(imr), "uTime": now,
        "details": details,
    });
    with_empty(
        row,
        &[
            "adjEq",
            "availEq",
            "borrowFroz",
            "mgnRatio",
            "mmr",
            "notionalUsd",
            "notionalUsdForBorrow",
            "notionalUsdForFutures",
            "notionalUsdForOption",
            "notionalUsdForSwap",
            "upl",
        ],
    )
}

fn currency(ccy: &str, line: &BalanceLine, now: &str) -> Value {
    let usd = text((line.equity() * line.usd_price).round_dp(8));
    let row = json!({
        "ccy": ccy, "eq": text(line.equity()), "cashBal": text(line.cash), "availBal": text(line.available()),
        "availEq": text(line.available()), "frozenBal": text(line.frozen + line.imr), "ordFrozen": text(line.frozen),
        "upl": text(line.upl), "eqUsd": usd, "disEq": usd, "imr": text(line.imr), "mmr": "0", "isoEq": "0",
        "isoUpl": "0", "coinUsdPrice": text(line.usd_price), "colBorrAutoConversion": "0", "collateralEnabled": false,
        "collateralRestrict": false, "fixedBal": "0", "maxLoan": "0", "notionalLever": "0", "rewardBal": "0",
        "smtSyncEq": "0", "spotCopyTradingEq": "0", "spotIsoBal": "0", "stgyEq": "0", "twap": "0", "uTime": now,
    });
    with_empty(
        row,
        &[
            "accAvgPx",
            "borrowFroz",
            "clSpotInUseAmt",
            "crossLiab",
            "interest",
            "isoLiab",
            "liab",
            "maxSpotInUseAmt",
            "mgnRatio",
            "openAvgPx",
            "spotBal",
            "spotInUseAmt",
            "spotUpl",
            "spotUplRatio",
            "totalPnl",
            "totalPnlRatio",
            "uplLiab",
        ],
    )
}

/// One position object; a flat one has `pos` 0.
pub fn position(x: &Exchange, inst: &str) -> Value {
    let pos = x.ledger.positions.get(inst).cloned().unwrap_or_default();
    let (upl, notional) = x.mark(inst, &pos);
    let leverage = x.leverage(inst);
    let flat = pos.qty.is_zero();
    let or_empty = |value: Decimal| if flat { String::new() } else { text(value) };
    let imr = (notional / leverage).round_dp(12);
    let ratio = if imr.is_zero() {
        Decimal::ZERO
    } else {
        (upl / imr).round_dp(8)
    };
    let last = text(x.last(inst));
    let row = json!({
        "instType": "SWAP", "instId": inst, "posId": pos.id.to_string(), "posSide": "net", "mgnMode": "cross",
        "pos": text(pos.qty), "availPos": text(pos.qty), "avgPx": or_empty(pos.avg), "upl": or_empty(upl),
        "uplLastPx": or_empty(upl), "uplRatio": or_empty(ratio), "uplRatioLastPx": or_empty(ratio),
        "lever": text(leverage), "markPx": last, "last": last, "idxPx": last,
        "imr": or_empty(imr), "mmr": or_empty((notional * MAINTENANCE).round_dp(12)),
        "ccy": "USDT", "notionalUsd": or_empty(notional.round_dp(8)), "adl": "0",
        "realizedPnl": text(pos.realised + pos.fee + pos.funding), "pnl": text(pos.realised), "fee": text(pos.fee),
        "fundingFee": text(pos.funding), "liqPenalty": "0", "closeOrderAlgo": [],
        "tradeId": pos.last_trade.to_string(), "cTime": pos.created.0.to_string(), "uTime": pos.updated.0.to_string(),
        "pTime": x.now().0.to_string(),
    });
    with_empty(
        row,
        &[
            "baseBal",
            "baseBorrowed",
            "baseInterest",
            "bePx",
            "bizRefId",
            "bizRefType",
            "clSpotInUseAmt",
            "deltaBS",
            "deltaPA",
            "gammaBS",
            "gammaPA",
            "interest",
            "liab",
            "liabCcy",
            "liqPx",
            "margin",
            "maxSpotInUseAmt",
            "mgnRatio",
            "optVal",
            "pendingCloseOrdLiabVal",
            "posCcy",
            "quoteBal",
            "quoteBorrowed",
            "quoteInterest",
            "spotInUseAmt",
            "spotInUseCcy",
            "thetaBS",
            "thetaPA",
            "usdPx",
            "vegaBS",
            "vegaPA",
        ],
    )
}

/// Data of `balance_and_position`: cash and positions, after what kind of event.
pub fn balance_and_position(x: &Exchange, event: &str, fills: &[Execution]) -> Value {
    let now = x.now().0.to_string();
    let cash: Vec<Value> = x
        .ledger
        .cash
        .iter()
        .map(|(ccy, cash)| json!({"ccy": ccy, "cashBal": text(*cash), "uTime": now}))
        .collect();
    let held = x
        .ledger
        .positions
        .iter()
        .filter(|(_, p)| event != "snapshot" || !p.qty.is_zero());
    let positions: Vec<Value> = held
        .map(|(inst, p)| {
            let avg = opt(Some(p.avg).filter(|_| !p.qty.is_zero()));
            json!({"posId": p.id.to_string(), "tradeId": p.last_trade.to_string(), "instId": inst, "instType": "SWAP",
                "mgnMode": "cross", "posSide": "net", "pos": text(p.qty), "ccy": "USDT", "posCcy": "", "avgPx": avg,
                "nonSettleAvgPx": "", "settledPnl": "", "uTime": p.updated.0.to_string()})
        })
        .collect();
    let trades: Vec<Value> = fills
        .iter()
        .map(|f| json!({"instId": f.inst, "tradeId": f.trade_id.to_string()}))
        .collect();
    json!({"pTime": now, "eventType": event, "balData": cash, "posData": positions, "trades": trades})
}

/// `account/trade-fee` data for one kind of instrument.
pub fn fee_rates(x: &Exchange, kind: &str) -> Value {
    let rates = x.market.all().find(|l| l.listing.inst.kind.okx() == kind);
    let (maker, taker) = rates.map_or_else(Default::default, |l| {
        (text(l.listing.maker), text(l.listing.taker))
    });
    let swap = kind == "SWAP";
    let of_swap = |rate: &str| if swap { rate.to_owned() } else { String::new() };
    let group = json!({"groupId": if swap { "4" } else { "1" }, "maker": maker, "taker": taker, "elpMaker": maker,
        "rpiMaker": maker});
    let row = json!({
        "level": "Lv1", "instType": kind, "maker": maker, "taker": taker, "makerU": of_swap(&maker),
        "takerU": of_swap(&taker), "category": "1", "ruleType": "normal", "fiat": [], "feeGroup": [group],
        "ts": x.now().0.to_string(),
    });
    with_empty(row, &["delivery", "exercise", "makerUSDC", "takerUSDC"])
}

/// `public/position-tiers` data: one tier for all sizes.
pub fn tier(listed: &Listed) -> Value {
    let inst = &listed.listing.inst;
    let family = if inst.kind == InstKind::Swap {
        format!("{}-{}", inst.base, inst.quote)
    } else {
        String::new()
    };
    json!({
        "tier": "1", "instId": inst.id, "uly": family, "instFamily": family, "minSz": "0",
        "maxSz": text(inst.max_limit_size.0), "mmr": text(MAINTENANCE),
        "imr": text((Decimal::ONE / inst.max_leverage.max(Decimal::ONE)).round_dp(8)),
        "maxLever": text(inst.max_leverage), "optMgnFactor": "0", "baseMaxLoan": "", "quoteMaxLoan": "",
    })
}
