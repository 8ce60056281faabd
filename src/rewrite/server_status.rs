//! `serverStatus`: its section `repl` is a hello's part of names, with the members' progress if asked for.
//! `getDiagnosticData` holds that and other replies whole.

use super::rules::Rule;
use super::{conn_pool_stats, replset_status};

/// The reply. `host` beside `repl` is the operating system's name for the machine, and stays.
pub(super) const RULE: Rule = Rule::Fields(&[("repl", REPL), ("errmsg", Rule::Text), ("$err", Rule::Text)]);

const REPL: Rule = Rule::Fields(&[
    ("hosts", Rule::Each(&Rule::Name)),
    ("passives", Rule::Each(&Rule::Name)),
    ("arbiters", Rule::Each(&Rule::Name)),
    ("primary", Rule::Name),
    ("me", Rule::Name),
    ("replicationProgress", Rule::Each(&Rule::Fields(&[("host", Rule::Name)]))),
]);

/// The reply to `getDiagnosticData`.
pub(super) const DIAGNOSTIC_DATA: Rule = Rule::Fields(&[
    (
        "data",
        Rule::Fields(&[
            ("serverStatus", RULE),
            ("replSetGetStatus", replset_status::RULE),
            ("connPoolStats", conn_pool_stats::RULE),
        ]),
    ),
    ("errmsg", Rule::Text),
    ("$err", Rule::Text),
]);
