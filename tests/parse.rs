//! Parse Server, unmodified, gives the same responses direct to MongoDB, through torana, and through torana with every
//! class tagged `sequential`: `tests/parse/steps.js` runs operations of applications by REST, by the JavaScript SDK
//! and by live queries, and prints every response but for ids, times, tokens and addresses.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bson::{Bson, doc};
use support::parts::part;
use support::ports::Ports;
use support::process::Process;
use support::scratch::Scratch;
use support::wait::wait_for;
use support::{Ensemble, Member, RawClient, ReplicaSet, Torana, Version};

/// One name for all runs, as texts of errors hold it.
const DATABASE: &str = "parse";
/// Fewer steps than this are none: an empty output equals an empty output.
const STEPS_MIN: usize = 70;
/// Parse Server makes its classes and their indexes one after another.
const START_LIMIT: Duration = Duration::from_secs(60);
const STEPS_LIMIT: Duration = Duration::from_secs(180);
/// How long a secondary stands still: longer than from a write to the next read.
const TURN: Duration = Duration::from_millis(100);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parse").join(name)
}

/// A node that finds the packages of Parse, with this script and its arguments. It stands in `folder`, since Parse
/// Server makes a folder of logs where it stands, whatever it is told.
fn node(arguments: &[&str], folder: &Scratch, name: &str) -> Process {
    let packages = format!("NODE_PATH={}/node_modules", part("TORANA_PARSE").display());
    let node = part("TORANA_NODE").display().to_string();
    let stands = folder.path().display().to_string();
    let arguments: Vec<String> = ["-C", &stands, &packages, &node]
        .iter()
        .chain(arguments)
        .map(|argument| (*argument).to_owned())
        .collect();
    Process::start(Path::new("env"), &arguments, folder.path(), name)
}

/// A Parse Server on the database that `uri` names, and its address.
fn parse_server(uri: &str, folder: &Scratch, port: &Ports) -> (Process, String) {
    let url = format!("http://127.0.0.1:{}/parse", port.first());
    let database = uri.replacen("/?", &format!("/{DATABASE}?"), 1);
    let cloud = script("cloud.js").display().to_string();
    let config = format!(
        r#"{{"appId": "torana", "masterKey": "master", "restAPIKey": "rest", "javascriptKey": "javascript",
        "fileKey": "torana", "databaseURI": {database:?}, "host": "127.0.0.1", "port": {}, "mountPath": "/parse",
        "serverURL": {url:?}, "allowClientClassCreation": true, "cloud": {cloud:?}, "logLevel": "error",
        "logsFolder": null, "liveQuery": {{"classNames": ["Live"]}}, "startLiveQueryServer": true,
        "idempotencyOptions": {{"paths": ["classes/Once"], "ttl": 300}}}}"#,
        port.first()
    );
    let file = folder.path().join("parse.json");
    std::fs::write(&file, config).unwrap();
    let program = part("TORANA_PARSE").join("node_modules/parse-server/bin/parse-server");
    let mut server =
        node(&[&program.display().to_string(), &file.display().to_string()], folder, "parse-server");
    wait_for("Parse Server runs", START_LIMIT, || {
        if let Some(status) = server.ended() {
            panic!("Parse Server ended with {status}:\n{}{}", server.stdout(), server.stderr());
        }
        server.stdout().contains("parse-server running on").then_some(())
    });
    (server, url)
}

/// What the steps print, a line each, with a Parse Server of their own on `uri`.
fn responses(uri: &str, read_preference: &str) -> Vec<String> {
    let (folder, port) = (Scratch::new("parse"), Ports::one());
    let (_server, url) = parse_server(uri, &folder, &port);
    let steps = script("steps.js").display().to_string();
    let mut steps = node(&[&steps, &url, read_preference], &folder, "steps");
    let status = steps.wait(STEPS_LIMIT).expect("the steps end in time");
    assert!(status.success(), "{status}:\n{}", steps.stderr());
    let lines: Vec<String> = steps.stdout().lines().map(str::to_owned).collect();
    assert!(lines.len() >= STEPS_MIN, "only {} steps", lines.len());
    lines
}

/// Panics with the steps that print something else than they did directly.
fn same(what: &str, direct: &[String], lines: &[String]) {
    let differ: Vec<String> = (0..direct.len().max(lines.len()))
        .map(|step| [direct, lines].map(|side| side.get(step).map_or("nothing", String::as_str)))
        .filter(|[one, other]| one != other)
        .map(|[one, other]| format!("directly: {one}\n{what}: {other}\n"))
        .collect();
    assert!(differ.is_empty(), "{} steps differ:\n{}", differ.len(), differ.join("\n"));
}

/// Forgets all that a run has left. Toranas are started after this, as they know nothing of what goes past them.
fn begin_anew(set: &ReplicaSet) {
    let everywhere = doc! { "w": 3, "wtimeout": 30_000 };
    set.client(set.primary()).run(DATABASE, doc! { "dropDatabase": 1, "writeConcern": everywhere });
}

/// Of the secondaries one applies nothing, for a turn each: a majority goes on, and so do indexes, which want all.
fn stand_still_by_turns(set: &ReplicaSet, stopped: &AtomicBool) {
    let primary = set.primary();
    let mut turns: Vec<RawClient> =
        (0..3).filter(|member| *member != primary).map(|member| set.client(member)).collect();
    let apply = |client: &mut RawClient, mode: &str| {
        client.run("admin", doc! { "configureFailPoint": "rsSyncApplyStop", "mode": mode });
    };
    while !stopped.load(Ordering::Relaxed) {
        for client in &mut turns {
            apply(client, "alwaysOn");
            std::thread::sleep(TURN);
            apply(client, "off");
        }
    }
}

/// Tells the thread to end, also when its test fails.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A set with a ZooKeeper server, and what the steps print on it directly.
struct Stage {
    zookeeper: Ensemble,
    set: ReplicaSet,
    direct: Vec<String>,
}

impl Stage {
    fn new() -> Stage {
        let zookeeper = Ensemble::of(1);
        let set = ReplicaSet::of(3).election_timeout(Duration::from_secs(10)).start();
        let direct = responses(&set.uri(), "PRIMARY");
        let failed: Vec<&String> = direct.iter().filter(|line| line.contains(r#","failed":{"#)).collect();
        assert!(failed.is_empty(), "steps that end before their end: {failed:#?}");
        begin_anew(&set);
        Stage { zookeeper, set, direct }
    }

    /// A torana on which every class is tagged.
    fn sequential(&self) -> Torana {
        let tagged =
            Torana::serve(self.set.uri()).argument("--tag").argument(format!("{DATABASE}.*=sequential"));
        tagged.argument("--zookeeper").argument(self.zookeeper.hosts().join(",")).start()
    }
}

#[test]
fn parse_answers_the_same_direct_through_torana_and_with_every_class_sequential() {
    let stage = Stage::new();
    let torana = Torana::serve(stage.set.uri()).start();
    same("through torana", &stage.direct, &responses(&torana.uri(), "PRIMARY"));
    drop(torana);

    begin_anew(&stage.set);
    let torana = stage.sequential();
    same("sequential", &stage.direct, &responses(&torana.uri(), "PRIMARY"));
    assert!(torana.metric("torana_horizon_writes_total", &["written"]) > 0.0);
}

/// What no other level gives: with the level `default` most steps find something old, or nothing.
#[test]
fn parse_reads_from_sequential_secondaries_that_stand_still_what_the_primary_has() {
    let stage = Stage::new();
    let torana = stage.sequential();
    let stopped = AtomicBool::new(false);
    let lines = std::thread::scope(|scope| {
        scope.spawn(|| stand_still_by_turns(&stage.set, &stopped));
        let _end = Ended(&stopped);
        responses(&torana.uri(), "SECONDARY")
    });
    same("sequential, by secondaries", &stage.direct, &lines);
    assert!(torana.metric("torana_reads_behind_total", &[]) > 0.0);
}

/// Texts under the keys of which Parse says that they are secret, wherever they stand in `value`.
fn secrets(value: &Bson, is_secret: bool, found: &mut BTreeSet<String>) {
    const SECRET: [&str; 6] = [
        "_hashed_password",
        "_session_token",
        "sessionToken",
        "_perishable_token",
        "_email_verify_token",
        "_password_history",
    ];
    match value {
        Bson::Document(document) => document.iter().for_each(|(key, value)| {
            let names_one = SECRET.contains(&key.as_str()) || key.starts_with("_auth_data_");
            secrets(value, is_secret || names_one, found);
        }),
        Bson::Array(values) => values.iter().for_each(|value| secrets(value, is_secret, found)),
        // Shorter ones may stand anywhere by chance.
        Bson::String(text) if is_secret && text.len() > 10 => drop(found.insert(text.clone())),
        _ => {}
    }
}

/// The oplog has every token that ever was, those of sessions that were ended included.
fn all_secrets(set: &ReplicaSet) -> BTreeSet<String> {
    let mut client = set.client(set.primary());
    let mut found = BTreeSet::new();
    let mut reply =
        client.run("local", doc! { "find": "oplog.rs", "filter": { "ns": { "$regex": "^parse|^admin" } } });
    loop {
        secrets(&Bson::Document(reply.clone()), false, &mut found);
        let id = reply.get_document("cursor").unwrap().get_i64("id").unwrap();
        if id == 0 {
            return found;
        }
        reply = client.run("local", doc! { "getMore": id, "collection": "oplog.rs" });
    }
}

#[test]
fn of_parses_logins_sign_ups_and_resets_no_secret_is_in_a_capture() {
    let set = ReplicaSet::of(1).start();
    let out = Scratch::new("capture");
    let text = format!(
        "uri = \"{}\"\nlisten = \"127.0.0.1:{{port0}}\"\n[capture]\nfolder = \"{}\"\nreplies = \"whole\"\n",
        set.uri(),
        out.path().display()
    );
    let mut torana = Torana::with_config(text).start();
    responses(&torana.uri(), "PRIMARY");
    assert!(torana.stop(Duration::from_secs(30)).success());
    let secrets = all_secrets(&set);
    assert!(secrets.len() > 10, "{secrets:?}");
    let folder: Option<PathBuf> =
        std::fs::read_dir(out.path()).unwrap().flatten().map(|entry| entry.path()).find(|path| path.is_dir());
    let mut records = Vec::new();
    for mut reader in torana::capture::folder::open(folder.as_ref().unwrap()).unwrap() {
        assert!(reader.damage.is_empty());
        for block in reader.blocks.clone() {
            records.extend(reader.block(&block).unwrap());
        }
    }
    let holds = |text: &str| records.windows(text.len()).any(|part| part == text.as_bytes());
    let leaked: Vec<&String> = secrets.iter().filter(|secret| holds(secret)).collect();
    assert!(leaked.is_empty(), "{} of {}: {leaked:?}", leaked.len(), secrets.len());
    assert!(holds("_hashed_password") && holds("_session_token"), "the traffic is in it");
    for version in [Version::V60, Version::V50] {
        replays(&folder.clone().unwrap(), version);
    }
}

/// What Parse did has the same answers on an empty set. What asks by a secret, or for a part of what there is in no order, is
/// not comparable; requests that Parse sends side by side to one collection may come in another order.
fn replays(capture: &Path, version: Version) {
    let target = ReplicaSet::builder().name("rs1").version(version).member(Member::plain()).start();
    let report = capture.join("report.json");
    let mut replay = Command::new(env!("CARGO_BIN_EXE_torana"));
    replay.arg("replay").arg(capture).args(["--to", &target.uri(), "--writes", "--quiet", "--speed", "max"]);
    let output = replay.arg("--json").arg(&report).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    let (card, answers) = (&report["scorecard"], &report["answers"]);
    assert_eq!((&card["complete"], &card["failed"]), (&true.into(), &0.into()), "{text}");
    assert!(answers["equal"].as_u64().unwrap() > 500, "{text}");
    assert_eq!(answers["different"], answers["racing"], "{version:?}: {text}");
}
