//! Replies of every kind: what comes out is well-formed if what went in was, and without names it is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use torana::rewrite::{ReplyKind, rewrite_reply};
use torana::support::{choose, is_well_formed, names};
use torana::topology::GroupNames;

const KINDS: [ReplyKind; 9] = [
    ReplyKind::ReplSetGetStatus,
    ReplyKind::ReplSetGetConfig,
    ReplyKind::ReplSet,
    ReplyKind::ServerStatus,
    ReplyKind::ConnPoolStats,
    ReplyKind::GetDiagnosticData,
    ReplyKind::GetLastError,
    ReplyKind::SystemReplset,
    ReplyKind::SystemReplsetDocuments,
];

fuzz_target!(|data: &[u8]| {
    let Some((kind, body)) = choose(data, &KINDS) else { return };
    let mut out = vec![0xaa];
    match rewrite_reply(kind, body, &names(), &mut out) {
        Ok(_) => assert_eq!(is_well_formed(&out[1..]), is_well_formed(body)),
        Err(_) => assert_eq!(out, [0xaa]),
    }
    let mut same = Vec::new();
    if rewrite_reply(kind, body, &GroupNames::default(), &mut same).is_ok() {
        assert_eq!(same, body[..same.len()]);
    }
});
