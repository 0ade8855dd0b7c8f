//! Rows 21 to 36, 54 and 65: the network and the venue's front door.

use std::time::Duration;

use super::proxy::{Deed, Proxy};
use super::scene::Scene;
use crate::harness::{count, wait_for};

const CREATE: &str = "POST trade/order";

/// One rule on the next create.
fn on_create(rest: &str) -> String {
    format!(r#"{{"match":{{"path":"{CREATE}","nth":1}},{rest}}}"#)
}

/// The venue refuses connections and comes back: the daemon stays up and trades on.
#[test]
fn row_21_daemon_survives_a_venue_outage() {
    let ledger = tempfile::tempdir().unwrap();
    let file = ledger.path().join("exchange.log").display().to_string();
    let mut scene = Scene::new(&["--state", &file]);
    let address = scene
        .exchange
        .text("rest")
        .trim_start_matches("http://")
        .to_owned();
    let mut daemon = scene.start();
    scene.wait_for_fill();
    scene.exchange.end();
    daemon.wait_log("a stream is down");
    let refused = || daemon.log().matches("a stream is down").count();
    wait_for("it is refused again and again", || refused() >= 4);
    assert!(daemon.ended().is_none(), "{}", daemon.log());
    scene.exchange =
        crate::harness::Exchange::start(&["--speed", "20", "--state", &file, "--listen", &address]);
    scene.wait_for_fill();
    daemon.kill();
    scene.is_whole();
}

#[test]
fn row_22_half_open_socket_is_replaced() {
    let scene = Scene::new(&[]);
    let mut daemon = scene.start();
    scene.wait_for_fill();
    scene.faults(r#"{"match":{"path":"push orders","nth":1},"action":"half_open"}"#);
    wait_for("the fault", || scene.struck());
    daemon.wait_log("a stream is down");
    scene.faults("");
    scene.wait_for_fill();
    daemon.kill();
    scene.is_whole();
}

/// Tickers and candles stop while pongs go on: the stream counts as down, and trading resumes.
#[test]
fn row_23_silent_feed_is_replaced() {
    let scene = Scene::new(&[]);
    let mut daemon = scene.start();
    scene.wait_for_fill();
    scene.faults(
        r#"{"match":{"path":"push tickers"},"action":"mute"},{"match":{"path":"push candle1s"},"action":"mute"}"#,
    );
    daemon.wait_log("a stream is down");
    scene.faults("");
    scene.wait_for_fill();
    daemon.kill();
    scene.is_whole();
}

/// The answer arrives one byte at a time; the daemon trades on and nothing is lost.
#[test]
fn row_24_trickling_answer_is_given_up() {
    let scene = Scene::new(&[]);
    let proxy = Proxy::start(
        scene.exchange.text("rest"),
        Deed::Trickle(Duration::from_millis(100)),
    );
    let scene = scene.with("ALPHA_ARENA__VENUE__REST_URL", &proxy.url);
    let daemon = scene.start();
    scene.wait_for_fill();
    proxy.armed.store(true, std::sync::atomic::Ordering::SeqCst);
    wait_for("the trickle", || {
        proxy.done.load(std::sync::atomic::Ordering::SeqCst) > 0
    });
    scene.wait_for_fill();
    daemon.kill();
    scene.is_whole();
}

/// The connection is reset in the middle of the answer to a create: unknown, and never sent again.
#[test]
fn row_25_reset_create_is_not_resent() {
    for bytes in [0, 40] {
        let scene = Scene::new(&[]);
        let proxy = Proxy::start(scene.exchange.text("rest"), Deed::CutAnswer(bytes));
        let scene = scene.with("ALPHA_ARENA__VENUE__REST_URL", &proxy.url);
        let daemon = scene.start();
        scene.wait_for_fill();
        proxy.armed.store(true, std::sync::atomic::Ordering::SeqCst);
        wait_for("the reset", || {
            proxy.done.load(std::sync::atomic::Ordering::SeqCst) > 0
        });
        scene.wait_for_fill();
        daemon.kill();
        scene.is_whole();
    }
}

/// A create is answered far too late: no order is lost or doubled.
#[test]
fn row_26_late_answer_loses_nothing() {
    Scene::new(&[]).survives(&on_create(r#""action":"delay","ms":4000"#));
}

/// The venue accepts a create and answers with 502: no order is lost or doubled.
#[test]
fn row_27_accepted_order_survives_an_error() {
    Scene::new(&[]).survives(&on_create(r#""action":"fail_after","status":502"#));
}

/// The venue answers 503 and does not place the order: unknown, then expired as proven absent.
#[test]
fn row_28_order_expires_after_an_error() {
    let scene = Scene::new(&[]);
    let daemon = scene.start();
    scene.wait_for_fill();
    scene.faults(&on_create(r#""action":"fail_before","status":503"#));
    let proven =
        "from_state = 'unknown' AND to_state = 'expired' AND evidence LIKE 'proven absent%'";
    wait_for("the proof of absence", || scene.steps(proven) > 0);
    daemon.kill();
    scene.is_whole();
}

/// 50004, 51149 and 50026, with the order placed or not: no order is lost or doubled.
#[test]
fn row_29_ambiguous_error_codes() {
    for code in ["50004", "51149", "50026"] {
        for action in ["fail_before", "fail_after"] {
            let scene = Scene::new(&[]);
            let rule = on_create(&format!(
                r#""action":"{action}","status":200,"code":"{code}""#
            ));
            scene.survives(&rule);
        }
    }
}

/// A create is answered with a cut body or with HTML: no order is lost or doubled.
#[test]
fn row_30_unreadable_answer_loses_nothing() {
    Scene::new(&[]).survives(&on_create(r#""action":"cut_body""#));
    Scene::new(&[]).survives(&on_create(r#""action":"html""#));
}

/// A create that was carried out is answered as a duplicate (51016): only asking tells.
#[test]
fn row_32_duplicate_id_is_asked_about() {
    // Carried out, and answered as a duplicate: only asking tells.
    Scene::new(&[]).survives(&on_create(
        r#""action":"fail_after","status":200,"code":"51016""#,
    ));
}

/// Everything is answered 429 for a while; then trading resumes, and nothing was sent twice.
#[test]
fn row_35_rate_limit_storm_is_survived() {
    let scene = Scene::new(&[]);
    let daemon = scene.start();
    scene.wait_for_fill();
    scene.faults(r#"{"match":{"path":"GET *"},"action":"fail_before","status":429,"code":"50011"},{"match":{"path":"POST *"},"action":"fail_before","status":429,"code":"50011"}"#);
    wait_for("the storm", || scene.struck());
    scene.let_pass(40_000);
    let creates = scene.exchange.ledger()["creates"].as_array().unwrap().len();
    scene.faults("");
    scene.wait_for_fill();
    assert!(creates > 0);
    daemon.kill();
    scene.is_whole();
}

/// The order is rejected and not sent again.
#[test]
fn row_36_429_rejects_the_create() {
    let scene = Scene::new(&[]);
    let daemon = scene.start();
    scene.wait_for_fill();
    scene.faults(&on_create(
        r#""action":"fail_before","status":429,"code":"50011""#,
    ));
    wait_for("the reject", || {
        scene.steps("to_state = 'rejected' AND evidence LIKE '50011%'") > 0
    });
    scene.wait_for_fill();
    daemon.kill();
    scene.is_whole();
}

#[test]
fn row_54_maintenance_notice_reconnects() {
    let scene = Scene::new(&[]);
    let mut daemon = scene.start();
    scene.wait_for_fill();
    scene.exchange.http("POST", "/sim/notice", "{}");
    daemon.wait_log("a stream is down");
    scene.wait_for_fill();
    daemon.kill();
    scene.is_whole();
}

/// Tickers at fifty times their rate delay no order event; memory stays bounded and nothing halts.
#[test]
fn row_65_data_flood_delays_no_fill() {
    let scene = Scene::new(&[]);
    let daemon = scene.start();
    scene.wait_for_fill();
    scene.faults(r#"{"match":{"path":"push tickers"},"action":"flood","ms":50}"#);
    wait_for("the flood", || scene.struck());
    scene.wait_for_fill();
    scene.wait_for_fill();
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let rss = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .to_owned();
    assert!(rss.parse::<u64>().unwrap() < 300_000, "{rss} kB");
    scene.faults("");
    daemon.kill();
    scene.is_whole();
    assert_eq!(count(scene.dir.path(), "SELECT COUNT(*) FROM halts"), 0);
}
