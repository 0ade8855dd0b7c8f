//! Names of things, each its own type, and the one rule that makes client order ids.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::intent::Purpose;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps the text as it is.
            pub fn new(text: impl Into<Arc<str>>) -> Self { Self(text.into()) }
            /// The text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(&self.0) }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self { Self(text.into()) }
        }
    };
}

text_id! {
    /// The venue's name of an instrument, e.g. `BTC-USDT-SWAP`.
    InstId
}
text_id! {
    /// A strategy or model that trades a sleeve, by its name in the configuration.
    ContenderId
}
text_id! {
    /// The client order id we send: at most 32 of `[A-Za-z0-9]`, never used twice.
    ClOrdId
}
text_id! {
    /// Our name for an order: its client order id, or `v` + the venue's id for one that
    /// is ours by descent (the child of a stop) and never had a client order id.
    OrderId
}
text_id! {
    /// The venue's name of an order.
    VenueOrdId
}
text_id! {
    /// The venue's name of a fill, unique per instrument.
    TradeId
}

/// What kind of name an [`OrderId`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderName<'a> {
    /// The client order id that we gave it.
    Ours(&'a str),
    /// The venue's id of an order that it made of one of ours and that has no client order id.
    Adopted(&'a str),
}

impl<'a> OrderName<'a> {
    /// Reads the name of an order, the only place that does: `v` and a number is the venue's.
    pub fn of(id: &'a str) -> Self {
        let number = |rest: &&str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
        match id.strip_prefix('v').filter(number) {
            Some(venue_id) => OrderName::Adopted(venue_id),
            None => OrderName::Ours(id),
        }
    }
}

impl OrderId {
    /// Our name for an order that the venue made of one of ours.
    pub fn adopted(venue_id: &VenueOrdId) -> Self {
        Self::new(format!("v{venue_id}"))
    }
    /// What kind of name it is.
    pub fn name(&self) -> OrderName<'_> {
        OrderName::of(self.as_str())
    }
}

impl From<&ClOrdId> for OrderId {
    fn from(id: &ClOrdId) -> Self {
        Self::new(id.as_str())
    }
}

impl ClOrdId {
    /// True if this text has the form of an id that [`ClientIdSeed::client_order_id`] makes in this
    /// environment.
    pub fn is_ours(text: &str, env: char) -> bool {
        let mut letters = text.chars();
        let head = letters.next() == Some(CLIENT_ID_PREFIX) && letters.next() == Some(env);
        head && text.len() == 28
            && letters.all(|c| c.is_ascii_uppercase() || ('2'..='7').contains(&c))
    }
}

impl ContenderId {
    /// The contender that orders of the system itself are booked to.
    pub fn system() -> Self {
        Self::from("_system")
    }
    /// The owner of what the venue holds that nobody here has traded.
    pub fn foreign() -> Self {
        Self::from("_foreign")
    }
    /// True if nobody makes decisions for it.
    pub fn is_nobodys(&self) -> bool {
        matches!(self.as_str(), "_system" | "_foreign")
    }
}

/// One run: a decision cycle, a command, a sweep or a start. Everything it caused carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Every client order id we make begins with this letter: it tells ours from foreign ones.
pub const CLIENT_ID_PREFIX: char = 'a';

/// Inputs of a client order id. The same facts always give the same id, so a replayed decision
/// collides with itself in the database instead of trading twice.
#[derive(Clone, Copy, Debug)]
pub struct ClientIdSeed<'a> {
    /// One letter for the environment: s(im), p(aper), d(emo), l(ive).
    pub env: char,
    /// Account id at the venue.
    pub uid: &'a str,
    /// Minted when the database was made or restored, so a restored backup cannot re-issue ids.
    pub install_epoch: &'a str,
    pub run_id: RunId,
    pub contender: &'a ContenderId,
    pub inst: &'a InstId,
    pub purpose: Purpose,
    pub leg: u32,
    pub attempt: u32,
}

impl ClientIdSeed<'_> {
    /// `a`, the environment's letter, and 26 base32 characters (130 bits) of a SHA-256: 28 in all.
    pub fn client_order_id(&self) -> ClOrdId {
        let mut hash = Sha256::new();
        for part in [
            self.uid,
            self.install_epoch,
            &self.run_id.to_string(),
            self.contender.as_str(),
            self.inst.as_str(),
            self.purpose.as_str(),
            &self.leg.to_string(),
            &self.attempt.to_string(),
        ] {
            // Length first: no two lists of parts can run together into the same bytes.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let digest = data_encoding::BASE32_NOPAD.encode(&hash.finalize());
        ClOrdId::new(format!("{CLIENT_ID_PREFIX}{}{}", self.env, &digest[..26]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed<'a>(contender: &'a ContenderId, inst: &'a InstId, leg: u32) -> ClientIdSeed<'a> {
        ClientIdSeed {
            env: 's',
            uid: "1",
            install_epoch: "e",
            run_id: RunId(Uuid::nil()),
            contender,
            inst,
            purpose: Purpose::Entry,
            leg,
            attempt: 0,
        }
    }

    /// 28 alphanumerics with the prefix of our environment; another leg or purpose gives another
    /// id.
    #[test]
    fn client_order_id_is_valid_and_deterministic() {
        let (c, i) = (ContenderId::from("trend"), InstId::from("BTC-USDT"));
        let id = seed(&c, &i, 0).client_order_id();
        assert_eq!(id.as_str().len(), 28);
        assert!(
            id.as_str().starts_with("as") && id.as_str().chars().all(|c| c.is_ascii_alphanumeric())
        );
        assert!(ClOrdId::is_ours(id.as_str(), 's') && !ClOrdId::is_ours(id.as_str(), 'l'));
        assert!(
            !ClOrdId::is_ours("as-byhand", 's')
                && !ClOrdId::is_ours("as1234567890123456789012345!", 's')
        );
        assert_eq!(id, seed(&c, &i, 0).client_order_id());
        assert_ne!(id, seed(&c, &i, 1).client_order_id());
        let mut exit = seed(&c, &i, 0);
        exit.purpose = Purpose::Exit;
        assert_ne!(id, exit.client_order_id());
    }
}
