//! Exchanges in which one request may have many replies: exhaust cursors.
//!
//! The server sends batch after batch without being asked, so the connection belongs to the client until the one
//! that says it is the last. Each further reply must name the one before it as what it answers.

use super::awaiting;
use super::buffer::Buffer;
use super::client::Client;
use super::context::{Checkout, Counted, Listener};
use super::end::End;
use super::exchange::{self, Lane, acquire, send};
use super::orphan;
use super::registry::Phase;
use super::reply::{Arrival, Reply, receive};
use super::request::{Request, Route};
use super::stream::fill;
use crate::wire::{Header, MsgFlags, OpReply, Opcode, Side};

/// Serves a request that allows exhaust. It holds its connection for as long as the client reads, so it needs a
/// share of the awaiting budget; without one the permission is struck from an OP_MSG, which a server may ignore
/// anyway: it answers with one batch, and the client asks for the next.
pub async fn run(at: &Listener, client: &mut Client, request: &Request) -> Result<(), End> {
    let permit = client.pool.try_awaiting();
    if permit.is_none() && request.header.opcode == Opcode::Msg && !request.has_checksum() {
        return without_permission(at, client, request).await;
    }
    let lane = permit.map_or(Lane::Ordinary, Lane::Awaiting);
    // The maxTimeMS of a getMore says how long the server waits for data, not when the client gives up.
    let awaits = awaiting::is_awaiting(at, request);
    let limit = request.max_time_ms.filter(|_| request.cursor_id.is_none());
    let request = &Request {
        max_time_ms: limit,
        opens_awaiting_cursor: request.opens_awaiting_cursor || awaits,
        ..*request
    };
    let Some(mut server) = acquire(at, client, request, lane).await? else {
        return Ok(());
    };
    let _pinned = Counted::enter(&at.member.metrics.pool.pinned);
    let mut id = send(at, client, &mut server, request).await?;
    let mut carried = None;
    let mut first = true;
    loop {
        client.entry.enter(request.phase());
        let mut reply = match receive(client, &mut server, id, carried.take()).await {
            Ok(Arrival::Reply(reply)) => reply,
            Ok(Arrival::ClientGone(partial)) => {
                orphan::adopt(at, server, request, id, partial);
                return Err(exchange::abandoned(at, request));
            }
            Err(error) => return Err(exchange::server_failed(at, client, server, request, &error)),
        };
        let more = more_follow(&reply, request);
        id = reply.header.request_id;
        if !more {
            return exchange::deliver(at, client, server, request, reply, first).await;
        }
        if first && !request.has_checksum() {
            Header::patch_response_to(reply.buffer.unread_mut(), request.header.request_id);
        }
        first = false;
        carried = pass(at, client, &mut server, reply).await?;
    }
}

async fn without_permission(at: &Listener, client: &mut Client, request: &Request) -> Result<(), End> {
    let flags = request.flags & !MsgFlags::EXHAUST_ALLOWED;
    if let Some(field) = client.message_mut().get_mut(16..20) {
        field.copy_from_slice(&flags.to_le_bytes());
    }
    let route = if request.cursor_id.is_some() { Route::GetMore } else { Route::Forward };
    let request = Request { flags, route, ..*request };
    match awaiting::is_awaiting(at, &request) {
        true => awaiting::get_more(at, client, &request).await,
        false => exchange::forward(at, client, &request).await,
    }
}

/// Whether another reply follows this one unasked: OP_MSG says so, OP_REPLY by a cursor that is still open.
fn more_follow(reply: &Reply, request: &Request) -> bool {
    match reply.header.opcode {
        Opcode::Msg => reply.verdict().more_to_come,
        _ => {
            let exhausts = crate::wire::QueryFlags(request.flags).exhaust();
            let cursor = OpReply::parse(reply.bytes(), Side::Server).map_or(0, |parsed| parsed.cursor_id);
            exhausts && reply.verdict().ok && cursor != 0
        }
    }
}

/// Passes on a reply that is not the last. Returns what was read of the next one.
async fn pass(
    at: &Listener,
    client: &mut Client,
    server: &mut Checkout,
    reply: Reply,
) -> Result<Option<Buffer>, End> {
    exchange::count_reply(at, &reply);
    client.entry.enter(Phase::Writing);
    client.write(reply.bytes()).await?;
    let mut left = reply.header.length.saturating_sub(reply.buffer.len());
    let mut buffer = reply.buffer;
    buffer.consume(reply.header.length);
    while left > 0 {
        if let Err(error) = fill(server, &mut buffer, left).await {
            return Err(exchange::broken(at, client, server, &error));
        }
        left -= buffer.len();
        client.write(buffer.unread()).await?;
        buffer.clear();
    }
    Ok(Some(buffer))
}
