//! A scripted server: the primary and only member of set `rs0`. It plays the part that monitors and handshakes see
//! (`fake_hello.rs`), writes down every other request, and hands it to a script, which answers as no mongod would.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bson::{Document, doc};

use super::fake_hello::{self, Monitoring};
use super::message::{self, Message, OP_MSG, OP_QUERY, Section};
use super::ports::Ports;
use super::wait::wait_until;

/// What a script says after it dealt with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Read the next request.
    Next,
    /// Close the connection.
    Close,
}

/// Deals with one request. Called on the connection's own thread: it may sleep.
pub type Script = Arc<dyn Fn(&mut Peer, &Message) -> Then + Send + Sync>;

/// The scripted server, until dropped.
pub struct FakeServer {
    shared: Arc<Shared>,
    port: Ports,
}

/// What all connections of a scripted server share.
pub(super) struct Shared {
    pub address: String,
    state: Mutex<State>,
    changed: Condvar,
    next_connection: AtomicI32,
}

pub(super) struct State {
    script: Script,
    seen: Vec<Seen>,
    open: HashMap<i32, Open>,
    pub monitoring: Monitoring,
    /// topologyVersion's counter.
    pub counter: i64,
    /// Whether hello tells a connection's number, as servers before 4.2 do not.
    pub tells_connections: bool,
    refuses: bool,
    stops_reading: bool,
}

struct Open {
    stream: TcpStream,
    /// Whether it ever carried a request for the script: one of the pool's, then.
    serves: bool,
}

/// A request that came, and on which connection.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The server's number for the connection.
    pub connection: i32,
    /// The request.
    pub message: Message,
}

/// The server's end of one connection.
pub struct Peer {
    stream: TcpStream,
    id: i32,
    last_id: i32,
}

impl FakeServer {
    /// A server that deals with requests by `script`.
    pub fn start(script: impl Fn(&mut Peer, &Message) -> Then + Send + Sync + 'static) -> FakeServer {
        let port = Ports::one();
        let address = format!("127.0.0.1:{}", port.first());
        let listener = TcpListener::bind(&address).expect("the scripted server's port");
        let state = State {
            script: Arc::new(script),
            seen: Vec::new(),
            open: HashMap::new(),
            monitoring: Monitoring::Answers,
            counter: 1,
            tells_connections: true,
            refuses: false,
            stops_reading: false,
        };
        let shared = Arc::new(Shared {
            address,
            state: Mutex::new(state),
            changed: Condvar::new(),
            next_connection: AtomicI32::new(1),
        });
        let accepting = Arc::downgrade(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(shared) = accepting.upgrade() else { return };
                shared.admit(stream);
            }
        });
        FakeServer { shared, port }
    }

    /// A server that answers every request with ok and what it was (see [`Peer::ok`]).
    pub fn answering() -> FakeServer {
        FakeServer::start(Peer::ok)
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// The connection string for torana.
    pub fn uri(&self) -> String {
        format!("mongodb://{}/?replicaSet=rs0", self.address())
    }

    /// Deals with requests by another script from now on.
    pub fn script(&self, script: impl Fn(&mut Peer, &Message) -> Then + Send + Sync + 'static) {
        self.shared.lock().script = Arc::new(script);
    }

    /// Answers monitors and handshakes in another way from now on.
    pub fn monitoring(&self, monitoring: Monitoring) {
        self.shared.change(|state| state.monitoring = monitoring);
    }

    /// Counts topologyVersion up: streamed and awaited hellos are answered.
    pub fn change_topology(&self) {
        self.shared.change(|state| state.counter += 1);
    }

    /// Says hello without the connection's number from now on.
    pub fn hide_connections(&self) {
        self.shared.lock().tells_connections = false;
    }

    /// From now on new connections are closed as soon as they are accepted, or no longer.
    pub fn refuse(&self, refuses: bool) {
        self.shared.lock().refuses = refuses;
    }

    /// From now on nothing is read on connections that carried a request, or again.
    pub fn stop_reading(&self, stops: bool) {
        self.shared.change(|state| state.stops_reading = stops);
    }

    /// The requests called `name` so far: a command's name, or `opcode 2002` and the like.
    pub fn requests(&self, name: &str) -> Vec<Seen> {
        let state = self.shared.lock();
        state.seen.iter().filter(|seen| name_of(&seen.message) == name).cloned().collect()
    }

    /// Waits until `count` requests called `name` have come.
    pub fn wait_requests(&self, name: &str, count: usize) {
        wait_until(&format!("{count} requests called {name}"), Duration::from_secs(10), || {
            self.requests(name).len() >= count
        });
    }

    /// How many connections are open that carried a request.
    pub fn serving(&self) -> usize {
        self.shared.lock().open.values().filter(|open| open.serves).count()
    }

    /// Closes all connections that carried a request.
    pub fn close_serving(&self) {
        for open in self.shared.lock().open.values().filter(|open| open.serves) {
            let _ = open.stream.shutdown(Shutdown::Both);
        }
    }

    /// Sends bytes on all connections that carried a request.
    pub fn send_unasked(&self, bytes: &[u8]) {
        for open in self.shared.lock().open.values_mut().filter(|open| open.serves) {
            open.stream.write_all(bytes).expect("a write to torana");
        }
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.monitoring(Monitoring::Closes);
        for open in self.shared.lock().open.values() {
            let _ = open.stream.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread, which sees that this is gone.
        let address = self.address().to_owned();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(10));
            let _ = TcpStream::connect(address);
        });
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits while `condition` holds, at most for `limit`.
    pub fn wait_while(&self, limit: Duration, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_timeout_while(self.lock(), limit, |state| condition(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn admit(self: Arc<Self>, stream: TcpStream) {
        if self.lock().refuses {
            return;
        }
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let kept = stream.try_clone().expect("a second handle of a socket");
        self.lock().open.insert(id, Open { stream: kept, serves: false });
        std::thread::spawn(move || {
            self.serve(&mut Peer { stream, id, last_id: 1_000_000 });
            let closed = self.lock().open.remove(&id);
            closed.map(|open| open.stream.shutdown(Shutdown::Both));
        });
    }

    fn serve(&self, peer: &mut Peer) {
        loop {
            if peer.wait_for_bytes().is_err() {
                return;
            }
            drop(self.wait_while(Duration::from_secs(60), |state| {
                state.stops_reading && state.open.get(&peer.id).is_some_and(|open| open.serves)
            }));
            let Ok(request) = peer.read() else { return };
            let name = name_of(&request);
            let then = match name.as_str() {
                "hello" | "isMaster" | "ismaster" => fake_hello::answer(self, peer, &request),
                "replSetGetConfig" => peer.reply(&request, fake_hello::config(&self.address)),
                _ => self.scripted(peer, request),
            };
            if then == Then::Close {
                return;
            }
        }
    }

    fn scripted(&self, peer: &mut Peer, request: Message) -> Then {
        let mut state = self.lock();
        state.seen.push(Seen { connection: peer.id, message: request.clone() });
        if let Some(open) = state.open.get_mut(&peer.id) {
            open.serves = true;
        }
        let script = state.script.clone();
        drop(state);
        script(peer, &request)
    }
}

impl Peer {
    /// The server's number for this connection.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// A number for the next message.
    pub fn next_id(&mut self) -> i32 {
        self.last_id += 1;
        self.last_id
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Then {
        if self.stream.write_all(bytes).is_ok() { Then::Next } else { Then::Close }
    }

    /// Answers in the request's opcode.
    pub fn reply(&mut self, request: &Message, body: Document) -> Then {
        let id = self.next_id();
        let bytes = match request.opcode() {
            OP_MSG => message::op_msg(id, request.request_id(), 0, &[Section::Body(body)]),
            _ => message::op_reply(id, request.request_id(), &body),
        };
        self.send(&bytes)
    }

    /// Answers ok, with the request's name, its field `n`, and this connection's number. Requests that want no reply
    /// get none.
    pub fn ok(&mut self, request: &Message) -> Then {
        let wants_none = request.more_to_come() || ![OP_MSG, OP_QUERY].contains(&request.opcode());
        if wants_none {
            return Then::Next;
        }
        let n = request.query_or_body().get("n").cloned().unwrap_or(bson::Bson::Null);
        self.reply(request, doc! { "name": name_of(request), "n": n, "connection": self.id, "ok": 1.0 })
    }

    fn wait_for_bytes(&mut self) -> std::io::Result<()> {
        match self.stream.peek(&mut [0])? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn read(&mut self) -> std::io::Result<Message> {
        let mut raw = vec![0; 4];
        self.stream.read_exact(&mut raw)?;
        let length = i32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
        assert!((16..=48_000_000).contains(&length), "torana sent message length {length}");
        raw.resize(length as usize, 0);
        self.stream.read_exact(&mut raw[4..])?;
        Ok(Message { raw })
    }
}

/// The name of a request's command; `opcode 2002` and the like for one that carries no command.
pub fn name_of(request: &Message) -> String {
    let Some(at) = request.body_at() else { return format!("opcode {}", request.opcode()) };
    // The first key, without reading the document: scripts see documents that no reader takes.
    let key = request.raw.get(at + 5..).unwrap_or_default();
    let end = key.iter().position(|byte| *byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&key[..end]).into_owned()
}
