//! Made-up load against a scripted server: when it is sent, what is measured when the server stalls, breaks or answers with
//! errors.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod support;

use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use support::scratch::Scratch;
use support::{FakeServer, Message, Peer, Then};

/// Runs `torana bench` with a workload and gives its report as JSON and what it printed.
fn bench(workload: &str, uri: &str, arguments: &[&str]) -> (serde_json::Value, Output) {
    let folder = Scratch::new("bench");
    let (file, json) = (folder.path().join("w.toml"), folder.path().join("report.json"));
    std::fs::write(&file, workload).unwrap();
    let mut all = vec!["bench", file.to_str().unwrap(), "--json", json.to_str().unwrap(), "--quiet"];
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

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Finds alone, which need nothing on the server.
fn finds(run: &str) -> String {
    format!(
        "database = \"app\"\n[run]\n{run}\n[[operation]]\ncollection = \"c\"\nfind = {{ a = \"$int:1..9\" }}\n"
    )
}

/// Whatever stands in the scorecard adds up, to the last operation.
fn check_card(report: &serde_json::Value) {
    let card = &report["scorecard"];
    let number = |key: &str| card[key].as_u64().unwrap();
    assert_eq!(number("sent") + number("skipped") + number("failed"), number("captured"), "{card}");
    assert_eq!(card["complete"], true);
}

/// Milliseconds of `P90`, from sent and from due.
fn p90(report: &serde_json::Value) -> (f64, f64) {
    let at = |which: &str| report["overall"][which]["at"][2].as_f64().unwrap();
    (at("sent"), at("due"))
}

/// A server that stands still for a second, once, half a second after its first request.
fn stalling() -> FakeServer {
    let first: Mutex<Option<Instant>> = Mutex::new(None);
    FakeServer::start(move |peer: &mut Peer, request: &Message| {
        let began = *first.lock().unwrap().get_or_insert_with(Instant::now);
        let (since, stall) = (began.elapsed(), Duration::from_millis(500)..Duration::from_millis(1500));
        if stall.contains(&since) {
            std::thread::sleep(stall.end - since);
        }
        peer.ok(request)
    })
}

#[test]
fn in_an_open_loop_a_stall_is_felt_by_all_who_would_have_come() {
    let server = stalling();
    let (report, output) = bench(&finds("for = \"3s\"\nrate = 300\nclients = 8"), &server.uri(), &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    check_card(&report);
    assert_eq!(report["scorecard"]["captured"], 900, "{report:#}");
    // Eight were under way; of the other 300 that were due in that second a third waited for longer than 0.6 s.
    let (sent, due) = p90(&report);
    assert!(sent < 100.0 && due > 400.0, "P90 {sent} from sent, {due} from due");
    assert!(report["overall"]["sent"]["max"].as_f64().unwrap() > 800.0);
    // That was the server's doing, and not torana's.
    let own = report["own_lag"]["at"][2].as_f64().unwrap();
    let behind = report["behind"]["at"][2].as_f64().unwrap();
    assert!(own < 50.0 && behind > 400.0, "late by {own} on its own, by {behind} at all");
    assert!(stdout(&output).contains("from sent (and below it from due)"), "{}", stdout(&output));
}

#[test]
fn in_a_closed_loop_nobody_comes_while_the_server_stalls() {
    let server = stalling();
    let (report, output) = bench(&finds("for = \"2s\"\nclients = 4"), &server.uri(), &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    check_card(&report);
    assert_eq!(report["overall"]["due"]["count"], 0);
    assert!(!stdout(&output).contains("below it"), "{}", stdout(&output));
    assert!(p90(&report).0 < 100.0, "{report:#}");
    assert!(report["overall"]["sent"]["max"].as_f64().unwrap() > 800.0);
}

#[test]
fn so_many_operations_as_were_asked_for_are_sent_over_so_many_connections() {
    let server = FakeServer::answering();
    let (report, output) = bench(&finds("operations = 500\nclients = 5"), &server.uri(), &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    check_card(&report);
    assert_eq!((report["scorecard"]["sent"].as_u64(), report["whole"].as_bool()), (Some(500), Some(true)));
    let seen = server.requests("find");
    assert_eq!(seen.len(), 500);
    let mut connections: Vec<i32> = seen.iter().map(|seen| seen.connection).collect();
    connections.sort_unstable();
    connections.dedup();
    assert_eq!(connections.len(), 5);
    assert!(seen.iter().all(|seen| {
        let body = seen.message.query_or_body();
        let asked = body.get_document("filter").unwrap().get_i64("a").unwrap();
        (1..=9).contains(&asked) && body.get_str("$db").unwrap() == "app"
    }));
}

#[test]
fn operations_are_sent_when_they_are_due_and_a_ramp_has_half_of_them() {
    let server = FakeServer::answering();
    let (report, output) =
        bench(&finds("for = \"3s\"\nrate = 200\nramp = \"2s\"\nclients = 8"), &server.uri(), &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    check_card(&report);
    assert_eq!(report["scorecard"]["captured"], 400);
    let points: Vec<u64> = report["timeline"]["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_u64().unwrap())
        .collect();
    for (seen, wanted) in points.iter().zip([50u64, 150, 200]) {
        assert!(seen.abs_diff(wanted) <= 15, "{points:?}");
    }
}

#[test]
fn what_is_due_when_the_time_is_up_and_could_not_be_sent_is_counted() {
    let server = FakeServer::start(|peer: &mut Peer, request: &Message| {
        std::thread::sleep(Duration::from_millis(100));
        peer.ok(request)
    });
    let (report, output) = bench(&finds("for = \"1s\"\nrate = 100\nclients = 2"), &server.uri(), &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    check_card(&report);
    assert_eq!(report["scorecard"]["captured"], 100);
    let skipped = report["scorecard"]["skipped"].as_u64().unwrap();
    assert!((70..95).contains(&skipped), "{report:#}");
    let notes = report["notes"].to_string();
    assert!(notes.contains(&format!("{skipped} operations were due and never sent")), "{notes}");
}

#[test]
fn errors_and_broken_connections_are_counted_and_the_first_of_each_kind_is_shown() {
    let count = AtomicU32::new(0);
    let server = FakeServer::start(move |peer: &mut Peer, request: &Message| {
        match count.fetch_add(1, Ordering::Relaxed) % 20 {
            3 => peer.reply(request, doc! { "ok": 0.0, "code": 2, "errmsg": "bad value" }),
            7 => Then::Close,
            _ => peer.ok(request),
        }
    });
    let (report, output) = bench(&finds("operations = 200\nclients = 3"), &server.uri(), &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    check_card(&report);
    assert_eq!(
        (report["scorecard"]["sent"].as_u64(), report["scorecard"]["failed"].as_u64()),
        (Some(190), Some(10))
    );
    assert_eq!(report["overall"]["errors"], 20);
    let notes = report["notes"].to_string();
    assert!(notes.contains("20 errors of find app.c {a: ?}, the first: code 2: bad value"), "{notes}");
    assert_eq!(server.requests("find").len(), 200, "nothing is sent twice");
}

#[test]
fn an_operation_is_over_when_its_cursor_is() {
    let batch =
        |id: i64, name: &str| doc! { "cursor": { "id": id, "ns": "app.c", name: [{ "_id": 1 }] }, "ok": 1.0 };
    let server = FakeServer::start(move |peer: &mut Peer, request: &Message| {
        let body: Document = request.query_or_body();
        match body.get_i64("getMore") {
            Ok(id) if id > 1 => peer.reply(request, batch(id - 1, "nextBatch")),
            Ok(_) => peer.reply(request, batch(0, "nextBatch")),
            Err(_) => peer.reply(request, batch(2, "firstBatch")),
        }
    });
    let (report, output) = bench(&finds("operations = 50\nclients = 2"), &server.uri(), &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    check_card(&report);
    assert_eq!(report["scorecard"]["sent"], 50);
    let further = server.requests("getMore");
    assert_eq!(further.len(), 100);
    assert!(further.iter().all(|seen| seen.message.query_or_body().get_str("collection").unwrap() == "c"));
    assert!(report["notes"].to_string().contains("100 further batches"), "{report:#}");
}

#[test]
fn a_target_that_is_lost_ends_the_run_with_an_error() {
    // Not a port that was just given back: the server of another test may have it by now.
    let (_, output) = bench(&finds("operations = 5"), "mongodb://127.0.0.1:1/", &[]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("cannot be reached"), "{}", stderr(&output));
}

#[test]
fn two_runs_are_compared_and_another_workload_is_no_basis() {
    let server = FakeServer::answering();
    let folder = Scratch::new("bench-json");
    let old = folder.path().join("old.json");
    let run = finds("operations = 300\nclients = 3");
    let (report, output) = bench(&run, &server.uri(), &["--repeat", "3"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(report["repeats"].as_array().unwrap().len(), 2);
    std::fs::write(&old, report.to_string()).unwrap();
    server.script(|peer: &mut Peer, request: &Message| {
        std::thread::sleep(Duration::from_millis(30));
        peer.ok(request)
    });
    let compare = ["--repeat", "3", "--compare", old.to_str().unwrap()];
    let (_, output) = bench(&run, &server.uri(), &compare);
    let text = stdout(&output);
    let compared = text.split("Compared:").nth(1).unwrap_or_else(|| panic!("{text}"));
    let all = compared.lines().skip_while(|line| *line != "all").nth(1).unwrap();
    assert!(all.split("P70").next().unwrap().ends_with("%)*    "), "{compared}");
    assert!(!compared.contains("not the same"), "{compared}");
    let other = finds("operations = 30\nclients = 1").replace("1..9", "1..8").replace("find =", "count =");
    let (_, output) = bench(&other, &server.uri(), &compare);
    assert!(stdout(&output).contains("The workloads are not the same"));
}

#[test]
fn a_dry_run_sends_nothing_and_the_example_is_a_workload() {
    let example = Command::new(env!("CARGO_BIN_EXE_torana")).args(["bench", "--example"]).output().unwrap();
    let example = String::from_utf8(example.stdout).unwrap();
    let (_, output) = bench(&example, "", &["--dry-run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    for wanted in ["Loads 20000 documents into torana_bench.scores", "\"find\": \"scores\"", "\"_id\": 20000"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let (_, again) = bench(&example, "", &["--dry-run"]);
    let ids = |output: &Output| {
        let text = stdout(output);
        text.lines().filter(|line| line.contains("\"find\"")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ids(&output), ids(&again));
}

#[test]
fn mistakes_are_named_with_their_lines_before_anything_is_connected_to() {
    let (_, output) = bench(&finds("operations = 5\nclinets = 3"), "mongodb://127.0.0.1:1/", &[]);
    assert!(!output.status.success());
    let error = stderr(&output);
    assert!(
        error.contains("w.toml:4: [run] has no key `clinets`") && error.contains("`clients`?"),
        "{error}"
    );
}
