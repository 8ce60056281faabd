//! A member's hello reply: what clients get of it is well-formed, in either spelling, and names no member.
#![no_main]

use libfuzzer_sys::fuzz_target;
use torana::doc::{BsonType, elements, find};
use torana::rewrite::{HelloAsked, HelloTemplate, Spelling};
use torana::support::names;

fuzz_target!(|copy: &[u8]| {
    let Ok(template) = HelloTemplate::new(copy, &names()) else { return };
    for spelling in [Spelling::Modern, Spelling::Legacy] {
        for hello_ok in [false, true] {
            let mut out = vec![0xaa];
            template.write(&HelloAsked { spelling, hello_ok, connection_id: 77 }, &mut out);
            let document = &out[1..];
            assert!(document.len() <= template.length_max());
            assert!(elements(document).all(|element| element.is_ok()));
            assert_eq!(find(document, "helloOk").is_some(), hello_ok);
            if let Some(id) = find(document, "connectionId") {
                assert_eq!((id.value.kind, id.value.as_i64()), (BsonType::Int32, Some(77)));
            }
            for key in ["me", "primary"] {
                let name = find(document, key).and_then(|name| name.value.as_str());
                assert!(name.is_none_or(|name| name.starts_with("gate.example:")));
            }
        }
    }
});
