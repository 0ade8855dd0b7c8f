//! Decisions of models made again: to the byte, and over history.

use super::super::harness::busy_config;
use super::*;

/// Runs a database statement as somebody who tampers would.
fn tamper(dir: &Path, work: impl FnOnce(&rusqlite::Connection)) {
    let db = rusqlite::Connection::open(dir.join("trading.db")).unwrap();
    db.execute_batch(
        "PRAGMA foreign_keys = OFF; DROP TRIGGER IF EXISTS blobs_keep; DROP TRIGGER IF EXISTS llm_calls_keep; DROP TRIGGER IF EXISTS decisions_keep; DROP TRIGGER IF EXISTS run_inputs_keep;
         DROP TRIGGER IF EXISTS run_inputs_stay; DROP TRIGGER IF EXISTS decisions_stay",
    )
    .unwrap();
    work(&db);
}

/// Two hundred runs are the same again, and a flipped byte is found.
#[test]
fn replay_reproduces_runs_to_the_byte() {
    use sha2::{Digest, Sha256};
    let server = ModelServer::start(|n, asked| {
        let held = !asked.data()["positions"].as_array().unwrap().is_empty();
        match n % 8 {
            5 => Say::text("I would rather wait."),
            _ => Say::text(
                if held || n % 4 == 3 {
                    action(asked, "close")
                } else {
                    long(asked, 4.5, 19.0)
                }
                .to_string(),
            ),
        }
    });
    let rule = format!(
        "every_bars = 2\nopens_per_day_max = 1000\n[[contender]]\nid = \"rule\"\nkind = \"rule\"\nstrategy = \"sma_cross\"\nstage = \"live\"\nweight = \"0.2\"\n\
         instruments = [\"{INST}\"]\nparams = {{ fast = 2, slow = 3, stop_pct = 0.5 }}\nexecution = {{ policy = \"market\" }}\n[decision]\nevery_bars = 1"
    );
    let system = System::start(&server, "30", "", &rule);
    let of = |stage: &str| {
        format!("SELECT COUNT(DISTINCT run_id) FROM run_inputs WHERE stage = '{stage}'")
    };
    let enough = || {
        system.count(&of("allocation")) >= 200
            && system.count(&of("answer")) >= 40
            && system.count(&of("gate")) >= 20
    };
    wait_for("two hundred runs, of rules and of the model", enough);
    let System {
        daemon,
        exchange: _exchange,
        config,
        _dir,
    } = system;
    let dir = daemon.dir.clone();
    assert!(daemon.stop().success());
    let replay = |args: &[&str]| {
        let all = [&["--config", config.as_str(), "replay", "--json"], args].concat();
        let out = command(&dir, &all).output().unwrap();
        let body: Value = serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out.stderr)));
        (out.status.code().unwrap(), body)
    };
    let (code, body) = replay(&["--all"]);
    assert_eq!((code, &body["same"]), (0, &body["runs"]), "{body:#}");
    assert!(body["runs"].as_i64().unwrap() >= 200);
    println!("{} runs made again", body["runs"]);
    let made = |stage: &str| {
        body.to_string()
            .matches(&format!("\"stage\":\"{stage}\""))
            .count()
    };
    assert!(
        made("seating") >= 1 && made("rules") >= 100,
        "rules are asked again: {} of {}",
        made("rules"),
        body["runs"]
    );
    // One run alone hears what its rules had heard before it.
    let last = body["details"].as_array().unwrap().iter().rev();
    let last = last
        .filter(|run| run.to_string().contains("\"rules\""))
        .nth(20)
        .unwrap()["run_id"]
        .as_str()
        .unwrap();
    let (code, alone) = replay(&[last]);
    assert_eq!((code, &alone["same"]), (0, &json!(1)), "{alone:#}");
    let (_, recent) = replay(&["--all", "--since", "30s"]);
    assert!(recent["runs"].as_i64() < body["runs"].as_i64(), "a range");

    // Whatever is done to what was kept, it is found, and what was done is told.
    let first = |sql: &str| -> String {
        let db = rusqlite::Connection::open(dir.join("trading.db")).unwrap();
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let backup = std::fs::read(dir.join("trading.db")).unwrap();
    let gated = "SELECT run_id FROM run_inputs WHERE stage = 'gate' ORDER BY id LIMIT 1";
    let refused = "SELECT run_id FROM llm_calls WHERE outcome = 'syntax' ORDER BY id LIMIT 1";
    let cycle = "SELECT run_id FROM run_inputs WHERE stage = 'rules' ORDER BY id LIMIT 1 OFFSET 20";
    for (what, run, change, told) in [
        (
            "a reply's code",
            refused,
            "UPDATE llm_calls SET outcome = 'empty' WHERE run_id = ?1 AND outcome = 'syntax'",
            "kept as empty",
        ),
        (
            "a body",
            gated,
            "DELETE FROM blobs WHERE hash IN (SELECT output_hash FROM run_inputs WHERE run_id = ?1)",
            "it is gone",
        ),
        (
            "a verdict",
            gated,
            "DELETE FROM run_inputs WHERE run_id = ?1 AND stage = 'gate'",
            "no verdict of the gate",
        ),
        (
            "an allocation",
            gated,
            "DELETE FROM run_inputs WHERE run_id = ?1 AND stage = 'allocation'",
            "nobody planned",
        ),
        (
            "an order's stop",
            gated,
            "UPDATE orders SET stop_px = '1' WHERE run_id = ?1 AND cl_ord_id IS NOT NULL AND stop_px IS NOT NULL",
            "stop",
        ),
        (
            "an order's contender",
            gated,
            "UPDATE orders SET contender_id = 'nobody' WHERE run_id = ?1 AND cl_ord_id IS NOT NULL",
            "contender",
        ),
        (
            "a decision",
            cycle,
            "DELETE FROM decisions WHERE run_id = ?1",
            "no such decision",
        ),
        (
            "all of a cycle",
            cycle,
            "DELETE FROM run_inputs WHERE run_id = ?1",
            "nothing of what it decided on is there",
        ),
    ] {
        let run = first(run);
        tamper(&dir, |db| {
            assert!(db.execute(change, [&run]).unwrap() > 0, "{what}")
        });
        let (code, body) = replay(&["--all"]);
        assert_eq!(code, 65, "{what}");
        let found = body["details"]
            .as_array()
            .unwrap()
            .iter()
            .find(|found| found["run_id"] == json!(run))
            .unwrap();
        assert!(
            found["same"] == json!(false) && found.to_string().contains(told),
            "{what}: {found:#}"
        );
        std::fs::write(dir.join("trading.db"), &backup).unwrap();
    }
    assert_eq!(replay(&["--all"]).0, 0, "put back as it was");

    // The stop in a stored reply moves by one digit.
    let (run, hash, text): (String, Vec<u8>, String) = {
        let db = rusqlite::Connection::open(dir.join("trading.db")).unwrap();
        let sql = "SELECT c.run_id, b.hash, b.body, b.size FROM llm_calls c JOIN blobs b ON b.hash = c.reply_hash JOIN run_inputs i
            ON i.run_id = c.run_id AND i.stage = 'gate' ORDER BY c.id LIMIT 1";
        db.query_row(sql, [], |row| {
            let (body, size): (Vec<u8>, i64) = (row.get(2)?, row.get(3)?);
            let text =
                String::from_utf8(zstd::bulk::decompress(&body, size as usize).unwrap()).unwrap();
            Ok((row.get(0)?, row.get(1)?, text))
        })
        .unwrap()
    };
    let at = text.find("stop_px").unwrap();
    let digit = at + text[at..].find(|c: char| c.is_ascii_digit()).unwrap();
    let mut flipped = text.clone().into_bytes();
    flipped[digit + 2] = if flipped[digit + 2] == b'9' {
        b'8'
    } else {
        flipped[digit + 2] + 1
    };
    let packed = zstd::bulk::compress(&flipped, 3).unwrap();
    tamper(&dir, |db| {
        assert_eq!(
            db.execute(
                "UPDATE blobs SET body = ?1 WHERE hash = ?2",
                rusqlite::params![packed, hash]
            )
            .unwrap(),
            1
        );
    });
    let (code, body) = replay(&[&run]);
    assert_eq!(code, 65);
    assert!(
        body["details"][0]["unreadable"]
            .as_str()
            .unwrap()
            .contains("not what its hash says"),
        "{body:#}"
    );
    // Whoever mends the hash as well has changed what the model said: the decision comes out
    // another.
    let new: [u8; 32] = Sha256::digest(&flipped).into();
    tamper(&dir, |db| {
        db.execute(
            "UPDATE blobs SET hash = ?1 WHERE hash = ?2",
            rusqlite::params![new, hash],
        )
        .unwrap();
        db.execute(
            "UPDATE llm_calls SET reply_hash = ?1 WHERE reply_hash = ?2",
            rusqlite::params![new, hash],
        )
        .unwrap();
    });
    let (code, body) = replay(&[&run]);
    assert_eq!(code, 65);
    let answer = body["details"][0]["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["stage"] == "answer")
        .unwrap();
    assert_ne!(answer["outcome"], "same", "{body:#}");
    // And whoever changes the size of an order that was sent contradicts what was approved.
    let (other, order): (String, String) = {
        let db = rusqlite::Connection::open(dir.join("trading.db")).unwrap();
        let sql = "SELECT run_id, cl_ord_id FROM orders WHERE state = 'filled' AND run_id <> ?1 AND purpose = 'entry' LIMIT 1";
        db.query_row(sql, [&run], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    };
    tamper(&dir, |db| {
        let sql =
            "UPDATE orders SET qty = CAST(CAST(qty AS REAL) + 100 AS TEXT) WHERE cl_ord_id = ?1";
        assert_eq!(db.execute(sql, [&order]).unwrap(), 1);
    });
    let (code, body) = replay(&[&other]);
    assert_eq!(code, 65);
    assert!(
        body.to_string().contains("the order in the database is"),
        "{body:#}"
    );
    tamper(&dir, |db| {
        assert_eq!(
            db.execute(
                "UPDATE orders SET qty = filled WHERE cl_ord_id = ?1",
                [&order]
            )
            .unwrap(),
            1
        )
    });
    // Whoever edits what a rule decided contradicts what comes of its bars.
    let decided: String = {
        let db = rusqlite::Connection::open(dir.join("trading.db")).unwrap();
        let sql = "SELECT run_id FROM decisions WHERE contender_id = 'rule' AND target_bps = 10000 ORDER BY run_id LIMIT 1 OFFSET 9";
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let target = |from: i64, to: i64| {
        let sql = "UPDATE decisions SET target_bps = ?1 WHERE run_id = ?2 AND contender_id = 'rule' AND target_bps = ?3";
        tamper(&dir, |db| {
            assert_eq!(
                db.execute(sql, rusqlite::params![to, decided, from])
                    .unwrap(),
                1
            )
        });
    };
    target(10_000, -10_000);
    let (code, body) = replay(&[&decided]);
    assert_eq!(code, 65);
    assert!(
        body.to_string()
            .contains("the decision in the database is another"),
        "{body:#}"
    );
    target(-10_000, 10_000);
    // The others are untouched.
    let (code, body) = replay(&["--all"]);
    assert_eq!(
        (code, body["same"].as_i64().unwrap() + 1),
        (65, body["runs"].as_i64().unwrap())
    );
}

/// Every run is the same again over kills, trading off and a contender that no longer takes part.
#[test]
fn replay_holds_across_restarts() {
    let exchange = Exchange::start(&["--speed", "40"]);
    let dir = tempfile::tempdir().unwrap();
    let busy = busy_config(dir.path());
    let text = std::fs::read_to_string(&busy)
        .unwrap()
        .replace("ttl_ms = 4000", "ttl_ms = 2000, then = \"reprice\"");
    std::fs::write(&busy, &text).unwrap();
    let calm = dir.path().join("calm.toml").display().to_string();
    std::fs::write(
        &calm,
        text.replacen("stage = \"live\"", "stage = \"off\"", 1),
    )
    .unwrap();
    let state = dir.path().join("state");
    let of = |stage: &str| {
        count(
            &state,
            &format!("SELECT COUNT(*) FROM run_inputs WHERE stage = '{stage}'"),
        )
    };
    let live = |config: &str, more: &[(&str, &str)], cycles: i64| {
        let mut env = exchange.env();
        env.extend(more.iter().map(|(name, value)| pair(name, value)));
        let mut daemon = Daemon::start(&state, &["--config", config, "run"], &env);
        daemon.wait_log("ready: reconciled");
        let before = of("rules");
        wait_for("cycles", || of("rules") >= before + cycles);
        daemon
    };
    let first = live(&busy, &[], 150);
    wait_for("further tries of an order, and fifty judged ones", || {
        of("working") > 0 && of("gate") > 50
    });
    first.kill();
    live(&busy, &[], 60).kill();
    let off = live(&busy, &[("ALPHA_ARENA__TRADING__ENABLED", "false")], 120);
    let suppressed = "SELECT COUNT(*) FROM orders WHERE state = 'suppressed'";
    wait_for("orders that are suppressed", || {
        count(&state, suppressed) > 0
    });
    off.kill();
    assert!(live(&calm, &[], 150).stop().success());
    assert_eq!(of("seating"), 4, "one for each start");
    let out = command(&state, &["--config", &busy, "replay", "--all", "--json"])
        .output()
        .unwrap();
    let body: Value = serde_json::from_slice(&out.stdout).unwrap();
    let broken: Vec<&Value> = body["details"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|run| run["same"] != json!(true))
        .take(3)
        .collect();
    assert_eq!(
        (out.status.code(), &body["same"]),
        (Some(0), &body["runs"]),
        "{broken:#?}"
    );
    println!("{} runs made again", body["runs"]);
}

/// Nobody is asked again, and what was never answered is counted as missing.
#[test]
fn model_backtest_uses_recorded_replies() {
    let server = ModelServer::start(|n, asked| {
        if asked.format() == "json_schema" {
            return Say::Http(400, "", b"{\"error\":\"no schema\"}".to_vec());
        }
        let held = !asked.data()["positions"].as_array().unwrap().is_empty();
        Say::text(match (held, n % 7) {
            (true, 0) => action(asked, "close").to_string(),
            (true, _) => action(asked, "hold").to_string(),
            (false, 5) => "I would rather not.".to_owned(),
            (false, _) => long(asked, 2.0, 6.0).to_string(),
        })
    });
    let dir = tempfile::tempdir().unwrap();
    let more = "every_bars = 5\nopens_per_day_max = 1000\n[market]\nbar = \"1m\"\n[decision]\nevery_bars = 1";
    let config = config(
        dir.path(),
        &server,
        "training_cutoff = \"2025-01-01\"",
        more,
    );
    let state = dir.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let verb = |args: &[&str]| -> String {
        let all = [&["--config", config.as_str()], args].concat();
        let out = command(&state, &all).output().unwrap();
        assert!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    };
    verb(&[
        "data",
        "generate",
        "--inst",
        INST,
        "--bars",
        "600",
        "--from",
        "2024-12-31T20:00:00Z",
    ]);
    let backtest = |more: &[&str]| -> Value {
        let args = [
            &[
                "backtest",
                "model",
                "--contender",
                "llm",
                "--inst",
                INST,
                "--json",
            ],
            more,
        ]
        .concat();
        serde_json::from_str(&verb(&args)).unwrap()
    };
    let unknown = backtest(&[]);
    assert_eq!(unknown["counts"]["answered"], 0);
    assert_eq!(
        (unknown["missing"].as_i64(), server.count()),
        (unknown["counts"]["questions"].as_i64(), 0),
        "{unknown:#}"
    );
    let asked = backtest(&["--ask"]);
    assert_eq!(asked["missing"], 0, "{:#}", asked["counts"]);
    assert!(asked["report"]["fills"].as_i64().unwrap() > 4, "{asked:#}");
    assert!(
        asked["counts"]["failures"]["syntax"].as_i64().unwrap() > 0,
        "{:#}",
        asked["counts"]
    );
    let requests = server.count();
    let again = backtest(&[]);
    assert_eq!(server.count(), requests, "nobody is asked again");
    assert_eq!(
        (&again["report"], &again["counts"]),
        (&asked["report"], &asked["counts"])
    );
    assert_eq!(
        again["bars_before_cutoff"], 240,
        "four hours of the old year"
    );
    // Another state has other words, and nobody has answered those.
    let other = backtest(&["--weight", "0.5"]);
    assert!(other["missing"].as_i64().unwrap() > 0);
    let page = verb(&[
        "backtest",
        "model",
        "--contender",
        "llm",
        "--inst",
        INST,
        "--weight",
        "0.5",
    ]);
    assert!(
        page.contains("[missing]") && page.contains("240 of 600 bars lie before 2025-01-01"),
        "{page}"
    );
}

/// Late answers open nothing, and the calls of each day are limited.
#[test]
fn model_backtest_obeys_deadline_and_budget() {
    let server = ModelServer::start(|n, asked| match n {
        0 | 1 => Say::Slow(
            Duration::from_millis(800),
            completion(long(asked, 2.0, 6.0).to_string()),
        ),
        _ => Say::text(action(asked, "hold").to_string()),
    });
    let dir = tempfile::tempdir().unwrap();
    let more = "every_bars = 5\ncalls_per_day_max = 6\nreserve_pct = \"0\"\n[market]\nbar = \"1m\"\n[decision]\nevery_bars = 1";
    let config = config(
        dir.path(),
        &server,
        "deadline_ms = 500\nresponse_format = \"none\"",
        more,
    );
    let state = dir.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let verb = |args: &[&str]| -> String {
        let all = [&["--config", config.as_str()], args].concat();
        let out = command(&state, &all).output().unwrap();
        assert!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    };
    verb(&[
        "data",
        "generate",
        "--inst",
        INST,
        "--bars",
        "120",
        "--from",
        "2024-12-31T23:00:00Z",
    ]);
    let backtest = |more: &[&str]| -> Value {
        let args = [
            &[
                "backtest",
                "model",
                "--contender",
                "llm",
                "--inst",
                INST,
                "--json",
            ],
            more,
        ]
        .concat();
        serde_json::from_str(&verb(&args)).unwrap()
    };
    let asked = backtest(&["--ask"]);
    // Six in the hour before midnight, for which there is history, and six after it.
    let counts = &asked["counts"];
    assert_eq!(
        (&counts["questions"], &counts["failures"]["late"]),
        (&json!(12), &json!(2)),
        "{counts:#}"
    );
    assert!(
        counts["not_asked"]["budget"].as_u64().unwrap() >= 6,
        "{counts:#}"
    );
    assert_eq!(
        (server.count(), &asked["report"]["fills"]),
        (12, &json!(0)),
        "what is late opens nothing"
    );
    assert_eq!(
        &backtest(&[])["counts"],
        counts,
        "and it is late whenever it is looked at"
    );
}

/// An answer takes its time, and one that is stale by then buys nothing.
#[test]
fn portfolio_backtest_trades_all_instruments() {
    const OTHER: &str = "BTC-USDT-SWAP";
    let server = ModelServer::start(|_, asked| {
        let again = asked.body["messages"].as_array().unwrap().len() > 2;
        let data = asked.data();
        let held = data["positions"].as_array().unwrap().len();
        // Some say first that they would rather talk.
        if !again && data["meta"]["as_of_ms"].as_i64().unwrap() / 300_000 % 2 == 0 {
            return Say::text("Let me think about it.");
        }
        let target = |inst: &str| {
            let shown = |key: &str| {
                data["market"][inst][key]
                    .as_str()
                    .unwrap()
                    .parse::<f64>()
                    .unwrap()
            };
            let atr: f64 = data["limits"]["atr14_px"][inst]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            json!({"symbol": inst, "weight": "0.2", "stop_px": format!("{:.6}", shown("mark") - 4.0 * atr), "target_px": null,
                "horizon_min": null, "p_target_first": null, "invalidation": null, "reason": "r"})
        };
        let targets: Vec<Value> = if held == 2 {
            vec![]
        } else {
            [INST, OTHER].map(target).to_vec()
        };
        Say::text(
            json!({"schema": "portfolio.v1", "snap": data["meta"]["snap"], "targets": targets, "unlisted": "keep", "reason": "r"})
                .to_string(),
        )
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("models.toml");
    let text = format!(
        "{WIDE}[market]\nbar = \"1m\"\n[decision]\nevery_bars = 1\n[[instrument]]\nid = \"{INST}\"\n[[instrument]]\nid = \"{OTHER}\"\n\
         [[model]]\nid = \"stub\"\nbase_url = \"{}\"\nmodel = \"stub-1\"\ncalls_per_minute = 10000\nresponse_format = \"none\"\n\
         [[contender]]\nid = \"llm\"\nkind = \"llm\"\nmodel = \"stub\"\nmode = \"portfolio\"\nstage = \"live\"\nweight = \"0.5\"\n\
         instruments = [\"{INST}\", \"{OTHER}\"]\nevery_bars = 5\nopens_per_day_max = 1000\nttl_ms = 90000\ndeviation_bps_max = 1000\n\
         execution = {{ policy = \"market\" }}\n",
        server.url
    );
    std::fs::write(&path, text).unwrap();
    let state = dir.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let verb = |args: &[&str]| -> String {
        let all = [&["--config", path.to_str().unwrap()], args].concat();
        let out = command(&state, &all).output().unwrap();
        assert!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    };
    for inst in [INST, OTHER] {
        verb(&[
            "data",
            "generate",
            "--inst",
            inst,
            "--bars",
            "300",
            "--from",
            "2025-01-01T00:00:00Z",
        ]);
    }
    let backtest = |more: &[&str]| -> Value {
        let args = [
            &[
                "backtest",
                "model",
                "--contender",
                "llm",
                "--ask",
                "--json",
                "--limits",
                "off",
            ],
            more,
        ]
        .concat();
        serde_json::from_str(&verb(&args)).unwrap()
    };
    let run = backtest(&["--think-ms", "0"]);
    assert_eq!(run["insts"], json!([INST, OTHER]));
    assert_eq!(run["missing"], 0, "{:#}", run["counts"]);
    assert!(
        run["counts"]["items"]["accepted"].as_i64().unwrap() >= 2
            && run["report"]["fills"].as_i64().unwrap() >= 2,
        "{run:#}"
    );
    let all = server.all();
    let shown: Vec<Value> = all.iter().map(Asked::data).collect();
    let both = shown
        .iter()
        .find(|data| data["positions"].as_array().unwrap().len() == 2)
        .expect("both are held at once");
    assert_eq!(both["market"].as_object().unwrap().len(), 2);
    assert!(
        both["market"][INST]["next_funding_ms"].is_i64(),
        "{}",
        both["market"]
    );
    // A talker was asked once more, and its second answer counted.
    let talked = run["counts"]["failures"]["syntax"].as_i64().unwrap();
    let again = all
        .iter()
        .filter(|asked| asked.body["messages"].as_array().unwrap().len() == 4)
        .count();
    assert!(talked >= 1 && again as i64 == talked, "{:#}", run["counts"]);
    assert_eq!(run["counts"]["answered"], run["counts"]["questions"]);
    // Judged at the next close, as the model's deadline of a minute says; two minutes are more than
    // its answers are good for.
    let slower = backtest(&[]);
    assert_eq!(
        (
            slower["think_ms"].as_i64(),
            slower["counts"]["items"].get("stale")
        ),
        (Some(60_000), None),
        "{:#}",
        slower["counts"]
    );
    assert_ne!(
        slower["report"]["performance"]["total_return"],
        run["report"]["performance"]["total_return"]
    );
    let late = backtest(&["--think-ms", "120000"]);
    assert!(
        late["counts"]["items"]["stale"].as_i64().unwrap() > 0,
        "{:#}",
        late["counts"]
    );
    assert_eq!(
        late["report"]["fills"], 0,
        "nothing that is stale is bought"
    );
    let page = verb(&["backtest", "model", "--contender", "llm"]);
    assert!(
        page.contains("ETH-USDT-SWAP, BTC-USDT-SWAP")
            && page.contains("judged one close of 1m later"),
        "{page}"
    );
}
