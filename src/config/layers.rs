//! Layers of configuration values: built-in defaults ← a file ← `.env` ← the environment. Each
//! value remembers its source.

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
const NOT_CONFIG: [&str; 5] = [
    "ALPHA_ARENA_CONFIG",
    "ALPHA_ARENA_LOG",
    "ALPHA_ARENA_FAULT",
    "ALPHA_ARENA_FAULT_ONCE",
    "ALPHA_ARENA_FAULT_HOLD",
];

/// Values from the command line, stronger than every layer.
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
    /// Text of the configuration file when it was read.
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
        let mut layers = Self::empty();
        layers.trading_word = env.get("TRADING_ENABLED").cloned();
        layers.add("default", toml_layer("the built-in defaults", DEFAULTS)?);
        let file = overrides
            .config
            .clone()
            .or_else(|| env.get("ALPHA_ARENA_CONFIG").map(PathBuf::from));
        if let Some(path) = file {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(&path).map_err(|error| {
                Problem::new("--config", format!("{name} cannot be read: {error}"))
            })?;
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
                layers
                    .trading
                    .push((format!("TRADING_ENABLED in {source}"), word.clone()));
            }
        }
        layers.env = dotenv;
        layers.env.extend(env);
        Ok(layers)
    }

    /// Texts that come with the program, each over the one before it; nothing of the outside.
    pub(super) fn of(texts: &[&str]) -> Self {
        let mut layers = Self::empty();
        for text in texts {
            let layer = toml_layer("a built-in text", text).expect("what is built in is TOML");
            layers.add("built in", layer);
        }
        layers
    }

    fn empty() -> Self {
        Self {
            tree: Value::Object(Default::default()),
            sources: BTreeMap::new(),
            env: HashMap::new(),
            file: None,
            file_text: String::new(),
            trading: Vec::new(),
            trading_word: None,
        }
    }

    fn add(&mut self, source: &str, layer: Value) {
        match &layer["trading"]["enabled"] {
            Value::Null => {}
            Value::String(word) => self
                .trading
                .push((format!("trading.enabled in {source}"), word.clone())),
            other => self
                .trading
                .push((format!("trading.enabled in {source}"), other.to_string())),
        }
        merge(&mut self.tree, layer, "", source, &mut self.sources);
    }
}

fn toml_layer(name: &str, text: &str) -> Result<Value, Problem> {
    // Parsed by `toml` first for its message, which has line, column and a picture of the line.
    let parsed: toml::Table = toml::from_str(text)
        .map_err(|error| Problem::new(name, error.to_string().trim_end().to_owned()))?;
    only_plain_values(name, "", &toml::Value::Table(parsed))?;
    config::Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|error| Problem::new(name, error.to_string()))
}

/// Refuses what TOML can say and no key here means: `nan`, `inf` and dates. Further on they would
/// be lost on the way to JSON and read as "not given", so that a default would stand in without a
/// word.
fn only_plain_values(name: &str, at: &str, value: &toml::Value) -> Result<(), Problem> {
    let key = |part: &str| {
        if at.is_empty() {
            part.to_owned()
        } else {
            format!("{at}.{part}")
        }
    };
    let refuse = |what: &str| Err(Problem::new(at, format!("{what} in {name}")));
    match value {
        toml::Value::Float(number) if !number.is_finite() => refuse(&format!(
            "must be a finite number, is {number}; write a number, or leave the key out for its default"
        )),
        toml::Value::Datetime(when) => refuse(&format!(
            "must be text or a number, is the date {when}; put quotes around it"
        )),
        toml::Value::Table(table) => table
            .iter()
            .try_for_each(|(part, inner)| only_plain_values(name, &key(part), inner)),
        toml::Value::Array(items) => items.iter().enumerate().try_for_each(|(index, inner)| {
            only_plain_values(name, &format!("{at}[{index}]"), inner)
        }),
        _ => Ok(()),
    }
}

fn env_layer(env: &HashMap<String, String>) -> Result<Value, Problem> {
    let ours = |name: &String| name.starts_with(PREFIX) && !NOT_CONFIG.contains(&name.as_str());
    if let Some(odd) = env
        .keys()
        .find(|name| ours(name) && !name.starts_with("ALPHA_ARENA__"))
    {
        return Err(Problem::new(
            odd,
            "is no configuration key: two underscores follow ALPHA_ARENA and part its sections, as in ALPHA_ARENA__RISK__OPEN_ORDERS_MAX",
        ));
    }
    let ours = env
        .iter()
        .filter(|(name, _)| ours(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let source = Environment::with_prefix(PREFIX)
        .prefix_separator("__")
        .separator("__")
        .source(Some(ours));
    config::Config::builder()
        .add_source(source)
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|error| Problem::new("environment", error.to_string()))
}

/// The largest `.env` that is read, in bytes.
const DOTENV_MAX: u64 = 1 << 20;

fn dotenv(path: &Path) -> Result<HashMap<String, String>, Problem> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(Problem::new(".env", format!("cannot be read: {error}"))),
    };
    if !meta.is_file() || meta.len() > DOTENV_MAX {
        return Err(Problem::new(
            ".env",
            "must be a regular file of at most one MiB",
        ));
    }
    // dotenvy's own words repeat the line, which may hold a secret.
    let bad = |error: dotenvy::Error| match error {
        dotenvy::Error::Io(error) => Problem::new(".env", error.to_string()),
        _ => Problem::new(
            ".env",
            "a line cannot be read; write NAME=value, with quotes around a value that has spaces",
        ),
    };
    let found: HashMap<String, String> = dotenvy::from_path_iter(path)
        .map_err(bad)?
        .collect::<Result<_, _>>()
        .map_err(bad)?;
    if let Some(name) = found.keys().find(|name| super::secrets::is_secret(name))
        && super::secrets::is_open_to_others(&meta)
    {
        let fix = "it holds a secret and others on this machine may read it; `chmod 600 .env`";
        return Err(Problem::new(".env", format!("{name}: {fix}")));
    }
    Ok(found)
}

fn merge(
    into: &mut Value,
    layer: Value,
    at: &str,
    source: &str,
    sources: &mut BTreeMap<String, String>,
) {
    match (into, layer) {
        (Value::Object(into), Value::Object(layer)) => {
            for (key, value) in layer {
                let path = if at.is_empty() {
                    key.clone()
                } else {
                    format!("{at}.{key}")
                };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let found = toml_layer("a.toml", text)
            .err()
            .map(|problem| problem.to_string());
        match expected {
            None => assert_eq!(found, None, "{text}"),
            Some(key) => assert!(
                found.as_deref().is_some_and(|said| said.starts_with(key)),
                "{text}: {found:?}"
            ),
        }
    }

    /// NaN and infinities in tables, lists and nested parameters, and TOML dates.
    #[test]
    fn non_finite_numbers_are_refused_anywhere() {
        for word in ["nan", "-nan", "inf", "-inf", "+inf"] {
            check(
                &format!("[risk]\ndaily_loss_pct_max = {word}"),
                Some("risk.daily_loss_pct_max: must be a finite"),
            );
            check(
                &format!("[[contender]]\nparams = {{ seed = {word} }}"),
                Some("contender[0].params.seed: must be"),
            );
            check(
                &format!("a = [1.0, {word}]"),
                Some("a[1]: must be a finite"),
            );
        }
        check("day = 2026-12-01", Some("day: must be text or a number"));
        check("a = 1.5\nb = 'nan'", None);
    }

    /// Without a secret in it, any mode will do; a directory in its place is refused.
    #[test]
    fn dotenv_with_secrets_must_be_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        let check = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            dotenv(&path).err().map(|problem| problem.to_string())
        };
        assert_eq!(check("OKX_SECRET=x\n", 0o600), None);
        assert_eq!(
            check("TRADING_ENABLED=false\n", 0o644),
            None,
            "no secret in it"
        );
        assert!(
            check("OKX_SECRET=x\n", 0o644)
                .unwrap()
                .contains("chmod 600")
        );
        assert!(
            check("MODEL_KEY_A=x\n", 0o604)
                .unwrap()
                .contains("chmod 600")
        );
        assert_eq!(
            check("OKX_SECRET_FILE=/run/x\n", 0o644),
            None,
            "the name of a file is none"
        );
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(
            dotenv(&path)
                .unwrap_err()
                .to_string()
                .contains("regular file")
        );
    }
}
