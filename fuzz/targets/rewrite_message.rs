//! Whole messages from either side: re-framed with the right length and checksum, or refused and nothing written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use torana::rewrite::{ReplyKind, rewrite_reply_message, rewrite_request_message};
use torana::support::names;
use torana::wire::{Header, MESSAGE_MAX, OpMsg, Opcode, Side, checksum_matches};

fuzz_target!(|message: &[u8]| {
    let mut out = Vec::new();
    for kind in [ReplyKind::SystemReplsetDocuments, ReplyKind::ReplSetGetStatus] {
        let done = rewrite_reply_message(kind, message, &names(), &mut out);
        check(done.is_ok(), &out, Side::Server);
        out.clear();
    }
    let done = rewrite_request_message(message, &names(), &mut out);
    check(done.is_ok(), &out, Side::Client);
});

fn check(done: bool, out: &[u8], side: Side) {
    if !done {
        return assert!(out.is_empty());
    }
    let header = Header::peek(out, side, MESSAGE_MAX).unwrap().unwrap();
    assert_eq!(header.length, out.len());
    if header.opcode == Opcode::Msg {
        let parsed = OpMsg::parse(out, side).unwrap();
        assert!(!parsed.flags.checksum_present() || checksum_matches(out));
    }
}
