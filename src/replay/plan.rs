//! What is to be done with one captured request: sent, or left out, and why. A pure function of the request and the
//! rules; what depends on earlier requests (cursors, transactions) is the planner's.

use super::filter::Filter;
use super::job::ConnectionId;
use super::scorecard::Skip;
use super::view::View;
use crate::command::Kind;
use crate::doc::{elements, find};

/// What the operator asked for.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Writes are replayed.
    pub writes: bool,
    /// All of them must take an operation.
    pub filters: Vec<Filter>,
}

/// Commands that change the server itself, its users, or what others do on it: never replayed, whatever was asked for.
const ADMINISTRATIVE: &[&str] = &[
    "_configsvrReshardCollection",
    "abortReshardCollection",
    "appendOplogNote",
    "applyOps",
    "autocompact",
    "compact",
    "configureFailPoint",
    "createRole",
    "createUser",
    "dropAllRolesFromDatabase",
    "dropAllUsersFromDatabase",
    "dropConnections",
    "dropRole",
    "dropUser",
    "fsync",
    "fsyncUnlock",
    "grantPrivilegesToRole",
    "grantRolesToRole",
    "grantRolesToUser",
    "killAllSessions",
    "killAllSessionsByPattern",
    "killOp",
    "killSessions",
    "logRotate",
    "logApplicationMessage",
    "profile",
    "reIndex",
    "replSetAbortPrimaryCatchUp",
    "replSetFreeze",
    "replSetInitiate",
    "replSetMaintenance",
    "replSetReconfig",
    "replSetResizeOplog",
    "replSetStepDown",
    "replSetStepUp",
    "replSetSyncFrom",
    "replSetTest",
    "replSetRequestVotes",
    "resync",
    "revokePrivilegesFromRole",
    "revokeRolesFromRole",
    "revokeRolesFromUser",
    "rotateCertificates",
    "setClusterParameter",
    "setDefaultRWConcern",
    "setFeatureCompatibilityVersion",
    "setIndexCommitQuorum",
    "setParameter",
    "setProfilingFilterGlobally",
    "setUserWriteBlockMode",
    "shutdown",
    "sleep",
    "updateRole",
    "updateUser",
    "validate",
    "waitForFailPoint",
];

/// Databases that are the server's own.
const SERVERS_OWN: [&[u8]; 3] = [b"admin", b"config", b"local"];

/// Whether a request is sent, as far as it alone tells; the error says why not.
pub fn decide(rules: &Rules, connection: ConnectionId, view: &View<'_>) -> Result<(), Skip> {
    let name = view.name();
    match view.fields.command.kind() {
        Kind::Hello | Kind::WhatsMyUri => return Err(Skip::Monitoring),
        Kind::Authentication => return Err(Skip::Authentication),
        Kind::LastError => return Err(Skip::Opcode),
        Kind::FailPoint => return Err(Skip::Administrative),
        _ => {}
    }
    match name {
        b"_isSelf" | b"isdbgrid" => return Err(Skip::Monitoring),
        b"getnonce" | b"copydbgetnonce" => return Err(Skip::Authentication),
        _ if is_administrative(name) => return Err(Skip::Administrative),
        _ => {}
    }
    // The end of a transaction names no collection: it goes the way of the statement that began it.
    let is_end = view.fields.command.kind() == Kind::EndTransaction;
    let takes = |filter: &Filter| is_end || filter.takes(connection, view);
    if !rules.filters.iter().all(takes) {
        return Err(Skip::Filter);
    }
    if is_awaiting(view) {
        return Err(Skip::Awaiting);
    }
    if is_write(view) {
        if writes_to_servers_own(view) {
            return Err(Skip::Administrative);
        }
        if !rules.writes {
            return Err(Skip::Write);
        }
    }
    Ok(())
}

/// Whether a write goes to a database that is the server's own. Some commands on others' data are run on admin.
fn writes_to_servers_own(view: &View<'_>) -> bool {
    let is_own = |namespace: &[u8]| {
        let database = namespace.split(|byte| *byte == b'.').next().unwrap_or_default();
        SERVERS_OWN.contains(&database)
    };
    let text = |document: &[u8], key: &str| -> Vec<u8> {
        find(document, key).and_then(|one| one.value.as_string_bytes()).unwrap_or_default().to_vec()
    };
    match view.name() {
        b"renameCollection" => is_own(view.collection()) || is_own(&text(view.body, "to")),
        b"bulkWrite" => view.batch("nsInfo").iter().any(|one| is_own(&text(one, "ns"))),
        _ => is_own(view.database) || writes_into(view).is_some_and(is_own),
    }
}

/// The database that `$out` or `$merge` names, if it does.
fn writes_into<'a>(view: &View<'a>) -> Option<&'a [u8]> {
    let last = elements(view.document("pipeline")?).map_while(Result::ok).last()?.value.as_document()?;
    let stage = elements(last).next()?.ok()?;
    let inside = stage.value.as_document()?;
    let place = if stage.key == b"$merge" { find(inside, "into")?.value.as_document()? } else { inside };
    find(place, "db")?.value.as_string_bytes()
}

/// Whether a command changes the server itself, its users, or what others do on it.
pub(crate) fn is_administrative(name: &[u8]) -> bool {
    // Old drivers send some names in lower case, and servers take few of them so.
    ADMINISTRATIVE.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// Whether the request opens a cursor whose batches wait for what others do.
pub fn is_awaiting(view: &View<'_>) -> bool {
    view.fields.opens_awaiting_cursor
}

/// Whether the request may change data. What is not known may. Ends of transactions are judged by their statements.
pub fn is_write(view: &View<'_>) -> bool {
    match view.fields.command.kind() {
        _ if view.fields.writes => true,
        Kind::Write => match view.name() {
            b"mapReduce" | b"mapreduce" => !has_inline_output(view),
            // It keeps a session alive, and changes nothing else.
            b"refreshSessions" => false,
            _ => true,
        },
        _ => explains_a_writing_pipeline(view),
    }
}

fn has_inline_output(view: &View<'_>) -> bool {
    let out = view.document("out").and_then(|out| elements(out).next()?.ok());
    out.is_some_and(|first| first.key == b"inline")
}

/// Servers refuse to run `$out` under explain, but it is not for a replay to find out which do.
fn explains_a_writing_pipeline(view: &View<'_>) -> bool {
    let explained = view.document("explain").filter(|_| view.name() == b"explain");
    let pipeline = explained.and_then(|inner| find(inner, "pipeline")?.value.as_document());
    pipeline.is_some_and(|pipeline| {
        let stages = elements(pipeline).map_while(Result::ok).filter_map(|stage| stage.value.as_document());
        stages
            .filter_map(|stage| elements(stage).next()?.ok())
            .any(|first| matches!(first.key, b"$out" | b"$merge"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder};
    use bson::{Document, doc};

    fn decided(rules: &Rules, mut command: Document) -> Result<(), Skip> {
        if !command.contains_key("$db") {
            command.insert("$db", "app");
        }
        let message = OpMsgBuilder::message(1, 0, MsgFlags(0), &bson::serialize_to_vec(&command).unwrap());
        let view = View::of(&message)?;
        decide(rules, ConnectionId { lap: 0, number: 1 }, &view)
    }

    #[test]
    fn reads_are_sent_and_writes_in_every_form_only_when_asked_for() {
        let (reads, writes) = (Rules::default(), Rules { writes: true, filters: Vec::new() });
        for command in [
            doc! { "find": "c", "filter": { "a": 1 } },
            doc! { "aggregate": "c", "pipeline": [{ "$match": {} }] },
            doc! { "getMore": 5i64, "collection": "c" },
            doc! { "endSessions": [] },
            doc! { "mapReduce": "c", "out": { "inline": 1 } },
            doc! { "ping": 1 },
        ] {
            assert_eq!(decided(&reads, command.clone()), Ok(()), "{command}");
        }
        for command in [
            doc! { "insert": "c", "documents": [] },
            doc! { "update": "c", "updates": [] },
            doc! { "delete": "c", "deletes": [] },
            doc! { "findAndModify": "c" },
            doc! { "findandmodify": "c" },
            doc! { "bulkWrite": 1 },
            doc! { "create": "c" },
            doc! { "dropDatabase": 1 },
            doc! { "createIndexes": "c" },
            doc! { "aggregate": "c", "pipeline": [{ "$match": {} }, { "$out": "d" }] },
            doc! { "aggregate": "c", "pipeline": [{ "$merge": { "into": "d" } }] },
            doc! { "explain": { "aggregate": "c", "pipeline": [{ "$out": "d" }] } },
            doc! { "mapReduce": "c", "out": "d" },
            doc! { "mapReduce": "c", "out": { "merge": "d" } },
            doc! { "aCommandOfTomorrow": 1 },
        ] {
            assert_eq!(decided(&reads, command.clone()), Err(Skip::Write), "{command}");
            assert_eq!(decided(&writes, command.clone()), Ok(()), "{command}");
        }
    }

    #[test]
    fn what_changes_the_server_is_never_sent() {
        let writes = Rules { writes: true, filters: Vec::new() };
        for name in [
            "shutdown",
            "replSetReconfig",
            "replSetStepDown",
            "fsync",
            "configureFailPoint",
            "killOp",
            "setParameter",
            "dropUser",
            "setparameter",
        ] {
            assert_eq!(
                decided(&writes, doc! { name: 1, "$db": "admin" }),
                Err(Skip::Administrative),
                "{name}"
            );
        }
        let own = doc! { "insert": "system.sessions", "$db": "config" };
        assert_eq!(decided(&writes, own), Err(Skip::Administrative));
    }

    #[test]
    fn what_belongs_to_a_connection_or_waits_for_others_is_left_out() {
        let rules = Rules::default();
        for (command, why) in [
            (doc! { "hello": 1 }, Skip::Monitoring),
            (doc! { "ismaster": 1 }, Skip::Monitoring),
            (doc! { "saslStart": 1 }, Skip::Authentication),
            (doc! { "getLastError": 1 }, Skip::Opcode),
            (doc! { "find": "c", "tailable": true, "awaitData": true }, Skip::Awaiting),
            (doc! { "aggregate": 1, "pipeline": [{ "$changeStream": {} }] }, Skip::Awaiting),
        ] {
            assert_eq!(decided(&rules, command.clone()), Err(why), "{command}");
        }
    }

    #[test]
    fn a_filter_counts_before_the_kind_of_the_command_does() {
        let rules = Rules { writes: false, filters: vec!["ns=app.d".parse().unwrap()] };
        assert_eq!(decided(&rules, doc! { "insert": "c" }), Err(Skip::Filter));
        assert_eq!(decided(&rules, doc! { "insert": "d" }), Err(Skip::Write));
        assert_eq!(decided(&rules, doc! { "find": "d" }), Ok(()));
    }

    #[test]
    fn bulk_write_and_rename_run_on_admin() {
        let writes = Rules { writes: true, filters: Vec::new() };
        let bulk = doc! { "bulkWrite": 1, "ops": [{ "insert": 0, "document": { "a": 1 } }], "nsInfo": [{ "ns": "app.c" }], "$db": "admin" };
        let rename = doc! { "renameCollection": "app.a", "to": "app.b", "$db": "admin" };
        eprintln!("{:?} {:?}", decided(&writes, bulk.clone()), decided(&writes, rename.clone()));
        assert_eq!((decided(&writes, bulk), decided(&writes, rename)), (Ok(()), Ok(())));
    }

    #[test]
    fn nothing_is_written_into_the_servers_own_databases() {
        let writes = Rules { writes: true, filters: Vec::new() };
        let merge = doc! { "aggregate": "c", "pipeline": [{ "$merge": { "into": { "db": "admin", "coll": "system.users" } } }] };
        assert_eq!(decided(&writes, merge), Err(Skip::Administrative));
    }

    #[test]
    fn administration_is_known_in_its_wrapping_too() {
        let writes = Rules { writes: true, filters: Vec::new() };
        let mut message = Vec::new();
        let body = bson::serialize_to_vec(&doc! { "$query": { "dropAllUsersFromDatabase": 1 } }).unwrap();
        crate::wire::write_op_query(&mut message, 1, "app.$cmd", &body);
        let decided =
            View::of(&message).and_then(|view| decide(&writes, ConnectionId { lap: 0, number: 1 }, &view));
        assert!(decided.is_err(), "{decided:?}");
    }
}
