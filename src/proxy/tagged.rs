//! Operations on tagged collections: edited on their way to what the collection's level needs, and the floor raised
//! before anyone is told of their outcome.

mod planned;
mod told;

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use self::planned::{Act, asked_for};
pub use self::planned::{Plan, plan};
use self::told::Exchange;
use super::awaiting;
use super::client::Client;
use super::context::{Listener, Member};
use super::end::End;
use super::exchange::{self, acquire, lane, send};
use super::names::forbid_exhaust;
use super::orphan;
use super::published::{self, Away, NoSnapshot};
use super::refuse;
use super::reply::{Arrival, Reply, receive};
use super::request::{Request, Route};
use super::unasked;
use crate::config::Level;
use crate::consistency::{Edit, edit, is_metadata};
use crate::doc::{BsonType, document_length, find};
use crate::metrics::EndReason;
use crate::rewrite::{CommandError, ErrorCode, Labels};
use crate::wire::MESSAGE_MAX;

/// Scratch space above this is not kept, bytes.
const KEPT_MAX: usize = 64 * 1024;

thread_local! {
    /// Edited commands, on their way into the buffer of their client.
    static SCRATCH: RefCell<[Vec<u8>; 2]> = const { RefCell::new([const { Vec::new() }; 2]) };
}

/// What the concerns and the time that are added to a request take, at most.
const ROOM: i32 = 16 * 1024;

/// A read above this is not kept to be sent again, bytes: it is kept for as long as the server takes, and beside the
/// memory for requests.
const COPIED_MAX: usize = 1024 * 1024;

/// How often a read is sent again as of a later time: a member that has no snapshot of several times has none soon.
const LATER_TRIES: u32 = 3;

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
        true => published::receive_or_turn(at, client, &mut server, id, way.floor).await,
        false if std::ptr::eq(at, home) => Ok(receive(client, &mut server, id, None).await),
        false => Ok(published::receive_away(at, client, &mut server, id).await),
    };
    let reply = match received {
        Ok(Ok(Arrival::Reply(reply))) => reply,
        Ok(Ok(Arrival::ClientGone(partial))) => {
            orphan::adopt(at, server, &request, id, partial);
            return Err(exchange::abandoned(at, &request));
        }
        Ok(Err(error)) => return Err(exchange::server_failed(at, client, server, &request, &error)),
        Err(member) => {
            // What it waits for may never come, and a server that waits does not look whether its client is gone.
            orphan::adopt(at, server, &request, id, None);
            return Ok(kept.map_or(Attempted::Done, |kept| Attempted::Behind(kept, member)));
        }
    };
    if let Some(again) = kept.and_then(|kept| again(at, &reply, kept, may_turn, way)) {
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

/// Whether the reply is no last word: the member has not come to the floor, or has no snapshot of it.
fn again(at: &Listener, reply: &Reply, kept: Kept, may_turn: bool, way: Way) -> Option<Attempted> {
    match () {
        () if may_turn && published::is_unheard(reply, way.floor) => {
            published::turn(at, way.floor).map(|member| Attempted::Behind(kept, member))
        }
        () if way.is_snapshot => published::is_refused(reply).map(|why| Attempted::NoSnapshot(kept, why)),
        () => None,
    }
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
