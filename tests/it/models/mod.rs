//! Contenders that are models, against a chat endpoint of our own: what is asked, what is kept,
//! what is acted on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Daemon, Exchange, WIDE, command, count, pair, wait_for, wait_for_count};
use super::model_server::{Asked, ModelServer, Say, completion};

#[path = "../../../src/llm/tests/cases.rs"]
mod cases;
mod failing;
mod replayed;

const INST: &str = "ETH-USDT-SWAP";

/// A configuration with one model and one contender; `more` goes into the contender, `model` into
/// the model.
fn config(dir: &Path, server: &ModelServer, model: &str, more: &str) -> String {
    std::fs::create_dir_all(dir).unwrap();
    let path = dir.join("models.toml");
    let text = format!(
        "{WIDE}[venue]\norder_expiry_ms = 60000\n[[instrument]]\nid = \"{INST}\"\n\
         [[model]]\nid = \"stub\"\nbase_url = \"{}\"\nmodel = \"stub-1\"\ncalls_per_minute = 10000\n\
         input_usd_per_mtok = \"1\"\noutput_usd_per_mtok = \"2\"\n{model}\n\
         [[contender]]\nid = \"llm\"\nkind = \"llm\"\nmodel = \"stub\"\nstage = \"live\"\nweight = \"0.5\"\n\
         instruments = [\"{INST}\"]\nreward_risk_min = \"0\"\nleast_ms = 0\nttl_ms = 600000\ndeviation_bps_max = 1000\n\
         execution = {{ policy = \"ioc_limit\", collar_bps = 50 }}\n{more}\n",
        server.url
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

struct System {
    // Ends first: its creates are judged by the exchange's books.
    daemon: Daemon,
    exchange: Exchange,
    config: String,
    _dir: tempfile::TempDir,
}

impl System {
    fn start(server: &ModelServer, speed: &str, model: &str, more: &str) -> Self {
        Self::start_in(server, speed, model, more, &[])
    }

    fn start_in(
        server: &ModelServer,
        speed: &str,
        model: &str,
        more: &str,
        env: &[(&str, &str)],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let exchange = Exchange::start(&["--speed", speed]);
        let config = config(dir.path(), server, model, more);
        let daemon = Self::daemon(&dir.path().join("state"), &config, &exchange, env);
        Self {
            exchange,
            daemon,
            config,
            _dir: dir,
        }
    }

    fn daemon(state: &Path, config: &str, exchange: &Exchange, more: &[(&str, &str)]) -> Daemon {
        let mut env = exchange.env();
        env.extend(more.iter().map(|(name, value)| pair(name, value)));
        env.push(pair("MODEL_KEY_STUB", "sk-canary-8d1f"));
        let mut daemon = Daemon::start(state, &["--config", config, "run"], &env);
        daemon.wait_log("ready: reconciled");
        daemon
    }

    /// kill -9, and the ordinary start.
    fn killed_and_started(self) -> Self {
        self.killed_and_started_at(None)
    }

    /// The same, at another pace of the market from then on.
    fn killed_and_started_at(self, rate: Option<u32>) -> Self {
        let Self {
            daemon,
            exchange,
            config,
            _dir,
        } = self;
        let state = daemon.dir.clone();
        daemon.kill();
        if let Some(rate) = rate {
            exchange.http("POST", "/sim/clock", &format!(r#"{{"rate":{rate}}}"#));
        }
        let daemon = Self::daemon(&state, &config, &exchange, &[]);
        Self {
            daemon,
            exchange,
            config,
            _dir,
        }
    }

    fn count(&self, statement: &str) -> i64 {
        count(&self.daemon.dir, statement)
    }

    #[track_caller]
    fn until(&self, what: &str, statement: &str) {
        wait_for(what, || self.count(statement) > 0);
    }

    #[track_caller]
    fn until_count(&self, what: &str, statement: &str, wanted: i64) {
        wait_for_count(what, &self.daemon.dir, statement, wanted);
    }

    /// Runs a verb and returns what it prints.
    #[track_caller]
    fn verb(&self, args: &[&str]) -> String {
        let mut all = vec!["--config", &self.config];
        all.extend(args);
        let out = command(&self.daemon.dir, &all).output().unwrap();
        assert!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    }
}

fn mark(data: &Value) -> f64 {
    let shown = &data["market"][INST];
    shown["mark"]
        .as_str()
        .or_else(|| shown["last"].as_str())
        .unwrap()
        .parse()
        .unwrap()
}

fn atr(data: &Value) -> f64 {
    let series = data["series"][INST]
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap();
    let share = series["atr14_pct"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .as_str()
        .unwrap_or("0.01");
    share.parse::<f64>().unwrap() / 100.0 * mark(data)
}

/// A long with its stop and target so many average true ranges away.
fn long(asked: &Asked, stop: f64, target: f64) -> Value {
    let data = asked.data();
    let at = |away: f64| format!("{:.6}", mark(&data) + away * atr(&data));
    json!({"schema": "single.v1", "snap": data["meta"]["snap"], "symbol": INST, "action": "open_long", "risk_pct": "0.2",
        "stop_px": at(-stop), "target_px": at(target), "max_entry_deviation_bps": null, "horizon_min": 60, "p_target_first": "0.5",
        "invalidation": null, "evidence": [format!("market.{INST}.last={}", data["market"][INST]["last"].as_str().unwrap())],
        "reason": "a test"})
}

fn action(asked: &Asked, action: &str) -> Value {
    let data = asked.data();
    json!({"schema": "single.v1", "snap": data["meta"]["snap"], "symbol": INST, "action": action, "risk_pct": null, "stop_px": null,
        "target_px": null, "max_entry_deviation_bps": null, "horizon_min": null, "p_target_first": null, "invalidation": null,
        "evidence": [], "reason": "a test"})
}

/// It opens with a stop; once its idea is wrong the daemon leaves without asking.
#[test]
fn model_exits_on_its_invalidation() {
    let server = ModelServer::start(|_, asked| {
        // A server that does not know schemas says so in its own way.
        if asked.format() == "json_schema" {
            return Say::Http(
                500,
                "",
                b"{\"error\":{\"message\":\"unsupported response_format\"}}".to_vec(),
            );
        }
        let data = asked.data();
        if data["positions"].as_array().unwrap().is_empty() {
            let mut answer = long(asked, 4.5, 19.0);
            // Half a range lower the idea is wrong; in this market that takes seconds.
            let wrong = format!("{:.6}", mark(&data) - 0.5 * atr(&data));
            answer["invalidation"] =
                json!({"tf": "1s", "field": "close", "op": "lt", "value": wrong});
            Say::text(answer.to_string())
        } else {
            Say::text(action(asked, "hold").to_string())
        }
    });
    let system = System::start(
        &server,
        "10",
        "",
        "every_bars = 3\nopens_per_day_max = 1000",
    );
    system.until(
        "a fill",
        "SELECT COUNT(*) FROM fills WHERE contender_id = 'llm' AND side = 'buy'",
    );
    let stops = "SELECT COUNT(*) FROM algo_orders WHERE contender_id = 'llm' AND state = 'live'";
    let gone = "SELECT COUNT(*) FROM llm_trades";
    wait_for("its stop at the venue, or all of it over", || {
        system.count(stops) + system.count(gone) > 0
    });
    system.until(
        "an idea that turned out wrong",
        "SELECT COUNT(*) FROM llm_trades WHERE reason LIKE 'invalidated: 1s close%'",
    );
    let left = "SELECT COUNT(*) FROM llm_items WHERE action = 'leave' AND json_extract(plan, '$.leaving') LIKE 'invalidated%'";
    assert!(system.count(left) > 0, "what is being left is written down");
    wait_for("three questions", || server.count() > 5);
    // A 500 may pass: it took two of them, a question apart, to learn what the server knows.
    let formats: Vec<String> = server.all().iter().map(Asked::format).collect();
    assert_eq!(
        formats[..4],
        ["json_schema", "json_object", "json_schema", "json_object"],
        "{formats:?}"
    );
    assert!(
        formats[4..].iter().all(|format| format == "json_object"),
        "{formats:?}"
    );
    // The page of a run holds everything.
    let db = system.daemon.db();
    let run: String = db
        .query_row(
            "SELECT run_id FROM fills WHERE contender_id = 'llm' AND side = 'buy' ORDER BY seq LIMIT 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let page = system.verb(&["decisions", "show", &run]);
    for part in [
        "question",
        "--- reply 1 ---",
        "open_long",
        "accepted",
        "allocations",
        "orders",
        "fills",
        "snapshot: equity",
    ] {
        assert!(page.contains(part), "no '{part}' in\n{page}");
    }
    let json: Value =
        serde_json::from_str(&system.verb(&["decisions", "show", &run, "--json"])).unwrap();
    assert_eq!(json["items"][0]["evidence_true"], 1, "{}", json["items"]);
    assert_eq!(json["data"]["meta"]["snap"], json["question"]["snap"]);
    let shown = system.verb(&["prompt", "show", "--contender", "llm"]);
    assert!(
        shown.contains("=== system ===") && shown.contains(INST),
        "{shown}"
    );
    // Every request that left is in the database, and what it cost.
    let (asked, kept) = (server.count() as i64, "SELECT COUNT(*) FROM llm_calls");
    wait_for("every request in the database", || {
        system.count(kept) >= asked
    });
    assert!(system.count("SELECT COUNT(*) FROM llm_spent WHERE CAST(cost_usd AS REAL) > 0") == 1);
    let bare = "SELECT COUNT(*) FROM orders o WHERE o.contender_id = 'llm' AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.run_id = o.run_id)";
    assert_eq!(system.count(bare), 0, "orders without a decision");
    // The next process knows it too.
    let before = server.count();
    let _system = system.killed_and_started();
    wait_for("a question after the kill", || server.count() > before + 1);
    assert!(
        server.all()[before..]
            .iter()
            .all(|asked| asked.format() == "json_object"),
        "asked as it was found out"
    );
}

/// A reply of the corpus, whose market stands at 100 with a range of 1, in the prices of this one.
fn scaled(body: &str, asked: &Asked) -> String {
    let data = asked.data();
    let Ok(mut reply) = serde_json::from_str::<Value>(body) else {
        return body.to_owned();
    };
    let Some(text) = reply["choices"][0]["message"]["content"].as_str() else {
        return body.to_owned();
    };
    let Ok(mut answer) = serde_json::from_str::<Value>(text) else {
        return body.to_owned();
    };
    for key in ["stop_px", "target_px"] {
        let plain = answer[key]
            .as_str()
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
            .map(str::to_owned);
        if let Some(price) = plain
            .and_then(|text| text.parse::<f64>().ok())
            .filter(|price| (1.0..=10_000.0).contains(price))
        {
            // Wider by as much as it takes for a range of a second to pay for the way in and out.
            answer[key] = json!(format!(
                "{:.6}",
                mark(&data) + (price - 100.0) * 2.75 * atr(&data)
            ));
        }
    }
    reply["choices"][0]["message"]["content"] = json!(answer.to_string());
    reply.to_string()
}

/// Every reply is kept, and no secret is in a prompt or a file.
#[test]
fn hostile_replies_place_no_forbidden_order() {
    let cases = cases::all();
    let total = cases.len() + 1;
    // In an order of its own, so that shapes that count against the provider stand apart.
    let mut bodies: Vec<Vec<u8>> = cases.into_iter().map(|case| case.body).collect();
    bodies.push(completion("buy ".repeat(2_600_000)));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for i in (1..bodies.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bodies.swap(i, (state >> 33) as usize % (i + 1));
    }
    let bodies = Mutex::new(bodies);
    let server = ModelServer::start(move |_, asked| {
        let snap = asked.data()["meta"]["snap"].as_str().unwrap().to_owned();
        // What a sound one has opened is closed again, so that the next one can open.
        if !asked.data()["positions"].as_array().unwrap().is_empty() {
            return Say::text(action(asked, "close").to_string());
        }
        match bodies.lock().unwrap().pop() {
            Some(body) => match String::from_utf8(body) {
                // Every word of it as if the market were the corpus's; some servers repeat the key.
                Ok(text) => {
                    let text = scaled(&text, asked)
                        .replace("SNAP", &snap)
                        .replace("sk-123", "sk-canary-8d1f");
                    Say::Http(200, "", text.into_bytes())
                }
                Err(raw) => Say::Http(200, "", raw.into_bytes()),
            },
            None => Say::text(action(asked, "hold").to_string()),
        }
    });
    let system = System::start(
        &server,
        "100",
        "response_format = \"none\"",
        "calls_per_day_max = 100000\nopens_per_day_max = 1000\nusd_per_day_max = \"1000\"\ntokens_per_day_max = 1000000000",
    );
    let asked = || server.count() > total + 3;
    wait_for("all of them", asked);
    wait_for("all of them in the database", || {
        system.count("SELECT COUNT(*) FROM llm_calls") as usize >= total
    });
    // Some of the corpus is sound: what it leads to is an entry with a stop, and the oracle judges
    // each at the end.
    let sound = system
        .count("SELECT COUNT(*) FROM llm_items WHERE code = 'accepted' AND action LIKE 'open%'");
    let entries = system
        .count("SELECT COUNT(*) FROM orders WHERE contender_id = 'llm' AND purpose = 'entry'");
    let bare = system
        .count("SELECT COUNT(*) FROM orders WHERE contender_id = 'llm' AND purpose = 'entry' AND stop_px IS NULL");
    assert!(
        entries >= 5 && entries <= sound && bare == 0 && sound < 60,
        "{entries} entries of {sound} sound answers, {bare} without a stop"
    );
    println!("{total} replies: {sound} opened, {entries} orders");
    let lost = "SELECT COUNT(*) FROM llm_calls WHERE reply_hash IS NULL AND outcome <> 'timeout'";
    assert_eq!(system.count(lost), 0, "replies that were not kept");
    let long = "SELECT COUNT(*) FROM llm_calls c JOIN blobs b ON b.hash = c.reply_hash WHERE c.outcome = 'too_long' AND b.size = 1048576";
    assert_eq!(system.count(long), 1, "of ten megabytes the first is kept");
    assert!(
        !system.daemon.log().contains("panicked"),
        "{}",
        system.daemon.log()
    );
    let codes = system.count("SELECT COUNT(DISTINCT outcome) FROM llm_calls")
        + system.count("SELECT COUNT(DISTINCT code) FROM llm_items");
    assert!(codes > 20, "{codes} different codes");
    // The key went where it belongs and nowhere else.
    let all = server.all();
    assert!(
        all.iter()
            .all(|asked| asked.head.contains("Bearer sk-canary-8d1f"))
    );
    let secrets = [
        "sk-canary-8d1f",
        system.exchange.text("secret"),
        system.exchange.text("passphrase"),
    ];
    for secret in secrets {
        assert!(
            all.iter()
                .all(|asked| !asked.body.to_string().contains(secret)),
            "a secret in a prompt"
        );
    }
    let unpacked: Vec<Vec<u8>> = {
        let db = system.daemon.db();
        // What is told by another comes after it.
        let mut query = db
            .prepare("SELECT hash, body, size, base FROM blobs ORDER BY rowid")
            .unwrap();
        let mut cursor = query.query([]).unwrap();
        let mut whole: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        while let Some(row) = cursor.next().unwrap() {
            let (hash, body): (Vec<u8>, Vec<u8>) = (row.get(0).unwrap(), row.get(1).unwrap());
            let (size, base): (i64, Option<Vec<u8>>) = (row.get(2).unwrap(), row.get(3).unwrap());
            let base = base.map_or(&[][..], |base| &whole[&base]);
            let mut reader = zstd::bulk::Decompressor::with_dictionary(base).unwrap();
            whole.insert(hash, reader.decompress(&body, size as usize).unwrap());
        }
        whole.into_values().collect()
    };
    assert!(unpacked.len() > total);
    let holds = |bytes: &[u8], secret: &str| {
        bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes())
    };
    for secret in secrets {
        assert!(
            unpacked.iter().all(|bytes| !holds(bytes, secret)),
            "a secret in what was asked or answered"
        );
    }
    for entry in std::fs::read_dir(&system.daemon.dir)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_file())
    {
        let bytes = std::fs::read(entry.path()).unwrap();
        for secret in secrets {
            assert!(
                !holds(&bytes, secret),
                "a secret in {}",
                entry.path().display()
            );
        }
    }
}

/// It stays over a panic, a kill and the model being switched off.
#[test]
fn tightened_stop_survives_failures() {
    let server = ModelServer::start(|_, asked| {
        let data = asked.data();
        let Some(held) = data["positions"].get(0) else {
            return Say::text(long(asked, 5.5, 19.0).to_string());
        };
        // A little tighter, once, and far enough to live.
        let stop: f64 = held["stop_px"].as_str().unwrap().parse().unwrap();
        let first: f64 = held["entry_px"].as_str().unwrap().parse().unwrap();
        let mut answer = action(asked, "tighten_stop");
        answer["stop_px"] = json!(format!("{:.6}", stop + (first - stop) * 0.05));
        Say::text(answer.to_string())
    });
    // The desk panics once, some time after it has begun to tighten.
    let env = [("ALPHA_ARENA_FAULT", "models=panic@30")];
    let tightened =
        "SELECT COUNT(*) FROM llm_items WHERE action = 'tighten_stop' AND code = 'accepted'";
    let over = "SELECT COUNT(*) FROM llm_trades";
    let level = |system: &System| -> Option<f64> {
        let db = system.daemon.db();
        let sql = "SELECT json_extract(plan, '$.stop') FROM llm_items WHERE plan IS NOT NULL ORDER BY id DESC LIMIT 1";
        let text: String = db.query_row(sql, [], |row| row.get(0)).ok()?;
        text.parse().ok()
    };
    let at_venue = |system: &System| -> Option<f64> {
        let ledger = system.exchange.ledger();
        let stops = ledger["algo_orders"]
            .as_array()
            .expect("the ledger has them")
            .clone();
        let live = stops.iter().find(|stop| stop["state"] == "live")?;
        Some(
            live["slTriggerPx"]
                .as_str()
                .expect("a stop has a trigger")
                .parse()
                .unwrap(),
        )
    };
    let same = |system: &System| {
        at_venue(system)
            .zip(level(system))
            .is_some_and(|(a, b)| a >= b - 1e-6)
    };
    let gone = |system: &System| at_venue(system).is_none() || system.count(over) > 0;
    let cycles = "SELECT COUNT(*) FROM runs WHERE kind = 'cycle'";
    // `None`: a burst of this market has taken the position out, and it begins anew.
    let story = || -> Option<()> {
        let mut system = System::start_in(
            &server,
            "5",
            "",
            "every_bars = 3\nopens_per_day_max = 1",
            &env,
        );
        wait_for("tightened twice, or over", || {
            system.count(tightened) >= 2 || system.count(over) > 0
        });
        if system.count(over) > 0 {
            return None;
        }
        system.daemon.wait_log("models");
        wait_for("the venue's stop where the model has put it", || {
            same(&system) || gone(&system)
        });
        // Slowly from here on, so that it lives to be looked at.
        let mut system = system.killed_and_started_at(Some(1));
        wait_for("the same after a kill", || same(&system) || gone(&system));
        // Off: asked no more, and its stop stays.
        let text = std::fs::read_to_string(&system.config)
            .unwrap()
            .replace("stage = \"live\"", "stage = \"off\"");
        std::fs::write(&system.config, text).unwrap();
        let before = level(&system);
        system = system.killed_and_started();
        let seen = system.count(cycles);
        wait_for("some bars without it", || system.count(cycles) > seen + 2);
        if gone(&system) {
            return None;
        }
        assert_eq!(level(&system), before, "nobody is asked");
        assert!(
            same(&system),
            "{:?} at the venue, {:?} wanted\n{}",
            at_venue(&system),
            before,
            system.daemon.log()
        );
        Some(())
    };
    assert!(
        (0..12).any(|_| story().is_some()),
        "one in twelve positions lives through all of it"
    );
}

/// What it holds is left at its invalidation, target or stop, and nobody is asked.
#[test]
fn switched_off_model_is_still_watched() {
    let server = ModelServer::start(|_, asked| {
        let data = asked.data();
        if !data["positions"].as_array().unwrap().is_empty() {
            return Say::text(action(asked, "hold").to_string());
        }
        let mut answer = long(asked, 5.5, 19.0);
        let value = format!("{:.6}", mark(&data) - 1.5 * atr(&data));
        answer["invalidation"] = json!({"tf": "1s", "field": "close", "op": "lt", "value": value});
        Say::text(answer.to_string())
    });
    let held = "SELECT COUNT(*) FROM fills WHERE contender_id = 'llm'";
    let over = "SELECT COUNT(*) FROM llm_trades";
    // `None`: it was over while the model still took part, or a burst of this market has reached
    // its stop first.
    let story = || -> Option<(System, usize)> {
        let system = System::start(&server, "10", "", "every_bars = 5\nopens_per_day_max = 1");
        wait_for("something is held", || system.count(held) > 0);
        let text = std::fs::read_to_string(&system.config)
            .unwrap()
            .replace("stage = \"live\"", "stage = \"off\"");
        std::fs::write(&system.config, text).unwrap();
        let leaving = "SELECT COUNT(*) FROM llm_items WHERE action = 'leave'";
        let before = system.count(over) + system.count(leaving);
        let system = system.killed_and_started();
        let asked = server.count();
        let left = || system.daemon.log().contains("leaving without asking");
        wait_for("left without asking, or stopped", || {
            left() || system.count(over) > 0
        });
        (before == 0 && left()).then_some((system, asked))
    };
    let (system, asked) = (0..12)
        .find_map(|_| story())
        .expect("one in twelve positions lives until its idea is wrong");
    system.until("the end of the idea", over);
    let reason: String = system
        .daemon
        .db()
        .query_row("SELECT reason FROM llm_trades", [], |row| row.get(0))
        .unwrap();
    assert!(
        ["invalidated", "target", "stop"]
            .iter()
            .any(|why| reason.starts_with(why)),
        "{reason}"
    );
    assert_eq!(server.count(), asked, "nobody is asked");
}

/// It changes its mind at every bar and opens three times a day, as its limit says.
#[test]
fn flipping_model_is_held_by_limits() {
    let server = ModelServer::start(|_, asked| {
        let held = !asked.data()["positions"].as_array().unwrap().is_empty();
        Say::text(
            if held {
                action(asked, "close")
            } else {
                long(asked, 4.0, 19.0)
            }
            .to_string(),
        )
    });
    let system = System::start(&server, "20", "", "opens_per_day_max = 3");
    system.until(
        "an opening too many",
        "SELECT COUNT(*) FROM llm_items WHERE code = 'opens_per_day'",
    );
    let entries =
        "SELECT COUNT(DISTINCT run_id) FROM fills WHERE side = 'buy' AND contender_id = 'llm'";
    assert_eq!(system.count(entries), 3, "{}", system.daemon.log());
}

/// A question whose answer was lost counts too.
#[test]
fn spent_budget_survives_a_kill() {
    let server = ModelServer::start(|n, asked| match n {
        1 => Say::Hang,
        _ => Say::text(action(asked, "hold").to_string()),
    });
    // Half of the calls are for what is held, and nothing is.
    let system = System::start(
        &server,
        "10",
        "",
        "calls_per_day_max = 4\nreserve_pct = \"50\"",
    );
    wait_for("a second request", || server.count() == 2);
    let spent = "SELECT calls FROM llm_spent";
    wait_for("two calls on disk", || system.count(spent) == 2);
    let system = system.killed_and_started();
    // The question that nobody lived to hear the answer of is a failure like others.
    system.until(
        "the lost question",
        "SELECT COUNT(*) FROM llm_items WHERE code = 'lost' AND inst_id = ''",
    );
    let call = "SELECT COUNT(*) FROM llm_calls WHERE outcome = 'lost' AND reply_hash IS NULL AND request_hash IN (SELECT request_hash FROM llm_requests)";
    assert_eq!(system.count(call), 1);
    assert_eq!(
        system.count("SELECT COUNT(*) FROM llm_requests"),
        2,
        "each written before it left"
    );
    let syncs = "SELECT COUNT(*) FROM runs WHERE kind = 'sync'";
    let before = system.count(syncs);
    wait_for("a minute and a half of the venue's time", || {
        system.count(syncs) > before + 3
    });
    assert_eq!(
        (server.count(), system.count(spent)),
        (2, 2),
        "{}",
        system.daemon.log()
    );
    // What it would be asked can be looked at all the same, with the reason why it is not.
    let shown: Value =
        serde_json::from_str(&system.verb(&["prompt", "show", "--contender", "llm", "--json"]))
            .unwrap();
    assert!(
        shown["not_asked"]
            .as_str()
            .unwrap()
            .contains("calls are made today"),
        "{shown:#}"
    );
    assert!(
        system
            .verb(&["prompt", "show", "--contender", "llm"])
            .contains("nobody would be asked now")
    );
}

#[test]
fn spent_budget_allows_only_reducing() {
    let server = ModelServer::start(|_, asked| {
        let data = asked.data();
        // Told that nothing more may open, it wants more all the same.
        let told = data["limits"]["allowed"][INST] == json!(["hold", "close"]);
        let held = !data["positions"].as_array().unwrap().is_empty();
        let at = |away: f64| format!("{:.6}", mark(&data) + away * atr(&data));
        let target = |weight: &str, stop: Value| {
            json!({"symbol": INST, "weight": weight, "stop_px": stop, "target_px": null,
                "horizon_min": null, "p_target_first": null, "invalidation": null, "reason": "more"})
        };
        let targets = match (told, held) {
            // Under the stop that it has.
            (true, _) => vec![target("0.9", data["positions"][0]["stop_px"].clone())],
            (false, true) => vec![],
            // Small: what no limit cuts off may become more.
            (false, false) => vec![target("0.02", json!(at(-5.0)))],
        };
        Say::text(
            json!({"schema": "portfolio.v1", "snap": data["meta"]["snap"], "targets": targets, "unlisted": "keep",
                "reason": "a test"})
            .to_string(),
        )
    });
    // Three calls for anything, three more for what is held. A burst of this market may take the
    // position out before it comes to that; then there is nothing to ask about, and it begins anew.
    let more = "mode = \"portfolio\"\nrisk_budget_pct = \"2\"\ncalls_per_day_max = 6\nreserve_pct = \"50\"\nleverage_max = \"5\"";
    let refused = "SELECT COUNT(*) FROM llm_items WHERE code = 'close_only'";
    let attempt = || {
        let before = server.count();
        let system = System::start(&server, "4", "", more);
        let over =
            || system.count(refused) > 0 || system.daemon.log().contains("calls are made today");
        wait_for("more of it refused, or nothing left to ask about", over);
        (system.count(refused) > 0).then(|| (server.count() - before, system))
    };
    let (calls, system) = (0..12)
        .find_map(|_| attempt())
        .expect("one in twelve positions lives for three bars");
    assert!(calls > 3 && calls <= 6, "{calls} calls");
    let grown = "SELECT COUNT(*) FROM llm_items i WHERE i.code = 'accepted' AND i.action = 'weight' AND i.at_ms >
        (SELECT MIN(at_ms) FROM llm_items WHERE code = 'close_only')";
    assert_eq!(system.count(grown), 0);
}
