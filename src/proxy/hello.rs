//! The hello service: every hello of a client is answered here, from what the monitors know.
//!
//! A client's hello never reaches a pooled connection. The answer is the newest copy of the member's own hello, with
//! names, connectionId and the like put in place; it is given only while that copy is fresh, and never from an older
//! copy than some client has seen. When the monitor has lost the member the client's connection is closed, as it
//! would be if the member itself had gone.
//!
//! The first hello on a connection is answered from a copy that was asked for just now. A process that was killed greets
//! nobody while its sockets close, which takes a while; a driver whose connection was made in that time may send its
//! first write on it after it has heard of the loss, without a number to retry it by.

use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};

use tokio::sync::futures::Notified;
use tokio::time::{Duration, Instant, Sleep, sleep_until};

use super::client::Client;
use super::context::{Counted, Listener};
use super::end::End;
use super::fail_points;
use super::refuse;
use super::registry::Phase;
use super::request::{Request, unwrapped};
use super::tagged;
use crate::doc::{find, find_path};
use crate::metrics::EndReason;
use crate::rewrite::{
    CommandError, HelloAsked, HelloRequest, HelloTemplate, RetryScope, check_database, counter_ahead,
    shutting_down,
};
use crate::topology::{GroupNames, HelloCopy, MemberKind, TopologyVersion};
use crate::wire::{MsgFlags, OpMsgBuilder, OpQuery, Opcode, Side, write_op_reply};

/// How long an answer may wait for the monitor, when a client has seen something newer than the copy: the monitor
/// was asked at once, so more means that the member does not answer.
const MONITOR_WITHIN: Duration = Duration::from_secs(2);

/// How much older than a connection's first hello the answer to the monitor's question may be that it is answered from:
/// connections made one after the other need not each wait for a question of their own.
const GREETING_AGE: Duration = Duration::from_millis(20);

/// Below this a server hop's round-trip time is lost in the client's own; above it, the answer is held for as long,
/// so that drivers still see which member is near.
const HELD_ABOVE: Duration = Duration::from_millis(1);

/// A client that waits for a change for seconds is answered up to this much later, together with others: thousands of
/// drivers that each wait for ten seconds are then no reason to wake up a thousand times a second.
const TOGETHER: Duration = Duration::from_millis(50);

/// What is waited for less long is answered to the millisecond.
const TOGETHER_FROM: Duration = Duration::from_secs(5);

/// Bytes of a hello that is a little longer than most are: below what malloc keeps at hand.
const REPLY_EXPECTED: usize = 1_000;

/// How often a copy is looked at while the monitor is being waited for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One listener's newest rendered hello, and what it was rendered from.
#[derive(Debug)]
pub struct Rendered {
    copy: Arc<HelloCopy>,
    names: Arc<GroupNames>,
    template: HelloTemplate,
}

/// The reply to a hello that waits for nothing, of a client that has greeted: what thousands of idle drivers send.
/// `None`: it takes more than that.
fn ready(at: &Listener, client: &mut Client, request: &Request) -> Option<Vec<u8>> {
    if at.member.fail_points.is_armed()
        || !client.is_greeted
        || !request.has_reply()
        || at.shared.registry.is_draining()
    {
        return None;
    }
    let read = read(client, request, &mut true).ok()?;
    let copy = at.member.monitored.hello.noted_or_newer()?;
    if read.awaits.is_some() || read.application.is_some() || copy.round_trip > HELD_ABOVE {
        return None;
    }
    let (id, response_to) = (client.next_reply_id(), request.header.request_id);
    let reply = frame(at, request, id, response_to, &Ok(copy), &read.asked, false).ok()?;
    at.member.metrics.traffic.local_replies.inc(request.command);
    client.consume(request.header.length);
    client.entry.enter(Phase::Writing);
    Some(reply)
}

/// Answers one hello; an exhaust one until the client leaves.
pub async fn answer(at: &Listener, client: &mut Client, request: &Request) -> Result<(), End> {
    if let Some(reply) = ready(at, client, request) {
        return client.answer(&reply).await;
    }
    at.member.metrics.traffic.local_replies.inc(request.command);
    let mut settled = client.has_metadata;
    let greeting =
        (!client.is_greeted).then(|| request.received.checked_sub(GREETING_AGE).unwrap_or(request.received));
    let read = read(client, request, &mut settled);
    client.has_metadata = settled;
    let Read { asked, awaits, application } = match read {
        Ok(read) => read,
        Err(error) => return refuse::with(client, request, &error).await,
    };
    let name = request.command.name();
    let failed = fail_points::evaluate(at, client, name, application.as_deref()).await?;
    if let Some(application) = application {
        client.set_application(application);
    }
    if let Some(error) = failed {
        return refuse::with(client, request, &error).await;
    }
    client.consume(request.header.length);
    if !request.has_reply() {
        return Ok(());
    }
    let streams = request.header.opcode == Opcode::Msg && MsgFlags(request.flags).exhaust_allowed();
    // Kept from one answer of a stream to the next: to register anew for each is most of what a push would cost.
    let changed = pin!(at.member.monitored.hello.changed());
    let over = pin!(sleep_until(request.received));
    let mut waiting = Waiting { at, awaits, greeting, changed, over };
    let mut response_to = request.header.request_id;
    loop {
        let outcome = waiting.next(client).await?;
        let known = outcome.as_ref().ok().and_then(|copy| copy.topology_version());
        // Without a topologyVersion there is nothing to wait on.
        let more = streams && waiting.awaits.is_some() && known.is_some();
        let id = client.next_reply_id();
        let out = frame(at, request, id, response_to, &outcome, &asked, more)?;
        client.is_greeted |= outcome.is_ok();
        client.entry.enter(Phase::Writing);
        client.answer(&out).await?;
        // A client that asks not to be let wait would otherwise have this thread to itself for as long as it reads.
        tokio::task::coop::consume_budget().await;
        match (more, known, waiting.awaits) {
            (true, Some(version), Some((_, wait))) => waiting.awaits = Some((version, wait)),
            _ => return Ok(()),
        }
        response_to = id;
        // On a server each reply of a stream answers a request of its own, which may fail.
        if let Some(error) = fail_points::evaluate(at, client, name, None).await? {
            let out = frame(at, request, client.next_reply_id(), response_to, &Err(error), &asked, false)?;
            return client.answer(&out).await;
        }
    }
}

type Awaits = Option<(TopologyVersion, Duration)>;

/// What a hello asks for.
struct Read {
    asked: HelloAsked,
    awaits: Awaits,
    /// The name of the client's application, if this hello brought it.
    application: Option<String>,
}

fn read(client: &Client, request: &Request, settled: &mut bool) -> Result<Read, CommandError> {
    let message = client.message().get(..request.header.length).unwrap_or_default();
    let body = message.get(request.body_at..).unwrap_or_default();
    let body = if request.header.opcode == Opcode::Query { unwrapped(body) } else { body };
    check_database(match request.header.opcode {
        Opcode::Query => OpQuery::parse(message, Side::Client).ok().map(|query| query.database()),
        _ => find(body, "$db").and_then(|name| name.value.as_string_bytes()),
    })?;
    let exhaust = request.header.opcode == Opcode::Msg && MsgFlags(request.flags).exhaust_allowed();
    let hello = HelloRequest::read(body, exhaust, settled)?;
    let asked =
        HelloAsked { spelling: hello.spelling, hello_ok: hello.hello_ok, connection_id: client.entry.id };
    let name = hello.metadata.and_then(|metadata| find_path(metadata, &["application", "name"]));
    let application = name.and_then(|name| name.as_str()).map(str::to_owned);
    Ok(Read { asked, awaits: hello.awaits, application })
}

fn frame(
    at: &Listener,
    request: &Request,
    id: i32,
    response_to: i32,
    outcome: &Result<Arc<HelloCopy>, CommandError>,
    asked: &HelloAsked,
    more: bool,
) -> Result<Vec<u8>, End> {
    let mut out = Vec::with_capacity(REPLY_EXPECTED);
    let write = |out: &mut Vec<u8>| match outcome {
        Ok(copy) => write_hello(at, copy, asked, out),
        Err(error) => {
            error.write_document(out);
            Ok(())
        }
    };
    match request.header.opcode {
        Opcode::Msg => {
            let more = if more { MsgFlags::MORE_TO_COME } else { 0 };
            let flags = MsgFlags(request.flags & MsgFlags::CHECKSUM_PRESENT | more);
            let builder = OpMsgBuilder::begin(&mut out, id, response_to, flags);
            write(&mut out)?;
            builder.finish(&mut out);
        }
        _ => {
            let mut document = Vec::with_capacity(REPLY_EXPECTED);
            write(&mut document)?;
            write_op_reply(&mut out, id, response_to, &document);
        }
    }
    Ok(out)
}

/// Writes the client's hello from `copy`. Names are put in place once for each copy, not for each client.
fn write_hello(
    at: &Listener,
    copy: &Arc<HelloCopy>,
    asked: &HelloAsked,
    out: &mut Vec<u8>,
) -> Result<(), End> {
    let names = at.names.load_full();
    let rendered = at.hello.load_full();
    let current =
        rendered.filter(|rendered| Arc::ptr_eq(&rendered.copy, copy) && Arc::ptr_eq(&rendered.names, &names));
    let rendered = match current {
        Some(rendered) => rendered,
        None => {
            let lowered =
                (!at.member.set.tags.is_empty_for_ever()).then(|| tagged::with_room(&copy.document));
            let template = HelloTemplate::new(lowered.as_ref().unwrap_or(&copy.document), &names)
                .map_err(|error| End::server(format!("hello of {}: {error}", at.member.name)))?;
            let rendered = Arc::new(Rendered { copy: copy.clone(), names, template });
            at.hello.store(Some(rendered.clone()));
            rendered
        }
    };
    rendered.template.write(asked, out);
    Ok(())
}

/// A hello on its way to being answered.
struct Waiting<'a, 'p> {
    at: &'a Listener,
    awaits: Awaits,
    /// If it is its connection's first: since when the copy must have been asked for.
    greeting: Option<Instant>,
    /// The member's topologyVersion has changed, or something else has happened to all who wait for that.
    changed: Pin<&'p mut Notified<'a>>,
    /// The client's own time is over.
    over: Pin<&'p mut Sleep>,
}

impl Waiting<'_, '_> {
    /// The copy to answer with, or an error to answer; the end of the session when the member is lost.
    async fn next(&mut self, client: &mut Client) -> Result<Result<Arc<HelloCopy>, CommandError>, End> {
        client.entry.enter(Phase::Queueing);
        if self.at.shared.registry.is_draining() {
            return Ok(Err(shutting_down(RetryScope::Plain)));
        }
        let asked = Instant::now();
        let greeted = match self.greeting.take() {
            Some(since) => match self.greet(client, since).await? {
                Ok(copy) => Some(copy),
                Err(error) => return Ok(Err(error)),
            },
            None => None,
        };
        if let Some((known, wait)) = self.awaits {
            return self.change(client, known, wait).await;
        }
        let copy = match greeted {
            Some(copy) => copy,
            None => self.copy().await?,
        };
        if copy.round_trip > HELD_ABOVE {
            tokio::time::sleep_until(asked + copy.round_trip).await;
        }
        Ok(Ok(copy))
    }

    async fn copy(&self) -> Result<Arc<HelloCopy>, End> {
        let copy = self.at.member.monitored.hello.at_least_noted(Instant::now() + MONITOR_WITHIN).await;
        copy.ok_or_else(|| lost(self.at))
    }

    /// What the member answers now, to a connection's first hello.
    async fn greet(
        &self,
        client: &mut Client,
        since: Instant,
    ) -> Result<Result<Arc<HelloCopy>, CommandError>, End> {
        let mut draining = self.at.shared.registry.draining();
        tokio::select! {
            biased;
            copy = self.at.member.monitored.hello.asked_since(since) => copy.map(Ok).ok_or_else(|| lost(self.at)),
            // For as long as the member says nothing, clients come, lose patience, and come again.
            () = std::future::poll_fn(|cx| client.poll_gone(cx)) => Err(End::clean()),
            _ = draining.wait_for(|draining| *draining) => Ok(Err(shutting_down(RetryScope::Plain))),
        }
    }

    /// Waits until the member's topologyVersion is another than `known`, or `wait` is over.
    async fn change(
        &mut self,
        client: &mut Client,
        known: TopologyVersion,
        wait: Duration,
    ) -> Result<Result<Arc<HelloCopy>, CommandError>, End> {
        let until = together(Instant::now() + wait, wait);
        self.over.as_mut().reset(until);
        let _counted = Counted::enter(&self.at.member.metrics.clients.hellos_waiting);
        loop {
            if self.at.shared.registry.is_draining() {
                return Ok(Err(shutting_down(RetryScope::Plain)));
            }
            let copy = self.copy().await?;
            match copy.topology_version() {
                Some(ours) if ours == known && Instant::now() < until => {}
                Some(ours) if ours.process_id == known.process_id && ours.counter < known.counter => {
                    return self.catch_up(known).await;
                }
                _ => return Ok(Ok(copy)),
            }
            tokio::select! {
                biased;
                () = std::future::poll_fn(|cx| client.poll_gone(cx)) => return Err(End::clean()),
                () = self.changed.as_mut() => self.changed.set(self.at.member.monitored.hello.changed()),
                () = self.over.as_mut() => {}
            }
        }
    }

    /// The client knows more than the copy: through another torana, or before a restart of this one. The monitor is
    /// asked; only if the member itself is behind the client is that an error, as it is on the member.
    async fn catch_up(&self, known: TopologyVersion) -> Result<Result<Arc<HelloCopy>, CommandError>, End> {
        let asked = Instant::now();
        self.at.member.monitored.request_check();
        loop {
            let copy = self.copy().await?;
            let ours = copy.topology_version();
            let behind =
                ours.filter(|ours| ours.process_id == known.process_id && ours.counter < known.counter);
            match behind {
                None => return Ok(Ok(copy)),
                Some(ours) if copy.received > asked => {
                    let standalone = copy.description.kind == MemberKind::Standalone;
                    return Ok(Err(counter_ahead(known.counter, ours.counter, standalone)));
                }
                Some(_) if asked.elapsed() > MONITOR_WITHIN => return Err(lost(self.at)),
                Some(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }
}

/// When a wait of `wait` that ends at `until` is over, so that it ends along with others.
fn together(until: Instant, wait: Duration) -> Instant {
    // One beat for the whole process, as its threads have one clock.
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    if wait < TOGETHER_FROM {
        return until;
    }
    let beats = until.saturating_duration_since(*START).as_millis() / TOGETHER.as_millis() + 1;
    *START + TOGETHER.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX))
}

fn lost(at: &Listener) -> End {
    End::because(EndReason::MemberLost, format!("{} does not answer its monitor", at.member.name))
}
