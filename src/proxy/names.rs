//! Exchanges whose request or reply names members: read whole, edited, passed on.

use tokio::time::Instant;

use super::client::Client;
use super::context::{Checkout, Listener};
use super::end::End;
use super::exchange::{self, Lane, acquire, check_in, send};
use super::orphan;
use super::refuse;
use super::registry::Phase;
use super::reply::{Arrival, Reply, receive};
use super::request::Request;
use super::stream::fill;
use crate::doc::{DocWriter, elements};
use crate::metrics::Direction;
use crate::rewrite::{
    CommandError, ErrorCode, ReplyKind, RewriteError, Rewritten, adds_torana, reframe, rewrite_reply_message,
    rewrite_request_message,
};
use crate::topology::HostPort;
use crate::wire::{HEADER_LEN, Header, MsgFlags, Opcode, QueryFlags, Side, write_checksum};

/// The largest reply that is edited: the largest document (16 MiB) and its envelope. None of these is near it.
const EDITED_MAX: usize = 17 * 1024 * 1024;

/// What is edited in a reply.
#[derive(Debug, Clone, Copy)]
pub enum Edit {
    /// The names of members.
    Members(ReplyKind),
    /// The address of whoever asked, which to the server is torana.
    Client,
}

/// Forwards a request that may name members (`edits_request`), and edits its reply if that is is to be edited.
pub async fn exchange(
    at: &Listener,
    client: &mut Client,
    request: &Request,
    edit: Option<Edit>,
    edits_request: bool,
) -> Result<(), End> {
    let mut request = *request;
    forbid_exhaust(client, &mut request);
    if edits_request {
        let message = client.message().get(..request.header.length).unwrap_or_default();
        if let Some(host) = adds_torana(message, &at.names.load()) {
            return refuse::with(client, &request, &adds_torana_error(&host)).await;
        }
        edit_request(at, client, &mut request)?;
    }
    let Some(mut server) = acquire(at, client, &request, Lane::Relief).await? else {
        return Ok(());
    };
    let id = send(at, client, &mut server, &request).await?;
    let sent = Instant::now();
    client.entry.enter(Phase::Awaiting);
    let arrival = receive(client, &mut server, id, None).await;
    if let Ok(Arrival::Reply(_)) = &arrival {
        let latency = &at.member.metrics.traffic.server_latency;
        latency.observe(request.command, sent.elapsed());
    }
    match (arrival, edit) {
        (Ok(Arrival::Reply(reply)), Some(edit)) => deliver(at, client, server, &request, edit, reply).await,
        (Ok(Arrival::Reply(reply)), None) => {
            exchange::deliver(at, client, server, &request, reply, true).await
        }
        (Ok(Arrival::ClientGone(partial)), _) => {
            orphan::adopt(at, server, &request, id, partial);
            Err(exchange::abandoned(at, &request))
        }
        (Err(error), _) => Err(exchange::server_failed(at, client, server, &request, &error)),
    }
}

fn adds_torana_error(host: &HostPort) -> CommandError {
    let what = format_args!("{host} is an address of this proxy without a member, not that of a server");
    CommandError::of_torana(ErrorCode::INVALID_REPLICA_SET_CONFIG, what, "name the new member's own address")
}

/// A reply that is edited is one reply: permission to send more unasked is struck from the request.
pub fn forbid_exhaust(client: &mut Client, request: &mut Request) {
    let permission = match request.header.opcode {
        Opcode::Msg => MsgFlags::EXHAUST_ALLOWED,
        Opcode::Query => QueryFlags::EXHAUST,
        _ => 0,
    };
    request.flags &= !permission;
    let at = HEADER_LEN..HEADER_LEN + 4;
    let length = request.header.length;
    let Some(message) = client.message_mut().get_mut(..length).filter(|_| permission != 0) else { return };
    if let Some(field) = message.get_mut(at) {
        field.copy_from_slice(&request.flags.to_le_bytes());
    }
    if request.has_checksum() {
        write_checksum(message);
    }
}

/// Maps the names in the request back to the members' own. What cannot be understood goes to the server as it is,
/// for the server to refuse.
fn edit_request(at: &Listener, client: &mut Client, request: &mut Request) -> Result<(), End> {
    let Some(message) = client.message().get(..request.header.length) else { return Ok(()) };
    let mut edited = Vec::with_capacity(message.len() + 256);
    if rewrite_request_message(message, &at.names.load(), &mut edited).is_ok_and(|done| done.changed > 0) {
        at.member.metrics.traffic.rewrites.inc(Direction::Request);
        client.replace_message(request.header.length, &edited);
        request.header.length = edited.len();
    }
    Ok(())
}

/// Edits a reply whose front is here, and passes it on.
pub async fn deliver(
    at: &Listener,
    client: &mut Client,
    mut server: Checkout,
    request: &Request,
    edit: Edit,
    mut reply: Reply,
) -> Result<(), End> {
    if reply.header.length > EDITED_MAX {
        return exchange::deliver(at, client, server, request, reply, true).await;
    }
    reply.buffer.reserve(reply.header.length);
    while !reply.is_whole() {
        let left = reply.header.length - reply.buffer.len();
        if let Err(error) = fill(&mut server, &mut reply.buffer, left).await {
            return Err(exchange::server_failed(at, client, server, request, &error));
        }
    }
    exchange::note_outcome(at, client, request, &reply, server.generation());
    if reply.buffer.len() > reply.header.length {
        server.close(crate::pool::CloseReason::Protocol);
    } else {
        check_in(server);
    }
    let length = reply.header.length;
    let mut message = Vec::with_capacity(length + 256);
    let rewritten = match edit {
        Edit::Members(kind) => rewrite_reply_message(kind, reply.bytes(), &at.names.load(), &mut message),
        Edit::Client => put_client(client, &reply, &mut message),
    };
    let rewritten = rewritten
        .map_err(|error| End::server(format!("{}: a reply that is to be edited: {error}", at.member.name)))?;
    at.shared.buffers.give(reply.buffer);
    at.member.metrics.traffic.rewrites.inc(Direction::Reply);
    if rewritten.unmapped > 0 {
        tracing::warn!(member = %at.member.name, unmapped = rewritten.unmapped, "a reply names members without a listener");
    }
    if !request.has_checksum() {
        Header::patch_response_to(&mut message, request.header.request_id);
    }
    let traffic = &at.member.metrics.traffic;
    traffic.server_received_bytes.inc_by(length as u64);
    traffic.forwarded.inc(Direction::Reply);
    client.entry.enter(Phase::Writing);
    client.answer(&message).await?;
    traffic.in_proxy.observe(request.received.elapsed());
    Ok(())
}

/// Puts the client's own address in the place of `you`.
fn put_client(client: &Client, reply: &Reply, out: &mut Vec<u8>) -> Result<Rewritten, RewriteError> {
    let peer = client.peer().map(|peer| peer.to_string()).unwrap_or_default();
    let mut body = Vec::with_capacity(reply.header.length + 64);
    let mut writer = DocWriter::begin(&mut body);
    for element in elements(reply.verdict().body.unwrap_or_default()) {
        let element = element?;
        match element.key {
            b"you" => writer.string(b"you", &peer),
            _ => writer.raw(&element),
        };
    }
    writer.finish();
    reframe(reply.bytes(), Side::Server, &body, out).map(|()| Rewritten::default())
}
