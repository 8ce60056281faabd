//! What a workload file can say, and how its mistakes are told.

use bson::{Document, doc};

use super::*;

/// The lines of what is wrong with a file.
fn wrong(text: &str) -> String {
    parse("w.toml", text).unwrap_err().to_string()
}

/// A workload of one operation, with a load.
fn with(operation: &str) -> String {
    format!(
        "database = \"app\"\n[load]\ncollection = \"scores\"\n[run]\noperations = 5\n[[operation]]\n{operation}\n"
    )
}

fn one(operation: &str) -> (Operation, Document) {
    let workload = parse("w.toml", &with(operation)).unwrap();
    let operation = workload.operations[0].clone();
    let mut out = Vec::new();
    operation.template.write(&mut Draws::new(1, workload.keys(), 10_000), &mut out);
    (operation, Document::from_reader(out.as_slice()).unwrap())
}

#[test]
fn the_example_is_right_and_has_every_verb_but_those_it_leaves_out() {
    let workload = parse("example.toml", EXAMPLE).unwrap();
    assert_eq!(workload.load.as_ref().unwrap().documents, 20_000);
    let commands: Vec<&str> =
        workload.operations.iter().map(|operation| operation.command.as_str()).collect();
    assert_eq!(commands, ["find", "find", "update", "insert", "findAndModify", "aggregate", "count"]);
    assert_eq!(workload.operations[1].name, "best of a player");
    assert_eq!(workload.written(), ["scores"]);
}

#[test]
fn short_forms_become_whole_commands_in_mongodbs_order() {
    let cases = [
        (
            "find = { b = 1, a = 2 }\nsort = { z = 1, a = -1 }\nlimit = 5",
            doc! { "find": "scores", "filter": { "b": 1, "a": 2 }, "sort": { "z": 1, "a": -1 }, "limit": 5, "$db": "app" },
        ),
        (
            "aggregate = [{ \"$group\" = { _id = \"$key\" } }]\ncollection = \"other\"",
            doc! { "aggregate": "other", "pipeline": [{ "$group": { "_id": 0 } }], "cursor": {}, "$db": "app" },
        ),
        ("count = { a = 1 }", doc! { "count": "scores", "query": { "a": 1 }, "$db": "app" }),
        (
            "insert = [{ a = 1 }, { a = 2.5 }]\nordered = false",
            doc! { "insert": "scores", "documents": [{ "a": 1 }, { "a": 2.5 }], "ordered": false, "$db": "app" },
        ),
        (
            "update = { q = { _id = 1 }, u = { \"$set\" = { at = 2025-01-31T12:00:00Z } }, upsert = true }",
            doc! { "update": "scores", "updates": [{ "q": { "_id": 1 },
            "u": { "$set": { "at": bson::DateTime::from_millis(1_738_324_800_000) } }, "upsert": true }], "$db": "app" },
        ),
        (
            "delete = { q = { a = 1 } }",
            doc! { "delete": "scores", "deletes": [{ "q": { "a": 1 }, "limit": 1 }], "$db": "app" },
        ),
        (
            "findAndModify = { query = { a = 1 }, remove = true }",
            doc! { "findAndModify": "scores", "query": { "a": 1 }, "remove": true, "$db": "app" },
        ),
        ("command = { ping = 1 }", doc! { "ping": 1, "$db": "app" }),
    ];
    for (text, mut wanted) in cases {
        let (_, mut command) = one(text);
        // What `$key` chose is not the point here.
        if text.contains("$key") {
            let drawn = command.get_array_mut("pipeline").unwrap()[0].as_document_mut().unwrap();
            let id = drawn.get_document_mut("$group").unwrap().get_i64("_id").unwrap();
            wanted = doc! { "aggregate": "other", "pipeline": [{ "$group": { "_id": id } }], "cursor": {}, "$db": "app" };
        }
        // Documents are equal in whatever order, commands are not.
        let bytes = |document: &Document| bson::serialize_to_vec(document).unwrap();
        assert_eq!(bytes(&command), bytes(&wanted), "{text}: {command}");
    }
}

#[test]
fn an_inserted_document_is_like_a_loaded_one_with_a_number_of_its_own() {
    let (operation, command) = one("insert = \"$document\"");
    assert_eq!(operation.writes.as_deref(), Some("scores"));
    let document = command.get_array("documents").unwrap()[0].as_document().unwrap().clone();
    assert_eq!(document.get_i64("_id").unwrap(), 10_000);
    assert_eq!(bson::serialize_to_vec(&document).unwrap().len(), 1024);
}

#[test]
fn names_in_reports_are_shapes_and_namespaces() {
    let (operation, _) = one("find = { player = \"$int:1..5\", n = { \"$gt\" = 5 } }");
    assert_eq!(operation.name, "find app.scores {player: ?, n: {$gt: ?}}");
    assert_eq!((operation.namespace.as_str(), operation.writes), ("app.scores", None));
    let (ping, _) = one("command = { ping = 1 }");
    assert_eq!((ping.namespace.as_str(), ping.writes), ("app", None));
}

#[test]
fn what_a_pipeline_writes_into_is_known() {
    let (operation, _) = one("aggregate = [{ \"$out\" = \"copy\" }]");
    assert_eq!(operation.writes.as_deref(), Some("copy"));
    let (operation, _) = one("aggregate = [{ \"$merge\" = { into = { db = \"app\", coll = \"sums\" } } }]");
    assert_eq!(operation.writes.as_deref(), Some("sums"));
    for stage in [
        "{ \"$out\" = { db = \"other\", coll = \"c\" } }",
        "{ \"$merge\" = { into = { db = \"other\", coll = \"c\" } } }",
    ] {
        let error = wrong(&with(&format!("aggregate = [{stage}]")));
        assert!(error.starts_with("w.toml:7: a workload writes to its own database alone"), "{error}");
    }
}

#[test]
fn field_paths_pass_where_mongodb_has_them() {
    let (_, command) =
        one("find = { \"$expr\" = { \"$gt\" = [\"$a\", \"$$CURRENT.key\"] } }\nprojection = { b = \"$c\" }");
    let wanted = doc! { "find": "scores", "filter": { "$expr": { "$gt": ["$a", "$$CURRENT.key"] } },
    "projection": { "b": "$c" }, "$db": "app" };
    assert_eq!(command, wanted);
    let (_, command) = one("update = { q = {}, u = [{ \"$set\" = { a = \"$b\" } }] }");
    assert_eq!(
        command.get_array("updates").unwrap()[0],
        doc! { "q": {}, "u": [{ "$set": { "a": "$b" } }] }.into()
    );
    assert!(wrong(&with("find = { a = \"$b\" }")).contains("no placeholder \"$b\""));
    assert!(
        wrong(&with("update = { q = {}, u = { \"$set\" = { a = \"$b\" } } }")).contains("no placeholder")
    );
}

#[test]
fn what_could_do_harm_is_refused() {
    for (text, wanted) in [
        ("command = { dropDatabase = 1 }", "reaches beyond"),
        ("command = { drop = \"scores\" }", "reaches beyond"),
        ("command = { shutdown = 1 }", "changes the server"),
        ("command = { saslStart = 1 }", "belongs to a connection"),
        ("find = {}\ntailable = true", "no end to measure"),
        ("aggregate = [{ \"$changeStream\" = {} }]", "no end to measure"),
        ("insert = {}\ncollection = \"$choice:a,b\"", "must be written out"),
        ("insert = {}\ncollection = \"system.views\"", "the server's own"),
        ("aggregate = [{ \"$out\" = \"system.views\" }]", "the server's own"),
        ("insert = {}\n\"$db\" = \"prod\"", "its own database alone"),
        ("command = { insert = \"c\", documents = [{}], \"$db\" = \"prod\" }", "its own database alone"),
        ("aggregate = []\npipeline = [{ \"$out\" = { db = \"prod\", coll = \"c\" } }]", "`pipeline` twice"),
        (
            "command = { aggregate = \"c\", pipeline = [] }\npipeline = [{ \"$out\" = \"d\" }]",
            "`pipeline` twice",
        ),
    ] {
        let error = wrong(&with(text));
        assert!(error.contains(wanted) && error.starts_with("w.toml:"), "{text}: {error}");
    }
    for database in ["admin", "config", "Local", "a.b", ""] {
        let error = wrong(&with("find = {}").replace("\"app\"", &format!("{database:?}")));
        assert!(error.starts_with("w.toml:1: "), "{error}");
    }
}

#[test]
fn every_mistake_is_named_with_its_line() {
    let text = "databas = \"app\"\n[load]\ndocuments = 0\nsize = \"1 apple\"\n[run]\nclients = \"many\"\nkeys = \"zpif\"\nramp = \"5s\"\nfor = \"5s\"\n[[operation]]\nfind = { _id = \"$kye\" }\n[[operation]]\nwieght = 5\nfind = {}\n[[operation]]\nfind = {}\ncount = {}\n";
    let error = wrong(text);
    let wanted = [
        "w.toml:1: the file has no key `databas`",
        "w.toml:3: documents is 0, which is outside 1 to",
        "w.toml:4: size: \"1 apple\" is not a size",
        "w.toml:6: clients is a whole number",
        "w.toml:7: keys is \"zpif\": it can be \"zipf\" or \"uniform\"",
        "w.toml:8: ramp is a part of `for`",
        "w.toml:11: there is no placeholder \"$kye\"",
        "w.toml:13: `wieght`: did you mean `weight`?",
        "w.toml:17: an [[operation]] has exactly one of find,",
    ];
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), wanted.len(), "{error}");
    for (line, wanted) in lines.iter().zip(wanted) {
        assert!(line.starts_with(wanted), "{line}\n{wanted}");
    }
}

#[test]
fn a_file_without_sense_is_told_what_is_missing() {
    assert!(wrong("[run]\noperations = 1\n").contains("--example"));
    assert!(wrong("[[operation]]\nfind = {}\n").contains("needs a collection"));
    assert!(wrong("[[operation]]\ncommand = { ping = 1 }\n").contains("would never end"));
    assert!(wrong(&with("weight = 0\nfind = {}")).contains("weight above 0"));
    assert!(wrong("a = ").starts_with("w.toml:1: "));
    let without_load =
        "[run]\noperations = 1\n[[operation]]\ncollection = \"c\"\nfind = { _id = \"$key\" }\n";
    assert!(wrong(without_load).contains("there is no [load]"));
    let small = with("find = {}")
        .replace("collection = \"scores\"", "size = \"20B\"\ndocument = { a = \"$string:30\" }");
    assert!(wrong(&small).starts_with("w.toml:3: the document's own fields take"), "{}", wrong(&small));
}

#[test]
fn indexes_are_keys_or_whole_specifications() {
    let text = with("find = {}").replace(
        "collection = \"scores\"",
        "indexes = [{ b = 1, a = -1 }, { key = { t = \"text\" }, unique = true }]",
    );
    let load = parse("w.toml", &text).unwrap().load.unwrap();
    let wanted = [
        doc! { "key": { "b": 1, "a": -1 }, "name": "b_1_a_-1" },
        doc! { "key": { "t": "text" }, "unique": true, "name": "t_text" },
    ];
    assert_eq!(load.indexes, wanted);
}
