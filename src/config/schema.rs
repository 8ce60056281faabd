//! The configuration file as it is written, before it is checked as a whole.
//!
//! Keys that do not exist here are errors. Values keep their place in the file, for errors found later.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::address::{Admin, Host, HostMaybePort, HostPort};
use super::capture::CaptureSection;
use super::limits::{LimitsSection, MonitorSection, PoolSection};
use super::shadow::ShadowSection;
use super::tags::{Level, Pattern};
use super::zookeeper::ZooKeeperSection;

/// The whole file. A file for one replica set says it at the top level, a file for several under `[[sets]]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub uri: Option<Spanned<String>>,
    pub name: Option<Spanned<String>>,
    pub listen: Option<Spanned<HostPort>>,
    pub advertise: Option<Spanned<Host>>,
    pub listeners: Vec<Spanned<GroupSection>>,
    pub members: BTreeMap<Spanned<HostMaybePort>, MemberSection>,
    pub tags: BTreeMap<Spanned<Pattern>, Level>,
    pub zookeeper: Option<Spanned<ZooKeeperSection>>,
    pub shadow: Option<Spanned<ShadowSection>>,
    pub sets: Vec<Spanned<SetSection>>,
    pub admin: Option<Spanned<Admin>>,
    pub threads: Option<Spanned<usize>>,
    pub capture: CaptureSection,
    pub limits: LimitsSection,
    pub pool: PoolSection,
    pub monitor: MonitorSection,
}

/// One replica set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SetSection {
    pub uri: Option<Spanned<String>>,
    pub name: Option<Spanned<String>>,
    pub listen: Option<Spanned<HostPort>>,
    pub advertise: Option<Spanned<Host>>,
    pub listeners: Vec<Spanned<GroupSection>>,
    pub members: BTreeMap<Spanned<HostMaybePort>, MemberSection>,
    pub tags: BTreeMap<Spanned<Pattern>, Level>,
    pub zookeeper: Option<Spanned<ZooKeeperSection>>,
    pub shadow: Option<Spanned<ShadowSection>>,
    pub pool: PoolSection,
    pub monitor: MonitorSection,
}

/// A group of listeners, one for each member, for clients of one network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GroupSection {
    pub name: Option<Spanned<String>>,
    pub listen: Option<Spanned<HostPort>>,
    pub advertise: Option<Spanned<Host>>,
    pub members: BTreeMap<Spanned<HostMaybePort>, MemberSection>,
}

/// What is different for one member.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MemberSection {
    pub listen: Option<Spanned<HostPort>>,
    pub advertise: Option<Spanned<HostMaybePort>>,
}
