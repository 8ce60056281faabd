//! Refusals: errors that torana answers itself, in the request's own opcode.

use super::awaiting;
use super::client::Client;
use super::end::End;
use super::registry::Phase;
use super::request::{Request, RequestError, Route};
use crate::metrics::EndReason;
use crate::pool::CheckoutError;
use crate::rewrite::{
    CommandError, ErrorCode, Overload, RetryScope, max_time_passed_in_queue, overloaded as overloaded_error,
    shutting_down as shutdown_error,
};
use crate::wire::{Header, Opcode};

/// Answers `request` with `error`. A request without a reply gets none: the connection stays usable, as a server
/// would keep it.
pub async fn with(client: &mut Client, request: &Request, error: &CommandError) -> Result<(), End> {
    client.consume(request.header.length);
    match request.route {
        // Its getLastError would speak of another write.
        Route::LegacyWrite => Err(End::because(EndReason::Refused, error.errmsg.to_string())),
        _ if !request.has_reply() => Ok(()),
        _ => write(client, request.header, request.is_command, error).await,
    }
}

/// Answers a request that was sent, in the place of its reply. One that wants none gets none.
pub async fn in_place(client: &mut Client, request: &Request, error: &CommandError) -> Result<(), End> {
    client.shadowing.refused();
    match request.has_reply() {
        true => write(client, request.header, request.is_command, error).await,
        false => Ok(()),
    }
}

/// `is_command` tells an OP_QUERY that carries a command from one that reads a collection: they fail differently.
async fn write(
    client: &mut Client,
    header: Header,
    is_command: bool,
    error: &CommandError,
) -> Result<(), End> {
    let mut out = Vec::with_capacity(512);
    let id = client.next_reply_id();
    match header.opcode {
        Opcode::Msg => error.write_op_msg(&mut out, id, header.request_id),
        Opcode::Query if is_command => error.write_op_reply(&mut out, id, header.request_id),
        _ => error.write_query_failure(&mut out, id, header.request_id),
    }
    client.answer(&out).await
}

/// The pool had no connection in time: `timed_out` says that it was the client's own maxTimeMS that passed.
pub async fn overloaded(
    client: &mut Client,
    request: &Request,
    error: &CheckoutError,
    timed_out: bool,
) -> Result<(), End> {
    let member = client.listener.member.clone();
    let why = match error {
        CheckoutError::QueueFull { limit, .. } => Overload::QueueFull { limit: *limit },
        CheckoutError::WaitTimeout { waited, max, .. } => {
            Overload::WaitTimeout { waited: *waited, pool_max: *max }
        }
        CheckoutError::Unavailable { .. } | CheckoutError::Closed => {
            return Err(End::because(EndReason::Unreachable, error.to_string()));
        }
    };
    let name = client.listener.names.load().to_client(&member.name).unwrap_or("the member").to_owned();
    let error = match request.max_time().filter(|_| timed_out) {
        Some(limit) => max_time_passed_in_queue(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX), &name),
        None => overloaded_error(why, &name, scope(client, request)),
    };
    with(client, request, &error).await
}

fn scope(client: &Client, request: &Request) -> RetryScope {
    if request.cursor_id.is_some() && awaiting::is_awaiting(&client.listener, request)
        || request.phase() == Phase::AwaitingData
    {
        return RetryScope::Stream;
    }
    match (request.transaction, request.in_transaction, request.command.name()) {
        (None, _, _) => RetryScope::Plain,
        (Some(_), _, "commitTransaction" | "abortTransaction") | (Some(_), false, _) => RetryScope::Write,
        (Some(_), true, _) => RetryScope::Transaction,
    }
}

/// torana is shutting down: the driver finds another.
pub async fn shutting_down(client: &mut Client, request: &Request) -> Result<(), End> {
    with(client, request, &shutdown_error(scope(client, request))).await
}

/// A message that cannot be understood: says so, then ends the session, as what follows it cannot be trusted.
pub async fn malformed(client: &mut Client, header: Header, error: RequestError) -> End {
    let code = match error {
        RequestError::Wire(_) => ErrorCode::PROTOCOL_ERROR,
        RequestError::Document(_) => ErrorCode::INVALID_BSON,
    };
    let answer = CommandError::of_torana(code, &error, "the connection is closed");
    if matches!(header.opcode, Opcode::Msg | Opcode::Query | Opcode::GetMore | Opcode::Compressed) {
        client.consume(header.length);
        let header = match header.opcode {
            Opcode::Compressed => Header { opcode: Opcode::Msg, ..header },
            _ => header,
        };
        let _ = write(client, header, true, &answer).await;
    }
    End::because(EndReason::ProtocolError, error.to_string())
}

/// The session ended while a request was being read. If the client sent a header that is no header, it is told.
pub async fn last_words(client: &mut Client, end: End) -> End {
    if let (EndReason::ProtocolError, Some(detail)) = (end.reason, &end.detail) {
        let answer = CommandError::of_torana(ErrorCode::PROTOCOL_ERROR, detail, "the connection is closed");
        let request_id = crate::wire::read_i32(client.message(), 4).unwrap_or(0);
        let header = Header { length: 16, request_id, response_to: 0, opcode: Opcode::Msg };
        // One attempt: a client that sends garbage need not read either.
        let _ = tokio::time::timeout(super::LAST_WORDS_WITHIN, write(client, header, true, &answer)).await;
    }
    end
}
