//! Subcommands of the binary, one file each, and the help that teaches them.
//!
//! Called by `main` alone. A subcommand that fails says why on standard error and ends with status 1; arguments that
//! cannot be understood end with status 2.

mod bench;
mod capture;
mod check_config;
mod descriptors;
mod outputs;
mod record;
mod replay;
mod serve;
mod tags;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

const ABOUT: &str = "A pooling proxy that any MongoDB driver takes for the replica set itself";

const EXAMPLES: &str = "\
A first run, in front of a replica set named rs0:

  torana serve 'mongodb://db1,db2,db3/?replicaSet=rs0'

It prints where it listens, one port for each member. Clients then use

  mongodb://127.0.0.1:27117/?replicaSet=rs0

and find the other members by themselves (while the first is up: name all ports to be sure). `torana serve --help`
says more.";

/// All arguments.
#[derive(Debug, Parser)]
#[command(name = "torana", version, about = ABOUT, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Arguments>),
    CheckConfig(check_config::Arguments),
    Replay(Box<replay::Arguments>),
    Bench(Box<bench::Arguments>),
    Tag(tags::TagArguments),
    Tags(tags::TagsArguments),
    Record(Box<record::Arguments>),
    Capture(Box<capture::Arguments>),
}

/// Prints. Whoever reads may stop reading (`| head`): that is no failure, and what is left to be done is done all the same.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Does what the process's arguments say.
pub fn run() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::CheckConfig(arguments) => check_config::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Tag(arguments) => tags::run_tag(&arguments),
        Command::Tags(arguments) => tags::run_tags(&arguments),
        Command::Record(arguments) => record::run(&arguments),
        Command::Capture(arguments) => capture::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_and_help_agree_with_each_other() {
        Arguments::command().debug_assert();
    }
}
