//! Accepting clients on one address.

use std::io;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep};

use super::client::Client;
use super::context::Listener;
use super::session;

/// Connections that the kernel accepts ahead: a fleet of drivers reconnects at once after an election.
const BACKLOG: u32 = 4096;

/// The pause after accepting failed for want of descriptors or memory. Clients wait in the backlog meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// An idle client is probed after a minute, so that one that vanished without a word is noticed.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// Between two lines of the log that say the same of one listener.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// A listening socket that accepts until it is dropped.
#[derive(Debug)]
pub struct Accepting(JoinHandle<()>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Binds `host:port`. Cancel safe.
pub async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host, port)).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Accepts on `socket` for `listener` until the result is dropped.
pub fn accept(socket: TcpListener, listener: Arc<Listener>) -> io::Result<Accepting> {
    let address = socket.local_addr()?;
    let task = tokio::spawn(async move {
        let (mut pauses, mut refuses) = (Seldom::default(), Seldom::default());
        loop {
            match socket.accept().await {
                Ok((stream, _)) => {
                    if !admit(&listener, stream) && refuses.is_due() {
                        let limit = listener.shared.limits.clients_max;
                        tracing::warn!(%address, limit, "clients are turned away: limits.clients_max is reached");
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    listener.member.metrics.clients.accept_pauses.inc();
                    listener.shared.registry.note_full();
                    if pauses.is_due() {
                        tracing::warn!(%address, %error, "accepting pauses until there are descriptors");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    });
    Ok(Accepting(task))
}

/// What may happen many times a second, and is worth a line of the log a minute.
#[derive(Debug, Default)]
struct Seldom(Option<Instant>);

impl Seldom {
    fn is_due(&mut self) -> bool {
        let is_due = self.0.is_none_or(|last| last.elapsed() >= LOG_EVERY);
        if is_due {
            self.0 = Some(Instant::now());
        }
        is_due
    }
}

/// Errors of the connection that was being accepted, not of the listener (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Whether there was room for one more.
fn admit(listener: &Arc<Listener>, stream: TcpStream) -> bool {
    let clients = &listener.member.metrics.clients;
    let registry = &listener.shared.registry;
    clients.accepted.inc();
    let member = Arc::as_ptr(&listener.member).addr();
    let limit = i64::try_from(listener.shared.limits.clients_max).unwrap_or(i64::MAX);
    if clients.connected.get() >= limit {
        clients.rejected.inc();
        registry.note_member_full(member);
        return false;
    }
    // Neither failure hurts: the connection is closing, and its first read will say so.
    let _ = stream.set_nodelay(true);
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_AFTER);
    let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    clients.connected.inc();
    let entry = registry.entry(listener.id, member, listener.reply_timeout);
    let client = Box::new(Client::new(stream, listener.clone(), entry.clone()));
    registry.insert(entry, || tokio::spawn(session::run(client)).abort_handle());
    true
}
