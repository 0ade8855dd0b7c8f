//! Every REST endpoint served: method, who may call it, and how often (OKX's API guide, per
//! endpoint).

/// Callers that an endpoint admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Public,
    Private,
}

/// Scope over which a rate limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Per {
    /// All requests.
    Caller,
    /// Requests about one instrument.
    Instrument,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndpointRow {
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    pub(super) access: Access,
    /// Requests (orders, for batches) in `window_ms`.
    pub(super) limit: usize,
    pub(super) window_ms: i64,
    pub(super) per: Per,
}

const fn public(path: &'static str, limit: usize, per: Per) -> EndpointRow {
    EndpointRow {
        path,
        method: "GET",
        access: Access::Public,
        limit,
        window_ms: 2000,
        per,
    }
}

const fn read(path: &'static str, limit: usize) -> EndpointRow {
    EndpointRow {
        path,
        method: "GET",
        access: Access::Private,
        limit,
        window_ms: 2000,
        per: Per::Caller,
    }
}

const fn write(path: &'static str, limit: usize, per: Per) -> EndpointRow {
    EndpointRow {
        path,
        method: "POST",
        access: Access::Private,
        limit,
        window_ms: 2000,
        per,
    }
}

use Per::{Caller, Instrument};

pub(super) const ENDPOINTS: [EndpointRow; 55] = [
    public("public/time", 10, Caller),
    public("public/instruments", 20, Caller),
    public("public/mark-price", 10, Instrument),
    public("public/price-limit", 20, Caller),
    public("public/funding-rate", 10, Instrument),
    public("public/funding-rate-history", 10, Instrument),
    public("public/open-interest", 20, Instrument),
    public("public/position-tiers", 10, Caller),
    EndpointRow {
        window_ms: 5000,
        ..public("system/status", 1, Caller)
    },
    public("market/tickers", 20, Caller),
    public("market/ticker", 20, Caller),
    public("market/books", 40, Caller),
    public("market/books-full", 10, Caller),
    public("market/candles", 40, Caller),
    public("market/history-candles", 20, Caller),
    public("market/mark-price-candles", 20, Caller),
    public("market/history-mark-price-candles", 20, Caller),
    public("market/trades", 100, Caller),
    public("market/history-trades", 20, Caller),
    read("account/config", 5),
    read("account/instruments", 20),
    read("account/balance", 10),
    read("account/positions", 10),
    read("account/bills", 10),
    read("account/bills-archive", 5),
    read("account/trade-fee", 5),
    read("account/leverage-info", 20),
    read("account/max-size", 20),
    read("account/max-avail-size", 20),
    write("account/set-leverage", 20, Caller),
    write("account/set-position-mode", 5, Caller),
    EndpointRow {
        window_ms: 1000,
        ..read("asset/currencies", 6)
    },
    EndpointRow {
        window_ms: 1000,
        ..read("asset/balances", 6)
    },
    EndpointRow {
        per: Instrument,
        ..read("trade/order", 60)
    },
    read("trade/orders-pending", 60),
    read("trade/orders-history", 40),
    read("trade/orders-history-archive", 20),
    read("trade/fills", 60),
    read("trade/fills-history", 10),
    EndpointRow {
        window_ms: 1000,
        ..read("trade/account-rate-limit", 1)
    },
    read("trade/order-algo", 20),
    read("trade/orders-algo-pending", 20),
    read("trade/orders-algo-history", 20),
    write("trade/order", 60, Instrument),
    write("trade/batch-orders", 300, Instrument),
    write("trade/cancel-order", 60, Instrument),
    write("trade/cancel-batch-orders", 300, Instrument),
    write("trade/amend-order", 60, Instrument),
    write("trade/amend-batch-orders", 300, Instrument),
    write("trade/close-position", 20, Instrument),
    write("trade/order-algo", 20, Instrument),
    write("trade/cancel-algos", 20, Instrument),
    write("trade/cancel-advance-algos", 20, Instrument),
    write("trade/amend-algos", 20, Instrument),
    EndpointRow {
        window_ms: 1000,
        ..write("trade/cancel-all-after", 1, Instrument)
    },
];

/// The endpoint of a path and method. `Err(true)`: the path exists, the method does not.
pub(super) fn find(path: &str, method: &str) -> Result<&'static EndpointRow, bool> {
    let mut known = false;
    for endpoint in &ENDPOINTS {
        if endpoint.path == path {
            if endpoint.method == method {
                return Ok(endpoint);
            }
            known = true;
        }
    }
    Err(known)
}

/// The single operation whose limit a batch of one counts against.
pub(super) fn single_of(batch: &str) -> &'static str {
    match batch {
        "trade/batch-orders" => "trade/order",
        "trade/cancel-batch-orders" => "trade/cancel-order",
        _ => "trade/amend-order",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong method on a known path is told apart from an unknown path.
    #[test]
    fn endpoints_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for e in &ENDPOINTS {
            assert!(
                seen.insert((e.path, e.method)),
                "{} {} twice",
                e.method,
                e.path
            );
        }
        assert_eq!(find("trade/order", "GET").unwrap().per, Per::Instrument);
        assert!(find("trade/batch-orders", "GET").unwrap_err());
        assert!(!find("trade/nothing", "GET").unwrap_err());
    }
}
