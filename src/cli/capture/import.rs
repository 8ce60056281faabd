//! `torana capture import`: captures out of what other tools recorded.

use std::path::PathBuf;

use crate::capture::import::{self, Format, Options, Summary};
use crate::cli::print;
use crate::cli::record::Kept;
use crate::cli::record::size;

const EXAMPLES: &str = "\
Examples:
  What mongoreplay recorded (gzipped or not):
    torana capture import monday.playback --out /var/tmp/monday

  What tcpdump recorded, on all packets' whole length, of servers on two ports:
    tcpdump -i any -s 0 -w monday.pcap 'tcp port 27017 or tcp port 27018'
    torana capture import monday.pcap --port 27017 --port 27018 --out /var/tmp/monday

  What a profiler has seen (`db.setProfilingLevel(2)`, then mongodump of system.profile), of several databases:
    torana capture import dump/app/system.profile.bson dump/log/system.profile.bson --out /var/tmp/monday

Then `torana capture info DIR` and `torana replay DIR --dry-run` tell what is in it. Passwords, tokens and logins do not come
into the capture, as in one that `torana record` makes. What is not taken is counted by its reason.";

/// Make a capture of what another tool recorded: mongoreplay, tcpdump, the profiler, flashback
///
/// The format is told by looking at the files, which may be gzipped. Several files are taken as one, by their times.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The files, all of one format
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The folder for the capture, in which there must be none
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// What the files are, if it is not to be found out: mongoreplay, pcap or profiler
    #[arg(long, value_name = "FORMAT")]
    from: Option<Format>,

    /// The port of the servers, in a packet capture. May be given several times
    #[arg(long, value_name = "PORT", default_value = "27017")]
    port: Vec<u16>,

    #[command(flatten)]
    kept: Kept,
}

/// Imports, and says what was taken.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let summary = import::run(&Options {
        files: arguments.files.clone(),
        out: arguments.out.clone(),
        from: arguments.from,
        ports: arguments.port.clone(),
        replies: arguments.kept.replies,
        redact: arguments.kept.redact,
        redact_fields: arguments.kept.redact_field.clone(),
    })?;
    print(&text(&summary))?;
    summary.tally.damage.iter().for_each(|what| eprintln!("damage: {what}"));
    Ok(())
}

fn text(summary: &Summary) -> String {
    let Summary { requests, replies, connections, written, .. } = summary;
    let mut text = format!(
        "{}: {requests} requests and {replies} replies on {connections} connections in {:.0} s, {} in {}\n",
        summary.format.words(),
        summary.length.as_secs_f64(),
        size(written.written_bytes),
        written.folder,
    );
    for is_kept in [false, true] {
        let counts: Vec<_> = summary.tally.counts().filter(|(why, _)| why.is_kept() == is_kept).collect();
        if !counts.is_empty() {
            text += if is_kept { "taken, but:\n" } else { "left out:\n" };
        }
        for (why, count) in counts {
            text += &format!("{count:>9} {}\n", why.words());
        }
    }
    text + &format!("look at it: torana capture info {}\n", written.folder)
}
