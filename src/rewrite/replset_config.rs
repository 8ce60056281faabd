//! The replica set's configuration: `replSetGetConfig`, and `replSetReconfig` and `replSetInitiate` that set it.
//!
//! `members[].horizons` passes as it is: split horizons are names that the servers themselves answer with, and
//! torana asks them without one.

use super::rules::Rule;

/// A configuration document.
const CONFIG: Rule = Rule::Fields(&[("members", Rule::Each(&Rule::Fields(&[("host", Rule::Name)])))]);

/// The reply to `replSetGetConfig`.
pub(super) const GET: Rule =
    Rule::Fields(&[("config", CONFIG), ("errmsg", Rule::Text), ("$err", Rule::Text)]);

/// Replies to the other `replSet...` commands: errors name the member that could not be reached or stands twice,
/// `replSetInitiate` without a configuration says what it made up (`me`, `info2`), `replSetSyncFrom` from where it
/// synced before.
pub(super) const CHANGED: Rule = Rule::Anywhere;

/// The reply to a query on `local.system.replset`: batches of configurations, or of whatever a pipeline made of
/// them.
pub(super) const STORED: Rule = Rule::Fields(&[
    ("cursor", Rule::Anywhere),
    ("values", Rule::Anywhere),
    ("errmsg", Rule::Text),
    ("$err", Rule::Text),
]);

/// Requests that bring a configuration or name a member.
pub(super) const REQUEST: Rule = Rule::Fields(&[
    ("replSetReconfig", CONFIG),
    ("replSetInitiate", CONFIG),
    ("replSetSyncFrom", Rule::Name),
    ("target", Rule::Name),
    ("hostAndPort", Rule::Each(&Rule::Name)),
]);
