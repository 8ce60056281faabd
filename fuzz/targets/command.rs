//! Commands: whatever they hold is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use torana::command::Fields;
use torana::rewrite::{ReplyKind, RetryScope, request_names_members};

fuzz_target!(|body: &[u8]| {
    if let Ok(fields) = Fields::read(body) {
        std::hint::black_box((
            fields.command.kind(),
            request_names_members(&fields),
            RetryScope::of(&fields),
        ));
        std::hint::black_box(ReplyKind::for_command(&fields, body));
    }
});
