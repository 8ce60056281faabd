//! Operations on tagged collections: edited on their way to what the collection's level needs, and the floor raised
//! before anyone is told of their outcome.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use super::awaiting;
use super::client::Client;
use super::context::{Checkout, Listener, Member};
use super::end::End;
use super::exchange::{self, acquire, lane, send};
use super::joins::Opened;
use super::names::forbid_exhaust;
use super::namespace::{namespace, namespaces_of_bulk, split};
use super::notice::cursor_id;
use super::orphan;
use super::published::{self, Away, NoSnapshot};
use super::refuse;
use super::registry::Phase;
use super::reply::{Arrival, Reply, ReplyError, receive};
use super::request::{Request, Route, unwrapped};
use super::stream::{fill, stream};
use super::turn;
use super::unasked;
use crate::config::{Level, TagError};
use crate::consistency::{Edit, Role, Times, Touched, edit, is_metadata, joined};
use crate::doc::{BsonType, cut_element, document_length, find, front_elements};
use crate::metrics::{CollectionRead, EndReason, Observed, TaggedKind, TaggedLevel};
use crate::pool::CloseReason;
use crate::rewrite::{CommandError, ErrorCode, Labels};
use crate::wire::{Header, MESSAGE_MAX, Opcode, read_i64};

/// Where the body of an OP_MSG reply begins: header, flag bits, kind.
const BODY_AT: usize = 21;

/// Scratch space above this is not kept, bytes.
const KEPT_MAX: usize = 64 * 1024;

thread_local! {
    /// Edited commands, on their way into the buffer of their client.
    static SCRATCH: RefCell<[Vec<u8>; 2]> = const { RefCell::new([const { Vec::new() }; 2]) };
}

/// What is kept back of a reply that does not fit its buffer until the floor was raised: what stands behind its
/// documents has some hundred bytes.
const TAIL_MAX: usize = 4096;

/// What the concerns and the time that are added to a request take, at most.
const ROOM: i32 = 16 * 1024;

/// A read above this is not kept to be sent again, bytes: it is kept for as long as the server takes, and beside the
/// memory for requests.
const COPIED_MAX: usize = 1024 * 1024;

/// How often a read is sent again as of a later time: a member that has no snapshot of several times has none soon.
const LATER_TRIES: u32 = 3;

/// What a request is, where there are tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// It reads tagged collections.
    Read,
    /// It writes to them.
    Write,
    /// It fetches from a cursor on one of them.
    GetMore,
    /// It begins a transaction, which may go on to them.
    Start,
    /// It goes on with a transaction on one of them.
    Continue,
    /// It commits a transaction that has touched one of them.
    Commit,
    /// It reads collections that are observed.
    ObserveRead,
    /// It writes to collections that are observed.
    ObserveWrite,
    /// It cannot keep what they promise.
    Refuse(&'static str),
}

impl Act {
    /// What is seen inside of a transaction counts once it is committed.
    fn reveals(self) -> bool {
        !matches!(self, Act::Start | Act::Continue | Act::Refuse(_))
    }
}

/// What is done with a request because of a tag.
#[derive(Debug)]
pub struct Plan {
    act: Act,
    touched: Touched,
    /// The getMores of the cursor that it opens do not name all of these, or not the level that it asks for.
    joins: bool,
    /// What is known of the cursor that it continues.
    continues: Option<Opened>,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// A read is sent at this time.
    floor: u64,
    /// It shows that time, and nothing later.
    is_snapshot: bool,
    /// Its client asks for a snapshot itself.
    is_asked: bool,
    /// It may be sent again, and to another member.
    may_turn: bool,
    /// How often it may be sent again as of a later time.
    later_tries: u32,
}

/// What a read takes that is sent again: the request as it came.
#[derive(Debug)]
struct Kept {
    request: Request,
    message: Vec<u8>,
}

/// How an attempt ended.
enum Attempted {
    /// The client has what it gets.
    Done,
    /// The member does not read as of that time.
    NoSnapshot(Kept, NoSnapshot),
    /// The member is behind.
    Behind(Kept, Arc<Member>),
}

/// What is done with `request` if the level of a collection has a say in it. Boxed, as every session would be larger
/// otherwise.
#[inline]
pub fn plan(at: &Listener, client: &Client, request: &Request) -> Option<Box<Plan>> {
    // Cursors go on as they began, whatever tags were taken away.
    let continues_some = request.cursor_id.is_some() && at.member.joins.is_used();
    if at.member.set.tags.is_empty() && !continues_some {
        return None;
    }
    if is_plainly_untagged(at, client, request) {
        return None;
    }
    let continues = request.cursor_id.and_then(|id| at.member.joins.of(id));
    let (act, touched) = act(at, client, request, continues.as_ref())?;
    let is_join =
        request.command.name() == "aggregate" && (touched.is_many() || !names_tagged(at, client, request));
    let joins = is_join || asked_for(command(client, request)).is_some();
    Some(Box::new(Plan { act, touched, joins, continues }))
}

/// Whether no level has a say in it, as far as one look can tell: most collections have none.
fn is_plainly_untagged(at: &Listener, client: &Client, request: &Request) -> bool {
    let names = || request.names_one(client.message());
    !request.in_transaction
        && names().is_some_and(|(database, collection)| {
            at.member.set.tags.now().level(database, collection) == Level::Default
        })
}

fn act(
    at: &Listener,
    client: &Client,
    request: &Request,
    continues: Option<&Opened>,
) -> Option<(Act, Touched)> {
    let passes = matches!(
        request.route,
        Route::Forward | Route::GetMore | Route::NoReply | Route::Exhaust | Route::LegacyWrite
    );
    let is_msg = request.header.opcode == Opcode::Msg;
    if !passes || (is_msg && request.opens_awaiting_cursor) {
        return None;
    }
    let transactions = &at.member.set.transactions;
    let tags = at.member.set.tags.now();
    if request.command.name() == "commitTransaction" {
        let may_be_tagged = request.transaction.is_none_or(|id| transactions.is_tagged(&id) != Some(false));
        let is_commit = tags.highest() >= Level::Causal && may_be_tagged;
        return is_commit.then(|| (Act::Commit, Touched::every(tags.highest())));
    }
    let role = Role::of(request.command, !request.is_read);
    let touched = role.map_or(Touched::default(), |_| touched(at, client, request, continues));
    if tags.highest() < Level::Causal && touched.level() <= Level::Observe {
        return observe(at, request, role?).filter(|_| !touched.is_empty()).map(|act| (act, touched));
    }
    if !is_msg {
        let refuses = Act::Refuse("OP_MSG alone has read and write concerns");
        return (!touched.is_empty()).then_some((refuses, touched));
    }
    if request.in_transaction && request.starts_transaction {
        return Some((Act::Start, touched));
    }
    let role = role.filter(|_| !touched.is_empty())?;
    if touched.level() == Level::Observe {
        return observe(at, request, role).map(|act| (act, touched));
    }
    let act = match role {
        Role::MapReduce => Act::Refuse("mapReduce has no read concern"),
        _ if request.in_transaction => Act::Continue,
        Role::Read => Act::Read,
        Role::Write => Act::Write,
        Role::GetMore if awaiting::is_awaiting(at, request) => return None,
        Role::GetMore => Act::GetMore,
    };
    Some((act, touched))
}

/// What a request on collections that are observed is, if it can be looked at without a change to it.
fn observe(at: &Listener, request: &Request, role: Role) -> Option<Act> {
    let passes = matches!(request.route, Route::Forward | Route::GetMore);
    if !passes || request.header.opcode != Opcode::Msg || request.in_transaction {
        return None;
    }
    match role {
        Role::Read => Some(Act::ObserveRead),
        Role::GetMore if !awaiting::is_awaiting(at, request) => Some(Act::ObserveRead),
        Role::Write => Some(Act::ObserveWrite),
        Role::GetMore | Role::MapReduce => None,
    }
}

/// The level that a request asks for by its `comment`: `torana:sequential`.
fn asked_for(body: &[u8]) -> Option<Result<Level, TagError>> {
    let comment = find(body, "comment")?.value.as_str()?;
    Some(comment.strip_prefix("torana:")?.parse())
}

/// Whether the collection that a request is about is tagged, whatever else it joins.
fn names_tagged(at: &Listener, client: &Client, request: &Request) -> bool {
    let message = client.message().get(..request.header.length).unwrap_or_default();
    let tags = at.member.set.tags.now();
    let level = |(database, collection)| tags.level(database, collection);
    namespace(message, request).is_some_and(|named| level(named) >= Level::Observe)
}

/// The tagged collections that a request names.
fn touched(at: &Listener, client: &Client, request: &Request, continues: Option<&Opened>) -> Touched {
    let set = &at.member.set;
    let message = client.message().get(..request.header.length).unwrap_or_default();
    let tags = set.tags.now();
    let mut touched = Touched::default();
    let Some((database, collection)) = namespace(message, request) else { return touched };
    let mut touch = |database: &[u8], collection: &[u8]| {
        let level = tags.level(database, collection);
        if level >= Level::Observe {
            set.floors.touch(database, collection, level, &mut touched);
        }
    };
    let body = || unwrapped(message.get(request.body_at..).unwrap_or_default());
    match request.command.name() {
        "aggregate" if find(body(), "explain").and_then(|explain| explain.value.as_bool()) == Some(true) => {}
        "bulkWrite" => namespaces_of_bulk(message, body(), |name| {
            let (database, collection) = split(name);
            touch(database, collection);
        }),
        "getMore" => {
            touch(database, collection);
            if let Some(opened) = continues {
                touched.add(&opened.touched);
            }
        }
        "dropDatabase" if tags.mention(database) => return Touched::every(tags.highest()),
        "renameCollection" => {
            let to = find(body(), "to").and_then(|to| to.value.as_string_bytes()).unwrap_or_default();
            for (database, collection) in [collection, to].map(split) {
                touch(database, collection);
            }
        }
        "mapReduce" | "mapreduce" => {
            touch(database, collection);
            let out = find(body(), "out").map(|out| out.value);
            let text = |key| find(out?.as_document()?, key)?.value.as_string_bytes();
            let names =
                [out.and_then(|out| out.as_string_bytes()), text("replace"), text("merge"), text("reduce")];
            names.into_iter().flatten().for_each(|name| touch(text("db").unwrap_or(database), name));
        }
        "aggregate" => {
            if !is_metadata(body()) {
                touch(database, collection);
            }
            joined(body(), |named, collection| touch(named.unwrap_or(database), collection));
        }
        _ => touch(database, collection),
    }
    if !touched.is_empty()
        && let Some(Ok(level)) = asked_for(body())
    {
        touched.asks_for(level);
    }
    touched
}

/// Serves a request as `plan` says.
pub async fn run(
    at: &Listener,
    client: &mut Client,
    mut request: Request,
    plan: Box<Plan>,
) -> Result<(), End> {
    let act = plan.act;
    if let Act::Refuse(why) = act {
        return refuse::with(client, &request, &cannot_keep(&request, why)).await;
    }
    if let Some(Err(error)) = asked_for(command(client, &request)) {
        let next = "name one of them in the comment, or none";
        return refuse::with(client, &request, &CommandError::of_torana(ErrorCode::BAD_VALUE, error, next))
            .await;
    }
    if request.route == Route::Exhaust {
        // One reply, so that each is looked at.
        forbid_exhaust(client, &mut request);
        request.route = if request.cursor_id.is_some() { Route::GetMore } else { Route::Forward };
    }
    let shares = published::shares(&plan.touched);
    // Who is alone has to be so for everything.
    let reads = matches!(act, Act::Read | Act::Start) || request.command.name() == "aggregate";
    if shares
        && (reads || !at.member.set.horizon.is_shared())
        && let Err(error) = published::prove(at, client, &plan.touched).await
    {
        let error = match request.in_transaction {
            true => error.labelled(Labels::TRANSIENT_TRANSACTION),
            false => error,
        };
        return refuse::with(client, &request, &error).await;
    }
    let is_kept = !request.has_checksum() && request.header.length <= COPIED_MAX;
    let may_turn = shares && act == Act::Read && !request.in_transaction && is_kept;
    let has_moment = may_turn && published::has_moment(at, command(client, &request), &request);
    let (floor, is_snapshot) = match has_moment {
        true => match published::moment(at, client, &plan.touched, &request).await {
            Ok(moment) => moment,
            Err(error) => return refuse::with(client, &request, &error).await,
        },
        false => (published::floor(at, &plan.touched), false),
    };
    let is_asked = is_snapshot && published::asks_for_snapshot(command(client, &request));
    let way = Way { floor, is_snapshot, is_asked, may_turn, later_tries: LATER_TRIES };
    let elsewhere = match act {
        Act::Read if may_turn => published::instead(at, floor),
        Act::GetMore => {
            plan.continues.as_ref().and_then(|opened| opened.elsewhere.as_ref()).and_then(Weak::upgrade)
        }
        _ => None,
    };
    let mut away = elsewhere.map(|member| Away::to(at, client, member));
    let result = serve(at, client, request, &plan, way, &mut away).await;
    if let Some(away) = away {
        away.back(client);
    }
    result
}

/// Sends the request as often as it takes.
async fn serve(
    home: &Listener,
    client: &mut Client,
    mut request: Request,
    plan: &Plan,
    mut way: Way,
    away: &mut Option<Away>,
) -> Result<(), End> {
    loop {
        let at = away.as_ref().map_or(home, |away| &away.listener);
        let kept = match attempt(at, home, client, request, plan, way).await? {
            Attempted::Done => return Ok(()),
            Attempted::NoSnapshot(kept, why) => {
                at.member.metrics.traffic.snapshots_refused.inc();
                way.is_snapshot = false;
                if why == NoSnapshot::OfThatTime {
                    // A read of a majority may show several moments.
                    let left = way.later_tries.checked_sub(1);
                    let later = match left {
                        Some(_) => published::later(at, client, &plan.touched, way.floor).await,
                        None => None,
                    };
                    let Some(floor) = later else {
                        client.replace_message(0, &kept.message);
                        let error = published::no_moment("the member has no snapshot of late");
                        return refuse::with(client, &kept.request, &error).await;
                    };
                    way = Way { floor, is_snapshot: true, later_tries: left.unwrap_or(0), ..way };
                }
                kept
            }
            Attempted::Behind(kept, member) => {
                *away = Some(Away::to(home, client, member));
                kept
            }
        };
        client.replace_message(0, &kept.message);
        request = kept.request;
    }
}

/// Sends the request to the member of `at`, and passes its reply on if that is the last word.
async fn attempt(
    at: &Listener,
    home: &Listener,
    client: &mut Client,
    mut request: Request,
    plan: &Plan,
    way: Way,
) -> Result<Attempted, End> {
    let act = plan.act;
    let kept = way.may_turn.then(|| {
        let message = client.message().get(..request.header.length).unwrap_or_default().to_vec();
        Kept { request, message }
    });
    let may_turn = kept.is_some() && std::ptr::eq(at, home);
    adapt(at, client, &mut request, plan, way)?;
    if !request.has_reply() {
        unasked::ask_for_reply(client, &request);
    }
    let Some(mut server) = acquire(at, client, &request, lane(at, &request)).await? else {
        return Ok(Attempted::Done);
    };
    if let Some(member) = published::instead(at, way.floor).filter(|_| may_turn) {
        // Others have found it behind while this one waited for its connection.
        exchange::check_in(server);
        client.consume(request.header.length);
        return Ok(kept.map_or(Attempted::Done, |kept| Attempted::Behind(kept, member)));
    }
    let id = send(at, client, &mut server, &request).await?;
    let is_tagged = plan.touched.level() >= Level::Causal;
    let tagged = request.transaction.filter(|_| request.in_transaction && is_tagged);
    if let Some(id) = tagged {
        at.member.set.transactions.touches_tagged(&id);
    }
    client.entry.enter(request.phase());
    let received = match may_turn {
        true => match published::receive_or_turn(at, client, &mut server, id, way.floor).await {
            Ok(received) => received,
            Err(member) => {
                // What it waits for may never come, and a server that waits does not look whether its client is gone.
                orphan::adopt(at, server, &request, id, None);
                let kept = kept.map(|kept| Attempted::Behind(kept, member));
                return Ok(kept.unwrap_or(Attempted::Done));
            }
        },
        false if std::ptr::eq(at, home) => receive(client, &mut server, id, None).await,
        false => published::receive_away(at, client, &mut server, id).await,
    };
    let reply = match received {
        Ok(Arrival::Reply(reply)) => reply,
        Ok(Arrival::ClientGone(partial)) => {
            orphan::adopt(at, server, &request, id, partial);
            return Err(exchange::abandoned(at, &request));
        }
        Err(error) => return Err(exchange::server_failed(at, client, server, &request, &error)),
    };
    let again = kept.and_then(|kept| match () {
        () if may_turn && published::is_unheard(&reply, way.floor) => {
            published::turn(at, way.floor).map(|member| Attempted::Behind(kept, member))
        }
        () if way.is_snapshot => published::is_refused(&reply).map(|why| Attempted::NoSnapshot(kept, why)),
        () => None,
    });
    if let Some(again) = again {
        exchange::give_back(server, &reply);
        client.reuse(reply.buffer);
        return Ok(again);
    }
    let took = reply.arrived.saturating_duration_since(server.since());
    if request.route == Route::GetMore && took >= awaiting::SEEN_WAITING {
        awaiting::seen_waiting(at, &request, &reply);
    }
    at.member.metrics.traffic.server_latency.observe(request.command, took);
    client.shadowing.took(took);
    // Again, as it may have come before the statement that began the transaction, on another connection.
    if let Some(id) = tagged {
        at.member.set.transactions.touches_tagged(&id);
    }
    let exchange = Exchange { at, home, request: &request, plan, way };
    match () {
        () if act.reveals() => exchange.deliver(client, server, reply).await?,
        () if request.has_reply() => exchange::deliver(at, client, server, &request, reply, true).await?,
        () => unasked::keep(at, client, server, &request, reply).await?,
    }
    Ok(Attempted::Done)
}

/// A request whose reply has come, and which may not be told before its time is known.
#[derive(Clone, Copy)]
struct Exchange<'a> {
    at: &'a Listener,
    /// The client's own listener.
    home: &'a Listener,
    request: &'a Request,
    plan: &'a Plan,
    way: Way,
}

impl Exchange<'_> {
    /// Passes a reply on, once its times are known and the floor is raised to them.
    async fn deliver(self, client: &mut Client, mut server: Checkout, mut reply: Reply) -> Result<(), End> {
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

/// A member's hello with room for what is added to messages, which drivers fill to the last byte.
pub fn with_room(hello: &[u8]) -> Vec<u8> {
    let mut hello = hello.to_vec();
    let limit = find(&hello, "maxMessageSizeBytes").filter(|limit| limit.value.kind == BsonType::Int32);
    let place = limit.and_then(|limit| Some((limit.at + limit.raw.len(), limit.value.as_i64()?)));
    if let Some((end, limit)) = place
        && let Some(field) = hello.get_mut(end - 4..end)
    {
        field.copy_from_slice(&(limit as i32).saturating_sub(ROOM).to_le_bytes());
    }
    hello
}

fn cannot_keep(request: &Request, why: &str) -> CommandError {
    let what =
        format_args!("{} cannot keep what a tagged collection promises: {why}", request.command.name());
    CommandError::of_torana(
        ErrorCode::COMMAND_NOT_SUPPORTED,
        what,
        "use another command, or take the tag away",
    )
}

fn command<'c>(client: &'c Client, request: &Request) -> &'c [u8] {
    client.message().get(request.body_at..request.header.length).unwrap_or_default()
}

/// Edits the request to what `act` needs.
fn adapt(
    at: &Listener,
    client: &mut Client,
    request: &mut Request,
    plan: &Plan,
    way: Way,
) -> Result<(), End> {
    let (act, set) = (plan.act, &at.member.set);
    let members = || Some(set.topology.members().len());
    let mut change = Edit::default();
    match act {
        // The server's own records are local.
        Act::Read if is_metadata(command(client, request)) => return Ok(()),
        Act::Read => {
            change.reads_at = Some(way.floor);
            change.is_snapshot = way.is_snapshot;
        }
        Act::Write => change.majority_of = members(),
        Act::Commit => change.majority_of = members(),
        Act::Start => {
            change.reads_at = Some(set.floors.highest().max(way.floor)).filter(|floor| *floor > 0);
            change.starts_transaction = true;
        }
        Act::GetMore | Act::Continue | Act::Refuse(_) | Act::ObserveRead | Act::ObserveWrite => return Ok(()),
    }
    // An aggregate that writes reads as well.
    if act == Act::Write && request.command.name() == "aggregate" && !is_metadata(command(client, request)) {
        change.reads_at = Some(way.floor);
    }
    if change.reads_at.is_none() && change.majority_of.is_none() {
        return Ok(());
    }
    SCRATCH.with_borrow_mut(|[clock, edited]| {
        set.floors.cluster_time(clock);
        let is_told = change.reads_at.is_some() && !clock.is_empty();
        let change = Edit { cluster_time: is_told.then_some(clock.as_slice()), ..change };
        edited.clear();
        let body = command(client, request);
        let done = edit(body, &change, edited);
        let grows = edited.len().saturating_sub(document_length(body).unwrap_or(0));
        if request.header.length + grows > MESSAGE_MAX {
            let what = format!("a message of {} bytes has no room for its concerns", request.header.length);
            return Err(End::because(EndReason::ProtocolError, what));
        }
        if done.is_ok() {
            request.header.length = client.replace_body(request, edited);
        }
        edited.clear();
        edited.shrink_to(KEPT_MAX);
        // It was read as a document before.
        done.map_err(|error| End::because(EndReason::ProtocolError, error.to_string()))
    })
}
