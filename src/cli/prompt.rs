//! `prompt show`: exactly what a model would be asked now.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Failure, Global, output};
use crate::exit::Exit;
use crate::llm::answer::AnswerMode;
use crate::ops::control::ControlClient;
use crate::runtime::wall_ms;
use crate::store::StateDir;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum PromptVerb {
    /// Prompt a contender's model would get now, word for word.
    Show(ShowArgs),
    /// The JSON Schema of an answer.
    Schema {
        /// `single` or `portfolio`.
        #[arg(value_parser = ["single", "portfolio"])]
        mode: String,
    },
}

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena prompt show --contender llama\n  alpha-arena prompt show --contender llama --inst ETH-USDT-SWAP --data | jq .series"
)]
pub(super) struct ShowArgs {
    /// The contender.
    #[arg(long, value_name = "ID")]
    contender: String,
    /// The instrument, for one that is asked about each by itself [default: its first].
    #[arg(long)]
    inst: Option<String>,
    /// Only the data, as JSON.
    #[arg(long)]
    data: bool,
    /// JSON for scripts: messages, hashes and data.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, verb: PromptVerb) -> Result<Exit, Failure> {
    let args = match verb {
        PromptVerb::Show(args) => args,
        PromptVerb::Schema { mode } => {
            let mode = if mode == "single" {
                AnswerMode::Single
            } else {
                AnswerMode::Portfolio
            };
            output::say(serde_json::to_string_pretty(&mode.schema()).unwrap_or_default());
            return Ok(Exit::Ok);
        }
    };
    let config = global.load(None)?;
    let dir = global.state_dir(&config);
    let asked = match ControlClient::of(&StateDir::socket(&dir)) {
        Some(client) => {
            client
                .ask(
                    "prompt",
                    &json!({"contender": args.contender, "inst": args.inst}),
                )
                .await
        }
        None => None,
    };
    let reply = match asked {
        Some(Ok(reply)) => reply,
        Some(Err((_, why))) => return Err(Failure::new(Exit::Unavailable, why)),
        None => {
            let why = format!(
                "no daemon runs in {}: what a model would see is the state of a running one; start it with `alpha-arena run`",
                dir.display()
            );
            return Err(Failure::new(Exit::Unavailable, why));
        }
    };
    if args.json {
        let mut body = json!({"schema": "prompt show/1", "as_of_ms": wall_ms()});
        if let (Value::Object(body), Value::Object(more)) = (&mut body, reply) {
            body.extend(more);
        }
        output::say(body);
        return Ok(Exit::Ok);
    }
    if args.data {
        output::say(reply["data"].as_str().unwrap_or_default());
        return Ok(Exit::Ok);
    }
    let text = |name: &str| reply[name].as_str().unwrap_or_default().to_owned();
    output::say(format_args!(
        "model {}, template {} ({:.12}), prompt {:.12}",
        text("model"),
        text("template"),
        text("template_hash"),
        text("prompt_hash")
    ));
    if let Some(why) = reply["not_asked"].as_str() {
        output::say(format_args!(
            "nobody would be asked now: {why}; this is what it would be"
        ));
    }
    for message in reply["messages"].as_array().into_iter().flatten() {
        let part = |name: &str| message[name].as_str().unwrap_or_default();
        output::say(format_args!(
            "\n=== {} ===\n{}",
            part("role"),
            output::plain(part("content"))
        ));
    }
    Ok(Exit::Ok)
}
