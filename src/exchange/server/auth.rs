//! Authentication: OKX's header checks in OKX's order, over the exact bytes received.

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Credentials, Request, Site, VenueFailure};
use crate::domain::Ms;

/// Largest deviation of a timestamp, either way.
const TOLERANCE: Ms = Ms::secs(30);

/// base64(HMAC-SHA256(secret, message)).
pub(super) fn sign(secret: &str, message: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(message.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

/// Checks a private REST request; the refusals are OKX's, each with HTTP 401.
pub(super) fn check(site: &Site, request: &Request, now: Ms) -> Result<(), VenueFailure> {
    let fail = |code: &str, msg: &str| Err(VenueFailure::new(401, code, msg));
    let Credentials {
        api_key,
        secret,
        passphrase,
        ..
    } = &site.credentials;
    for (header, code) in [
        ("OK-ACCESS-KEY", "50103"),
        ("OK-ACCESS-PASSPHRASE", "50104"),
        ("OK-ACCESS-SIGN", "50106"),
        ("OK-ACCESS-TIMESTAMP", "50107"),
    ] {
        if request.header(header).is_empty() {
            return fail(code, &format!("Request header {header} can not be empty."));
        }
    }
    if request.header("OK-ACCESS-KEY") != api_key {
        return fail("50111", "Invalid OK-ACCESS-KEY");
    }
    if (request.header("x-simulated-trading") == "1") != site.demo {
        return fail("50101", "APIKey does not match current environment.");
    }
    let timestamp = request.header("OK-ACCESS-TIMESTAMP");
    let Ok(at) = chrono::DateTime::parse_from_rfc3339(timestamp) else {
        return fail("50112", "Invalid OK-ACCESS-TIMESTAMP");
    };
    if (at.timestamp_millis() - now.0).abs() > TOLERANCE.0 {
        return fail("50102", "Timestamp request expired");
    }
    if request.header("OK-ACCESS-PASSPHRASE") != passphrase {
        return fail("50105", "Request header OK-ACCESS-PASSPHRASE incorrect.");
    }
    let body = String::from_utf8_lossy(&request.body);
    let message = format!("{timestamp}{}{}{body}", request.method, request.target);
    if sign(secret, &message) != request.header("OK-ACCESS-SIGN") {
        return fail("50113", "Invalid Sign");
    }
    Ok(())
}

/// Checks a WebSocket login; `(code, message)` of the refusal.
///
/// `demo`: what the connection's `x-simulated-trading` header said, if it had one. OKX tells demo
/// from live by the host; a simulation on one port can only go by the header.
pub(super) fn check_login(
    site: &Site,
    args: &serde_json::Value,
    demo: Option<bool>,
    now: Ms,
) -> Result<(), (&'static str, &'static str)> {
    let text = |name: &str| match &args[name] {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let (key, pass, timestamp, signature) = (
        text("apiKey"),
        text("passphrase"),
        text("timestamp"),
        text("sign"),
    );
    if key.is_empty() || pass.is_empty() || timestamp.is_empty() || signature.is_empty() {
        return Err((
            "60027",
            "Parameter apiKey, passphrase, timestamp or sign can not be empty",
        ));
    }
    if key != site.credentials.api_key {
        return Err(("60005", "Invalid apiKey"));
    }
    if demo.is_some_and(|demo| demo != site.demo) {
        return Err(("50101", "APIKey does not match current environment."));
    }
    let Ok(seconds) = timestamp.parse::<f64>() else {
        return Err(("60004", "Invalid timestamp"));
    };
    if (seconds * 1000.0 - now.0 as f64).abs() > TOLERANCE.0 as f64 {
        return Err(("60006", "Timestamp request expired"));
    }
    if pass != site.credentials.passphrase {
        return Err(("60024", "Wrong passphrase"));
    }
    if sign(
        &site.credentials.secret,
        &format!("{timestamp}GET/users/self/verify"),
    ) != signature
    {
        return Err(("60007", "Invalid sign"));
    }
    Ok(())
}
