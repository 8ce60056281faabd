//! Captures of real traffic: what clients of a real set ask and are told is in the files, and what is secret is not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use rustix::process::Signal;
use support::message::{EXHAUST_ALLOWED, MORE_TO_COME};
use support::process::Process;
use support::scratch::Scratch;
use support::{RawClient, ReplicaSet, Section, Torana, wait_until};
use torana::capture::file::records;
use torana::capture::{Asked, Form, Kind, Record, folder};

const SOON: Duration = Duration::from_secs(20);
const SECRET: &str = "r:5ecr3t-5ecr3t-5ecr3t";

/// What is left of a record once its block is gone.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Opened {
        client: String,
        application: String,
        member: String,
    },
    Request {
        number: u32,
        command: String,
        wants_none: bool,
        withheld: bool,
        message: Vec<u8>,
    },
    Reply {
        number: u32,
        code: i32,
        cursor: i64,
        documents: u32,
        length: u32,
        form: &'static str,
        message: Vec<u8>,
    },
    Closed(bool),
    Other,
}

fn seen(record: &Record<'_>) -> Seen {
    match &record.kind {
        Kind::Opened(opened) => Seen::Opened {
            client: opened.client.into(),
            application: opened.application.into(),
            member: opened.member.into(),
        },
        Kind::Request(request) => Seen::Request {
            number: request.number,
            command: String::from_utf8_lossy(Asked::of(request.message).command).into(),
            wants_none: request.wants_none,
            withheld: request.withheld,
            message: request.message.to_vec(),
        },
        Kind::Reply(reply) => {
            let (form, message) = match reply.form {
                Form::None => ("none", Vec::new()),
                Form::Whole(message) => ("whole", message.to_vec()),
                Form::Digest(digest) => ("digest", digest.to_vec()),
                Form::TooLarge => ("too large", Vec::new()),
            };
            let (number, code, cursor) = (reply.number, reply.code, reply.cursor);
            Seen::Reply {
                number,
                code,
                cursor,
                documents: reply.documents,
                length: reply.length,
                form,
                message,
            }
        }
        Kind::Closed(in_order) => Seen::Closed(*in_order),
        _ => Seen::Other,
    }
}

/// Where the files of the one capture in `folder` are.
fn files_in(folder: &Path) -> PathBuf {
    let inside = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    inside.filter(|path| path.is_dir()).max().unwrap_or_else(|| folder.to_owned())
}

fn read(path: &Path) -> Vec<(u64, Seen)> {
    let mut found = Vec::new();
    for mut reader in folder::open(path).unwrap() {
        for block in reader.blocks.clone() {
            if let Ok(bytes) = reader.block(&block) {
                found.extend(records(&bytes).map(|record| (record.connection, seen(&record))));
            }
        }
    }
    found
}

/// What was captured of the connection from `client`.
fn of_client(all: &[(u64, Seen)], client: &RawClient) -> Vec<Seen> {
    let address = client.stream().local_addr().unwrap().to_string();
    let opened = |seen: &Seen| matches!(seen, Seen::Opened { client, .. } if *client == address);
    let connection = all.iter().find(|(_, seen)| opened(seen)).map(|(connection, _)| *connection);
    all.iter().filter(|(of, _)| Some(*of) == connection).map(|(_, seen)| seen.clone()).collect()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// All bytes that a reader of the files can see.
fn raw(path: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for mut reader in folder::open(path).unwrap() {
        all.extend(std::fs::read(reader.path()).unwrap());
        for block in reader.blocks.clone() {
            all.extend(reader.block(&block).unwrap_or_default());
        }
    }
    all
}

fn hello(application: &str) -> Document {
    doc! { "hello": 1, "client": { "application": { "name": application }, "driver": { "name": "t", "version": "1" },
    "os": { "type": "Linux" } } }
}

fn torana(set: &ReplicaSet, capture: &str) -> Torana {
    let text = format!("uri = \"{}\"\nlisten = \"127.0.0.1:{{port0}}\"\n[capture]\n{capture}", set.uri());
    Torana::with_config(text).start()
}

/// The binary with these arguments, run to its end: whether it succeeded, and what it said.
fn run(arguments: &[&str]) -> (bool, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_torana")).args(arguments).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn what_clients_ask_and_are_told_is_in_the_capture_byte_for_byte() {
    let set = ReplicaSet::of(1).start();
    let out = Scratch::new("capture");
    let mut torana = torana(&set, &format!("folder = \"{}\"\nreplies = \"whole\"", out.path().display()));
    let mut client = torana.client_of(&set.host(0));
    let mut told = Vec::new();
    let mut ask = |client: &mut RawClient, command: Document| {
        client.send_command("app", command);
        let reply = client.read();
        told.push(reply.raw.clone());
        reply.body()
    };
    ask(&mut client, hello("captured"));
    // Documents in a sequence, several batches, a reply larger than a buffer, one that is too large to be kept.
    client.send_msg(
        0,
        &[
            Section::Body(doc! { "insert": "things", "$db": "app" }),
            Section::Sequence(
                "documents",
                (0..250).map(|n| doc! { "_id": n, "x": "y".repeat(100) }).collect(),
            ),
        ],
    );
    let inserted = client.read();
    assert_eq!(inserted.body().get_i32("n").unwrap(), 250);
    let mut reply = ask(&mut client, doc! { "find": "things", "batchSize": 100 });
    let mut batches = 1;
    while let Some(id) = reply.get_document("cursor").unwrap().get_i64("id").ok().filter(|id| *id != 0) {
        reply = ask(&mut client, doc! { "getMore": id, "collection": "things", "batchSize": 100 });
        batches += 1;
    }
    assert_eq!(batches, 3);
    let large: Vec<Document> = (0..6).map(|n| doc! { "_id": n, "x": "z".repeat(1 << 20) }).collect();
    for document in large {
        ask(&mut client, doc! { "insert": "large", "documents": [document] });
    }
    ask(&mut client, doc! { "find": "large", "limit": 1 });
    ask(&mut client, doc! { "find": "large", "batchSize": 5 });
    ask(&mut client, doc! { "find": "things", "filter": { "$nonsense": 1 } });
    client.send_msg(MORE_TO_COME, &[Section::Body(
        doc! { "insert": "things", "documents": [{ "_id": "w0" }], "writeConcern": { "w": 0 }, "$db": "app" },
    )]);
    ask(&mut client, doc! { "ping": 1 });
    assert!(torana.stop(SOON).success(), "{}", torana.log());
    let files = files_in(out.path());
    let all = of_client(&read(&files), &client);
    assert!(
        matches!(&all[0], Seen::Opened { application, member, .. } if application == "captured" && *member == set.host(0))
    );
    let requests: Vec<&Seen> = all.iter().filter(|seen| matches!(seen, Seen::Request { .. })).collect();
    for (place, request) in requests.iter().enumerate() {
        let Seen::Request { number, command, wants_none, .. } = request else { unreachable!() };
        assert_eq!(*number as usize, place);
        assert_eq!(*wants_none, place == requests.len() - 2, "{command}");
    }
    let Seen::Request { message, .. } = requests[1] else { unreachable!() };
    assert!(holds(message, b"documents\0") && holds(message, b"y".repeat(100).as_slice()));
    told.insert(1, inserted.raw);
    let replies: Vec<&Seen> = all.iter().filter(|seen| matches!(seen, Seen::Reply { .. })).collect();
    assert_eq!(replies.len(), told.len());
    let mut forms = Vec::new();
    for (reply, told) in replies.iter().zip(&told) {
        let Seen::Reply { length, form, message, code, documents, cursor, .. } = reply else {
            unreachable!()
        };
        assert_eq!(*length as usize, told.len());
        forms.push(*form);
        if *form == "whole" {
            assert!(message == told);
        } else {
            assert_eq!((*code, *documents, *cursor != 0), (0, 5, true));
        }
    }
    assert_eq!(forms.iter().filter(|form| **form == "too large").count(), 1);
    let first_batch =
        replies.iter().find(|reply| matches!(reply, Seen::Reply { documents: 100, .. })).unwrap();
    assert!(matches!(first_batch, Seen::Reply { cursor, .. } if *cursor != 0));
    assert!(replies.iter().any(|reply| matches!(reply, Seen::Reply { code, .. } if *code > 0)));
    looks_at_it(&files);
}

/// What the command line makes of the capture.
fn looks_at_it(files: &Path) {
    let path = files.display().to_string();
    let (ok, info) = run(&["capture", "info", &path]);
    assert!(
        ok && info.contains("app.things") && info.contains("captured") && info.contains("no damage"),
        "{info}"
    );
    assert!(!info.contains("set id unknown"), "{info}");
    let (ok, lines) = run(&["capture", "cat", &path, "--command", "getMore"]);
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_kind = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
    assert!(ok && of_kind("request") >= 2 && of_kind("request") == of_kind("reply"), "{lines:?}");
    assert!(lines.iter().any(|line| line["body"]["collection"] == "things"));
    let (ok, lines) = run(&["capture", "cat", &path, "--shape", "find app.things*"]);
    let requests: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut requests = requests.iter().filter(|line| line["kind"] == "request").peekable();
    assert!(ok && requests.peek().is_some(), "{lines}");
    assert!(requests.all(|line| line["body"]["find"] == "things"), "{lines}");
    let (_, none) = run(&["capture", "cat", &path, "--shape", "find app.things {no_such_field: ?}"]);
    assert!(!none.contains("\"kind\":\"request\""), "{none}");
    let cut = Scratch::new("cut");
    let to = cut.path().join("cut").display().to_string();
    let (ok, said) = run(&["capture", "cut", &path, "--out", &to, "--collection", "app.large"]);
    assert!(ok, "{said}");
    let left = read(Path::new(&to));
    assert!(matches!(left[0].1, Seen::Opened { .. }));
    let requests = left.iter().filter(|(_, seen)| matches!(seen, Seen::Request { .. })).count();
    assert_eq!(requests, 8 + 1, "with a hello: {said}");
    let both = cut.path().join("both").display().to_string();
    let (ok, said) = run(&["capture", "merge", &to, &path, "--out", &both]);
    assert!(ok, "{said}");
    assert_eq!(read(Path::new(&both)).len(), left.len() + read(files).len());
    let nothing = cut.path().join("nothing");
    let out = nothing.display().to_string();
    let (ok, said) = run(&["capture", "cut", &path, "--out", &out, "--collection", "app.nothing"]);
    assert!(!ok && said.contains("no request is meant") && !nothing.exists(), "{said}");
    let (ok, said) = run(&["capture", "cut", &path, "--out", &out, "--from", "2s", "--to", "1s"]);
    assert!(!ok && said.contains("--from is not before --to") && !nothing.exists(), "{said}");
    let (ok, said) = run(&["capture", "merge", &path, &to, &path, "--out", &out]);
    assert!(!ok && said.contains("is given twice") && !nothing.exists(), "{said}");
    let file = cut.path().join("lines.json").display().to_string();
    let (ok, said) = run(&["capture", "export", &path, "--brief", "--out", &file]);
    assert!(ok && std::fs::read_to_string(&file).unwrap().lines().count() == read(files).len(), "{said}");
    ends_well_where_nobody_reads(&path, cut.path());
}

/// What is printed into a pipe that is closed, or onto a disk that is full.
fn ends_well_where_nobody_reads(capture: &str, scratch: &Path) {
    let torana = || Command::new(env!("CARGO_BIN_EXE_torana"));
    let mut info = torana()
        .args(["capture", "info", capture])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(info.stdout.take());
    let info = info.wait_with_output().unwrap();
    assert!(info.status.success() && info.stderr.is_empty(), "{info:?}");
    let report = scratch.join("report.json");
    let mut replay = torana();
    replay.args(["replay", capture, "--dry-run", "--json"]).arg(&report);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let replay = replay.stdout(full).output().unwrap();
    assert!(!replay.status.success(), "{replay:?}");
    let report = std::fs::read_to_string(&report).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&report).is_ok(), "{report}");
}

#[test]
fn a_reply_that_its_client_is_slow_to_take_is_captured_whole() {
    let set = ReplicaSet::of(1).start();
    let out = Scratch::new("capture");
    let mut torana = torana(&set, &format!("folder = \"{}\"\nreplies = \"whole\"", out.path().display()));
    let mut client = torana.client_of(&set.host(0));
    for n in 0..12 {
        client
            .run("app", doc! { "insert": "large", "documents": [{ "_id": n, "x": "z".repeat(1_000_000) }] });
    }
    // The first fills the socket, so that the second, which is kept, finds no room in it: the rest of both is taken into
    // memory, and written bit by bit.
    client.send_command("app", doc! { "find": "large", "limit": 12, "singleBatch": true });
    client.send_command("app", doc! { "find": "large", "limit": 3, "singleBatch": true });
    let mut first = vec![0; 4];
    client.stream().read_exact(&mut first).unwrap();
    let length = i32::from_le_bytes(first[..].try_into().unwrap()) as usize;
    wait_until("the rest of both is in memory", SOON, || {
        std::thread::sleep(Duration::from_millis(150));
        let (at, more) = (first.len(), (length - first.len()).min(500_000));
        first.resize(at + more, 0);
        client.stream().read_exact(&mut first[at..]).unwrap();
        torana.metric("torana_replies_spooled_total", &[]) >= 2.0
    });
    let at = first.len();
    first.resize(length, 0);
    client.stream().read_exact(&mut first[at..]).unwrap();
    let told = client.read();
    assert!(torana.stop(SOON).success());
    let all = of_client(&read(&files_in(out.path())), &client);
    let wholes =
        all.iter().filter(|seen| matches!(seen, Seen::Reply { message, .. } if *message == told.raw));
    assert_eq!(wholes.count(), 1);
}

#[test]
fn secrets_are_nowhere_in_the_files() {
    let set = ReplicaSet::of(1).start();
    let out = Scratch::new("capture");
    let mut torana = torana(&set, &format!("folder = \"{}\"\nreplies = \"whole\"", out.path().display()));
    let mut client = torana.client_of(&set.host(0));
    client.run("admin", hello("secrets"));
    let user = doc! { "_id": "u1", "username": "bob", "_hashed_password": SECRET, "_session_token": SECRET,
    "_email_verify_token": SECRET, "_auth_data_facebook": { "id": SECRET, "access_token": SECRET } };
    client.run("app", doc! { "createUser": "bob", "pwd": SECRET, "roles": [] });
    client.run(
        "app",
        doc! { "createIndexes": "_User", "indexes": [
        { "key": { "_email_verify_token": 1 }, "name": "_email_verify_token_1", "unique": true }] },
    );
    client.run("app", doc! { "insert": "_User", "documents": [user.clone()] });
    client.run("app", doc! { "find": "_User", "filter": { "_session_token": { "$in": [SECRET] } } });
    client.run("app", doc! { "find": "_User", "filter": { "_auth_data_facebook.id": SECRET } });
    client.run("app", doc! { "distinct": "_User", "key": "_session_token" });
    client.run("app", doc! { "explain": { "find": "_User", "filter": { "_session_token": SECRET } } });
    client.run(
        "app",
        doc! { "aggregate": "_User", "pipeline": [{ "$group": { "_id": "$_session_token" } }], "cursor": {} },
    );
    client.run(
        "app",
        doc! { "update": "_User", "updates": [
        { "q": { "_id": "u1" }, "u": { "$set": { "_perishable_token": SECRET } } }] },
    );
    let mut twin = user;
    twin.insert("_id", "u2");
    // Its error says what is there already.
    client.send_command("app", doc! { "insert": "_User", "documents": [twin] });
    assert!(client.read().contains(SECRET));
    client.send_command("app", doc! { "saslStart": 1, "mechanism": "PLAIN", "payload": SECRET });
    client.read();
    client.run("admin", doc! { "getLog": "global" });
    assert!(torana.stop(SOON).success());
    let files = files_in(out.path());
    assert!(!holds(&raw(&files), SECRET.as_bytes()));
    let all = of_client(&read(&files), &client);
    let withheld = all.iter().filter(|seen| matches!(seen, Seen::Request { withheld: true, .. }));
    assert_eq!(withheld.count(), 2);
    // What is none is there.
    assert!(holds(&raw(&files), b"bob") && holds(&raw(&files), b"E11000 duplicate key"));
}

#[test]
fn a_torana_that_is_killed_leaves_a_capture_that_can_be_read() {
    let set = ReplicaSet::of(1).start();
    let out = Scratch::new("capture");
    let mut torana = torana(&set, &format!("folder = \"{}\"", out.path().display()));
    let mut client = torana.client_of(&set.host(0));
    let pinged = |client: &mut RawClient| drop(client.run("app", doc! { "ping": 1 }));
    (0..100).for_each(|_| pinged(&mut client));
    let written = || torana.metric("torana_capture_records_total", &[]);
    wait_until("a block is written", SOON, || written() >= 200.0);
    let before = written() as usize;
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        pinged(&mut client);
    }
    torana.process().kill();
    let files = files_in(out.path());
    let found = read(&files);
    assert!(found.len() >= before, "{} of {before}", found.len());
    let (ok, info) = run(&["capture", "info", &files.display().to_string()]);
    assert!(ok && info.contains("it has no index"), "{info}");
}

#[test]
fn a_recording_is_begun_and_ended_in_a_torana_that_runs() {
    let set = ReplicaSet::of(1).start();
    let mut torana = Torana::serve(set.uri()).start();
    let out = Scratch::new("capture");
    let folder = out.path().join("one");
    let mut before = torana.client_of(&set.host(0));
    before.run("admin", hello("from before"));
    let arguments = |folder: &Path, more: &[&str]| -> Vec<String> {
        let these = ["record", "--admin", &torana.admin_address(), "--out", &folder.display().to_string()];
        these.iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_torana"));
    let ordered = arguments(&folder, &["--replies", "whole", "--database", "app", "--database", "admin"]);
    let mut recording = Process::start(&binary, &ordered, out.path(), "record");
    let is_recording = || torana.metric("torana_capture_recording", &[]) == 1.0;
    wait_until("it records", SOON, is_recording);
    let second: Vec<String> = arguments(&out.path().join("two"), &[]);
    let second: Vec<&str> = second.iter().map(String::as_str).collect();
    let (ok, said) = run(&second);
    assert!(!ok && said.contains("recorded already"), "{said}");
    before.run("app", doc! { "ping": 1 });
    before.run("other", doc! { "ping": 1 });
    let mut after = torana.client_of(&set.host(0));
    after.run("admin", hello("from now"));
    after.run("app", doc! { "count": "c" });
    drop(after.try_command("app", doc! { "count": "c" }));
    recording.signal(Signal::INT);
    assert!(recording.wait(SOON).is_some_and(|status| status.success()), "{}", recording.stderr());
    assert!(recording.stdout().contains("torana capture info"), "{}", recording.stdout());
    wait_until("it has ended", SOON, || !is_recording());
    before.run("app", doc! { "ping": 1 });
    let all = read(&folder);
    let of_before = of_client(&all, &before);
    assert!(matches!(&of_before[0], Seen::Opened { application, .. } if application == "from before"));
    let commands: Vec<&str> = of_before
        .iter()
        .filter_map(
            |seen| if let Seen::Request { command, .. } = seen { Some(command.as_str()) } else { None },
        )
        .collect();
    assert_eq!(commands, ["ping"]);
    assert_eq!(of_client(&all, &after).len(), 7);
    // By its time, and with relative folders refused.
    let timed: Vec<String> = arguments(&out.path().join("three"), &["--for", "1s"]);
    let (ok, said) = run(&timed.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(ok && said.contains("records in 1 s"), "{said}");
    let (ok, said) = run(&["record", "--admin", &torana.admin_address(), "--out", "here"]);
    assert!(!ok && said.contains("its whole path"), "{said}");
    assert!(torana.stop(SOON).success());
}

#[test]
fn a_sample_takes_whole_connections_and_a_selection_those_of_an_application() {
    let set = ReplicaSet::of(1).start();
    let out = Scratch::new("capture");
    let text =
        format!("folder = \"{}\"\nsample = \"1/4\"\napplications = [\"wanted\"]", out.path().display());
    let mut torana = torana(&set, &text);
    let mut clients: Vec<RawClient> = (0..80).map(|_| torana.client_of(&set.host(0))).collect();
    for (place, client) in clients.iter_mut().enumerate() {
        client.run("admin", hello(if place % 2 == 0 { "wanted" } else { "other" }));
        client.run("app", doc! { "ping": 1 });
    }
    assert!(torana.stop(SOON).success());
    let all = read(&files_in(out.path()));
    let taken: Vec<usize> = clients.iter().map(|client| of_client(&all, client).len()).collect();
    let is_whole = |length: &usize| *length == 0 || *length >= 5;
    assert!(taken.iter().all(is_whole), "{taken:?}");
    assert!(taken.iter().skip(1).step_by(2).all(|length| *length == 0), "{taken:?}");
    let count = taken.iter().filter(|length| **length > 0).count();
    assert!((2..25).contains(&count), "{count}");
}

#[test]
fn every_reply_of_an_exhaust_cursor_is_captured_under_its_request() {
    let set = ReplicaSet::of(1).start();
    let out = Scratch::new("capture");
    let mut torana = torana(&set, &format!("folder = \"{}\"", out.path().display()));
    let mut client = torana.client_of(&set.host(0));
    let documents: Vec<Document> = (0..50).map(|n| doc! { "_id": n }).collect();
    client.run("app", doc! { "insert": "c", "documents": documents });
    let found = client.run("app", doc! { "find": "c", "batchSize": 5 });
    let id = found.get_document("cursor").unwrap().get_i64("id").unwrap();
    let more = doc! { "getMore": id, "collection": "c", "batchSize": 10, "$db": "app" };
    client.send_msg(EXHAUST_ALLOWED, &[Section::Body(more)]);
    let mut replies = 1;
    while client.read().more_to_come() {
        replies += 1;
    }
    assert!(replies > 2);
    assert!(torana.stop(SOON).success());
    let all = of_client(&read(&files_in(out.path())), &client);
    let of_get_more = all.iter().filter(|seen| matches!(seen, Seen::Reply { number: 2, form: "digest", .. }));
    assert_eq!(of_get_more.count(), replies);
}

#[test]
fn clients_are_served_when_nothing_can_be_captured() {
    let set = ReplicaSet::of(1).start();
    let out = Scratch::new("capture");
    let file = out.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    let mut torana = torana(&set, &format!("folder = \"{}/inside\"", file.display()));
    torana.client_of(&set.host(0)).run("app", doc! { "ping": 1 });
    assert!(torana.log().contains("no traffic is captured"), "{}", torana.log());
    assert!(torana.stop(SOON).success());
}

#[test]
fn at_its_quota_a_capture_ends_and_clients_go_on() {
    let set = ReplicaSet::of(1).start();
    let out = Scratch::new("capture");
    let mut torana = torana(&set, &format!("folder = \"{}\"\nquota = \"1MiB\"", out.path().display()));
    let mut client = torana.client_of(&set.host(0));
    wait_until("the quota is reached", Duration::from_secs(60), || {
        let random: Vec<u8> = (0..100_000).map(|_| rand::random()).collect();
        let random = bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: random };
        client.run("app", doc! { "insert": "c", "documents": [{ "x": random }] });
        torana.metric("torana_capture_cut_short_total", &[]) == 1.0
    });
    client.run("app", doc! { "ping": 1 });
    assert!(torana.log().contains("the quota of 1048576 bytes is reached"), "{}", torana.log());
    assert!(torana.stop(SOON).success());
    let bytes: u64 =
        folder::files(&files_in(out.path())).unwrap().iter().map(|f| f.metadata().unwrap().len()).sum();
    assert!(bytes <= 1 << 20, "{bytes}");
}
