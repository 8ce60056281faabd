//! Traffic that other tools recorded, as a capture of torana's: for `torana capture import`.
//!
//! | what | read by | becomes messages by |
//! |---|---|---|
//! | playback files of mongoreplay | `playback.rs` | `playback.rs` |
//! | packet captures | `packets.rs`, `segment.rs` | `half.rs` (the bytes of a direction), `framer.rs`, `flows.rs` |
//! | documents of the profiler and of flashback | `profile.rs` | `profile_op.rs`, in `profile.rs`'s order |
//!
//! All of them end at the same place: [`taker::Taker`] numbers requests, finds the request of each reply, and puts records
//! on a [`tape::Tape`], which is the recorder that writes live captures. So nothing comes into a file that would not come
//! into it from a client, and what is secret is replaced where it always is.
//!
//! Sources are what anybody may have made: each length is checked before it is used, what is kept in memory has limits, and
//! no bytes make anything here panic. What is not taken is counted by its reason ([`tally::Skip`]). A source that ends in
//! the middle of something ends there; what came before it is kept.

mod compressed;
pub mod error;
pub mod flows;
pub mod framer;
pub mod half;
pub mod input;
pub mod merge;
pub mod packets;
pub mod pcap;
pub mod playback;
pub mod profile;
pub mod profile_op;
pub mod segment;
pub mod taker;
pub mod tally;
pub mod tape;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::ImportError;
pub use input::Format;
use input::{Cut, Input};
use packets::Packets;
use playback::Playback;
use profile::Profile;
use taker::Taker;
pub use tally::{Skip, Tally};
use tape::{DiskTape, Tape};

use super::recorder::{self, MEMORY_MAX};
use super::{Selection, Status};
use crate::config::{Redact, Replies};

/// Bytes of a file, about.
const FILE_SIZE: u64 = 256 << 20;

/// The name of a set that nobody said.
const NO_SET: &str = "unknown";

/// What is imported, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The sources, all of one format.
    pub files: Vec<PathBuf>,
    /// The folder for the capture.
    pub out: PathBuf,
    /// Their format, if it is not to be found out.
    pub from: Option<Format>,
    /// The servers' ports, in packet captures.
    pub ports: Vec<u16>,
    /// What is kept of replies.
    pub replies: Replies,
    /// What is replaced.
    pub redact: Redact,
    /// Further secret fields.
    pub redact_fields: Vec<String>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Summary {
    /// What the sources were.
    pub format: Format,
    /// Requests taken.
    pub requests: u64,
    /// Replies taken.
    pub replies: u64,
    /// Connections taken.
    pub connections: u64,
    /// From the first record to the last.
    pub length: Duration,
    /// What was left out, and where sources end early.
    pub tally: Tally,
    /// What was written.
    pub written: Status,
}

/// Imports.
pub fn run(options: &Options) -> Result<Summary, ImportError> {
    let (format, inputs) = open(options)?;
    let mut taker = Taker::new(DiskTape::new(recorder_options(options, format))?);
    let taken = import(format, inputs, &options.ports, &mut taker);
    let length = Duration::from_nanos(taker.length());
    let Taker { tape, tally, requests, replies, connections, .. } = taker;
    let written = tape.finish();
    taken?;
    let written = written.ok_or_else(|| ImportError::Nothing(in_words(&tally)))?;
    match &written.cut_short {
        Some(why) => Err(ImportError::Ended(why.clone())),
        None => Ok(Summary { format, requests, replies, connections, length, tally, written }),
    }
}

/// Takes all that is in these sources.
pub fn import<T: Tape>(
    format: Format,
    inputs: Vec<(String, Input)>,
    ports: &[u16],
    taker: &mut Taker<T>,
) -> Result<(), ImportError> {
    match format {
        Format::Mongoreplay => {
            let files = readable(inputs, &mut taker.tally, Playback::new);
            playback::import(files, taker)
        }
        Format::Profiler => {
            let files = readable(inputs, &mut taker.tally, |input| Ok(Profile::new(input)));
            profile::import(files, taker)
        }
        Format::Pcap => {
            let files = readable(inputs, &mut taker.tally, Packets::new);
            taker.tally.busiest_port = pcap::import(files, ports, taker)?;
            Ok(())
        }
    }
}

/// The sources whose front can be read. What is wrong with the others is noted.
fn readable<S>(
    inputs: Vec<(String, Input)>,
    tally: &mut Tally,
    begin: impl Fn(Input) -> Result<S, Cut>,
) -> Vec<(String, S)> {
    let mut begun = Vec::new();
    for (name, input) in inputs {
        match begin(input) {
            Ok(source) => begun.push((name, source)),
            Err(Cut::Off(what)) => tally.note(format!("{name}: {what}")),
        }
    }
    begun
}

/// Opens the sources and tells what they are.
fn open(options: &Options) -> Result<(Format, Vec<(String, Input)>), ImportError> {
    let mut inputs = Vec::new();
    let mut known: Option<(&Path, Format)> = None;
    for path in &options.files {
        let input = Input::open(path).map_err(|error| ImportError::Source { path: path.clone(), error })?;
        let format = options.from.or_else(|| input.format());
        let format = format.ok_or_else(|| ImportError::Unknown { path: path.clone() })?;
        let (first, one) = *known.get_or_insert((path, format));
        if one != format {
            let (first, second) = (first.to_owned(), path.clone());
            return Err(ImportError::Mixed { first, one: one.words(), second, other: format.words() });
        }
        inputs.push((path.display().to_string(), input));
    }
    let (_, format) = known.ok_or_else(|| ImportError::Nothing(String::new()))?;
    Ok((format, inputs))
}

fn recorder_options(options: &Options, format: Format) -> recorder::Options {
    recorder::Options {
        folder: options.out.clone(),
        inside: None,
        file_size: FILE_SIZE,
        file_time: Duration::MAX,
        quota: u64::MAX,
        replies: options.replies,
        redact: options.redact,
        redact_fields: options.redact_fields.clone(),
        selection: Selection::default(),
        set: NO_SET.to_owned(),
        replica_set_id: None,
        origin: format!("imported from {}", format.words()),
        started: None,
        memory_max: MEMORY_MAX,
    }
}

/// What there was instead.
fn in_words(tally: &Tally) -> String {
    let skipped = tally.counts().map(|(why, count)| format!("{count} {}", why.words()));
    let busiest = tally.busiest_port.map(|port| format!("the busiest other port is {port}"));
    let all: Vec<String> = tally.damage.iter().cloned().chain(skipped).chain(busiest).collect();
    if all.is_empty() { String::new() } else { format!(": {}", all.join("; ")) }
}

#[cfg(test)]
mod tests;
