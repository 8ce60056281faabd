//! A client's session: one task, from accept to close, one request after the other.

use tokio::time::Instant;

use super::awaiting;
use super::client::Client;
use super::context::Listener;
use super::end::End;
use super::exchange;
use super::exhaust;
use super::fail_points;
use super::hello;
use super::legacy;
use super::local;
use super::names::{self, Edit};
use super::notice;
use super::published;
use super::refuse;
use super::request::{Request, Route};
use super::tagged;
use super::turn;
use super::unasked;
use crate::metrics::EndReason;
use crate::wire::Opcode;

/// Serves a client until it leaves or is ended. Aborted at any point it leaves nothing behind but closed sockets.
///
/// The client is boxed: as an argument it would stand in the task twice.
pub async fn run(mut client: Box<Client>) {
    let listener = client.listener.clone();
    let end = serve(&listener, &mut client).await;
    client.ended(end);
}

/// Only the common route is in line: the others are boxed, so that the session of an idle client stays small.
async fn serve(at: &Listener, client: &mut Client) -> End {
    loop {
        let header = match client.next_message().await {
            Ok(header) => header,
            Err(end) => return Box::pin(refuse::last_words(client, end)).await,
        };
        let request = match Request::read(header, client.message(), Instant::now()) {
            Ok(request) => request,
            Err(error) => return Box::pin(refuse::malformed(client, header, error)).await,
        };
        at.member.metrics.traffic.request_read(request.header.length, request.has_reply());
        client.capture(&request);
        client.choose_pool();
        turn::to_send().await;
        let refused = at.shared.registry.is_draining() && !continues(at, &request);
        let done = if refused {
            Box::pin(refuse::shutting_down(client, &request)).await
        } else if let Some(plan) = tagged::plan(at, client, &request) {
            Box::pin(tagged::run(at, client, request, plan)).await
        } else {
            match request.route {
                Route::Forward => exchange::forward(at, client, &request).await,
                Route::GetMore if !awaiting::is_awaiting(at, &request) => {
                    exchange::forward(at, client, &request).await
                }
                Route::Hello => Box::pin(hello::answer(at, client, &request)).await,
                _ => Box::pin(dispatch(at, client, request)).await,
            }
        };
        if let Err(end) = done {
            return end;
        }
        client.rests();
    }
}

/// The rarer routes.
async fn dispatch(at: &Listener, client: &mut Client, request: Request) -> Result<(), End> {
    let request = &request;
    match request.route {
        Route::Forward => exchange::forward(at, client, request).await,
        Route::NoReply => unasked::run(at, client, request).await,
        Route::KillCursors => unasked::kill_cursors(at, client, request).await,
        Route::GetMore => awaiting::get_more(at, client, request).await,
        Route::Exhaust => exhaust::run(at, client, request).await,
        Route::Hello => hello::answer(at, client, request).await,
        Route::Local => local::answer(at, client, request).await,
        Route::Names { reply, request: edits } => {
            names::exchange(at, client, request, reply.map(Edit::Members), edits).await
        }
        Route::FailPoint => fail_points::configure(at, client, request).await,
        Route::WhatsMyUri => names::exchange(at, client, request, Some(Edit::Client), false).await,
        Route::LegacyWrite | Route::LastError => legacy::run(at, client, request).await,
        Route::EndsCursors => match notice::cursors_killed(at, client, request) {
            Some(member) => published::forward_away(at, client, request, member).await,
            None => exchange::forward(at, client, request).await,
        },
        Route::EndsSessions => {
            notice::sessions_ended(at, client, request);
            exchange::forward(at, client, request).await
        }
    }
}

/// During shutdown, what was begun may be finished. Hellos have an answer of their own then.
fn continues(at: &Listener, request: &Request) -> bool {
    let transaction = request.transaction.filter(|_| request.in_transaction && !request.starts_transaction);
    transaction.is_some_and(|id| at.member.set.transactions.is_open(&id))
        || request.route == Route::Hello
        || request.header.opcode == Opcode::KillCursors
}

impl Client {
    /// The session is over: tells the log. The metrics are told when the client is dropped, however that comes.
    fn ended(&mut self, end: End) {
        let reason = end.reason;
        let peer = self.peer().map_or_else(|_| "gone".to_owned(), |peer| peer.to_string());
        match &end.detail {
            Some(detail) if reason != EndReason::Clean => {
                tracing::info!(client = %peer, connection = self.entry.id, reason = reason.as_str(), "{detail}");
            }
            _ => {
                tracing::debug!(client = %peer, connection = self.entry.id, reason = reason.as_str(), "client ended")
            }
        }
        self.end_reason = Some(reason);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let reason = self.end_reason.or_else(|| self.entry.ended()).unwrap_or(EndReason::Error);
        self.tapping.closed(reason == EndReason::Clean);
        let clients = &self.listener.member.metrics.clients;
        clients.ended.inc(reason);
        clients.connected.dec();
        self.listener.shared.registry.remove(self.entry.id);
        self.listener.member.set.transactions.left(&self.transactions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_session_of_an_idle_client_takes_at_most_one_kibibyte() {
        let size = size_of_future(run);
        assert!(size <= 1024, "{size} bytes");
    }
}
