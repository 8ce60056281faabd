//! Bytes that nobody should have written: nothing panics, and memory stays within the bytes that there are.

use proptest::prelude::*;

use super::profile::documents;
use super::{Format, Input, imported, playback};

const FORMATS: [Format; 2] = [Format::Mongoreplay, Format::Profiler];

/// A good file of each kind.
fn good(kind: usize) -> (Format, Vec<u8>) {
    let profile: Vec<u8> =
        documents().iter().flat_map(|document| bson::serialize_to_vec(document).unwrap()).collect();
    match kind {
        0 => (Format::Mongoreplay, playback::conversation()),
        _ => (Format::Profiler, profile),
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), front in 0usize..3) {
        for format in FORMATS {
            let (_, good) = good(front);
            let known = good.len().min(60) * usize::from(front < 2);
            let file = [&good[..known], &bytes].concat();
            let _ = imported(format, &[&file]);
            let _ = Input::new(std::io::Cursor::new(file)).map(|input| input.format());
        }
    }

    #[test]
    fn damage_makes_nothing_panic(
        kind in 0usize..2,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (format, mut file) = good(kind);
        for (at, with) in changes {
            let at = at.index(file.len());
            file[at] = with;
        }
        let _ = imported(format, &[&file]);
        file.truncate(cut.index(file.len()));
        let _ = imported(format, &[&file]);
    }
}
