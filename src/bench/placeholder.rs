//! Placeholders: strings of a workload file in whose place every operation has a value of its own.

use crate::config::did_you_mean;

/// The longest random string, bytes.
const STRING_MAX: usize = 1 << 20;

/// What stands in the place of a placeholder.
#[derive(Debug, Clone, PartialEq)]
pub enum Slot {
    /// `$key`: the number of a document, drawn as `[run] keys` says.
    Key,
    /// `$next`: a number that no document has yet.
    Next,
    /// `$int:LOW..HIGH`: a whole number, both ends included.
    Int {
        /// The lowest.
        low: i64,
        /// The highest.
        high: i64,
    },
    /// `$random`: a number from 0 to 1.
    Random,
    /// `$string:LENGTH` or `$string:MIN..MAX`: letters and digits.
    Text {
        /// The shortest, bytes.
        min: usize,
        /// The longest.
        max: usize,
    },
    /// `$choice:A,B,C`: one of them.
    Choice(Vec<String>),
    /// `$now`: the time.
    Now,
    /// `$objectid`: a new ObjectId.
    ObjectId,
    /// `$null`: always the same, but TOML has no word for it.
    Null,
    /// `$document`: a document as the load's, with a number that none has yet.
    Document,
}

/// All of them as a user writes them.
pub const NAMES: [&str; 10] = [
    "$key",
    "$next",
    "$int:LOW..HIGH",
    "$random",
    "$string:LENGTH",
    "$choice:A,B,..",
    "$now",
    "$objectid",
    "$null",
    "$document",
];

/// What a string is.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// A placeholder.
    Slot(Slot),
    /// Itself.
    Text,
}

/// Reads a string. `paths`: it stands where MongoDB takes field paths (`"$name"`), so that an unknown word is one.
pub fn read(text: &str, paths: bool) -> Result<Meaning, String> {
    let Some(word) = text.strip_prefix('$') else { return Ok(Meaning::Text) };
    // `$$NOW` and the like are MongoDB's own variables.
    if word.starts_with('$') {
        return Ok(Meaning::Text);
    }
    let (name, argument) = match word.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (word, None),
    };
    let wrong = |what: &str| format!("{text:?}: write {what}");
    let slot = match (name, argument) {
        ("key", None) => Slot::Key,
        ("next", None) => Slot::Next,
        ("random", None) => Slot::Random,
        ("now", None) => Slot::Now,
        ("objectid", None) => Slot::ObjectId,
        ("null", None) => Slot::Null,
        ("document", None) => Slot::Document,
        ("int", Some(argument)) => {
            integer(argument).ok_or_else(|| wrong("$int:LOW..HIGH, such as $int:1..100"))?
        }
        ("string", Some(argument)) => string(argument)
            .ok_or_else(|| wrong("$string:LENGTH or $string:MIN..MAX, of at most 1048576 characters"))?,
        ("choice", Some(argument)) if !argument.is_empty() => {
            Slot::Choice(argument.split(',').map(|one| one.trim().to_owned()).collect())
        }
        // Without their argument they may be field paths.
        _ if paths && argument.is_none() => return Ok(Meaning::Text),
        _ => return Err(unknown(text, name)),
    };
    Ok(Meaning::Slot(slot))
}

fn integer(argument: &str) -> Option<Slot> {
    let (low, high) = argument.split_once("..")?;
    let (low, high) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
    (low <= high).then_some(Slot::Int { low, high })
}

fn string(argument: &str) -> Option<Slot> {
    let (min, max) = argument.split_once("..").unwrap_or((argument, argument));
    let (min, max): (usize, usize) = (min.trim().parse().ok()?, max.trim().parse().ok()?);
    (min <= max && max <= STRING_MAX).then_some(Slot::Text { min, max })
}

fn unknown(text: &str, name: &str) -> String {
    let of = |full: &'static str| full.split(':').next().unwrap_or(full).trim_start_matches('$');
    let meant = did_you_mean(name, NAMES.map(of));
    let meant = meant.and_then(|meant| NAMES.into_iter().find(|full| of(full) == meant));
    let meant = meant.map_or(String::new(), |meant| format!("; did you mean {meant}?"));
    format!("there is no placeholder {text:?}, only {}{meant}", NAMES.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(text: &str) -> Slot {
        match read(text, false).unwrap() {
            Meaning::Slot(slot) => slot,
            Meaning::Text => panic!("{text} is no placeholder"),
        }
    }

    #[test]
    fn placeholders_are_read_with_their_arguments() {
        assert_eq!(slot("$key"), Slot::Key);
        assert_eq!(slot("$int:-5..5"), Slot::Int { low: -5, high: 5 });
        assert_eq!(slot("$string:16"), Slot::Text { min: 16, max: 16 });
        assert_eq!(slot("$string:1..9"), Slot::Text { min: 1, max: 9 });
        assert_eq!(slot("$choice:red, green"), Slot::Choice(vec!["red".into(), "green".into()]));
    }

    #[test]
    fn what_is_mongodbs_own_passes() {
        assert_eq!(read("plain", false), Ok(Meaning::Text));
        assert_eq!(read("$$NOW", false), Ok(Meaning::Text));
        assert_eq!(read("$player", true), Ok(Meaning::Text));
        assert_eq!(read("$string", true), Ok(Meaning::Text));
    }

    #[test]
    fn slips_of_the_pen_are_refused_with_what_was_meant() {
        let error = read("$kye", false).unwrap_err();
        assert!(error.ends_with("did you mean $key?"), "{error}");
        let error = read("$sting:5", true).unwrap_err();
        assert!(error.ends_with("did you mean $string:LENGTH?"), "{error}");
        for text in ["$int:5..1", "$int:x", "$string:9..1", "$string:99999999", "$choice:", "$player"] {
            assert!(read(text, false).is_err(), "{text}");
        }
    }
}
