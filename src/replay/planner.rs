//! From records to jobs. A request is planned when its record is read, and handed on when its recorded reply is known, so
//! that whoever sends it knows what it is to be compared with; the order stays that of the requests. What is known at
//! its record decides on what it waits for: only what the capture's clients knew then.
//!
//! Memory is bounded: requests whose replies are far behind in the capture are handed on without them.

use std::collections::VecDeque;

use super::hash::Map;
use super::job::{ConnectionId, CursorUse, Item, Job, Opening, Recorded};
use super::order::Order;
use super::plan::{self, Rules};
use super::races::Races;
use super::recent::Recent;
use super::scorecard::{Scorecard, Skip};
use super::touch::{Resources, Touched, killed_cursors};
use super::transactions::Transactions;
use super::view::View;
use crate::capture::{Form, Kind, Opened, Record, Reply, Request, Role};
use crate::command;

/// Bytes of requests, and of the replies that came for them, that are held back for one whose reply is not read yet.
const HELD_BYTES_MAX: usize = 64 << 20;

/// Requests that are held back.
const HELD_MAX: usize = 200_000;

/// Open cursors that are remembered.
const CURSORS_MAX: usize = 200_000;

/// Ids that one reply may add to what its job touched.
const UPSERTED_MAX: usize = 1000;

/// Plans a capture.
#[derive(Debug)]
pub struct Planner {
    rules: Rules,
    lap: u32,
    /// What is added to the times of this pass, and where in the capture they begin.
    offset: u64,
    from: u64,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// The number of the first job in `held`.
    first_held: u64,
    connections: Map<u64, Connection>,
    order: Order,
    races: Races,
    resources: Resources,
    cursors: Recent<(u32, i64), Result<(), Skip>>,
    transactions: Transactions,
    card: Scorecard,
    done_below: u64,
    secondaries: u64,
}

/// A job that waits for its recorded reply to be read.
#[derive(Debug)]
struct Held {
    job: Box<Job>,
    is_complete: bool,
    is_last: bool,
}

/// A captured connection.
#[derive(Debug)]
struct Connection {
    role: Role,
    member: Box<str>,
    is_announced: bool,
    last_job: Option<u64>,
    outstanding: Option<Outstanding>,
}

/// A request whose reply is not read yet.
#[derive(Debug)]
struct Outstanding {
    request: u32,
    time: u64,
    /// The job that it became, or why it became none.
    job: Result<u64, Skip>,
    touched: Touched,
    waited: Vec<u64>,
    /// Database and collection, if the reply may name documents that the server made.
    names: Option<(Vec<u8>, Vec<u8>)>,
}

impl Outstanding {
    fn left_out(request: u32, time: u64, why: Skip) -> Outstanding {
        let (touched, waited) = (Touched::default(), Vec::new());
        Outstanding { request, time, job: Err(why), touched, waited, names: None }
    }
}

/// What is known of a request that will be sent.
struct Planned<'a> {
    view: View<'a>,
    is_write: bool,
    cursors: CursorUse,
    touched: Touched,
}

impl Planner {
    /// For a capture whose records begin at time `from`.
    pub fn new(rules: Rules, from: u64) -> Planner {
        Planner {
            rules,
            lap: 0,
            offset: 0,
            from,
            held: VecDeque::new(),
            held_bytes: 0,
            first_held: 0,
            connections: Map::default(),
            order: Order::default(),
            races: Races::default(),
            resources: Resources::default(),
            cursors: Recent::new(CURSORS_MAX),
            transactions: Transactions::default(),
            card: Scorecard::default(),
            done_below: 0,
            secondaries: 0,
        }
    }

    /// The capture begins anew; a pass takes so many nanoseconds.
    pub fn next_lap(&mut self, length: u64, out: &mut Vec<Item>) {
        self.finish(out);
        self.lap += 1;
        self.offset = self.offset.saturating_add(length);
    }

    /// What was counted so far: requests, and those that were left out.
    pub fn card(&self) -> &Scorecard {
        &self.card
    }

    /// Connections to secondaries that have jobs.
    pub fn secondaries(&self) -> u64 {
        self.secondaries
    }

    /// All jobs below this one are done: nobody has to wait for them.
    pub fn done_below(&mut self, job: u64) {
        self.done_below = job;
    }

    /// The time of a record, since the first of the first pass.
    pub fn schedule_time(&self, time: u64) -> u64 {
        self.offset.saturating_add(time.saturating_sub(self.from))
    }

    /// Takes the next record. What may be handed on then goes behind `out`.
    pub fn record(&mut self, record: &Record<'_>, out: &mut Vec<Item>) {
        match &record.kind {
            Kind::Opened(opened) => self.opened(record.connection, opened),
            Kind::Request(request) => self.request(record.connection, record.time, request, out),
            Kind::Reply(reply) => self.reply(record.connection, record.time, reply),
            Kind::Closed(_) | Kind::Lost(_) => self.closed(record.connection, out),
            Kind::Other(_) => {}
        }
        self.hand_on(out);
    }

    /// No more records: what is held back is handed on as it is.
    pub fn finish(&mut self, out: &mut Vec<Item>) {
        let open: Vec<u64> = self.connections.keys().copied().collect();
        open.into_iter().for_each(|connection| self.closed(connection, out));
        self.held.iter_mut().for_each(|held| held.is_complete = true);
        self.hand_on(out);
    }

    /// The replay has ended: what is held back is not sent.
    pub fn abandon(&mut self) {
        for _ in self.held.drain(..) {
            self.card.skip(Skip::Ended);
        }
    }

    fn id(&self, number: u64) -> ConnectionId {
        ConnectionId { lap: self.lap, number }
    }

    fn opened(&mut self, number: u64, opened: &Opened<'_>) {
        let (role, member) = (opened.role, opened.member.into());
        let connection = Connection { role, member, is_announced: false, last_job: None, outstanding: None };
        self.connections.entry(number).or_insert(connection);
    }

    fn closed(&mut self, number: u64, out: &mut Vec<Item>) {
        let Some(connection) = self.connections.remove(&number) else { return };
        if let Some(outstanding) = connection.outstanding {
            self.complete(&outstanding, None);
        }
        if !connection.is_announced {
            return;
        }
        let last = connection.last_job.and_then(|job| self.held_job(job));
        match last {
            Some(held) => held.is_last = true,
            None => out.push(Item::Close(self.id(number))),
        }
    }

    fn held_job(&mut self, job: u64) -> Option<&mut Held> {
        let place = job.checked_sub(self.first_held)?;
        self.held.get_mut(usize::try_from(place).ok()?)
    }

    fn request(&mut self, number: u64, time: u64, request: &Request<'_>, out: &mut Vec<Item>) {
        self.card.captured += 1;
        let unknown = || Connection {
            role: Role::Other,
            member: Box::default(),
            is_announced: false,
            last_job: None,
            outstanding: None,
        };
        let before = self.connections.entry(number).or_insert_with(unknown).outstanding.take();
        // Clients send one request at a time: the reply to the one before was lost, or was never given.
        if let Some(before) = before {
            self.complete(&before, None);
        }
        let outstanding = self.plan(number, time, request).unwrap_or_else(|why| {
            self.card.skip(why);
            Outstanding::left_out(request.number, time, why)
        });
        let id = self.id(number);
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if outstanding.job.is_ok() && !connection.is_announced {
            connection.is_announced = true;
            let (role, member) = (connection.role, connection.member.clone());
            self.secondaries += u64::from(role == Role::Secondary);
            out.push(Item::Open(Opening { connection: id, role, member }));
        }
        connection.outstanding = (!request.wants_none).then_some(outstanding);
    }

    /// Plans a request; if it is to be sent, its job is held back from here on.
    fn plan(&mut self, number: u64, time: u64, request: &Request<'_>) -> Result<Outstanding, Skip> {
        let id = self.id(number);
        let view = View::of(request.message);
        if request.withheld {
            let view = view.ok();
            let kind = view.map(|view| view.fields.command.kind());
            let is_login = kind == Some(command::Kind::Authentication);
            return Err(if is_login { Skip::Authentication } else { Skip::Withheld });
        }
        let view = view?;
        let is_write = plan::is_write(&view);
        let decided = plan::decide(&self.rules, id, &view);
        let decided = self.transactions.decide(self.lap, &view, is_write, self.rules.writes, decided);
        decided?;
        let cursors = self.cursors_of(&view)?;
        let touched = self.touched(&view, is_write, cursors);
        Ok(self.hold(id, time, request, Planned { view, is_write, cursors, touched }))
    }

    /// Holds a request back as a job, until its reply is known.
    fn hold(
        &mut self,
        id: ConnectionId,
        time: u64,
        request: &Request<'_>,
        planned: Planned<'_>,
    ) -> Outstanding {
        let Planned { view, is_write, cursors, touched } = planned;
        let mut waits_for = self.order.before(&touched, id);
        waits_for.retain(|job| *job >= self.done_below);
        let number = self.first_held + self.held.len() as u64;
        let may_upsert = matches!(view.name(), b"update" | b"findAndModify" | b"findandmodify");
        let job = Job {
            number,
            connection: id,
            time: self.schedule_time(time),
            message: request.message.to_vec(),
            waits_for: waits_for.clone(),
            cursors,
            session: session_of(&view),
            wants_none: request.wants_none,
            may_upsert,
            is_racing: false,
            recorded: None,
        };
        self.held_bytes += job.bytes();
        self.held.push_back(Held { job: Box::new(job), is_complete: request.wants_none, is_last: false });
        // Without a reply there is no end of it.
        if !request.wants_none {
            let changes = is_write && changes_documents(view.name());
            for racing in self.races.begin(&touched, number, changes) {
                if let Some(held) = self.held_job(racing) {
                    held.job.is_racing = true;
                }
            }
        }
        if let Some(connection) = self.connections.get_mut(&id.number) {
            connection.last_job = Some(number);
        }
        let names = may_upsert.then(|| (view.database.to_vec(), view.collection().to_vec()));
        let job = Ok(number);
        Outstanding { request: request.number, time, job, touched, waited: waits_for, names }
    }

    fn touched(&mut self, view: &View<'_>, is_write: bool, cursors: CursorUse) -> Touched {
        let mut touched = self.resources.of(view, is_write);
        if let Some(session) = session_of(view) {
            touched.writes([self.resources.session(self.lap, &session)]);
        }
        match cursors {
            CursorUse::None => {}
            CursorUse::More(id) => touched.writes([self.resources.cursor(self.lap, id)]),
            CursorUse::Kill => {
                let ids = killed_cursors(view).into_iter();
                touched.writes(ids.map(|id| self.resources.cursor(self.lap, id)));
            }
        }
        self.transactions.add_touched(self.lap, view, &mut touched);
        touched
    }

    /// The cursors that a request uses; the error says that none of them is open in the replay.
    fn cursors_of(&self, view: &View<'_>) -> Result<CursorUse, Skip> {
        let known = |id: i64| self.cursors.get(&(self.lap, id)).copied().unwrap_or(Err(Skip::Cursor));
        match view.fields.command.kind() {
            command::Kind::GetMore => {
                let id = view.fields.cursor_id.ok_or(Skip::Malformed)?;
                known(id).map(|()| CursorUse::More(id))
            }
            command::Kind::EndsCursors => {
                let ids = killed_cursors(view);
                let first_wrong = ids.iter().map(|id| known(*id)).find_map(Result::err);
                match ids.iter().any(|id| known(*id).is_ok()) {
                    true => Ok(CursorUse::Kill),
                    false => Err(first_wrong.unwrap_or(Skip::Cursor)),
                }
            }
            _ => Ok(CursorUse::None),
        }
    }

    fn reply(&mut self, number: u64, time: u64, reply: &Reply<'_>) {
        let outstanding = self.connections.get_mut(&number).and_then(|connection| {
            connection.outstanding.take_if(|outstanding| outstanding.request == reply.number)
        });
        // Further replies to an exhaust request have none.
        if let Some(outstanding) = outstanding {
            self.complete(&outstanding, Some((time, reply)));
            if let Ok(job) = outstanding.job {
                let id = self.id(number);
                self.acknowledge(job, id, outstanding, reply);
            }
        }
    }

    fn acknowledge(&mut self, job: u64, id: ConnectionId, mut done: Outstanding, reply: &Reply<'_>) {
        if let (Some((database, collection)), Form::Whole(message)) = (&done.names, reply.form) {
            let ids = super::upserted::resources(&self.resources, message, database, collection);
            done.touched.writes(ids.into_iter().take(UPSERTED_MAX));
        }
        if reply.cursor != 0 {
            done.touched.writes([self.resources.cursor(self.lap, reply.cursor)]);
        }
        self.order.acknowledged(job, id, &done.touched, &done.waited, self.done_below);
    }

    /// The reply to a request is known, or that there is none.
    fn complete(&mut self, outstanding: &Outstanding, reply: Option<(u64, &Reply<'_>)>) {
        if let Some((_, reply)) = reply
            && reply.cursor != 0
        {
            let known = outstanding.job.map(drop).map_err(|why| match why {
                Skip::Awaiting => Skip::Awaiting,
                _ => Skip::Cursor,
            });
            self.cursors.insert((self.lap, reply.cursor), known);
        }
        let Ok(job) = outstanding.job else { return };
        self.races.end(&outstanding.touched, job);
        let recorded = reply.map(|(time, reply)| Recorded::new(reply, time.saturating_sub(outstanding.time)));
        let bytes = recorded.as_ref().map_or(0, Recorded::bytes);
        if let Some(held) = self.held_job(job) {
            held.job.recorded = recorded;
            held.is_complete = true;
            self.held_bytes += bytes;
        }
    }

    /// Hands on what is complete at the front; and what is not, if too much is held back.
    fn hand_on(&mut self, out: &mut Vec<Item>) {
        while let Some(front) = self.held.front() {
            let is_too_much = self.held_bytes > HELD_BYTES_MAX || self.held.len() > HELD_MAX;
            if !front.is_complete && !is_too_much {
                return;
            }
            let Some(Held { job, is_last, .. }) = self.held.pop_front() else { return };
            self.first_held += 1;
            self.held_bytes = self.held_bytes.saturating_sub(job.bytes());
            let id = job.connection;
            out.push(Item::Job(job));
            if is_last {
                out.push(Item::Close(id));
            }
        }
    }
}

/// Whether a write changes documents, and not only what collections and indexes there are.
fn changes_documents(name: &[u8]) -> bool {
    const THESE: [&[u8]; 9] = [
        b"insert",
        b"update",
        b"delete",
        b"findAndModify",
        b"findandmodify",
        b"bulkWrite",
        b"aggregate",
        b"mapReduce",
        b"mapreduce",
    ];
    THESE.contains(&name)
}

/// `lsid.id` of a request.
fn session_of(view: &View<'_>) -> Option<[u8; 16]> {
    let lsid = view.document("lsid")?;
    crate::doc::find(lsid, "id")?.value.as_binary()?.try_into().ok()
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
