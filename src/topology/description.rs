//! What one server says of itself: a hello reply, read in one pass.
//!
//! Nothing is concluded from other servers' replies here; that is `set_state`'s work.

use super::address::HostPort;
use crate::doc::{DocError, Element, elements};

/// Names in one hello list that are accepted. A set has at most 50 members (server limit `kMaxMembers`).
const LISTED_MAX: usize = 128;

/// What a server is to its replica set. The words are those of the SDAM specification, with its `RSOther` told
/// apart where torana must tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum MemberKind {
    /// Not heard of, lost, or not to be believed (a primary of an older election).
    #[default]
    Unknown,
    /// The writable primary.
    Primary,
    /// A secondary that can be elected.
    Secondary,
    /// A secondary of priority 0 (listed in `passives`).
    Passive,
    /// A secondary that the hello lists leave out.
    Hidden,
    /// Votes and holds no data.
    Arbiter,
    /// A member in another state: starting up, recovering, rolling back.
    Other,
    /// Started with `--replSet` and not (or no more) part of a set's configuration.
    Ghost,
    /// A mongod without `--replSet`.
    Standalone,
    /// A router of a sharded cluster; not supported, named so that it can be refused by name.
    Mongos,
}

impl MemberKind {
    /// Whether it holds the set's data, and so answers replSetGetConfig and reads.
    pub fn is_data_bearing(self) -> bool {
        matches!(self, Self::Primary | Self::Secondary | Self::Passive | Self::Hidden)
    }

    /// Whether the reply that it was concluded from names a replica set.
    pub fn is_in_set(self) -> bool {
        self.is_data_bearing() || matches!(self, Self::Arbiter | Self::Other)
    }

    pub(super) fn from_u8(number: u8) -> MemberKind {
        use MemberKind::*;
        [Unknown, Primary, Secondary, Passive, Hidden, Arbiter, Other, Ghost, Standalone, Mongos]
            .get(usize::from(number))
            .copied()
            .unwrap_or(Unknown)
    }
}

/// A server process and the number of its last state change; what awaitable hellos wait for (servers since 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopologyVersion {
    /// Made anew at each start of the process.
    pub process_id: [u8; 12],
    /// Grows by one with each change.
    pub counter: i64,
}

impl TopologyVersion {
    /// Reads a `topologyVersion` document, as in hello replies, hello requests and errors.
    pub fn parse(document: &[u8]) -> Option<TopologyVersion> {
        let process_id = *crate::doc::find(document, "processId")?.value.as_object_id()?;
        let counter = crate::doc::find(document, "counter")?.value.as_i64()?;
        Some(TopologyVersion { process_id, counter })
    }

    /// Whether this is later than `other` of the same process. False for another process: which of two processes
    /// is the newer one cannot be told from their ids (SDAM specification, "topologyVersion comparison").
    pub fn is_later_in_process(&self, other: &TopologyVersion) -> bool {
        self.process_id == other.process_id && self.counter > other.counter
    }
}

/// `electionId` of a primary: orders elections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElectionId(pub [u8; 12]);

impl ElectionId {
    /// The election's term: the last eight bytes, behind four of 0x7fffffff (protocol version 1, servers since 3.2).
    pub fn term(&self) -> Option<i64> {
        let (mark, term) = self.0.split_first_chunk::<4>()?;
        (*mark == [0x7f, 0xff, 0xff, 0xff]).then_some(i64::from_be_bytes(*term.first_chunk()?))
    }
}

/// Why a hello reply cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// It is not a BSON document.
    #[error("its hello reply is malformed: {0}")]
    Document(#[from] DocError),
    /// It lists more members than a replica set can have.
    #[error("its hello reply lists more than {LISTED_MAX} members")]
    TooMany,
    /// It names a member by what is not an address.
    #[error("its hello reply names a member wrongly: {0}")]
    Address(#[from] super::address::AddressError),
}

/// One server's hello reply, as far as torana looks into it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerDescription {
    /// What it is, by its own account.
    pub kind: MemberKind,
    /// The replica set's name.
    pub set_name: Option<String>,
    /// `version` of the set's configuration.
    pub set_version: Option<i64>,
    /// The election that made it primary; absent from others.
    pub election_id: Option<ElectionId>,
    /// Its own name in the configuration.
    pub me: Option<HostPort>,
    /// The primary that it knows of.
    pub primary: Option<HostPort>,
    /// Members with votes and priority.
    pub hosts: Vec<HostPort>,
    /// Members of priority 0.
    pub passives: Vec<HostPort>,
    /// Arbiters.
    pub arbiters: Vec<HostPort>,
    /// The process and its last state change.
    pub topology_version: Option<TopologyVersion>,
    /// `lastWrite.lastWriteDate`, milliseconds since 1970.
    pub last_write_millis: Option<i64>,
    /// `lastWrite.majorityOpTime.ts`: the latest time that it knows a majority to have.
    pub majority_time: Option<u64>,
    /// `operationTime`: seconds in the upper half, increment in the lower.
    pub operation_time: Option<u64>,
    /// `localTime`, milliseconds since 1970.
    pub local_time_millis: Option<i64>,
    /// Oldest wire version that it speaks.
    pub min_wire_version: i64,
    /// Newest wire version that it speaks.
    pub max_wire_version: i64,
    /// Whether it takes writes (`isWritablePrimary`, or `ismaster` of a legacy reply).
    pub is_writable_primary: bool,
    /// `secondary`.
    pub secondary: bool,
    /// Whether it understands `hello` (servers since 4.4.2).
    pub hello_ok: bool,
}

#[derive(Default)]
struct Marks {
    passive: bool,
    hidden: bool,
    arbiter_only: bool,
    is_replica_set: bool,
    mongos: bool,
}

impl ServerDescription {
    /// Reads a hello reply, modern or legacy, whose `ok` was checked.
    pub fn parse(document: &[u8]) -> Result<ServerDescription, DescriptionError> {
        let mut description = ServerDescription::default();
        let mut marks = Marks::default();
        for element in elements(document) {
            description.take(&element?, &mut marks)?;
        }
        description.kind = description.conclude(&marks);
        Ok(description)
    }

    /// All members that the reply lists: hosts, passives, arbiters.
    pub fn listed(&self) -> impl Iterator<Item = &HostPort> {
        self.hosts.iter().chain(&self.passives).chain(&self.arbiters)
    }

    fn take(&mut self, element: &Element<'_>, marks: &mut Marks) -> Result<(), DescriptionError> {
        let value = &element.value;
        let is_true = value.as_bool() == Some(true);
        let inside = |key| value.as_document().and_then(|inner| crate::doc::find(inner, key));
        match element.key {
            b"isWritablePrimary" | b"ismaster" => self.is_writable_primary = is_true,
            b"secondary" => self.secondary = is_true,
            b"helloOk" => self.hello_ok = is_true,
            b"passive" => marks.passive = is_true,
            b"hidden" => marks.hidden = is_true,
            b"arbiterOnly" => marks.arbiter_only = is_true,
            b"isreplicaset" => marks.is_replica_set = is_true,
            b"msg" => marks.mongos = value.as_str() == Some("isdbgrid"),
            b"setName" => self.set_name = value.as_str().map(str::to_owned),
            b"setVersion" => self.set_version = value.as_i64(),
            b"electionId" => self.election_id = value.as_object_id().copied().map(ElectionId),
            b"me" => self.me = value.as_str().and_then(|text| text.parse().ok()),
            b"primary" => self.primary = value.as_str().and_then(|text| text.parse().ok()),
            b"hosts" => self.hosts = addresses(value.as_document())?,
            b"passives" => self.passives = addresses(value.as_document())?,
            b"arbiters" => self.arbiters = addresses(value.as_document())?,
            b"topologyVersion" => {
                self.topology_version = value.as_document().and_then(TopologyVersion::parse);
            }
            b"lastWrite" => {
                self.last_write_millis = inside("lastWriteDate").and_then(|date| date.value.as_date_millis());
                let majority = inside("majorityOpTime").and_then(|time| time.value.as_document());
                let time = majority.and_then(|time| crate::doc::find(time, "ts"));
                self.majority_time = time.and_then(|time| time.value.as_timestamp());
            }
            b"operationTime" => self.operation_time = value.as_timestamp(),
            b"localTime" => self.local_time_millis = value.as_date_millis(),
            b"minWireVersion" => self.min_wire_version = value.as_i64().unwrap_or(0),
            b"maxWireVersion" => self.max_wire_version = value.as_i64().unwrap_or(0),
            _ => {}
        }
        Ok(())
    }

    fn conclude(&self, marks: &Marks) -> MemberKind {
        if marks.mongos {
            return MemberKind::Mongos;
        }
        if self.set_name.is_none() {
            return if marks.is_replica_set { MemberKind::Ghost } else { MemberKind::Standalone };
        }
        match self {
            _ if self.is_writable_primary => MemberKind::Primary,
            _ if marks.arbiter_only => MemberKind::Arbiter,
            _ if !self.secondary => MemberKind::Other,
            _ if marks.hidden => MemberKind::Hidden,
            _ if marks.passive => MemberKind::Passive,
            _ => MemberKind::Secondary,
        }
    }
}

fn addresses(array: Option<&[u8]>) -> Result<Vec<HostPort>, DescriptionError> {
    let mut found = Vec::new();
    for element in array.into_iter().flat_map(elements) {
        if found.len() == LISTED_MAX {
            return Err(DescriptionError::TooMany);
        }
        if let Some(text) = element?.value.as_str() {
            found.push(text.parse()?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
