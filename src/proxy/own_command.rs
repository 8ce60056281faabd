//! Commands that torana sends on its own account over a pooled connection.

use bson::oid::ObjectId;

use tokio::time::{Duration, timeout};

use super::context::{Checkout, Member, Set, Shared};
use super::reply::{ReplyError, poll_reply};
use super::stream::fill;
use crate::command::TransactionId;
use crate::doc::{DocWriter, find_path};
use crate::pool::Class;
use crate::wire::{MsgFlags, OpMsgBuilder};

/// How long one member is asked for its set's id.
const ID_WITHIN: Duration = Duration::from_millis(900);

/// Sends `command` and returns the reply's document. On an error, or cancelled, the connection must be closed.
pub async fn run(shared: &Shared, server: &mut Checkout, command: &[u8]) -> Result<Vec<u8>, ReplyError> {
    let id = server.next_request_id();
    let message = OpMsgBuilder::message(id, 0, MsgFlags(0), command);
    server.write_all(&message).await?;
    let mut carried = None;
    let mut reply =
        std::future::poll_fn(|cx| poll_reply(server, &shared.buffers, id, &mut carried, cx)).await?;
    reply.buffer.reserve(reply.header.length);
    while !reply.is_whole() {
        let left = reply.header.length - reply.buffer.len();
        fill(server, &mut reply.buffer, left).await?;
    }
    let body = reply.verdict().body.unwrap_or_default().to_vec();
    shared.buffers.give(reply.buffer);
    Ok(body)
}

/// `settings.replicaSetId` of the set's configuration, if a member tells it: by it a set is told from all others.
pub async fn replica_set_id(shared: &Shared, set: &Set) -> Option<ObjectId> {
    let served = set.served.load_full();
    for member in served.iter().filter_map(std::sync::Weak::upgrade) {
        // One that hangs must not keep the others from being asked.
        let told = timeout(ID_WITHIN, replica_set_id_by(shared, &member)).await;
        if let Ok(Some(id)) = told {
            return Some(id);
        }
    }
    None
}

async fn replica_set_id_by(shared: &Shared, member: &Member) -> Option<ObjectId> {
    let mut server = member.pools.common().check_out(Class::Relief, None).await.ok()?;
    let mut command = Vec::with_capacity(64);
    let mut writer = DocWriter::begin(&mut command);
    writer.i32(b"replSetGetConfig", 1).string(b"$db", "admin");
    writer.finish();
    let reply = run(shared, &mut server, &command).await.ok()?;
    server.finish();
    let id = find_path(&reply, &["config", "settings", "replicaSetId"]);
    id.and_then(|id| id.as_object_id().copied()).map(ObjectId::from_bytes)
}

/// `abortTransaction` for exactly this session and number.
pub fn abort_transaction(id: &TransactionId) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let mut command = DocWriter::begin(&mut out);
    command.i32(b"abortTransaction", 1);
    command.document(b"lsid", |lsid| {
        lsid.uuid(b"id", &id.session);
    });
    command.i64(b"txnNumber", id.number).bool(b"autocommit", false).string(b"$db", "admin");
    command.finish();
    out
}

/// `ping`.
pub fn ping() -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    let mut command = DocWriter::begin(&mut out);
    command.i32(b"ping", 1).string(b"$db", "admin");
    command.finish();
    out
}

/// `hello`, without a word of who asks.
pub fn hello() -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    let mut command = DocWriter::begin(&mut out);
    command.i32(b"hello", 1).string(b"$db", "admin");
    command.finish();
    out
}

/// The operations that run on the server connection `connection_id`.
pub fn operations_of(connection_id: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut command = DocWriter::begin(&mut out);
    command.i32(b"aggregate", 1);
    command.array(b"pipeline", |pipeline| {
        pipeline.document(b"0", |stage| {
            stage.document(b"$currentOp", |options| {
                options.bool(b"allUsers", true).bool(b"localOps", true);
            });
        });
        pipeline.document(b"1", |stage| {
            stage.document(b"$match", |filter| {
                filter.i64(b"connectionId", connection_id);
            });
        });
    });
    // Without it a secondary refuses (13435).
    command.document(b"$readPreference", |preference| {
        preference.string(b"mode", "secondaryPreferred");
    });
    command.document(b"cursor", |_| {}).string(b"$db", "admin");
    command.finish();
    out
}

/// `killOp` for the operation `opid`.
pub fn kill_operation(opid: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    let mut command = DocWriter::begin(&mut out);
    command.i32(b"killOp", 1).i64(b"op", opid).string(b"$db", "admin");
    command.finish();
    out
}
