//! Soaks of torana that need more speed than a script has: long, bounded hunts for one kind of mistake, on the raw wire, with no
//! MongoDB driver and none of torana's own code in the loop. `deploy/soak` builds it and runs it; each module is one soak.

mod checksum;
mod dice;
mod mixup;
mod torana;
// The load generator uses all of it.
#[allow(dead_code)]
#[path = "../load/wire.rs"]
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "soak", about = "Long hunts for mistakes of torana")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Cargo gives this to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Looks for a reply that reaches somebody else than who asked
    Mixup(mixup::Options),
}

fn main() -> ExitCode {
    let Command::Mixup(options) = Cli::parse().command;
    match mixup::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("found: {error:#}");
            ExitCode::FAILURE
        }
    }
}
