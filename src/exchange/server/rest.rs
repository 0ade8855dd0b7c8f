//! REST: from a request to the handler of its endpoint, by way of access, limits and the body.

use serde_json::Value;

use super::endpoints::{Access, find};
use super::trade::{self, TradeOp};
use super::{Request, Site, VenueFailure, account, auth, lists, public};

/// Answers one request with the body to send under HTTP 200, or a failure.
pub(super) async fn handle(site: &Site, request: &Request) -> Result<String, VenueFailure> {
    let Some(path) = request.path.strip_prefix("/api/v5/") else {
        return Err(not_found(request));
    };
    let now = site.now();
    let endpoint = match find(path, request.method.as_str()) {
        Ok(endpoint) => endpoint,
        Err(true) => return Err(VenueFailure::new(405, "50115", "Invalid request method.")),
        Err(false) => return Err(not_found(request)),
    };
    if endpoint.access == Access::Private {
        auth::check(site, request, now)?;
    }
    let body = if endpoint.method == "POST" {
        parse_body(request)?
    } else {
        Value::Null
    };
    if endpoint.method == "POST"
        && let Some((op, batch)) = TradeOp::parse(path)
    {
        // Order operations count their orders themselves.
        let items = match body {
            Value::Array(items) if batch => items,
            body => vec![body],
        };
        return Ok(
            trade::operate(site, (op, batch), request.header("expTime"), items)
                .await?
                .to_string(),
        );
    }
    let first = if body.is_array() { &body[0] } else { &body };
    let inst = first["instId"]
        .as_str()
        .unwrap_or_else(|| request.param("instId"))
        .to_owned();
    // Timers count apart by their tag, everything else by its instrument.
    let scope = if path == "trade/cancel-all-after" {
        first["tag"].as_str().unwrap_or("").to_owned()
    } else {
        inst
    };
    if !site.limits.admit(endpoint, &scope, site.engine.clock.now()) {
        return Err(VenueFailure::new(429, "50011", "Too Many Requests"));
    }
    let data = match path {
        "trade/order-algo"
        | "trade/cancel-algos"
        | "trade/cancel-advance-algos"
        | "trade/amend-algos"
            if endpoint.method == "POST" =>
        {
            return Ok(trade::algo(site, path, body).await?.to_string());
        }
        "trade/close-position" => trade::close_position(site, body).await?,
        "trade/cancel-all-after" => trade::cancel_all_after(site, body).await?,
        "account/set-leverage" => account::set_leverage(site, body).await?,
        "account/set-position-mode" => account::set_position_mode(site, body).await?,
        "market/candles" | "market/history-candles" => {
            public::candles(site, request, path == "market/candles").await?
        }
        "market/mark-price-candles" | "market/history-mark-price-candles" => {
            public::mark_candles(site, request, path == "market/mark-price-candles").await?
        }
        "public/instruments" | "account/instruments" => public::instruments(site, request).await?,
        _ if endpoint.access == Access::Public => public::market(site, request, path).await?,
        _ if path.starts_with("trade/") || path.starts_with("account/bills") => {
            lists::read(site, request, path).await?
        }
        _ => account::read(site, request, path).await?,
    };
    Ok(format!(r#"{{"code":"0","msg":"","data":{data}}}"#))
}

fn not_found(request: &Request) -> VenueFailure {
    VenueFailure::new(404, "404", format!("Not Found: {}", request.path))
}

fn parse_body(request: &Request) -> Result<Value, VenueFailure> {
    if !request
        .header("content-type")
        .starts_with("application/json")
    {
        return Err(VenueFailure::new(
            400,
            "50006",
            "Invalid Content-Type, must be application/json",
        ));
    }
    if request.body.is_empty() {
        return Err(VenueFailure::new(
            400,
            "50000",
            "Body for POST request can not be empty.",
        ));
    }
    serde_json::from_slice(&request.body)
        .map_err(|_| VenueFailure::new(400, "50002", "JSON syntax error"))
}
