//! Real traffic, written down as other tools would have: what a client sent and was told, with times, and by whom.

use std::time::{SystemTime, UNIX_EPOCH};

use bson::spec::BinarySubtype;
use bson::{Binary, Document, doc};

use super::message::{self, Section, bytes_of};
use super::raw::RawClient;

/// Go counts seconds from the year 1.
const YEAR_1_TO_1970: i64 = 62_135_596_800;

/// One message.
#[derive(Debug, Clone)]
pub struct Passed {
    /// The connection, from 0.
    pub connection: usize,
    /// When it passed, nanoseconds since 1970.
    pub time: i64,
    /// Whether the client sent it.
    pub is_request: bool,
    /// The message.
    pub bytes: Vec<u8>,
}

/// Clients whose messages are written down.
#[derive(Debug, Default)]
pub struct Traffic {
    /// What passed.
    pub passed: Vec<Passed>,
    clients: Vec<(RawClient, String, String)>,
}

/// Nanoseconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_nanos() as i64
}

impl Traffic {
    /// Another client of the server at `address`; its number.
    pub fn connect(&mut self, address: &str) -> usize {
        let client = RawClient::connect(address);
        let own = client.stream().local_addr().expect("an address").to_string();
        self.clients.push((client, own, address.to_owned()));
        self.clients.len() - 1
    }

    /// Runs a command on a client, and gives its reply, ok or not.
    pub fn run(&mut self, client: usize, db: &str, mut command: Document) -> Document {
        command.insert("$db", db);
        self.exchange(client, &[Section::Body(command)])
    }

    /// The same with sections.
    pub fn exchange(&mut self, connection: usize, sections: &[Section]) -> Document {
        let (client, ..) = &mut self.clients[connection];
        let request = message::op_msg(client.next_id(), 0, 0, sections);
        client.send(&request);
        let sent = now();
        let reply = client.read();
        self.passed.push(Passed { connection, time: sent, is_request: true, bytes: request });
        let time = now().max(sent + 1);
        self.passed.push(Passed { connection, time, is_request: false, bytes: reply.raw.clone() });
        reply.body()
    }

    /// Closes all clients.
    pub fn close(&mut self) {
        for (client, ..) in self.clients.drain(..) {
            let _ = client.stream().shutdown(std::net::Shutdown::Both);
        }
    }

    /// As packets, for those who may not look at real ones: each message in segments of at most a kilobyte.
    pub fn pcap(&self) -> Vec<u8> {
        let mut file: Vec<u8> = [0xa1b2_3c4du32, 4 << 16 | 2, 0, 0, 262_144, 101]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect();
        let mut next = vec![[1u32; 2]; self.clients.len()];
        for one in &self.passed {
            let (_, client, server) = &self.clients[one.connection];
            let (from, to) = if one.is_request { (client, server) } else { (server, client) };
            for chunk in one.bytes.chunks(1024) {
                let sequence = &mut next[one.connection][usize::from(one.is_request)];
                let packet = packet(from, to, *sequence, chunk);
                *sequence += chunk.len() as u32;
                let length = packet.len() as u32;
                let time = [(one.time / 1_000_000_000) as u32, (one.time % 1_000_000_000) as u32];
                file.extend([time[0], time[1], length, length].into_iter().flat_map(u32::to_le_bytes));
                file.extend(packet);
            }
        }
        file
    }

    /// As `mongoreplay record` writes it down.
    pub fn playback(&self) -> Vec<u8> {
        let mut file = bytes_of(&doc! { "playbackfileversion": 1, "driveropsfiltered": false });
        for (order, one) in self.passed.iter().enumerate() {
            let (_, client, server) = &self.clients[one.connection];
            let (from, to) = if one.is_request { (client, server) } else { (server, client) };
            let int = |at: usize| i32::from_le_bytes(one.bytes[at..at + 4].try_into().expect("four bytes"));
            let header = doc! { "messagelength": int(0), "requestid": int(4), "responseto": int(8), "opcode": int(12) };
            let body = Binary { subtype: BinarySubtype::Generic, bytes: one.bytes.clone() };
            let seen = doc! { "sec": one.time / 1_000_000_000 + YEAR_1_TO_1970,
            "nsec": (one.time % 1_000_000_000) as i32 };
            file.extend(bytes_of(&doc! { "rawop": { "header": header, "body": body }, "seen": seen,
            "srcendpoint": from, "dstendpoint": to, "seenconnectionnum": one.connection as i64,
            "playedconnectionnum": 0i64, "generation": 0, "order": order as i64 }));
        }
        file
    }
}

/// A TCP segment in an IPv4 packet.
fn packet(from: &str, to: &str, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let [from, to] = [from, to].map(|end| end.parse::<std::net::SocketAddrV4>().expect("an address"));
    let mut packet = vec![0x45, 0];
    packet.extend((40 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 1, 0x40, 0, 64, 6, 0, 0]);
    packet.extend(from.ip().octets().into_iter().chain(to.ip().octets()));
    packet.extend(from.port().to_be_bytes().into_iter().chain(to.port().to_be_bytes()));
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 1, 5 << 4, 16, 1, 0, 0, 0, 0, 0]);
    packet.extend(payload);
    packet
}
