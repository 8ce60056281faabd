//! `connPoolStats`: a member's connections to the others, whose names are keys.

use super::rules::Rule;

/// Beside the hosts, a pool has numbers of its own (`poolInUse`, ...), whose keys have no colon.
pub(super) const RULE: Rule = Rule::Fields(&[
    ("hosts", Rule::Keys),
    ("pools", Rule::Each(&Rule::Keys)),
    ("replicaSets", Rule::Each(&REPLICA_SET)),
    ("errmsg", Rule::Text),
    ("$err", Rule::Text),
]);

const REPLICA_SET: Rule = Rule::Fields(&[("hosts", Rule::Each(&Rule::Fields(&[("addr", Rule::Name)])))]);
