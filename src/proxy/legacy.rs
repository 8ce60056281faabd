//! Legacy writes, and the getLastError that asks for their outcome on the same connection.
//!
//! Servers before 5.1 speak OP_INSERT, OP_UPDATE and OP_DELETE, which have no reply. Whether one succeeded is known
//! to its connection alone, so that connection is pinned to the client until the client asks, or does something
//! else (which resets the answer on a server, too).

use tokio::time::{Duration, Instant, timeout};

use super::client::Client;
use super::context::{Checkout, Counted, Listener};
use super::end::End;
use super::exchange::{self, acquire, lane, send};
use super::names::{self, Edit};
use super::own_command;
use super::refuse;
use super::registry::Phase;
use super::reply::{Arrival, receive};
use super::request::{Request, Route};
use super::tagged;
use super::unasked;
use crate::metrics::{EndReason, Outcome};
use crate::rewrite::ReplyKind;

/// How long a client that did not ask after its last write is waited for after the next: one that changes its mind
/// sends both in one go.
const NEVER_ASKED: Duration = Duration::from_millis(2);

/// Serves a legacy write, or a getLastError without one, and all legacy writes that follow, to their getLastError.
/// A request of another kind is left unread for the session.
pub async fn run(at: &Listener, client: &mut Client, request: &Request) -> Result<(), End> {
    if request.route == Route::LastError && client.outcome_lost {
        // The connection that knows the outcome is another client's by now. No answer is better than a wrong one.
        return Err(End::because(EndReason::LastErrorTimeout, "getLastError came after last_error_timeout"));
    }
    if request.route == Route::LegacyWrite {
        unasked::speaks_legacy(at)?;
    }
    let Some(mut server) = acquire(at, client, request, lane(at, request)).await? else {
        return Ok(());
    };
    if request.route == Route::LastError {
        forget_outcome(at, client, request, &mut server).await?;
    }
    let mut request = *request;
    // For all writes of one pin together: a client that only writes must not keep a connection by that.
    let asks_until = Instant::now() + at.shared.limits.last_error_timeout;
    loop {
        if request.route != Route::LegacyWrite {
            return last_error(at, client, server, &request).await;
        }
        client.outcome_lost = false;
        send(at, client, &mut server, &request).await?;
        at.member.metrics.traffic.operations.inc((request.command, Outcome::Ok));
        client.entry.enter(Phase::LastError);
        let patience = if client.never_asks { NEVER_ASKED } else { asks_until - Instant::now() };
        let pinned = Counted::enter(&at.member.metrics.pool.pinned);
        let header = timeout(patience, client.next_message()).await;
        drop(pinned);
        let header = match header {
            Ok(Ok(header)) => header,
            Err(_) => {
                // The client does not ask, as drivers of that age do not for unacknowledged writes.
                client.outcome_lost = true;
                client.never_asks = true;
                return unasked::give_back(at, client, server).await;
            }
            Ok(Err(end)) => {
                // Nothing is owed on the connection, and the write itself runs to its end.
                let _ = unasked::give_back(at, client, server).await;
                return Err(end);
            }
        };
        request = match Request::read(header, client.message(), tokio::time::Instant::now()) {
            Ok(next) if tagged::plan(at, client, &next).is_some() => {
                return unasked::give_back(at, client, server).await;
            }
            Ok(next) if matches!(next.route, Route::LegacyWrite | Route::LastError) => next,
            Ok(_) => return unasked::give_back(at, client, server).await,
            Err(error) => return Err(refuse::malformed(client, header, error).await),
        };
    }
}

/// A getLastError without a write of the client's own must not speak of another client's: any command in between makes
/// the server forget (mongod's `LastError`: an error is told only to the very next request).
async fn forget_outcome(
    at: &Listener,
    client: &mut Client,
    request: &Request,
    server: &mut Checkout,
) -> Result<(), End> {
    client.entry.enter(Phase::Awaiting);
    own_command::run(&at.shared, server, &own_command::ping()).await.map(drop).map_err(|error| {
        at.member.metrics.traffic.operations.inc((request.command, Outcome::Error));
        exchange::broken(at, client, server, &error)
    })
}

/// getLastError names the member that it speaks for (`writtenTo`), so its reply is rewritten like others that do.
async fn last_error(
    at: &Listener,
    client: &mut Client,
    mut server: Checkout,
    request: &Request,
) -> Result<(), End> {
    client.never_asks = false;
    let id = send(at, client, &mut server, request).await?;
    client.entry.enter(Phase::Awaiting);
    match receive(client, &mut server, id, None).await {
        Ok(Arrival::Reply(reply)) => {
            let edit = Edit::Members(ReplyKind::GetLastError);
            names::deliver(at, client, server, request, edit, reply).await
        }
        // A write's outcome that nobody wants any more: the write itself is done.
        Ok(Arrival::ClientGone(partial)) => {
            super::orphan::adopt(at, server, request, id, partial);
            Err(exchange::abandoned(at, request))
        }
        Err(error) => Err(exchange::server_failed(at, client, server, request, &error)),
    }
}
