use super::*;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Running {
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

async fn start(limits: Limits) -> Running {
    let listener = bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ready, metrics) = (Arc::new(AtomicBool::new(false)), Metrics::new());
    let (stop, stopped) = oneshot::channel::<()>();
    let (seen, served_metrics) = (ready.clone(), metrics.clone());
    let readiness =
        move || if seen.load(Ordering::Relaxed) { Ok(()) } else { Err("rs0 has no member".to_owned()) };
    let served = tokio::spawn(async move {
        let shutdown = async move { drop(stopped.await) };
        serve(listener, served_metrics, readiness, None, &limits, shutdown).await;
    });
    Running { address, ready, metrics, stop, served }
}

impl Running {
    async fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    async fn get(&self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: torana\r\n\r\n")).await
    }
}

fn limits(admin_timeout_ms: u64, admin_connections_max: usize) -> Limits {
    Limits {
        admin_timeout: Duration::from_millis(admin_timeout_ms),
        admin_connections_max,
        ..Limits::default()
    }
}

#[tokio::test]
async fn metrics_are_rendered_in_prometheus_text() {
    let admin = start(Limits::default()).await;
    admin.metrics.member("rs0", "db1:27017").clients.accepted.inc_by(7);
    let response = admin.get("/metrics").await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{response}");
    assert!(
        response.contains("torana_clients_accepted_total{member=\"db1:27017\",set=\"rs0\"} 7\n"),
        "{response}"
    );
}

#[tokio::test]
async fn a_live_process_is_healthy_and_not_always_ready() {
    let admin = start(Limits::default()).await;
    assert!(admin.get("/healthz").await.ends_with("\r\n\r\nok\n"));
    let response = admin.get("/readyz").await;
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(response.ends_with("\r\n\r\nnot ready: rs0 has no member\n"), "{response}");
    admin.ready.store(true, Ordering::Relaxed);
    let response = admin.get("/readyz").await;
    assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("ready\n"), "{response}");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let admin = start(Limits::default()).await;
    assert!(admin.get("/").await.starts_with("HTTP/1.1 404 "));
    assert!(admin.get("/metrics/").await.starts_with("HTTP/1.1 404 "));
    let response =
        admin.send("POST /metrics HTTP/1.1\r\nHost: torana\r\nContent-Length: 5\r\n\r\n12345").await;
    assert!(response.starts_with("HTTP/1.1 405 ") && response.contains("allow: GET, HEAD\r\n"), "{response}");
    let response = admin.send("HEAD /healthz HTTP/1.1\r\nHost: torana\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("\r\n\r\n"), "{response}");
    assert!(admin.send("\u{1}\u{2} nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_header_that_does_not_end_is_cut_off() {
    let admin = start(limits(100, 32)).await;
    let started = std::time::Instant::now();
    let response = admin.send("GET /healthz HTTP/1.1\r\nHost:").await;
    assert!(!response.contains("ok\n"), "{response}");
    assert!(started.elapsed() < Duration::from_secs(5));
    let long = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(HEADER_MAX));
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    let _ = stream.write_all(long.as_bytes()).await;
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    assert!(!response.windows(3).any(|bytes| bytes == b"ok\n"));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_one_ends() {
    let admin = start(limits(300, 2)).await;
    let silent =
        [TcpStream::connect(admin.address).await.unwrap(), TcpStream::connect(admin.address).await.unwrap()];
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = std::time::Instant::now();
    assert!(admin.get("/healthz").await.ends_with("ok\n"));
    assert!(started.elapsed() > Duration::from_millis(150), "{:?}", started.elapsed());
    drop(silent);
}

#[tokio::test]
async fn shutdown_ends_it_with_connections_open() {
    let admin = start(Limits::default()).await;
    let mut silent = TcpStream::connect(admin.address).await.unwrap();
    assert!(admin.get("/healthz").await.ends_with("ok\n"));
    admin.stop.send(()).unwrap();
    timeout(Duration::from_secs(5), admin.served).await.unwrap().unwrap();
    assert_eq!(timeout(Duration::from_secs(5), silent.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = taken.local_addr().unwrap().to_string().parse().unwrap();
    let error = bind(&address).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("the admin endpoint cannot listen on {address}: Address already in use"))
    );
}
