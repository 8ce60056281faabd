//! Addresses of members as MongoDB writes them: `host:port`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// The port of an address that names none.
pub const DEFAULT_PORT: u16 = 27017;

/// Longest host that is accepted, bytes: DNS allows 253, IPv6 literals with a zone less.
const HOST_MAX: usize = 255;

/// A host and a port. Two are equal when they differ in the case of letters only, as drivers compare them (SDAM
/// specification, "address"); the spelling that was parsed is kept beside, because mongod itself compares exactly.
#[derive(Debug, Clone)]
pub struct HostPort {
    host: String,
    port: u16,
    spelled: String,
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no host before the port.
    #[error("address {0:?} has no host")]
    NoHost(String),
    /// The port is not a number from 1 to 65535.
    #[error("address {0:?} has no port from 1 to 65535 behind its colon")]
    Port(String),
    /// A bracket without its partner, or a letter that no host name has.
    #[error("address {0:?} is not of the form host:port")]
    Form(String),
}

impl HostPort {
    /// An address from its parts. An IPv6 literal is given without brackets.
    pub fn new(host: &str, port: u16) -> HostPort {
        let mut made = HostPort { host: host.to_ascii_lowercase(), port, spelled: String::new() };
        made.spelled = made.to_string();
        made
    }

    /// The host, lower-cased; an IPv6 literal without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address as it was spelled where it was parsed from, the replica set's configuration for example.
    pub fn spelled(&self) -> &str {
        &self.spelled
    }
}

impl FromStr for HostPort {
    type Err = AddressError;

    /// Parses `host`, `host:port`, `[v6]`, `[v6]:port`, and a bare IPv6 literal (more than one colon).
    fn from_str(text: &str) -> Result<HostPort, AddressError> {
        let (host, port) = split(text)?;
        let wrong = |c: char| c.is_whitespace() || c.is_control() || "/?@,[]\\\"'".contains(c);
        if host.is_empty() {
            return Err(AddressError::NoHost(text.to_owned()));
        }
        if host.len() > HOST_MAX || host.contains(wrong) {
            return Err(AddressError::Form(text.to_owned()));
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or(AddressError::Port(text.to_owned()))?
            }
            Some(_) => return Err(AddressError::Port(text.to_owned())),
        };
        Ok(HostPort { host: host.to_ascii_lowercase(), port, spelled: text.to_owned() })
    }
}

fn split(text: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some(inside) = text.strip_prefix('[') {
        let (host, rest) = inside.split_once(']').ok_or(AddressError::Form(text.to_owned()))?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(AddressError::Form(text.to_owned())),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl PartialEq for HostPort {
    fn eq(&self, other: &HostPort) -> bool {
        self.port == other.port && self.host == other.host
    }
}

impl Eq for HostPort {}

impl Hash for HostPort {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.host.hash(state);
        self.port.hash(state);
    }
}

impl PartialOrd for HostPort {
    fn partial_cmp(&self, other: &HostPort) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for HostPort {
    fn cmp(&self, other: &HostPort) -> std::cmp::Ordering {
        (&self.host, self.port).cmp(&(&other.host, other.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_literals_and_missing_ports_are_understood() {
        for (text, shown) in [
            ("DB1.Example:27018", "db1.example:27018"),
            ("db1", "db1:27017"),
            ("[::1]:27019", "[::1]:27019"),
            ("[FE80::1]", "[fe80::1]:27017"),
            ("fe80::1", "[fe80::1]:27017"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            let parsed: HostPort = text.parse().unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(parsed.spelled(), text);
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "", ":27017", "db:", "db:0", "db:65536", "db:+1", "db:x", "[::1", "[::1]x", "a b:1", "a/b:1",
            "[]",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_case_of_letters_does_not_make_another_address() {
        let (upper, lower): (HostPort, HostPort) = ("DB:1".parse().unwrap(), "db:1".parse().unwrap());
        assert_eq!(upper, lower);
        assert_eq!(std::collections::HashSet::from([upper, lower]).len(), 1);
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same(text in "\\PC{0,30}") {
            if let Ok(parsed) = text.parse::<HostPort>() {
                prop_assert_eq!(parsed.to_string().parse::<HostPort>().unwrap(), parsed);
            }
        }
    }
}
