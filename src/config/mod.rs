//! Configuration: command line, connection string and TOML, checked as a whole before anything starts.
//!
//! [`load`] reads them in this order of precedence: flags, what a set's connection string says, the set's own
//! sections of the file, the file's sections for all sets, defaults. It gives a [`Config`], plain data with nothing
//! left to check, or every error that it found with its place. Knows nothing of the rest of torana.

mod address;
mod bounds;
mod capture;
mod error;
mod groups;
mod limits;
mod ports;
mod resolve;
mod schema;
mod sets;
mod shadow;
mod tags;
mod units;
mod uri;
mod uri_options;
mod zookeeper;

use std::collections::BTreeMap;
use std::path::Path;

pub use address::{AddressError, Admin, Host, HostPort};
pub use capture::{
    CaptureConfig, CaptureLimits, Captures, CollectionPattern, Network, NetworkError, PatternError, Redact,
    Replies, Sample, SampleError, WordError,
};
pub use error::{ConfigError, Problem};
pub(crate) use error::{Place, Problems, did_you_mean};
pub use limits::{Limits, MonitorLimits, PoolLimits};
pub use shadow::{LogRate, LogRateError, SHADOWED, ShadowConfig, ShadowLimits};
pub use tags::{Level, Pattern, Tag, TagError};
pub use units::{Size, Span, UnitError, show_duration, show_size};
pub use uri::{ConnectionString, UriError};
pub use zookeeper::{HostsError, ZooKeeperConfig, ZooKeeperHosts, ZooKeeperLimits};

/// All that `torana serve` needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The replica sets; at least one, each with a name of its own.
    pub sets: Vec<SetConfig>,
    /// Where `/metrics`, `/healthz` and `/readyz` are served; `None` if nowhere.
    pub admin: Option<HostPort>,
    /// 1 is one thread for all; more share all pools.
    pub threads: usize,
    /// Bounds of the process.
    pub limits: Limits,
    /// What is captured.
    pub captures: Captures,
}

/// One replica set, or one server behind a direct connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetConfig {
    /// What logs and metrics call it: `name` of the file, else `replicaSet`, else the first seed.
    pub name: String,
    /// The name that its members must give; any if `None`.
    pub set_name: Option<String>,
    /// The members to ask first; at least one, no two equal.
    pub seeds: Vec<HostPort>,
    /// Only the one seed, whatever it says of itself.
    pub direct: bool,
    /// The application name of torana's own handshakes.
    pub app_name: Option<String>,
    /// Which collections promise more than clients ask for; of two with one pattern the last counts.
    pub tags: Vec<Tag>,
    /// Where its toranas share what `sequential` needs; `None` for a torana that is alone with the set.
    pub zookeeper: Option<ZooKeeperConfig>,
    /// The second set that a sample of its reads is asked of.
    pub shadow: Option<ShadowConfig>,
    /// Its listener groups; at least one, each with a name of its own.
    pub groups: Vec<GroupConfig>,
    /// Bounds of the pool of each member.
    pub pool: PoolLimits,
    /// Bounds of its monitors.
    pub monitor: MonitorLimits,
}

/// Listeners, one for each member, for clients of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// Its name; `default` if it has no other.
    pub name: String,
    /// The host, and the first of consecutive ports. Port 0: every listener takes any free one.
    pub listen: HostPort,
    /// How many consecutive ports it may use, at least one for each seed and at most 50, the largest replica set;
    /// fewer where another group, set or the admin endpoint begins. Ports of `members` in between are not its own.
    pub ports: u16,
    /// The host that clients dial, as replies name it; lower-cased.
    pub advertise_host: String,
    /// What is different for single members, by their own name.
    pub members: BTreeMap<HostPort, MemberOverride>,
}

/// What is different for one member in one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberOverride {
    /// Where its listener is, if not on the next free port of the group.
    pub listen: Option<HostPort>,
    /// The host that clients dial, if not the group's.
    pub advertise_host: Option<String>,
    /// The port that clients dial, if not the one that is listened on.
    pub advertise_port: Option<u16>,
}

impl GroupConfig {
    /// What clients dial to reach `member`, whose listener has `port`: `host:port`, lower-cased.
    pub fn advertised(&self, member: &HostPort, port: u16) -> HostPort {
        let own = self.members.get(member);
        let host = own.and_then(|own| own.advertise_host.as_ref()).unwrap_or(&self.advertise_host).clone();
        HostPort { host, port: own.and_then(|own| own.advertise_port).unwrap_or(port) }
    }
}

/// What the command line says; `None` is nothing.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The connection string.
    pub uri: Option<String>,
    /// `--listen`.
    pub listen: Option<HostPort>,
    /// `--advertise`.
    pub advertise: Option<Host>,
    /// `--admin`.
    pub admin: Option<Admin>,
    /// `--tag`, each of them.
    pub tags: Vec<Tag>,
    /// `--zookeeper`.
    pub zookeeper: Option<ZooKeeperHosts>,
    /// `--pool-max`.
    pub pool_max: Option<usize>,
    /// `--threads`.
    pub threads: Option<usize>,
}

/// Reads the file at `path`, if one is given, and puts it together with `flags`.
pub fn load(path: Option<&Path>, flags: &Flags) -> Result<Config, ConfigError> {
    let Some(path) = path else { return resolve::resolve("torana", "", flags) };
    let text =
        std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
    parse(&path.display().to_string(), &text, flags)
}

/// Puts `text`, the contents of the file named `file`, together with `flags`.
pub fn parse(file: &str, text: &str, flags: &Flags) -> Result<Config, ConfigError> {
    resolve::resolve(file, text, flags)
}
