//! What the level of a collection asks of a request on it: found out once, before anything is sent.

use super::command;
use crate::config::{Level, TagError};
use crate::consistency::{Role, Touched, is_metadata, joined};
use crate::doc::find;
use crate::proxy::awaiting;
use crate::proxy::client::Client;
use crate::proxy::context::Listener;
use crate::proxy::joins::Opened;
use crate::proxy::namespace::{namespace, namespaces_of_bulk, split};
use crate::proxy::request::{Request, Route, unwrapped};
use crate::wire::Opcode;

/// What a request is, where there are tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
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
    pub(super) fn reveals(self) -> bool {
        !matches!(self, Act::Start | Act::Continue | Act::Refuse(_))
    }
}

/// What is done with a request because of a tag.
#[derive(Debug)]
pub struct Plan {
    pub(super) act: Act,
    pub(super) touched: Touched,
    /// The getMores of the cursor that it opens do not name all of these, or not the level that it asks for.
    pub(super) joins: bool,
    /// What is known of the cursor that it continues.
    pub(super) continues: Option<Opened>,
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
pub(super) fn asked_for(body: &[u8]) -> Option<Result<Level, TagError>> {
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
