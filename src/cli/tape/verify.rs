//! `tape verify`.

use std::path::PathBuf;

use clap::Args;

use super::super::{Failure, Global, output};
use crate::exit::Exit;
use crate::tape;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena tape verify\n  alpha-arena tape verify var/live/tape/2026-11-22T000000.000Z.tape.zst\n\nExit codes: 0 all are what was written; 65 one is not. A segment cut off by a crash is whole up to its last mark."
)]
pub(in crate::cli) struct VerifyArgs {
    /// Segments; without any, all of the state directory.
    files: Vec<PathBuf>,
}

pub(super) fn run(global: &Global, args: &VerifyArgs) -> Result<Exit, Failure> {
    let mut exit = Exit::Ok;
    for path in super::chosen(global, &args.files)? {
        let name = path.display();
        match tape::verify(&path) {
            Ok(v) => {
                let state = match (&v.wrong, v.closed) {
                    (Some(why), _) => format!("BROKEN: {why}"),
                    (None, true) => "ok".to_owned(),
                    (None, false) => format!(
                        "ok, not closed: {} messages after the last mark",
                        v.lines - v.vouched
                    ),
                };
                if v.wrong.is_some() {
                    exit = Exit::Data;
                }
                output::say(format_args!("{name}: {} messages, {state}", v.lines));
            }
            Err(error) => {
                exit = Exit::Data;
                output::say(format_args!("{name}: {error}"));
            }
        }
    }
    Ok(exit)
}
