//! Recording a capture: what is handed over by the clients' tasks, and how the recording stands.
//!
//! Nothing here waits for a disk or a lock that is held for longer than it takes to copy one record: what finds no room
//! is refused, and whoever is refused drops the connection from the capture. One thread (`scribe.rs`)
//! replaces what is secret, compresses and writes.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::TryRng;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::behind::Behind;
use super::error::CaptureError;
use super::folder;
use super::head::Head;
pub use super::queue::MEMORY_MAX;
use super::queue::{Lost, Policy, Queue, Refused};
use super::record::Record;
use super::redact::Redactor;
use super::scribe::Scribe;
use super::selection::Selection;
use crate::config::{CaptureConfig, Redact, Replies};
use crate::metrics::CaptureMetrics;

/// Held by whoever writes to the folder.
const LOCK: &str = "capture.lock";

/// What is recorded, how and where to.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that is locked, and whose captures count against the quota. Made if there is none.
    pub folder: PathBuf,
    /// A folder in it for the files, if they are not to be in it themselves.
    pub inside: Option<String>,
    /// Bytes of a file, about; then the next one is begun.
    pub file_size: u64,
    /// How long a file is written to before the next one is begun.
    pub file_time: Duration,
    /// Bytes of all files: the capture ends before there are more.
    pub quota: u64,
    /// What is kept of replies.
    pub replies: Replies,
    /// What is replaced.
    pub redact: Redact,
    /// Further secret fields.
    pub redact_fields: Vec<String>,
    /// What is taken.
    pub selection: Selection,
    /// The name of the set.
    pub set: String,
    /// Its `settings.replicaSetId`, if it is known.
    pub replica_set_id: Option<bson::oid::ObjectId>,
    /// Where the traffic comes from, if it was not recorded here; empty otherwise.
    pub origin: String,
    /// When time 0 of all records is; now, if nothing else is said.
    pub started: Option<bson::DateTime>,
    /// Bytes that may wait to be written.
    pub memory_max: usize,
}

impl Options {
    /// What `config` says for a capture of `set`.
    pub fn new(config: &CaptureConfig, set: &str) -> Options {
        Options {
            folder: config.folder.clone(),
            inside: None,
            file_size: config.limits.file_size as u64,
            file_time: config.limits.file_time,
            quota: config.limits.quota as u64,
            replies: config.replies,
            redact: config.redact,
            redact_fields: config.redact_fields.clone(),
            selection: Selection::from(config),
            set: set.to_owned(),
            replica_set_id: None,
            origin: String::new(),
            started: None,
            memory_max: MEMORY_MAX,
        }
    }

    /// Where its files are.
    pub fn files(&self) -> PathBuf {
        self.inside.as_ref().map_or_else(|| self.folder.clone(), |inside| self.folder.join(inside))
    }

    fn head(&self) -> Head {
        Head {
            capture_id: format!("{:032x}", rand::random::<u128>()),
            file: 0,
            started: self.started.unwrap_or_else(bson::DateTime::now),
            torana: env!("CARGO_PKG_VERSION").to_owned(),
            set: self.set.clone(),
            replica_set_id: self.replica_set_id,
            replies: self.replies.as_str().to_owned(),
            redact: self.redact.as_str().to_owned(),
            redact_fields: self.redact_fields.clone(),
            sample: i32::try_from(self.selection.sample).unwrap_or(i32::MAX),
            selection: if self.origin.is_empty() { self.selection.to_string() } else { self.origin.clone() },
        }
    }
}

/// Where files are made: the disk, or in tests what is worse.
pub trait Disk: Send {
    /// Makes the new file `path`.
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Write + Send>>;
}

/// The real one. A file is written on a thread of its own.
#[derive(Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Write + Send>> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(Behind::new(file)?))
    }
}

/// How a recording stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Whether it still runs.
    pub recording: bool,
    /// Where its files are.
    pub folder: String,
    /// The set.
    pub set: String,
    /// How long it has run, seconds.
    pub seconds: f64,
    /// Records written.
    pub records: u64,
    /// Bytes of them, before compression.
    pub raw_bytes: u64,
    /// Bytes of files.
    pub written_bytes: u64,
    /// Files.
    pub files: u64,
    /// Connections of which the rest is missing.
    pub lost_connections: u64,
    /// Bytes that wait to be written.
    pub queue_bytes: u64,
    /// Why it ended before it was told to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_short: Option<String>,
}

/// What was done so far; counted by the writer, read by anyone.
#[derive(Debug, Default)]
pub struct Progress {
    /// Records written.
    pub records: AtomicU64,
    /// Bytes of them.
    pub raw: AtomicU64,
    /// Bytes of files.
    pub written: AtomicU64,
    /// Files begun.
    pub files: AtomicU64,
    /// Connections lost.
    pub lost: AtomicU64,
    /// Why it ended before it was told to.
    pub cut_short: Mutex<Option<String>>,
    /// All is written that will be.
    is_over: AtomicBool,
}

/// Says that it is over, however the thread that writes ends.
struct IsOver(Arc<Progress>);

impl Drop for IsOver {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
}

/// A recording.
#[derive(Debug)]
pub struct Recorder {
    queue: Arc<Queue>,
    progress: Arc<Progress>,
    metrics: Arc<CaptureMetrics>,
    started: Instant,
    ended: Mutex<Option<Instant>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    options: Options,
    next_connection: AtomicU64,
}

impl Recorder {
    /// Begins to record. `on_end` is called once by the thread that writes, when it is done, for whatever reason.
    pub fn start(
        options: Options,
        mut disk: Box<dyn Disk>,
        metrics: Arc<CaptureMetrics>,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Result<Recorder, CaptureError> {
        let files = options.files();
        let lock = prepare(&options.folder, &files)?;
        let before = match options.inside {
            Some(_) => bytes_below(&options.folder),
            None => 0,
        };
        let mut key = [0; 32];
        rand::rngs::SysRng
            .try_fill_bytes(&mut key)
            .map_err(|error| CaptureError::io(Path::new("random numbers"), io::Error::other(error)))?;
        let redactor = Redactor::new(key, &options.redact_fields, options.redact == Redact::Values);
        let (queue, receiver) = Queue::new(options.memory_max);
        let (queue, progress) = (Arc::new(queue), Arc::new(Progress::default()));
        let started = Instant::now();
        let first = disk.create(&files.join(folder::file_name(1)));
        let first = first.map_err(|error| CaptureError::io(&files.join(folder::file_name(1)), error))?;
        let mut scribe = Scribe::new(
            options.clone(),
            options.head(),
            disk,
            (queue.clone(), receiver),
            (progress.clone(), metrics.clone()),
            redactor,
            before,
        );
        scribe.begin(first).map_err(|error| CaptureError::io(&files, error))?;
        metrics.queue_limit_bytes.set(i64::try_from(options.memory_max).unwrap_or(i64::MAX));
        let is_over = IsOver(progress.clone());
        let thread = std::thread::Builder::new().name("torana-capture".to_owned()).spawn(move || {
            scribe.run();
            drop((lock, is_over));
            on_end();
        });
        let thread = Mutex::new(Some(thread.map_err(|error| CaptureError::io(&files, error))?));
        let (ended, next_connection) = (Mutex::default(), AtomicU64::new(1));
        Ok(Recorder { queue, progress, metrics, started, ended, thread, options, next_connection })
    }

    /// A number for a connection that is taken, unique in the capture.
    pub fn connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// What it was told to record.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The time of a record, nanoseconds since the capture began.
    pub fn time(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes a record with a body of about `length` bytes. Never waits for the disk.
    pub fn append(&self, policy: Policy, record: &Record<'_>, length: usize) -> Result<(), Refused> {
        self.queue.append(policy, record, length)
    }

    /// The rest of `connection` is not in the capture.
    pub fn lose(&self, connection: u64, why: u8) {
        self.progress.lost.fetch_add(1, Ordering::Relaxed);
        self.metrics.lost.inc();
        self.queue.lose(Lost { connection, time: self.time(Instant::now()), why });
    }

    /// Counts `bytes` of memory for a reply that is being put together; false if there are none.
    pub fn hold(&self, bytes: usize) -> bool {
        self.queue.hold(bytes)
    }

    /// Gives them back.
    pub fn let_go(&self, bytes: usize) {
        self.queue.let_go(bytes);
    }

    /// Bytes that wait to be written.
    pub fn queue_bytes(&self) -> usize {
        self.queue.used()
    }

    /// Ends the capture in order: all that was taken is written, which this waits for.
    pub fn stop(&self) {
        self.queue.end();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the capture has failed; its last block is missing");
        }
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.get_or_insert_with(Instant::now);
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let recording = !self.progress.is_over.load(Ordering::Acquire);
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if !recording {
            ended.get_or_insert_with(Instant::now);
        }
        let until = ended.unwrap_or_else(Instant::now);
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Status {
            recording,
            folder: self.options.files().display().to_string(),
            set: self.options.set.clone(),
            seconds: until.duration_since(self.started).as_secs_f64(),
            records: count(&self.progress.records),
            raw_bytes: count(&self.progress.raw),
            written_bytes: count(&self.progress.written),
            files: count(&self.progress.files),
            lost_connections: count(&self.progress.lost),
            queue_bytes: self.queue.used() as u64,
            cut_short: self.progress.cut_short.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.queue.end();
    }
}

/// Makes the folders, and takes the lock. Held until the file is dropped.
fn prepare(folder: &Path, files: &Path) -> Result<File, CaptureError> {
    for path in [folder, files] {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| CaptureError::io(path, error))?;
    }
    let path = folder.join(LOCK);
    // What somebody else put there under this name is no lock: a link would lead elsewhere, a pipe would block.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let options =
        File::options().create(true).truncate(false).write(true).mode(0o600).custom_flags(flags).open(&path);
    let lock = options.map_err(|error| CaptureError::io(&path, error))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(CaptureError::InUse { path: folder.to_owned() });
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(CaptureError::io(&path, error)),
    }
    match folder::files(files)?.is_empty() {
        true => Ok(lock),
        false => Err(CaptureError::Taken { path: files.to_owned() }),
    }
}

/// Bytes of the captures in `folder`, and in the folders in it. What cannot be looked at counts nothing.
fn bytes_below(folder: &Path) -> u64 {
    let inside = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = inside.filter(|path| path.is_dir()).chain([folder.to_owned()]);
    let files = folders.filter_map(|folder| folder::files(&folder).ok()).flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[cfg(test)]
mod tests;
