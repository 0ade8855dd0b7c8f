//! The checks before trading, as one list of findings: what was found, how bad it is, and what to
//! do. Pure.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use super::health::HealthVerdict;
use crate::domain::{InstId, InstState, Instrument, Ms, Shield};
use crate::exit::Exit;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub check: &'static str,
    pub verdict: HealthVerdict,
    pub found: String,
    /// Remedy; empty if nothing is wrong.
    pub fix: String,
    /// Exit code of a start that fails here.
    #[serde(skip)]
    pub exit: Exit,
}

/// Facts the account reports about itself and the key.
#[derive(Clone, Debug, Default)]
pub struct AccountFacts {
    pub uid: String,
    pub level: String,
    pub position_mode: String,
    pub permissions: Vec<String>,
    /// Addresses the key is bound to.
    pub addresses: Vec<String>,
    pub auto_loan: bool,
}

/// A file that must not be open to others.
#[derive(Clone, Debug)]
pub struct FileFacts {
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    pub ours: bool,
    pub symlink: bool,
    /// True if the file holds a secret or decides what may trade.
    pub secret: bool,
}

/// All that is looked at; gathered by somebody else. `Err`: it could not be found out, and why.
#[derive(Clone, Debug)]
pub struct PreflightFacts {
    /// Real money.
    pub live: bool,
    /// The venue is this program's own exchange.
    pub embedded: bool,
    pub mode: String,
    /// This machine's clock against the venue's; `None`: ours follows the venue's.
    pub skew: Result<Option<Ms>, String>,
    pub account: Result<AccountFacts, String>,
    pub pinned_uid: Option<String>,
    /// As the venue lists them now, and as the database has them.
    pub instruments: Result<Vec<Instrument>, String>,
    pub wanted: Vec<InstId>,
    pub remembered: Vec<Instrument>,
    /// Taker fee of each instrument, as a share; negative is paid.
    pub fees: Result<BTreeMap<InstId, Decimal>, String>,
    /// Free bytes where the state directory is.
    pub disk_free: Result<u64, String>,
    pub files: Vec<FileFacts>,
    /// `ok`, or what is wrong with the database.
    pub database: String,
    /// Other holder of the state directory; a daemon that answers for itself does not count.
    pub other_holder: Option<String>,
    /// True if the configuration file is the same as when this process read it. `Err`: it can no
    /// longer be read.
    pub file_unchanged: Result<bool, String>,
    /// Keys of limits that nobody has set but the built-in defaults.
    pub default_limits: Vec<&'static str>,
    pub trading_on: bool,
    /// `None`: no daemon that measures it runs.
    pub shields: Option<BTreeMap<InstId, Shield>>,
}

/// Refused beyond this; requests die at the venue 30 s off.
const SKEW_MAX: Ms = Ms(2000);
const SKEW_WARN: Ms = Ms(500);
const DISK_MIN: u64 = 256 << 20;
const DISK_WARN: u64 = 1 << 30;

/// Judges them all.
pub fn judge(facts: &PreflightFacts) -> Vec<Checked> {
    let mut out = Vec::new();
    let mut say = |check, verdict, found: String, fix: &str, exit| {
        let fix = if verdict == HealthVerdict::Ok {
            String::new()
        } else {
            fix.to_owned()
        };
        out.push(Checked {
            check,
            verdict,
            found,
            fix,
            exit,
        });
    };
    let strict = if facts.live {
        HealthVerdict::Fail
    } else {
        HealthVerdict::Warn
    };

    match &facts.skew {
        Ok(None) => say(
            "clock",
            HealthVerdict::Ok,
            "follows the venue's".into(),
            "",
            Exit::Ok,
        ),
        Ok(Some(skew)) => {
            let off = skew.0.abs();
            let verdict = match off {
                _ if off > SKEW_MAX.0 => HealthVerdict::Fail,
                _ if off > SKEW_WARN.0 => HealthVerdict::Warn,
                _ => HealthVerdict::Ok,
            };
            say(
                "clock",
                verdict,
                format!("{} ms off the venue's", skew.0),
                "set this machine's clock (chrony, systemd-timesyncd)",
                Exit::Config,
            );
        }
        Err(why) => say(
            "clock",
            HealthVerdict::Fail,
            why.clone(),
            "see that the venue can be reached",
            Exit::Unavailable,
        ),
    }
    match &facts.account {
        Ok(account) => judge_account(facts, account, strict, &mut say),
        Err(why) => say(
            "account",
            HealthVerdict::Fail,
            why.clone(),
            "see that the key is right and the venue can be reached",
            Exit::Unavailable,
        ),
    }
    judge_instruments(facts, &mut say);
    match &facts.fees {
        Ok(fees) => {
            let missing: Vec<&str> = facts
                .wanted
                .iter()
                .filter(|i| !fees.contains_key(*i))
                .map(|i| i.as_str())
                .collect();
            let (verdict, found) = match (missing.is_empty(), fees.values().min()) {
                (true, Some(worst)) => (
                    HealthVerdict::Ok,
                    format!(
                        "taker at worst {} %",
                        (-*worst * Decimal::ONE_HUNDRED).normalize()
                    ),
                ),
                _ => (
                    HealthVerdict::Warn,
                    format!("not known of {}", missing.join(", ")),
                ),
            };
            say(
                "fees",
                verdict,
                found,
                "look at the account's fee tier; sizes do not depend on it",
                Exit::Ok,
            );
        }
        Err(why) => say(
            "fees",
            HealthVerdict::Warn,
            why.clone(),
            "see that the venue can be reached",
            Exit::Ok,
        ),
    }
    match facts.disk_free {
        Ok(free) => {
            let verdict = match free {
                _ if free < DISK_MIN => HealthVerdict::Fail,
                _ if free < DISK_WARN => HealthVerdict::Warn,
                _ => HealthVerdict::Ok,
            };
            say(
                "disk",
                verdict,
                format!("{} MiB free", free >> 20),
                "make room: an intent that cannot be written is not sent",
                Exit::Io,
            );
        }
        Err(ref why) => say(
            "disk",
            HealthVerdict::Warn,
            why.clone(),
            "look at the state directory",
            Exit::Ok,
        ),
    }
    judge_files(facts, strict, &mut say);
    let verdict = if facts.database == "ok" {
        HealthVerdict::Ok
    } else {
        HealthVerdict::Fail
    };
    let found = if facts.database == "ok" {
        "integrity ok".to_owned()
    } else {
        facts.database.clone()
    };
    say(
        "database",
        verdict,
        found,
        "restore a backup; nothing was changed",
        Exit::Data,
    );
    match &facts.other_holder {
        None => say(
            "second instance",
            HealthVerdict::Ok,
            "none".into(),
            "",
            Exit::Ok,
        ),
        Some(who) => say(
            "second instance",
            HealthVerdict::Fail,
            who.clone(),
            "stop it, or use another --state-dir",
            Exit::Busy,
        ),
    }
    let (verdict, found) = match facts.default_limits.as_slice() {
        [] => (HealthVerdict::Ok, "set".to_owned()),
        missing => (
            if facts.live {
                HealthVerdict::Fail
            } else {
                HealthVerdict::Ok
            },
            format!("built-in: {}", missing.join(", ")),
        ),
    };
    say(
        "limits",
        verdict,
        found,
        "say each of them in [risk] of the configuration: what you can lose is yours to decide",
        Exit::Config,
    );
    let (verdict, found) = match &facts.file_unchanged {
        Ok(true) => (HealthVerdict::Ok, "as this process read it".to_owned()),
        Ok(false) => (
            HealthVerdict::Warn,
            "the file has changed since this process read it".to_owned(),
        ),
        Err(why) => (HealthVerdict::Warn, why.clone()),
    };
    let fix = "restart to apply it (`config check --against-db` shows what that would change), or put the file back";
    say("configuration", verdict, found, fix, Exit::Ok);
    judge_protection(facts, &mut say);
    out
}

type Say<'a> = dyn FnMut(&'static str, HealthVerdict, String, &str, Exit) + 'a;

fn judge_account(
    facts: &PreflightFacts,
    account: &AccountFacts,
    strict: HealthVerdict,
    say: &mut Say<'_>,
) {
    let exit = Exit::NoPermission;
    let (verdict, fix) = match &facts.pinned_uid {
        Some(pinned) if *pinned != account.uid => (
            HealthVerdict::Fail,
            "use the key of the account that venue.uid names",
        ),
        None if facts.live => (
            HealthVerdict::Fail,
            "pin the account: venue.uid in the configuration",
        ),
        _ => (HealthVerdict::Ok, ""),
    };
    let pinned = facts.pinned_uid.as_deref().unwrap_or("not pinned");
    say(
        "account",
        verdict,
        format!("{} (pinned: {pinned})", account.uid),
        fix,
        exit,
    );
    let may = |what: &str| account.permissions.iter().any(|p| p == what);
    let (verdict, fix) = match (may("trade"), may("withdraw")) {
        (false, _) => (HealthVerdict::Fail, "make a key with the Trade permission"),
        (true, true) => (strict, "make a key that may only read and trade"),
        (true, false) => (HealthVerdict::Ok, ""),
    };
    say(
        "key permissions",
        verdict,
        account.permissions.join(", "),
        fix,
        exit,
    );
    let verdict = if account.addresses.is_empty() {
        strict
    } else {
        HealthVerdict::Ok
    };
    let found = if account.addresses.is_empty() {
        "none".to_owned()
    } else {
        account.addresses.join(", ")
    };
    say(
        "key bound to",
        verdict,
        found,
        "bind the key to this machine's address: an unbound one works for any thief, and dies after 14 idle days",
        exit,
    );
    let verdict = if account.level == "2" {
        HealthVerdict::Ok
    } else {
        HealthVerdict::Fail
    };
    say(
        "account level",
        verdict,
        account.level.clone(),
        "set futures mode (acctLv 2)",
        exit,
    );
    let verdict = if account.position_mode == "net_mode" {
        HealthVerdict::Ok
    } else {
        HealthVerdict::Fail
    };
    say(
        "position mode",
        verdict,
        account.position_mode.clone(),
        "set net mode (Settings, Position mode)",
        exit,
    );
    let verdict = if account.auto_loan {
        HealthVerdict::Fail
    } else {
        HealthVerdict::Ok
    };
    let found = if account.auto_loan { "on" } else { "off" };
    say(
        "auto-borrow",
        verdict,
        found.into(),
        "switch it off: a spot order could borrow what the gate believes is not there",
        exit,
    );
    let found = match (facts.embedded, facts.live) {
        (true, _) => "this program's own exchange",
        (false, true) => "live key, live venue",
        (false, false) => "demo key, demo venue",
    };
    // A key of the other environment is refused by the venue (50101) before anything here is known.
    say(
        "environment",
        HealthVerdict::Ok,
        format!("{}: {found}", facts.mode),
        "",
        exit,
    );
}

fn judge_instruments(facts: &PreflightFacts, say: &mut Say<'_>) {
    let listed = match &facts.instruments {
        Ok(listed) => listed,
        Err(why) => {
            return say(
                "instruments",
                HealthVerdict::Fail,
                why.clone(),
                "see that the venue can be reached",
                Exit::Unavailable,
            );
        }
    };
    let mut worst = HealthVerdict::Ok;
    let mut found = Vec::new();
    for inst in &facts.wanted {
        match listed.iter().find(|i| i.id == *inst) {
            None => {
                worst = HealthVerdict::Fail;
                found.push(format!("{inst} is not listed"));
            }
            Some(now) => {
                if let InstState::Other(state) = &now.state {
                    worst = worst.max(HealthVerdict::Warn);
                    found.push(format!("{inst} is {state}"));
                }
                let before = facts.remembered.iter().find(|i| i.id == *inst);
                if let Some(before) = before.filter(|b| {
                    (b.tick, b.lot, b.min_size, b.contract_value)
                        != (now.tick, now.lot, now.min_size, now.contract_value)
                }) {
                    worst = worst.max(HealthVerdict::Warn);
                    found.push(format!(
                        "{inst} has new rules: tick {} -> {}, lot {} -> {}, least {} -> {}, contract {} -> {}",
                        before.tick,
                        now.tick,
                        before.lot,
                        now.lot,
                        before.min_size,
                        now.min_size,
                        before.contract_value,
                        now.contract_value
                    ));
                }
            }
        }
    }
    let found = if found.is_empty() {
        format!("{} live, rules unchanged", facts.wanted.len())
    } else {
        found.join("; ")
    };
    say(
        "instruments",
        worst,
        found,
        "take it out of the configuration, or wait; new rules are in force already",
        Exit::Config,
    );
}

fn judge_files(facts: &PreflightFacts, strict: HealthVerdict, say: &mut Say<'_>) {
    let mut worst = HealthVerdict::Ok;
    let mut found = Vec::new();
    for file in &facts.files {
        let others = file.mode & 0o077;
        let mut wrong = |verdict: HealthVerdict, what: &str| {
            worst = worst.max(verdict);
            found.push(format!("{} {what}", file.path));
        };
        if file.mode & 0o022 != 0 {
            wrong(HealthVerdict::Fail, "may be written by others");
        } else if file.secret && others != 0 {
            wrong(
                HealthVerdict::Fail,
                "holds secrets and may be read by others",
            );
        }
        if !file.ours {
            wrong(strict, "belongs to somebody else");
        }
        if file.symlink && file.secret {
            wrong(strict, "is a symbolic link");
        }
    }
    let found = if found.is_empty() {
        format!("{} files, for us alone", facts.files.len())
    } else {
        found.join("; ")
    };
    say(
        "files",
        worst,
        found,
        "chmod 600 what is secret, let nobody else write the rest, and own them",
        Exit::Config,
    );
}

fn judge_protection(facts: &PreflightFacts, say: &mut Say<'_>) {
    let Some(shields) = &facts.shields else {
        return say(
            "protection",
            HealthVerdict::Ok,
            "looked after once it runs".into(),
            "",
            Exit::Ok,
        );
    };
    let bare: Vec<String> = shields
        .iter()
        .filter(|(_, shield)| shield.covered < shield.needed)
        .map(|(inst, shield)| {
            format!(
                "{inst}: {} of {} have a stop",
                shield.covered, shield.needed
            )
        })
        .collect();
    let (verdict, fix) = match (bare.is_empty(), facts.trading_on) {
        (true, _) => (HealthVerdict::Ok, ""),
        (false, true) => (
            HealthVerdict::Warn,
            "the daemon places one, or closes the position; look again in a moment",
        ),
        (false, false) => (
            HealthVerdict::Fail,
            "trading is off, so nothing can protect it: close it on the venue's page, or switch trading on",
        ),
    };
    let found = if bare.is_empty() {
        "every position has a stop".to_owned()
    } else {
        bare.join("; ")
    };
    say("protection", verdict, found, fix, Exit::Fail);
}

#[cfg(test)]
mod tests;
