//! One request and its reply: the hot path.
//!
//! A server connection is taken by value out of the pool, the request is written to it, the reply is read from it
//! and passed on, and only a finished exchange gives it back. Whatever ends an exchange half-way (an error, a
//! client that left, a session that was aborted) drops the checkout, which closes the connection: a reply that was
//! not read to its end must never reach the next client.

use std::io;
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Duration, Instant, sleep};

use super::awaiting;
use super::client::Client;
use super::context::{AwaitingPermit, Checkout, Listener};
use super::end::End;
use super::notice;
use super::orphan;
use super::refuse;
use super::registry::Phase;
use super::reply::{Arrival, Reply, ReplyError, receive};
use super::request::{Request, Route};
use super::stream::stream;
use super::transactions::Step;
use super::turn;
use crate::command::Kind;
use crate::metrics::{EndReason, Outcome};
use crate::pool::{CheckoutError, Class, CloseReason};
use crate::wire::Header;

/// How often a client whose request the server is slow to take is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Forwards a request as it is and passes its reply on.
///
/// No `async fn`: another layer would keep its arguments twice in every session.
pub fn forward<'a>(
    at: &'a Listener,
    client: &'a mut Client,
    request: &'a Request,
) -> impl Future<Output = Result<(), End>> {
    forward_as(at, client, request, lane(at, request))
}

/// As [`forward`], in the queue of `lane`. To be awaited at once: it may hold a connection already.
pub fn forward_as<'a>(
    at: &'a Listener,
    client: &'a mut Client,
    request: &'a Request,
    lane: Lane,
) -> impl Future<Output = Result<(), End>> {
    let idle = idle(client, &lane);
    async move {
        let mut server = match idle {
            Some(server) => server,
            None => match wait(at, client, request, lane).await? {
                Some(server) => server,
                None => return Ok(()),
            },
        };
        let (id, taken) = send_now(at, client, &mut server, request);
        if taken < request.header.length {
            // Boxed, as it is rare and would make every session larger.
            Box::pin(send_rest(at, client, &mut server, request, taken)).await?;
        }
        sent(at, client, request);
        client.entry.enter(request.phase());
        match receive(client, &mut server, id, None).await {
            Ok(Arrival::Reply(reply)) => {
                client.shadowing.took(note_latency(at, &server, request, &reply));
                deliver(at, client, server, request, reply, true).await
            }
            Ok(Arrival::ClientGone(partial)) => {
                orphan::adopt(at, server, request, id, partial);
                Err(abandoned(at, request))
            }
            Err(error) => Err(server_failed(at, client, server, request, &error)),
        }
    }
}

/// Takes note of how long the server took for the first reply.
fn note_latency(at: &Listener, server: &Checkout, request: &Request, reply: &Reply) -> Duration {
    let took = reply.arrived.saturating_duration_since(server.since());
    if request.route == Route::GetMore && took >= awaiting::SEEN_WAITING {
        awaiting::seen_waiting(at, request, reply);
    }
    at.member.metrics.traffic.server_latency.observe(request.command, took);
    took
}

/// The queue that a request stands in.
#[derive(Debug)]
pub enum Lane {
    /// Ordinary work.
    Ordinary,
    /// What frees others.
    Relief,
    /// What waits on the server, by a share of its own.
    Awaiting(AwaitingPermit),
}

/// Which queue the request stands in by itself.
pub fn lane(at: &Listener, request: &Request) -> Lane {
    let continues = request.in_transaction && !request.starts_transaction;
    let transaction = request.transaction.as_ref().filter(|_| continues);
    match at.member.set.transactions.class(request.is_relief, transaction) {
        Class::Ordinary => Lane::Ordinary,
        Class::Relief => Lane::Relief,
    }
}

/// Takes a connection for `request`. `None`: the client has been told that there is none in time.
pub async fn acquire(
    at: &Listener,
    client: &mut Client,
    request: &Request,
    lane: Lane,
) -> Result<Option<Checkout>, End> {
    match idle(client, &lane) {
        Some(server) => Ok(Some(server)),
        None => wait(at, client, request, lane).await,
    }
}

/// A connection that nobody uses or waits for, if there is one.
fn idle(client: &Client, lane: &Lane) -> Option<Checkout> {
    match lane {
        Lane::Ordinary => client.pool.try_check_out(Class::Ordinary),
        Lane::Relief => client.pool.try_check_out(Class::Relief),
        Lane::Awaiting(_) => None,
    }
}

/// Waits for a connection. `None`: the client has been told that there is none in time.
fn wait<'a>(
    at: &'a Listener,
    client: &'a mut Client,
    request: &'a Request,
    lane: Lane,
) -> impl Future<Output = Result<Option<Checkout>, End>> {
    let pool = client.pool.pool.clone();
    async move {
        if let Some(id) = request.transaction.filter(|_| request.in_transaction) {
            at.member.set.transactions.waits(&id, &at.member, &mut client.transactions);
        }
        client.entry.enter(Phase::Queueing);
        client.wants_reply = request.has_reply() && request.route != Route::FailPoint;
        let deadline = request.deadline();
        let waited = match lane {
            Lane::Ordinary | Lane::Relief => {
                let class = if matches!(lane, Lane::Relief) { Class::Relief } else { Class::Ordinary };
                or_gone(client, std::pin::pin!(pool.check_out(class, deadline))).await
            }
            // Boxed, as it is rare and would make every session larger.
            Lane::Awaiting(permit) => {
                or_gone(client, Box::pin(pool.check_out_awaiting(permit, deadline))).await
            }
        };
        match waited {
            Some(Ok(server)) => Ok(Some(server)),
            Some(Err(error)) => Box::pin(not_acquired(at, client, request, error)).await.map(|()| None),
            None => Err(abandoned(at, request)),
        }
    }
}

/// Runs `future` to its end, or until the client leaves. Whoever wants no reply may leave at once: a server would find
/// the request in its socket and run it. So it does with a fail point, which outlives its client.
fn or_gone<T>(
    client: &mut Client,
    mut future: impl Future<Output = T> + Unpin,
) -> impl Future<Output = Option<T>> {
    std::future::poll_fn(move |cx| match Pin::new(&mut future).poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if client.wants_reply => client.poll_gone(cx).map(|()| None),
        Poll::Pending => Poll::Pending,
    })
}

async fn not_acquired(
    at: &Listener,
    client: &mut Client,
    request: &Request,
    error: CheckoutError,
) -> Result<(), End> {
    let operations = &at.member.metrics.traffic.operations;
    if let CheckoutError::Unavailable { .. } | CheckoutError::Closed = error {
        at.member.monitored.hello.note_failure();
        operations.inc((request.command, Outcome::Refused));
        return Err(End::because(EndReason::Unreachable, error.to_string()));
    }
    let timed_out = request.deadline().is_some_and(|deadline| deadline <= Instant::now());
    let outcome = if timed_out { Outcome::Timeout } else { Outcome::Refused };
    operations.inc((request.command, outcome));
    refuse::overloaded(client, request, &error, timed_out).await
}

/// Writes the request, under a number of torana's own, and drops it. Returns the number that the reply must name.
///
/// Cancelled, or on an error, the connection must be closed: part of the request may be on its way.
pub async fn send(
    at: &Listener,
    client: &mut Client,
    server: &mut Checkout,
    request: &Request,
) -> Result<i32, End> {
    let (id, taken) = send_now(at, client, server, request);
    if taken < request.header.length {
        send_rest(at, client, server, request, taken).await?;
    }
    sent(at, client, request);
    Ok(id)
}

/// Writes what the server takes at once of the request, mostly all. Returns the number that the reply must name, and how
/// many bytes were taken.
fn send_now(at: &Listener, client: &mut Client, server: &mut Checkout, request: &Request) -> (i32, usize) {
    if request.in_transaction {
        note_statement(at, client, request);
    }
    client.entry.enter(Phase::Sending);
    let id = match request.has_checksum() {
        // The checksum covers the header, so both stay as the client made them.
        true => request.header.request_id,
        false => {
            let id = server.next_request_id();
            Header::patch_request_id(client.message_mut(), id);
            id
        }
    };
    (id, server.write_now(client.request_bytes(request)))
}

/// The server has the request.
fn sent(at: &Listener, client: &mut Client, request: &Request) {
    at.member.metrics.traffic.request_sent(request.header.length);
    client.sent(request.header.length);
}

/// Writes what the server did not take at once of the request: all but the first `taken` bytes.
async fn send_rest(
    at: &Listener,
    client: &mut Client,
    server: &mut Checkout,
    request: &Request,
    taken: usize,
) -> Result<(), End> {
    let rest = client.request_bytes(request).get(taken..).unwrap_or_default();
    let Err(error) = write_rest(client, server, rest).await else { return Ok(()) };
    sent(at, client, request);
    if client.has_left() {
        return Err(abandoned(at, request));
    }
    at.member.metrics.traffic.operations.inc((request.command, Outcome::Error));
    notice::connection_failed(at, &client.pool, server.generation(), Some(&error));
    Err(End::server(format!("writing to {}: {error}", at.member.name)))
}

/// Ends when the client has left: half a request never runs.
async fn write_rest(client: &Client, server: &mut Checkout, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        tokio::select! {
            biased;
            written = server.write_some(rest) => rest = rest.get(written?..).unwrap_or_default(),
            () = sleep(LOOK_EVERY) => {
                if client.has_left() {
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client left"));
                }
            }
        }
    }
    Ok(())
}

fn note_statement(at: &Listener, client: &mut Client, request: &Request) {
    let Some(id) = request.transaction else { return };
    let step = match request.starts_transaction {
        true => Step::Start,
        false if request.command.name() == "commitTransaction" => Step::Commit,
        false => Step::Continue,
    };
    at.member.set.transactions.used(&id, &at.member, &mut client.transactions, step);
}

/// Passes a reply on whose front is here, and checks the connection in. `is_first` is false for the further replies
/// of an exhaust exchange: they answer the reply before them, whose number is the server's.
pub async fn deliver(
    at: &Listener,
    client: &mut Client,
    mut server: Checkout,
    request: &Request,
    mut reply: Reply,
    is_first: bool,
) -> Result<(), End> {
    note_outcome(at, client, request, &reply, server.generation());
    if is_first && !request.has_checksum() {
        Header::patch_response_to(reply.buffer.unread_mut(), request.header.request_id);
    }
    count_reply(at, &reply);
    client.entry.enter(Phase::Writing);
    // Before the client has all of it: the connection may serve the next one meanwhile.
    match reply.is_whole() {
        true => give_back(server, &reply),
        false => {
            stream(at, client, &mut server, &mut reply, 0).await?;
            check_in(server);
        }
    }
    turn::to_send().await;
    let taken = client.write_now(reply.bytes());
    if taken < reply.bytes().len() {
        client.write_rest(&reply.bytes()[taken..]).await?;
    }
    passed_on(at, client, request, reply);
    Ok(())
}

/// Gives back the connection that a reply came by of which all is here.
pub fn give_back(server: Checkout, reply: &Reply) {
    match reply.buffer.len() == reply.header.length {
        true => server.finish_at(reply.arrived),
        // Bytes that nobody asked for follow.
        false => server.close(CloseReason::Protocol),
    }
}

/// The client has all of the reply.
pub fn passed_on(at: &Listener, client: &mut Client, request: &Request, reply: Reply) {
    client.reuse(reply.buffer);
    at.member.metrics.traffic.in_proxy.observe(request.received.elapsed());
}

/// Counts a reply that is passed on.
pub fn count_reply(at: &Listener, reply: &Reply) {
    at.member.metrics.traffic.reply_passed(reply.header.length);
}

/// The connection broke in the middle of a reply.
pub fn broken(at: &Listener, client: &Client, server: &Checkout, error: &ReplyError) -> End {
    notice::connection_failed(at, &client.pool, server.generation(), error.io());
    End::server(format!("reading a reply from {}: {error}", at.member.name))
}

/// Gives a connection back whose exchange is complete.
pub fn check_in(server: Checkout) {
    server.finish();
}

/// Takes note of what a reply says about its operation, its transaction, its cursor and the member.
pub fn note_outcome(at: &Listener, client: &mut Client, request: &Request, reply: &Reply, generation: u64) {
    let verdict = reply.verdict();
    let outcome = if verdict.ok { Outcome::Ok } else { Outcome::Error };
    at.member.metrics.traffic.operations.inc((request.command, outcome));
    if let (true, Some(body)) = (verdict.is_notable, verdict.body) {
        notice::error_passed(at, client, request, body, generation);
    }
    if verdict.ok && request.command.kind() == Kind::EndTransaction && !verdict.is_notable {
        notice::transaction_ended(at, client, request);
    }
    if request.opens_awaiting_cursor && verdict.ok {
        notice::cursor_seen(at, request, reply);
    }
}

/// The client left while its request was queued or on the server.
pub fn abandoned(at: &Listener, request: &Request) -> End {
    at.member.metrics.traffic.operations.inc((request.command, Outcome::Abandoned));
    End { reason: EndReason::Abandoned, detail: None }
}

/// The connection failed under the request. It may have run, so it is never sent again: the client's connection is
/// closed and its driver decides.
pub fn server_failed(
    at: &Listener,
    client: &Client,
    server: Checkout,
    request: &Request,
    error: &ReplyError,
) -> End {
    let traffic = &at.member.metrics.traffic;
    traffic.operations.inc((request.command, Outcome::Error));
    match error {
        ReplyError::ResponseTo { .. } | ReplyError::Wire(_) => {
            traffic.reply_mismatches.inc();
            tracing::error!(member = %at.member.name, %error, "a server connection is out of step; closed");
            server.close(CloseReason::Protocol);
        }
        ReplyError::Io(_) | ReplyError::Closed => {
            notice::connection_failed(at, &client.pool, server.generation(), error.io());
            server.close(CloseReason::Error);
        }
    }
    End::server(format!("{}: {error}", at.member.name))
}
