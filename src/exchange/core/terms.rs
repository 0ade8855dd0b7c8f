//! Terms that the venue may change while a client trades: the rules of an instrument, the settings
//! of the account and of the key. Set under `/sim/`; not kept over a restart of the exchange.

use rust_decimal::Decimal;

use super::types::Rejection;
use super::{Event, Exchange, unknown_instrument};
use crate::domain::{InstState, Instrument, Price, Qty};

/// The account's settings and the key's permissions, in OKX's words.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `acctLv`: 2 is futures mode.
    pub level: String,
    /// `posMode`.
    pub position_mode: String,
    pub auto_loan: bool,
    /// `perm`, separated by commas.
    pub permissions: String,
    /// `ip` the key is bound to, separated by commas; empty: to none.
    pub addresses: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: "2".into(),
            position_mode: "net_mode".into(),
            auto_loan: false,
            permissions: "read_only,trade".into(),
            addresses: "127.0.0.1".into(),
        }
    }
}

/// New rules of an instrument; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct NewRules {
    pub tick: Option<Decimal>,
    pub lot: Option<Decimal>,
    pub min_size: Option<Decimal>,
    pub state: Option<String>,
}

impl Exchange {
    /// The rules orders are held to now.
    pub fn rules<'a>(&'a self, listed: &'a Instrument) -> &'a Instrument {
        self.changed_rules.get(listed.id.as_str()).unwrap_or(listed)
    }

    /// Changes an instrument's rules for what comes from now on, and tells the subscribers of
    /// `instruments`.
    pub fn change_rules(&mut self, inst: &str, new: &NewRules) -> Result<(), Rejection> {
        let listed = self
            .market
            .get(inst)
            .ok_or_else(|| unknown_instrument(inst))?;
        let mut rules = self.rules(&listed.listing.inst).clone();
        let steps = [new.tick, new.lot, new.min_size];
        if steps
            .into_iter()
            .flatten()
            .any(|step| step <= Decimal::ZERO)
        {
            return Err(Rejection::new(
                "51000",
                "Parameter tickSz, lotSz or minSz error",
            ));
        }
        rules.tick = new.tick.map_or(rules.tick, Price);
        rules.lot = new.lot.map_or(rules.lot, Qty);
        rules.min_size = new.min_size.map_or(rules.min_size, Qty);
        match new.state.as_deref() {
            None => {}
            Some("live") => rules.state = InstState::Live,
            Some(other) => rules.state = InstState::Other(other.to_owned()),
        }
        self.changed_rules.insert(inst.to_owned(), rules);
        self.events.push(Event::Rules(inst.to_owned()));
        Ok(())
    }

    /// Takes orders only while the instrument is live.
    pub(super) fn check_live(inst: &Instrument) -> Result<(), Rejection> {
        match &inst.state {
            InstState::Live => Ok(()),
            InstState::Other(state) => Err(Rejection::new(
                "51022",
                format!("{} is not live: {state}.", inst.id),
            )),
        }
    }
}
