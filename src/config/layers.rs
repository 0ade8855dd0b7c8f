//! Where values come from: built-in defaults ← a file ← `.env` ← the environment. Each value remembers
//! its source.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use config::{Environment, File, FileFormat};
use serde_json::Value;

use super::Problem;

/// The defaults, compiled in.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");
/// Environment variables with this prefix are configuration: `ALPHA_ARENA__RISK__OPEN_ORDERS_MAX`.
const PREFIX: &str = "ALPHA_ARENA";
/// Variables with the prefix that are not configuration keys.
const NOT_CONFIG: [&str; 4] = ["ALPHA_ARENA_CONFIG", "ALPHA_ARENA_LOG", "ALPHA_ARENA_FAULT", "ALPHA_ARENA_FAULT_ONCE"];

/// What the command line says, stronger than every layer.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub config: Option<PathBuf>,
    pub speed: Option<f64>,
}

/// The merged tree and the source of each leaf.
#[derive(Clone, Debug)]
pub struct Layers {
    pub tree: Value,
    /// Dotted key → where its value came from.
    pub sources: BTreeMap<String, String>,
    /// The environment over `.env`: what secrets are read from.
    pub env: HashMap<String, String>,
    /// The configuration file, if one was named.
    pub file: Option<PathBuf>,
    /// What it said when it was read.
    pub file_text: String,
    /// Every word on the trading switch, with who says it. Any `false` wins.
    pub trading: Vec<(String, String)>,
    /// `TRADING_ENABLED` of the process's own environment: the word that mode live insists on.
    pub trading_word: Option<String>,
}

impl Layers {
    /// Reads all layers. `env` is the process's environment.
    ///
    /// # Errors
    /// A file that is missing or is not TOML, each with its name.
    pub fn read(overrides: &Overrides, env: HashMap<String, String>) -> Result<Self, Problem> {
        let mut layers = Self {
            tree: Value::Object(Default::default()),
            sources: BTreeMap::new(),
            env: HashMap::new(),
            file: None,
            file_text: String::new(),
            trading: Vec::new(),
            trading_word: env.get("TRADING_ENABLED").cloned(),
        };
        layers.add("default", toml_layer("the built-in defaults", DEFAULTS)?);
        let file = overrides.config.clone().or_else(|| env.get("ALPHA_ARENA_CONFIG").map(PathBuf::from));
        if let Some(path) = file {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(&path)
                .map_err(|error| Problem::new("--config", format!("{name} cannot be read: {error}")))?;
            layers.add(&name, toml_layer(&name, &text)?);
            layers.file = Some(path);
            layers.file_text = text;
        }
        let dotenv = dotenv(Path::new(".env"))?;
        layers.add(".env", env_layer(&dotenv)?);
        layers.add("environment", env_layer(&env)?);
        if let Some(speed) = overrides.speed {
            layers.add("--speed", serde_json::json!({"exchange": {"speed": speed}}));
        }
        for (name, source) in [(&dotenv, ".env"), (&env, "environment")] {
            if let Some(word) = name.get("TRADING_ENABLED") {
                layers.trading.push((format!("TRADING_ENABLED in {source}"), word.clone()));
            }
        }
        layers.env = dotenv;
        layers.env.extend(env);
        Ok(layers)
    }

    fn add(&mut self, source: &str, layer: Value) {
        match &layer["trading"]["enabled"] {
            Value::Null => {}
            Value::String(word) => self.trading.push((format!("trading.enabled in {source}"), word.clone())),
            other => self.trading.push((format!("trading.enabled in {source}"), other.to_string())),
        }
        merge(&mut self.tree, layer, "", source, &mut self.sources);
    }
}

fn toml_layer(name: &str, text: &str) -> Result<Value, Problem> {
    // Parsed by `toml` first for its message, which has line, column and a picture of the line.
    let parsed: Result<toml::Table, _> = toml::from_str(text);
    if let Err(error) = parsed {
        return Err(Problem::new(name, error.to_string().trim_end().to_owned()));
    }
    config::Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|error| Problem::new(name, error.to_string()))
}

fn env_layer(env: &HashMap<String, String>) -> Result<Value, Problem> {
    let ours = |name: &String| name.starts_with(PREFIX) && !NOT_CONFIG.contains(&name.as_str());
    if let Some(odd) = env.keys().find(|name| ours(name) && !name.starts_with("ALPHA_ARENA__")) {
        return Err(Problem::new(
            odd,
            "is no configuration key: two underscores follow ALPHA_ARENA and part its sections, as in ALPHA_ARENA__RISK__OPEN_ORDERS_MAX",
        ));
    }
    let ours = env.iter().filter(|(name, _)| ours(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
    let source = Environment::with_prefix(PREFIX).prefix_separator("__").separator("__").source(Some(ours));
    config::Config::builder()
        .add_source(source)
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|error| Problem::new("environment", error.to_string()))
}

fn dotenv(path: &Path) -> Result<HashMap<String, String>, Problem> {
    if !path.exists() {
        return Ok(HashMap::new());
    }
    // dotenvy's own words repeat the line, which may hold a secret.
    let bad = |error: dotenvy::Error| match error {
        dotenvy::Error::Io(error) => Problem::new(".env", error.to_string()),
        _ => {
            Problem::new(".env", "a line cannot be read; write NAME=value, with quotes around a value that has spaces")
        }
    };
    dotenvy::from_path_iter(path).map_err(bad)?.collect::<Result<_, _>>().map_err(bad)
}

fn merge(into: &mut Value, layer: Value, at: &str, source: &str, sources: &mut BTreeMap<String, String>) {
    match (into, layer) {
        (Value::Object(into), Value::Object(layer)) => {
            for (key, value) in layer {
                let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                let slot = into.entry(key).or_insert_with(|| match value {
                    Value::Object(_) => Value::Object(Default::default()),
                    _ => Value::Null,
                });
                merge(slot, value, &path, source, sources);
            }
        }
        (into, value) => {
            sources.insert(at.to_owned(), source.to_owned());
            *into = value;
        }
    }
}
