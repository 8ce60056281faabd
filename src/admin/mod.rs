//! The HTTP endpoint for operators: `/metrics`, `/healthz`, `/readyz`, `/capture`, and nothing else.
//!
//! It must never get in the way of clients: connections at once, the time of each and its header are bounded, one
//! request is served a connection, and no request body is read but an order to record. Started by the proxy beside its
//! listeners; knows of the proxy only whether it is ready, and how captures are begun and ended.

mod captures;
mod respond;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::config::{HostPort, Limits};
use crate::metrics::Metrics;

pub use captures::{CaptureControl, Controlled, TOML};

/// Pause after a failed accept: the usual reason is that descriptors have run out, and trying again at once would
/// burn a core until one is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Longest request header, bytes; the least that the HTTP library can be told. Scrapers send a few hundred.
const HEADER_MAX: usize = 8192;

/// The address cannot be listened on. Whoever wrote the configuration, or what else runs there, is to blame.
#[derive(Debug, thiserror::Error)]
#[error(
    "the admin endpoint cannot listen on {address}: {cause}; give it another address with --admin, or \"off\""
)]
pub struct BindError {
    address: HostPort,
    cause: io::Error,
}

/// What is served.
struct Admin<R> {
    metrics: Arc<Metrics>,
    readiness: R,
    captures: Option<Arc<dyn CaptureControl>>,
    timeout: Duration,
}

/// Listens on `address`.
pub async fn bind(address: &HostPort) -> Result<TcpListener, BindError> {
    let bound = TcpListener::bind((address.host.as_str(), address.port)).await;
    bound.map_err(|cause| BindError { address: address.clone(), cause })
}

/// Serves until `shutdown` is done; then, or when dropped, all connections are closed. `readiness` says why torana is
/// not ready, if it is not; it is called for each `/readyz` and must not block. `captures` begins and ends captures.
pub async fn serve<R>(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    readiness: R,
    captures: Option<Arc<dyn CaptureControl>>,
    limits: &Limits,
    shutdown: impl Future<Output = ()>,
) where
    R: Fn() -> Result<(), String> + Send + Sync + 'static,
{
    let admin = Arc::new(Admin { metrics, readiness, captures, timeout: limits.admin_timeout });
    let places = Arc::new(Semaphore::new(limits.admin_connections_max));
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            // Those beyond the limit wait in the kernel's queue, which is bounded too.
            let Ok(place) = places.clone().acquire_owned().await else { return };
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let admin = admin.clone();
                    connections.spawn(async move {
                        serve_one(stream, peer, &admin).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "the admin endpoint cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown => {}
    }
}

async fn serve_one<R>(stream: TcpStream, peer: SocketAddr, admin: &Admin<R>)
where
    R: Fn() -> Result<(), String>,
{
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
        match request.uri().path() {
            "/capture" => Ok(captures::respond(request, peer, admin.captures.as_deref()).await),
            _ => respond::respond(&request, &admin.metrics, &admin.readiness),
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(admin.timeout)
        .max_buf_size(HEADER_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(admin.timeout, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "admin connection ended"),
        Err(_) => debug!("admin connection took too long"),
    }
}

#[cfg(test)]
mod tests;
