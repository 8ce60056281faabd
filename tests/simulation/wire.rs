//! A pooled connection in memory, and the connector that makes them. It does not look at what a reply answers: so a
//! reply that meets the wrong client is seen, not refused.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use torana::pool::{Connect, ConnectError, Connection};

use crate::ledger::Ledger;
use crate::request::{Reply, Request};
use crate::serve::serve;
use crate::world::{LATENCY, World};

/// How long the network may lose everything before a connection that waits for a reply is given up: the kernel's
/// keepalive, hurried. Sooner than the monitors' silence, or later, as it comes.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);

/// Both ends of a connection.
pub struct Wire {
    pub id: u64,
    pub port: u16,
    /// The process at the other end.
    pub process: u64,
    /// How often its pool had been cleared when its connect began.
    pub clears: u64,
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    inbox: VecDeque<Reply>,
    /// Requests whose reply was not read.
    unread: usize,
    server_closed: bool,
    client_closed: bool,
    killed: bool,
    reset: bool,
}

impl Wire {
    pub fn unread(&self) -> usize {
        self.state.lock().unwrap().unread
    }

    pub fn is_closed_by_client(&self) -> bool {
        self.state.lock().unwrap().client_closed
    }

    pub fn is_closed_by_server(&self) -> bool {
        self.state.lock().unwrap().server_closed
    }

    pub fn close_by_server(&self) {
        self.state.lock().unwrap().server_closed = true;
        self.arrived.notify_one();
    }

    /// The server closes this one, for some reason of its own.
    pub fn reset(&self) {
        self.state.lock().unwrap().reset = true;
        self.close_by_server();
    }

    pub fn is_reset(&self) -> bool {
        self.state.lock().unwrap().reset
    }

    pub fn deliver(&self, reply: Reply) {
        let mut state = self.state.lock().unwrap();
        if !state.reset {
            state.inbox.push_back(reply);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// killOp on what runs for it.
    pub fn kill(&self) {
        self.state.lock().unwrap().killed = true;
    }

    pub fn is_killed(&self) -> bool {
        self.state.lock().unwrap().killed
    }
}

/// Why no reply will come.
#[derive(Debug)]
pub enum Lost {
    /// The server closed the connection.
    Closed,
    /// Nothing was heard of it for too long.
    Silent(io::Error),
}

impl Lost {
    /// As `ReplyError::io`.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Lost::Closed => None,
            Lost::Silent(error) => Some(error),
        }
    }
}

/// torana's end.
pub struct SimConnection {
    pub wire: Arc<Wire>,
    world: Arc<World>,
    ledger: Arc<Ledger>,
}

impl SimConnection {
    pub fn send(&mut self, request: Request) {
        self.wire.state.lock().unwrap().unread += 1;
        tokio::spawn(serve(self.world.clone(), self.wire.clone(), request));
    }

    /// The next reply. Cancel safe.
    pub async fn receive(&mut self) -> Result<Reply, Lost> {
        let mut silence = pin!(self.world.until_silent(self.wire.port, GIVEN_UP_AFTER));
        loop {
            {
                let mut state = self.wire.state.lock().unwrap();
                if let Some(reply) = state.inbox.pop_front() {
                    state.unread -= 1;
                    state.killed = false;
                    return Ok(reply);
                }
                if state.server_closed {
                    return Err(Lost::Closed);
                }
            }
            tokio::select! {
                biased;
                () = self.wire.arrived.notified() => {}
                () = &mut silence => return Err(Lost::Silent(io::ErrorKind::TimedOut.into())),
            }
        }
    }
}

impl Connection for SimConnection {
    fn is_broken(&mut self, _idle: Duration) -> bool {
        let state = self.wire.state.lock().unwrap();
        if state.unread > 0 {
            self.world.violated(format!("connection {} is idle with an unread reply", self.wire.id));
        }
        state.server_closed || !state.inbox.is_empty()
    }
}

impl Drop for SimConnection {
    fn drop(&mut self) {
        self.wire.state.lock().unwrap().client_closed = true;
        self.ledger.closed();
    }
}

/// Makes connections to one member.
pub struct SimConnector {
    pub world: Arc<World>,
    pub ledger: Arc<Ledger>,
    pub port: u16,
}

impl Connect for SimConnector {
    type Connection = SimConnection;

    async fn connect(&self) -> Result<SimConnection, ConnectError> {
        let (connecting, clears) = (self.ledger.connecting(), self.ledger.clears());
        let port = self.port;
        // Connect and handshake: there and back, twice. Time differs between connects, but not between runs.
        sleep(LATENCY * 4 + Duration::from_millis(connecting.number % 13)).await;
        self.world.until(port, |node| !node.is_cut && (!node.is_alive || !node.is_frozen)).await;
        let process = self.world.look(port, |node| node.is_alive.then_some(node.process)).flatten();
        let Some(process) = process else { return Err(ConnectError::new("connection refused")) };
        let (state, arrived) = (Mutex::default(), Notify::new());
        let wire = Arc::new(Wire { id: connecting.number, port, process, clears, state, arrived });
        self.world.change(port, |node| node.wires.push(Arc::downgrade(&wire)));
        self.ledger.opened();
        Ok(SimConnection { wire, world: self.world.clone(), ledger: self.ledger.clone() })
    }
}
