//! Tests of `preflight.rs`.

use super::*;
use crate::domain::Qty;
use crate::domain::instrument::tests::swap;

fn fine() -> PreflightFacts {
    let account = AccountFacts {
        uid: "1".into(),
        level: "2".into(),
        position_mode: "net_mode".into(),
        permissions: vec!["read_only".into(), "trade".into()],
        addresses: vec!["10.0.0.1".into()],
        auto_loan: false,
    };
    let secret = |secret| FileFacts {
        path: "f".into(),
        mode: 0o600,
        ours: true,
        symlink: false,
        secret,
    };
    PreflightFacts {
        live: true,
        embedded: false,
        mode: "live".into(),
        skew: Ok(Some(Ms(100))),
        account: Ok(account),
        pinned_uid: Some("1".into()),
        instruments: Ok(vec![swap()]),
        wanted: vec![swap().id],
        remembered: vec![swap()],
        fees: Ok([(swap().id, Decimal::new(-5, 4))].into()),
        disk_free: Ok(4 << 30),
        files: vec![secret(true), secret(false)],
        database: "ok".into(),
        other_holder: None,
        file_unchanged: Ok(true),
        default_limits: Vec::new(),
        trading_on: true,
        shields: Some(BTreeMap::new()),
    }
}

/// With this change, which check says what?
#[track_caller]
fn check(change: impl Fn(&mut PreflightFacts), name: &str, expected: HealthVerdict) {
    let mut facts = fine();
    change(&mut facts);
    let found = judge(&facts);
    let others: Vec<_> = found
        .iter()
        .filter(|c| c.check != name && c.verdict != HealthVerdict::Ok)
        .collect();
    assert!(others.is_empty(), "{others:?}");
    let one = found.iter().find(|c| c.check == name).unwrap();
    assert_eq!(one.verdict, expected, "{one:?}");
    assert_eq!(one.fix.is_empty(), expected == HealthVerdict::Ok, "{one:?}");
}

fn account(facts: &mut PreflightFacts) -> &mut AccountFacts {
    facts.account.as_mut().unwrap()
}

#[test]
fn each_preflight_problem_names_its_fix() {
    use HealthVerdict::{Fail, Ok as Good, Warn};
    check(|_| {}, "clock", Good);
    check(|f| f.skew = Ok(Some(Ms(-2001))), "clock", Fail);
    check(|f| f.skew = Ok(Some(Ms(2000))), "clock", Warn);
    check(|f| f.skew = Err("x".into()), "clock", Fail);
    check(|f| f.pinned_uid = None, "account", Fail);
    check(|f| f.pinned_uid = Some("2".into()), "account", Fail);
    check(
        |f| account(f).permissions.push("withdraw".into()),
        "key permissions",
        Fail,
    );
    check(
        |f| account(f).permissions.retain(|p| p != "trade"),
        "key permissions",
        Fail,
    );
    check(|f| account(f).addresses.clear(), "key bound to", Fail);
    check(|f| account(f).level = "3".into(), "account level", Fail);
    check(
        |f| account(f).position_mode = "long_short_mode".into(),
        "position mode",
        Fail,
    );
    check(|f| account(f).auto_loan = true, "auto-borrow", Fail);
    check(|f| f.instruments = Ok(Vec::new()), "instruments", Fail);
    check(
        |f| {
            f.instruments = Ok(vec![Instrument {
                state: InstState::Other("suspend".into()),
                ..swap()
            }])
        },
        "instruments",
        Warn,
    );
    check(
        |f| f.remembered[0].lot = Qty(Decimal::TEN),
        "instruments",
        Warn,
    );
    check(|f| f.fees = Ok(BTreeMap::new()), "fees", Warn);
    check(|f| f.disk_free = Ok(DISK_MIN - 1), "disk", Fail);
    check(|f| f.disk_free = Ok(DISK_WARN - 1), "disk", Warn);
    check(|f| f.files[0].mode = 0o640, "files", Fail);
    check(|f| f.files[1].mode = 0o644, "files", Good);
    check(|f| f.files[1].mode = 0o664, "files", Fail);
    check(|f| f.files[1].ours = false, "files", Fail);
    check(|f| f.files[0].symlink = true, "files", Fail);
    check(|f| f.database = "row 3".into(), "database", Fail);
    check(
        |f| f.other_holder = Some("pid 7".into()),
        "second instance",
        Fail,
    );
    check(|f| f.file_unchanged = Ok(false), "configuration", Warn);
    check(
        |f| f.file_unchanged = Err("gone".into()),
        "configuration",
        Warn,
    );
    check(
        |f| f.default_limits = vec!["daily_loss_pct_max"],
        "limits",
        Fail,
    );
    let bare = |f: &mut PreflightFacts| {
        f.shields.as_mut().unwrap().insert(
            swap().id,
            Shield {
                needed: Qty(Decimal::TEN),
                ..Shield::default()
            },
        );
    };
    check(bare, "protection", Warn);
    check(
        |f| {
            bare(f);
            f.trading_on = false;
        },
        "protection",
        Fail,
    );
}

/// Checks that only real money needs warn or pass in demo; loose file permissions still fail.
#[test]
fn live_only_checks_relax_in_demo() {
    let demo = |change: fn(&mut PreflightFacts)| {
        move |f: &mut PreflightFacts| {
            f.live = false;
            change(f);
        }
    };
    check(
        demo(|f| account(f).permissions.push("withdraw".into())),
        "key permissions",
        HealthVerdict::Warn,
    );
    check(
        demo(|f| account(f).addresses.clear()),
        "key bound to",
        HealthVerdict::Warn,
    );
    check(demo(|f| f.pinned_uid = None), "account", HealthVerdict::Ok);
    check(
        demo(|f| f.default_limits = vec!["daily_loss_pct_max"]),
        "limits",
        HealthVerdict::Ok,
    );
    check(
        demo(|f| f.files[0].mode = 0o644),
        "files",
        HealthVerdict::Fail,
    );
}
