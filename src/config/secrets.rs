//! Secrets come from the environment, from a file it names, or from a systemd credential; never
//! from the configuration file, never from the command line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::venue::Secrets;

/// A secret that cannot be had, and where it was looked for.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(
        "{name} is not set: give {name} or {name}_FILE in the environment, or the systemd credential {credential}"
    )]
    Missing {
        name: &'static str,
        credential: &'static str,
    },
    #[error("{name}: {path} cannot be read: {source}")]
    Unreadable {
        name: String,
        path: String,
        source: std::io::Error,
    },
    #[error("{name} is empty")]
    Empty { name: &'static str },
    #[error("{name}: {path} {what}")]
    Unfit {
        name: String,
        path: String,
        what: String,
    },
    #[error(
        "{name} has a line break or another control character inside; it must be one line, as the venue showed it: copy it again"
    )]
    Control { name: String },
}

/// Maximum size of a file with a secret, in bytes: a device has no end.
const SECRET_MAX: u64 = 64 * 1024;

/// Names of variables that hold a secret themselves, not the name of a file with one.
pub(super) fn is_secret(name: &str) -> bool {
    let ours = matches!(name, "OKX_API_KEY" | "OKX_SECRET" | "OKX_PASSPHRASE")
        || name.starts_with("MODEL_KEY_");
    ours && !name.ends_with("_FILE")
}

/// True if anybody but the owner and the group may read or write the file.
pub(super) fn is_open_to_others(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o006 != 0
}

/// The text of a file with a secret: a regular file of moderate size that others on this machine
/// can neither read nor write.
fn read_secret(name: &str, path: &Path) -> Result<String, SecretError> {
    let shown = path.display().to_string();
    let unreadable = |source| SecretError::Unreadable {
        name: name.to_owned(),
        path: shown.clone(),
        source,
    };
    let unfit = |what: String| {
        Err(SecretError::Unfit {
            name: name.to_owned(),
            path: shown.clone(),
            what,
        })
    };
    // Looked at before it is opened: to open a pipe or a device may wait for ever.
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        return unfit("is not a regular file; put the secret into one".to_owned());
    }
    if meta.len() > SECRET_MAX {
        return unfit(format!(
            "has {} bytes, which is no key; is it the right file?",
            meta.len()
        ));
    }
    if is_open_to_others(&meta) {
        return unfit(format!(
            "can be read or written by others on this machine; `chmod 600 {shown}`"
        ));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// A secret as it is to be sent: a line break inside would end the header that carries it.
fn one_line(name: &str, text: &str) -> Result<SecretString, SecretError> {
    match text.chars().any(char::is_control) {
        true => Err(SecretError::Control {
            name: name.to_owned(),
        }),
        false => Ok(SecretString::from(text.to_owned())),
    }
}

/// Finds the three parts of an API key in `env` or the credentials directory it names.
///
/// # Errors
/// The first part that is missing, unreadable or empty; never its value.
pub fn find_secrets(env: &HashMap<String, String>) -> Result<Secrets, SecretError> {
    let credentials = env.get("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let find =
        |name: &'static str, credential: &'static str| -> Result<SecretString, SecretError> {
            let from_file = |path: &Path| read_secret(name, path);
            let text = if let Some(text) = env.get(name) {
                text.clone()
            } else if let Some(path) = env.get(&format!("{name}_FILE")) {
                from_file(Path::new(path))?
            } else if let Some(path) = credentials
                .as_ref()
                .map(|dir| dir.join(credential))
                .filter(|path| path.exists())
            {
                from_file(&path)?
            } else {
                return Err(SecretError::Missing { name, credential });
            };
            // A trailing newline or space is the commonest way to break a key without a trace.
            let text = text.trim();
            if text.is_empty() {
                Err(SecretError::Empty { name })
            } else {
                one_line(name, text)
            }
        };
    Ok(Secrets {
        api_key: find("OKX_API_KEY", "okx-api-key")?,
        secret: find("OKX_SECRET", "okx-secret")?,
        passphrase: find("OKX_PASSPHRASE", "okx-passphrase")?,
    })
}

/// Finds a model's key: `MODEL_KEY_<ID>` (upper case, `-` as `_`), `MODEL_KEY_<ID>_FILE`, or the
/// credential `model-key-<id>`. `None`: there is none, which is fine for a server on this machine.
///
/// # Errors
/// A file that cannot be read, or an empty key.
pub fn find_model_key(
    env: &HashMap<String, String>,
    id: &str,
) -> Result<Option<SecretString>, String> {
    let name = format!("MODEL_KEY_{}", id.to_uppercase().replace('-', "_"));
    let read = |path: &Path| read_secret(&name, path).map_err(|error| error.to_string());
    let credential = env
        .get("CREDENTIALS_DIRECTORY")
        .map(|dir| Path::new(dir).join(format!("model-key-{id}")));
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
        key => one_line(&name, key)
            .map(Some)
            .map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn written(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// They must be regular files, not open to others, a single line and small; a line break in a
    /// variable is refused too.
    #[test]
    fn secret_files_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &Path| {
            HashMap::from([("MODEL_KEY_A_FILE".to_owned(), path.display().to_string())])
        };
        let said = |path: &Path| find_model_key(&at(path), "a").map(|key| key.is_some());
        assert_eq!(said(&written(dir.path(), "good", "key\n", 0o600)), Ok(true));
        assert_eq!(
            said(&written(dir.path(), "group", "key\n", 0o640)),
            Ok(true),
            "the group is chosen by the owner"
        );
        assert!(
            said(&written(dir.path(), "open", "key\n", 0o644))
                .unwrap_err()
                .contains("chmod 600")
        );
        assert!(
            said(&written(dir.path(), "written", "key\n", 0o602))
                .unwrap_err()
                .contains("chmod 600")
        );
        assert!(
            said(&written(dir.path(), "lines", "key\r\nX-Evil: 1\n", 0o600))
                .unwrap_err()
                .contains("line break")
        );
        assert!(
            said(&written(dir.path(), "large", &"k".repeat(70_000), 0o600))
                .unwrap_err()
                .contains("70000 bytes")
        );
        assert!(
            said(Path::new("/dev/zero"))
                .unwrap_err()
                .contains("not a regular file")
        );
        assert!(said(dir.path()).unwrap_err().contains("not a regular file"));
        let env = HashMap::from([("MODEL_KEY_A".to_owned(), "a\nb".to_owned())]);
        assert!(
            find_model_key(&env, "a")
                .unwrap_err()
                .contains("line break")
        );
    }

    /// From the environment, a file or a systemd credential; a missing one is named in the error.
    #[test]
    fn secrets_are_found_and_trimmed() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), "okx-passphrase", "from-credential\n", 0o400);
        let file = written(dir.path(), "s", "from-file \n", 0o600);
        let env = HashMap::from([
            ("OKX_API_KEY".to_owned(), " from-env ".to_owned()),
            ("OKX_SECRET_FILE".to_owned(), file.display().to_string()),
            (
                "CREDENTIALS_DIRECTORY".to_owned(),
                dir.path().display().to_string(),
            ),
        ]);
        let secrets = find_secrets(&env).unwrap();
        assert_eq!(secrets.api_key.expose_secret(), "from-env");
        assert_eq!(secrets.secret.expose_secret(), "from-file");
        assert_eq!(secrets.passphrase.expose_secret(), "from-credential");
        let error = find_secrets(&HashMap::new()).unwrap_err();
        assert!(error.to_string().contains("okx-api-key"));
    }
}
