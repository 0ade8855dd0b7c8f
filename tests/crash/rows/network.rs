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

#[test]
fn row_21_the_venue_is_gone_and_comes_back() {
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
fn row_22_a_half_open_socket_is_noticed_and_replaced() {
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

#[test]
fn row_23_data_stops_while_pongs_go_on() {
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

#[test]
fn row_24_an_answer_that_trickles_in_is_given_up() {
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

#[test]
fn row_25_a_reset_in_the_middle_of_the_answer_is_unknown_and_is_not_sent_again() {
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

#[test]
fn row_26_an_answer_that_comes_too_late() {
    Scene::new(&[]).survives(&on_create(r#""action":"delay","ms":4000"#));
}

#[test]
fn row_27_a_server_error_after_it_was_accepted() {
    Scene::new(&[]).survives(&on_create(r#""action":"fail_after","status":502"#));
}

#[test]
fn row_28_a_server_error_before_it_was_accepted() {
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

#[test]
fn row_29_ambiguous_codes_with_both_outcomes() {
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

#[test]
fn row_30_a_body_that_is_cut_or_is_no_json() {
    Scene::new(&[]).survives(&on_create(r#""action":"cut_body""#));
    Scene::new(&[]).survives(&on_create(r#""action":"html""#));
}

#[test]
fn row_32_our_id_is_said_to_be_taken() {
    // Carried out, and answered as a duplicate: only asking tells.
    Scene::new(&[]).survives(&on_create(
        r#""action":"fail_after","status":200,"code":"51016""#,
    ));
}

#[test]
fn row_35_a_storm_of_429_on_everything() {
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

#[test]
fn row_36_429_on_a_create_is_not_sent_again() {
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
fn row_54_a_notice_of_maintenance_is_answered_by_reconnecting() {
    let scene = Scene::new(&[]);
    let mut daemon = scene.start();
    scene.wait_for_fill();
    scene.exchange.http("POST", "/sim/notice", "{}");
    daemon.wait_log("a stream is down");
    scene.wait_for_fill();
    daemon.kill();
    scene.is_whole();
}

#[test]
fn row_65_a_flood_of_market_data_delays_no_order_event() {
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
