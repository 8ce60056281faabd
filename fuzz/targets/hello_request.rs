//! Hello requests, the first and the second of a connection: taken or refused with an error that can be sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use torana::rewrite::HelloRequest;
use torana::support::is_well_formed;

fuzz_target!(|body: &[u8]| {
    for exhaust in [false, true] {
        let mut settled = false;
        for _ in 0..2 {
            match HelloRequest::read(body, exhaust, &mut settled) {
                Ok(hello) => assert!(hello.awaits.is_none_or(|(version, _)| version.counter >= 0)),
                Err(error) => {
                    let mut out = Vec::new();
                    error.write_document(&mut out);
                    assert!(is_well_formed(&out));
                }
            }
        }
    }
});
