//! Requests in which clients name members: the names that clients know become the members' own.

use super::RewriteError;
use super::name_map::{NameMap, Rewritten};
use super::reframe::{body_range, splice};
use super::replset_config;
use super::rules::Rewriter;
use crate::command::Fields;
use crate::topology::GroupNames;
use crate::wire::Side;

/// Whether the command names members, so that [`rewrite_request`] must see it. Names that the group does not know,
/// those of members to be added, pass as they are.
#[inline]
pub fn request_names_members(fields: &Fields<'_>) -> bool {
    matches!(
        fields.name,
        b"replSetReconfig"
            | b"replSetInitiate"
            | b"replSetSyncFrom"
            | b"replSetTestEgress"
            | b"dropConnections"
    )
}

/// Appends the command to `out` with the names that clients know replaced by the members' own. On an error `out` is
/// as long as it was, and the request must not be sent.
pub fn rewrite_request(
    body: &[u8],
    names: &GroupNames,
    out: &mut Vec<u8>,
) -> Result<Rewritten, RewriteError> {
    let mut rewriter = Rewriter::new(NameMap::to_server(names));
    rewriter.document(body, &replset_config::REQUEST, out)?;
    Ok(rewriter.done())
}

/// The same for a whole message, OP_MSG or OP_QUERY.
pub fn rewrite_request_message(
    message: &[u8],
    names: &GroupNames,
    out: &mut Vec<u8>,
) -> Result<Rewritten, RewriteError> {
    let body = message.get(body_range(message, Side::Client)?).unwrap_or_default();
    let mut done = Rewritten::default();
    splice(message, Side::Client, out, |out| {
        done = rewrite_request(body, names, out)?;
        Ok(())
    })?;
    Ok(done)
}
