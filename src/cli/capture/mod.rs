//! `torana capture`: looking at captures, and making others out of them.

mod cat;
mod cut;
mod filter;
mod import;
mod info;

use clap::Subcommand;

const EXAMPLES: &str = "\
A capture is a folder of files, or one of them:

  torana capture info /var/tmp/monday            what is in it
  torana capture cat /var/tmp/monday | head      its records, one JSON document a line
  torana capture cut /var/tmp/monday --out /var/tmp/five-minutes --from 10m --to 15m
  torana capture cut /var/tmp/monday --out /var/tmp/users --collection app._User
  torana capture merge /var/tmp/gate1 /var/tmp/gate2 --out /var/tmp/both
  torana capture import monday.playback --out /var/tmp/monday    what other tools recorded";

/// Look at captured traffic: info, cat, cut, export, merge, import
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Info(info::Arguments),
    Cat(cat::Arguments),
    Export(cat::ExportArguments),
    Cut(cut::Arguments),
    Merge(cut::MergeArguments),
    Import(import::Arguments),
}

/// Does what is asked.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.command {
        Command::Info(arguments) => info::run(arguments),
        Command::Cat(arguments) => cat::run(arguments),
        Command::Export(arguments) => cat::run_export(arguments),
        Command::Cut(arguments) => cut::run(arguments),
        Command::Merge(arguments) => cut::run_merge(arguments),
        Command::Import(arguments) => import::run(arguments),
    }
}
