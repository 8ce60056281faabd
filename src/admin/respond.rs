//! From a request to its response.

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::metrics::Metrics;

pub(super) const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Prometheus' text format.
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Answers `request`. The body, which nothing here needs, is not read.
pub(super) fn respond<B>(
    request: &Request<B>,
    metrics: &Metrics,
    readiness: &impl Fn() -> Result<(), String>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(not_allowed("GET and HEAD", "GET, HEAD"));
    }
    Ok(match request.uri().path() {
        "/metrics" => text(StatusCode::OK, PROMETHEUS, metrics.render()),
        "/healthz" => text(StatusCode::OK, PLAIN, "ok\n".to_owned()),
        "/readyz" => match readiness() {
            Ok(()) => text(StatusCode::OK, PLAIN, "ready\n".to_owned()),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("not ready: {why}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, PLAIN, "only /metrics, /healthz, /readyz and /capture\n".to_owned()),
    })
}

/// Only `words`, which are `methods`, can be asked for.
pub(super) fn not_allowed(words: &str, methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, format!("only {words}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

pub(super) fn text(status: StatusCode, kind: HeaderValue, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
