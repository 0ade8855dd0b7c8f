//! The risk gate and the kill switch with the real binary: halts under load, latches over kill -9,
//! money that comes and goes, and what keeps a position protected. Rows 76 and 86 of the catalogue.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::scene::Scene;
use crate::harness::{Daemon, command, count, pair, signed, wait_for};

fn verb(scene: &Scene, args: &[&str]) -> Output {
    let all: Vec<&str> = [&["--config", scene.config.as_str()], args].concat();
    command(scene.dir.path(), &all)
        .envs(scene.env.clone())
        .output()
        .unwrap()
}

fn body(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Positions of the exchange's own ledger that are not flat.
fn open_positions(scene: &Scene) -> Vec<String> {
    let ledger = scene.exchange.ledger();
    let open = |p: &&Value| {
        p["pos"]
            .as_str()
            .is_some_and(|pos| pos.parse::<f64>().unwrap() != 0.0)
    };
    let rows = ledger["positions"].as_array().unwrap().iter().filter(open);
    rows.map(|p| {
        format!(
            "{} {}",
            p["instId"].as_str().unwrap(),
            p["pos"].as_str().unwrap()
        )
    })
    .collect()
}

/// Creates of entries that reached the exchange after this instant, by the daemon's own word on
/// what each is for.
fn entries_since(scene: &Scene, since: i64) -> Vec<String> {
    let db = crate::harness::open_db(scene.dir.path());
    let purpose = |id: &str| -> String {
        db.query_row(
            "SELECT purpose FROM orders WHERE cl_ord_id = ?1",
            [id],
            |row| row.get(0),
        )
        .unwrap_or_default()
    };
    let ledger = scene.exchange.ledger();
    let creates = ledger["creates"].as_array().unwrap().iter();
    let late = creates.filter(|c| c["recv_ms"].as_i64().unwrap() > since);
    late.map(|c| c["clOrdId"].as_str().unwrap().to_owned())
        .filter(|id| purpose(id) == "entry")
        .collect()
}

fn trading_state(scene: &Scene) -> (String, String) {
    let status = body(&verb(scene, &["status", "--json"]));
    let text = |name: &str| status[name].as_str().unwrap_or("").to_owned();
    (text("trading_state"), text("trading_state_why"))
}

/// During a storm of orders no entry is sent later than a second after the halt.
#[test]
fn row_86_no_entry_after_a_halt() {
    let scene = Scene::new(&[]);
    let daemon = scene.start();
    scene.wait_for_fill();
    let before = count(
        scene.dir.path(),
        "SELECT COUNT(*) FROM orders WHERE purpose = 'entry'",
    );
    assert!(before > 0);
    let asked = scene.venue_now();
    let halted = verb(&scene, &["halt", "--reason", "a storm", "--json"]);
    assert_eq!(
        halted.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&halted.stdout)
    );
    assert_eq!(body(&halted)["done"], true);
    // Decisions go on and are blocked; 20 venue seconds are one of the wall.
    scene.let_pass(60_000);
    assert_eq!(entries_since(&scene, asked + 20_000), Vec::<String>::new());
    wait_for("blocked entries", || {
        count(
            scene.dir.path(),
            "SELECT COUNT(*) FROM risk_events WHERE code = 'trading_halted'",
        ) > 0
    });
    assert_eq!(trading_state(&scene).0, "halted");
    daemon.kill();
    scene.is_whole();
}

/// A refused close is tried again until all is flat; the halt outlives a restart and ends only by a
/// named resume.
#[test]
fn flatten_is_verified_and_stays_halted() {
    let scene = Scene::new(&[]);
    let daemon = scene.start();
    wait_for("positions in two swaps and coins", || {
        let held = "SELECT COUNT(DISTINCT inst_id) FROM fills";
        open_positions(&scene).len() >= 2 && count(scene.dir.path(), held) >= 3
    });
    // The first close is refused, whatever else is on its way then.
    scene.faults(r#"{"match":{"path":"POST trade/order","nth":1},"action":"fail_before","status":200,"code":"51008"}"#);
    let halted = verb(&scene, &["halt", "--flatten", "--json"]);
    let report = body(&halted);
    assert_eq!(halted.status.code(), Some(0), "{report:#}");
    assert_eq!(open_positions(&scene), Vec::<String>::new(), "{report:#}");
    let working = "SELECT COUNT(*) FROM orders WHERE state IN ('sent', 'acked', 'partially_filled', 'unknown')";
    assert_eq!(count(scene.dir.path(), working), 0, "nothing works");
    scene.faults("");
    // Not by a restart: only a person who names it ends it, and not beside a daemon.
    assert_eq!(
        verb(&scene, &["resume", "system/kill"]).status.code(),
        Some(75)
    );
    daemon.kill();
    let mut daemon = scene.start();
    daemon.wait_log("ready: reconciled");
    assert_eq!(trading_state(&scene).0, "halted");
    daemon.kill();
    assert_eq!(
        verb(&scene, &["resume", "system/nothing"]).status.code(),
        Some(64)
    );
    assert_eq!(
        verb(&scene, &["resume", "system/kill", "--reason", "looked"])
            .status
            .code(),
        Some(0)
    );
    let daemon = scene.start();
    scene.wait_for_fill();
    assert_eq!(trading_state(&scene).0, "active");
    daemon.kill();
    let states = "SELECT COUNT(*) FROM trading_state_events WHERE scope = 'system' AND who IN ('halt', 'resume')";
    assert_eq!(count(scene.dir.path(), states), 2, "who and what");
    scene.is_whole();
}

/// The file halts a running daemon, and the next one before it begins.
#[test]
fn halt_file_stops_every_daemon() {
    let scene = Scene::new(&[]);
    let daemon = scene.start();
    scene.wait_for_fill();
    std::fs::write(scene.dir.path().join("HALT"), "by hand").unwrap();
    wait_for("the halt", || trading_state(&scene).0 == "halted");
    assert!(trading_state(&scene).1.contains("by hand"));
    daemon.kill();
    assert_eq!(verb(&scene, &["resume", "--all"]).status.code(), Some(0));
    assert!(!scene.dir.path().join("HALT").exists());
    // Without a daemon the verb leaves the file.
    assert_eq!(
        verb(&scene, &["halt", "--reason", "nobody there"])
            .status
            .code(),
        Some(1)
    );
    let before = count(
        scene.dir.path(),
        "SELECT COUNT(*) FROM orders WHERE purpose = 'entry' AND state <> 'blocked'",
    );
    let mut daemon = scene.start();
    daemon.wait_log("ready: reconciled");
    assert_eq!(trading_state(&scene).0, "halted");
    wait_for("blocked entries", || {
        count(
            scene.dir.path(),
            "SELECT COUNT(*) FROM risk_events WHERE code = 'trading_halted'",
        ) > 0
    });
    let after = count(
        scene.dir.path(),
        "SELECT COUNT(*) FROM orders WHERE purpose = 'entry' AND state <> 'blocked'",
    );
    assert_eq!(after, before, "not one entry left");
    daemon.kill();
}

#[test]
fn a_signal_halts() {
    let scene = Scene::new(&[]);
    let daemon = scene.start();
    scene.wait_for_fill();
    let pid = daemon.pid().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-USR1", &pid])
            .status()
            .unwrap()
            .success()
    );
    wait_for("the halt", || {
        trading_state(&scene) == ("halted".into(), "system/kill: SIGUSR1".into())
    });
    daemon.kill();
}

/// The next process is still reduce-only and sends no entry.
#[test]
fn daily_loss_survives_kill_9() {
    // Fees alone lose a hundredth of a percent within moments.
    let scene = Scene::new(&[]).with("ALPHA_ARENA__RISK__DAILY_LOSS_PCT_MAX", "0.02");
    let daemon = scene.start();
    wait_for("the latch", || {
        count(
            scene.dir.path(),
            "SELECT COUNT(*) FROM restrictions WHERE cause = 'daily_loss'",
        ) == 1
    });
    let event = "SELECT COUNT(*) FROM risk_events WHERE code = 'daily_loss' AND scope = 'system'";
    wait_for("the event", || count(scene.dir.path(), event) == 1);
    daemon.kill();
    let mut daemon = scene.start();
    daemon.wait_log("ready: reconciled");
    let (state, why) = trading_state(&scene);
    assert_eq!(state, "reduce_only", "{why}");
    let since = scene.venue_now();
    wait_for("blocked entries", || {
        count(
            scene.dir.path(),
            "SELECT COUNT(*) FROM risk_events WHERE code = 'reduce_only'",
        ) > 0
    });
    assert_eq!(entries_since(&scene, since), Vec::<String>::new());
    daemon.kill();
    scene.is_whole();
}

/// A deposit hides no loss, and a withdrawal is not one.
#[test]
fn transfers_do_not_distort_daily_loss() {
    let holder = |loss: &str| {
        let scene = Scene::new(&[]).with("ALPHA_ARENA__RISK__DAILY_LOSS_PCT_MAX", loss);
        scene.with("ALPHA_ARENA__SYNC__ACCOUNT_MS", "5000")
    };
    // Half of all there is goes away: no loss.
    let scene = holder("3");
    let daemon = scene.start();
    scene.wait_for_fill();
    let reads = || count(scene.dir.path(), "SELECT COUNT(*) FROM equity_snapshots");
    let seen = reads();
    wait_for("a read", || reads() > seen);
    scene
        .exchange
        .http("POST", "/sim/deposit", r#"{"ccy":"USDT","amt":"-50000"}"#);
    wait_for("the withdrawal is seen", || {
        count(
            scene.dir.path(),
            "SELECT CAST(CAST(equity AS REAL) AS INTEGER) FROM equity_snapshots ORDER BY as_of_ms DESC LIMIT 1",
        ) < 60_000
    });
    let seen = reads();
    wait_for("another read", || reads() > seen);
    assert_eq!(
        count(scene.dir.path(), "SELECT COUNT(*) FROM restrictions"),
        0
    );
    daemon.kill();
    // A loss stays one although twice as much comes in.
    let scene = holder("0.02");
    scene.exchange.http("POST", "/sim/clock", r#"{"rate":20}"#);
    let daemon = scene.start();
    scene.wait_for_fill();
    scene
        .exchange
        .http("POST", "/sim/deposit", r#"{"ccy":"USDT","amt":"200000"}"#);
    wait_for("the latch", || {
        count(
            scene.dir.path(),
            "SELECT COUNT(*) FROM restrictions WHERE cause = 'daily_loss'",
        ) == 1
    });
    daemon.kill();
}

/// Stops that the exchange shows alive, as (our name, size, side).
fn live_stops(scene: &Scene, inst: &str) -> Vec<(String, f64, String)> {
    let ledger = scene.exchange.ledger();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("").to_owned();
    let algos = ledger["algo_orders"].as_array().unwrap().iter();
    let live = algos.filter(|a| text(a, "instId") == inst && text(a, "state") == "live");
    live.map(|a| {
        (
            text(a, "algoClOrdId"),
            text(a, "sz").parse().unwrap(),
            text(a, "side"),
        )
    })
    .collect()
}

fn position(scene: &Scene, inst: &str) -> f64 {
    let ledger = scene.exchange.ledger();
    let of = ledger["positions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["instId"] == inst)
        .cloned();
    of.and_then(|p| p["pos"].as_str().and_then(|pos| pos.parse().ok()))
        .unwrap_or(0.0)
}

const SWAP: &str = "BTC-USDT-SWAP";

/// One contender that holds a swap for ever: nothing but its stop takes it out.
fn holder() -> Scene {
    let scene = Scene::new(&[]);
    let text = format!(
        "{}[venue]\norder_expiry_ms = 60000\n[[instrument]]\nid = \"{SWAP}\"\n[[contender]]\nid = \"holder\"\nkind = \"rule\"\n\
         strategy = \"buy_and_hold\"\nstage = \"live\"\nweight = \"0.1\"\ninstruments = [\"{SWAP}\"]\n\
         execution = {{ policy = \"market\" }}\n",
        crate::harness::WIDE
    );
    std::fs::write(&scene.config, text).unwrap();
    scene
}

fn is_covered(scene: &Scene) -> bool {
    let net = position(scene, SWAP);
    let out = if net > 0.0 { "sell" } else { "buy" };
    let stops = live_stops(scene, SWAP);
    let covered: f64 = stops
        .iter()
        .filter(|(_, _, side)| side == out)
        .map(|(_, size, _)| size)
        .sum();
    net != 0.0 && (covered - net.abs()).abs() < 1e-9
}

fn wait_for_cover(scene: &Scene, daemon: &mut Daemon, what: &str) {
    wait_for(what, || {
        assert!(daemon.ended().is_none(), "{}", daemon.log());
        is_covered(scene)
    });
}

/// A cancelled stop is placed again; one with another size is put right.
#[test]
fn stop_changed_by_hand_is_restored() {
    let scene = holder();
    let mut daemon = scene.start();
    wait_for_cover(
        &scene,
        &mut daemon,
        "a position with a stop, though its strategy names none",
    );
    let (id, size, _) = live_stops(&scene, SWAP)[0].clone();
    let gone = json!([{"instId": SWAP, "algoClOrdId": id}]).to_string();
    let said = signed(&scene.exchange, "POST", "/api/v5/trade/cancel-algos", &gone).1;
    assert_eq!(said["code"], "0", "{said}");
    wait_for("another stop", || {
        live_stops(&scene, SWAP)
            .iter()
            .any(|(other, ..)| *other != id)
    });
    wait_for_cover(&scene, &mut daemon, "cover");
    // By hand made smaller.
    let (id, ..) = live_stops(&scene, SWAP)[0].clone();
    let half = format!("{}", (size / 2.0 * 100.0).floor() / 100.0);
    let smaller = json!({"instId": SWAP, "algoClOrdId": id, "newSz": half}).to_string();
    let said = signed(
        &scene.exchange,
        "POST",
        "/api/v5/trade/amend-algos",
        &smaller,
    )
    .1;
    assert_eq!(said["code"], "0", "{said}");
    wait_for_cover(&scene, &mut daemon, "the size put right");
    // What was without cover for a while is told.
    let status = body(&verb(&scene, &["status", "--json"]));
    assert!(
        status["protection"][SWAP]["total_ms"].as_i64().unwrap() > 0,
        "{status:#}"
    );
    daemon.kill();
    scene.is_whole();
}

/// The venue refuses the position's stop: the position is closed in time.
#[test]
fn refused_stop_closes_the_position() {
    let scene = holder().with("ALPHA_ARENA__RISK__PROTECTION__UNPROTECTED_MS_MAX", "2000");
    let mut daemon = scene.start();
    wait_for_cover(&scene, &mut daemon, "a position with a stop");
    scene.faults(r#"{"match":{"path":"POST trade/order-algo"},"action":"fail_before","status":200,"code":"51280"}"#);
    let began = Instant::now();
    for (id, ..) in live_stops(&scene, SWAP) {
        let gone = json!([{"instId": SWAP, "algoClOrdId": id}]).to_string();
        signed(&scene.exchange, "POST", "/api/v5/trade/cancel-algos", &gone);
    }
    wait_for("the position is closed", || {
        count(
            scene.dir.path(),
            "SELECT COUNT(*) FROM orders WHERE purpose = 'repair' AND state = 'filled'",
        ) > 0
    });
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    scene.faults("");
    daemon.kill();
    scene.is_whole();
}

/// A secret's file that others may read ends the start with 78.
#[test]
fn row_76_readable_secret_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new(&[]);
    let secret = scene.dir.path().join("secret");
    let text = scene
        .env
        .iter()
        .find(|(name, _)| name == "OKX_SECRET")
        .unwrap()
        .1
        .clone();
    std::fs::write(&secret, text).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let named = [pair("OKX_SECRET_FILE", secret.to_str().unwrap())];
    let mut daemon = scene.start_with(&named);
    assert_eq!(daemon.wait_exit().code(), Some(78), "{}", daemon.log());
    assert!(
        daemon.log().contains("may be read by others"),
        "{}",
        daemon.log()
    );
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let daemon = scene.start_with(&named);
    scene.wait_for_fill();
    daemon.kill();
}

/// One contender that turns its position over at nearly every bar, under the default limits.
fn flipper(limits: &str) -> Scene {
    let scene = Scene::new(&[]);
    let text = format!(
        "[decision]\nevery_bars = 1\n[risk]\nquote_age_ms_max = 60000\ndecision_age_ms_max = 60000\n{limits}[venue]\n\
         order_expiry_ms = 60000\n[[instrument]]\nid = \"{SWAP}\"\n[[contender]]\nid = \"flipper\"\nkind = \"rule\"\n\
         strategy = \"sma_cross\"\nstage = \"live\"\nweight = \"0.05\"\ninstruments = [\"{SWAP}\"]\n\
         params = {{ fast = 2, slow = 3 }}\nexecution = {{ policy = \"market\" }}\n"
    );
    std::fs::write(&scene.config, text).unwrap();
    scene
}

/// It flips at each bar: stopped by the turnover limit, and by the limit on repeats.
#[test]
fn row_83_flipping_strategy_is_stopped() {
    // In size: each flip is twice the position; a fifth of equity is turned over quickly.
    let scene =
        flipper("turnover_pct_max = \"60\"\nrepeats_per_hour_max = 100000\nduplicate_ms_min = 0\n");
    let daemon = scene.start();
    let hit = "SELECT COUNT(*) FROM risk_events WHERE code = 'turnover'";
    wait_for("the turnover limit", || count(scene.dir.path(), hit) > 3);
    let fills = scene.exchange.ledger()["fills"].as_array().unwrap().clone();
    let number = |v: &Value| v.as_str().unwrap().parse::<f64>().unwrap();
    let turned: f64 = fills
        .iter()
        .map(|f| number(&f["fillSz"]) * 0.01 * number(&f["fillPx"]))
        .sum();
    // 60 % of 100,000 USD, and an exit that limits on size do not hold up.
    assert!(turned > 30_000.0 && turned < 66_000.0, "{turned}");
    daemon.kill();
    scene.is_whole();
    // In number: after six entries on a side within the hour it is switched off until a person
    // resumes it.
    let scene =
        flipper("turnover_pct_max = \"1000000\"\nrepeats_per_hour_max = 6\nduplicate_ms_min = 0\n");
    let daemon = scene.start();
    let latched =
        "SELECT COUNT(*) FROM restrictions WHERE scope = 'contender:flipper' AND cause = 'repeats'";
    wait_for("it switches itself off", || {
        count(scene.dir.path(), latched) == 1
    });
    let sent = "SELECT COUNT(*) FROM orders WHERE purpose = 'entry' AND side = 'buy' AND state NOT IN ('blocked')";
    let before = count(scene.dir.path(), sent);
    assert!(before <= 6, "{before} entries on one side");
    let blocked = "SELECT COUNT(*) FROM risk_events WHERE code = 'reduce_only'";
    wait_for("its entries are blocked", || {
        count(scene.dir.path(), blocked) > 3
    });
    assert_eq!(count(scene.dir.path(), sent), before);
    daemon.kill();
    assert_eq!(
        verb(&scene, &["resume", "contender:flipper/repeats"])
            .status
            .code(),
        Some(0)
    );
    let daemon = scene.start();
    wait_for("it trades again", || count(scene.dir.path(), sent) > before);
    daemon.kill();
}

/// The venue refuses cancel-all-after: halted, and what rests is taken back.
#[test]
fn row_95_refused_deadman_halts() {
    // Slow enough for a switch at all; a short deadline.
    let scene = Scene::new(&["--speed", "4"]).with("ALPHA_ARENA__TRUTH__DEADMAN_MS", "20000");
    let scene = scene.with("ALPHA_ARENA__TRUTH__DEADMAN_RENEW_MS", "5000");
    let mut daemon = scene.start();
    daemon.wait_log("the venue cancels what rests if we fall silent");
    scene.wait_for_fill();
    scene.faults(
        r#"{"match":{"path":"POST trade/cancel-all-after"},"action":"fail_before","status":200,"code":"51010"}"#,
    );
    wait_for("the halt", || trading_state(&scene).0 == "halted");
    assert!(
        trading_state(&scene).1.contains("deadman"),
        "{}",
        trading_state(&scene).1
    );
    let resting = |row: &&Value| matches!(row["state"].as_str(), Some("live" | "partially_filled"));
    wait_for("nothing rests", || {
        scene.exchange.ledger()["orders"]
            .as_array()
            .unwrap()
            .iter()
            .filter(resting)
            .count()
            == 0
    });
    scene.faults("");
    daemon.kill();
    assert_eq!(verb(&scene, &["resume", "--all"]).status.code(), Some(0));
    scene.is_whole();
}

/// At the end of its life the oracle looks at every create; with the gate's rule broken it finds
/// this one.
#[test]
fn under_tight_limits_nothing_larger_leaves() {
    let scene = flipper(
        "order_notional_max = \"1000\"\nposition_notional_max = \"2500\"\nduplicate_ms_min = 0\n",
    );
    let daemon = scene.start();
    // An order above the limit is cut to it; where nothing is left of it, it is refused, and again
    // a moment later.
    wait_for("orders cut to the limit", || {
        let creates = scene.exchange.ledger()["creates"].as_array().unwrap().len();
        creates > 3
            && count(
                scene.dir.path(),
                "SELECT COALESCE(SUM(again), 0) FROM refusals",
            ) > 3
    });
    let refused = "SELECT COUNT(*) FROM risk_events WHERE code = 'position_notional_max'";
    assert!(count(scene.dir.path(), refused) > 0, "{}", daemon.log());
    daemon.kill();
}

/// Each create that must not be is found, and no good one is accused.
#[test]
fn oracle_finds_every_violation() {
    use crate::harness::oracle::{Facts, judge};
    let db = rusqlite::Connection::open_in_memory().unwrap();
    db.execute_batch(
        r#"CREATE TABLE orders (cl_ord_id, purpose, contender_id);
        CREATE TABLE instruments (rules); CREATE TABLE config_versions (body, at_ms);
        CREATE TABLE trading_state_events (id INTEGER PRIMARY KEY, at_ms, scope, to_state);
        INSERT INTO instruments VALUES ('{"id":"A-USDT-SWAP","kind":"SWAP","tick":"0.5","lot":"1","min_size":"2","contract_value":"1"}');
        INSERT INTO config_versions VALUES ('{"risk":{"order_notional_max":"1000","position_notional_max":"1500",
            "gross_exposure_pct_max":"20","open_orders_max":2,"orders_per_minute_max":2,"orders_per_day_max":3},
            "exchange":{"deposit_usdt":"10000"}}', 0);
        INSERT INTO trading_state_events (at_ms, scope, to_state) VALUES (500000, 'contender:b', 'reduce_only'),
            (500000, 'system', 'halted'), (600000, 'system', 'active');"#,
    )
    .unwrap();
    let name = |n: usize| format!("as{n:026}");
    // Each create: when, purpose, contender, body; and the words that the oracle must find, none
    // for a good one.
    let good = json!({"instId": "A-USDT-SWAP", "tdMode": "cross", "side": "buy", "sz": "5", "px": "100", "tag": "alphaarena",
        "attachAlgoOrds": [{"slTriggerPx": "95"}]});
    let with = |changes: Value| {
        let mut body = good.clone();
        changes
            .as_object()
            .unwrap()
            .iter()
            .for_each(|(name, value)| body[name] = value.clone());
        body
    };
    let cases = [
        (0, "entry", "a", good.clone(), ""),
        (
            0,
            "entry",
            "a",
            with(json!({"sz": "5.5"})),
            "no multiple of 1",
        ),
        (0, "entry", "a", with(json!({"sz": "1"})), "from 2"),
        (
            0,
            "entry",
            "a",
            with(json!({"px": "100.2"})),
            "no multiple of 0.5",
        ),
        (0, "entry", "a", with(json!({"tdMode": "cash"})), "tdMode"),
        (
            0,
            "entry",
            "a",
            with(json!({"instId": "B-USDT-SWAP"})),
            "not followed",
        ),
        (
            0,
            "entry",
            "a",
            with(json!({"sz": "11"})),
            "worth 1100.00 USD",
        ),
        (
            0,
            "exit",
            "a",
            with(json!({"sz": "11", "attachAlgoOrds": []})),
            "worth 1100.00 USD",
        ),
        (
            0,
            "entry",
            "a",
            with(json!({"attachAlgoOrds": []})),
            "without a stop",
        ),
        (
            0,
            "entry",
            "a",
            with(json!({"attachAlgoOrds": [{"slTriggerPx": "100"}]})),
            "winning side",
        ),
        (0, "exit", "a", good.clone(), "carries a stop"),
        (
            501_500,
            "entry",
            "a",
            good.clone(),
            "system has been restricted",
        ),
        (
            501_500,
            "exit",
            "a",
            with(json!({"attachAlgoOrds": []})),
            "system has been restricted",
        ),
        (
            501_500,
            "flatten",
            "a",
            with(json!({"sz": "11", "attachAlgoOrds": []})),
            "",
        ),
        (500_900, "entry", "a", good.clone(), ""),
        (602_000, "entry", "a", good.clone(), ""),
        (
            602_000,
            "entry",
            "b",
            good.clone(),
            "contender:b has been restricted",
        ),
        (
            602_000,
            "exit",
            "b",
            with(json!({"attachAlgoOrds": []})),
            "",
        ),
    ];
    for (at, purpose, contender, body, expected) in cases {
        db.execute("DELETE FROM orders", []).unwrap();
        db.execute(
            "INSERT INTO orders VALUES (?1, ?2, ?3)",
            (name(1), purpose, contender),
        )
        .unwrap();
        let facts = Facts::of(&db, 1.0).unwrap();
        let ledger = json!({"creates": [{"clOrdId": name(1), "recv_ms": at, "body": body}]});
        let (wrong, judged) = judge(&ledger, &facts);
        assert_eq!(judged, 1);
        let said = wrong.join("; ");
        assert!(
            if expected.is_empty() {
                wrong.is_empty()
            } else {
                said.contains(expected)
            },
            "{expected}: {said}"
        );
    }
    // What only shows together: a name nobody wrote down, positions, gross exposure, numbers of
    // orders.
    let facts = Facts::of(&db, 1.0).unwrap();
    let create = |n: usize, at: i64| json!({"clOrdId": name(n), "recv_ms": at, "body": good});
    let (wrong, _) = judge(&json!({"creates": [create(7, 0)]}), &facts);
    assert!(wrong[0].contains("no order of the database"), "{wrong:?}");
    for n in 2..9 {
        db.execute("INSERT INTO orders VALUES (?1, 'entry', 'a')", [name(n)])
            .unwrap();
    }
    let facts = Facts::of(&db, 1.0).unwrap();
    let fill = |size: &str| json!({"instId": "A-USDT-SWAP", "side": "buy", "fillSz": size, "fillPx": "100", "ts": "1", "clOrdId": "x"});
    let order = |n: usize, size: &str| {
        json!({"instId": "A-USDT-SWAP", "side": "buy", "sz": size, "state": "live",
        "cTime": "1", "uTime": "1", "clOrdId": name(n)})
    };
    let both =
        json!({"creates": [create(2, 10)], "fills": [fill("5")], "orders": [order(90, "6")]});
    assert!(judge(&both, &facts).0[0].contains("position of 1600.00 USD if all fills"));
    let one = json!({"creates": [create(2, 10)], "fills": [fill("10")]});
    assert_eq!(judge(&one, &facts).0, Vec::<String>::new());
    let gross = json!({"creates": [create(2, 10)], "fills": [fill("30")]});
    assert!(
        judge(&gross, &facts)
            .0
            .iter()
            .any(|what| what.contains("gross exposure of 3500.00 USD"))
    );
    let open = json!({"creates": [create(2, 10)], "orders": [order(90, "0"), order(91, "0")]});
    assert!(judge(&open, &facts).0[0].contains("3 orders at once"));
    let fast = json!({"creates": [create(2, 10), create(3, 20), create(4, 30)]});
    assert!(judge(&fast, &facts).0[0].contains("3 orders within 50 s"));
    let many: Vec<Value> = (2..6).map(|n| create(n, 100_000 * n as i64)).collect();
    assert!(judge(&json!({"creates": many}), &facts).0[0].contains("4 orders of the day"));
}
