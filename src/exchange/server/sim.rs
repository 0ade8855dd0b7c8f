//! Endpoints that OKX does not have: the ledger as the tests' oracle, the clock, the market's
//! price.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::super::core::{Exchange, NewRules, Settings};
use super::super::render;
use super::public::bad;
use super::{Request, Site, VenueFailure};
use crate::domain::Ms;

/// `/sim/…`, without a signature: the exchange listens on loopback only.
pub(super) async fn handle(site: &Site, request: &Request) -> Result<String, VenueFailure> {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/sim/ledger") => Ok(site.engine.ask(|x| render::ledger(x).to_string()).await?),
        ("GET", "/sim/clock") => Ok(clock(site)),
        ("POST", "/sim/clock") => {
            let now = body["now_ms"].as_i64().map(Ms);
            let rate = body["rate"]
                .as_f64()
                .unwrap_or_else(|| site.engine.clock.rate());
            if !rate.is_finite() || rate <= 0.0 {
                return Err(VenueFailure::new(400, "51000", "Parameter rate error"));
            }
            site.engine.set_speed(now, rate).await?;
            Ok(clock(site))
        }
        ("POST", "/sim/market") => {
            let inst = body["instId"].as_str().unwrap_or("").to_owned();
            let price: Decimal = body["px"]
                .as_str()
                .and_then(|px| px.parse().ok())
                .filter(|px| *px > Decimal::ZERO)
                .ok_or_else(|| VenueFailure::new(400, "51000", "Parameter px error"))?;
            let done = site.engine.ask(move |x| x.set_price(&inst, price)).await?;
            done.map(|()| r#"{"code":"0"}"#.to_owned())
                .map_err(|r| VenueFailure::new(400, r.code, r.msg))
        }
        ("POST", "/sim/instrument") => {
            let inst = text(&body, "instId").unwrap_or_default();
            let step = |name: &str| match text(&body, name) {
                None => Ok(None),
                Some(step) => step.parse().map(Some).map_err(|_| bad(name)),
            };
            let new = NewRules {
                tick: step("tickSz")?,
                lot: step("lotSz")?,
                min_size: step("minSz")?,
                state: text(&body, "state"),
            };
            let done = site
                .engine
                .ask(move |x| x.change_rules(&inst, &new))
                .await?;
            done.map(|()| r#"{"code":"0"}"#.to_owned())
                .map_err(|r| VenueFailure::new(400, r.code, r.msg))
        }
        ("POST", "/sim/account") => {
            let auto_loan = body["autoLoan"].as_bool();
            let changes = ["acctLv", "posMode", "perm", "ip"].map(|name| text(&body, name));
            let change = move |x: &mut Exchange| {
                let settings = &mut x.settings;
                let Settings {
                    level,
                    position_mode,
                    permissions,
                    addresses,
                    ..
                } = &mut *settings;
                for (field, new) in [level, position_mode, permissions, addresses]
                    .into_iter()
                    .zip(changes)
                {
                    if let Some(new) = new {
                        *field = new;
                    }
                }
                settings.auto_loan = auto_loan.unwrap_or(settings.auto_loan);
            };
            site.engine.ask(change).await?;
            Ok(r#"{"code":"0"}"#.to_owned())
        }
        ("GET", "/sim/faults") => Ok(site.faults.show()),
        ("POST", "/sim/faults") => {
            let script = serde_json::from_slice(&request.body).map_err(|error| {
                VenueFailure::new(400, "50002", format!("the script cannot be read: {error}"))
            })?;
            site.faults
                .post(script, site.engine.clock.now())
                .map_err(|why| VenueFailure::new(400, "51000", why))?;
            Ok(site.faults.show())
        }
        ("POST", "/sim/notice") => {
            // Nobody connected is no error.
            drop(site.notices.send(()));
            Ok(r#"{"code":"0"}"#.to_owned())
        }
        ("POST", "/sim/deposit") => {
            let ccy = body["ccy"].as_str().unwrap_or("USDT").to_owned();
            let amount: Decimal = body["amt"]
                .as_str()
                .and_then(|amount| amount.parse().ok())
                .filter(|amount: &Decimal| {
                    amount.abs() <= Decimal::from(1_000_000_000i64) && amount.scale() <= 12
                })
                .ok_or_else(|| VenueFailure::new(400, "51000", "Parameter amt error"))?;
            site.engine.ask(move |x| x.deposit(&ccy, amount)).await?;
            Ok(r#"{"code":"0"}"#.to_owned())
        }
        _ => Err(VenueFailure::new(
            404,
            "404",
            format!("Not Found: {}", request.path),
        )),
    }
}

fn text(body: &Value, name: &str) -> Option<String> {
    body[name].as_str().map(str::to_owned)
}

fn clock(site: &Site) -> String {
    json!({"now_ms": site.engine.clock.now().0, "rate": site.engine.clock.rate()}).to_string()
}
