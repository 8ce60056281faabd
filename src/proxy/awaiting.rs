//! getMores that wait on the server for data: tailable cursors that await, and change streams.
//!
//! Each would hold a connection for as long as its client is willing to wait, so that a few dozen of them would stop
//! a pool. At most a quarter of it is theirs; whoever gets no share is *sliced*: asked for data without waiting, in
//! rounds, until there is some or the client's own time is up. In between it holds nothing. A member is asked by a few
//! of them at a time: thousands whose time is up in the same moment would stand before everybody else.
//!
//! Nothing ends a getMore that waits on the server but its own time (6.0: neither a closed connection nor killOp), so
//! one that would wait for long is asked for in rounds too: what a client leaves behind is then soon over.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Duration, Instant, timeout};

use super::client::Client;
use super::context::{Checkout, Listener};
use super::count::Count;
use super::end::End;
use super::exchange::{self, Lane, acquire, check_in, forward_as};
use super::orphan;
use super::own_command;
use super::refuse;
use super::registry::Phase;
use super::reply::{Arrival, Reply, receive};
use super::request::Request;
use crate::doc::{DocWriter, elements, find, find_path};
use crate::metrics::{EndReason, Outcome};
use crate::pool::{CheckoutError, PoolOptions};
use crate::rewrite::{CommandError, ErrorCode, RewriteError, reframe};
use crate::topology::TopologyVersion;
use crate::wire::{Header, Opcode, Side};

const BAD_VALUE: i64 = ErrorCode::BAD_VALUE.0 as i64;
const CURSOR_NOT_FOUND: i64 = ErrorCode::CURSOR_NOT_FOUND.0 as i64;

/// What a server waits if the client names no limit (`awaitDataTimeoutMS` in mongod's getMore: one second).
const AWAIT_DEFAULT: Duration = Duration::from_secs(1);

/// How long a member may take to say whether it is the process that it was.
const HELLO_WITHIN: Duration = Duration::from_secs(2);

/// The shortest wait that every server can be asked for. To one before 5.0, zero means [`AWAIT_DEFAULT`].
const WAIT_MIN: Duration = Duration::from_millis(1);

/// `maxWireVersion` of MongoDB 5.0, the first to answer a getMore with `maxTimeMS: 0` at once (seen with 5.0.4 and 6.0.5,
/// where it takes half the CPU of a wait of 1 ms; 4.4.2 waits).
const NO_WAIT_FIRST: i64 = 13;

/// The longest wait that a server is asked for, where the request can say so: what drivers' cursors ask for by default.
const WAIT_MAX: Duration = AWAIT_DEFAULT;

/// Between two rounds of one getMore: short enough for an event to be seen soon, stretched when many are sliced, so
/// that those over one pool ask at most a thousand times a second together, their first rounds aside.
const ROUND_MIN: Duration = Duration::from_millis(50);
const ROUND_EACH: Duration = Duration::from_millis(1);

/// A getMore that brought nothing after this long waited for data: a server waits for one second (see above), and
/// answers for a cursor that does not await at once.
pub const SEEN_WAITING: Duration = Duration::from_millis(900);

/// A getMore of a cursor that nobody knows took at least [`SEEN_WAITING`]. Without data it awaits: it was opened through
/// another torana, or before a restart of this one.
pub fn seen_waiting(at: &Listener, request: &Request, reply: &Reply) {
    if let Some(id) = request.cursor_id.filter(|_| is_nothing_yet(reply)) {
        at.member.cursors.opened(id);
    }
}

/// Whether the request continues a cursor that awaits. A server refuses `maxTimeMS` on any other (mongod's getMore:
/// "cannot set maxTimeMS on getMore command for a non-awaitData cursor"), so the field alone tells as well.
pub fn is_awaiting(at: &Listener, request: &Request) -> bool {
    let known = request.cursor_id.is_some_and(|id| at.member.cursors.is_awaiting(id));
    known || (request.max_time_ms.is_some() && request.cursor_id.is_some())
}

/// Serves a getMore that awaits.
pub async fn get_more(at: &Listener, client: &mut Client, request: &Request) -> Result<(), End> {
    // Its maxTimeMS says how long the server waits for data, not when the client gives up.
    let patient = Request { max_time_ms: None, opens_awaiting_cursor: true, ..*request };
    let is_fixed = request.header.opcode != Opcode::Msg || request.has_checksum();
    let copy = at.member.monitored.hello.latest();
    let can_refuse_to_wait =
        copy.as_ref().is_some_and(|copy| copy.description.max_wire_version >= NO_WAIT_FIRST);
    let wait = match request.max_time() {
        None if request.max_time_is_zero && can_refuse_to_wait => Duration::ZERO,
        limit => limit.unwrap_or(AWAIT_DEFAULT),
    };
    if let (true, Some(permit)) = (is_fixed || wait <= WAIT_MAX, client.pool.try_awaiting()) {
        return forward_as(at, client, &patient, Lane::Awaiting(permit)).await;
    }
    if is_fixed {
        // Has no field to shorten the wait with: takes its turn.
        return forward_as(at, client, &patient, Lane::Ordinary).await;
    }
    let until = request.received + wait;
    let rounds = client.pool.rounds.clone();
    let _counted = rounds.sliced.enter();
    let whole = take_message(client, request);
    // What now stands first in the read buffer is the next request, and not this one's to drop.
    let header = Header { length: 0, ..patient.header };
    let names_limit = request.max_time_ms.is_some() || request.max_time_is_zero;
    let process = copy.and_then(|copy| copy.topology_version()).map(|version| version.process_id);
    let shortest = if can_refuse_to_wait { Duration::ZERO } else { WAIT_MIN };
    let request = Request { header, ..patient };
    Sliced { at, rounds: &rounds, request, whole, until, names_limit, shortest, process }.run(client).await
}

/// Takes the request's bytes out of the read buffer, which others can use during the rounds.
fn take_message(client: &mut Client, request: &Request) -> Vec<u8> {
    let message = client.message().get(..request.header.length).unwrap_or_default().to_vec();
    client.consume(request.header.length);
    message
}

/// The rounds of one pool's clients.
#[derive(Debug)]
pub struct Rounds {
    /// How many getMores go by rounds.
    sliced: Count,
    /// How many of them may ask at once: few, as they need no more to ask thousands of times a second.
    turns: Semaphore,
    /// The longest wait for one's turn, as for a connection.
    patience: Duration,
    /// Of the pool.
    pool_max: usize,
}

impl Rounds {
    /// None yet, of a pool with these limits.
    pub fn new(pool: &PoolOptions) -> Self {
        let turns = Semaphore::new((pool.max / 8).max(1));
        Rounds { sliced: Count::default(), turns, patience: pool.wait_timeout, pool_max: pool.max }
    }
}

struct Sliced<'a> {
    at: &'a Listener,
    rounds: &'a Rounds,
    request: Request,
    whole: Vec<u8>,
    until: Instant,
    /// The client itself says how long to wait.
    names_limit: bool,
    /// The shortest wait that the member can be asked for.
    shortest: Duration,
    /// The member's process when this began, if it tells.
    process: Option<[u8; 12]>,
}

impl Sliced<'_> {
    async fn run(self, client: &mut Client) -> Result<(), End> {
        let mut nothing_yet: Option<Vec<u8>> = None;
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            if let (true, Some(reply)) = (left.is_zero(), &mut nothing_yet) {
                return self.nothing_came(client, reply).await;
            }
            // A share that has come free is as good as one that was free at once.
            let share = client.pool.try_awaiting();
            let has_waited = share.is_some();
            let arrived = match share {
                Some(permit) => {
                    self.round(client, Lane::Awaiting(permit), Some(left.clamp(WAIT_MIN, WAIT_MAX))).await?
                }
                None => {
                    let asked = Instant::now();
                    let turn = self.turn(client, nothing_yet.is_some()).await?;
                    match (turn, &mut nothing_yet) {
                        (Some(_turn), _) => self.round(client, Lane::Ordinary, Some(self.shortest)).await?,
                        (None, Some(reply)) => return self.nothing_came(client, reply).await,
                        (None, None) => return self.no_turn_came(client, asked.elapsed()).await,
                    }
                }
            };
            let Some((server, reply)) = arrived else { return Ok(()) };
            if is_nothing_yet(&reply) && !left.is_zero() {
                nothing_yet = Some(reply.bytes().to_vec());
                self.at.shared.buffers.give(reply.buffer);
                check_in(server);
            } else {
                return self.last(client, server, reply, nothing_yet.is_some()).await;
            }
            if !has_waited {
                self.pause(client).await?;
            }
        }
    }

    /// Passes the last round's reply on. `is_later` says that there was a round before it.
    async fn last(
        &self,
        client: &mut Client,
        server: Checkout,
        mut reply: Reply,
        is_later: bool,
    ) -> Result<(), End> {
        let at = self.at;
        match code(&reply) {
            Some(CURSOR_NOT_FOUND) if is_later => {
                exchange::note_outcome(at, client, &self.request, &reply, server.generation());
                if !self.is_same_process(server).await {
                    Header::patch_response_to(reply.buffer.unread_mut(), self.request.header.request_id);
                    return client.answer(reply.bytes()).await;
                }
                // Killed between two rounds. On a server it would have been killed while it waited, and drivers tell
                // that from a cursor that is not there: the one they pass on, the other they resume.
                let text = "Executor error during getMore :: caused by :: operation was interrupted";
                let killed = CommandError::of_mongod(ErrorCode::CURSOR_KILLED, text);
                refuse::with(client, &self.request, &killed).await
            }
            // Taken for one that awaits, and does not: no harm was done, it is still open.
            Some(BAD_VALUE) if !self.names_limit => {
                check_in(server);
                self.request.cursor_id.inspect(|id| at.member.cursors.closed(*id));
                let plain = Request { opens_awaiting_cursor: false, ..self.request };
                match self.round(client, Lane::Relief, None).await? {
                    Some((server, reply)) => exchange::deliver(at, client, server, &plain, reply, true).await,
                    None => Ok(()),
                }
            }
            _ => exchange::deliver(at, client, server, &self.request, reply, true).await,
        }
    }

    /// Whether the server is still the process that it was when this began: a restart ends all cursors, too, and what
    /// was open then is resumed.
    async fn is_same_process(&self, mut server: Checkout) -> bool {
        let hello = own_command::hello();
        let asking = own_command::run(&self.at.shared, &mut server, &hello);
        let Ok(Ok(hello)) = timeout(HELLO_WITHIN, asking).await else { return false };
        check_in(server);
        let version = find(&hello, "topologyVersion").and_then(|version| version.value.as_document());
        version.and_then(TopologyVersion::parse).map(|version| version.process_id) == self.process
    }

    /// Asks the server once, letting it wait for `wait`, or as long as the client's own request says. `None`: the
    /// client was told that there is no connection.
    async fn round(
        &self,
        client: &mut Client,
        lane: Lane,
        wait: Option<Duration>,
    ) -> Result<Option<(Checkout, Reply)>, End> {
        let at = self.at;
        at.member.metrics.pool.sliced_rounds.inc();
        let Some(mut server) = acquire(at, client, &self.request, lane).await? else {
            return Ok(None);
        };
        let mut message = match wait {
            Some(wait) => with_max_time(&self.whole, self.request.body_at, wait)
                .map_err(|error| End::because(EndReason::ProtocolError, error.to_string()))?,
            None => self.whole.clone(),
        };
        let id = server.next_request_id();
        Header::patch_request_id(&mut message, id);
        client.entry.enter(Phase::AwaitingData);
        if let Err(error) = server.write_all(&message).await {
            return Err(exchange::server_failed(at, client, server, &self.request, &error.into()));
        }
        match receive(client, &mut server, id, None).await {
            Ok(Arrival::Reply(reply)) => Ok(Some((server, reply))),
            Ok(Arrival::ClientGone(partial)) => {
                orphan::adopt(at, server, &self.request, id, partial);
                Err(exchange::abandoned(at, &self.request))
            }
            Err(error) => Err(exchange::server_failed(at, client, server, &self.request, &error)),
        }
    }

    /// Waits for its turn to ask, for as long as a request waits for a connection, and if it `has_asked` before no longer
    /// than its client does. Ends as well if the client leaves.
    async fn turn(&self, client: &mut Client, has_asked: bool) -> Result<Option<SemaphorePermit<'_>>, End> {
        let patience = Instant::now() + self.rounds.patience;
        let until = if has_asked { self.until.min(patience) } else { patience };
        client.entry.enter(Phase::AwaitingData);
        tokio::select! {
            biased;
            permit = self.rounds.turns.acquire() => Ok(permit.ok()),
            () = std::future::poll_fn(|cx| client.poll_gone(cx)) => Err(exchange::abandoned(self.at, &self.request)),
            () = tokio::time::sleep_until(until) => Ok(None),
        }
    }

    /// The client's time is up. What the last round said is still true as far as the client can tell.
    async fn nothing_came(&self, client: &mut Client, reply: &mut [u8]) -> Result<(), End> {
        Header::patch_response_to(reply, self.request.header.request_id);
        client.entry.enter(Phase::Writing);
        client.answer(reply).await
    }

    /// The member was never asked, as others stood before this one for too long.
    async fn no_turn_came(&self, client: &mut Client, waited: Duration) -> Result<(), End> {
        let (max, waiting) = (self.rounds.pool_max, self.rounds.sliced.count());
        let error = CheckoutError::WaitTimeout { waited, max, out: 0, connecting: 0, waiting };
        self.at.member.metrics.pool.wait_timeouts.inc();
        self.at.member.metrics.traffic.operations.inc((self.request.command, Outcome::Refused));
        refuse::overloaded(client, &self.request, &error, false).await
    }

    /// Waits between two rounds, or until the client leaves.
    async fn pause(&self, client: &mut Client) -> Result<(), End> {
        let crowd = u32::try_from(self.rounds.sliced.count()).unwrap_or(u32::MAX);
        let pause = ROUND_MIN.max(ROUND_EACH.saturating_mul(crowd));
        client.entry.enter(Phase::AwaitingData);
        let wake = self.until.min(Instant::now() + pause);
        tokio::select! {
            biased;
            () = std::future::poll_fn(|cx| client.poll_gone(cx)) => Err(exchange::abandoned(self.at, &self.request)),
            () = tokio::time::sleep_until(wake) => Ok(()),
        }
    }
}

fn code(reply: &Reply) -> Option<i64> {
    let body = reply.verdict().body.filter(|_| !reply.verdict().ok)?;
    find(body, "code")?.value.as_i64()
}

/// Whether a reply says that the cursor is open and has nothing new.
fn is_nothing_yet(reply: &Reply) -> bool {
    let Some(body) = reply.verdict().body.filter(|_| reply.verdict().ok) else { return false };
    let Some(cursor) = find(body, "cursor").and_then(|element| element.value.as_document()) else {
        return false;
    };
    let open = find(cursor, "id").and_then(|id| id.value.as_i64()).is_some_and(|id| id != 0);
    let batch = find_path(cursor, &["nextBatch"]).and_then(|batch| batch.as_document());
    open && batch.is_some_and(|batch| elements(batch).next().is_none())
}

/// The same getMore with another `maxTimeMS`.
fn with_max_time(message: &[u8], body_at: usize, wait: Duration) -> Result<Vec<u8>, RewriteError> {
    let body = message.get(body_at..).unwrap_or_default();
    let mut edited = Vec::with_capacity(body.len() + 24);
    let mut writer = DocWriter::begin(&mut edited);
    let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    let mut placed = false;
    for element in elements(body).map_while(Result::ok) {
        match element.key == b"maxTimeMS" {
            true if !placed => {
                writer.i64(b"maxTimeMS", millis);
                placed = true;
            }
            true => {}
            false => {
                writer.raw(&element);
            }
        }
    }
    if !placed {
        writer.i64(b"maxTimeMS", millis);
    }
    writer.finish();
    let mut out = Vec::with_capacity(message.len() + 24);
    reframe(message, Side::Client, &edited, &mut out).map(|()| out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsg, OpMsgBuilder};
    use bson::doc;

    #[test]
    fn the_wait_is_replaced_or_added_and_the_rest_stays() {
        for (before, after) in [
            (
                doc! { "getMore": 5i64, "maxTimeMS": 900, "$db": "x" },
                doc! { "getMore": 5i64, "maxTimeMS": 1i64, "$db": "x" },
            ),
            (doc! { "getMore": 5i64, "$db": "x" }, doc! { "getMore": 5i64, "$db": "x", "maxTimeMS": 1i64 }),
        ] {
            let body = bson::serialize_to_vec(&before).unwrap();
            let message = OpMsgBuilder::message(9, 0, MsgFlags(0), &body);
            let edited = with_max_time(&message, 21, Duration::from_millis(1)).unwrap();
            assert_eq!(
                OpMsg::parse(&edited, Side::Client).unwrap().body,
                bson::serialize_to_vec(&after).unwrap()
            );
        }
    }
}
