//! Documents: elements cover them, and no value is read past its end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use torana::doc::{document_length, elements, find, find_path};
use torana::support::{is_well_formed, read_every_value};

fuzz_target!(|document: &[u8]| {
    let mut covered = 5;
    let all: Result<Vec<_>, _> = elements(document).collect();
    if let Ok(all) = all {
        for element in &all {
            assert_eq!(&document[element.at..element.at + element.raw.len()], element.raw);
            covered += element.raw.len();
        }
        assert_eq!(document_length(document), Ok(covered));
    }
    read_every_value(document);
    is_well_formed(document);
    let _ = std::hint::black_box(find(document, "a"));
    let _ = std::hint::black_box(find_path(document, &["config", "members", "0", "host"]));
});
