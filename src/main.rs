//! The binary: the command line, and an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    alpha_arena::cli::main().into()
}
