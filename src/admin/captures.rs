//! `/capture`: POST begins a capture, GET says how it stands, DELETE ends it.
//!
//! An order to record comes as the text of a `[capture]` section, and is answered with the capture's status, both in
//! TOML. It makes torana write files, so it is taken only from this machine unless the configuration says otherwise, and
//! never from a web page: a browser asks first before it sends this content type, and is not answered.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};

use tokio::time::timeout;

use super::respond::{PLAIN, not_allowed, text};
use crate::capture::Status;
use crate::config::CaptureConfig;

/// What orders and statuses are written in.
pub const TOML: &str = "application/toml";

/// How long the answer waits for the end of a capture; below what the endpoint has for a connection.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Bytes of an order.
const ORDER_MAX: usize = 64 * 1024;

/// What is on its way to being done.
pub type Controlled<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Begins and ends captures.
pub trait CaptureControl: Send + Sync {
    /// Whether clients on other machines may.
    fn is_open_to_all(&self) -> bool;

    /// Begins one.
    fn start(&self, order: CaptureConfig) -> Controlled<'_, Result<Status, String>>;

    /// Ends the one that runs, and waits until all is written.
    fn stop(&self) -> Controlled<'_, Status>;

    /// How it stands.
    fn status(&self) -> Status;
}

/// Answers a request for `/capture` from `peer`.
pub(super) async fn respond(
    request: Request<Incoming>,
    peer: SocketAddr,
    control: Option<&dyn CaptureControl>,
) -> Response<Full<Bytes>> {
    let Some(control) = control else {
        return text(StatusCode::NOT_FOUND, PLAIN, "nothing can be captured here\n".to_owned());
    };
    if !control.is_open_to_all() && !is_of_this_machine(peer.ip()) {
        let why = "captures are begun and ended on torana's own machine (capture.remote_control = true opens this)\n";
        return text(StatusCode::FORBIDDEN, PLAIN, why.to_owned());
    }
    // A page whose name was made to lead here need not ask first; but it cannot keep its browser from saying who it is.
    if request.headers().contains_key(ORIGIN) {
        let why = "web pages begin and end no captures\n";
        return text(StatusCode::FORBIDDEN, PLAIN, why.to_owned());
    }
    match *request.method() {
        Method::GET | Method::HEAD => show(StatusCode::OK, &control.status()),
        // Where the disk is slow, whoever asks looks again.
        Method::DELETE => {
            let _ = timeout(STOP_WITHIN, control.stop()).await;
            show(StatusCode::OK, &control.status())
        }
        Method::POST => match order(request).await {
            Ok(order) => match control.start(order).await {
                Ok(status) => show(StatusCode::OK, &status),
                Err(why) => text(StatusCode::CONFLICT, PLAIN, format!("{why}\n")),
            },
            Err(why) => text(StatusCode::BAD_REQUEST, PLAIN, format!("{why}\n")),
        },
        _ => not_allowed("GET, POST and DELETE", "GET, HEAD, POST, DELETE"),
    }
}

fn is_of_this_machine(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

async fn order(request: Request<Incoming>) -> Result<CaptureConfig, String> {
    if request.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != TOML) {
        return Err(format!("the order to record is of content type {TOML}"));
    }
    let body = Limited::new(request.into_body(), ORDER_MAX).collect().await;
    let body =
        body.map_err(|_| format!("the order to record breaks off, or has more than {ORDER_MAX} bytes"))?;
    let body = body.to_bytes();
    let order = std::str::from_utf8(&body).map_err(|_| "the order to record is not UTF-8".to_owned())?;
    CaptureConfig::parse_order(order).map_err(|error| error.to_string())
}

fn show(code: StatusCode, status: &Status) -> Response<Full<Bytes>> {
    let shown = toml::to_string(status).unwrap_or_default();
    text(code, HeaderValue::from_static(TOML), shown)
}
