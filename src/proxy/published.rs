//! What `sequential` adds to an exchange: the proof that a client which is new here waits for, reads as of a published
//! time, the member that answers in the place of one that is behind, and the publishing before anyone is told.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use tokio::time::{Duration, Instant, sleep};

use super::client::Client;
use super::context::{Checkout, Listener, Member, Set};
use super::end::End;
use super::exchange;
use super::pools::PoolUse;
use super::registry::Phase;
use super::reply::{Arrival, Reply, ReplyError, receive};
use super::request::Request;
use crate::config::Level;
use crate::consistency::{Touched, Unpublished, is_metadata, takes_snapshot};
use crate::doc::{Element, document_length, find, find_path};
use crate::rewrite::{CommandError, ErrorCode, Labels};
use crate::topology::{HelloCopy, MemberKind};
use crate::wire::{Header, Opcode};

/// The first maxWireVersion of servers that read as of a time outside of transactions (5.0).
const SNAPSHOT_FIRST: i64 = 13;

/// How long a read waits for a member before that is asked how far it is, and then for what it says.
const PATIENCE: Duration = Duration::from_millis(25);

/// How often a read tries to come by a published time: torana may have stood still meanwhile, or been without ZooKeeper.
const MOMENT_TRIES: u32 = 3;

/// How often a later time is looked for where a member has no snapshot of one, and how long after each look: a primary
/// that has just been elected writes at once.
const LATER_TRIES: u32 = 20;
const LATER_EVERY: Duration = Duration::from_millis(50);

/// Errors of a read as of a time that a read of a majority would not have (6.0.5): SnapshotTooOld, SnapshotUnavailable
/// (a collection that was made anew since, or one that is capped), InvalidOptions.
const NO_SNAPSHOT: [i64; 3] = [239, 246, 72];

/// Where the body of an OP_MSG begins: header, flag bits, kind.
const BODY_AT: usize = 21;

/// Whether what is told of these has to be published first.
pub fn shares(touched: &Touched) -> bool {
    touched.level() >= Level::Sequential
}

/// Waits until what `client` was told through other toranas is known here: once for each connection, or before each read
/// of a collection that is linearizable.
pub async fn prove(at: &Listener, client: &mut Client, touched: &Touched) -> Result<(), CommandError> {
    let horizon = &at.member.set.horizon;
    let since = match touched.level() {
        Level::Linearizable => horizon.arrives(),
        _ => client.arrived,
    };
    if horizon.is_proven_since(since) {
        return Ok(());
    }
    client.entry.enter(Phase::Queueing);
    horizon.prove(since).await.map_err(|error| {
        let what = format_args!("what was told through other toranas is not known: {error}");
        CommandError::of_torana(
            ErrorCode::EXCEEDED_TIME_LIMIT,
            what,
            "try again; other collections are served",
        )
    })
}

/// The time that a read has to be sent at.
pub fn floor(at: &Listener, touched: &Touched) -> u64 {
    let set = &at.member.set;
    let told = set.floors.floor(touched);
    if !shares(touched) {
        return told;
    }
    // Not the collection's alone: what a client was told of one collection, it finds in the others as well.
    let known = told.max(set.horizon.published());
    if set.horizon.is_young() {
        return known;
    }
    // A member that stands still would show what it has for ever. The members have to hear of the time as well.
    let Some(hello) = newest(set) else { return known };
    let clock = find(&hello.document, "$clusterTime").and_then(|clock| clock.value.as_document());
    clock.iter().for_each(|clock| set.floors.heard(clock));
    known.max(hello.description.majority_time.unwrap_or(0))
}

/// The hello that knows the latest time that a majority has. Each member's is half a second old at most.
fn newest(set: &Set) -> Option<Arc<HelloCopy>> {
    let served = set.served.load();
    let hellos = served.iter().filter_map(Weak::upgrade).filter_map(|member| member.monitored.hello.latest());
    hellos.max_by_key(|hello| hello.description.majority_time)
}

/// Whether a read can be sent *as of* a time, by what it is and who serves it.
pub fn has_moment(at: &Listener, command: &[u8], request: &Request) -> bool {
    let hello = at.member.monitored.hello.latest();
    matches!(request.command.name(), "find" | "aggregate" | "distinct")
        // One that is not known refuses for itself, if it is older.
        && hello.is_none_or(|hello| hello.description.max_wire_version >= SNAPSHOT_FIRST)
        && !is_metadata(command)
}

/// The time that a read which has a moment is sent at, and whether it is sent *as of* that. What it would be sent behind is
/// published first: what a majority has by now, if the horizon is not young, and the floor of a collection that is causal,
/// and read as well. A read of a majority would do for one batch of one document; other documents, and other batches, would
/// each show a moment of their own, so that it is refused while nothing can be published.
pub async fn moment(
    at: &Listener,
    client: &mut Client,
    touched: &Touched,
    request: &Request,
) -> Result<(u64, bool), CommandError> {
    let horizon = &at.member.set.horizon;
    for _ in 0..MOMENT_TRIES {
        let wanted = floor(at, touched);
        if !horizon.is_young() || wanted > horizon.published() {
            client.entry.enter(Phase::Queueing);
            horizon.renew(wanted).await;
        }
        let floor = floor(at, touched);
        let command = client.message().get(request.body_at..request.header.length).unwrap_or_default();
        if floor == 0 || !takes_snapshot(command, floor) {
            return Ok((floor, false));
        }
        if horizon.is_young() && floor <= horizon.published() {
            return Ok((floor, true));
        }
    }
    Err(no_moment("what it would show cannot be published"))
}

/// What a client is told whose read can show no single moment.
pub fn no_moment(why: &str) -> CommandError {
    let what = format_args!("the read would show several moments: {why}");
    CommandError::of_torana(ErrorCode::EXCEEDED_TIME_LIMIT, what, "try again; other collections are served")
}

/// A later time than `refused` at which a member may have a snapshot that it did not have then, published; `None` if there
/// is none soon. After a start a member has none from before it, and none of a collection from before its last change.
pub async fn later(at: &Listener, client: &mut Client, touched: &Touched, refused: u64) -> Option<u64> {
    let set = &at.member.set;
    client.entry.enter(Phase::Queueing);
    for _ in 0..LATER_TRIES {
        let time = newest(set).and_then(|hello| hello.description.majority_time).unwrap_or(0);
        if time > refused {
            set.horizon.renew(time).await;
            let floor = floor(at, touched);
            return Some(floor).filter(|floor| *floor > refused && *floor <= set.horizon.published());
        }
        at.member.monitored.request_check();
        sleep(LATER_EVERY).await;
    }
    None
}

/// Whether its client asks for a snapshot itself. Drivers take the time of a snapshot session from its first reply.
pub fn asks_for_snapshot(command: &[u8]) -> bool {
    find_path(command, &["readConcern", "level"]).and_then(|level| level.as_str()) == Some("snapshot")
}

/// Why a read as of a time was refused for no fault of the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSnapshot {
    /// Not of that time: of a later one there may be.
    OfThatTime,
    /// Never: a read of a majority may do.
    AtAll,
}

/// Whether, and why, a read as of a time was refused for no fault of the client's.
pub fn is_refused(reply: &Reply) -> Option<NoSnapshot> {
    const SNAPSHOT_TOO_OLD: i64 = 239;
    let verdict = reply.verdict();
    let body = verdict.body.filter(|_| !verdict.ok)?;
    let code = find(body, "code")?.value.as_i64().filter(|code| NO_SNAPSHOT.contains(code))?;
    let text = find(body, "errmsg").and_then(|text| text.value.as_str()).unwrap_or_default();
    // "Unable to read from a snapshot due to pending collection catalog changes; please retry the operation" (6.0).
    match code == SNAPSHOT_TOO_OLD || text.contains("catalog changes") {
        true => Some(NoSnapshot::OfThatTime),
        false => Some(NoSnapshot::AtAll),
    }
}

/// Whether the member refused the read because its clock has not come to the floor (72, 6.0.5): it has heard nothing of
/// those who have. It says the time that it was asked for: a later one is the client's own.
pub fn is_unheard(reply: &Reply, floor: u64) -> bool {
    const TEXTS: [&str; 2] =
        ["afterClusterTime value must not be greater", "atClusterTime value must not be greater"];
    let verdict = reply.verdict();
    let text = verdict.body.filter(|_| !verdict.ok).and_then(|body| find(body, "errmsg"));
    let Some(text) = text.and_then(|text| text.value.as_str()) else { return false };
    let asked = text.split("; current").next().unwrap_or_default();
    TEXTS.iter().any(|known| text.contains(known))
        && asked.contains(&format!("Timestamp({}, {})", floor >> 32, floor as u32))
}

/// That error in words that say what it means. The primary has heard of every time that one of the set has; so the floor is
/// of another past, mostly of before a backup was restored.
pub fn above_all(reply: &Reply, floor: u64) -> Option<CommandError> {
    if floor == 0 || !is_unheard(reply, floor) {
        return None;
    }
    let what = format_args!(
        "clients were told of a time ({}, {}) that no member has come to",
        floor >> 32,
        floor as u32
    );
    let next = "if a backup was restored, stop the toranas of the set and run `torana tag --reset-floors`; else try again";
    Some(CommandError::of_torana(ErrorCode::INVALID_OPTIONS, what, next))
}

/// Takes the time of its snapshot out of a reply: nobody asked for it. One that does not fit its buffer keeps it.
pub fn strip(reply: &mut Reply) {
    const KEY: &str = "atClusterTime";
    if !reply.is_whole() || reply.header.opcode != Opcode::Msg {
        return;
    }
    let Some(body) = reply.bytes().get(BODY_AT..) else { return };
    let place = |element: &Element<'_>, from: usize| from + element.at..from + element.at + element.raw.len();
    // In `cursor`, or beside `values`.
    let cursor = find(body, "cursor").and_then(|cursor| {
        let inner = cursor.value.as_document()?;
        let from = cursor.at + cursor.raw.len() - inner.len();
        let time = find(inner, KEY)?;
        Some((place(&time, from), Some(from)))
    });
    let Some((range, parent)) = cursor.or_else(|| find(body, KEY).map(|time| (place(&time, 0), None))) else {
        return;
    };
    let less = range.len();
    reply.buffer.splice(BODY_AT + range.start..BODY_AT + range.end, &[], 0);
    reply.header.length -= less;
    let Some(message) = reply.buffer.unread_mut().get_mut(..reply.header.length) else { return };
    Header::patch_length(message);
    for at in [Some(0), parent].into_iter().flatten() {
        if let Some(document) = message.get_mut(BODY_AT + at..)
            && let Some(length) = document.get_mut(..4)
        {
            let old = i32::from_le_bytes([length[0], length[1], length[2], length[3]]);
            length.copy_from_slice(&(old - less as i32).to_le_bytes());
        }
    }
    debug_assert!(document_length(&message[BODY_AT..]).is_ok());
}

/// Another member that serves a request in the place of the client's own.
#[derive(Debug)]
pub struct Away {
    /// Its listener, as it were.
    pub listener: Listener,
    home: PoolUse,
}

impl Away {
    /// Has `member` serve what comes next of `client`.
    pub fn to(at: &Listener, client: &mut Client, member: Arc<Member>) -> Away {
        let pool = match client.application() {
            Some(application) => member.pools.of(application),
            None => member.pools.common_use(),
        };
        let listener = Listener {
            id: at.id,
            shared: at.shared.clone(),
            member,
            names: at.names.clone(),
            hello: ArcSwapOption::empty(),
            reply_timeout: at.reply_timeout,
        };
        Away { listener, home: std::mem::replace(&mut client.pool, pool) }
    }

    /// Its own member serves it again.
    pub fn back(self, client: &mut Client) {
        client.pool = self.home;
    }
}

/// The member that answers for `at`'s, if that is known to be behind `floor`.
pub fn instead(at: &Listener, floor: u64) -> Option<Arc<Member>> {
    let member = &at.member;
    let missed = member.missed.load(Ordering::Acquire);
    if missed == 0 || floor == 0 {
        return None;
    }
    let reached = reached(member, None).unwrap_or(0);
    if reached >= missed {
        member.missed.store(0, Ordering::Release);
    }
    if reached >= floor { None } else { other(at) }
}

/// Another member that is likely to be up to date: the primary.
fn other(at: &Listener) -> Option<Arc<Member>> {
    at.member.set.primary().filter(|primary| !Arc::ptr_eq(primary, &at.member))
}

/// The latest time that a majority has as far as the member knows, by a hello that was asked for at `since` or later.
fn reached(member: &Member, since: Option<Instant>) -> Option<u64> {
    let hello = member.monitored.hello.latest()?;
    let is_new = since.is_none_or(|since| hello.asked.is_some_and(|asked| asked >= since));
    hello.description.majority_time.filter(|_| is_new)
}

/// Waits for the reply to a read that was sent at `floor`. `Err`: the member has not reached that, and another is to be
/// asked. The connection is out of step then.
pub async fn receive_or_turn(
    at: &Listener,
    client: &mut Client,
    server: &mut Checkout,
    id: i32,
    floor: u64,
) -> Result<Result<Arrival, ReplyError>, Arc<Member>> {
    let is_primary = at.member.monitored.kind() == MemberKind::Primary;
    let other = if is_primary || floor == 0 { None } else { other(at) };
    let Some(other) = other else { return Ok(receive(client, server, id, None).await) };
    let mut receiving = pin!(receive(client, server, id, None));
    tokio::select! {
        biased;
        received = &mut receiving => return Ok(received),
        () = sleep(PATIENCE) => {}
    }
    loop {
        let asked = Instant::now();
        at.member.monitored.request_check();
        tokio::select! {
            biased;
            received = &mut receiving => return Ok(received),
            () = sleep(PATIENCE) => {}
        }
        match reached(&at.member, Some(asked)) {
            // It is slow for another reason.
            Some(reached) if reached >= floor => return Ok(receiving.await),
            Some(_) => break,
            None => {}
        }
    }
    note_behind(at, floor);
    Err(other)
}

/// The member that answers in the place of `at`'s, which has not even heard of `floor`: one that copies nothing hears of
/// new times by heartbeats alone (every 2 s, 6.0). `None` if that is the primary, or there is none.
pub fn turn(at: &Listener, floor: u64) -> Option<Arc<Member>> {
    let other = other(at)?;
    note_behind(at, floor);
    Some(other)
}

/// Waits for a reply of a member that is not the client's own. What is in flight on a member that falls silent is ended
/// by its listeners, which this client did not come in on.
pub async fn receive_away(
    at: &Listener,
    client: &mut Client,
    server: &mut Checkout,
    id: i32,
) -> Result<Arrival, ReplyError> {
    while_answering(&at.member, receive(client, server, id, None)).await.unwrap_or(Err(ReplyError::Closed))
}

/// Passes a request on to `member`, which is not the client's own, as it came.
pub async fn forward_away(
    at: &Listener,
    client: &mut Client,
    request: &Request,
    member: Arc<Member>,
) -> Result<(), End> {
    let away = Away::to(at, client, member.clone());
    let done = while_answering(&member, exchange::forward(&away.listener, client, request)).await;
    away.back(client);
    done.unwrap_or_else(|| Err(End::server(format!("{} does not answer any more", member.name))))
}

/// What `work` comes to; `None` if the monitors lose `member` before, and the work is broken off.
async fn while_answering<T>(member: &Member, work: impl Future<Output = T>) -> Option<T> {
    let hello = &member.monitored.hello;
    let mut work = pin!(work);
    loop {
        let mut changed = pin!(hello.changed());
        changed.as_mut().enable();
        hello.latest()?;
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = changed => {}
        }
    }
}

fn note_behind(at: &Listener, floor: u64) {
    at.member.missed.fetch_max(floor, Ordering::AcqRel);
    at.member.metrics.traffic.members_behind.inc();
}

/// Publishes `time`, if that has to be, and raises the floors: after it, the client may be told.
pub async fn tell(at: &Listener, touched: &Touched, time: u64) -> Result<(), Unpublished> {
    let set = &at.member.set;
    if shares(touched) {
        set.horizon.publish(time).await.inspect_err(|_| at.member.metrics.traffic.unpublished.inc())?;
        if newest(set).is_none_or(|hello| hello.description.majority_time <= Some(time)) {
            set.horizon.is_newest();
        }
    }
    set.floors.raise(touched, time);
    Ok(())
}

/// What a client is told in the place of an outcome that could not be published.
pub fn untold(request: &Request, error: &Unpublished) -> CommandError {
    let what = format_args!("the outcome of {} cannot be told: {error}", request.command.name());
    let is_write = !request.is_read;
    let next = match is_write {
        true => "it was made on the servers: find out, or send it again with the same txnNumber",
        false => "try again; other collections are served",
    };
    let error = CommandError::of_torana(ErrorCode::EXCEEDED_TIME_LIMIT, what, next);
    match is_write && request.transaction.is_some() {
        true => error.labelled(Labels::RETRYABLE_WRITE),
        false => error,
    }
}

/// The same where part of the reply was passed on already: the connection ends.
pub fn broken_off(error: &Unpublished) -> End {
    End::server(format!("a large reply broken off: {error}"))
}
