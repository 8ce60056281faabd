//! Which fields are secret, which commands are.

use super::queue::Policy;
use crate::doc::{Marks, Names};

/// Fields whose values never reach a file, whatever else is kept.
pub const FIELDS: &[&str] = &[
    // Parse's.
    "_hashed_password",
    "_password_history",
    "_session_token",
    "sessionToken",
    "_perishable_token",
    "_email_verify_token",
    "authData",
    "deviceToken",
    // Everybody's.
    "password",
    "pwd",
    "credentials",
    "storedKey",
    "serverKey",
    "salt",
    "payload",
    "secret",
    "clientSecret",
    "client_secret",
    "apiKey",
    "api_key",
    "privateKey",
    "private_key",
    "accessToken",
    "access_token",
    "refreshToken",
    "refresh_token",
    "id_token",
    // The beginning of a login inside a hello.
    "speculativeAuthenticate",
    // The server's own words about values: what a schema did not allow, and commands that were too long to be shown.
    "consideredValue",
    "consideredValues",
    "$truncated",
    "truncatedObj",
    "duplicatedValue",
    // Of plans that are compiled, text with constants in it.
    "slotBasedPlan",
    "cachedPlan",
    "execStats",
];

/// A field that begins so is secret, too: one for each service that Parse's users log in with.
const PREFIX: &[u8] = b"_auth_data_";

/// Of these commands only the name is kept, and of their replies only the facts.
static SECRET: Names = Names::new(&[
    b"saslStart",
    b"saslContinue",
    b"authenticate",
    b"logout",
    b"getnonce",
    b"createUser",
    b"updateUser",
    b"copydb",
    b"copydbgetnonce",
    b"copydbsaslstart",
    b"setParameter",
]);

/// The replies of these are text, in part, in which any value can stand.
static TEXT: Names = Names::new(&[
    b"getLog",
    b"getCmdLineOpts",
    b"getParameter",
    b"explain",
    b"currentOp",
    b"mapReduce",
    b"mapreduce",
]);

static HELLO: Names = Names::new(&[b"hello", b"isMaster", b"ismaster"]);

/// What the name of a command tells of what may be kept.
pub fn policy(name: &[u8]) -> Policy {
    match name {
        _ if SECRET.has(name) => Policy::Secret,
        _ if TEXT.has(name) => Policy::Text,
        _ if HELLO.has(name) => Policy::Hello,
        _ => Policy::Open,
    }
}

/// The secret fields of one capture.
#[derive(Debug)]
pub struct Listed {
    names: Vec<Vec<u8>>,
    /// Of what may be one: most keys of a document are told from all names by it.
    marks: Marks,
    /// The least length of a path to one of them.
    path_min: usize,
}

impl Listed {
    /// Those of `FIELDS`, and `more`.
    pub fn new(more: &[String]) -> Listed {
        let names = FIELDS.iter().map(|name| (*name).to_owned()).chain(more.iter().cloned());
        let names: Vec<Vec<u8>> = names.map(String::into_bytes).filter(|name| !name.is_empty()).collect();
        let marked = |marks: Marks, name: &Vec<u8>| marks.with(name).with(&[CHANGED, name].concat());
        let marks = names.iter().fold(Marks::new(), marked);
        // A name, a dot, and at least one digit or letter before or behind it.
        let path_min = names.iter().map(Vec::len).min().unwrap_or(0) + 2;
        Listed { names, marks, path_min }
    }

    /// Whether this key, or a part of it if it is a path, is secret.
    #[inline]
    pub fn has(&self, key: &[u8]) -> bool {
        // Most keys are told by their ends and their length.
        let may_be_path = key.len() >= self.path_min && has_dot(key);
        (self.marks.may_have(key) || key.len() >= PREFIX.len() || may_be_path) && self.has_part(key)
    }

    fn has_part(&self, key: &[u8]) -> bool {
        key.split(|byte| *byte == b'.').any(|part| self.has_name(part))
    }

    /// Whether this text is a path in an expression, `$authData.facebook.id`, to something secret.
    pub fn has_path(&self, text: &[u8]) -> bool {
        text.first() == Some(&b'$') && self.has(text.strip_prefix(b"$$").unwrap_or(&text[1..]))
    }

    /// Whether this text names a secret field anywhere.
    pub fn is_named_in(&self, text: &[u8]) -> bool {
        let named = |name: &[u8]| text.windows(name.len()).any(|part| part == name);
        named(PREFIX) || self.names.iter().any(|name| named(name))
    }

    fn has_name(&self, name: &[u8]) -> bool {
        let is_listed = |name: &[u8]| self.names.iter().any(|listed| listed == name);
        let is_changed = |name: &[u8]| name.strip_prefix(CHANGED).is_some_and(is_listed);
        begins(name) || (self.marks.may_have(name) && (is_listed(name) || is_changed(name)))
    }
}

/// Whether there is a dot in a key, eight bytes at a time.
#[inline]
fn has_dot(key: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = key.as_chunks::<8>();
    let in_word = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word) ^ (ONES * b'.' as u64);
        word.wrapping_sub(ONES) & !word & (ONES << 7) != 0
    };
    words.iter().any(in_word) || rest.contains(&b'.')
}

/// Whether a name is secret by its beginning.
#[inline]
fn begins(name: &[u8]) -> bool {
    match name.first() {
        Some(b'_') => name.starts_with(PREFIX),
        Some(b's') => name.strip_prefix(CHANGED).is_some_and(|name| name.starts_with(PREFIX)),
        _ => false,
    }
}

/// The oplog has changes inside a field under its name with this before it.
const CHANGED: &[u8] = b"s";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_by_beginning_and_in_paths() {
        let listed = Listed::new(&["pin".to_owned(), String::new()]);
        for key in [
            "_hashed_password",
            "_auth_data_facebook",
            "s_auth_data_x",
            "spassword",
            "spin",
            "authData.facebook.id",
            "a.0.pwd",
            "pin",
            "a.pin",
            "pin.a",
            "abcdefgh.pin",
            "abcdefg.pin",
        ] {
            assert!(listed.has(key.as_bytes()), "{key}");
        }
        for key in ["", "passwords", "name", "authDat", "a.b", "$db", "."] {
            assert!(!listed.has(key.as_bytes()), "{key}");
        }
        for path in ["$_session_token", "$$ROOT.pin", "$authData.x"] {
            assert!(listed.has_path(path.as_bytes()), "{path}");
        }
        assert!(!listed.has_path(b"_session_token") && !listed.has_path(b"$name") && !listed.has_path(b""));
        assert!(listed.is_named_in(b"dup key: { _auth_data_x: 1 }") && !listed.is_named_in(b"dup key"));
    }

    #[test]
    fn commands_are_told_by_their_names() {
        assert_eq!(policy(b"createUser"), Policy::Secret);
        assert_eq!(policy(b"explain"), Policy::Text);
        assert_eq!(policy(b"ismaster"), Policy::Hello);
        assert_eq!(policy(b"find"), Policy::Open);
    }
}
