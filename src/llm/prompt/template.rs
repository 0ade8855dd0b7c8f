//! The words around the data: a file that a template engine fills in. Pure.

use minijinja::{Environment, UndefinedBehavior, context};
use sha2::{Digest, Sha256};

use super::data::Contract;
use crate::llm::answer::AnswerMode;
use crate::llm::chat::Message;

/// The line between what the system says and what the user asks.
pub const DIVIDER: &str = "=== user ===";

const SINGLE: &str = include_str!("../../../config/prompts/single.v2.md");
const PORTFOLIO: &str = include_str!("../../../config/prompts/portfolio.v2.md");

/// A template that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("prompt {name}: {why}")]
    Broken { name: String, why: String },
    #[error(
        "prompt {name}: there must be one line '{DIVIDER}' between what the system says and what the user asks"
    )]
    Undivided { name: String },
}

/// A prompt's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub name: String,
    pub source: String,
    /// SHA-256 of the source, hex.
    pub hash: String,
}

/// Prompt as it is sent.
#[derive(Clone, Debug)]
pub struct Prompt {
    pub messages: Vec<Message>,
    /// SHA-256 of all messages, hex.
    pub hash: String,
}

impl Template {
    /// A file's text, or the one that is built in.
    pub fn new(name: impl Into<String>, source: impl Into<String>) -> Self {
        let (name, source) = (name.into(), source.into());
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&source));
        Self { name, source, hash }
    }

    /// The one that is used if none is named.
    pub fn built_in(mode: AnswerMode) -> Self {
        match mode {
            AnswerMode::Single => Self::new("single.v2", SINGLE),
            AnswerMode::Portfolio => Self::new("portfolio.v2", PORTFOLIO),
        }
    }

    /// Fills it in. Names that the data does not have are errors, not blanks.
    ///
    /// # Errors
    /// No template, an unknown name, no divider.
    pub fn render(&self, mode: AnswerMode, contract: &Contract) -> Result<Prompt, TemplateError> {
        // Divided before anything is filled in: what stands in the data divides nothing.
        let parts: Vec<&str> = self.source.split(DIVIDER).collect();
        let [system, user] = parts[..] else {
            return Err(TemplateError::Undivided {
                name: self.name.clone(),
            });
        };
        let above = system.matches('\n').count();
        let fill = |source: &str, above: usize| -> Result<String, TemplateError> {
            let broken = |error: minijinja::Error| {
                let why = error
                    .detail()
                    .map_or_else(|| error.kind().to_string(), str::to_owned);
                let line = error
                    .line()
                    .map_or_else(String::new, |line| format!(", line {}", line + above));
                TemplateError::Broken {
                    name: self.name.clone(),
                    why: format!("{why}{line}"),
                }
            };
            let mut env = Environment::new();
            env.set_undefined_behavior(UndefinedBehavior::Strict);
            env.add_template("prompt", source).map_err(broken)?;
            let schema = serde_json::to_string(&mode.schema()).expect("a schema is JSON");
            let answer = described(&mode.schema());
            let data = minijinja::value::Serde(&contract.data);
            let values = context! { data, json => &contract.text, schema, answer };
            env.get_template("prompt")
                .map_err(broken)?
                .render(values)
                .map_err(broken)
        };
        let (system, user) = (fill(system, 0)?, fill(user, above)?);
        let messages = vec![
            Message {
                role: "system",
                content: system.trim().to_owned(),
            },
            Message {
                role: "user",
                content: user.trim().to_owned(),
            },
        ];
        Ok(Prompt {
            hash: hash(&messages),
            messages,
        })
    }
}

/// SHA-256 of messages, hex.
pub fn hash(messages: &[Message]) -> String {
    let mut digest = Sha256::new();
    for message in messages {
        digest.update(message.role);
        digest.update([0]);
        digest.update(&message.content);
        digest.update([0]);
    }
    data_encoding::HEXLOWER.encode(&digest.finalize())
}

/// The keys of an answer with what they mean, one a line.
fn described(schema: &serde_json::Value) -> String {
    let mut out = String::new();
    describe(schema, "", &mut out);
    out
}

fn describe(schema: &serde_json::Value, indent: &str, out: &mut String) {
    use std::fmt::Write as _;
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, of) in properties {
        let about = of["description"].as_str().unwrap_or("");
        let words = of["enum"].as_array().map(|words| {
            words
                .iter()
                .filter_map(|word| word.as_str())
                .collect::<Vec<_>>()
                .join("|")
        });
        let _ = writeln!(
            out,
            "{indent}- {name}: {}{about}",
            words.map_or_else(String::new, |words| format!("{words}. "))
        );
        let inner = if of["type"] == "array" {
            &of["items"]
        } else {
            of
        };
        describe(inner, &format!("{indent}  "), out);
        for choice in of["anyOf"].as_array().into_iter().flatten() {
            describe(choice, &format!("{indent}  "), out);
        }
    }
}
