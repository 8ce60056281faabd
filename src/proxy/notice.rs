//! What torana learns from replies that pass: the rare ones, off the hot path.

use std::io;
use std::sync::Arc;

use super::client::Client;
use super::context::{Listener, Member, Pool};
use super::reply::Reply;
use super::request::{Request, unwrapped};
use super::verdict;
use crate::doc::{Element, elements, find, find_path};
use crate::topology::TopologyVersion;
use crate::wire::{OpReply, Opcode, Side};

/// NoSuchTransaction.
const NO_SUCH_TRANSACTION: i64 = 251;

/// CursorNotFound.
const CURSOR_NOT_FOUND: i64 = 43;

/// Those that say that there is no primary here (mongod's category NotPrimaryError).
const NOT_PRIMARY: [i64; 6] = [10107, 13435, 10058, 189, 11602, 13436];

/// A connection broke under an exchange, `error` if the server did not just close it.
pub fn connection_failed(at: &Listener, pool: &Pool, generation: u64, error: Option<&io::Error>) {
    verdict::connection_failed(pool, &at.member.monitored, generation, error);
}

/// Whether a reply's document says that its request found no primary.
pub fn says_not_primary(body: &[u8]) -> bool {
    let code = find(body, "code").and_then(|element| element.value.as_i64());
    code.is_some_and(|code| NOT_PRIMARY.contains(&code))
}

/// An error, or a write concern error, was passed to a client.
pub fn error_passed(at: &Listener, client: &mut Client, request: &Request, body: &[u8], generation: u64) {
    let code = find(body, "code").and_then(|element| element.value.as_i64());
    let nested = find_path(body, &["writeConcernError", "code"]).and_then(|value| value.as_i64());
    for code in [code, nested].into_iter().flatten() {
        let version = find(body, "topologyVersion").and_then(|element| element.value.as_document());
        let version = version.and_then(TopologyVersion::parse);
        verdict::error_passed(&client.pool, &at.member.monitored, generation, code, version);
    }
    match (code, request.transaction.filter(|_| request.in_transaction)) {
        (Some(NO_SUCH_TRANSACTION), Some(_)) => transaction_ended(at, client, request),
        // A commit may have happened whatever is said of it, but for this label.
        (Some(_), Some(id)) if request.command.name() != "commitTransaction" || is_transient(body) => {
            at.member.set.transactions.failed(&id, &at.member, &client.transactions)
        }
        _ => {}
    }
    if let (Some(CURSOR_NOT_FOUND), Some(id)) = (code, request.cursor_id) {
        at.member.cursors.closed(id);
    }
}

/// Whether the server aborted the transaction: it says so by this label on anything but a commit.
fn is_transient(body: &[u8]) -> bool {
    let labels = find(body, "errorLabels").and_then(|element| element.value.as_document());
    labels.is_some_and(|labels| {
        let mut texts = elements(labels).map_while(Result::ok).filter_map(|label| label.value.as_str());
        texts.any(|text| text == "TransientTransactionError")
    })
}

/// The request's transaction is over on the server.
pub fn transaction_ended(at: &Listener, client: &mut Client, request: &Request) {
    if let Some(id) = request.transaction {
        at.member.set.transactions.ended(&id, &at.member, &mut client.transactions);
    }
}

/// A client asks the member to end cursors: whatever comes of it, none of them is awaited any more. Another member is
/// to be asked in its place if that has them all.
pub fn cursors_killed(at: &Listener, client: &Client, request: &Request) -> Option<Arc<Member>> {
    let Member { cursors, joins, .. } = &*at.member;
    if cursors.is_empty() && !joins.is_used() {
        return None;
    }
    let body = client.message().get(request.body_at..request.header.length).unwrap_or_default();
    let listed = find(unwrapped(body), "cursors").and_then(|list| list.value.as_document());
    let ids =
        || elements(listed.unwrap_or_default()).map_while(Result::ok).filter_map(|id| id.value.as_i64());
    let elsewhere = |id| joins.of(id).and_then(|opened| opened.elsewhere?.upgrade());
    let mut members = ids().map(elsewhere);
    let first = members.next().flatten();
    let has_all =
        |first: &Arc<Member>| members.all(|member| member.is_some_and(|member| Arc::ptr_eq(&member, first)));
    let other = first.filter(has_all);
    ids().for_each(|id| {
        cursors.closed(id);
        joins.closed(id);
    });
    other
}

/// A client asks the member to end sessions, and with them their transactions: those that the request names, or all.
pub fn sessions_ended(at: &Listener, client: &Client, request: &Request) {
    let body = client.message().get(request.body_at..request.header.length).unwrap_or_default();
    let first = elements(unwrapped(body)).next().and_then(Result::ok);
    let listed = first.and_then(|list| list.value.as_document()).unwrap_or_default();
    let session =
        |listed: Element<'_>| find(listed.value.as_document()?, "id")?.value.as_binary()?.try_into().ok();
    let sessions: Vec<[u8; 16]> = elements(listed).map_while(Result::ok).filter_map(session).collect();
    let named = request.command.name() != "killAllSessions";
    at.member.set.transactions.killed(&at.member, named.then_some(sessions.as_slice()));
}

/// A command that opens or continues an awaiting cursor was answered.
pub fn cursor_seen(at: &Listener, request: &Request, reply: &Reply) {
    match (cursor_id(reply), request.cursor_id) {
        (Some(0), Some(id)) => at.member.cursors.closed(id),
        (Some(id), _) => at.member.cursors.opened(id),
        (None, _) => {}
    }
}

/// The cursor id in a reply to find, aggregate or getMore, even if only the front of the reply is here.
pub fn cursor_id(reply: &Reply) -> Option<i64> {
    let bytes = reply.bytes();
    if reply.header.opcode == Opcode::Reply {
        let parsed = OpReply::parse(bytes, Side::Server).ok()?;
        if parsed.cursor_id != 0 || !reply.is_whole() {
            return Some(parsed.cursor_id);
        }
    }
    let at = if reply.header.opcode == Opcode::Reply { OpReply::DOCUMENTS_AT } else { 21 };
    find_path(bytes.get(at..)?, &["cursor", "id"])?.as_i64()
}
