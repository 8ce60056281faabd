//! Commands that torana answers itself, besides hello: what belongs to the client's own connection.

use super::client::Client;
use super::context::Listener;
use super::end::End;
use super::fail_points;
use super::refuse;
use super::request::Request;
use crate::doc::DocWriter;
use crate::rewrite::{CommandError, ErrorCode};
use crate::wire::{MsgFlags, OpMsgBuilder, Opcode, write_op_reply};

/// Answers `logout`, refuses authentication.
pub async fn answer(at: &Listener, client: &mut Client, request: &Request) -> Result<(), End> {
    let failed = fail_points::evaluate(at, client, request.command.name(), None).await?;
    at.member.metrics.traffic.local_replies.inc(request.command);
    if let Some(error) = failed {
        return refuse::with(client, request, &error).await;
    }
    let mut document = Vec::with_capacity(64);
    let mut reply = DocWriter::begin(&mut document);
    match request.command.name() {
        "logout" => {}
        // Whoever answers saslStart like this has begun no conversation.
        "saslContinue" => {
            let error = CommandError::of_mongod(ErrorCode::PROTOCOL_ERROR, "No SASL session state found");
            return refuse::with(client, request, &error).await;
        }
        name => {
            let error = CommandError::of_torana(
                ErrorCode::AUTHENTICATION_FAILED,
                format_args!("Authentication failed: {name} is not supported by this proxy yet"),
                "connect without credentials",
            );
            return refuse::with(client, request, &error).await;
        }
    }
    reply.f64(b"ok", 1.0);
    reply.finish();
    respond(client, request, &document).await
}

/// Answers `request` with `document`, in the request's own opcode; drops the request.
pub async fn respond(client: &mut Client, request: &Request, document: &[u8]) -> Result<(), End> {
    client.consume(request.header.length);
    let mut out = Vec::with_capacity(document.len() + 64);
    let (id, to) = (client.next_reply_id(), request.header.request_id);
    match request.header.opcode {
        _ if !request.has_reply() => return Ok(()),
        Opcode::Msg => {
            let flags = MsgFlags(request.flags & MsgFlags::CHECKSUM_PRESENT);
            let builder = OpMsgBuilder::begin(&mut out, id, to, flags);
            out.extend_from_slice(document);
            builder.finish(&mut out);
        }
        _ => write_op_reply(&mut out, id, to, document),
    }
    client.answer(&out).await
}
