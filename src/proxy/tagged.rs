//! Operations on tagged collections: edited on their way to what the collection's level needs, and the floor raised
//! before anyone is told of their outcome.

use std::cell::RefCell;

use super::awaiting;
use super::client::Client;
use super::context::{Checkout, Listener};
use super::end::End;
use super::exchange::{self, acquire, lane, send};
use super::names::forbid_exhaust;
use super::orphan;
use super::refuse;
use super::reply::{Arrival, Reply, ReplyError, receive};
use super::request::{Request, Route, unwrapped};
use super::stream::fill;
use super::unasked;
use crate::config::Level;
use crate::consistency::{Edit, Role, Times, Touched, edit, is_metadata, joined};
use crate::doc::{Element, elements, find};
use crate::metrics::TaggedKind;
use crate::rewrite::{CommandError, ErrorCode};
use crate::wire::{LegacyRequest, OpQuery, Opcode, Side};

/// Scratch space above this is not kept, bytes.
const KEPT_MAX: usize = 64 * 1024;

thread_local! {
    /// Edited commands, on their way into the buffer of their client.
    static SCRATCH: RefCell<[Vec<u8>; 2]> = const { RefCell::new([const { Vec::new() }; 2]) };
}

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
    /// It cannot keep what they promise.
    Refuse(&'static str),
}

/// What is done with a request because of a tag.
#[derive(Debug)]
pub struct Plan {
    act: Act,
    touched: Touched,
}

/// Boxed, as every session would be larger otherwise: what is done with `request` if the level of a collection has a say in it.
#[inline]
pub fn plan(at: &Listener, client: &Client, request: &Request) -> Option<Box<Plan>> {
    if at.member.set.tags.is_empty() {
        return None;
    }
    act(at, client, request).map(|(act, touched)| Box::new(Plan { act, touched }))
}

fn act(at: &Listener, client: &Client, request: &Request) -> Option<(Act, Touched)> {
    let passes = matches!(
        request.route,
        Route::Forward | Route::GetMore | Route::NoReply | Route::Exhaust | Route::LegacyWrite
    );
    if !passes || request.opens_awaiting_cursor {
        return None;
    }
    let transactions = &at.member.set.transactions;
    if request.command.name() == "commitTransaction" {
        let is_tagged = request.transaction.is_none_or(|id| transactions.is_tagged(&id) != Some(false));
        return is_tagged.then(|| (Act::Commit, Touched::every()));
    }
    let role = Role::of(request.command, !request.is_read);
    let touched = role.map_or(Touched::default(), |_| touched(at, client, request));
    if request.in_transaction && request.starts_transaction {
        return Some((Act::Start, touched));
    }
    let role = role.filter(|_| !touched.is_empty())?;
    let act = match role {
        _ if request.header.opcode != Opcode::Msg => Act::Refuse("OP_MSG alone has read and write concerns"),
        Role::MapReduce => Act::Refuse("mapReduce has no read concern"),
        _ if request.in_transaction => Act::Continue,
        Role::Read => Act::Read,
        Role::Write => Act::Write,
        Role::GetMore if awaiting::is_awaiting(at, request) => return None,
        Role::GetMore => Act::GetMore,
    };
    Some((act, touched))
}

/// The tagged collections that a request names.
fn touched(at: &Listener, client: &Client, request: &Request) -> Touched {
    let set = &at.member.set;
    let message = client.message().get(..request.header.length).unwrap_or_default();
    let mut touched = Touched::default();
    let Some((database, collection)) = namespace(message, request) else { return touched };
    let mut touch = |database: &[u8], collection: &[u8]| {
        if set.tags.level(database, collection) >= Level::Causal {
            set.floors.touch(database, collection, &mut touched);
        }
    };
    let body = || unwrapped(message.get(request.body_at..).unwrap_or_default());
    match request.command.name() {
        "dropDatabase" if set.tags.mention(database) => return Touched::every(),
        "renameCollection" => {
            let to = find(body(), "to").and_then(|to| to.value.as_string_bytes()).unwrap_or_default();
            for (database, collection) in [collection, to].map(split) {
                touch(database, collection);
            }
        }
        "aggregate" if is_metadata(body()) => {}
        "aggregate" => {
            touch(database, collection);
            joined(body(), |named, collection| touch(named.unwrap_or(database), collection));
        }
        _ => touch(database, collection),
    }
    touched
}

/// The database and the collection that a request is about.
fn namespace<'m>(message: &'m [u8], request: &Request) -> Option<(&'m [u8], &'m [u8])> {
    let opcode = request.header.opcode;
    let legacy = match opcode {
        Opcode::Msg => None,
        Opcode::Query => Some(OpQuery::parse(message, Side::Client).ok()?.namespace),
        _ => Some(LegacyRequest::parse(message, opcode, Side::Client).ok()?.namespace),
    };
    let (database, collection) = legacy.map_or((None, None), |namespace| {
        let (database, collection) = split(namespace);
        (Some(database), (!request.is_command).then_some(collection))
    });
    let command = || unwrapped(message.get(request.body_at..).unwrap_or_default());
    let text = |element: Element<'m>| element.value.as_string_bytes();
    let database = database.or_else(|| find(command(), "$db").and_then(text))?;
    let named = || match request.command.name() {
        "getMore" => find(command(), "collection"),
        _ => elements(command()).next()?.ok(),
    };
    // A command on the database as a whole names no collection.
    Some((database, collection.or_else(|| named().and_then(text)).unwrap_or_default()))
}

/// `database.collection`, apart.
fn split(namespace: &[u8]) -> (&[u8], &[u8]) {
    let dot = namespace.iter().position(|byte| *byte == b'.').unwrap_or(namespace.len());
    let (database, collection) = namespace.split_at(dot);
    (database, collection.get(1..).unwrap_or_default())
}

/// Serves a request as `plan` says.
pub async fn run(
    at: &Listener,
    client: &mut Client,
    mut request: Request,
    plan: Box<Plan>,
) -> Result<(), End> {
    let Plan { act, touched } = *plan;
    if let Act::Refuse(why) = act {
        return refuse::with(client, &request, &cannot_keep(&request, why)).await;
    }
    if request.route == Route::Exhaust {
        // One reply, so that each is looked at.
        forbid_exhaust(client, &mut request);
        request.route = if request.cursor_id.is_some() { Route::GetMore } else { Route::Forward };
    }
    adapt(at, client, &mut request, act, &touched)?;
    if !request.has_reply() {
        unasked::ask_for_reply(client, &request);
    }
    let kind = match act {
        Act::Read | Act::GetMore => TaggedKind::Read,
        Act::Write => TaggedKind::Write,
        _ => TaggedKind::Transaction,
    };
    at.member.metrics.traffic.tagged.inc(kind);
    let Some(mut server) = acquire(at, client, &request, lane(at, &request)).await? else {
        return Ok(());
    };
    let id = send(at, client, &mut server, &request).await?;
    if let Some(id) = request.transaction.filter(|_| request.in_transaction && !touched.is_empty()) {
        at.member.set.transactions.touches_tagged(&id);
    }
    client.entry.enter(request.phase());
    let reply = match receive(client, &mut server, id, None).await {
        Ok(Arrival::Reply(reply)) => reply,
        Ok(Arrival::ClientGone(partial)) => {
            orphan::adopt(at, server, &request, id, partial);
            return Err(exchange::abandoned(at, &request));
        }
        Err(error) => return Err(exchange::server_failed(at, client, server, &request, &error)),
    };
    let took = reply.arrived.saturating_duration_since(server.since());
    if request.route == Route::GetMore && took >= awaiting::SEEN_WAITING {
        awaiting::seen_waiting(at, &request, &reply);
    }
    at.member.metrics.traffic.server_latency.observe(request.command, took);
    let reply = match whole(at, client, &mut server, reply).await {
        Ok(reply) => reply,
        Err(error) => return Err(exchange::server_failed(at, client, server, &request, &error)),
    };
    note(at, act, &touched, &reply);
    match request.has_reply() {
        true => exchange::deliver(at, client, server, &request, reply, true).await,
        false => unasked::keep(at, client, server, &request, reply).await,
    }
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

/// Edits the request to what `act` needs.
fn adapt(
    at: &Listener,
    client: &mut Client,
    request: &mut Request,
    act: Act,
    touched: &Touched,
) -> Result<(), End> {
    let set = &at.member.set;
    let members = || Some(set.topology.members().len());
    let mut change = Edit::default();
    match act {
        Act::Read => change.reads_at = Some(set.floors.floor(touched)),
        Act::Write => change.majority_of = members(),
        Act::Commit => change.majority_of = members(),
        Act::Start => {
            change.reads_at = Some(set.floors.highest());
            change.starts_transaction = true;
        }
        Act::GetMore | Act::Continue | Act::Refuse(_) => return Ok(()),
    }
    // An aggregate that writes reads as well.
    if act == Act::Write && request.command.name() == "aggregate" {
        change.reads_at = Some(set.floors.floor(touched));
    }
    SCRATCH.with_borrow_mut(|[clock, edited]| {
        set.floors.cluster_time(clock);
        let is_told = change.reads_at.is_some() && !clock.is_empty();
        let change = Edit { cluster_time: is_told.then_some(clock.as_slice()), ..change };
        edited.clear();
        let body = client.message().get(request.body_at..request.header.length).unwrap_or_default();
        let done = edit(body, &change, edited);
        if done.is_ok() {
            request.header.length = client.replace_body(request, edited);
        }
        edited.clear();
        edited.shrink_to(KEPT_MAX);
        // It was read as a document before.
        done.map_err(|error| End::because(crate::metrics::EndReason::ProtocolError, error.to_string()))
    })
}

/// Reads the reply to its end: the times stand behind its documents. A reply that does not fit a usual buffer takes its
/// memory from the budget for large replies, and waits for it if need be.
async fn whole(
    at: &Listener,
    client: &mut Client,
    server: &mut Checkout,
    mut reply: Reply,
) -> Result<Reply, ReplyError> {
    if reply.is_whole() {
        return Ok(reply);
    }
    client.holds(at.shared.reply_memory.take(reply.header.length).await);
    reply.buffer.reserve(reply.header.length);
    while !reply.is_whole() {
        let left = reply.header.length - reply.buffer.len();
        fill(server, &mut reply.buffer, left).await?;
    }
    Ok(reply)
}

/// Raises the floor to what the reply reveals.
fn note(at: &Listener, act: Act, touched: &Touched, reply: &Reply) {
    let floors = &at.member.set.floors;
    let times = Times::read(reply.verdict().body.unwrap_or_default());
    let revealed = match act {
        // What is seen inside of a transaction counts once it is committed.
        Act::Start | Act::Continue | Act::Refuse(_) => None,
        Act::Commit if times.failed => None,
        Act::Commit | Act::Write => times.revealed(true),
        Act::Read | Act::GetMore => times.revealed(false),
    };
    let Some(time) = revealed else { return };
    // Before the floor: whoever reads the floor finds a clock that is at least as late.
    times.cluster_time.iter().for_each(|clock| floors.heard(clock));
    floors.raise(touched, time);
}
