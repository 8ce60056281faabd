//! Who the target is: its members, which of them is the primary, and whether it is the set that the capture came from.
//!
//! Asked once, before anything is sent, by blocking connections of its own.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{Document, doc};

use super::job::Opening;
use crate::capture::{Role, decode};
use crate::config::{ConnectionString, HostPort};
use crate::wire::{HEADER_LEN, Header, MESSAGE_MAX, MsgFlags, OpMsg, OpMsgBuilder, Side};

/// How long a member has to answer, if the connection string does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Names of members that are asked: a set has at most 50 members (server limit `kMaxMembers`), some known by two names.
const NAMES_MAX: usize = 128;

/// Why there is no target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No seed answers.
    #[error("the target cannot be reached: {0}")]
    Unreachable(String),
    /// It answers, and is of another set.
    #[error("{member} belongs to replica set {actual:?}, not to {expected:?} as the connection string says")]
    SetName {
        /// Who answered.
        member: String,
        /// Its set.
        actual: String,
        /// What was asked for.
        expected: String,
    },
    /// The members are there, and none is primary.
    #[error("the target has no primary at the moment: {0}")]
    NoPrimary(String),
    /// Writes to the set that they came from.
    #[error(
        "the target is the replica set that the capture came from (replicaSetId {0}): replaying its writes would do them \
         a second time; give --same-set if that is wanted"
    )]
    SameSet(ObjectId),
    /// Writes, and it cannot be told whether to the set that they came from.
    #[error(
        "{0}: so it cannot be told whether the capture came from this very target, and its writes might be done a second time; give --same-set if it did not, or if that is wanted"
    )]
    UnknownSet(&'static str),
}

/// The target's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name and address of each; the primary is the first.
    pub members: Vec<(String, SocketAddr)>,
    /// `settings.replicaSetId`, if it is a set and tells.
    pub replica_set_id: Option<ObjectId>,
    /// The server's version.
    pub version: String,
}

/// One member, asked.
struct Asked {
    name: String,
    address: SocketAddr,
    hello: Document,
}

impl Target {
    /// Finds the members that the connection string leads to.
    pub fn find(uri: &ConnectionString) -> Result<Target, TargetError> {
        let timeout = uri.connect_timeout.unwrap_or(TIMEOUT);
        let mut errors = Vec::new();
        let mut asked: Vec<Asked> = Vec::new();
        let mut names: Vec<String> = uri.seeds.iter().map(HostPort::to_string).collect();
        let mut next = 0;
        while let Some(name) = names.get(next).cloned() {
            next += 1;
            match ask(&name, timeout) {
                Ok(member) => {
                    check_name(uri, &member)?;
                    if !uri.direct_connection {
                        for host in hosts(&member.hello) {
                            if names.len() < NAMES_MAX && !names.contains(&host) {
                                names.push(host);
                            }
                        }
                    }
                    asked.push(member);
                }
                Err(error) => errors.push(format!("{name}: {error}")),
            }
        }
        if asked.is_empty() {
            return Err(TargetError::Unreachable(errors.join("; ")));
        }
        Target::of(uri, asked, timeout, &errors)
    }

    fn of(
        uri: &ConnectionString,
        asked: Vec<Asked>,
        timeout: Duration,
        errors: &[String],
    ) -> Result<Target, TargetError> {
        let says = |member: &Asked, key: &str| member.hello.get_bool(key).unwrap_or(false);
        let is_set = |member: &Asked| member.hello.contains_key("setName");
        // A seed may be known by another name than the one that its set has for it.
        let is_known_twice = |place: usize| {
            let me = asked[place].hello.get_str("me").unwrap_or_default();
            asked.iter().enumerate().any(|(other, member)| other != place && member.name == me)
                && asked[place].name != me
        };
        let places: Vec<usize> = (0..asked.len()).filter(|place| !is_known_twice(*place)).collect();
        let primary = match uri.direct_connection {
            true => places.first().copied(),
            false => places.iter().copied().find(|place| {
                let member = &asked[*place];
                !is_set(member) || says(member, "isWritablePrimary") || says(member, "ismaster")
            }),
        };
        let primary = primary.ok_or_else(|| {
            let found: Vec<&str> = asked.iter().map(|member| member.name.as_str()).collect();
            let silent = if errors.is_empty() { String::new() } else { format!("; {}", errors.join("; ")) };
            TargetError::NoPrimary(format!("{} answer{silent}", found.join(", ")))
        })?;
        let is_secondary = |place: &usize| {
            *place != primary && says(&asked[*place], "secondary") && !says(&asked[*place], "hidden")
        };
        let members = std::iter::once(primary).chain(places.iter().copied().filter(is_secondary));
        let members: Vec<(String, SocketAddr)> =
            members.map(|place| (asked[place].name.clone(), asked[place].address)).collect();
        let (replica_set_id, version) = more_of(asked[primary].address, timeout);
        Ok(Target { members, replica_set_id, version })
    }

    /// Refuses writes to the set that they were captured from, and where that cannot be told.
    pub fn check_other_set(&self, captured: Option<ObjectId>) -> Result<(), TargetError> {
        match (captured, self.replica_set_id) {
            (Some(captured), Some(target)) if captured != target => Ok(()),
            (Some(captured), Some(_)) => Err(TargetError::SameSet(captured)),
            (None, _) => {
                Err(TargetError::UnknownSet("the capture does not say which replica set it came from"))
            }
            (_, None) => Err(TargetError::UnknownSet("the target does not tell its replicaSetId")),
        }
    }
}

fn check_name(uri: &ConnectionString, member: &Asked) -> Result<(), TargetError> {
    let actual = member.hello.get_str("setName").unwrap_or_default();
    match &uri.replica_set {
        Some(expected) if expected != actual => Err(TargetError::SetName {
            member: member.name.clone(),
            actual: actual.to_owned(),
            expected: expected.clone(),
        }),
        _ => Ok(()),
    }
}

/// All members that a hello names.
fn hosts(hello: &Document) -> Vec<String> {
    let lists = ["hosts", "passives"].into_iter().filter_map(|key| hello.get_array(key).ok());
    lists.flatten().filter_map(|host| host.as_str()).map(str::to_ascii_lowercase).collect()
}

fn ask(name: &str, timeout: Duration) -> io::Result<Asked> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in name.to_socket_addrs()? {
        match run(address, timeout, &doc! { "hello": 1, "$db": "admin" }) {
            Ok(hello) if is_ok(&hello) => return Ok(Asked { name: name.to_owned(), address, hello }),
            // Servers before 4.4.2 know the older name alone.
            Ok(_) => match run(address, timeout, &doc! { "isMaster": 1, "$db": "admin" }) {
                Ok(hello) => return Ok(Asked { name: name.to_owned(), address, hello }),
                Err(error) => last = error,
            },
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The primary's `settings.replicaSetId` and version, as far as it tells.
fn more_of(address: SocketAddr, timeout: Duration) -> (Option<ObjectId>, String) {
    let config = run(address, timeout, &doc! { "replSetGetConfig": 1, "$db": "admin" });
    let settings = config.ok().and_then(|reply| {
        reply.get_document("config").ok()?.get_document("settings").ok()?.get_object_id("replicaSetId").ok()
    });
    let info = run(address, timeout, &doc! { "buildInfo": 1, "$db": "admin" });
    let version = info.ok().and_then(|reply| reply.get_str("version").ok().map(str::to_owned));
    (settings, version.unwrap_or_default())
}

/// Runs one command on a connection of its own, which has so long to be made, and then as long to answer in whole.
pub(crate) fn run(address: SocketAddr, timeout: Duration, command: &Document) -> io::Result<Document> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    let deadline = Instant::now() + timeout;
    stream.set_write_timeout(Some(timeout))?;
    let body = bson::serialize_to_vec(command).map_err(io::Error::other)?;
    stream.write_all(&OpMsgBuilder::message(1, 0, MsgFlags(0), &body))?;
    let mut head = [0; HEADER_LEN];
    read_by(&mut stream, &mut head, deadline)?;
    let header = Header::parse(&head, Side::Server, MESSAGE_MAX).map_err(io::Error::other)?;
    let mut message = head.to_vec();
    message.resize(header.length, 0);
    read_by(&mut stream, message.get_mut(HEADER_LEN..).unwrap_or_default(), deadline)?;
    let msg = OpMsg::parse(&message, Side::Server).map_err(io::Error::other)?;
    decode::document(msg.body).map_err(io::Error::other)
}

/// Fills `space`, until `deadline`: a peer that sends byte by byte gets no further time for each.
fn read_by(stream: &mut TcpStream, mut space: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !space.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time"));
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(space) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => space = space.get_mut(read..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a reply says that all went well, write errors aside.
pub(crate) fn is_ok(reply: &Document) -> bool {
    reply.get("ok").is_some_and(|ok| ok.as_f64() == Some(1.0) || ok.as_i32() == Some(1))
}

/// Which member of the target stands for each of the capture's.
///
/// A member, not each of its connections: a cursor is read on through any connection to the member that it is open on, so
/// what went to one member has to go to one again.
#[derive(Debug)]
pub struct Routes {
    secondaries: usize,
    chosen: HashMap<Box<str>, usize>,
    next: usize,
}

impl Routes {
    /// To a target with so many members, the first of which is primary.
    pub fn new(members: usize) -> Routes {
        Routes { secondaries: members.saturating_sub(1), chosen: HashMap::new(), next: 0 }
    }

    /// The member for a captured connection.
    pub fn member(&mut self, opening: &Opening) -> usize {
        if opening.role != Role::Secondary || self.secondaries == 0 {
            return 0;
        }
        if let Some(member) = self.chosen.get(&opening.member) {
            return *member;
        }
        let member = 1 + self.next % self.secondaries;
        self.next += 1;
        self.chosen.insert(opening.member.clone(), member);
        member
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::job::ConnectionId;
    use crate::wire::Opcode;

    #[test]
    fn a_target_that_answers_byte_by_byte_is_not_waited_for_forever() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let header = Header { length: 1_000, request_id: 1, response_to: 1, opcode: Opcode::Msg };
            let _ = stream.write_all(&header.to_bytes());
            // It never pauses for as long as the limit.
            while stream.write_all(&[0]).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let began = Instant::now();
        let error = run(address, Duration::from_millis(200), &doc! { "hello": 1 }).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(5), "{error} after {:?}", began.elapsed());
    }

    fn opening(role: Role, member: &str) -> Opening {
        Opening { connection: ConnectionId { lap: 0, number: 1 }, role, member: member.into() }
    }

    #[test]
    fn a_secondary_stands_for_a_secondary_and_the_primary_for_all_if_it_is_alone() {
        let mut routes = Routes::new(3);
        assert_eq!(routes.member(&opening(Role::Primary, "a:1")), 0);
        assert_eq!(routes.member(&opening(Role::Secondary, "b:1")), 1);
        assert_eq!(routes.member(&opening(Role::Secondary, "c:1")), 2);
        assert_eq!(routes.member(&opening(Role::Secondary, "b:1")), 1);
        assert_eq!(routes.member(&opening(Role::Secondary, "d:1")), 1);
        assert_eq!(Routes::new(1).member(&opening(Role::Secondary, "b:1")), 0);
    }

    #[test]
    fn writes_go_to_another_set_that_is_known_to_be_one() {
        let of = |replica_set_id| Target { members: Vec::new(), replica_set_id, version: String::new() };
        let (one, other) = (ObjectId::new(), ObjectId::new());
        assert!(of(Some(one)).check_other_set(Some(other)).is_ok());
        let same = of(Some(one)).check_other_set(Some(one)).unwrap_err();
        assert!(same.to_string().contains("--same-set"), "{same}");
        for (captured, target) in [(None, Some(one)), (Some(one), None), (None, None)] {
            let unknown = of(target).check_other_set(captured).unwrap_err();
            assert!(unknown.to_string().contains("cannot be told"), "{unknown}");
        }
    }
}
