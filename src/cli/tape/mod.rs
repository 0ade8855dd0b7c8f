//! `tape`: what the venue said, recorded.

mod ls;
mod replay;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;

use super::{Failure, Global, OutputArgs};
use crate::exit::Exit;
use crate::store::StateDir;
use crate::tape;

#[derive(Debug, Subcommand)]
pub(super) enum TapeVerb {
    /// The segments there are.
    Ls(OutputArgs),
    /// Check that segments are what was written.
    Verify(verify::VerifyArgs),
    /// Play segments as the market of an exchange, for any OKX client.
    Replay(replay::TapeReplayArgs),
}

pub(super) async fn run(global: &Global, verb: TapeVerb) -> Result<Exit, Failure> {
    match verb {
        TapeVerb::Ls(args) => ls::run(global, args.json),
        TapeVerb::Verify(args) => verify::run(global, &args),
        TapeVerb::Replay(args) => replay::run(global, args).await,
    }
}

/// The files named, or every segment of the state directory.
fn chosen(global: &Global, files: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    if !files.is_empty() {
        return Ok(files.to_vec());
    }
    let dir = StateDir::tape(&global.state_dir(&global.load(None)?));
    let all = tape::segments(&dir).unwrap_or_default();
    if all.is_empty() {
        let why = format!(
            "no tape in {}; set tape.record = true and run",
            dir.display()
        );
        return Err(Failure::new(Exit::Unavailable, why));
    }
    Ok(all)
}
