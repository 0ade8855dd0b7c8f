//! `preflight`: the checks before trading, as a table with a cure for each failure.

use serde_json::{Value, json};

use super::{Failure, Global, OutputArgs, output};
use crate::daemon::preflight::alone;
use crate::exit::Exit;
use crate::ops::control::ControlClient;
use crate::runtime::wall_ms;
use crate::store::StateDir;

pub(super) async fn run(global: &Global, args: OutputArgs) -> Result<Exit, Failure> {
    let config = global.load(None)?;
    let dir = global.state_dir(&config);
    let asked = match ControlClient::of(&StateDir::socket(&dir)) {
        Some(client) => client.ask("preflight", &Value::Null).await,
        None => None,
    };
    let (rows, by) = match asked {
        Some(Ok(reply)) => (reply["checks"].clone(), "the running daemon"),
        Some(Err((_, why))) => return Err(Failure::new(Exit::Unavailable, why)),
        None => {
            let checks = alone(config, &dir).await?;
            (
                serde_json::to_value(&checks).unwrap_or_default(),
                "without a daemon",
            )
        }
    };
    let worst = |word: &str| {
        rows.as_array()
            .into_iter()
            .flatten()
            .any(|row| row["verdict"] == word)
    };
    let exit = match (worst("fail"), worst("warn")) {
        (true, _) => Exit::Fail,
        (false, true) => Exit::Warn,
        (false, false) => Exit::Ok,
    };
    if args.json {
        output::say(json!({"schema": "preflight/1", "as_of_ms": wall_ms(), "checks": rows}));
        return Ok(exit);
    }
    let mut table = output::sheet(&["check", "", "found", "what to do"]);
    for row in rows.as_array().into_iter().flatten() {
        let text = |name: &str| row[name].as_str().unwrap_or("");
        table.add_row([text("check"), text("verdict"), text("found"), text("fix")]);
    }
    output::say(table);
    output::say(format_args!("checked {by}"));
    Ok(exit)
}
