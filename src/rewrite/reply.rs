//! Which replies name members, and rewriting them.

use super::RewriteError;
use super::name_map::{NameMap, Rewritten};
use super::reframe::{body_range, splice};
use super::rules::{Rewriter, Rule};
use super::{conn_pool_stats, last_error, replset_config, replset_status, server_status};
use crate::command::Fields;
use crate::doc::{document_length, find};
use crate::topology::GroupNames;
use crate::wire::Side;

/// The collection of the database `local` that holds the set's configuration.
const STORED_IN: &[u8] = b"system.replset";

/// A reply that may name members. All others stream through unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplyKind {
    /// `replSetGetStatus`.
    ReplSetGetStatus,
    /// `replSetGetConfig`.
    ReplSetGetConfig,
    /// `replSetInitiate`, `replSetReconfig`, `replSetSyncFrom`, ...: every other `replSet` command.
    ReplSet,
    /// `serverStatus`.
    ServerStatus,
    /// `connPoolStats`.
    ConnPoolStats,
    /// `getDiagnosticData`.
    GetDiagnosticData,
    /// `getLastError`.
    GetLastError,
    /// find, aggregate, distinct or getMore on `local.system.replset`, or an aggregate that joins it.
    SystemReplset,
    /// OP_REPLY to OP_QUERY or OP_GET_MORE on `local.system.replset`: each document is a configuration.
    SystemReplsetDocuments,
}

impl ReplyKind {
    /// The kind of the reply to the command in `body`, from which `fields` were read; for an OP_QUERY set
    /// `fields.database` from the namespace first.
    #[inline]
    pub fn for_command(fields: &Fields<'_>, body: &[u8]) -> Option<ReplyKind> {
        match fields.name {
            b"serverStatus" => Some(ReplyKind::ServerStatus),
            b"connPoolStats" => Some(ReplyKind::ConnPoolStats),
            b"getDiagnosticData" => Some(ReplyKind::GetDiagnosticData),
            b"getLastError" | b"getlasterror" => Some(ReplyKind::GetLastError),
            b"replSetGetStatus" => Some(ReplyKind::ReplSetGetStatus),
            b"replSetGetConfig" => Some(ReplyKind::ReplSetGetConfig),
            // A message of few bytes and no such command in a steady load: the prefix is cheaper than a list.
            name if name.starts_with(b"replSet") => Some(ReplyKind::ReplSet),
            _ if fields.database == b"local" => ReplyKind::for_local(fields, body),
            _ => None,
        }
    }

    /// The kind of the reply to OP_QUERY or OP_GET_MORE on this namespace.
    pub fn for_namespace(namespace: &[u8]) -> Option<ReplyKind> {
        (namespace == b"local.system.replset").then_some(ReplyKind::SystemReplsetDocuments)
    }

    fn for_local(fields: &Fields<'_>, body: &[u8]) -> Option<ReplyKind> {
        let collection = match fields.name {
            b"getMore" => find(body, "collection")?.value.as_str()?.as_bytes(),
            _ => fields.collection?,
        };
        // A pipeline on another collection of the database may join it. On another database it cannot (mongod 6.0:
        // "$lookup with syntax {from: {db:<>, coll:<>},..} is not supported").
        let joins = || fields.name == b"aggregate" && contains(body, STORED_IN);
        (collection == STORED_IN || joins()).then_some(ReplyKind::SystemReplset)
    }

    fn rule(self) -> &'static Rule {
        match self {
            ReplyKind::ReplSetGetStatus => &replset_status::RULE,
            ReplyKind::ReplSetGetConfig => &replset_config::GET,
            ReplyKind::ReplSet | ReplyKind::SystemReplsetDocuments => &replset_config::CHANGED,
            ReplyKind::ServerStatus => &server_status::RULE,
            ReplyKind::ConnPoolStats => &conn_pool_stats::RULE,
            ReplyKind::GetDiagnosticData => &server_status::DIAGNOSTIC_DATA,
            ReplyKind::GetLastError => &last_error::RULE,
            ReplyKind::SystemReplset => &replset_config::STORED,
        }
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// Appends the reply's document to `out` with members' names replaced by those that clients know. On an error `out`
/// is as long as it was, and the reply must not be passed on.
pub fn rewrite_reply(
    kind: ReplyKind,
    body: &[u8],
    names: &GroupNames,
    out: &mut Vec<u8>,
) -> Result<Rewritten, RewriteError> {
    let mut rewriter = Rewriter::new(NameMap::to_client(names));
    rewriter.document(body, kind.rule(), out)?;
    Ok(rewriter.done())
}

/// The same for a whole message that the server sent, OP_MSG or OP_REPLY with any number of documents.
pub fn rewrite_reply_message(
    kind: ReplyKind,
    message: &[u8],
    names: &GroupNames,
    out: &mut Vec<u8>,
) -> Result<Rewritten, RewriteError> {
    let mut rest = message.get(body_range(message, Side::Server)?).unwrap_or_default();
    let mut rewriter = Rewriter::new(NameMap::to_client(names));
    splice(message, Side::Server, out, |out| {
        while !rest.is_empty() {
            let (document, behind) = rest.split_at(document_length(rest)?);
            rewriter.document(document, kind.rule(), out)?;
            rest = behind;
        }
        Ok(())
    })?;
    Ok(rewriter.done())
}
