//! One question over HTTP: sent, capped, timed. What the answer is worth is decided elsewhere.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::redirect;
use secrecy::{ExposeSecret, SecretString};

use super::code::Code;
use super::parse::RefusedAnswer;

/// Longest body that is read, bytes. An answer has a few thousand; what is longer is cut off and
/// refused.
pub const BODY_MAX: usize = 1024 * 1024;

/// Endpoint at which a model is asked.
#[derive(Clone, Debug)]
pub struct ChatEndpoint {
    /// Up to and without `/chat/completions`.
    pub base_url: String,
    pub key: Option<SecretString>,
    /// Wall time after which nobody listens any more.
    pub listen: Duration,
    pub calls_per_minute: NonZeroU32,
}

/// A client for one model. Cheap to clone.
#[derive(Clone)]
pub struct ModelClient {
    endpoint: Arc<ChatEndpoint>,
    http: reqwest::Client,
    pace: Arc<DefaultDirectRateLimiter>,
}

/// Response as it came back.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    pub status: u16,
    pub body: Vec<u8>,
    /// Wall time until the first byte and until all of it.
    pub first_byte: Duration,
    pub done: Duration,
    /// The body is not whole, for this reason.
    pub cut: Option<RefusedAnswer>,
    /// Wait that the server asks for; at most an hour is believed.
    pub retry_after: Option<Duration>,
}

impl ModelClient {
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(endpoint: ChatEndpoint) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(endpoint.listen)
            .connect_timeout(endpoint.listen.min(Duration::from_secs(10)))
            // A redirect would carry the key elsewhere, and so would a proxy from the environment.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .build()?;
        let pace = RateLimiter::direct(Quota::per_minute(endpoint.calls_per_minute));
        Ok(Self {
            endpoint: Arc::new(endpoint),
            http,
            pace: Arc::new(pace),
        })
    }

    /// Waits until the model's rate allows another call.
    pub async fn room(&self) {
        self.pace.until_ready().await;
    }

    /// Sends one request.
    ///
    /// # Errors
    /// No answer; never with the key or the address in it.
    pub async fn send(&self, body: String) -> Result<Raw, RefusedAnswer> {
        let began = std::time::Instant::now();
        let url = format!("{}/chat/completions", self.endpoint.base_url);
        let mut request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .body(body);
        if let Some(key) = &self.endpoint.key {
            request = request.bearer_auth(key.expose_secret());
        }
        let mut response = request.send().await.map_err(failed)?;
        let mut raw = Raw {
            status: response.status().as_u16(),
            first_byte: began.elapsed(),
            retry_after: response
                .headers()
                .get("retry-after")
                .and_then(|value| asked_to_wait(value.to_str().ok()?, SystemTime::now())),
            ..Raw::default()
        };
        loop {
            let chunk = match response.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) => chunk,
                Err(error) => {
                    raw.cut = Some(failed(error));
                    break;
                }
            };
            let room = BODY_MAX - raw.body.len();
            raw.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                raw.cut = Some(RefusedAnswer::new(
                    Code::TooLong,
                    format!("more than {BODY_MAX} bytes"),
                ));
                break;
            }
        }
        raw.done = began.elapsed();
        if let Some(key) = &self.endpoint.key {
            scrub(&mut raw.body, key.expose_secret().as_bytes());
        }
        Ok(raw)
    }
}

/// Reads the wait that a `Retry-After` asks for: seconds, or a date (RFC 9110, 10.2.3); at most an
/// hour.
fn asked_to_wait(text: &str, now: SystemTime) -> Option<Duration> {
    let wait = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text.trim())
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(wait.min(Duration::from_secs(3600)))
}

/// Scheme, host and port of an address; its path and what else may be in it are nobody's business.
pub fn provider(base_url: &str) -> String {
    let url = reqwest::Url::parse(base_url);
    url.map_or_else(
        |_| "an address that cannot be read".to_owned(),
        |url| url.origin().ascii_serialization(),
    )
}

/// Takes a key out of what a server says: some repeat what they were sent.
fn scrub(body: &mut [u8], key: &[u8]) {
    if key.len() < 4 {
        return;
    }
    let mut from = 0;
    while let Some(at) = body[from..]
        .windows(key.len())
        .position(|window| window == key)
    {
        body[from + at..from + at + key.len()].fill(b'*');
        from += at + key.len();
    }
}

fn failed(error: reqwest::Error) -> RefusedAnswer {
    let code = match () {
        () if error.is_timeout() => Code::Timeout,
        () if error.is_connect() => Code::Unsent,
        () => Code::Unreachable,
    };
    // The address may carry a key of its own; the cause says enough.
    let error = error.without_url();
    let mut why = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        why = format!("{why}: {inner}");
        source = inner.source();
    }
    RefusedAnswer::new(code, why.chars().take(200).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At most one hour; a past date is zero and anything else none.
    #[test]
    fn retry_after_is_seconds_or_date() {
        // 1994-11-06 08:49:07 UTC.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_747);
        let asked = |text| asked_to_wait(text, now).map(|wait| wait.as_secs());
        assert_eq!(asked("7"), Some(7));
        assert_eq!(asked("99999999999999999"), Some(3600), "an hour at most");
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(30));
        assert_eq!(
            asked("Sun, 06 Nov 1994 08:49:00 GMT"),
            Some(0),
            "it is over"
        );
        assert_eq!((asked("soon"), asked("-1"), asked("")), (None, None, None));
    }

    /// Only scheme, host and port of the URL; user, key, path and query are dropped.
    #[test]
    fn provider_name_hides_secrets() {
        assert_eq!(
            provider("https://user:key@api.example.com/v1?k=sk-1"),
            "https://api.example.com"
        );
        assert_eq!(
            provider("http://127.0.0.1:11434/v1"),
            "http://127.0.0.1:11434"
        );
    }

    /// A body without it is left as it is.
    #[test]
    fn echoed_key_is_scrubbed_everywhere() {
        let mut body = b"invalid key sk-123456 (sk-123456)sk-123456".to_vec();
        scrub(&mut body, b"sk-123456");
        assert_eq!(body, b"invalid key ********* (*********)*********");
        let mut body = b"none".to_vec();
        scrub(&mut body, b"sk-123456");
        assert_eq!(body, b"none");
    }
}
