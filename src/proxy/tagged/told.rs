//! From the reply to the client: what it reveals is published first, and a cursor that it opens is noted.

use std::sync::Arc;

use super::Way;
use super::planned::{Act, Plan};
use crate::config::Level;
use crate::consistency::Times;
use crate::doc::{cut_element, front_elements};
use crate::metrics::{CollectionRead, Observed, TaggedKind, TaggedLevel};
use crate::pool::CloseReason;
use crate::proxy::client::Client;
use crate::proxy::context::{Checkout, Listener};
use crate::proxy::end::End;
use crate::proxy::exchange;
use crate::proxy::joins::Opened;
use crate::proxy::notice::cursor_id;
use crate::proxy::published;
use crate::proxy::refuse;
use crate::proxy::registry::Phase;
use crate::proxy::reply::{Reply, ReplyError};
use crate::proxy::request::Request;
use crate::proxy::stream::{fill, stream};
use crate::proxy::turn;
use crate::proxy::unasked;
use crate::wire::{Header, Opcode, read_i64};

/// Where the body of an OP_MSG reply begins: header, flag bits, kind.
const BODY_AT: usize = 21;

/// What is kept back of a reply that does not fit its buffer until the floor was raised: what stands behind its
/// documents has some hundred bytes.
const TAIL_MAX: usize = 4096;

/// A request whose reply has come, and which may not be told before its time is known.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'a> {
    pub at: &'a Listener,
    /// The client's own listener.
    pub home: &'a Listener,
    pub request: &'a Request,
    pub plan: &'a Plan,
    pub way: Way,
}

impl Exchange<'_> {
    /// Passes a reply on, once its times are known and the floor is raised to them.
    pub(super) async fn deliver(
        self,
        client: &mut Client,
        mut server: Checkout,
        mut reply: Reply,
    ) -> Result<(), End> {
        let Exchange { at, request, .. } = self;
        if !reply.is_whole() {
            if let Some(tail_at) = tail_at(&reply) {
                return self.deliver_large(client, server, reply, tail_at).await;
            }
            let Some(memory) = at.shared.reply_memory.try_take(reply.header.length) else {
                server.close(CloseReason::Error);
                let length = reply.header.length;
                return Err(End::server(format!(
                    "{}: no memory for a reply of {length} bytes",
                    at.member.name
                )));
            };
            client.holds(memory);
            if let Err(error) = read_whole(&mut server, &mut reply).await {
                return Err(exchange::server_failed(at, client, server, request, &error));
            }
        }
        if let Some(error) = published::above_all(&reply, self.way.floor).filter(|_| request.has_reply()) {
            tracing::error!(member = %at.member.name, %error, "a floor above every member");
            exchange::note_outcome(at, client, request, &reply, server.generation());
            exchange::give_back(server, &reply);
            client.reuse(reply.buffer);
            return refuse::in_place(client, request, &error).await;
        }
        let revealed = self.note(Times::read(reply.verdict().body.unwrap_or_default()), cursor_id(&reply));
        if !request.has_reply() {
            // Nobody is told, but whoever asks behind it is.
            let told = self.tell(revealed).await;
            unasked::keep(at, client, server, request, reply).await?;
            return told.map_err(|error| End::server(error.to_string()));
        }
        exchange::note_outcome(at, client, request, &reply, server.generation());
        if !request.has_checksum() {
            Header::patch_response_to(reply.buffer.unread_mut(), request.header.request_id);
        }
        exchange::count_reply(at, &reply);
        exchange::give_back(server, &reply);
        if let Err(error) = self.tell(revealed).await {
            client.reuse(reply.buffer);
            return refuse::in_place(client, request, &published::untold(request, &error)).await;
        }
        // A checksum covers the reply.
        if self.is_snapshot() && !self.is_asked() && !request.has_checksum() {
            published::strip(&mut reply);
        }
        client.entry.enter(Phase::Writing);
        turn::to_send().await;
        client.write(reply.bytes()).await?;
        exchange::passed_on(at, client, request, reply);
        Ok(())
    }

    /// Whether the reply shows one published time, and nothing later.
    fn is_snapshot(self) -> bool {
        let continued = self.plan.continues.as_ref().is_some_and(|opened| opened.is_snapshot);
        self.way.is_snapshot || (self.plan.act == Act::GetMore && continued)
    }

    /// Whether its client asked for that.
    fn is_asked(self) -> bool {
        self.way.is_asked || self.plan.continues.as_ref().is_some_and(|opened| opened.is_asked)
    }

    async fn tell(self, revealed: Option<u64>) -> Result<(), crate::consistency::Unpublished> {
        match revealed {
            Some(time) => published::tell(self.at, &self.plan.touched, time).await,
            None => Ok(()),
        }
    }

    /// Passes a reply that does not fit its buffer on as it comes, but for the end: a client is told nothing before it
    /// has all of a message. One that wants none gets none.
    async fn deliver_large(
        self,
        client: &mut Client,
        mut server: Checkout,
        mut reply: Reply,
        tail_at: usize,
    ) -> Result<(), End> {
        let Exchange { at, request, .. } = self;
        exchange::note_outcome(at, client, request, &reply, server.generation());
        // Little stands before the documents: what matters there is copied, as the buffer goes on.
        let front: Vec<u8> = front_document(reply.bytes().get(BODY_AT..).unwrap_or_default());
        if !request.has_checksum() {
            Header::patch_response_to(reply.buffer.unread_mut(), request.header.request_id);
        }
        if request.has_reply() {
            exchange::count_reply(at, &reply);
            client.entry.enter(Phase::Writing);
            stream(at, client, &mut server, &mut reply, TAIL_MAX).await?;
        } else if let Err(error) = skip(&mut server, &mut reply).await {
            return Err(exchange::server_failed(at, client, server, request, &error));
        }
        let last = reply.buffer.unread();
        let (documents, behind) =
            last.split_at(last.len().saturating_sub(reply.header.length - tail_at).min(last.len()));
        let tail = as_document(behind);
        let revealed = self.note(Times::read(&front).and(Times::read(&tail)), id_before(documents));
        exchange::check_in(server);
        self.tell(revealed).await.map_err(|error| published::broken_off(&error))?;
        if request.has_reply() {
            turn::to_send().await;
            client.write(reply.buffer.unread()).await?;
        }
        exchange::passed_on(at, client, request, reply);
        Ok(())
    }

    /// Whether a read missed what somebody had been told of. A member answers with the time of what it has applied.
    fn observe(self, times: &Times<'_>) {
        let Exchange { at, plan, .. } = self;
        let floors = &at.member.set.floors;
        if plan.act == Act::ObserveWrite {
            // Before the floor, which a request may ask to be read at.
            times.cluster_time.iter().for_each(|clock| floors.heard(clock));
            times.revealed(true).iter().for_each(|time| floors.note(&plan.touched, *time));
            return;
        }
        let Some(applied) = times.operation.filter(|_| !times.failed) else { return };
        let is_behind = applied < floors.floor(&plan.touched);
        let outcome = if is_behind { Observed::Behind } else { Observed::Current };
        at.member.metrics.traffic.observed.inc(outcome);
        plan.touched.count(if is_behind { CollectionRead::Behind } else { CollectionRead::Current });
    }

    /// Takes note of what the reply reveals: the time that has to be told of before it is passed on.
    fn note(self, times: Times<'_>, cursor: Option<i64>) -> Option<u64> {
        let Exchange { at, home, request, plan, .. } = self;
        let (kind, revealed) = match plan.act {
            Act::Start | Act::Continue | Act::Refuse(_) => return None,
            Act::ObserveRead | Act::ObserveWrite => {
                self.observe(&times);
                return None;
            }
            Act::Commit => (TaggedKind::Transaction, times.revealed(true).filter(|_| !times.failed)),
            Act::Write => (TaggedKind::Write, times.revealed(true)),
            Act::Read | Act::GetMore => (TaggedKind::Read, times.revealed(false)),
        };
        let level = match plan.touched.level() {
            Level::Default | Level::Observe | Level::Causal => TaggedLevel::Causal,
            Level::Sequential => TaggedLevel::Sequential,
            Level::Linearizable => TaggedLevel::Linearizable,
        };
        at.member.metrics.traffic.tagged.inc((kind, level));
        let is_away = !std::ptr::eq(at, home);
        if plan.act == Act::Read && !times.failed {
            plan.touched.count(if is_away { CollectionRead::PassedOver } else { CollectionRead::Current });
        }
        let is_known = plan.joins || self.is_snapshot() || is_away;
        let opens_cursor = matches!(request.command.name(), "find" | "aggregate");
        match (cursor, request.cursor_id) {
            (Some(0), Some(id)) => home.member.joins.closed(id),
            (id, None) if is_known && !times.failed && opens_cursor => {
                let elsewhere = is_away.then(|| Arc::downgrade(&at.member));
                let (is_snapshot, is_asked) = (self.is_snapshot(), self.is_asked());
                let opened = Opened { touched: plan.touched.clone(), is_snapshot, is_asked, elsewhere };
                home.member.joins.opened(id, opened);
            }
            _ => {}
        }
        let time = revealed.filter(|_| !self.is_snapshot())?;
        // Before the floor: whoever reads the floor finds a clock that is at least as late.
        times.cluster_time.iter().for_each(|clock| at.member.set.floors.heard(clock));
        Some(time)
    }
}

/// Where the fields behind the documents begin in a reply of which the front is here: they are few. What is cut by the
/// buffer's end belongs to them if it fits, as it may be one of them.
fn tail_at(reply: &Reply) -> Option<usize> {
    let cut = cut_element(reply.bytes().get(BODY_AT..)?);
    let fits = |at: usize| reply.header.length.checked_sub(at).is_some_and(|length| length <= TAIL_MAX);
    let from_start = Some(BODY_AT + cut.start).filter(|at| fits(*at));
    let from_end = || cut.end.filter(|(key, _)| !Times::reads(key)).map(|(_, end)| BODY_AT + end);
    let tail_at = from_start.or_else(from_end)?;
    (fits(tail_at) && reply.header.opcode == Opcode::Msg).then_some(tail_at)
}

/// The id of a cursor whose document ends with these bytes: `firstBatch` or `nextBatch` comes first, then `id` and `ns`
/// (6.0). The last that looks like it is it, as what clients have in their documents stands before.
fn id_before(end_of_cursor: &[u8]) -> Option<i64> {
    const ID: &[u8] = b"\x12id\0";
    const NS: &[u8] = b"\x02ns\0";
    let found = end_of_cursor.windows(ID.len() + 8 + NS.len()).rev();
    let mut ids = found.filter(|window| window.starts_with(ID) && window.ends_with(NS));
    ids.next().and_then(|window| read_i64(window, ID.len()))
}

/// Reads a reply that nobody wants up to its last part, which is left in its buffer.
async fn skip(server: &mut Checkout, reply: &mut Reply) -> Result<(), ReplyError> {
    let mut left = reply.header.length.saturating_sub(reply.buffer.len());
    while left > 0 {
        let passed = reply.buffer.len().saturating_sub(TAIL_MAX);
        reply.buffer.consume(passed);
        reply.buffer.compact();
        let before = reply.buffer.len();
        fill(server, &mut reply.buffer, left).await?;
        left -= reply.buffer.len() - before;
    }
    Ok(())
}

/// The fields that stand whole at the front of a document, as one.
fn front_document(front: &[u8]) -> Vec<u8> {
    let end = front_elements(front).map_while(Result::ok).last().map_or(4, |last| last.at + last.raw.len());
    let mut fields = front.get(4..end).unwrap_or_default().to_vec();
    fields.push(0);
    as_document(&fields)
}

/// Fields and the end mark behind them, as a document.
fn as_document(fields: &[u8]) -> Vec<u8> {
    let length = fields.len() as i32 + 4;
    [length.to_le_bytes().as_slice(), fields].concat()
}

/// For a reply whose times stand nowhere near its end, which no command is known to have.
async fn read_whole(server: &mut Checkout, reply: &mut Reply) -> Result<(), ReplyError> {
    reply.buffer.reserve(reply.header.length);
    while !reply.is_whole() {
        let left = reply.header.length - reply.buffer.len();
        fill(server, &mut reply.buffer, left).await?;
    }
    Ok(())
}
