//! MongoDB's connection string: which servers, and what the connections to them are like.
//!
//! Source: the "Connection String" and "URI options" specifications. Nothing in it is ignored: an option that torana
//! does not act on is refused by name. No error repeats user information or the value of a refused option.

use std::borrow::Cow;
use std::time::Duration;

use super::address::{AddressError, HostMaybePort, HostPort};
use super::error::did_you_mean;
use super::uri_options::{self, Treatment};

/// The port of a server that is given without one.
const DEFAULT_PORT: u16 = 27017;

/// Longest application name that a server takes, bytes (Handshake specification).
const APP_NAME_MAX: usize = 128;

/// A connection string, parsed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionString {
    /// The members to ask first; at least one.
    pub seeds: Vec<HostPort>,
    /// `replicaSet`: the name that the members must give.
    pub replica_set: Option<String>,
    /// `directConnection`: the one seed is all there is, whatever it says.
    pub direct_connection: bool,
    /// `appName`, for torana's own handshakes.
    pub app_name: Option<String>,
    /// `connectTimeoutMS`.
    pub connect_timeout: Option<Duration>,
    /// `heartbeatFrequencyMS`.
    pub heartbeat_frequency: Option<Duration>,
    /// `maxPoolSize`.
    pub max_pool_size: Option<usize>,
    /// `minPoolSize`.
    pub min_pool_size: Option<usize>,
    /// `maxConnecting`.
    pub max_connecting: Option<usize>,
    /// `maxIdleTimeMS`; 0 is no limit.
    pub max_idle_time: Option<Option<Duration>>,
    /// `waitQueueTimeoutMS`.
    pub wait_queue_timeout: Option<Duration>,
    /// `socketTimeoutMS`; 0 is no limit.
    pub socket_timeout: Option<Option<Duration>>,
}

/// Why a connection string is refused. Its author is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Neither `mongodb://` nor `mongodb+srv://`.
    #[error(
        "the connection string does not begin with mongodb://; write mongodb://HOST[:PORT],.../?replicaSet=NAME"
    )]
    Scheme,
    /// `mongodb+srv://`.
    #[error(
        "mongodb+srv is not supported yet: name the members, as in mongodb://db1:27017,db2:27017/?replicaSet=rs0"
    )]
    Srv,
    /// A user name, maybe with a password.
    #[error(
        "credentials are not supported yet: torana's own connections do not authenticate; leave user and password \
         out (an @ anywhere else is written %40)"
    )]
    Credentials,
    /// Nothing between the slashes.
    #[error("the connection string names no server")]
    NoSeed,
    /// One of the servers cannot be dialled.
    #[error("server {0}")]
    Seed(#[from] AddressError),
    /// The path of a socket.
    #[error("Unix domain sockets are not supported: name the server by host and port")]
    UnixSocket,
    /// A database after the slash.
    #[error(
        "a database after the slash is not supported: it would say where to find credentials; leave it out"
    )]
    Database,
    /// A percent sign that is not followed by two hexadecimal digits, or bytes that are not UTF-8.
    #[error("{0} is not percent-encoded UTF-8")]
    Encoding(String),
    /// An option without a name or without `=`.
    #[error("options have the form name=value, separated by &")]
    OptionForm,
    /// An option that no driver has either.
    #[error("option {name} is unknown{}", hint(.meant))]
    UnknownOption {
        /// As written.
        name: String,
        /// What may have been meant.
        meant: Option<&'static str>,
    },
    /// An option that torana does not act on.
    #[error("option {name} {why}")]
    RefusedOption {
        /// Its name in the specification.
        name: &'static str,
        /// Why, and what to do instead.
        why: &'static str,
    },
    /// An option that stands there twice.
    #[error("option {0} is given twice")]
    OptionTwice(&'static str),
    /// A value that the option does not have.
    #[error("option {name} is {value:?}, expected {expected}")]
    OptionValue {
        /// Its name in the specification.
        name: &'static str,
        /// As written.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// `directConnection=true` with several servers.
    #[error("option directConnection is true, but the connection string names {0} servers")]
    DirectToSeveral(usize),
}

fn hint(meant: &Option<&'static str>) -> String {
    meant.map_or(String::new(), |meant| format!(", did you mean {meant}?"))
}

impl ConnectionString {
    /// Parses MongoDB's form: `mongodb://host[:port][,host[:port]...][/][?option=value[&option=value...]]`.
    pub fn parse(text: &str) -> Result<ConnectionString, UriError> {
        if text.starts_with("mongodb+srv://") {
            return Err(UriError::Srv);
        }
        let rest = text.strip_prefix("mongodb://").ok_or(UriError::Scheme)?;
        // Anywhere, because a slash or question mark in a password that was not encoded must not make the beginning
        // of it a host's port in an error.
        if rest.contains('@') {
            return Err(UriError::Credentials);
        }
        let (before, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, database) = before.split_once('/').unwrap_or((before, ""));
        let mut parsed = ConnectionString { seeds: seeds(hosts)?, ..ConnectionString::default() };
        if !database.is_empty() {
            return Err(UriError::Database);
        }
        parsed.read_options(options)?;
        if parsed.direct_connection && parsed.seeds.len() > 1 {
            return Err(UriError::DirectToSeveral(parsed.seeds.len()));
        }
        Ok(parsed)
    }

    fn read_options(&mut self, options: &str) -> Result<(), UriError> {
        let mut seen = Vec::new();
        for pair in options.split('&').filter(|_| !options.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(UriError::OptionForm)?;
            if name.is_empty() {
                return Err(UriError::OptionForm);
            }
            let Some((name, treatment)) = uri_options::named(name) else {
                return Err(UriError::UnknownOption {
                    name: name.to_owned(),
                    meant: did_you_mean(name, uri_options::names()),
                });
            };
            match treatment {
                Treatment::Refused(why) => return Err(UriError::RefusedOption { name, why }),
                Treatment::Used => {}
            }
            if seen.contains(&name) {
                return Err(UriError::OptionTwice(name));
            }
            seen.push(name);
            self.take_option(&Given { name, value: decode(value, name)? })?;
        }
        Ok(())
    }

    fn take_option(&mut self, given: &Given<'_>) -> Result<(), UriError> {
        match given.name {
            "replicaSet" => self.replica_set = Some(given.text(usize::MAX, "the name of a replica set")?),
            "directConnection" => self.direct_connection = given.boolean()?,
            "appName" => self.app_name = Some(given.text(APP_NAME_MAX, "a name of at most 128 bytes")?),
            "connectTimeoutMS" => self.connect_timeout = Some(given.finite_ms()?),
            "heartbeatFrequencyMS" => self.heartbeat_frequency = Some(given.finite_ms()?),
            "maxPoolSize" => {
                self.max_pool_size = Some(given.positive("a number above 0: torana's pools are finite")?)
            }
            "minPoolSize" => self.min_pool_size = Some(given.number()?),
            "maxConnecting" => self.max_connecting = Some(given.positive("a number above 0")?),
            "maxIdleTimeMS" => self.max_idle_time = Some(given.ms()?),
            "waitQueueTimeoutMS" => self.wait_queue_timeout = Some(given.finite_ms()?),
            "socketTimeoutMS" => self.socket_timeout = Some(given.ms()?),
            _ => return Err(UriError::UnknownOption { name: given.name.to_owned(), meant: None }),
        }
        Ok(())
    }
}

/// A known option with its value, decoded.
struct Given<'a> {
    name: &'static str,
    value: Cow<'a, str>,
}

impl Given<'_> {
    fn wrong(&self, expected: &'static str) -> UriError {
        UriError::OptionValue { name: self.name, value: self.value.to_string(), expected }
    }

    fn text(&self, longest: usize, expected: &'static str) -> Result<String, UriError> {
        match self.value.len() {
            0 => Err(self.wrong(expected)),
            length if length > longest => Err(self.wrong(expected)),
            _ => Ok(self.value.to_string()),
        }
    }

    fn boolean(&self) -> Result<bool, UriError> {
        self.value.parse().map_err(|_| self.wrong("true or false"))
    }

    fn number(&self) -> Result<usize, UriError> {
        match self.value.parse() {
            Ok(number) if self.value.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
            _ => Err(self.wrong("a number, 0 or above")),
        }
    }

    fn positive(&self, expected: &'static str) -> Result<usize, UriError> {
        self.number().ok().filter(|number| *number > 0).ok_or_else(|| self.wrong(expected))
    }

    fn ms(&self) -> Result<Option<Duration>, UriError> {
        let ms = self.number().map_err(|_| self.wrong("a number of milliseconds"))?;
        Ok((ms > 0).then_some(Duration::from_millis(ms as u64)))
    }

    fn finite_ms(&self) -> Result<Duration, UriError> {
        self.ms()?.ok_or_else(|| {
            self.wrong("a number of milliseconds above 0: torana waits for nothing without end")
        })
    }
}

fn seeds(hosts: &str) -> Result<Vec<HostPort>, UriError> {
    if hosts.is_empty() {
        return Err(UriError::NoSeed);
    }
    let mut seeds = Vec::new();
    for text in hosts.split(',') {
        let text = decode(text, "a server's name")?;
        if text.contains('/') || text.ends_with(".sock") {
            return Err(UriError::UnixSocket);
        }
        let HostMaybePort { host, port } = text.parse()?;
        if port == Some(0) {
            return Err(UriError::Seed(AddressError::Port(text.into_owned())));
        }
        let seed = HostPort { host, port: port.unwrap_or(DEFAULT_PORT) };
        if !seeds.contains(&seed) {
            seeds.push(seed);
        }
    }
    Ok(seeds)
}

/// Takes percent-encoding off; `what` names the text in an error, which does not repeat it.
fn decode<'a>(text: &'a str, what: &str) -> Result<Cow<'a, str>, UriError> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let wrong = || UriError::Encoding(what.to_owned());
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(wrong);
        decoded.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| wrong())
}

#[cfg(test)]
#[path = "uri_tests.rs"]
mod tests;
