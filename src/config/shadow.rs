//! `[shadow]`: a second set that is asked a sample of the clients' reads, and how far that may go.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::CollectionPattern;
use super::address::HostPort;
use super::bounds::{Count, bounds, ms, seconds};
use super::capture::Sample;
use super::error::{Place, Problems, did_you_mean};
use super::units::{Size, Span, from_text};
use super::uri::ConnectionString;

const MIB: usize = 1 << 20;

/// The commands that a second set is ever asked.
pub const SHADOWED: [&str; 4] = ["find", "aggregate", "count", "distinct"];

bounds! {
    /// Bounds of a set's shadow traffic.
    ShadowLimits, ShadowLimitsSection, "shadow" {
        /// Connections to the second set. Each asks one read at a time.
        connections_max: usize as Count = 8, 1..=1_000;
        /// Bytes of reads that wait, with their answers. What does not fit is dropped.
        queue_max: usize as Size = 16 * MIB, MIB..=1024 * MIB;
        /// The longest that the second set may take for an answer, and a read may wait to be asked.
        timeout: Duration as Span = seconds(10), ms(100)..=seconds(600);
    }
}

/// At most so many lines in a time: `1/s`, `10/m`, `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRate(pub Option<Duration>);

/// Why a text is no such rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate: write \"1/s\" for at most one line a second, \"10/m\", \"5/h\" or \"off\"")]
pub struct LogRateError(String);

impl FromStr for LogRate {
    type Err = LogRateError;

    fn from_str(text: &str) -> Result<LogRate, LogRateError> {
        if text == "off" {
            return Ok(LogRate(None));
        }
        let wrong = || LogRateError(text.to_owned());
        let (many, unit) = text.split_once('/').ok_or_else(wrong)?;
        let many = many.parse::<u32>().ok().filter(|many| (1..=1_000).contains(many)).ok_or_else(wrong)?;
        let unit = match unit {
            "s" => seconds(1),
            "m" => seconds(60),
            "h" => seconds(3600),
            _ => return Err(wrong()),
        };
        Ok(LogRate(Some(unit / many)))
    }
}

from_text! {
    LogRate: "a number of lines in a time, such as \"1/s\", or \"off\"",
}

/// `[shadow]`, as the file has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ShadowSection {
    pub to: Option<Spanned<String>>,
    pub sample: Option<Sample>,
    pub databases: Vec<String>,
    pub collections: Vec<CollectionPattern>,
    pub commands: Vec<Spanned<String>>,
    pub connections_max: Option<Spanned<Count>>,
    pub queue_max: Option<Spanned<Size>>,
    pub timeout: Option<Spanned<Span>>,
    pub log_differences: Option<LogRate>,
    pub same_set: bool,
}

/// The second set, and what it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowConfig {
    /// Where it is.
    pub to: ConnectionString,
    /// One read of so many.
    pub sample: u32,
    /// Only reads on these databases, if there are any here; and so on.
    pub databases: Vec<String>,
    /// Collections.
    pub collections: Vec<CollectionPattern>,
    /// Commands.
    pub commands: Vec<String>,
    /// Bounds.
    pub limits: ShadowLimits,
    /// A difference is logged at most so often; never if `None`.
    pub log_every: Option<Duration>,
    /// It may be the set that is served.
    pub same_set: bool,
}

impl ShadowSection {
    /// What it comes to for a set with these seeds.
    pub(super) fn resolve(
        &self,
        seeds: &[HostPort],
        place: &Place,
        problems: &mut Problems<'_>,
    ) -> Option<ShadowConfig> {
        let mut limits = ShadowLimits::default();
        let section = ShadowLimitsSection {
            connections_max: self.connections_max.clone(),
            queue_max: self.queue_max.clone(),
            timeout: self.timeout.clone(),
        };
        limits.apply(&section, None, problems);
        self.check_commands(problems);
        let Some(to) = &self.to else {
            problems.add(place, "[shadow] does not say by `to` which set is asked");
            return None;
        };
        let place = Place::At(to.span());
        let parsed = match ConnectionString::parse(to.get_ref()) {
            Ok(parsed) => parsed,
            Err(error) => {
                problems.add(&place, format!("shadow.to: {error}"));
                return None;
            }
        };
        check_target(&parsed, &place, problems);
        if let Some(seed) = parsed.seeds.iter().find(|seed| seeds.contains(seed)).filter(|_| !self.same_set) {
            let text = format!(
                "shadow.to names {seed}, a member of the set that is served: its reads would be done twice on it; say \
                 same_set = true if that is wanted"
            );
            problems.add(&place, text);
        }
        Some(ShadowConfig {
            to: parsed,
            sample: self.sample.map_or(10, |sample| sample.0),
            databases: self.databases.clone(),
            collections: self.collections.clone(),
            commands: self.commands.iter().map(|command| command.get_ref().clone()).collect(),
            limits,
            log_every: self.log_differences.unwrap_or(LogRate(Some(seconds(1)))).0,
            same_set: self.same_set,
        })
    }

    fn check_commands(&self, problems: &mut Problems<'_>) {
        for command in self.commands.iter().filter(|command| !SHADOWED.contains(&command.get_ref().as_str()))
        {
            let name = command.get_ref();
            let meant = did_you_mean(name, SHADOWED);
            let meant = meant.map_or(String::new(), |meant| format!("; did you mean {meant:?}?"));
            let text =
                format!("shadow.commands: {name:?} is never sent: only {} are{meant}", SHADOWED.join(", "));
            problems.add(&Place::At(command.span()), text);
        }
    }
}

/// Options of the connection string that say nothing here are refused: nobody should believe that they do.
fn check_target(to: &ConnectionString, place: &Place, problems: &mut Problems<'_>) {
    let unused = [
        ("appName", to.app_name.is_some()),
        ("heartbeatFrequencyMS", to.heartbeat_frequency.is_some()),
        ("maxPoolSize", to.max_pool_size.is_some()),
        ("minPoolSize", to.min_pool_size.is_some()),
        ("maxConnecting", to.max_connecting.is_some()),
        ("maxIdleTimeMS", to.max_idle_time.is_some()),
        ("waitQueueTimeoutMS", to.wait_queue_timeout.is_some()),
        ("socketTimeoutMS", to.socket_timeout.is_some()),
    ];
    for (option, _) in unused.into_iter().filter(|(_, is_said)| *is_said) {
        let text = format!(
            "shadow.to: option {option} has no meaning for a shadow: its bounds are shadow.connections_max and \
             shadow.timeout"
        );
        problems.add(place, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, parse};

    fn shadow(section: &str) -> Result<ShadowConfig, String> {
        let text = format!("uri = \"mongodb://db1,db2/?replicaSet=rs0\"\n[shadow]\n{section}");
        let config = parse("t.toml", &text, &Flags::default()).map_err(|error| error.to_string())?;
        Ok(config.sets[0].shadow.clone().unwrap())
    }

    #[test]
    fn a_shadow_is_one_read_in_ten_unless_something_else_is_said() {
        let config = shadow("to = \"mongodb://new1,new2/?replicaSet=new\"").unwrap();
        assert_eq!((config.sample, config.log_every), (10, Some(seconds(1))));
        assert_eq!(config.limits, ShadowLimits::default());
        let config = shadow(
            "to = \"mongodb://new1\"\nsample = \"1/1\"\ncommands = [\"find\"]\nconnections_max = 2\n\
             queue_max = \"1MiB\"\ntimeout = \"1s\"\nlog_differences = \"10/m\"\ncollections = [\"app.u*\"]",
        );
        let config = config.unwrap();
        assert_eq!((config.sample, config.log_every), (1, Some(seconds(6))));
        assert_eq!((config.limits.connections_max, config.limits.timeout), (2, seconds(1)));
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_line() {
        for (section, wanted) in [
            ("sample = \"1/10\"", "[shadow] does not say by `to`"),
            ("to = \"http://x\"", "t.toml:3: shadow.to"),
            ("to = \"mongodb://db2\"", "its reads would be done twice"),
            ("to = \"mongodb://new\"\ncommands = [\"finds\"]", "did you mean \"find\"?"),
            (
                "to = \"mongodb://new\"\ncommands = [\"insert\"]",
                "t.toml:4: shadow.commands: \"insert\" is never sent",
            ),
            ("to = \"mongodb://new/?maxPoolSize=5\"", "maxPoolSize has no meaning"),
            ("to = \"mongodb://new\"\nqueue_max = \"1KiB\"", "shadow.queue_max is 1KiB"),
            ("to = \"mongodb://new\"\nlog_differences = \"1\"", "is no rate"),
            ("to = \"mongodb://new\"\nsampel = \"1/10\"", "did you mean `sample`?"),
        ] {
            let error = shadow(section).unwrap_err();
            assert!(error.contains(wanted), "{section}: {error}");
        }
        assert!(shadow("to = \"mongodb://db2\"\nsame_set = true").is_ok());
    }

    #[test]
    fn a_set_of_several_has_its_own() {
        let text = "[[sets]]\nname = \"a\"\nuri = \"mongodb://a\"\nlisten = \"127.0.0.1:1000\"\n\
                    [sets.shadow]\nto = \"mongodb://x\"\n\
                    [[sets]]\nname = \"b\"\nuri = \"mongodb://b\"\nlisten = \"127.0.0.1:2000\"\n";
        let config = parse("t.toml", text, &Flags::default()).unwrap();
        assert!(config.sets[0].shadow.is_some() && config.sets[1].shadow.is_none());
        let beside = format!("{text}\n[shadow]\nto = \"mongodb://x\"\n");
        let error = parse("t.toml", &beside, &Flags::default()).unwrap_err().to_string();
        assert!(error.contains("[shadow] stands beside [[sets]]"), "{error}");
    }
}
