//! Providers that fail: late, ill, refusing; what is done meanwhile.

use super::*;

/// The late reply is kept, and its question counts as a timeout.
#[test]
fn late_answer_is_never_acted_on() {
    let server = ModelServer::start(|n, asked| match n {
        0 => Say::Slow(
            Duration::from_millis(1500),
            completion(long(asked, 5.5, 19.0).to_string()),
        ),
        _ => Say::text(action(asked, "hold").to_string()),
    });
    let system = System::start(&server, "10", "deadline_ms = 500", "");
    system.until(
        "the late reply",
        "SELECT COUNT(*) FROM llm_calls WHERE outcome = 'late' AND reply_hash IS NOT NULL",
    );
    system.until(
        "a later answer",
        "SELECT COUNT(*) FROM llm_items WHERE action = 'hold' AND code = 'accepted'",
    );
    system.until_count(
        "one timeout",
        "SELECT COUNT(*) FROM llm_items WHERE code = 'timeout'",
        1,
    );
    assert_eq!(
        system.count("SELECT COUNT(*) FROM orders WHERE contender_id = 'llm'"),
        0
    );
}

/// After 503, a cut, 429 or prose it is asked once more; after 401 never again until a restart.
#[test]
fn failing_server_is_asked_twice() {
    let server = ModelServer::start(|n, asked| match n {
        0 => Say::Http(503, "retry-after: 0\r\n", b"busy".to_vec()),
        1 => Say::text(action(asked, "hold").to_string()),
        2 => Say::Cut,
        3 => Say::Http(429, "", b"{}".to_vec()),
        // Not in the form asked for: one more question, with the reason.
        4 => Say::text("I would hold."),
        5 => Say::text(action(asked, "hold").to_string()),
        _ => Say::Http(401, "", b"{\"error\":\"invalid key sk-...\"}".to_vec()),
    });
    let mut system = System::start(&server, "10", "response_format = \"none\"", "");
    system.daemon.wait_log("not asked again until a restart");
    // 503 and an answer; a cut and 429; prose and an answer; 401.
    system.until_count("four questions", "SELECT COUNT(*) FROM llm_questions", 4);
    system.until_count("their calls", "SELECT COUNT(*) FROM llm_calls", 7);
    let all = server.all();
    assert_eq!(all.len(), 7);
    let last = all[5].body["messages"].as_array().unwrap().last().unwrap()["content"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        last.contains("syntax") && last.contains("Answer once more"),
        "{last}"
    );
    let codes: Vec<String> = {
        let db = system.daemon.db();
        let mut query = db
            .prepare("SELECT outcome FROM llm_calls ORDER BY id")
            .unwrap();
        query
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    assert_eq!(
        codes,
        [
            "http_status",
            "accepted",
            "unreachable",
            "rate_limited",
            "syntax",
            "accepted",
            "forbidden"
        ]
    );
    let failures = "SELECT COUNT(*) FROM llm_items WHERE inst_id = '' AND code IN ('rate_limited', 'forbidden')";
    system.until_count("failures counted as failures", failures, 2);
}

/// Nobody asks again after three questions answered with 400, or one with 404.
#[test]
fn unknown_model_is_given_up() {
    let server =
        ModelServer::start(|_, _| Say::Http(400, "", b"{\"error\":\"no such model\"}".to_vec()));
    let mut system = System::start(&server, "10", "", "");
    system.daemon.wait_log("not asked again until a restart");
    system.until_count("three questions", "SELECT COUNT(*) FROM llm_questions", 3);
    assert_eq!(server.count(), 9, "each in all three ways of asking");
    system.until_count(
        "three refusals",
        "SELECT COUNT(*) FROM llm_items WHERE code = 'rejected'",
        3,
    );
    // One that says so in its status at once.
    let server =
        ModelServer::start(|_, _| Say::Http(404, "", b"{\"error\":\"model not found\"}".to_vec()));
    let mut system = System::start(&server, "10", "", "");
    system.daemon.wait_log("not asked again until a restart");
    system.until_count("one question", "SELECT COUNT(*) FROM llm_questions", 1);
    assert_eq!(server.count(), 1);
}

/// Good answers until something is held; from then on the provider is ill, for all who ask there.
fn ill_once_held() -> ModelServer {
    let ill = std::sync::atomic::AtomicBool::new(false);
    ModelServer::start(move |_, asked| {
        use std::sync::atomic::Ordering::Relaxed;
        if !asked.data()["positions"].as_array().unwrap().is_empty() {
            ill.store(true, Relaxed);
        }
        match ill.load(Relaxed) {
            true => Say::Http(503, "retry-after: 0\r\n", b"ill".to_vec()),
            false => Say::text(long(asked, 5.5, 19.0).to_string()),
        }
    })
}

const CROSS: &str = "strategy = \"sma_cross\", params = { fast = 2, slow = 3, stop_pct = 0 }";
const BY_RULE: &str = "SELECT COUNT(*) FROM llm_items i JOIN llm_questions q USING (run_id) WHERE q.model = 'rule:sma_cross'";
const ENTRIES: &str =
    "SELECT COUNT(*) FROM orders o JOIN llm_questions q USING (run_id) WHERE q.model = 'rule:sma_cross'
    AND o.purpose = 'entry'";

/// While the provider fails, the rule closes what it would not hold and opens nothing.
#[test]
fn fallback_rule_only_reduces() {
    let more = format!("opens_per_day_max = 1000\nrule_fallback = {{ {CROSS} }}");
    let closed = format!("{BY_RULE} AND i.action = 'close' AND i.code = 'accepted'");
    // A burst of this market may take the position out before the rule does: then it begins anew.
    // The pace is low, so that a busy machine, too, lets the provider fail in as many bars as it
    // has to.
    let attempt = || {
        let server = ill_once_held();
        let mut system = System::start(&server, "4", "response_format = \"none\"", &more);
        system.daemon.wait_log("the provider fails too often");
        let over = "SELECT COUNT(*) FROM llm_trades";
        wait_for("a close by the rule, or by the market", || {
            system.count(&closed) + system.count(over) > 0
        });
        (system.count(&closed) > 0).then_some((server, system))
    };
    let (server, system) = (0..12)
        .find_map(|_| attempt())
        .expect("one in twelve positions lives until the rule looks at it");
    let exits = "SELECT COUNT(*) FROM orders o JOIN llm_questions q USING (run_id) WHERE q.model = 'rule:sma_cross' AND o.purpose = 'exit'";
    let over = "SELECT COUNT(*) FROM llm_trades";
    wait_for("its order, or the end of it", || {
        system.count(exits) + system.count(over) > 0
    });
    let asked = server.count();
    let syncs = "SELECT COUNT(*) FROM runs WHERE kind = 'sync'";
    let seen = system.count(syncs);
    wait_for("some time without the provider", || {
        system.count(syncs) > seen + 2
    });
    assert!(
        server.count() <= asked + 4,
        "it rests: one question tries it now and then"
    );
    assert_eq!(system.count(ENTRIES), 0, "{}", system.daemon.log());
    assert_eq!(
        system.count(&format!("{BY_RULE} AND i.action NOT IN ('close', 'leave')")),
        0
    );
    system.until(
        "five refusals",
        "SELECT COUNT(*) >= 5 FROM llm_calls WHERE status = 503",
    );
    // What the rule named is kept, and judged again to the byte.
    let run: String = {
        let db = system.daemon.db();
        db.query_row(
            "SELECT run_id FROM llm_questions WHERE model = 'rule:sma_cross' LIMIT 1",
            [],
            |row| row.get(0),
        )
        .unwrap()
    };
    let replayed: Value = serde_json::from_str(&system.verb(&["replay", &run, "--json"])).unwrap();
    assert_eq!(
        (&replayed["same"], &replayed["runs"]),
        (&json!(1), &json!(1)),
        "{replayed:#}"
    );
}

/// On bars as long as the provider's rest each close asks again, and the rule decides when that
/// fails.
#[test]
fn rule_decides_when_the_question_fails() {
    let server = ModelServer::start(|_, _| Say::Http(503, "retry-after: 0\r\n", b"ill".to_vec()));
    let dir = tempfile::tempdir().unwrap();
    let more = format!(
        "rule_fallback = {{ {CROSS}, may_open = true }}\n[market]\nbar = \"5m\"\n[decision]\nevery_bars = 1\n[supervision]\nfreeze_ms = 60000"
    );
    let exchange = Exchange::start(&["--speed", "200"]);
    let config = config(dir.path(), &server, "response_format = \"none\"", &more);
    let daemon = System::daemon(&dir.path().join("state"), &config, &exchange, &[]);
    let system = System {
        daemon,
        exchange,
        config,
        _dir: dir,
    };
    // Each close asks again, for its rest is over by then; and at each the rule decides all the
    // same.
    let by_rule = "SELECT COUNT(*) FROM llm_questions WHERE model = 'rule:sma_cross'";
    wait_for("three decisions of the rule", || system.count(by_rule) >= 3);
    let after = "SELECT COUNT(*) FROM llm_questions WHERE model NOT LIKE 'rule:%' AND at_ms >
        (SELECT MIN(at_ms) FROM llm_questions WHERE model LIKE 'rule:%')";
    assert!(system.count(after) >= 1, "it was asked in between");
}

/// A rule that may open is held to openings per day and a stop on each entry.
#[test]
fn opening_rule_obeys_the_models_limits() {
    let server = ModelServer::start(|_, _| Say::Http(503, "retry-after: 0\r\n", b"ill".to_vec()));
    let more = format!("opens_per_day_max = 2\nrule_fallback = {{ {CROSS}, may_open = true }}");
    let system = System::start(&server, "20", "response_format = \"none\"", &more);
    system.until("an entry by the rule", ENTRIES);
    system.until(
        "a third opening refused",
        &format!("{BY_RULE} AND i.code = 'opens_per_day'"),
    );
    let bare = format!("{ENTRIES} AND o.stop_px IS NULL");
    assert_eq!(system.count(&bare), 0, "entries without a stop");
    let opened =
        "SELECT COUNT(DISTINCT f.run_id) FROM fills f JOIN orders o ON o.order_id = f.order_id
        WHERE o.purpose = 'entry' AND o.contender_id = 'llm'";
    assert!(
        (1..=2).contains(&system.count(opened)),
        "{}",
        system.daemon.log()
    );
    let run: String = {
        let db = system.daemon.db();
        let sql = "SELECT o.run_id FROM orders o JOIN llm_questions q USING (run_id) WHERE q.model = 'rule:sma_cross' LIMIT 1";
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let page = system.verb(&["decisions", "show", &run]);
    assert!(
        page.contains("rule:sma_cross") && page.contains("accepted"),
        "{page}"
    );
}

/// A second contender, with a second model at the same address.
fn twin(server: &ModelServer) -> String {
    format!(
        "[[model]]\nid = \"twin\"\nbase_url = \"{}\"\nmodel = \"stub-2\"\nresponse_format = \"none\"\n\
         calls_per_minute = 10000\n[[contender]]\nid = \"twin\"\nkind = \"llm\"\nmodel = \"twin\"\nstage = \"live\"\n\
         weight = \"0.2\"\ninstruments = [\"{INST}\"]\nleast_ms = 0\nexecution = {{ policy = \"ioc_limit\", collar_bps = 50 }}",
        server.url
    )
}

/// Two models of one provider rest together; after the rest one question tries it.
#[test]
fn models_share_their_providers_rest() {
    let server = ModelServer::start(|_, _| Say::Http(503, "retry-after: 0\r\n", b"ill".to_vec()));
    let second = twin(&server);
    let mut system = System::start(&server, "20", "response_format = \"none\"", &second);
    system.daemon.wait_log("the provider fails too often");
    // What was on its way when it opened comes back; then nobody for the rest, and after it one
    // question. Each is of two tries.
    let calls = "SELECT COUNT(*) FROM llm_calls";
    let questions = "SELECT COUNT(*) FROM llm_questions";
    let settled = || system.count(calls) == 2 * system.count(questions);
    wait_for("all of them in the database", settled);
    let before = system.count(questions);
    assert!(before <= 4, "{before} questions until it rested");
    let tried = || system.count(questions) > before && settled();
    wait_for("a try after the rest", tried);
    let syncs = "SELECT COUNT(*) FROM runs WHERE kind = 'sync'";
    let seen = system.count(syncs);
    wait_for("some time", || system.count(syncs) > seen + 1);
    assert_eq!(system.count(questions), before + 1, "one of the two");
    assert_eq!(
        system
            .daemon
            .log()
            .matches("the provider fails too often")
            .count(),
        1,
        "told once"
    );
}

/// After an outage that passes, the best format is used again.
#[test]
fn outage_costs_no_response_format() {
    let server = ModelServer::start(|n, asked| match n {
        // Ill at the first contact, in whatever way it is asked; and again once it has worked.
        0..=3 | 5 => Say::Http(500, "retry-after: 0\r\n", b"{}".to_vec()),
        _ => Say::text(action(asked, "hold").to_string()),
    });
    let _system = System::start(&server, "10", "", "");
    wait_for("it works", || server.count() > 8);
    let formats: Vec<String> = server.all().iter().map(Asked::format).collect();
    let first = ["json_schema", "json_object", "json_object", "none"];
    assert_eq!(
        formats[..4],
        first,
        "two tries a question, and the next begins where it ended"
    );
    assert!(
        formats[4..].iter().all(|format| format == "json_schema"),
        "{formats:?}"
    );
}

/// The model that works is still asked at the provider they share.
#[test]
fn broken_model_does_not_block_another() {
    // One address, two models: the first always ill, the second well.
    let server = ModelServer::start(|_, asked| match asked.body["model"].as_str().unwrap() {
        "stub-1" => Say::Http(503, "retry-after: 0\r\n", b"ill".to_vec()),
        _ => Say::text(action(asked, "hold").to_string()),
    });
    let second = twin(&server);
    let mut system = System::start(&server, "50", "response_format = \"none\"", &second);
    system.daemon.wait_log("the provider fails too often");
    let well = "SELECT COUNT(*) FROM llm_items WHERE contender_id = 'twin' AND code = 'accepted'";
    let before = system.count(well);
    wait_for("the one that works is asked again", || {
        system.count(well) > before + 3
    });
}
