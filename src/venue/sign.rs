//! Signatures. The only place where secrets are read.

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::domain::Ms;

/// An API key and what goes with it.
#[derive(Clone, Debug)]
pub struct Secrets {
    pub api_key: SecretString,
    pub secret: SecretString,
    pub passphrase: SecretString,
}

/// Signs requests and logins. `Debug` shows nothing of the secrets.
#[derive(Clone, Debug)]
pub struct Signer {
    secrets: Secrets,
}

/// The four headers of a signed request.
#[derive(Debug)]
pub struct SignedHeaders {
    pub key: String,
    pub passphrase: String,
    pub timestamp: String,
    pub signature: String,
}

impl Signer {
    /// A signer over these secrets.
    pub fn new(secrets: Secrets) -> Self {
        Self { secrets }
    }

    /// base64(HMAC-SHA256(secret, timestamp + METHOD + requestPath + body)), as OKX's "Signature"
    /// section has it.
    pub fn headers(&self, now: Ms, method: &str, target: &str, body: &str) -> SignedHeaders {
        let timestamp = now.iso();
        SignedHeaders {
            key: self.secrets.api_key.expose_secret().to_owned(),
            passphrase: self.secrets.passphrase.expose_secret().to_owned(),
            signature: self.sign(&[&timestamp, method, target, body]),
            timestamp,
        }
    }

    /// The login frame of a WebSocket; the timestamp is in seconds.
    pub fn login(&self, now: Ms) -> String {
        let timestamp = (now.0 / 1000).to_string();
        serde_json::json!({"op": "login", "args": [{
            "apiKey": self.secrets.api_key.expose_secret(),
            "passphrase": self.secrets.passphrase.expose_secret(),
            "timestamp": timestamp,
            "sign": self.sign(&[&timestamp, "GET", "/users/self/verify"]),
        }]})
        .to_string()
    }

    fn sign(&self, parts: &[&str]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.secrets.secret.expose_secret().as_bytes())
                .expect("HMAC takes a key of any length");
        for part in parts {
            mac.update(part.as_bytes());
        }
        base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new(Secrets {
            api_key: "k".into(),
            secret: "22582BD0CFF14C41EDBF1AB98506286D".into(),
            passphrase: "p".into(),
        })
    }

    #[test]
    fn signature_matches_openssl() {
        // printf '2020-12-08T09:08:57.715ZGET/api/v5/account/balance?ccy=BTC' |
        //   openssl dgst -sha256 -hmac 22582BD0CFF14C41EDBF1AB98506286D -binary | base64
        let at = Ms(1_607_418_537_715);
        let headers = signer().headers(at, "GET", "/api/v5/account/balance?ccy=BTC", "");
        assert_eq!(headers.timestamp, "2020-12-08T09:08:57.715Z");
        assert_eq!(
            headers.signature,
            "HiZhvSfMtWJA3uUIVXV3a/bSXNPCWvYFXoGCVS8V4zY="
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", signer());
        assert!(!shown.contains("22582BD0"), "{shown}");
    }
}
