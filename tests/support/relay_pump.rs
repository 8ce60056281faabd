//! The relay's data path: one task a connection, one pump a direction.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

use super::message::Message;

/// What happens to the bytes that flow one way.
#[derive(Clone, Default)]
pub struct Flow {
    /// Held back this long. Bytes that come meanwhile go on together, at most twice as late.
    pub delay: Duration,
    /// Nothing goes on, not even the end of the stream, until this is taken back: then what was held goes on, as
    /// after a network's outage.
    pub blackhole: bool,
    /// Written so many bytes at a time, each its own segment.
    pub slice: Option<usize>,
    /// After so many bytes of a connection this way, the connection is reset in mid-message.
    pub cut_after: Option<u64>,
    /// Each whole message is replaced by what this gives: none, another, several.
    pub mangle: Option<Mangle>,
}

/// See [`Flow::mangle`].
pub type Mangle = Arc<dyn Fn(Message) -> Vec<Vec<u8>> + Send + Sync>;

/// The two directions, and two counters that end all connections when they change.
#[derive(Clone, Default)]
pub(super) struct State {
    pub to_server: Flow,
    pub to_client: Flow,
    pub resets: u64,
    pub closes: u64,
    pub refusing: bool,
}

/// What the relay counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections accepted so far.
    pub accepted: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
    /// Bytes passed on to the server.
    pub to_server: AtomicU64,
    /// Bytes passed on to clients.
    pub to_client: AtomicU64,
}

/// Relays one connection until it ends or is ended.
pub(super) async fn run(
    mut client: TcpStream,
    target: &str,
    mut state: watch::Receiver<State>,
    counts: Arc<Counts>,
    mut injected: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    let Ok(mut server) = TcpStream::connect(target).await else { return reset(client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (resets, closes) = {
        let now = state.borrow();
        (now.resets, now.closes)
    };
    let (_silent, mut nothing) = mpsc::unbounded_channel();
    let must_reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = Pump {
            state: state.clone(),
            flow: |state| &state.to_server,
            count: &counts.to_server,
            passed: 0,
        };
        let down = Pump {
            state: state.clone(),
            flow: |state| &state.to_client,
            count: &counts.to_client,
            passed: 0,
        };
        let pumps = async {
            let up = up.run(from_client, to_server, &mut nothing);
            let down = down.run(from_server, to_client, &mut injected);
            tokio::try_join!(up, down).is_err()
        };
        let changed = |now: &State| now.resets != resets || now.closes != closes;
        let ended = async { state.wait_for(changed).await.is_ok_and(|now| now.resets != resets) };
        tokio::select! {
            broken = pumps => broken,
            reset = ended => reset,
        }
    };
    if must_reset {
        reset(client);
        reset(server);
    }
}

/// Closes with RST: what a crashed host or a firewall sends.
pub(super) fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

struct Pump<'a> {
    state: watch::Receiver<State>,
    flow: fn(&State) -> &Flow,
    count: &'a AtomicU64,
    passed: u64,
}

impl Pump<'_> {
    /// Passes bytes on until the source's end, which is passed on too. An error breaks the whole connection.
    async fn run(
        mut self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        injected: &mut mpsc::UnboundedReceiver<Vec<u8>>,
    ) -> io::Result<()> {
        let mut pending = Vec::with_capacity(64 * 1024);
        loop {
            tokio::select! {
                Some(extra) = injected.recv() => { self.write(&mut to, &extra).await?; continue }
                read = from.read_buf(&mut pending) => if read? == 0 { break },
            }
            self.hold().await;
            let mangle = self.flow_now().mangle;
            match mangle {
                None => {
                    let bytes = std::mem::take(&mut pending);
                    self.write(&mut to, &bytes).await?
                }
                Some(mangle) => {
                    while let Some(message) = take_message(&mut pending) {
                        for bytes in mangle(message) {
                            self.write(&mut to, &bytes).await?;
                        }
                    }
                }
            }
        }
        self.hold().await;
        self.write(&mut to, &pending).await?;
        to.shutdown().await
    }

    /// Waits out the delay and any blackhole.
    async fn hold(&mut self) {
        tokio::time::sleep(self.flow_now().delay).await;
        let flow = self.flow;
        let _ = self.state.wait_for(|state| !flow(state).blackhole).await;
    }

    async fn write(&mut self, to: &mut WriteHalf<'_>, bytes: &[u8]) -> io::Result<()> {
        let flow = self.flow_now();
        let allowed = flow.cut_after.map_or(usize::MAX, |limit| limit.saturating_sub(self.passed) as usize);
        let (now, never) = bytes.split_at(allowed.min(bytes.len()));
        for piece in now.chunks(flow.slice.unwrap_or(usize::MAX)) {
            to.write_all(piece).await?;
            self.passed += piece.len() as u64;
            self.count.fetch_add(piece.len() as u64, Ordering::Relaxed);
            if flow.slice.is_some() {
                // Time for the reader to read before the next piece arrives.
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
        if never.is_empty() { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
    }

    fn flow_now(&self) -> Flow {
        (self.flow)(&self.state.borrow()).clone()
    }
}

fn take_message(pending: &mut Vec<u8>) -> Option<Message> {
    let length = u32::from_le_bytes(pending.get(..4)?.try_into().ok()?) as usize;
    let complete = length >= 16 && pending.len() >= length;
    complete.then(|| Message { raw: pending.drain(..length).collect() })
}
