//! Made-up load against a real mongod: it counts what the report counts, and nothing is lost that was there before.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod support;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use bson::{Document, doc};
use support::process::Process;
use support::scratch::Scratch;
use support::{Member, ReplicaSet};

const WORKLOAD: &str = r#"
database = "app"
seed = 7
[load]
collection = "scores"
documents = 3000
size = { min = "100B", max = "2KiB" }
document = { player = "$int:1..50", at = "$now" }
indexes = [{ player = 1 }]
[run]
operations = 2000
clients = 8
keys = "zipf"
[[operation]]
weight = 40
find = { _id = "$key" }
[[operation]]
weight = 10
find = { player = "$int:1..50" }
batchSize = 20
[[operation]]
weight = 20
update = { q = { _id = "$key" }, u = { "$set" = { at = "$now" } } }
[[operation]]
weight = 10
insert = "$document"
[[operation]]
weight = 5
delete = { q = { _id = "$key" } }
[[operation]]
weight = 5
findAndModify = { query = { _id = "$key" }, update = { "$inc" = { n = 1 } } }
[[operation]]
weight = 5
count = { player = 5 }
[[operation]]
weight = 4
aggregate = [{ "$match" = { player = "$int:1..50" } }, { "$group" = { _id = "$player", n = { "$sum" = 1 } } }]
[[operation]]
weight = 1
command = { ping = 1 }
"#;

struct Bench {
    folder: Scratch,
    set: ReplicaSet,
}

impl Bench {
    fn start() -> Bench {
        let set = ReplicaSet::builder().member(Member::plain()).start();
        Bench { folder: Scratch::new("bench"), set }
    }

    fn arguments(&self, workload: &str, more: &[&str]) -> Vec<String> {
        let (file, json) = (self.folder.path().join("w.toml"), self.folder.path().join("report.json"));
        let _ = std::fs::remove_file(&json);
        std::fs::write(&file, workload).unwrap();
        let (file, json, uri) = (file.display().to_string(), json.display().to_string(), self.set.uri());
        let all = ["bench", &file, "--to", &uri, "--quiet", "--json", &json];
        all.iter().chain(more).map(|one| (*one).to_owned()).collect()
    }

    fn run(&self, workload: &str, more: &[&str]) -> (serde_json::Value, Output) {
        let output = Command::new(env!("CARGO_BIN_EXE_torana")).args(self.arguments(workload, more)).output();
        (self.report(), output.unwrap())
    }

    fn report(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.folder.path().join("report.json"));
        serde_json::from_str(&text.unwrap_or_else(|_| "null".to_owned())).unwrap()
    }

    fn command(&self, database: &str, command: Document) -> Document {
        self.set.client(0).run(database, command)
    }

    fn count(&self, collection: &str) -> i32 {
        self.command("app", doc! { "count": collection }).get_i32("n").unwrap()
    }

    fn collections(&self) -> Vec<String> {
        let reply = self.command("app", doc! { "listCollections": 1, "nameOnly": true });
        let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap().clone();
        batch.iter().map(|one| one.as_document().unwrap().get_str("name").unwrap().to_owned()).collect()
    }

    /// What the server itself counted: operations, and commands by name.
    fn counters(&self) -> (Document, Document) {
        let status = self.command("admin", doc! { "serverStatus": 1 });
        let commands = status.get_document("metrics").unwrap().get_document("commands").unwrap();
        (status.get_document("opcounters").unwrap().clone(), commands.clone())
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn number(document: &Document, key: &str) -> i64 {
    document.get(key).and_then(|value| value.as_i64().or(value.as_i32().map(i64::from))).unwrap_or(0)
}

#[test]
fn the_report_counts_what_the_server_counts() {
    let bench = Bench::start();
    let before = bench.counters();
    let (report, output) = bench.run(WORKLOAD, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let after = bench.counters();
    assert_eq!(report["scorecard"]["sent"], 2000, "{report:#}");
    assert_eq!(report["overall"]["errors"], 0, "{report:#}");
    let sent = |name: &str| {
        let rows = report["commands"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name);
        row.map_or(0, |row| row["sent"]["count"].as_i64().unwrap())
    };
    let counted = |key: &str| number(&after.0, key) - number(&before.0, key);
    let total = |name: &str| {
        let of = |all: &Document| all.get_document(name).map_or(0, |one| number(one, "total"));
        of(&after.1) - of(&before.1)
    };
    // The server's own work may come on top, where it does any.
    let few = |seen: i64, wanted: i64, what: &str| {
        assert!((wanted..=wanted + 10).contains(&seen), "{what}: {seen}, not {wanted}");
    };
    few(counted("query"), sent("find"), "queries");
    few(counted("insert"), sent("insert") + 3000, "inserts");
    few(counted("update"), sent("update"), "updates");
    few(counted("delete"), sent("delete"), "deletes");
    for name in ["count", "aggregate", "findAndModify", "ping", "update", "delete"] {
        assert!(sent(name) > 0, "{name}");
        few(total(name), sent(name), name);
    }
    let further: i64 = total("getMore");
    assert!(
        further > 100 && report["notes"].to_string().contains(&format!("{further} further batches")),
        "{further}: {report:#}"
    );
    // What it made, it dropped.
    assert!(bench.collections().is_empty());
    assert!(report["notes"].to_string().contains("dropped app.scores"), "{report:#}");
}

#[test]
fn nothing_is_lost_that_was_there_before() {
    let bench = Bench::start();
    let precious = doc! { "insert": "scores", "documents": [{ "_id": "precious" }] };
    bench.command("app", precious.clone());
    let (_, output) = bench.run(WORKLOAD, &[]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("app.scores exists and is not empty"), "{}", stderr(&output));
    assert_eq!(bench.count("scores"), 1);

    // Nor by operations that load nothing.
    let no_load = "database = \"app\"\n[run]\noperations = 5\n[[operation]]\ncollection = \"scores\"\ndelete = { q = {} }\n";
    let (_, output) = bench.run(no_load, &[]);
    assert!(!output.status.success() && stderr(&output).contains("--no-load"), "{}", stderr(&output));
    assert_eq!(bench.count("scores"), 1);

    // What is asked for by name is done.
    let (report, output) = bench.run(WORKLOAD, &["--drop", "--keep"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(report["notes"].to_string().contains("left behind: app.scores"), "{report:#}");
    let kept = bench.count("scores");
    assert!(kept > 2500, "{kept}");
    let indexes = bench.command("app", doc! { "listIndexes": "scores" });
    assert_eq!(indexes.get_document("cursor").unwrap().get_array("firstBatch").unwrap().len(), 2);

    // What is there is used, new documents have numbers of their own, and all stays.
    let (report, output) = bench.run(WORKLOAD, &["--no-load", "--repeat", "2"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        (report["overall"]["errors"].as_u64(), report["repeats"][0]["overall"]["errors"].as_u64()),
        (Some(0), Some(0)),
        "{report:#}"
    );
    assert!(report["notes"].to_string().contains("app.scores was there before"), "{report:#}");
    assert!(!report["notes"].to_string().contains("$key may find none"), "{report:#}");
    let (report, _) = bench.run(&WORKLOAD.replace("documents = 3000", "documents = 9000"), &["--no-load"]);
    assert!(report["notes"].to_string().contains("and not 9000: $key may find none"), "{report:#}");
    assert!(bench.count("scores") > 2500);
}

#[test]
fn each_of_repeated_runs_has_the_same_data() {
    let bench = Bench::start();
    let inserts = || number(&bench.counters().0, "insert");
    let before = inserts();
    let (report, output) = bench.run(WORKLOAD, &["--repeat", "3"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(report["repeats"].as_array().unwrap().len(), 2);
    for run in std::iter::once(&report).chain(report["repeats"].as_array().unwrap()) {
        assert_eq!(
            (run["scorecard"]["sent"].as_u64(), run["overall"]["errors"].as_u64()),
            (Some(2000), Some(0)),
            "{run:#}"
        );
    }
    assert!(inserts() - before >= 3 * 3000, "loaded anew");
    assert!(bench.collections().is_empty());
}

#[test]
fn ctrl_c_ends_a_run_with_its_report_and_without_its_data() {
    let bench = Bench::start();
    let workload = WORKLOAD.replace("operations = 2000", "for = \"10m\"\nrate = 200");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_torana"));
    let arguments = bench.arguments(&workload, &[]);
    let mut process = Process::start(&program, &arguments, bench.folder.path(), "bench");
    support::wait_until("some updates", Duration::from_secs(30), || {
        number(bench.counters().1.get_document("update").unwrap(), "total") > 20
    });
    process.signal(rustix::process::Signal::INT);
    let status = process.wait(Duration::from_secs(10)).expect("an end");
    assert!(status.success(), "{}", process.stderr());
    let report = bench.report();
    assert!(report["ended"].as_str().unwrap().contains("stopped before its end"), "{report:#}");
    assert_eq!(
        (report["whole"].as_bool(), report["scorecard"]["complete"].as_bool()),
        (Some(false), Some(true))
    );
    assert!(bench.collections().is_empty());
}

#[test]
fn ctrl_c_ends_a_load_and_leaves_nothing_of_it() {
    let bench = Bench::start();
    let workload = WORKLOAD.replace("documents = 3000", "documents = 100_000_000");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_torana"));
    let arguments = bench.arguments(&workload, &[]);
    let mut process = Process::start(&program, &arguments, bench.folder.path(), "bench");
    support::wait_until("some documents", Duration::from_secs(30), || {
        number(&bench.counters().0, "insert") > 5000
    });
    process.signal(rustix::process::Signal::INT);
    let status = process.wait(Duration::from_secs(20)).expect("an end");
    assert!(!status.success());
    let error = process.stderr();
    assert!(error.contains("app.scores could not be loaded: it was stopped; dropped app.scores"), "{error}");
    assert!(bench.collections().is_empty());
}
