//! The misbehaving disk: a small C library, compiled once, loaded before the C library of a process
//! under test.
//!
//! Sync failures and power loss are made by a C library under the process, not by `strace`:
//! wherever this builds, there is a C compiler.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::pair;

/// The library. The C compiler that built SQLite builds it.
pub fn library() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = format!("{}/tests/disk/shim.c", env!("CARGO_MANIFEST_DIR"));
        let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("shim-{}.so", std::process::id()));
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let built = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&out)
            .arg(&source)
            .arg("-ldl")
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "{compiler} cannot build {source}"
        );
        out
    })
}

/// The environment that puts it under `trading.db` with these faults.
pub fn disk(faults: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut env = vec![
        pair("LD_PRELOAD", &library().display().to_string()),
        pair("SHIM_MATCH", "trading.db"),
    ];
    env.extend(faults.iter().map(|(name, value)| pair(name, value)));
    env
}
