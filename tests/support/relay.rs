//! The fault relay: a TCP relay in front of a server whose faults are switched while it runs.
//!
//! It stands in for the network between torana and a member, or between a client and torana: late, silent in one
//! direction or both, cut off, in pieces; and, message by message, for a server that answers wrongly.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use super::message::Message;
use super::ports::Ports;
pub use super::relay_pump::{Counts, Flow};
use super::relay_pump::{State, reset, run};

type Injectors = Arc<Mutex<Vec<mpsc::UnboundedSender<Vec<u8>>>>>;

/// A relay, running until dropped; its connections are reset then.
pub struct Relay {
    // Dropped first, with all tasks and their sockets.
    runtime: Option<Runtime>,
    address: SocketAddr,
    state: watch::Sender<State>,
    counts: Arc<Counts>,
    injectors: Injectors,
    port: Ports,
}

impl Relay {
    /// A relay to `target` (`host:port`) on a free port of 127.0.0.1, passing everything at first.
    pub fn to(target: &str) -> Relay {
        let port = Ports::one();
        let address = SocketAddr::from(([127, 0, 0, 1], port.first()));
        // One thread of its own, so that a busy test does not hold up the network.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(address)).expect("the relay's port");
        let (state, watched) = watch::channel(State::default());
        let (counts, injectors) = (Arc::<Counts>::default(), Injectors::default());
        runtime.spawn(accept(listener, target.into(), watched, counts.clone(), injectors.clone()));
        Relay { runtime: Some(runtime), address, state, counts, injectors, port }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// No fault any more; what a blackhole held goes on.
    pub fn pass(&self) {
        self.state.send_modify(|state| {
            (state.to_server, state.to_client, state.refusing) = (Flow::default(), Flow::default(), false);
        });
    }

    /// Sets the faults of the direction from the client to the server.
    pub fn to_server(&self, flow: Flow) {
        self.state.send_modify(|state| state.to_server = flow);
    }

    /// Sets the faults of the direction from the server to the client.
    pub fn to_client(&self, flow: Flow) {
        self.state.send_modify(|state| state.to_client = flow);
    }

    /// Delays both directions: a round trip takes twice as much longer.
    pub fn delay(&self, delay: Duration) {
        self.both(Flow { delay, ..Flow::default() });
    }

    /// Silence in both directions, with the connections open: a cable pulled.
    pub fn blackhole(&self) {
        self.both(Flow { blackhole: true, ..Flow::default() });
    }

    /// Requests arrive, replies do not.
    pub fn blackhole_to_client(&self) {
        self.to_client(Flow { blackhole: true, ..Flow::default() });
    }

    /// Requests do not arrive.
    pub fn blackhole_to_server(&self) {
        self.to_server(Flow { blackhole: true, ..Flow::default() });
    }

    /// Both directions in pieces of so many bytes.
    pub fn slice(&self, bytes: usize) {
        self.both(Flow { slice: Some(bytes), ..Flow::default() });
    }

    /// Resets each connection once so many bytes of replies passed on it, new ones too.
    pub fn cut_replies_after(&self, bytes: u64) {
        self.to_client(Flow { cut_after: Some(bytes), ..Flow::default() });
    }

    /// Replaces each reply by what `change` gives for it. Switch it on while no reply is half-way.
    pub fn mangle_replies(&self, change: impl Fn(Message) -> Vec<Vec<u8>> + Send + Sync + 'static) {
        self.to_client(Flow { mangle: Some(Arc::new(change)), ..Flow::default() });
    }

    /// Sends bytes that nobody asked for to every client connected now, between two pieces of what passes.
    pub fn inject(&self, bytes: &[u8]) {
        self.injectors.lock().unwrap().retain(|connection| connection.send(bytes.to_vec()).is_ok());
    }

    /// Ends all connections with RST, on both sides.
    pub fn reset_all(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }

    /// Ends all connections in order (FIN), on both sides.
    pub fn close_all(&self) {
        self.state.send_modify(|state| state.closes += 1);
    }

    /// From now on new connections are reset at once, until `pass`.
    pub fn refuse(&self) {
        self.state.send_modify(|state| state.refusing = true);
    }

    fn both(&self, flow: Flow) {
        self.state.send_modify(|state| (state.to_server, state.to_client) = (flow.clone(), flow));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.reset_all();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Relay({}, {:?})", self.address, self.counts)
    }
}

async fn accept(
    listener: TcpListener,
    target: String,
    state: watch::Receiver<State>,
    counts: Arc<Counts>,
    injectors: Injectors,
) {
    while let Ok((client, _)) = listener.accept().await {
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        if state.borrow().refusing {
            reset(client);
            continue;
        }
        tokio::spawn(connection(client, target.clone(), state.clone(), counts.clone(), injectors.clone()));
    }
}

async fn connection(
    client: TcpStream,
    target: String,
    state: watch::Receiver<State>,
    counts: Arc<Counts>,
    injectors: Injectors,
) {
    let (injector, injected) = mpsc::unbounded_channel();
    injectors.lock().unwrap().push(injector);
    counts.open.fetch_add(1, Ordering::Relaxed);
    run(client, &target, state, counts.clone(), injected).await;
    counts.open.fetch_sub(1, Ordering::Relaxed);
}
