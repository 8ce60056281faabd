//! Messages of every opcode: what parses lies within its message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use torana::wire::{Header, LegacyRequest, MESSAGE_MAX, OpMsg, OpQuery, OpReply, Opcode, Section, Side};

fuzz_target!(|message: &[u8]| {
    if let Ok(Some(header)) = Header::peek(message, Side::Client, MESSAGE_MAX) {
        assert!((16..=MESSAGE_MAX).contains(&header.length));
        assert_eq!(header.to_bytes(), message[..16]);
    }
    if let Ok(parsed) = OpMsg::parse(message, Side::Client) {
        assert_eq!(&message[parsed.body_at..parsed.body_at + parsed.body.len()], parsed.body);
        let bodies = parsed.sections().filter(|section| matches!(section, Ok(Section::Body(_)))).count();
        assert_eq!(bodies, 1);
    }
    if let Ok(parsed) = OpQuery::parse(message, Side::Client) {
        assert_eq!(&message[parsed.query_at..parsed.query_at + parsed.query.len()], parsed.query);
        assert!(parsed.namespace.starts_with(parsed.database()));
        std::hint::black_box((parsed.is_command(), parsed.flags.exhaust(), parsed.flags.tailable_await()));
    }
    let _ = std::hint::black_box(OpReply::parse(message, Side::Server));
    let _ = std::hint::black_box(LegacyRequest::parse(message, Opcode::Insert, Side::Client));
    std::hint::black_box(torana::wire::checksum_matches(message));
});
