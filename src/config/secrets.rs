//! Secrets come from the environment, from a file it names, or from a systemd credential; never from
//! the configuration file, never from the command line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::venue::Secrets;

/// A secret that cannot be had, and where it was looked for.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{name} is not set: give {name} or {name}_FILE in the environment, or the systemd credential {credential}")]
    Missing { name: &'static str, credential: &'static str },
    #[error("{name}: {path} cannot be read: {source}")]
    Unreadable { name: &'static str, path: String, source: std::io::Error },
    #[error("{name} is empty")]
    Empty { name: &'static str },
}

/// Finds the three parts of an API key in `env` or the credentials directory it names.
///
/// # Errors
/// The first part that is missing, unreadable or empty; never its value.
pub fn find_secrets(env: &HashMap<String, String>) -> Result<Secrets, SecretError> {
    let credentials = env.get("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let find = |name: &'static str, credential: &'static str| -> Result<SecretString, SecretError> {
        let from_file = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| SecretError::Unreadable {
                name,
                path: path.display().to_string(),
                source,
            })
        };
        let text = if let Some(text) = env.get(name) {
            text.clone()
        } else if let Some(path) = env.get(&format!("{name}_FILE")) {
            from_file(Path::new(path))?
        } else if let Some(path) = credentials.as_ref().map(|dir| dir.join(credential)).filter(|path| path.exists()) {
            from_file(&path)?
        } else {
            return Err(SecretError::Missing { name, credential });
        };
        // A trailing newline or space is the commonest way to break a key without a trace.
        let text = text.trim();
        if text.is_empty() { Err(SecretError::Empty { name }) } else { Ok(SecretString::from(text.to_owned())) }
    };
    Ok(Secrets {
        api_key: find("OKX_API_KEY", "okx-api-key")?,
        secret: find("OKX_SECRET", "okx-secret")?,
        passphrase: find("OKX_PASSPHRASE", "okx-passphrase")?,
    })
}

/// Finds a model's key: `MODEL_KEY_<ID>` (upper case, `-` as `_`), `MODEL_KEY_<ID>_FILE`, or the credential `model-key-<id>`.
/// `None`: there is none, which is fine for a server on this machine.
///
/// # Errors
/// A file that cannot be read, or an empty key.
pub fn find_model_key(env: &HashMap<String, String>, id: &str) -> Result<Option<SecretString>, String> {
    let name = format!("MODEL_KEY_{}", id.to_uppercase().replace('-', "_"));
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{name}: {}: {error}", path.display()));
    let credential = env.get("CREDENTIALS_DIRECTORY").map(|dir| Path::new(dir).join(format!("model-key-{id}")));
    let text = if let Some(text) = env.get(&name) {
        text.clone()
    } else if let Some(path) = env.get(&format!("{name}_FILE")) {
        read(Path::new(path))?
    } else if let Some(path) = credential.filter(|path| path.exists()) {
        read(&path)?
    } else {
        return Ok(None);
    };
    match text.trim() {
        "" => Err(format!("{name} is empty")),
        key => Ok(Some(SecretString::from(key.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn secrets_come_from_env_file_or_credential_and_are_trimmed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("okx-passphrase"), "from-credential\n").unwrap();
        let file = dir.path().join("s");
        std::fs::write(&file, "from-file \n").unwrap();
        let env = HashMap::from([
            ("OKX_API_KEY".to_owned(), " from-env ".to_owned()),
            ("OKX_SECRET_FILE".to_owned(), file.display().to_string()),
            ("CREDENTIALS_DIRECTORY".to_owned(), dir.path().display().to_string()),
        ]);
        let secrets = find_secrets(&env).unwrap();
        assert_eq!(secrets.api_key.expose_secret(), "from-env");
        assert_eq!(secrets.secret.expose_secret(), "from-file");
        assert_eq!(secrets.passphrase.expose_secret(), "from-credential");
        let error = find_secrets(&HashMap::new()).unwrap_err();
        assert!(error.to_string().contains("okx-api-key"));
    }
}
