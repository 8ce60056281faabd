//! The thread that writes a capture: takes chunks of records, replaces what is secret, fills blocks, begins files.
//!
//! It is the only place where records stand between memory and disk, so what may not be in a file is decided here and
//! nowhere else. It ends when it is told to, at the quota, or when the disk fails; clients notice nothing of either.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::asked::Asked;
use super::block::BYTES_USUAL;
use super::digest;
use super::facts::Facts;
use super::file::Writer;
use super::folder;
use super::head::Head;
use super::priority::Priority;
use super::queue::{CHUNK, Filled, Lost, Next, Policy, Queue, take};
use super::record::{Form, Kind, Record, Reply, Request};
use super::recorder::{Disk, Options, Progress};
use super::redact::{Redacted, Redactor, withheld};
use crate::config::Replies;
use crate::doc::elements;
use crate::metrics::CaptureMetrics;
use crate::wire::{OpMsg, Opcode, Side, read_i32, read_i64};

/// How often the writer looks what there is, when little is: a crash loses what came since, and what is in its block.
const BEAT: Duration = Duration::from_millis(500);

/// How old a block may become before it is written, full or not.
const BLOCK_AGE_MAX: Duration = Duration::from_secs(1);

/// What a file takes beside its blocks and 28 bytes for each of them: head, end of the index.
const FILE_BESIDE: u64 = 4096;

/// Open cursors that are known to hold no secrets under other names, each of two generations.
const CURSORS_MAX: usize = 65_536;

/// Records on their way into a block.
#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    records: u32,
    times: Option<(u64, u64)>,
    since: Option<Instant>,
}

impl Block {
    fn push(&mut self, record: &Record<'_>) {
        record.encode(&mut self.bytes);
        self.records += 1;
        let (first, last) = self.times.unwrap_or((record.time, record.time));
        self.times = Some((first.min(record.time), last.max(record.time)));
        self.since.get_or_insert_with(Instant::now);
    }

    fn is_due(&self) -> bool {
        self.bytes.len() >= BYTES_USUAL || self.since.is_some_and(|since| since.elapsed() >= BLOCK_AGE_MAX)
    }
}

/// Why the writer ends.
#[derive(Debug)]
enum End {
    /// It was told to.
    Told,
    /// There would be more bytes than there may be.
    Quota,
    /// The disk failed.
    Disk(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Disk(error)
    }
}

/// The writer.
pub struct Scribe {
    options: Options,
    head: Head,
    disk: Box<dyn Disk>,
    queue: Arc<Queue>,
    receiver: Receiver<Filled>,
    progress: Arc<Progress>,
    metrics: Arc<CaptureMetrics>,
    redactor: Redactor,
    file: Option<Writer<Box<dyn Write + Send>>>,
    file_since: Instant,
    file_blocks: u64,
    /// Bytes of what counts against the quota, the current file aside.
    before: u64,
    block: Block,
    /// Connections whose request of this number looks at secrets: its replies are not kept.
    hushed: HashMap<u64, u32>,
    /// Cursors of which the opening was seen, and was no look at secrets; batches of others are not kept. Those that were
    /// not used for long are forgotten.
    clear_cursors: [HashSet<i64>; 2],
}

impl Scribe {
    /// A writer with nothing begun. `before`: bytes that count against the quota already.
    pub fn new(
        options: Options,
        head: Head,
        disk: Box<dyn Disk>,
        (queue, receiver): (Arc<Queue>, Receiver<Filled>),
        (progress, metrics): (Arc<Progress>, Arc<CaptureMetrics>),
        redactor: Redactor,
        before: u64,
    ) -> Scribe {
        Scribe {
            options,
            head,
            disk,
            queue,
            receiver,
            progress,
            metrics,
            redactor,
            file: None,
            file_since: Instant::now(),
            file_blocks: 0,
            before,
            block: Block::default(),
            hushed: HashMap::new(),
            clear_cursors: Default::default(),
        }
    }

    /// Begins the next file, which was made.
    pub fn begin(&mut self, file: Box<dyn Write + Send>) -> io::Result<()> {
        self.head.file += 1;
        let writer = Writer::begin(file, &self.head)?;
        self.count_written(writer.bytes());
        self.file = Some(writer);
        (self.file_since, self.file_blocks) = (Instant::now(), 0);
        self.progress.files.fetch_add(1, Ordering::Relaxed);
        self.metrics.files.inc();
        Ok(())
    }

    /// Writes until it is over.
    pub fn run(mut self) {
        let end = self.write_all().err().unwrap_or(End::Told);
        self.queue.end();
        // What waits is not written any more, and those who fill the queue must find that out.
        while let Next::Filled(filled) = self.queue.next(&self.receiver, Duration::ZERO) {
            self.queue.done(filled);
        }
        let finished = match (self.file.take(), &end) {
            (Some(file), End::Told | End::Quota) => self.finish(file),
            // On a disk that fails it may fail as well; the file is readable without.
            (Some(file), End::Disk(_)) => drop_quietly(self.finish(file)),
            (None, _) => Ok(()),
        };
        let folder = self.options.files().display().to_string();
        let why = match (end, finished) {
            (End::Disk(error), _) | (_, Err(error)) => Some(format!("cannot write: {error}")),
            (End::Quota, Ok(())) => Some(format!("the quota of {} bytes is reached", self.options.quota)),
            (End::Told, Ok(())) => None,
        };
        match &why {
            Some(why) => {
                self.metrics.cut_short.inc();
                tracing::error!(folder, "the capture has ended: {why}; clients are served as before");
            }
            None => tracing::info!(folder, "the capture has ended"),
        }
        *self.progress.cut_short.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn write_all(&mut self) -> Result<(), End> {
        let mut priority = Priority::lower();
        loop {
            let (used, used_max) = self.queue.waiting();
            priority.adjust(used, used_max);
            match self.queue.next(&self.receiver, BEAT) {
                Next::Filled(mut filled) => {
                    let taken = self.take(&mut filled);
                    self.queue.done(filled);
                    taken?;
                }
                Next::Nothing => {}
                Next::Ended => return self.write_block(),
            }
            if self.block.is_due() {
                self.write_block()?;
            }
            if self.file_since.elapsed() >= self.options.file_time && self.file_blocks > 0 {
                self.next_file()?;
            }
        }
    }

    /// Puts the records of a chunk into blocks.
    fn take(&mut self, filled: &mut Filled) -> Result<(), End> {
        let mut at = 0;
        while let Some((policy, record, length)) = take(&filled.bytes[at..]) {
            let end = at + length;
            let (connection, time) = (record.connection, record.time);
            match record.kind {
                Kind::Request(Request { number, wants_none, message, .. }) => {
                    let (message_at, record_at) = (end - message.len(), at + 1);
                    let bytes = &mut filled.bytes[..end];
                    let request = Request { number, wants_none, withheld: false, message: &[] };
                    match self.request(policy, connection, number, &mut bytes[message_at..]) {
                        Some(stands_in) => {
                            let kind =
                                Kind::Request(Request { withheld: true, message: &stands_in, ..request });
                            self.block.push(&Record { connection, time, kind });
                        }
                        // It would be in memory twice.
                        None if bytes.len() - message_at > CHUNK => {
                            self.write_block()?;
                            self.write_records(&filled.bytes[record_at..end], 1, (time, time))?;
                        }
                        None => {
                            let message = &bytes[message_at..];
                            let kind = Kind::Request(Request { message, ..request });
                            self.block.push(&Record { connection, time, kind });
                        }
                    }
                }
                Kind::Reply(Reply { number, length, form: Form::Whole(message), .. }) => {
                    let reply = Reply { number, code: 0, cursor: 0, documents: 0, length, form: Form::None };
                    let message_at = end - message.len();
                    self.reply(policy, (connection, time), reply, &mut filled.bytes[message_at..end]);
                }
                Kind::Reply(reply) => {
                    let is_hushed = self.hushed.get(&connection) == Some(&reply.number);
                    self.note_cursor(reply.cursor, is_hushed);
                    self.block.push(&record);
                }
                Kind::Closed(_) | Kind::Lost(_) => {
                    self.hushed.remove(&connection);
                    self.block.push(&record);
                }
                _ => self.block.push(&record),
            }
            at = end;
            if self.block.bytes.len() >= BYTES_USUAL {
                self.write_block()?;
            }
        }
        for Lost { connection, time, why } in filled.lost.drain(..) {
            self.hushed.remove(&connection);
            self.block.push(&Record { connection, time, kind: Kind::Lost(why) });
        }
        Ok(())
    }

    /// Replaces what is secret in a request. What stands in its place, if it cannot be kept.
    fn request(
        &mut self,
        policy: Policy,
        connection: u64,
        number: u32,
        message: &mut [u8],
    ) -> Option<Vec<u8>> {
        if !self.hushed.is_empty() {
            self.hushed.remove(&connection);
        }
        if policy == Policy::Secret {
            self.hushed.insert(connection, number);
            return Some(withheld(message));
        }
        let continues_unknown = self.continues_unknown(message);
        let redacted = self.redactor.request(message);
        if redacted != Redacted::Done || continues_unknown || policy == Policy::Text {
            self.hushed.insert(connection, number);
        }
        (redacted == Redacted::NotUnderstood).then(|| withheld(message))
    }

    /// Whether a request is for the next batch of a cursor of which is not known that its batches may be kept.
    fn continues_unknown(&mut self, message: &[u8]) -> bool {
        if !Asked::is_get_more(message) {
            return false;
        }
        // A legacy one says its cursor at its end.
        let cursor = match OpMsg::parse(message, Side::Client) {
            Ok(msg) if read_i32(message, 12) == Some(Opcode::Msg as i32) => {
                elements(msg.body).next().and_then(Result::ok).and_then(|first| first.value.as_i64())
            }
            _ => read_i64(message, message.len().saturating_sub(8)),
        };
        !cursor.is_some_and(|cursor| self.clear_cursors.iter_mut().any(|known| known.remove(&cursor)))
    }

    /// Takes note of the cursor that a reply names.
    fn note_cursor(&mut self, cursor: i64, is_hushed: bool) {
        if cursor == 0 || is_hushed {
            return;
        }
        let [young, old] = &mut self.clear_cursors;
        if young.len() >= CURSORS_MAX {
            *old = std::mem::take(young);
        }
        young.insert(cursor);
    }

    /// Puts what is kept of a reply into the block.
    fn reply(
        &mut self,
        policy: Policy,
        (connection, time): (u64, u64),
        reply: Reply<'_>,
        message: &mut [u8],
    ) {
        let facts = Facts::of(message);
        let reply = Reply { code: facts.code, cursor: facts.cursor, documents: facts.documents, ..reply };
        let is_hushed = self.hushed.get(&connection) == Some(&reply.number);
        self.note_cursor(facts.cursor, is_hushed);
        let keeps = matches!(policy, Policy::Open | Policy::Hello) && !is_hushed;
        let keeps = keeps && self.options.replies != Replies::None;
        let is_hello = policy == Policy::Hello;
        let redacted = keeps && self.redactor.reply(message, is_hello) != Redacted::NotUnderstood;
        let digested = match (redacted, self.options.replies) {
            (true, Replies::Digests) => digest::of(message),
            _ => None,
        };
        let form = match (&digested, self.options.replies) {
            (Some(digest), _) => Form::Digest(digest),
            (None, Replies::Whole) if redacted => Form::Whole(message),
            _ => Form::None,
        };
        self.block.push(&Record { connection, time, kind: Kind::Reply(Reply { form, ..reply }) });
    }

    fn write_block(&mut self) -> Result<(), End> {
        let Some(times) = self.block.times.take() else { return Ok(()) };
        let mut block = std::mem::take(&mut self.block);
        let written = self.write_records(&block.bytes, block.records, times);
        block.bytes.clear();
        self.block.bytes = block.bytes;
        written
    }

    fn write_records(&mut self, bytes: &[u8], records: u32, times: (u64, u64)) -> Result<(), End> {
        // What zstd makes of what it cannot compress, and the index of all blocks so far.
        let most = bytes.len() as u64 + bytes.len() as u64 / 128 + 28 * (self.file_blocks + 1) + FILE_BESIDE;
        let so_far = self.before + self.file.as_ref().map_or(0, Writer::bytes);
        if so_far + most > self.options.quota {
            return Err(End::Quota);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let at = file.bytes();
        file.block(bytes, records, times)?;
        let (length, is_full) = (file.bytes() - at, file.bytes() >= self.options.file_size);
        self.file_blocks += 1;
        self.count_written(length);
        self.progress.records.fetch_add(u64::from(records), Ordering::Relaxed);
        self.progress.raw.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.metrics.records.inc_by(u64::from(records));
        self.metrics.raw_bytes.inc_by(bytes.len() as u64);
        if is_full { self.next_file() } else { Ok(()) }
    }

    fn next_file(&mut self) -> Result<(), End> {
        if let Some(file) = self.file.take() {
            self.finish(file)?;
        }
        let path = self.options.files().join(folder::file_name(self.head.file.unsigned_abs() + 1));
        let file = self.disk.create(&path)?;
        Ok(self.begin(file)?)
    }

    fn finish(&mut self, file: Writer<Box<dyn Write + Send>>) -> io::Result<()> {
        let bytes = file.bytes();
        // Magic, number, checksum; a trailer.
        let index = 28 * self.file_blocks + 12 + 16;
        file.finish()?;
        self.before += bytes + index;
        self.count_written(index);
        Ok(())
    }

    fn count_written(&self, bytes: u64) {
        self.progress.written.fetch_add(bytes, Ordering::Relaxed);
        self.metrics.written_bytes.inc_by(bytes);
    }
}

fn drop_quietly(result: io::Result<()>) -> io::Result<()> {
    drop(result);
    Ok(())
}

impl std::fmt::Debug for Scribe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scribe").finish_non_exhaustive()
    }
}
