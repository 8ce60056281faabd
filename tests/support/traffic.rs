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
