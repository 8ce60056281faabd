//! Requests in which clients name members: the names that clients know become the members' own.

use super::RewriteError;
use super::name_map::{NameMap, Rewritten};
use super::reframe::{body_range, splice};
use super::replset_config;
use super::rules::Rewriter;
use crate::command::Fields;
use crate::doc::{Element, elements, find};
use crate::topology::{GroupNames, HostPort};
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

/// A member that the command would add to the set and that is torana itself: an address of its listeners at which there
/// is no member. In the set's configuration it would make torana a member of what it stands in front of.
pub fn adds_torana(message: &[u8], names: &GroupNames) -> Option<HostPort> {
    let body = message.get(body_range(message, Side::Client).ok()?)?;
    let command = elements(body).next()?.ok()?;
    if !matches!(command.key, b"replSetReconfig" | b"replSetInitiate") {
        return None;
    }
    let members = find(command.value.as_document()?, "members")?.value.as_document()?;
    let host = |member: Element<'_>| find(member.value.as_document()?, "host")?.value.as_str()?.parse().ok();
    elements(members).map_while(Result::ok).filter_map(host).find(|host| names.is_nobodys(host))
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
