//! One question over HTTP: sent, capped, timed. What the answer is worth is decided elsewhere.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::redirect;
use secrecy::{ExposeSecret, SecretString};

use super::code::Code;
use super::parse::Refused;

/// Longest body that is read, bytes. An answer has a few thousand; what is longer is cut off and refused.
pub const BODY_MAX: usize = 1024 * 1024;

/// Where a model is asked.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Up to and without `/chat/completions`.
    pub base_url: String,
    pub key: Option<SecretString>,
    /// Wall time after which nobody listens any more.
    pub listen: Duration,
    pub calls_per_minute: NonZeroU32,
}

/// A client for one model. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    endpoint: Arc<Endpoint>,
    http: reqwest::Client,
    pace: Arc<DefaultDirectRateLimiter>,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    pub status: u16,
    pub body: Vec<u8>,
    /// Wall time until the first byte and until all of it.
    pub first_byte: Duration,
    pub done: Duration,
    /// What the server asks to wait; at most an hour is believed.
    pub retry_after: Option<Duration>,
}

impl Client {
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(endpoint: Endpoint) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(endpoint.listen)
            .connect_timeout(endpoint.listen.min(Duration::from_secs(10)))
            // A redirect would carry the key elsewhere, and so would a proxy from the environment.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .build()?;
        let pace = RateLimiter::direct(Quota::per_minute(endpoint.calls_per_minute));
        Ok(Self { endpoint: Arc::new(endpoint), http, pace: Arc::new(pace) })
    }

    /// Waits until the model's rate allows another call.
    pub async fn room(&self) {
        self.pace.until_ready().await;
    }

    /// Sends one request.
    ///
    /// # Errors
    /// No answer, or one that is too long; never with the key or the address in it.
    pub async fn send(&self, body: String) -> Result<Raw, Refused> {
        let began = std::time::Instant::now();
        let url = format!("{}/chat/completions", self.endpoint.base_url);
        let mut request = self.http.post(url).header("content-type", "application/json").body(body);
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
                .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
                .map(|seconds| Duration::from_secs(seconds.min(3600))),
            ..Raw::default()
        };
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if raw.body.len() + chunk.len() > BODY_MAX {
                return Err(Refused::new(Code::TooLong, format!("more than {BODY_MAX} bytes")));
            }
            raw.body.extend_from_slice(&chunk);
        }
        raw.done = began.elapsed();
        if let Some(key) = &self.endpoint.key {
            scrub(&mut raw.body, key.expose_secret().as_bytes());
        }
        Ok(raw)
    }
}

/// Takes a key out of what a server says: some repeat what they were sent.
fn scrub(body: &mut [u8], key: &[u8]) {
    if key.len() < 4 {
        return;
    }
    let mut from = 0;
    while let Some(at) = body[from..].windows(key.len()).position(|window| window == key) {
        body[from + at..from + at + key.len()].fill(b'*');
        from += at + key.len();
    }
}

fn failed(error: reqwest::Error) -> Refused {
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
    Refused::new(code, why.chars().take(200).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_back_is_taken_out_wherever_it_stands() {
        let mut body = b"invalid key sk-123456 (sk-123456)sk-123456".to_vec();
        scrub(&mut body, b"sk-123456");
        assert_eq!(body, b"invalid key ********* (*********)*********");
        let mut body = b"none".to_vec();
        scrub(&mut body, b"sk-123456");
        assert_eq!(body, b"none");
    }
}
