//! `[capture]`: what of the clients' traffic is captured, where to, and what of it is replaced.
//!
//! The same keys, with `for` beside them, are what `torana record` sends to a torana that runs.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use super::ConfigError;
use super::bounds::{bounds, hours, seconds};
use super::error::{Place, Problems, did_you_mean};
use super::units::{Size, Span, from_text};

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

bounds! {
    /// Bounds of a capture's files.
    CaptureLimits, CaptureLimitsSection, "capture" {
        /// Bytes of a file, about; then the next one is begun.
        file_size: usize as Size = 256 * MIB, MIB..=1024 * GIB;
        /// How long a file is written to before the next one is begun.
        file_time: Duration as Span = hours(1), seconds(1)..=hours(24 * 31);
        /// Bytes of all files: the capture ends before there are more. In the configuration, those of earlier captures in the
        /// folder count, too.
        quota: usize as Size = 10 * GIB, MIB..=1024 * 1024 * GIB;
    }
}

/// What is kept of replies, beside their error code, cursor, length and number of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Replies {
    /// Nothing.
    None,
    /// Their digests: enough to tell whether another server answers the same.
    #[default]
    Digests,
    /// All.
    Whole,
}

/// What is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Redact {
    /// Secret fields.
    #[default]
    Fields,
    /// All values.
    Values,
}

macro_rules! words {
    ($($kind:ident: $($value:ident = $word:literal),*;)*) => {$(
        impl $kind {
            /// As it is written.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($kind::$value => $word,)*
                }
            }
        }

        impl FromStr for $kind {
            type Err = WordError;

            fn from_str(text: &str) -> Result<$kind, WordError> {
                match text {
                    $($word => Ok($kind::$value),)*
                    _ => {
                        let words = [$($word),*];
                        let meant = did_you_mean(text, words);
                        let meant = meant.map_or(String::new(), |meant| format!("; did you mean {meant:?}?"));
                        Err(WordError(text.to_owned(), words.join(", "), meant))
                    }
                }
            }
        }
    )*};
}

words! {
    Replies: None = "none", Digests = "digests", Whole = "whole";
    Redact: Fields = "fields", Values = "values";
}

/// A word that is none of those there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {0:?} here, only {1}{2}")]
pub struct WordError(String, String, String);

/// One of so many: `1/10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample(pub u32);

/// Why a text is no sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no share: write \"1/10\" for one connection in ten, \"1/1\" for all")]
pub struct SampleError(String);

impl FromStr for Sample {
    type Err = SampleError;

    fn from_str(text: &str) -> Result<Sample, SampleError> {
        let many = text.trim().strip_prefix("1/").and_then(|many| many.parse::<u32>().ok());
        let many = many.or((text.trim() == "1").then_some(1));
        many.filter(|many| (1..=1_000_000).contains(many))
            .map(Sample)
            .ok_or_else(|| SampleError(text.to_owned()))
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1/{}", self.0)
    }
}

/// A collection, or all that begin so: `DB.COLLECTION`, `DB.PREFIX*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionPattern(String);

/// Why a text is no such pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no collection: write DB.COLLECTION, or DB.PREFIX* for all that begin so")]
pub struct PatternError(String);

impl FromStr for CollectionPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<CollectionPattern, PatternError> {
        let is_one = match text.split_once('.') {
            Some((database, rest)) => {
                let name = rest.strip_suffix('*').unwrap_or(rest);
                !database.is_empty() && !rest.is_empty() && !database.contains('*') && !name.contains('*')
            }
            None => false,
        };
        if is_one { Ok(CollectionPattern(text.to_owned())) } else { Err(PatternError(text.to_owned())) }
    }
}

impl CollectionPattern {
    /// Whether it stands for `namespace`.
    pub fn matches(&self, namespace: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => namespace.starts_with(prefix),
            None => self.0 == namespace,
        }
    }
}

impl fmt::Display for CollectionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address, or all that begin with the same bits: `10.1.2.3`, `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a network such as \"10.0.0.0/8\"")]
pub struct NetworkError(String);

impl Network {
    /// Whether `address` is in it. An IPv4 address is the same when it is written as one of IPv6.
    pub fn has(&self, address: IpAddr) -> bool {
        let first = |bits: u32, of: u32| u128::MAX.checked_shl(of.saturating_sub(bits)).unwrap_or(0);
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = first(u32::from(self.bits), 32) as u32;
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = first(u32::from(self.bits), 128);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits <= most { Ok(Network { address, bits }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.bits) {
            (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => self.address.fmt(f),
            (address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

from_text! {
    Sample: "a share of the connections, such as \"1/10\"",
    CollectionPattern: "a collection of the form \"DB.COLLECTION\" or \"DB.PREFIX*\"",
    Network: "an IP address or a network, such as \"10.0.0.0/8\"",
}

/// `[capture]`, as the file has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CaptureSection {
    pub folder: Option<Spanned<String>>,
    pub set: Option<Spanned<String>>,
    pub file_size: Option<Spanned<Size>>,
    pub file_time: Option<Spanned<Span>>,
    pub quota: Option<Spanned<Size>>,
    pub sample: Option<Sample>,
    pub databases: Vec<String>,
    pub collections: Vec<CollectionPattern>,
    pub commands: Vec<String>,
    pub applications: Vec<String>,
    pub clients: Vec<Network>,
    pub replies: Replies,
    pub redact: Redact,
    pub redact_fields: Vec<String>,
    pub remote_control: bool,
    /// Only in what `torana record` sends.
    #[serde(rename = "for")]
    pub time: Option<Spanned<Span>>,
}

/// What is captured, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureConfig {
    /// The folder for the files.
    pub folder: PathBuf,
    /// Which set's traffic, if torana serves several.
    pub set: Option<String>,
    /// Bounds of its files.
    pub limits: CaptureLimits,
    /// One connection of so many.
    pub sample: u32,
    /// Only requests on these databases, if there are any here; and so on.
    pub databases: Vec<String>,
    /// Collections.
    pub collections: Vec<CollectionPattern>,
    /// Commands.
    pub commands: Vec<String>,
    /// Only connections of these applications.
    pub applications: Vec<String>,
    /// Only connections from these addresses.
    pub clients: Vec<Network>,
    /// What is kept of replies.
    pub replies: Replies,
    /// What is replaced.
    pub redact: Redact,
    /// Fields that are secret beside those that always are.
    pub redact_fields: Vec<String>,
    /// How long it lasts; for ever if `None`.
    pub time: Option<Duration>,
}

/// What the file says of captures: one that runs from the start, and who may begin others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures {
    /// The one that runs from the start, if there is one.
    pub at_start: Option<CaptureConfig>,
    /// Captures can be begun from other machines, through the admin endpoint.
    pub remote_control: bool,
}

impl CaptureConfig {
    /// Reads what `torana record` sends.
    pub fn parse_order(text: &str) -> Result<CaptureConfig, ConfigError> {
        const FROM: &str = "the order to record";
        let mut problems = Problems::new(FROM, text);
        let section: CaptureSection = match toml::from_str(text) {
            Ok(section) => section,
            Err(error) => {
                problems.add(&Place::File, super::resolve::explain(error.message()));
                return Err(problems.into_error());
            }
        };
        let config = section.config(&mut problems);
        let Some(config) = config else {
            problems.add(&Place::File, "it names no folder");
            return Err(problems.into_error());
        };
        if !config.folder.is_absolute() {
            let text = "the folder is one on torana's own machine: give its whole path, from / on";
            problems.add(&Place::File, text);
        }
        problems.finish(config)
    }
}

impl CaptureSection {
    /// What it comes to, in a file whose sets have these names.
    pub(super) fn resolve(&self, sets: &[&str], problems: &mut Problems<'_>) -> Captures {
        if let Some(time) = &self.time {
            problems.add(&Place::At(time.span()), "capture.for is for `torana record` alone");
        }
        let at_start = self.config(problems);
        match (&self.set, &self.folder) {
            (Some(set), _) if !sets.contains(&set.get_ref().as_str()) => {
                let meant = did_you_mean(set.get_ref(), sets.iter().copied());
                let meant = meant.map_or(String::new(), |meant| format!("; did you mean {meant:?}?"));
                let text = format!("there is no set called {:?}{meant}", set.get_ref());
                problems.add(&Place::At(set.span()), text);
            }
            (None, Some(folder)) if sets.len() > 1 => {
                let text =
                    format!("there are {} sets: say by capture.set whose traffic is meant", sets.len());
                problems.add(&Place::At(folder.span()), text);
            }
            _ => {}
        }
        Captures { at_start, remote_control: self.remote_control }
    }

    /// `None`: it names no folder.
    fn config(&self, problems: &mut Problems<'_>) -> Option<CaptureConfig> {
        let mut limits = CaptureLimits::default();
        let section = CaptureLimitsSection {
            file_size: self.file_size.clone(),
            file_time: self.file_time.clone(),
            quota: self.quota.clone(),
        };
        limits.apply(&section, None, problems);
        let Some(folder) = &self.folder else {
            let said = [
                self.set.as_ref().map(Spanned::span),
                self.file_size.as_ref().map(Spanned::span),
                self.file_time.as_ref().map(Spanned::span),
                self.quota.as_ref().map(Spanned::span),
            ];
            if let Some(span) = said.into_iter().flatten().next() {
                problems.add(&Place::At(span), "[capture] names no `folder`");
            }
            return None;
        };
        if folder.get_ref().is_empty() {
            problems.add(&Place::At(folder.span()), "capture.folder is empty");
        }
        for field in self.redact_fields.iter().filter(|field| field.is_empty() || field.contains('.')) {
            let text =
                format!("capture.redact_fields: {field:?} is no field's name: of a path, name the last part");
            problems.add(&Place::File, text);
        }
        Some(CaptureConfig {
            folder: PathBuf::from(folder.get_ref()),
            set: self.set.as_ref().map(|set| set.get_ref().clone()),
            limits,
            sample: self.sample.map_or(1, |sample| sample.0),
            databases: self.databases.clone(),
            collections: self.collections.clone(),
            commands: self.commands.clone(),
            applications: self.applications.clone(),
            clients: self.clients.clone(),
            replies: self.replies,
            redact: self.redact,
            redact_fields: self.redact_fields.clone(),
            time: self.time.as_ref().map(|time| time.get_ref().0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_taken_by_address_and_by_network() {
        let has =
            |network: &str, address: &str| network.parse::<Network>().unwrap().has(address.parse().unwrap());
        assert!(has("10.0.0.0/8", "10.200.3.4") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("127.0.0.1", "127.0.0.1") && !has("127.0.0.1", "127.0.0.2"));
        assert!(has("0.0.0.0/0", "1.2.3.4") && !has("0.0.0.0/0", "::2"));
        assert!(has("127.0.0.1", "::ffff:127.0.0.1") && has("fe80::/10", "fe80::1"));
        for text in ["", "10.0.0.0/33", "host", "10.0.0.0/x"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares_and_patterns_are_what_they_say() {
        assert_eq!("1/10".parse(), Ok(Sample(10)));
        assert_eq!("1".parse(), Ok(Sample(1)));
        for text in ["", "0", "2/10", "1/0", "10%"] {
            assert!(text.parse::<Sample>().is_err(), "{text}");
        }
        let pattern: CollectionPattern = "app.user*".parse().unwrap();
        assert!(pattern.matches("app.users") && !pattern.matches("app.x"));
        for text in ["app", "app.", ".x", "a*.x", "a.*x"] {
            assert!(text.parse::<CollectionPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_order_to_record_is_a_section_with_a_folder_of_its_own() {
        let order =
            CaptureConfig::parse_order("folder = \"/x\"\nfor = \"10m\"\nsample = \"1/10\"\n").unwrap();
        assert_eq!((order.time, order.sample), (Some(Duration::from_secs(600)), 10));
        for (text, wanted) in [
            ("folder = \"x\"", "the whole path"),
            ("", "no folder"),
            ("folder = \"/x\"\nreplys = \"none\"", "did you mean `replies`?"),
            ("folder = \"/x\"\nreplies = \"hole\"", "whole"),
            ("folder = \"/x\"\nquota = \"1KiB\"", "outside"),
        ] {
            let error = CaptureConfig::parse_order(text).unwrap_err().to_string();
            assert!(error.contains(wanted) || error.contains("its whole path"), "{text}: {error}");
        }
    }
}
