//! Replays against a scripted server: what is sent and what is not, in what order and when, and what the report says when
//! the target behaves as no target should.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod support;

use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use support::message::{CHECKSUM_PRESENT, EXHAUST_ALLOWED, MORE_TO_COME, Section, op_msg};
use support::recording::{Keeps, Recorded, Recording, lsid};
use support::{FakeServer, Message, Peer, Then};
use torana::capture::{Kind, Role};

/// Runs `torana replay` and gives its report as JSON and what it printed.
fn replay(capture: &Recorded, uri: &str, arguments: &[&str]) -> (serde_json::Value, Output) {
    let json = capture.path().join("report.json");
    let _ = std::fs::remove_file(&json);
    let file = capture.file();
    let mut all = vec!["replay", file.to_str().unwrap(), "--quiet", "--json", json.to_str().unwrap()];
    if !uri.is_empty() {
        all.extend(["--to", uri]);
    }
    all.extend(arguments);
    let output = Command::new(env!("CARGO_BIN_EXE_torana")).args(all).output().unwrap();
    let text = std::fs::read_to_string(&json).unwrap_or_else(|_| "null".to_owned());
    (serde_json::from_str(&text).unwrap(), output)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn ok() -> Document {
    doc! { "ok": 1.0 }
}

fn found(id: i64) -> Document {
    doc! { "cursor": { "id": id, "ns": "app.c", "firstBatch": [] }, "ok": 1.0 }
}

/// A capture on connection 1 of commands that were all answered ok.
fn capture_of(commands: &[Document]) -> Recorded {
    let mut recording = Recording::of(None, Keeps::Whole);
    recording.at(Duration::ZERO);
    recording.opened(1, Role::Primary, "a:1");
    for (number, command) in (1..).zip(commands) {
        recording.exchange(1, number, command.clone(), ok());
    }
    recording.finish()
}

/// Whatever stands in the scorecard adds up, to the last operation.
fn check_card(report: &serde_json::Value) {
    let card = &report["scorecard"];
    let number = |key: &str| card[key].as_u64().unwrap();
    let sum = number("sent") + number("skipped") + number("failed") + number("unmatched");
    assert_eq!(sum, number("captured"), "{card}");
    assert_eq!(card["complete"], true);
}

fn skipped(report: &serde_json::Value, reason: &str) -> u64 {
    let lines = report["scorecard"]["skipped_by_reason"].as_array().unwrap();
    let line = lines.iter().find(|line| line["reason"].as_str().unwrap().contains(reason));
    line.map_or(0, |line| line["count"].as_u64().unwrap())
}

#[test]
fn reads_are_sent_in_their_order_and_writes_are_left_out_and_counted() {
    let server = FakeServer::answering();
    let commands: Vec<Document> = (0..20).map(|n| doc! { "find": "c", "n": n }).collect();
    let mut all = commands.clone();
    all.insert(3, doc! { "insert": "c", "documents": [{ "_id": 1 }] });
    all.insert(5, doc! { "hello": 1 });
    all.insert(7, doc! { "shutdown": 1 });
    let (report, output) = replay(&capture_of(&all), &server.uri(), &["--speed", "max"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let sent = server.requests("find");
    let numbers: Vec<i32> =
        sent.iter().map(|seen| seen.message.query_or_body().get_i32("n").unwrap()).collect();
    assert_eq!(numbers, (0..20).collect::<Vec<i32>>());
    assert!(server.requests("insert").is_empty() && server.requests("shutdown").is_empty());
    check_card(&report);
    assert_eq!(
        (skipped(&report, "writes"), skipped(&report, "monitoring"), skipped(&report, "administration")),
        (1, 1, 1)
    );
    assert_eq!(report["scorecard"]["sent"], 20);
}

#[test]
fn what_a_request_says_of_the_old_set_is_replaced() {
    let server = FakeServer::start(|peer: &mut Peer, request: &Message| {
        let time = bson::Timestamp { time: 77, increment: 1 };
        peer.reply(request, doc! { "ok": 1.0, "operationTime": time })
    });
    let old = bson::Timestamp { time: 5, increment: 5 };
    let with = |extra: Document| {
        let mut command =
            doc! { "find": "c", "lsid": lsid(9), "$clusterTime": { "clusterTime": old }, "txnNumber": 4i64 };
        command.extend(extra);
        command
    };
    let after = doc! { "readConcern": { "level": "majority", "afterClusterTime": old }, "last": 1 };
    let capture = capture_of(&[with(after.clone()), with(after)]);
    let (report, _) = replay(&capture, &server.uri(), &[]);
    check_card(&report);
    let seen: Vec<Document> =
        server.requests("find").iter().map(|seen| seen.message.query_or_body()).collect();
    assert_eq!(seen.len(), 2);
    for request in &seen {
        assert!(!request.contains_key("$clusterTime"));
        assert_ne!(request.get_document("lsid").unwrap(), &lsid(9));
        assert_eq!(request.get_i64("txnNumber").ok(), Some(4));
        assert_eq!(request.get_i32("last").ok(), Some(1));
    }
    assert_eq!(seen[0].get("lsid"), seen[1].get("lsid"));
    assert_eq!(seen[0].get_document("readConcern").unwrap(), &doc! { "level": "majority" });
    let now = bson::Timestamp { time: 77, increment: 1 };
    assert_eq!(
        seen[1].get_document("readConcern").unwrap(),
        &doc! { "level": "majority", "afterClusterTime": now }
    );
}

#[test]
fn each_loop_has_sessions_of_its_own() {
    let server = FakeServer::answering();
    let capture = capture_of(&[doc! { "find": "c", "lsid": lsid(9) }]);
    let (report, _) = replay(&capture, &server.uri(), &["--speed", "max", "--loop", "3"]);
    assert_eq!(report["scorecard"]["captured"], 3);
    check_card(&report);
    let mut ids: Vec<String> = server
        .requests("find")
        .iter()
        .map(|seen| seen.message.query_or_body().get("lsid").unwrap().to_string())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_cursor_is_read_on_under_its_new_id_from_whatever_connection() {
    let server = FakeServer::start(|peer: &mut Peer, request: &Message| {
        match support::fake_server::name_of(request).as_str() {
            "find" => {
                // The second connection has to wait for this.
                std::thread::sleep(Duration::from_millis(100));
                peer.reply(request, found(4242))
            }
            _ => peer.ok(request),
        }
    });
    let mut recording = Recording::of(None, Keeps::Facts);
    recording.at(Duration::ZERO);
    recording.opened(1, Role::Primary, "a:1");
    recording.opened(2, Role::Primary, "a:1");
    recording.exchange(1, 1, doc! { "find": "c" }, found(1111));
    recording.exchange(2, 1, doc! { "getMore": 1111i64, "collection": "c" }, ok());
    recording.exchange(1, 2, doc! { "getMore": 5555i64, "collection": "c" }, ok());
    recording.exchange(1, 3, doc! { "killCursors": "c", "cursors": [1111i64, 5555i64] }, ok());
    let capture = recording.finish();
    for speed in ["1", "max"] {
        let (report, _) = replay(&capture, &server.uri(), &["--speed", speed]);
        check_card(&report);
        assert_eq!(skipped(&report, "cursor"), 1);
    }
    for seen in server.requests("getMore") {
        assert_eq!(seen.message.query_or_body().get_i64("getMore").ok(), Some(4242));
    }
    assert_eq!(server.requests("getMore").len(), 2);
}

#[test]
fn a_getmore_whose_cursor_the_target_never_opened_is_unmatched() {
    let server = FakeServer::start(|peer: &mut Peer, request: &Message| peer.reply(request, found(0)));
    let mut recording = Recording::of(None, Keeps::Facts);
    recording.opened(1, Role::Primary, "a:1");
    recording.exchange(1, 1, doc! { "find": "c" }, found(1111));
    recording.exchange(1, 2, doc! { "getMore": 1111i64, "collection": "c" }, ok());
    let (report, _) = replay(&recording.finish(), &server.uri(), &["--speed", "max"]);
    check_card(&report);
    assert_eq!(report["scorecard"]["unmatched"], 1);
    assert!(server.requests("getMore").is_empty());
}

#[test]
fn a_session_is_used_in_its_order_across_connections_and_what_overlapped_is_not_held_up() {
    // Whether the first was answered when the second, and the third, came.
    let answered = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (first, came) = (answered.clone(), seen.clone());
    let server = FakeServer::start(move |peer: &mut Peer, request: &Message| {
        match request.query_or_body().get_i32("n") {
            Ok(1) => {
                std::thread::sleep(Duration::from_millis(200));
                first.store(true, Ordering::SeqCst);
            }
            Ok(n) => came.lock().unwrap().push((n, first.load(Ordering::SeqCst))),
            Err(_) => {}
        }
        peer.ok(request)
    });
    let mut recording = Recording::of(None, Keeps::Facts);
    recording.at(Duration::ZERO);
    (1..4).for_each(|connection| recording.opened(connection, Role::Primary, "a:1"));
    recording.command(1, 1, "app", doc! { "find": "c", "n": 1, "lsid": lsid(1) });
    // It was sent before the first was answered: it relied on nothing.
    recording.exchange(3, 1, doc! { "find": "c", "n": 3, "lsid": lsid(1) }, ok());
    let reply = op_msg(1, 1, 0, &[Section::Body(ok())]);
    recording.reply(1, 1, &reply);
    recording.exchange(2, 1, doc! { "find": "c", "n": 2, "lsid": lsid(1) }, ok());
    let (report, _) = replay(&recording.finish(), &server.uri(), &["--speed", "max"]);
    check_card(&report);
    assert_eq!(*seen.lock().unwrap(), [(3, false), (2, true)]);
}

#[test]
fn connections_that_have_to_share_sockets_all_get_their_turn() {
    let server = FakeServer::start(|peer: &mut Peer, request: &Message| {
        std::thread::sleep(Duration::from_millis(2));
        peer.ok(request)
    });
    let mut recording = Recording::of(None, Keeps::Facts);
    recording.at(Duration::ZERO);
    for connection in 0..20 {
        recording.opened(connection, Role::Primary, "a:1");
        (1..4).for_each(|number| recording.exchange(connection, number, doc! { "find": "c" }, ok()));
    }
    let capture = recording.finish();
    for concurrency in ["1", "2", "100"] {
        let (report, _) = replay(&capture, &server.uri(), &["--speed", "max", "--concurrency", concurrency]);
        check_card(&report);
        assert_eq!(report["scorecard"]["sent"], 60);
    }
}

#[test]
fn a_connection_that_has_nothing_to_do_gives_its_socket_to_one_that_waits() {
    let server = FakeServer::start(|peer: &mut Peer, request: &Message| {
        std::thread::sleep(Duration::from_millis(50));
        peer.ok(request)
    });
    let mut recording = Recording::of(None, Keeps::Facts);
    recording.at(Duration::ZERO);
    (1..3).for_each(|connection| recording.opened(connection, Role::Primary, "a:1"));
    recording.exchange(1, 1, doc! { "find": "c" }, ok());
    recording.at(Duration::from_millis(10));
    recording.exchange(2, 1, doc! { "find": "c" }, ok());
    recording.at(Duration::from_millis(1500));
    recording.exchange(1, 2, doc! { "find": "c" }, ok());
    let (report, _) = replay(&recording.finish(), &server.uri(), &["--concurrency", "1"]);
    check_card(&report);
    assert!(report["overall"]["due"]["max"].as_f64().unwrap() < 700.0, "{report}");
}

#[test]
fn a_read_waits_for_the_acknowledged_write_to_its_document_on_another_connection() {
    let server = FakeServer::start(|peer: &mut Peer, request: &Message| {
        if support::fake_server::name_of(request) == "update" {
            std::thread::sleep(Duration::from_millis(300));
        }
        peer.ok(request)
    });
    let mut recording = Recording::of(None, Keeps::Facts);
    recording.at(Duration::ZERO);
    (1..4).for_each(|connection| recording.opened(connection, Role::Primary, "a:1"));
    let update = doc! { "update": "c", "updates": [{ "q": { "_id": 7 }, "u": { "$set": { "x": 1 } } }] };
    recording.exchange(1, 1, update, ok());
    recording.exchange(2, 1, doc! { "find": "c", "filter": { "_id": 7 }, "n": 1 }, ok());
    recording.exchange(3, 1, doc! { "find": "c", "filter": { "_id": 8 }, "n": 2 }, ok());
    let capture = recording.finish();
    let began = Instant::now();
    let (report, output) = replay(&capture, &server.uri(), &["--speed", "max", "--writes", "--same-set"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(began.elapsed() > Duration::from_millis(300));
    check_card(&report);
    let order: Vec<i32> = server
        .requests("find")
        .iter()
        .map(|seen| seen.message.query_or_body().get_i32("n").unwrap())
        .collect();
    assert_eq!(order, [2, 1]);
}

#[test]
fn the_schedule_is_kept_and_a_slow_target_shows_in_latency_from_due() {
    let server = FakeServer::start(|peer: &mut Peer, request: &Message| {
        std::thread::sleep(Duration::from_millis(50));
        peer.ok(request)
    });
    let mut recording = Recording::of(None, Keeps::Facts);
    recording.at(Duration::ZERO);
    recording.opened(1, Role::Primary, "a:1");
    for number in 0..20u32 {
        recording.at(Duration::from_millis(u64::from(number) * 20));
        recording.exchange(1, number + 1, doc! { "find": "c" }, ok());
    }
    let (report, _) = replay(&recording.finish(), &server.uri(), &[]);
    check_card(&report);
    let at = |row: &str, place: usize| report["overall"][row]["at"][place].as_f64().unwrap();
    // Due every 20 ms, answered every 50: the last is 19 x 30 ms late.
    assert!(at("sent", 0) >= 50.0 && at("sent", 0) < 90.0, "{report}");
    let late = report["overall"]["due"]["max"].as_f64().unwrap();
    assert!((500.0..950.0).contains(&late), "{report}");
    assert!(report["own_lag"]["at"][4].as_f64().unwrap() < 20.0, "{report}");
}

#[test]
fn speed_divides_the_time() {
    let server = FakeServer::answering();
    let mut recording = Recording::of(None, Keeps::Facts);
    recording.at(Duration::ZERO);
    recording.opened(1, Role::Primary, "a:1");
    recording.exchange(1, 1, doc! { "find": "c" }, ok());
    recording.at(Duration::from_secs(2));
    recording.exchange(1, 2, doc! { "find": "c" }, ok());
    let (report, _) = replay(&recording.finish(), &server.uri(), &["--speed", "4"]);
    let seconds = report["seconds"].as_f64().unwrap();
    assert!((0.3..1.9).contains(&seconds), "{seconds}");
}

#[test]
fn a_connection_that_breaks_fails_its_operation_once_and_the_next_one_goes_on() {
    let server = FakeServer::start(|peer: &mut Peer, request: &Message| {
        if request.query_or_body().get_i32("n").ok() == Some(3) { Then::Close } else { peer.ok(request) }
    });
    let commands: Vec<Document> = (0..6).map(|n| doc! { "find": "c", "n": n }).collect();
    let (report, output) = replay(&capture_of(&commands), &server.uri(), &["--speed", "max"]);
    assert!(output.status.success(), "{}", stderr(&output));
    check_card(&report);
    assert_eq!((&report["scorecard"]["sent"], &report["scorecard"]["failed"]), (&5.into(), &1.into()));
    assert_eq!(server.requests("find").len(), 6);
}

#[test]
fn an_answer_to_another_request_is_a_failure_and_not_an_answer() {
    let server = FakeServer::start(|peer: &mut Peer, request: &Message| {
        let id = peer.next_id();
        let wrong = request.request_id().wrapping_add(1);
        match request.query_or_body().get_i32("n") {
            Ok(1) => peer.send(&op_msg(id, wrong, 0, &[Section::Body(ok())])),
            Ok(2) => peer.send(b"no message at all, but long enough to have a header"),
            _ => peer.ok(request),
        }
    });
    let commands: Vec<Document> = (0..4).map(|n| doc! { "find": "c", "n": n }).collect();
    let (report, _) = replay(&capture_of(&commands), &server.uri(), &["--speed", "max"]);
    check_card(&report);
    assert_eq!(report["scorecard"]["failed"], 2);
}

#[test]
fn a_request_that_wants_no_reply_is_not_waited_for_and_exhaust_is_not_asked_for() {
    let server = FakeServer::answering();
    let mut recording = Recording::of(None, Keeps::Facts);
    recording.opened(1, Role::Primary, "a:1");
    let body = |n: i32| Section::Body(doc! { "find": "c", "n": n, "$clusterTime": {}, "$db": "app" });
    recording.request(1, 1, &op_msg(1, 0, MORE_TO_COME, &[body(1)]));
    recording.request(1, 2, &op_msg(2, 0, EXHAUST_ALLOWED | CHECKSUM_PRESENT, &[body(2)]));
    let reply = op_msg(1, 2, 0, &[Section::Body(ok())]);
    recording.reply(1, 2, &reply);
    let (report, _) = replay(&recording.finish(), &server.uri(), &["--speed", "max"]);
    check_card(&report);
    assert_eq!(report["scorecard"]["sent"], 2);
    let seen = server.requests("find");
    assert_eq!(seen[1].message.flags(), CHECKSUM_PRESENT);
    let raw = &seen[1].message.raw;
    let sum = u32::from_le_bytes(raw[raw.len() - 4..].try_into().unwrap());
    assert_eq!(sum, support::message::crc32c(&raw[..raw.len() - 4]));
}

#[test]
fn few_connections_do_for_many_captured_ones() {
    let server = FakeServer::answering();
    let mut recording = Recording::of(None, Keeps::Facts);
    recording.at(Duration::ZERO);
    for connection in 0..40 {
        recording.opened(connection, Role::Primary, "a:1");
    }
    for number in 1..6 {
        for connection in 0..40 {
            // Each relies on the one before, on another connection.
            recording.exchange(connection, number, doc! { "find": "c", "lsid": lsid(1) }, ok());
        }
    }
    let (report, _) = replay(&recording.finish(), &server.uri(), &["--speed", "max", "--concurrency", "3"]);
    check_card(&report);
    assert_eq!(report["scorecard"]["sent"], 200);
}

#[test]
fn a_target_that_is_not_there_is_named_and_nothing_is_sent() {
    let capture = capture_of(&[doc! { "find": "c" }]);
    let (_, output) = replay(&capture, "mongodb://127.0.0.1:9/", &[]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("127.0.0.1:9"), "{}", stderr(&output));
    let server = FakeServer::answering();
    let uri = server.uri().replace("rs0", "rs7");
    let (_, output) = replay(&capture, &uri, &[]);
    assert!(stderr(&output).contains("\"rs0\", not to \"rs7\""), "{}", stderr(&output));
    assert!(server.requests("find").is_empty());
}

#[test]
fn writes_are_refused_where_it_cannot_be_told_whose_they_are() {
    let server = FakeServer::answering();
    let capture = capture_of(&[doc! { "insert": "c", "documents": [{ "_id": 1 }] }]);
    let (_, output) = replay(&capture, &server.uri(), &["--writes"]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("--same-set"), "{}", stderr(&output));
    assert!(server.requests("insert").is_empty());
    let (report, output) = replay(&capture, &server.uri(), &["--writes", "--same-set"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(report["scorecard"]["sent"], 1);
}

#[test]
fn a_filter_and_a_dry_run_say_what_would_be_sent() {
    let commands =
        [doc! { "find": "c" }, doc! { "find": "d" }, doc! { "count": "c" }, doc! { "insert": "c" }];
    let capture = capture_of(&commands);
    let (report, output) =
        replay(&capture, "", &["--dry-run", "--filter", "ns=app.c", "--filter", "command=find,count"]);
    assert!(output.status.success(), "{}", stderr(&output));
    check_card(&report);
    assert_eq!(report["scorecard"]["sent"], 2);
    assert_eq!(skipped(&report, "filter"), 2);
}

#[test]
fn captures_that_are_empty_cut_off_or_damaged_are_played_as_far_as_they_go() {
    let server = FakeServer::answering();
    let empty = Recording::of(None, Keeps::Facts).finish();
    let (report, output) = replay(&empty, &server.uri(), &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(report["scorecard"]["captured"], 0);
    check_card(&report);

    let mut recording = Recording::of(None, Keeps::Facts);
    recording.at(Duration::ZERO);
    recording.opened(1, Role::Primary, "a:1");
    for number in 1..4 {
        recording.exchange(1, number, doc! { "find": "c", "n": number }, ok());
        recording.end_block();
    }
    recording.record(1, Kind::Closed(true));
    let capture = recording.finish();
    let whole = std::fs::read(capture.file()).unwrap();
    let mut damaged = whole.clone();
    // In the payload of the second block.
    let second = damaged.windows(4).enumerate().filter(|(_, bytes)| bytes == b"TBLK").nth(1).unwrap().0;
    damaged[second + 45] ^= 1;
    std::fs::write(capture.file(), &damaged).unwrap();
    let (report, output) = replay(&capture, &server.uri(), &["--speed", "max"]);
    assert!(output.status.success(), "{}", stderr(&output));
    check_card(&report);
    assert_eq!((&report["scorecard"]["sent"], &report["capture"]["damaged_blocks"]), (&2.into(), &1.into()));

    std::fs::write(capture.file(), &whole[..whole.len() / 2]).unwrap();
    let (report, output) = replay(&capture, &server.uri(), &["--speed", "max"]);
    assert!(output.status.success(), "{}", stderr(&output));
    check_card(&report);
    std::fs::write(capture.file(), b"something else, but long enough").unwrap();
    let (_, output) = replay(&capture, &server.uri(), &[]);
    assert!(stderr(&output).contains("is not a capture"), "{}", stderr(&output));
}

#[test]
fn a_wrong_answer_is_found_and_both_sides_are_shown() {
    let server = FakeServer::start(|peer: &mut Peer, request: &Message| {
        peer.reply(request, doc! { "cursor": { "id": 0i64, "ns": "app.c", "firstBatch": [{ "_id": 1, "x": "new" }] }, "ok": 1.0 })
    });
    let mut recording = Recording::of(None, Keeps::Whole);
    recording.opened(1, Role::Primary, "a:1");
    let old =
        doc! { "cursor": { "id": 0i64, "ns": "app.c", "firstBatch": [{ "_id": 1, "x": "old" }] }, "ok": 1.0 };
    recording.exchange(1, 1, doc! { "find": "c", "filter": { "_id": 1 } }, old);
    let (report, _) = replay(&recording.finish(), &server.uri(), &[]);
    let difference = &report["answers"]["differences"][0];
    assert_eq!(difference["what"], "cursor.firstBatch");
    assert_eq!(difference["shape"], "find app.c {_id: ?}");
    assert!(difference["recorded"].as_str().unwrap().contains("old"));
    assert!(difference["replayed"].as_str().unwrap().contains("new"));
}

#[test]
fn for_ends_a_replay_in_time_with_a_complete_scorecard() {
    let server = FakeServer::answering();
    let mut recording = Recording::of(None, Keeps::Facts);
    recording.at(Duration::ZERO);
    recording.opened(1, Role::Primary, "a:1");
    for second in 0..100u32 {
        recording.at(Duration::from_secs(u64::from(second)));
        recording.exchange(1, second + 1, doc! { "find": "c" }, ok());
    }
    let began = Instant::now();
    let (report, output) = replay(&recording.finish(), &server.uri(), &["--for", "1500ms"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(began.elapsed() < Duration::from_secs(5));
    check_card(&report);
    assert_eq!(report["scorecard"]["sent"], 2);
    assert_eq!(skipped(&report, "ended"), 98);
}

#[test]
fn ctrl_c_ends_a_replay_with_its_report() {
    let server = FakeServer::answering();
    let mut recording = Recording::of(None, Keeps::Facts);
    recording.at(Duration::ZERO);
    recording.opened(1, Role::Primary, "a:1");
    recording.exchange(1, 1, doc! { "find": "c" }, ok());
    recording.at(Duration::from_secs(60));
    recording.exchange(1, 2, doc! { "find": "c" }, ok());
    let capture = recording.finish();
    let arguments =
        ["replay", capture.path().to_str().unwrap(), "--quiet", "--to", &server.uri()].map(String::from);
    let program = std::path::PathBuf::from(env!("CARGO_BIN_EXE_torana"));
    let mut process = support::process::Process::start(&program, &arguments, capture.path(), "replay");
    server.wait_requests("find", 1);
    process.signal(rustix::process::Signal::INT);
    let status = process.wait(Duration::from_secs(10)).expect("an end");
    assert!(status.success(), "{}", process.stderr());
    assert!(
        process.stdout().contains("1 sent + 1 skipped + 0 failed + 0 unmatched = 2 captured"),
        "{}",
        process.stdout()
    );
}

#[test]
fn a_target_that_comes_back_is_played_on_and_each_operation_is_sent_once_at_most() {
    let server = Arc::new(FakeServer::answering());
    let commands: Vec<Document> = (0..30).map(|n| doc! { "find": "c", "n": n }).collect();
    let capture = capture_of(&commands);
    let fake = server.clone();
    server.script(move |peer: &mut Peer, request: &Message| {
        if request.query_or_body().get_i32("n").ok() != Some(10) {
            return peer.ok(request);
        }
        fake.refuse(true);
        let fake = fake.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            fake.refuse(false);
        });
        Then::Close
    });
    let (report, output) = replay(&capture, &server.uri(), &["--speed", "max"]);
    assert!(output.status.success(), "{}", stderr(&output));
    check_card(&report);
    let failed = report["scorecard"]["failed"].as_u64().unwrap();
    assert!((2..10).contains(&failed), "{report}");
    let mut seen: Vec<i32> = server
        .requests("find")
        .iter()
        .map(|seen| seen.message.query_or_body().get_i32("n").unwrap())
        .collect();
    assert_eq!(seen.len() as u64, 31 - failed);
    seen.dedup();
    assert_eq!(seen.len() as u64, 31 - failed);
    // The script holds the server that holds it.
    server.script(Peer::ok);
}

#[test]
fn a_slower_server_is_told_from_noise_by_repeated_runs() {
    let server = FakeServer::answering();
    let commands: Vec<Document> = (0..60)
        .map(|n| {
            if n % 2 == 0 {
                doc! { "find": "c" }
            } else {
                doc! { "count": "c" }
            }
        })
        .collect();
    let capture = capture_of(&commands);
    let (_, output) = replay(&capture, &server.uri(), &["--speed", "max", "--repeat", "3"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let old = capture.path().join("old.json");
    std::fs::rename(capture.path().join("report.json"), &old).unwrap();
    server.script(|peer: &mut Peer, request: &Message| {
        if support::fake_server::name_of(request) == "count" {
            std::thread::sleep(Duration::from_millis(40));
        }
        peer.ok(request)
    });
    let arguments = ["--speed", "max", "--repeat", "3", "--compare", old.to_str().unwrap()];
    let (_, output) = replay(&capture, &server.uri(), &arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let compared = text.split("Compared:").nth(1).unwrap_or_else(|| panic!("{text}"));
    let count = compared.lines().skip_while(|line| *line != "count").nth(1).unwrap();
    let p50 = count.split("P70").next().unwrap();
    assert!(p50.ends_with("%)*    "), "{compared}");
    let (_, output) = replay(&capture, &server.uri(), &["--compare", capture.file().to_str().unwrap()]);
    assert!(!output.status.success());
}
