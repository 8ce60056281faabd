use super::*;
use crate::capture::file::records;
use crate::capture::{Form, Kind, Opened, Reader, Reply, Request, Role};
use crate::config::Flags;
use crate::metrics::Metrics;
use crate::wire::{MsgFlags, OpMsgBuilder};
use bson::{Document, doc};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

const SECRET: &str = "r:5ecr3t-5ecr3t-5ecr3t";

fn options(folder: &Path) -> Options {
    let text =
        format!("uri = \"mongodb://a\"\n[capture]\nfolder = \"{}\"\nreplies = \"whole\"\n", folder.display());
    let config = crate::config::parse("t", &text, &Flags::default()).unwrap();
    Options::new(&config.captures.at_start.unwrap(), "rs0")
}

fn start(options: Options, disk: impl Disk + 'static) -> Result<Recorder, CaptureError> {
    Recorder::start(options, Box::new(disk), Metrics::new().capture.clone(), || {})
}

fn msg(document: &Document) -> Vec<u8> {
    OpMsgBuilder::message(1, 1, MsgFlags(0), &bson::serialize_to_vec(document).unwrap())
}

/// Appends a request of a connection, and a reply.
fn exchange(
    recorder: &Recorder,
    connection: u64,
    number: u32,
    ask: &Document,
    answer: &Document,
) -> Result<(), Refused> {
    let (ask, answer) = (msg(ask), msg(answer));
    let time = recorder.time(Instant::now());
    let request = Request { number, wants_none: false, withheld: false, message: &ask };
    let name = crate::capture::Asked::of(&ask).command;
    let policy = crate::capture::policy(name);
    recorder.append(policy, &Record { connection, time, kind: Kind::Request(request) }, ask.len())?;
    let reply = Reply {
        number,
        code: 0,
        cursor: 0,
        documents: 0,
        length: answer.len() as u32,
        form: Form::Whole(&answer),
    };
    recorder.append(policy, &Record { connection, time, kind: Kind::Reply(reply) }, answer.len())
}

fn ping(recorder: &Recorder, connection: u64, number: u32) -> Result<(), Refused> {
    exchange(recorder, connection, number, &doc! { "ping": 1, "$db": "x" }, &doc! { "ok": 1.0 })
}

/// Each record's connection, and what `of` makes of it.
fn read<T>(folder: &Path, mut of: impl FnMut(&Record<'_>) -> T) -> Vec<(u64, T)> {
    let mut found = Vec::new();
    for mut reader in folder::open(folder).unwrap() {
        assert!(reader.damage.is_empty(), "{:?}", reader.damage);
        for block in reader.blocks.clone() {
            let bytes = reader.block(&block).unwrap();
            found.extend(records(&bytes).map(|record| (record.connection, of(&record))));
        }
    }
    found
}

fn raw(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for mut reader in folder::open(folder).unwrap() {
        for block in reader.blocks.clone() {
            all.extend(reader.block(&block).unwrap());
        }
    }
    all
}

fn holds(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn what_is_handed_over_is_in_the_files_with_its_facts() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = start(options(folder.path()), RealDisk).unwrap();
    let opened = Opened { role: Role::Primary, member: "a:1", client: "c", application: "app" };
    recorder.append(Policy::Open, &Record { connection: 1, time: 0, kind: Kind::Opened(opened) }, 7).unwrap();
    let found = doc! { "cursor": { "firstBatch": [{ "a": 1 }], "id": 9i64, "ns": "x.y" }, "ok": 1.0 };
    exchange(&recorder, 1, 0, &doc! { "find": "y", "$db": "x" }, &found).unwrap();
    exchange(&recorder, 1, 1, &doc! { "count": "y", "$db": "x" }, &doc! { "ok": 0.0, "code": 50 }).unwrap();
    recorder.stop();
    let facts = read(folder.path(), |record| match record.kind {
        Kind::Opened(_) => "opened".to_owned(),
        Kind::Request(request) => format!("request {}", request.number),
        Kind::Reply(Reply { number, code, cursor, documents, form: Form::Whole(_), .. }) => {
            format!("reply {number} {code} {cursor} {documents}")
        }
        _ => "other".to_owned(),
    });
    let facts: Vec<String> = facts.into_iter().map(|(_, fact)| fact).collect();
    assert_eq!(facts, ["opened", "request 0", "reply 0 0 9 1", "request 1", "reply 1 50 0 0"]);
    let status = recorder.status();
    assert_eq!(
        (status.recording, status.records, status.lost_connections, status.cut_short),
        (false, 5, 0, None)
    );
    assert_eq!(recorder.queue_bytes(), 0);
    let mode = |path: &Path| {
        std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777
    };
    assert_eq!(mode(&folder.path().join(folder::file_name(1))), 0o600);
}

#[test]
fn secrets_are_neither_in_requests_nor_in_replies_nor_in_digests() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = start(options(folder.path()), RealDisk).unwrap();
    let found = doc! { "cursor": { "firstBatch": [{ "t": SECRET }], "id": 9i64, "ns": "x.y" }, "ok": 1.0 };
    let user = doc! { "cursor": { "firstBatch": [{ "pwd": SECRET }], "id": 0i64, "ns": "x.y" }, "ok": 1.0 };
    let asks = [
        (doc! { "createUser": "bob", "pwd": SECRET, "$db": "x" }, doc! { "ok": 1.0, "note": SECRET }),
        (doc! { "saslStart": 1, "payload": SECRET, "$db": "x" }, doc! { "ok": 1.0, "payload": SECRET }),
        (doc! { "getLog": "global", "$db": "x" }, doc! { "log": [SECRET], "ok": 1.0 }),
        (
            doc! { "aggregate": "y", "pipeline": [{ "$project": { "t": "$password" } }], "$db": "x" },
            found.clone(),
        ),
        // The next batch of the same cursor.
        (doc! { "getMore": 9i64, "collection": "y", "$db": "x" }, found),
        (doc! { "find": "y", "filter": { "pwd": SECRET }, "$db": "x" }, user),
        (doc! { "find": "y", "$db": "x" }, doc! { "ok": 1.0, "note": "bob is here" }),
    ];
    for (number, (ask, answer)) in (0..).zip(&asks) {
        exchange(&recorder, 1, number, ask, answer).unwrap();
    }
    recorder.stop();
    let all = raw(folder.path());
    assert!(!holds(&all, SECRET) && holds(&all, "bob is here"));
    let withheld =
        read(folder.path(), |record| matches!(&record.kind, Kind::Request(request) if request.withheld));
    assert_eq!(withheld.iter().filter(|(_, withheld)| *withheld).count(), 2);
}

#[test]
fn digests_are_of_what_is_kept_so_that_they_give_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = start(Options { replies: Replies::Digests, ..options(folder.path()) }, RealDisk).unwrap();
    let answer = doc! { "pwd": SECRET, "ok": 1.0 };
    exchange(&recorder, 1, 0, &doc! { "find": "y", "$db": "x" }, &answer).unwrap();
    recorder.stop();
    let digests = read(folder.path(), |record| match record.kind {
        Kind::Reply(Reply { form: Form::Digest(digest), .. }) => Some(*digest),
        _ => None,
    });
    let digest = digests.into_iter().find_map(|(_, digest)| digest).unwrap();
    assert_ne!(Some(digest), crate::capture::digest::of(&msg(&answer)));
}

#[test]
fn a_second_recorder_is_told_that_the_folder_is_in_use_and_a_later_one_that_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(options(folder.path()), RealDisk).unwrap();
    assert!(matches!(start(options(folder.path()), RealDisk), Err(CaptureError::InUse { .. })));
    first.stop();
    assert!(matches!(start(options(folder.path()), RealDisk), Err(CaptureError::Taken { .. })));
    let inside = Options { inside: Some("later".into()), ..options(folder.path()) };
    start(inside, RealDisk).unwrap().stop();
}

#[test]
fn files_follow_each_other_by_size_and_each_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { file_size: 20_000, ..options(folder.path()) };
    let recorder = start(options, RealDisk).unwrap();
    for number in 0..200 {
        let random: Vec<u8> = (0..10_000).map(|_| rand::random()).collect();
        let random = bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: random };
        exchange(&recorder, 1, number, &doc! { "insert": "y", "x": random, "$db": "x" }, &doc! { "ok": 1 })
            .unwrap();
    }
    recorder.stop();
    let status = recorder.status();
    assert!(status.files >= 2, "{status:?}");
    let on_disk: u64 =
        folder::files(folder.path()).unwrap().iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(on_disk, status.written_bytes);
    assert_eq!(read(folder.path(), |_| ()).len(), 400);
}

#[test]
fn at_its_quota_a_capture_ends_in_order_and_its_files_are_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let quota = 3 << 20;
    let recorder = start(Options { quota, ..options(folder.path()) }, RealDisk).unwrap();
    let mut refused = None;
    for number in 0..3_000 {
        let random: Vec<u8> = (0..5_000).map(|_| rand::random()).collect();
        let random = bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: random };
        let ask = doc! { "insert": "y", "x": random, "$db": "x" };
        match exchange(&recorder, 1, number, &ask, &doc! { "ok": 1 }) {
            Ok(()) => {}
            // The writer may be behind for a moment.
            Err(Refused::Full) => std::thread::sleep(Duration::from_millis(20)),
            Err(Refused::Ended) => {
                refused = Some(number);
                break;
            }
        }
    }
    recorder.stop();
    assert!(refused.is_some());
    let status = recorder.status();
    assert!(status.cut_short.clone().is_some_and(|why| why.contains("quota")), "{status:?}");
    let size = folder.path().join(folder::file_name(1)).metadata().unwrap().len();
    assert!(size <= quota && size > quota / 3, "{size}");
    assert!(!read(folder.path(), |_| ()).is_empty());
}

/// A disk that does one write each time it is let, or fails at one.
struct Gate {
    open: Arc<Mutex<Receiver<bool>>>,
}

struct Gated {
    file: File,
    open: Arc<Mutex<Receiver<bool>>>,
}

impl Gate {
    /// With the key to it: true lets a write pass, false makes it fail.
    fn new() -> (Gate, SyncSender<bool>) {
        let (key, open) = sync_channel(1000);
        (Gate { open: Arc::new(Mutex::new(open)) }, key)
    }
}

impl Disk for Gate {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Write + Send>> {
        Ok(Box::new(Gated { file: File::create_new(path)?, open: self.open.clone() }))
    }
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.open.lock().unwrap().recv() {
            Ok(true) | Err(_) => self.file.write(bytes),
            Ok(false) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[test]
fn while_the_disk_is_behind_nobody_waits_and_the_connections_that_find_no_room_are_marked() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, key) = Gate::new();
    key.send(true).unwrap();
    let options = Options { memory_max: 2 << 20, ..options(folder.path()) };
    let recorder = start(options, gate).unwrap();
    let large = doc! { "insert": "y", "x": "z".repeat(20_000), "$db": "x" };
    let mut lost = Vec::new();
    let mut longest = Duration::ZERO;
    for connection in 0..400 {
        let before = Instant::now();
        if exchange(&recorder, connection, 0, &large, &doc! { "ok": 1 }).is_err() {
            recorder.lose(connection, 1);
            lost.push(connection);
        }
        longest = longest.max(before.elapsed());
        // And one chunk that is being filled.
        assert!(recorder.queue_bytes() <= 3 << 20);
    }
    assert!(!lost.is_empty() && lost.len() < 400);
    // The disk stood still all the time.
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    drop(key);
    recorder.stop();
    let kinds = read(folder.path(), |record| matches!(record.kind, Kind::Lost(1)));
    let marked: Vec<u64> =
        kinds.iter().filter(|(_, is_lost)| *is_lost).map(|(connection, _)| *connection).collect();
    assert_eq!(marked, lost);
    assert_eq!(recorder.status().lost_connections, lost.len() as u64);
    // Behind the mark nothing of the connection follows.
    for connection in lost {
        let last = kinds.iter().rposition(|(of, _)| *of == connection).unwrap();
        assert!(kinds[last].1);
    }
}

#[test]
fn a_full_disk_ends_the_capture_and_what_was_written_is_readable() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, key) = Gate::new();
    let recorder = {
        key.send(true).unwrap();
        start(options(folder.path()), gate).unwrap()
    };
    ping(&recorder, 1, 0).unwrap();
    key.send(true).unwrap();
    while recorder.status().records == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    key.send(false).unwrap();
    ping(&recorder, 1, 1).unwrap();
    while recorder.status().recording {
        std::thread::sleep(Duration::from_millis(10));
        let _ = key.try_send(false);
    }
    assert_eq!(ping(&recorder, 1, 2), Err(Refused::Ended));
    recorder.stop();
    assert!(recorder.status().cut_short.is_some_and(|why| why.contains("cannot write")));
    let mut reader = Reader::open(&folder.path().join(folder::file_name(1))).unwrap();
    let block = reader.blocks[0];
    assert_eq!(records(&reader.block(&block).unwrap()).count(), 2);
}

#[test]
fn a_large_request_is_kept_and_what_waits_stays_within_its_memory() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = start(options(folder.path()), RealDisk).unwrap();
    let large = doc! { "insert": "y", "x": "z".repeat(16 << 20), "pwd": SECRET, "$db": "x" };
    exchange(&recorder, 1, 0, &large, &doc! { "ok": 1 }).unwrap();
    assert!(recorder.queue_bytes() <= MEMORY_MAX + (1 << 20));
    recorder.stop();
    let lengths = read(folder.path(), |record| match record.kind {
        Kind::Request(request) => request.message.len(),
        _ => 0,
    });
    assert_eq!(lengths.iter().map(|(_, length)| *length).max(), Some(msg(&large).len()));
    assert!(!holds(&raw(folder.path()), SECRET));
}

#[test]
fn batches_behind_a_first_one_that_was_too_large_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = start(options(folder.path()), RealDisk).unwrap();
    let ask =
        msg(&doc! { "aggregate": "y", "pipeline": [{ "$project": { "t": "$_session_token" } }], "$db": "x" });
    let request = Request { number: 0, wants_none: false, withheld: false, message: &ask };
    recorder
        .append(Policy::Open, &Record { connection: 1, time: 1, kind: Kind::Request(request) }, ask.len())
        .unwrap();
    let reply = Reply { number: 0, code: 0, cursor: 9, documents: 1, length: 5 << 20, form: Form::TooLarge };
    recorder.append(Policy::Open, &Record { connection: 1, time: 2, kind: Kind::Reply(reply) }, 0).unwrap();
    let more = doc! { "cursor": { "nextBatch": [{ "t": SECRET }], "id": 0i64, "ns": "x.y" }, "ok": 1.0 };
    exchange(&recorder, 1, 1, &doc! { "getMore": 9i64, "collection": "y", "$db": "x" }, &more).unwrap();
    recorder.stop();
    assert!(!holds(&raw(folder.path()), SECRET));
}

#[test]
fn batches_of_a_cursor_from_before_the_capture_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = start(options(folder.path()), RealDisk).unwrap();
    let more = doc! { "cursor": { "nextBatch": [{ "t": SECRET }], "id": 0i64, "ns": "x.y" }, "ok": 1.0 };
    exchange(&recorder, 1, 0, &doc! { "getMore": 9i64, "collection": "y", "$db": "x" }, &more).unwrap();
    recorder.stop();
    assert!(!holds(&raw(folder.path()), SECRET));
}
