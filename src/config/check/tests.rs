//! Tests of `check.rs`.

use super::*;
use crate::config::Overrides;
use std::collections::HashMap;

fn check(env: &[(&str, &str)]) -> Result<Config, Problems> {
    let env: HashMap<String, String> = env
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Config::check(Layers::read(&Overrides::default(), env)?)
}

#[test]
fn the_defaults_are_a_valid_configuration() {
    let config = check(&[]).unwrap();
    assert_eq!(config.mode, Mode::Sim);
    assert!(config.trading_enabled);
    assert!(config.live_contenders().count() >= 2);
}

/// One `false` wins over any `true`, and only the exact words `true` and `false` are accepted.
#[test]
fn any_source_can_switch_trading_off() {
    let on = |env: &[(&str, &str)]| check(env).unwrap().trading_enabled;
    assert!(on(&[("TRADING_ENABLED", "true")]));
    assert!(!on(&[("TRADING_ENABLED", "false")]));
    assert!(!on(&[
        ("TRADING_ENABLED", "true"),
        ("ALPHA_ARENA__TRADING__ENABLED", "false")
    ]));
    assert!(!on(&[
        ("TRADING_ENABLED", "false"),
        ("ALPHA_ARENA__TRADING__ENABLED", "true")
    ]));
    for word in ["TRUE", "1", "yes", "", "false "] {
        let problems = check(&[("TRADING_ENABLED", word)]).unwrap_err();
        assert_eq!(problems.0[0].key, "TRADING_ENABLED", "{word}");
    }
}

/// The config file says trading is off, both variables say on: it stays off, and the file is
/// named as the cause.
#[test]
fn environment_cannot_override_file_off() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("off.toml");
    std::fs::write(&file, "[trading]\nenabled = false\n").unwrap();
    let overrides = Overrides {
        config: Some(file),
        speed: None,
    };
    let env = [
        ("ALPHA_ARENA__TRADING__ENABLED", "true"),
        ("TRADING_ENABLED", "true"),
    ];
    let env = env
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let config = Config::check(Layers::read(&overrides, env).unwrap()).unwrap();
    assert!(!config.trading_enabled);
    assert!(config.trading_off_by.unwrap().contains("off.toml"));
}

/// Live mode without `venue.uid` is an error; with it, trading still stays off until
/// TRADING_ENABLED=true.
#[test]
fn live_needs_switch_and_pinned_account() {
    let live = [
        ("ALPHA_ARENA__MODE", "live"),
        ("ALPHA_ARENA__VENUE__REST_URL", "https://www.okx.com"),
        ("ALPHA_ARENA__VENUE__WS_URL", "wss://ws.okx.com:8443/ws/v5"),
        ("ALPHA_ARENA__MARKET__BAR", "1m"),
    ];
    assert_eq!(check(&live).unwrap_err().0[0].key, "venue.uid");
    let mut pinned = live.to_vec();
    pinned.push(("ALPHA_ARENA__VENUE__UID", "7"));
    assert!(!check(&pinned).unwrap().trading_enabled);
    pinned.push(("TRADING_ENABLED", "true"));
    assert!(check(&pinned).unwrap().trading_enabled);
}

/// Three bad values give three problems, and a misspelt key gets a suggestion.
#[test]
fn all_problems_are_reported_by_key() {
    let problems = check(&[
        ("ALPHA_ARENA__RISK__OPEN_ORDER_MAX", "3"),
        ("ALPHA_ARENA__MARKET__BAR", "7m"),
        ("ALPHA_ARENA__EXCHANGE__SPEED", "-1"),
    ])
    .unwrap_err();
    let keys: Vec<&str> = problems.0.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(
        keys,
        ["exchange.speed", "market.bar", "risk.open_order_max"]
    );
    assert!(
        problems
            .to_string()
            .contains("did you mean 'open_orders_max'"),
        "{problems}"
    );
}

/// It is reported as a problem instead of being silently ignored.
#[test]
fn single_underscore_key_is_refused() {
    let problems = check(&[("ALPHA_ARENA_TRADING__ENABLED", "false")]).unwrap_err();
    assert_eq!(problems.0[0].key, "ALPHA_ARENA_TRADING__ENABLED");
}

/// Plain http, the live WebSocket host in demo mode and a WebSocket URL without its path are
/// refused by key.
#[test]
fn venue_urls_need_tls_and_right_host() {
    let demo = |rest: &str, ws: &str| {
        let env = [
            ("ALPHA_ARENA__MODE", "okx-demo"),
            ("ALPHA_ARENA__MARKET__BAR", "1m"),
            ("ALPHA_ARENA__VENUE__REST_URL", rest),
            ("ALPHA_ARENA__VENUE__WS_URL", ws),
        ];
        check(&env).map(drop).map_err(|p| p.0[0].key.clone())
    };
    assert_eq!(
        demo("https://www.okx.com", "wss://wspap.okx.com:8443/ws/v5"),
        Ok(())
    );
    assert_eq!(
        demo("http://www.okx.com", "wss://wspap.okx.com:8443/ws/v5"),
        Err("venue.rest_url".into())
    );
    assert_eq!(
        demo("https://www.okx.com", "wss://ws.okx.com:8443/ws/v5"),
        Err("venue.ws_url".into())
    );
    assert_eq!(
        demo("https://www.okx.com", "wss://wspap.okx.com:8443"),
        Err("venue.ws_url".into())
    );
}

/// A 1s bar outside sim mode, a second bar that is no multiple of the first, or a decision
/// interval that misses closes.
#[test]
fn undecidable_bars_are_refused() {
    let key = |env: &[(&str, &str)]| check(env).map(drop).map_err(|p| p.0[0].key.clone());
    assert_eq!(
        key(&[
            ("ALPHA_ARENA__MODE", "paper"),
            ("ALPHA_ARENA__VENUE__REST_URL", "https://www.okx.com"),
            ("ALPHA_ARENA__VENUE__WS_URL", "wss://ws.okx.com:8443/ws/v5")
        ]),
        Err("market.bar".into())
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bars.toml");
    let with = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let overrides = Overrides {
            config: Some(file.clone()),
            speed: None,
        };
        Config::check(Layers::read(&overrides, HashMap::new()).unwrap())
            .map(drop)
            .map_err(|p| p.0[0].key.clone())
    };
    assert_eq!(
        with("[market]\nbar = \"3m\"\nmore_bars = [\"5m\"]\n"),
        Err("market.more_bars".into())
    );
    let contender = |every: i64| {
        format!(
            "[market]\nbar = \"1m\"\nmore_bars = [\"3m\"]\n[decision]\nevery_bars = {every}\n[[contender]]\nid = \"x\"\nkind = \"rule\"\n\
         strategy = \"sma_cross\"\nstage = \"live\"\nweight = \"0.1\"\nbar = \"3m\"\ninstruments = [\"BTC-USDT\"]\n\
         params = {{ fast = 5, slow = 20 }}\nexecution = {{ policy = \"market\" }}\n"
        )
    };
    assert_eq!(with(&contender(5)), Err("decision.every_bars".into()));
    assert_eq!(with(&contender(3)), Ok(()));
}

/// No configuration can raise a risk limit above its hard ceiling.
#[test]
fn limit_over_the_ceiling_is_refused() {
    let problems = check(&[("ALPHA_ARENA__RISK__ORDER_NOTIONAL_MAX", "1000000000")]).unwrap_err();
    assert_eq!(problems.0[0].key, "risk.order_notional_max");
}

/// live.toml lacks only `venue.uid`.
#[test]
fn shipped_config_files_are_valid() {
    for (file, missing) in [
        ("paper", None),
        ("replay", None),
        ("okx-demo", None),
        ("live", Some("venue.uid")),
    ] {
        let path = format!("{}/config/{file}.toml", env!("CARGO_MANIFEST_DIR"));
        let overrides = Overrides {
            config: Some(path.into()),
            speed: None,
        };
        let checked = Config::check(Layers::read(&overrides, HashMap::new()).unwrap());
        match missing {
            None => drop(checked.unwrap()),
            Some(key) => assert_eq!(
                checked
                    .unwrap_err()
                    .0
                    .iter()
                    .map(|p| &p.key)
                    .collect::<Vec<_>>(),
                [key]
            ),
        }
    }
}
