//! Hosts and ports as the configuration writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::units::from_text;

/// Longest host, bytes: DNS allows 253, and no IPv6 literal is longer.
const HOST_MAX: usize = 253;

/// A host and a port. The host is lower-cased, because names of hosts are compared without regard to case; an IPv6
/// literal stands in it without its brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// Name, IPv4 or IPv6 literal.
    pub host: String,
    /// 0 stands for any free port, for the admin endpoint alone.
    pub port: u16,
}

/// A host without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(pub String);

/// A host with a port or without one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostMaybePort {
    /// Name, IPv4 or IPv6 literal, lower-cased.
    pub host: String,
    /// Its port, if there is one.
    pub port: Option<u16>,
}

/// Where the admin endpoint listens, or `"off"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin(pub Option<HostPort>);

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing before the port, or nothing at all.
    #[error("{0:?} has no host")]
    NoHost(String),
    /// A letter that no host name has, a bracket without its partner, or too long.
    #[error("{0:?} is not a host: a name, an IPv4 address, or an IPv6 address in brackets")]
    Host(String),
    /// The port is no number from 0 to 65535.
    #[error("{0:?} has no port from 1 to 65535 after its colon")]
    Port(String),
    /// A port is needed.
    #[error("{0:?} has no port: write host:port")]
    PortMissing(String),
    /// A port is in the way.
    #[error("{0:?} has a port: write the host alone")]
    PortTooMany(String),
}

impl FromStr for HostMaybePort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split(text)?;
        if host.is_empty() {
            return Err(AddressError::NoHost(text.to_owned()));
        }
        let wrong = |c: char| c.is_whitespace() || c.is_control() || "/?@,[]\\\"'#%&=".contains(c);
        if host.len() > HOST_MAX || host.contains(wrong) {
            return Err(AddressError::Host(text.to_owned()));
        }
        let port = match port {
            None => None,
            Some(digits) if !digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(AddressError::Port(text.to_owned()));
            }
            Some(digits) => Some(digits.parse().map_err(|_| AddressError::Port(text.to_owned()))?),
        };
        Ok(HostMaybePort { host: host.to_ascii_lowercase(), port })
    }
}

/// Splits off the port: after the brackets of an IPv6 literal, else after the only colon.
fn split(text: &str) -> Result<(&str, Option<&str>), AddressError> {
    let wrong = || AddressError::Host(text.to_owned());
    if let Some(inside) = text.strip_prefix('[') {
        let (host, rest) = inside.split_once(']').ok_or_else(wrong)?;
        if !host.contains(':') {
            return Err(wrong());
        }
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(wrong()),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Err(wrong()),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<HostPort, AddressError> {
        let HostMaybePort { host, port } = text.parse()?;
        let port = port.ok_or_else(|| AddressError::PortMissing(text.to_owned()))?;
        Ok(HostPort { host, port })
    }
}

impl FromStr for Host {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Host, AddressError> {
        match text.parse()? {
            HostMaybePort { host, port: None } => Ok(Host(host)),
            HostMaybePort { port: Some(_), .. } => Err(AddressError::PortTooMany(text.to_owned())),
        }
    }
}

impl FromStr for Admin {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Admin, AddressError> {
        if text == "off" { Ok(Admin(None)) } else { Ok(Admin(Some(text.parse()?))) }
    }
}

impl HostPort {
    /// Whether both cannot be listened on at once if the ports are equal: one host, or all of them.
    pub(super) fn shares_host(&self, other: &HostPort) -> bool {
        self.host == other.host || is_unspecified(&self.host) || is_unspecified(&other.host)
    }
}

/// Whether `host` stands for all addresses of the machine, so that no client can dial it.
pub(super) fn is_unspecified(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

from_text! {
    HostPort: "an address of the form \"host:port\"",
    Host: "a host name or address",
    HostMaybePort: "\"host\" or \"host:port\"",
    Admin: "an address of the form \"host:port\", or \"off\"",
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_are_lower_cased_and_literals_lose_their_brackets() {
        for (text, host, port) in
            [("DB1:27018", "db1", 27018), ("[FE80::1]:1", "fe80::1", 1), ("127.0.0.1:0", "127.0.0.1", 0)]
        {
            assert_eq!(text.parse(), Ok(HostPort { host: host.to_owned(), port }));
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, why) in [
            ("", "no host"),
            (":1", "no host"),
            ("db", "no port: write"),
            ("db:", "no port from"),
            ("db:65536", "no port from"),
            ("db:+1", "no port from"),
            ("::1:27017", "not a host"),
            ("[::1:1", "not a host"),
            ("[db]:1", "not a host"),
            ("a b:1", "not a host"),
        ] {
            let error = text.parse::<HostPort>().unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        assert!("db:1".parse::<Host>().unwrap_err().to_string().contains("has a port"));
    }

    #[test]
    fn all_addresses_share_every_host() {
        let at = |text: &str| text.parse::<HostPort>().unwrap();
        assert!(at("0.0.0.0:1").shares_host(&at("127.0.0.1:1")));
        assert!(at("127.0.0.1:1").shares_host(&at("[::]:1")));
        assert!(!at("127.0.0.1:1").shares_host(&at("127.0.0.2:1")));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(text in "\\PC{0,30}") {
            if let Ok(parsed) = text.parse::<HostPort>() {
                prop_assert_eq!(parsed.to_string().parse(), Ok(parsed));
            }
        }
    }
}
