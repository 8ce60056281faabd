//! `torana capture cut` and `merge`: captures out of others.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{DirBuilder, File};
use std::io::BufWriter;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::filter::{Filter, for_each, readers};
use crate::capture::block::BYTES_USUAL;
use crate::capture::file::records;
use crate::capture::{CaptureError, Head, Kind, Reader, Record, Writer, folder};
use crate::cli::print;
use crate::cli::record::size;

/// Bytes of a file, about.
const FILE_SIZE: u64 = 256 << 20;

/// Make a capture of a part of another: of some time, some connections, some collections, commands or query shapes
///
/// Replies go with their requests, and hellos and what ends transactions and sessions with whatever is cut out. Times stay as they were, counted from the beginning of the first capture.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder, or one file of it
    capture: PathBuf,

    /// The folder for what is cut out, in which there must be no capture
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    #[command(flatten)]
    filter: Filter,
}

/// Make one capture of several, of one set by several toranas
///
/// Times are counted from the earliest beginning, by the clocks of the machines; connections get new numbers. What was
/// replaced is not comparable from one capture to the other: each has a key of its own.
#[derive(Debug, clap::Args)]
pub(super) struct MergeArguments {
    /// The captures
    #[arg(required = true, num_args = 2..)]
    captures: Vec<PathBuf>,

    /// The folder for the new one, in which there must be no capture
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Cuts.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.filter.is_all() {
        bail!(
            "say what is to be cut out: --from, --to, --connection, --database, --collection, --command, --shape"
        );
    }
    if let (Some(from), Some(to)) = (arguments.filter.from, arguments.filter.to)
        && from.0 >= to.0
    {
        bail!("--from is not before --to: both are counted from the beginning of the capture");
    }
    let readers = readers(&arguments.capture)?;
    let head = readers.first().map(|reader| reader.head.clone()).context("an empty capture")?;
    drop(readers);
    let mut out = Output::new(&arguments.out, head)?;
    let mut chosen = arguments.filter.chosen().with_ends();
    // Who opened a connection is written before the first that is chosen of it.
    let mut opened: HashMap<u64, Vec<u8>> = HashMap::new();
    let damage = for_each(&arguments.capture, |record| {
        if !chosen.takes(record) {
            return Ok(true);
        }
        if let Kind::Opened(_) = record.kind {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            opened.insert(record.connection, bytes);
            return Ok(true);
        }
        if let Some(bytes) = opened.remove(&record.connection) {
            // One that was opened and closed, and of which nothing else is chosen, is left out.
            if matches!(record.kind, Kind::Closed(_) | Kind::Lost(_)) {
                return Ok(true);
            }
            records(&bytes).try_for_each(|record| out.push(&record))?;
        }
        out.push(record)?;
        Ok(true)
    })?;
    damage.iter().for_each(|what| eprintln!("damage: {what}"));
    if chosen.meant() == 0 {
        out.discard()?;
        let capture = arguments.capture.display();
        bail!(
            "no request is meant by all of that: nothing was cut out (torana capture info {capture} says what there is)"
        );
    }
    out.finish()
}

/// Merges.
pub(super) fn run_merge(arguments: &MergeArguments) -> anyhow::Result<()> {
    let mut streams =
        arguments.captures.iter().map(|path| Stream::open(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut files = HashSet::new();
    for reader in streams.iter().flat_map(|stream| &stream.readers) {
        if !files.insert((reader.head.capture_id.clone(), reader.head.file)) {
            bail!("{} is given twice: all that is in it would be there twice", reader.path().display());
        }
    }
    let heads: Vec<Head> = streams.iter().map(|stream| stream.head.clone()).collect();
    let mut head = heads.first().cloned().context("no capture")?;
    if let Some(other) = heads.iter().find(|other| other.set != head.set) {
        bail!("these are captures of several sets: {} and {}", head.set, other.set);
    }
    head.started = heads.iter().map(|head| head.started).min().unwrap_or(head.started);
    if heads.iter().any(|other| other.replica_set_id != head.replica_set_id) {
        head.replica_set_id = None;
    }
    let least = |of: fn(&Head) -> &String| {
        let all: Vec<&str> = heads.iter().map(|head| of(head).as_str()).collect();
        let is_one = all.windows(2).all(|pair| pair[0] == pair[1]);
        if is_one { all.first().copied().unwrap_or_default().to_owned() } else { "mixed".to_owned() }
    };
    (head.replies, head.redact) = (least(|head| &head.replies), least(|head| &head.redact));
    for stream in &mut streams {
        let later = stream.head.started.timestamp_millis() - head.started.timestamp_millis();
        stream.later = u64::try_from(later).unwrap_or(0).saturating_mul(1_000_000);
    }
    let mut out = Output::new(&arguments.out, head)?;
    let mut numbers: HashMap<(usize, u64), u64> = HashMap::new();
    loop {
        let mut next: Option<(u64, usize)> = None;
        for (place, stream) in streams.iter_mut().enumerate() {
            if let Some(time) = stream.next_time()? {
                next = next.filter(|(earliest, _)| *earliest <= time).or(Some((time, place)));
            }
        }
        let Some((time, place)) = next else { break };
        let Some(bytes) = streams.get_mut(place).and_then(Stream::pop) else { break };
        for record in records(&bytes) {
            let count = numbers.len() as u64 + 1;
            let connection = *numbers.entry((place, record.connection)).or_insert(count);
            out.push(&Record { connection, time, kind: record.kind })?;
        }
    }
    for stream in &streams {
        stream.damage.iter().for_each(|what| eprintln!("damage: {what}"));
    }
    out.finish()
}

/// A capture that is read record by record.
struct Stream {
    head: Head,
    readers: VecDeque<Reader>,
    block: usize,
    /// Records of the current block that are left, each encoded, with its time.
    records: VecDeque<(u64, Vec<u8>)>,
    later: u64,
    damage: Vec<String>,
}

impl Stream {
    fn open(path: &Path) -> anyhow::Result<Stream> {
        let readers: VecDeque<Reader> = folder::open(path)?.into();
        let head = readers.front().map(|reader| reader.head.clone()).context("an empty capture")?;
        let damage = readers.iter().flat_map(|reader| reader.damage.clone()).collect();
        Ok(Stream { head, readers, block: 0, records: VecDeque::new(), later: 0, damage })
    }

    fn next_time(&mut self) -> anyhow::Result<Option<u64>> {
        while self.records.is_empty() {
            let Some(reader) = self.readers.front_mut() else { return Ok(None) };
            let Some(block) = reader.blocks.get(self.block).copied() else {
                self.readers.pop_front();
                self.block = 0;
                continue;
            };
            self.block += 1;
            match reader.block(&block) {
                Ok(bytes) => self.records.extend(records(&bytes).map(|record| {
                    let mut encoded = Vec::new();
                    record.encode(&mut encoded);
                    (record.time, encoded)
                })),
                Err(error @ CaptureError::Damaged { .. }) => self.damage.push(error.to_string()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.records.front().map(|(time, _)| time.saturating_add(self.later)))
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        self.records.pop_front().map(|(_, bytes)| bytes)
    }
}

/// A capture that is being written.
struct Output {
    folder: PathBuf,
    head: Head,
    writer: Option<Writer<BufWriter<File>>>,
    block: Vec<u8>,
    records: u32,
    times: Option<(u64, u64)>,
    all: u64,
    bytes: u64,
}

impl Output {
    fn new(folder: &Path, mut head: Head) -> anyhow::Result<Output> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| folder.display().to_string())?;
        if !folder::files(folder)?.is_empty() {
            return Err(CaptureError::Taken { path: folder.to_owned() }.into());
        }
        head.capture_id = format!("{:032x}", rand::random::<u128>());
        head.file = 0;
        let (writer, block) = (None, Vec::new());
        let mut out = Output {
            folder: folder.to_owned(),
            head,
            writer,
            block,
            records: 0,
            times: None,
            all: 0,
            bytes: 0,
        };
        out.next_file()?;
        Ok(out)
    }

    fn push(&mut self, record: &Record<'_>) -> anyhow::Result<()> {
        record.encode(&mut self.block);
        self.records += 1;
        self.all += 1;
        let (first, last) = self.times.unwrap_or((record.time, record.time));
        self.times = Some((first.min(record.time), last.max(record.time)));
        if self.block.len() >= BYTES_USUAL { self.write_block() } else { Ok(()) }
    }

    fn write_block(&mut self) -> anyhow::Result<()> {
        let (Some(times), Some(writer)) = (self.times.take(), &mut self.writer) else { return Ok(()) };
        writer.block(&self.block, self.records, times)?;
        self.block.clear();
        self.records = 0;
        if writer.bytes() >= FILE_SIZE { self.next_file() } else { Ok(()) }
    }

    fn next_file(&mut self) -> anyhow::Result<()> {
        self.close_file()?;
        self.head.file += 1;
        let path = self.folder.join(folder::file_name(self.head.file.unsigned_abs()));
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.with_context(|| path.display().to_string())?;
        self.writer = Some(Writer::begin(BufWriter::new(file), &self.head)?);
        Ok(())
    }

    fn close_file(&mut self) -> anyhow::Result<()> {
        if let Some(writer) = self.writer.take() {
            self.bytes += writer.bytes();
            writer.finish()?;
        }
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.write_block()?;
        self.close_file()?;
        Ok(print(&format!("{} records, {} in {}\n", self.all, size(self.bytes), self.folder.display()))?)
    }

    /// Takes back what was written; the folder stays if anything else is in it.
    fn discard(self) -> anyhow::Result<()> {
        for file in folder::files(&self.folder)? {
            std::fs::remove_file(&file).with_context(|| file.display().to_string())?;
        }
        drop(std::fs::remove_dir(&self.folder));
        Ok(())
    }
}
