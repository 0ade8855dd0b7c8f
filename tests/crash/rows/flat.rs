//! Flat is what the venue says, not what a sum of our own says: what was there before the first
//! start, and what a person took over, is named, closed when that was asked for, and guarded by a
//! stop all the while.

use std::process::Output;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::scene::Scene;
use crate::harness::{count, signed, wait_for};

const INST: &str = "BTC-USDT-SWAP";
const ETH: &str = "ETH-USDT-SWAP";
const SOL: &str = "SOL-USDT-SWAP";

/// A daemon's account that holds something by hand in `inst` before the first start.
fn scene(inst: &str) -> Scene {
    let scene = Scene::new(&[]);
    let body =
        json!({"instId": inst, "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "3"});
    let (_, reply) = signed(
        &scene.exchange,
        "POST",
        "/api/v5/trade/order",
        &body.to_string(),
    );
    assert_eq!(reply["code"], "0", "{reply}");
    let text = format!(
        "[truth]\nask_at_ms = [\"60\"]\nask_every_ms = 100\n[[instrument]]\nid = \"{INST}\"\n[[instrument]]\nid = \"{ETH}\"\n\
         [[contender]]\nid = \"cross\"\nkind = \"rule\"\nstrategy = \"sma_cross\"\nstage = \"live\"\nweight = \"0.1\"\n\
         instruments = [\"{ETH}\"]\nparams = {{ fast = 20, slow = 60 }}\nexecution = {{ policy = \"market\" }}\n"
    );
    std::fs::write(&scene.config, text).unwrap();
    scene
}

fn held(scene: &Scene, inst: &str) -> Decimal {
    let ledger = scene.exchange.ledger();
    let of = ledger["positions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["instId"] == inst)
        .cloned();
    of.and_then(|p| p["pos"].as_str().and_then(|pos| pos.parse().ok()))
        .unwrap_or_default()
}

/// Contracts that working stops of the venue sell, should the price fall.
fn covered(scene: &Scene) -> Decimal {
    let ledger = scene.exchange.ledger();
    let of =
        |algo: &&Value| algo["instId"] == INST && algo["state"] == "live" && algo["side"] == "sell";
    let all = ledger["algo_orders"].as_array().unwrap();
    all.iter()
        .filter(of)
        .filter_map(|algo| algo["sz"].as_str()?.parse::<Decimal>().ok())
        .sum()
}

fn verb(scene: &Scene, args: &[&str]) -> Output {
    let all: Vec<&str> = [&["--config", scene.config.as_str()], args].concat();
    crate::harness::command(scene.dir.path(), &all)
        .envs(scene.env.clone())
        .output()
        .unwrap()
}

/// A position from before gets a stop and is named; only `halt --flatten --everything` closes it.
#[test]
fn foreign_position_is_guarded_until_flattened() {
    let scene = scene(INST);
    let _daemon = scene.start();
    wait_for("a stop for what was there", || {
        covered(&scene) >= Decimal::from(3)
    });

    let only_ours = verb(&scene, &["halt", "--flatten", "--ours-only"]);
    let said = String::from_utf8_lossy(&only_ours.stdout).into_owned();
    assert_eq!(
        only_ours.status.code(),
        Some(0),
        "what is ours is flat: {said}"
    );
    assert_eq!(
        held(&scene, ETH),
        Decimal::ZERO,
        "what is ours is flat: {said}"
    );
    assert!(said.contains(INST), "and what is not is named: {said}");
    assert_eq!(held(&scene, INST), Decimal::from(3));

    let asked = verb(&scene, &["halt", "--flatten"]);
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert_eq!(
        asked.status.code(),
        Some(1),
        "the venue is not flat: {said}"
    );
    assert!(
        said.contains(INST) && said.contains('3'),
        "what is left is named: {said}"
    );
    assert_eq!(
        held(&scene, INST),
        Decimal::from(3),
        "nobody asked for it to be closed"
    );
    assert!(covered(&scene) >= Decimal::from(3), "and it is not bare");

    let everything = verb(&scene, &["halt", "--flatten", "--everything"]);
    let said = String::from_utf8_lossy(&everything.stdout).into_owned();
    assert_eq!(everything.status.code(), Some(0), "{said}");
    assert_eq!(held(&scene, INST), Decimal::ZERO, "{said}");
    wait_for("no stop is left behind", || {
        covered(&scene) == Decimal::ZERO
    });
}

/// A position in an instrument that is not traded here: `halt --flatten` exits with 1 and names it.
#[test]
fn untraded_position_is_never_called_flat() {
    let scene = scene(SOL);
    let _daemon = scene.start();
    wait_for("a read of the account", || {
        count(
            scene.dir.path(),
            "SELECT COUNT(*) FROM trading_state_events WHERE to_state = 'active'",
        ) > 0
    });
    for flags in [
        &["halt", "--flatten"][..],
        &["halt", "--flatten", "--everything"],
    ] {
        let asked = verb(&scene, flags);
        let said = String::from_utf8_lossy(&asked.stdout).into_owned();
        assert_eq!(asked.status.code(), Some(1), "{flags:?}: {said}");
        assert!(said.contains(SOL), "{flags:?}: {said}");
    }
    assert_eq!(held(&scene, SOL), Decimal::from(3));
    let ours = verb(&scene, &["halt", "--flatten", "--ours-only"]);
    assert_eq!(
        ours.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&ours.stdout)
    );
}

/// With risk.protection.foreign set to ignore, a person's position is left without a stop.
#[test]
fn ignored_foreign_position_gets_no_stop() {
    let scene = scene(INST);
    let text = std::fs::read_to_string(&scene.config).unwrap();
    std::fs::write(
        &scene.config,
        format!("[risk.protection]\nforeign = \"ignore\"\n{text}"),
    )
    .unwrap();
    let daemon = scene.start();
    wait_for("trading", || {
        count(
            scene.dir.path(),
            "SELECT COUNT(*) FROM trading_state_events WHERE to_state = 'active'",
        ) > 0
    });
    wait_for("a decision", || {
        count(scene.dir.path(), "SELECT COUNT(*) FROM decisions") > 2
    });
    assert_eq!(covered(&scene), Decimal::ZERO, "{}", daemon.log());
}
