//! Names inside running text: `Error connecting to db1:27017 :: caused by :: ...`.

use super::name_map::NameMap;

/// Appends `text` to `out` with every known name replaced; returns how many there were.
///
/// A name is taken as a whole: `db1:27017` is found neither in `mydb1:27017` nor in `db1:270170`. Unknown ones
/// stay, uncounted: in running text `12:30` may as well be a time.
pub(super) fn replace_names(text: &[u8], map: &NameMap<'_>, out: &mut Vec<u8>) -> usize {
    let mut changed = 0;
    // Up to where `text` was copied, and where to look for the next colon.
    let (mut copied, mut at) = (0, 0);
    while let Some(offset) = text.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == b':')) {
        let colon = at + offset;
        at = colon + 1;
        let Some(end) = port_end(text, colon) else { continue };
        let Some((start, name)) = known_name(text, copied, colon, end, map) else { continue };
        out.extend_from_slice(text.get(copied..start).unwrap_or_default());
        out.extend_from_slice(name.as_bytes());
        changed += 1;
        copied = end;
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    changed
}

/// Where the port that begins behind `colon` ends; `None` if there is none, or letters follow it.
fn port_end(text: &[u8], colon: usize) -> Option<usize> {
    let rest = text.get(colon + 1..)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let follows = rest.get(digits).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    (digits > 0 && !follows).then_some(colon + 1 + digits)
}

/// The longest run of a host's characters before `colon`, not before `least`, looked up with its port. Dots and
/// dashes before a host are punctuation: they are given up if the name is not known with them.
fn known_name<'n>(
    text: &[u8],
    least: usize,
    colon: usize,
    end: usize,
    map: &NameMap<'n>,
) -> Option<(usize, &'n str)> {
    let before = text.get(least..colon)?;
    let mut start = match before.last() {
        Some(b']') => least + before.iter().rposition(|&byte| byte == b'[')?,
        _ => colon - before.iter().rev().take_while(|&&byte| is_host_byte(byte)).count(),
    };
    loop {
        if let Some(name) = map.exactly(text.get(start..end)?) {
            return Some((start, name));
        }
        if !matches!(text.get(start)?, b'.' | b'-') {
            return None;
        }
        start += 1;
    }
}

/// The bytes of a host's name; those above 127 because MongoDB does not ask for ASCII.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') || byte > 127
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::GroupNames;
    use proptest::prelude::*;

    fn names() -> GroupNames {
        let pairs = [("db1:27017", "gate:1"), ("db2.example:27017", "gate:2"), ("[::1]:27017", "gate:3")];
        GroupNames::new(pairs.map(|(own, name)| (own.to_owned(), name.to_owned())))
    }

    fn replaced(text: &str) -> String {
        let names = names();
        let mut out = Vec::new();
        replace_names(text.as_bytes(), &NameMap::to_client(&names), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn whole_names_are_replaced_wherever_they_stand() {
        let text = "Error connecting to DB1:27017 :: caused by :: (db2.example:27017,[::1]:27017).";
        assert_eq!(replaced(text), "Error connecting to gate:1 :: caused by :: (gate:2,gate:3).");
        assert_eq!(replaced("db1:27017"), "gate:1");
        assert_eq!(replaced("found:db1:27017:db1:27017"), "found:gate:1:gate:1");
        assert_eq!(replaced("...db1:27017..."), "...gate:1...");
        assert_eq!(replaced("mongodb://db1:27017/?x"), "mongodb://gate:1/?x");
        assert_eq!(replaced("--db1:27017 --db2.example:27017"), "--gate:1 --gate:2");
    }

    #[test]
    fn parts_of_longer_names_and_ports_stay() {
        for text in [
            "mydb1:27017",
            "db1:270170",
            "db1:2701",
            "my.db1:27017",
            "my-db1:27017",
            "db1:27017a",
            "db1:",
            ":27017",
            "db1 :27017",
            "12:30:00",
            "[::2]:27017",
            "]:27017",
            "",
            ":",
            "x_db1:27017",
            "üdb1:27017",
        ] {
            assert_eq!(replaced(text), text);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_pass_and_without_names_unchanged(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (names, none) = (names(), GroupNames::default());
            let mut out = Vec::new();
            replace_names(&text, &NameMap::to_client(&names), &mut out);
            out.clear();
            prop_assert_eq!(replace_names(&text, &NameMap::to_client(&none), &mut out), 0);
            prop_assert_eq!(out, text);
        }

        #[test]
        fn text_of_the_alphabet_of_names_passes(text in "[db1:27\\[\\]. -]{0,60}") {
            let names = names();
            let mut out = Vec::new();
            let changed = replace_names(text.as_bytes(), &NameMap::to_client(&names), &mut out);
            let out = String::from_utf8(out).unwrap();
            prop_assert_eq!(out.matches("gate:").count(), changed);
        }
    }
}
