//! Where the toranas of a set share what `sequential` needs.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::address::{HostMaybePort, HostPort};
use super::bounds::{bounds, ms, seconds};
use super::error::{Place, Problems};
use super::units::{Span, from_text};

/// The port of a ZooKeeper server that is named without one.
const PORT: u16 = 2181;

/// The servers of an ensemble, and a place in it: `zk1:2181,zk2:2181/torana/rs0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZooKeeperHosts {
    /// `host:port` of each.
    pub hosts: Vec<String>,
    /// The path below which everything is kept, without a slash at its end; `None` for `/torana/NAME`, with the set's
    /// name.
    pub root: Option<String>,
}

/// Why a text names no ensemble.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostsError {
    /// No server.
    #[error("{0:?} names no ZooKeeper server: write HOST[:PORT][,HOST[:PORT]...][/PATH]")]
    Host(String),
    /// Not a path of ZooKeeper's.
    #[error("{0:?} is no path in ZooKeeper: write one such as /torana/rs0, without a slash at its end")]
    Root(String),
}

impl FromStr for ZooKeeperHosts {
    type Err = HostsError;

    fn from_str(text: &str) -> Result<ZooKeeperHosts, HostsError> {
        let (hosts, root) = match text.find('/') {
            Some(at) => (&text[..at], Some(text[at..].to_owned())),
            None => (text, None),
        };
        let is_path = |root: &String| {
            let mut names = root.split('/').skip(1);
            names.all(|name| !matches!(name, "" | "." | "..") && name.chars().all(|c| !c.is_control()))
        };
        if let Some(root) = root.as_ref().filter(|root| !is_path(root)) {
            return Err(HostsError::Root(root.clone()));
        }
        let parse = |text: &str| {
            let HostMaybePort { host, port } = text.trim().parse().ok()?;
            Some(HostPort { host, port: port.unwrap_or(PORT) }.to_string())
        };
        let hosts: Option<Vec<String>> = hosts.split(',').map(parse).collect();
        let hosts = hosts.ok_or_else(|| HostsError::Host(text.to_owned()))?;
        Ok(ZooKeeperHosts { hosts, root })
    }
}

from_text! {
    ZooKeeperHosts: "the servers of a ZooKeeper ensemble, such as \"zk1:2181,zk2:2181,zk3:2181/torana/rs0\"",
}

bounds! {
    /// Bounds of what goes to ZooKeeper.
    ZooKeeperLimits, ZooKeeperLimitsSection, "zookeeper" {
        /// After so long without a word of torana's, the servers forget its session. A shorter one than 1.5 s would be
        /// renewed all the time (zookeeper-async 5.0.0).
        session_timeout: Duration as Span = seconds(10), seconds(2)..=seconds(300);
        /// How long one request may take before the session is replaced by another.
        request_timeout: Duration as Span = seconds(2), ms(50)..=seconds(60);
        /// How long a client waits for something to be published before it is told that it was not.
        wait_timeout: Duration as Span = seconds(10), ms(50)..=seconds(300);
    }
}

/// `[zookeeper]`, as the file has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ZooKeeperSection {
    pub hosts: Option<Spanned<ZooKeeperHosts>>,
    pub session_timeout: Option<Spanned<Span>>,
    pub request_timeout: Option<Spanned<Span>>,
    pub wait_timeout: Option<Spanned<Span>>,
}

/// An ensemble, and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZooKeeperConfig {
    /// `host:port` of each server.
    pub hosts: Vec<String>,
    /// The path below which everything is kept.
    pub root: String,
    /// Time-outs.
    pub limits: ZooKeeperLimits,
}

impl ZooKeeperConfig {
    /// Whether both name the same place of the same ensemble, as far as the names tell: times of one set mean nothing to
    /// another.
    pub(super) fn meets(&self, other: &ZooKeeperConfig) -> bool {
        self.root == other.root && self.hosts.iter().any(|host| other.hosts.contains(host))
    }
}

impl ZooKeeperSection {
    /// What it comes to for the set called `set`; a flag wins. `None`: no ensemble is named.
    pub(super) fn resolve(
        &self,
        flag: Option<&ZooKeeperHosts>,
        set: &str,
        problems: &mut Problems<'_>,
    ) -> Option<ZooKeeperConfig> {
        let mut limits = ZooKeeperLimits::default();
        let section = ZooKeeperLimitsSection {
            session_timeout: self.session_timeout.clone(),
            request_timeout: self.request_timeout.clone(),
            wait_timeout: self.wait_timeout.clone(),
        };
        limits.apply(&section, None, problems);
        let Some(hosts) = flag.or(self.hosts.as_ref().map(Spanned::get_ref)) else {
            let said = [&self.session_timeout, &self.request_timeout, &self.wait_timeout];
            if let Some(said) = said.into_iter().flatten().next() {
                problems.add(&Place::At(said.span()), "[zookeeper] names no `hosts`".to_owned());
            }
            return None;
        };
        let root = hosts.root.clone().unwrap_or_else(|| format!("/torana/{}", set.replace('/', "_")));
        Some(ZooKeeperConfig { hosts: hosts.hosts.clone(), root, limits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ensemble_has_servers_and_may_have_a_place() {
        let parse = |text: &str| text.parse::<ZooKeeperHosts>();
        let some = parse("zk1, zk2:2182,[::1]:2183/torana/rs0").unwrap();
        assert_eq!(some.hosts, ["zk1:2181", "zk2:2182", "[::1]:2183"]);
        assert_eq!(some.root.as_deref(), Some("/torana/rs0"));
        assert_eq!(parse("zk1").unwrap().root, None);
        for text in ["", "zk1,,zk2", "/torana", ":2181"] {
            assert!(matches!(parse(text), Err(HostsError::Host(_))), "{text}: {:?}", parse(text));
        }
        for text in ["zk1/", "zk1/a/", "zk1//a", "zk1/a/../b"] {
            assert!(matches!(parse(text), Err(HostsError::Root(_))), "{text}: {:?}", parse(text));
        }
    }
}
