//! A scripted client: it sends exactly the bytes that it is told to and hands back exactly those that came.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bson::{Document, doc};

use super::message::{self, Message, Section};

/// How long a read waits before it fails the test, unless `set_timeout` says otherwise.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The three names of the handshake command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloSpelling {
    /// `hello`
    Hello,
    /// `isMaster`
    IsMaster,
    /// `ismaster`
    Ismaster,
}

impl HelloSpelling {
    /// All of them.
    pub const ALL: [HelloSpelling; 3] =
        [HelloSpelling::Hello, HelloSpelling::IsMaster, HelloSpelling::Ismaster];

    /// The command's name.
    pub fn name(self) -> &'static str {
        match self {
            HelloSpelling::Hello => "hello",
            HelloSpelling::IsMaster => "isMaster",
            HelloSpelling::Ismaster => "ismaster",
        }
    }
}

/// Which of the two message forms carries a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// OP_MSG
    Msg,
    /// OP_QUERY on `db.$cmd`
    Query,
}

/// One connection, blocking.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    last_id: i32,
}

impl RawClient {
    /// Connects, and panics if that fails.
    pub fn connect(address: impl ToSocketAddrs + std::fmt::Debug) -> RawClient {
        RawClient::try_connect(&address)
            .unwrap_or_else(|error| panic!("cannot connect to {address:?}: {error}"))
    }

    /// Connects, or says why not.
    pub fn try_connect(address: &(impl ToSocketAddrs + ?Sized)) -> std::io::Result<RawClient> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(RawClient { stream, last_id: 0 })
    }

    /// How long a read waits before it fails.
    pub fn set_timeout(&mut self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("a read timeout");
    }

    /// The socket, for what has no method here (shutdown, linger, ...).
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The next request id: 1, 2, 3, ...
    pub fn next_id(&mut self) -> i32 {
        self.last_id += 1;
        self.last_id
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("a write to the peer");
    }

    /// Sends an OP_MSG with these flag bits and sections; gives its request id.
    pub fn send_msg(&mut self, flags: u32, sections: &[Section]) -> i32 {
        let id = self.next_id();
        self.send(&message::op_msg(id, 0, flags, sections));
        id
    }

    /// Sends a command as OP_MSG; gives its request id.
    pub fn send_command(&mut self, db: &str, mut command: Document) -> i32 {
        command.insert("$db", db);
        self.send_msg(0, &[Section::Body(command)])
    }

    /// Sends a command as OP_QUERY on `db.$cmd`; gives its request id. secondaryOk is set, as drivers do.
    pub fn send_query(&mut self, db: &str, command: &Document) -> i32 {
        let id = self.next_id();
        self.send(&message::op_query(id, 4, &format!("{db}.$cmd"), -1, command));
        id
    }

    /// Sends a legacy write or cursor message (see [`message::legacy`]); gives its request id.
    pub fn send_legacy(&mut self, opcode: i32, flags: u32, namespace: &str, rest: &[u8]) -> i32 {
        let id = self.next_id();
        self.send(&message::legacy(id, opcode, flags, namespace, rest));
        id
    }

    /// Reads one message; panics if none comes whole.
    pub fn read(&mut self) -> Message {
        self.try_read().unwrap_or_else(|error| panic!("no reply: {error}"))
    }

    /// Reads one message, or says why not: `UnexpectedEof` if the peer closed, `WouldBlock` if it is silent.
    pub fn try_read(&mut self) -> std::io::Result<Message> {
        let mut raw = vec![0; 4];
        self.stream.read_exact(&mut raw)?;
        let length = i32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
        assert!((16..=48_000_000).contains(&length), "the peer sent message length {length}");
        raw.resize(length as usize, 0);
        self.stream.read_exact(&mut raw[4..])?;
        Ok(Message { raw })
    }

    /// Runs a command as OP_MSG and gives its reply, ok or not. A transport failure is an error.
    pub fn try_command(&mut self, db: &str, command: Document) -> std::io::Result<Document> {
        let mut command = command;
        command.insert("$db", db);
        let id = self.next_id();
        self.stream.write_all(&message::op_msg(id, 0, 0, &[Section::Body(command)]))?;
        let reply = self.try_read()?;
        assert_eq!(reply.response_to(), id, "a reply to another request");
        Ok(reply.body())
    }

    /// Runs a command as OP_MSG and gives its reply, ok or not.
    pub fn command(&mut self, db: &str, command: Document) -> Document {
        self.try_command(db, command).unwrap_or_else(|error| panic!("no reply: {error}"))
    }

    /// Runs a command and panics unless its reply says ok and no write error.
    pub fn run(&mut self, db: &str, command: Document) -> Document {
        let reply = self.command(db, command.clone());
        let failed = reply.contains_key("writeErrors") || reply.contains_key("writeConcernError");
        assert!(is_ok(&reply) && !failed, "{command} was answered {reply}");
        reply
    }

    /// Runs a command as OP_QUERY and gives its reply message.
    pub fn query(&mut self, db: &str, command: &Document) -> Message {
        let id = self.send_query(db, command);
        let reply = self.read();
        assert_eq!(reply.response_to(), id, "a reply to another request");
        reply
    }

    /// Says hello in one of the six ways, with further fields, and gives the reply message.
    pub fn hello_message(&mut self, spelling: HelloSpelling, opcode: Opcode, fields: Document) -> Message {
        let mut command = doc! { spelling.name(): 1 };
        command.extend(fields);
        let id = match opcode {
            Opcode::Msg => self.send_command("admin", command),
            Opcode::Query => self.send_query("admin", &command),
        };
        let reply = self.read();
        assert_eq!(reply.response_to(), id, "a reply to another request");
        reply
    }

    /// A plain hello over OP_MSG.
    pub fn hello(&mut self) -> Document {
        self.hello_message(HelloSpelling::Hello, Opcode::Msg, doc! {}).body()
    }

    /// Waits until the peer closes, and gives what it sent before. Panics if it is silent past the timeout.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
            Err(error) => panic!("the peer did not close: {error}, after {} bytes", bytes.len()),
        }
    }
}

/// Whether a reply says `ok: 1`, in any number type.
pub fn is_ok(reply: &Document) -> bool {
    reply
        .get("ok")
        .is_some_and(|ok| ok.as_f64() == Some(1.0) || ok.as_i32() == Some(1) || ok.as_i64() == Some(1))
}
