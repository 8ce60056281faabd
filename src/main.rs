//! The `torana` binary: arguments to subcommand, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    torana::cli::run()
}
