//! A message that is forwarded in steady state allocates nothing.
//!
//! The proxy runs on a thread of its own, whose allocations are counted; server and clients run on others. Its
//! monitors and its ticks allocate now and then, so of several short windows the best one counts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use bson::{Document, doc};
use torana::config::{Flags, parse};
use torana::metrics::Metrics;
use torana::wire::{MsgFlags, OpMsgBuilder, write_op_reply};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

#[expect(unsafe_code, reason = "an allocator can be counted in no other way; it only calls the system's")]
// SAFETY: every call is passed on unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTED.try_with(Cell::get).unwrap_or(false) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn bytes(document: &Document) -> Vec<u8> {
    bson::serialize_to_vec(document).unwrap()
}

/// A standalone server that answers every command; `getMore` of cursor 9 with a megabyte.
fn serve(mut stream: TcpStream) {
    let hello = bytes(
        &doc! { "ismaster": true, "isWritablePrimary": true, "helloOk": true, "maxBsonObjectSize": 16777216,
        "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000, "maxWireVersion": 17, "minWireVersion": 0,
        "connectionId": 1, "ok": 1.0 },
    );
    let batch =
        doc! { "cursor": { "id": 0i64, "firstBatch": [{ "_id": 1, "x": "y".repeat(200) }] }, "ok": 1.0 };
    let large = doc! { "cursor": { "id": 9i64, "nextBatch": [{ "x": "y".repeat(1 << 20) }] }, "ok": 1.0 };
    let (batch, large, done) = (bytes(&batch), bytes(&large), bytes(&doc! { "n": 1, "ok": 1.0 }));
    while let Some(message) = read_message(&mut stream) {
        let id = i32::from_le_bytes(message[4..8].try_into().unwrap());
        let mut reply = Vec::new();
        if message[12..16] == 2004i32.to_le_bytes() {
            write_op_reply(&mut reply, 1, id, &hello);
        } else {
            let name = &message[26..];
            let body = match () {
                () if name.starts_with(b"hello\0") => &hello,
                () if name.starts_with(b"find\0") => &batch,
                () if name.starts_with(b"getMore\0") => &large,
                () => &done,
            };
            reply = OpMsgBuilder::message(1, id, MsgFlags(0), body);
        }
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}

fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 4];
    stream.read_exact(&mut message).ok()?;
    let length = u32::from_le_bytes(message[..4].try_into().unwrap()) as usize;
    message.resize(length, 0);
    stream.read_exact(&mut message[4..]).ok()?;
    Some(message)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts server and proxy; returns the proxy's port.
fn start() -> u16 {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in server.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    let port = free_port();
    let text = format!(
        "uri = \"mongodb://{address}/?directConnection=true\"\nlisten = \"127.0.0.1:{port}\"\nadmin = \"off\"\n\
         [pool]\nmax = 2\n[monitor]\npoll_interval = \"60s\"\n"
    );
    let config = parse("test", &text, &Flags::default()).unwrap();
    std::thread::spawn(move || {
        COUNTED.with(|counted| counted.set(true));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(torana::proxy::run(config, Metrics::new())).unwrap();
    });
    port
}

struct Client(TcpStream);

impl Client {
    fn connect(port: u16) -> Client {
        for _ in 0..200 {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                stream.set_nodelay(true).unwrap();
                return Client(stream);
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        panic!("the proxy does not listen");
    }

    fn run(&mut self, message: &[u8], times: usize) {
        for _ in 0..times {
            self.0.write_all(message).unwrap();
            read_message(&mut self.0).expect("a reply");
        }
    }
}

fn command(document: &Document) -> Vec<u8> {
    OpMsgBuilder::message(7, 0, MsgFlags(0), &bytes(document))
}

/// An insert whose documents are a kind 1 section.
fn insert_with_sequence() -> Vec<u8> {
    let mut message = command(&doc! { "insert": "c", "$db": "app" });
    let document = bytes(&doc! { "_id": 1, "x": "y".repeat(300) });
    message.push(1);
    message.extend_from_slice(&(4 + 10 + document.len() as i32).to_le_bytes());
    message.extend_from_slice(b"documents\0");
    message.extend_from_slice(&document);
    let length = message.len() as i32;
    message[..4].copy_from_slice(&length.to_le_bytes());
    message
}

/// The fewest allocations that `clients` clients caused in any of several windows of `times` messages each.
fn fewest(port: u16, message: &[u8], clients: usize, times: usize) -> u64 {
    let mut all: Vec<Client> = (0..clients).map(|_| Client::connect(port)).collect();
    let mut window = || {
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        let (done, finished) = mpsc::channel();
        std::thread::scope(|scope| {
            for client in &mut all {
                let done = done.clone();
                scope.spawn(move || {
                    client.run(message, times);
                    done.send(()).unwrap();
                });
            }
        });
        drop(done);
        finished.iter().for_each(drop);
        ALLOCATIONS.load(Ordering::SeqCst) - before
    };
    window();
    (0..8).map(|_| window()).min().unwrap()
}

#[test]
fn a_forwarded_message_allocates_nothing() {
    let port = start();
    let find = command(&doc! { "find": "c", "filter": { "_id": 1 }, "lsid": { "id": bson::Binary {
    subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![1; 16] } }, "$db": "app" });
    let get_more = command(&doc! { "getMore": 9i64, "collection": "c", "$db": "app" });
    for (what, message, clients, times) in [
        ("find", &find, 1, 200),
        ("find, eight clients on two connections", &find, 8, 50),
        ("insert with a document sequence", &insert_with_sequence(), 1, 200),
        ("getMore with a reply of one megabyte", &get_more, 1, 20),
    ] {
        assert_eq!(fewest(port, message, clients, times), 0, "{what}");
    }
}
