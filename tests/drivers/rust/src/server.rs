//! What names the members and the server: hello, status, configuration, operations, counters; each member by itself.

use std::time::Duration;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::error::{Error, Result};

use crate::harness::{COMMENT, Context, expect_error, show};
use crate::steps;

pub async fn first(c: &Context) {
    steps!(c, topology);
    let commands = [
        ("hello", doc! {"hello": 1}),
        ("legacy_hello", doc! {"isMaster": 1}),
        ("ismaster", doc! {"ismaster": 1}),
        ("ping", doc! {"ping": 1}),
        ("build_info", doc! {"buildInfo": 1}),
        ("connection_status", doc! {"connectionStatus": 1, "showPrivileges": true}),
        ("whatsmyuri", doc! {"whatsmyuri": 1}),
    ];
    for (name, command) in commands {
        c.step(name, async { show(c.admin(command).await?) }).await;
    }
}

pub async fn last(c: &Context) {
    let commands = [
        ("repl_set_get_status", doc! {"replSetGetStatus": 1}),
        ("repl_set_get_config", doc! {"replSetGetConfig": 1}),
        ("server_status", doc! {"serverStatus": 1}),
        ("conn_pool_stats", doc! {"connPoolStats": 1}),
        ("current_op", doc! {"currentOp": true, "comment": COMMENT}),
        ("host_info", doc! {"hostInfo": 1}),
        ("own_database", doc! {"listDatabases": 1, "nameOnly": true, "filter": {"name": c.db.name()}}),
    ];
    for (name, command) in commands {
        c.step(name, async { show(c.admin(command).await?) }).await;
    }
    steps!(c, system_replset, current_op_aggregated, db_stats, coll_stats, unknown_command, each_member);
}

async fn hosts(c: &Context) -> Result<Vec<String>> {
    let hello = c.admin(doc! {"hello": 1}).await?;
    let hosts = hello.get_array("hosts").map_err(Error::custom)?;
    Ok(hosts.iter().filter_map(Bson::as_str).map(String::from).collect())
}

/// What discovery ends with: waits for every member of the set to be known by its role.
async fn topology(c: &Context) -> Result<Bson> {
    let wanted = if c.uri.contains("directConnection=true") { Vec::new() } else { hosts(c).await? };
    let known = || c.topology.lock().map(|topology| topology.clone()).unwrap_or_default();
    for _ in 0..200 {
        let members = known().members;
        if wanted.iter().all(|one| members.get(one).is_some_and(|role| !role.contains("Unknown"))) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    c.take();
    let topology = known();
    let members: Document =
        topology.members.into_iter().map(|(address, role)| (address, Bson::from(role))).collect();
    show(doc! {"type": topology.kind, "set": topology.set, "count": members.len() as i32, "members": members})
}

async fn system_replset(c: &Context) -> Result<Bson> {
    let replset = c.client.database("local").collection::<Document>("system.replset");
    show(replset.find(doc! {}).await?.try_collect::<Vec<_>>().await?)
}

async fn current_op_aggregated(c: &Context) -> Result<Bson> {
    let pipeline = [doc! {"$currentOp": {"allUsers": true, "idleConnections": false}}];
    let found = c.client.database("admin").aggregate(pipeline).comment(Bson::from(COMMENT)).await?;
    show(doc! {"inprog": found.try_collect::<Vec<_>>().await?, "ok": 1})
}

async fn db_stats(c: &Context) -> Result<Bson> {
    show(c.db.run_command(doc! {"dbStats": 1}).await?)
}

async fn coll_stats(c: &Context) -> Result<Bson> {
    show(c.db.run_command(doc! {"collStats": "crud"}).await?)
}

async fn unknown_command(c: &Context) -> Result<Bson> {
    expect_error(c.db.run_command(doc! {"thereIsNoSuchCommand": 1}).await)
}

/// Every member by a direct connection of its own: the driver then drops none for a name that it did not dial.
async fn each_member(c: &Context) -> Result<Bson> {
    let mut replies = Vec::new();
    for member in hosts(c).await? {
        let direct = c
            .connect(
                &format!("mongodb://{member}/?directConnection=true&readPreference=primaryPreferred"),
                |_| (),
            )
            .await?;
        let hello = direct.database("admin").run_command(doc! {"hello": 1}).await?;
        let crud = direct.database(c.db.name()).collection::<Document>("crud");
        let found = crud.find_one(doc! {"_id": 12}).await?;
        if !hello.get_bool("isWritablePrimary").unwrap_or(false) {
            replies.push(expect_error(crud.insert_one(doc! {"_id": "no"}).await)?);
        }
        replies.push(show((
            member,
            hello,
            found,
            direct.database("admin").run_command(doc! {"replSetGetConfig": 1}).await?,
        ))?);
        direct.shutdown().await;
    }
    show(replies)
}
