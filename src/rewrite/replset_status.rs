//! `replSetGetStatus`: what a member knows of the others.

use super::rules::Rule;

/// `syncingTo` stands for `syncSourceHost` in servers before 4.0. The texts say which host a heartbeat failed for
/// and why a sync source was left. An initial sync tells its attempts, each with its source, in a form that
/// changes with every version.
pub(super) const RULE: Rule = Rule::Fields(&[
    ("syncSourceHost", Rule::Name),
    ("syncingTo", Rule::Name),
    ("members", Rule::Each(&MEMBER)),
    ("initialSyncStatus", Rule::Anywhere),
    ("electionCandidateMetrics", Rule::Anywhere),
    ("electionParticipantMetrics", Rule::Anywhere),
    ("info", Rule::Text),
    ("errmsg", Rule::Text),
    ("$err", Rule::Text),
]);

const MEMBER: Rule = Rule::Fields(&[
    ("name", Rule::Name),
    ("syncSourceHost", Rule::Name),
    ("syncingTo", Rule::Name),
    ("lastHeartbeatMessage", Rule::Text),
    ("infoMessage", Rule::Text),
    ("errmsg", Rule::Text),
]);
