//! Requests that want no reply.
//!
//! A server connection is lent to the next client only when nothing of the last one runs on it any more. A request
//! without a reply does not say when that is, so torana asks for the reply after all, and keeps it. Meanwhile the
//! client's next request waits, as on a connection of its own: a server does one after the other, too.

use super::client::Client;
use super::context::{Checkout, Listener};
use super::end::End;
use super::exchange::{self, acquire, check_in, lane, send};
use super::notice;
use super::orphan;
use super::own_command;
use super::registry::Phase;
use super::reply::{Arrival, Reply, ReplyError, receive};
use super::request::Request;
use super::stream::fill;
use crate::metrics::{EndReason, Outcome};
use crate::pool::CloseReason;
use crate::wire::{HEADER_LEN, MsgFlags, write_checksum};

/// The first maxWireVersion of servers that close the connection on a legacy opcode (5.1).
const LEGACY_ENDS: i64 = 14;

/// Serves an OP_MSG with `moreToCome`.
pub async fn run(at: &Listener, client: &mut Client, request: &Request) -> Result<(), End> {
    let Some(mut server) = acquire(at, client, request, lane(at, request)).await? else {
        return Ok(());
    };
    ask_for_reply(client, request);
    let id = send(at, client, &mut server, request).await?;
    client.entry.enter(Phase::Awaiting);
    match receive(client, &mut server, id, None).await {
        Ok(Arrival::Reply(reply)) => keep(at, client, server, request, reply).await,
        Ok(Arrival::ClientGone(partial)) => {
            // Who waits for nothing leaves nothing behind.
            orphan::adopt(at, server, request, id, partial);
            Err(End::clean())
        }
        Err(error) => Err(exchange::server_failed(at, client, server, request, &error)),
    }
}

/// Strikes the client's word that it wants no reply.
pub fn ask_for_reply(client: &mut Client, request: &Request) {
    let Some(message) = client.message_mut().get_mut(..request.header.length) else { return };
    // One reply, then: a server may answer with several where that is allowed, too.
    let flags = request.flags & !(MsgFlags::MORE_TO_COME | MsgFlags::EXHAUST_ALLOWED);
    if let Some(field) = message.get_mut(HEADER_LEN..HEADER_LEN + 4) {
        field.copy_from_slice(&flags.to_le_bytes());
    }
    if request.has_checksum() {
        write_checksum(message);
    }
}

/// Reads the reply to its end and checks the connection in. mongod closes the connection of a client whose request
/// found no primary and wants no reply, so that its driver looks for one; torana closes that of the same client.
pub async fn keep(
    at: &Listener,
    client: &mut Client,
    mut server: Checkout,
    request: &Request,
    mut reply: Reply,
) -> Result<(), End> {
    exchange::note_outcome(at, client, request, &reply, server.generation());
    let found_no_primary = reply.verdict().body.is_some_and(notice::says_not_primary);
    let announces_more = reply.verdict().more_to_come;
    let is_whole = reply.is_whole();
    if let Err(error) = skip(&mut server, &mut reply).await {
        return Err(exchange::server_failed(at, client, server, request, &error));
    }
    // Bytes that nobody asked for follow, or will.
    match announces_more || (is_whole && reply.buffer.len() > reply.header.length) {
        true => server.close(CloseReason::Error),
        false => check_in(server),
    }
    client.reuse(reply.buffer);
    match found_no_primary {
        true => Err(End::server(format!("{} is not primary, and no reply was wanted", at.member.name))),
        false => Ok(()),
    }
}

async fn skip(server: &mut Checkout, reply: &mut Reply) -> Result<(), ReplyError> {
    let mut left = reply.header.length.saturating_sub(reply.buffer.len());
    while left > 0 {
        reply.buffer.clear();
        fill(server, &mut reply.buffer, left).await?;
        left -= reply.buffer.len();
    }
    Ok(())
}

/// Serves an OP_KILL_CURSORS.
pub async fn kill_cursors(at: &Listener, client: &mut Client, request: &Request) -> Result<(), End> {
    speaks_legacy(at)?;
    let Some(mut server) = acquire(at, client, request, lane(at, request)).await? else {
        return Ok(());
    };
    send(at, client, &mut server, request).await?;
    at.member.metrics.traffic.operations.inc((request.command, Outcome::Ok));
    give_back(at, client, server).await
}

/// Checks in a connection on which a request without any reply may still run: the answer to a ping behind it says
/// that it is done.
pub async fn give_back(at: &Listener, client: &Client, mut server: Checkout) -> Result<(), End> {
    client.entry.enter(Phase::Awaiting);
    match own_command::run(&at.shared, &mut server, &own_command::ping()).await {
        Ok(_) => {
            check_in(server);
            Ok(())
        }
        Err(error) => Err(exchange::broken(at, client, &server, &error)),
    }
}

/// A server from 5.1 on closes the connection on a legacy opcode. torana closes that of the client who sent it, and
/// spares the one that others use after it.
pub fn speaks_legacy(at: &Listener) -> Result<(), End> {
    let hello = at.member.monitored.hello.latest();
    match hello.is_some_and(|hello| hello.description.max_wire_version >= LEGACY_ENDS) {
        true => Err(End::because(EndReason::Refused, "the server does not speak legacy opcodes any more")),
        false => Ok(()),
    }
}
