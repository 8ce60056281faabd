//! The monitors in front of a scripted server: what they send, and what they make of answers that no mongod gives.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use bson::{Document, doc, oid::ObjectId};
use support::message::{EXHAUST_ALLOWED, MORE_TO_COME, OP_MSG, OP_QUERY, op_msg};
use support::{Message, Section};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use torana::topology::{Member, MemberKind, Topology, TopologyOptions, TopologyVersion};

/// For what happens at once, on a loaded machine.
const SOON: Duration = Duration::from_secs(10);

struct Fake {
    listener: TcpListener,
}

/// One connection that the server accepted.
struct Peer {
    stream: TcpStream,
    last_id: i32,
}

impl Fake {
    async fn new() -> Fake {
        Fake { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// A topology of this one server.
    fn watched(&self, change: impl FnOnce(&mut TopologyOptions)) -> Topology {
        let seed = self.listener.local_addr().unwrap().to_string().parse().unwrap();
        let mut options = TopologyOptions::new(vec![seed]);
        options.direct = true;
        options.poll_interval = Duration::from_secs(60);
        change(&mut options);
        Topology::start(options).0
    }

    async fn accept(&self) -> Peer {
        let (stream, _) = timeout(SOON, self.listener.accept()).await.expect("a connection").unwrap();
        Peer { stream, last_id: 1000 }
    }

    /// Both connections, with everything answered up to the wait for the stream's first push.
    async fn both(&self, reply: &Document) -> (Peer, Peer, Message) {
        let mut poll = self.accept().await;
        poll.handshake(reply).await;
        let mut stream = self.accept().await;
        stream.handshake(reply).await;
        let awaiting = stream.read().await;
        (poll, stream, awaiting)
    }
}

impl Peer {
    async fn read(&mut self) -> Message {
        timeout(SOON, self.try_read()).await.expect("a message in time").expect("a message")
    }

    async fn try_read(&mut self) -> std::io::Result<Message> {
        let mut raw = vec![0; 4];
        self.stream.read_exact(&mut raw).await?;
        let length = i32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
        raw.resize(length as usize, 0);
        self.stream.read_exact(&mut raw[4..]).await?;
        Ok(Message { raw })
    }

    async fn answer(&mut self, request: &Message, reply: &Document) {
        let bytes = if request.opcode() == OP_QUERY {
            op_reply(request.request_id(), reply)
        } else {
            op_msg(1, request.request_id(), 0, &[Section::Body(reply.clone())])
        };
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Answers with a flag that says another follows; gives the id that the next one must name.
    async fn push(&mut self, response_to: i32, reply: &Document) -> i32 {
        self.last_id += 1;
        let bytes = op_msg(self.last_id, response_to, MORE_TO_COME, &[Section::Body(reply.clone())]);
        self.stream.write_all(&bytes).await.unwrap();
        self.last_id
    }

    /// The first message and the first hello.
    async fn handshake(&mut self, reply: &Document) {
        for _ in 0..2 {
            let request = self.read().await;
            self.answer(&request, reply).await;
        }
    }

    async fn sees_the_end(&mut self) {
        let mut rest = Vec::new();
        let ended = timeout(SOON, self.stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the connection is still open");
    }
}

fn op_reply(response_to: i32, reply: &Document) -> Vec<u8> {
    let document = bson::serialize_to_vec(reply).unwrap();
    let mut bytes = Vec::new();
    for number in [36 + document.len() as i32, 1, response_to, 1, 8, 0, 0, 0, 1] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&document);
    bytes
}

fn process() -> ObjectId {
    ObjectId::from_bytes([7; 12])
}

/// A secondary's reply, as of 6.0.
fn secondary(counter: i64) -> Document {
    doc! {
        "helloOk": true, "isWritablePrimary": false, "secondary": true, "setName": "rs0", "setVersion": 1, "hosts": ["a:1"],
        "minWireVersion": 0, "maxWireVersion": 17, "ok": 1.0,
        "topologyVersion": { "processId": process(), "counter": counter },
    }
}

async fn member(topology: &Topology) -> std::sync::Arc<Member> {
    timeout(SOON, topology.first_ready()).await.expect("a member");
    topology.members()[0].clone()
}

async fn wait_lost(topology: &Topology, because: &str) {
    let started = Instant::now();
    while !topology.status().contains(because) {
        assert!(started.elapsed() < SOON, "no {because:?} in {:?}", topology.status());
        sleep(Duration::from_millis(5)).await;
    }
}

fn counter(member: &Member) -> Option<i64> {
    member.hello.latest().and_then(|copy| copy.topology_version()).map(|version| version.counter)
}

#[tokio::test]
async fn the_first_message_is_legacy_with_metadata_and_the_next_ones_are_modern_without() {
    let fake = Fake::new().await;
    let topology = fake.watched(|options| options.await_time = Duration::from_secs(3));
    let mut poll = fake.accept().await;
    let first = poll.read().await;
    assert_eq!(first.opcode(), OP_QUERY);
    let body = query_document(&first);
    assert_eq!((body.get_i32("isMaster").unwrap(), body.get_bool("helloOk").unwrap()), (1, true));
    let driver = body.get_document("client").unwrap().get_document("driver").unwrap();
    assert_eq!(driver.get_str("name").unwrap(), "torana");
    poll.answer(&first, &secondary(1)).await;
    let second = poll.read().await;
    assert_eq!((second.opcode(), second.flags()), (OP_MSG, 0));
    assert_eq!(second.body(), doc! { "hello": 1, "$db": "admin" });
    poll.answer(&second, &secondary(1)).await;
    let mut stream = fake.accept().await;
    stream.handshake(&secondary(4)).await;
    let awaiting = stream.read().await;
    assert_eq!(awaiting.flags(), EXHAUST_ALLOWED);
    let version = doc! { "processId": process(), "counter": 4i64 };
    let wanted = doc! { "hello": 1, "topologyVersion": version, "maxAwaitTimeMS": 3000i64, "$db": "admin" };
    assert_eq!(awaiting.body(), wanted);
    assert_eq!(member(&topology).await.kind(), MemberKind::Secondary);
}

fn query_document(message: &Message) -> Document {
    let name = message.raw[20..].iter().position(|byte| *byte == 0).unwrap();
    Document::from_reader(&message.raw[20 + name + 1 + 8..]).unwrap()
}

#[tokio::test]
async fn servers_that_do_not_know_hello_are_polled_by_the_legacy_one() {
    for (wire, opcode) in [(6, OP_MSG), (5, OP_QUERY)] {
        let fake = Fake::new().await;
        let topology = fake.watched(|options| options.poll_interval = Duration::from_millis(50));
        let mut reply = secondary(1);
        for gone in ["helloOk", "isWritablePrimary", "topologyVersion"] {
            reply.remove(gone);
        }
        reply.insert("ismaster", false);
        reply.insert("maxWireVersion", wire);
        let mut poll = fake.accept().await;
        for turn in 0..4 {
            let request = poll.read().await;
            let expected = if turn == 0 { OP_QUERY } else { opcode };
            assert_eq!(request.opcode(), expected);
            poll.answer(&request, &reply).await;
        }
        let copy = member(&topology).await.hello.latest().unwrap();
        assert!(copy.legacy && copy.topology_version().is_none());
        let mut stream = fake.accept().await;
        stream.handshake(&reply).await;
        assert!(
            timeout(Duration::from_millis(100), stream.try_read()).await.is_err(),
            "it awaits without a version"
        );
    }
}

#[tokio::test]
async fn each_push_of_the_stream_is_in_the_cell_at_once_and_wakes_those_who_wait() {
    let fake = Fake::new().await;
    let topology = fake.watched(|_| {});
    let (_poll, mut stream, awaiting) = fake.both(&secondary(1)).await;
    let member = member(&topology).await;
    let mut id = awaiting.request_id();
    let mut fastest = SOON;
    for version in 2..6 {
        let (sent, changed) = (Instant::now(), member.hello.changed());
        id = stream.push(id, &secondary(version)).await;
        timeout(SOON, changed).await.unwrap();
        assert_eq!(counter(&member), Some(version));
        fastest = fastest.min(sent.elapsed());
    }
    // One of four: a loaded machine may hold up any single one.
    assert!(fastest < Duration::from_millis(50), "took {fastest:?}");
    // The last of a stream is asked for anew, from the version that it had.
    let last = op_msg(1, id, 0, &[Section::Body(secondary(6))]);
    stream.stream.write_all(&last).await.unwrap();
    let again = stream.read().await.body();
    assert_eq!(again.get_document("topologyVersion").unwrap().get_i64("counter").unwrap(), 6);
}

#[tokio::test]
async fn a_server_that_answers_awaiting_hellos_at_once_is_asked_ten_times_a_second() {
    let fake = Fake::new().await;
    let topology = fake.watched(|_| {});
    let (_poll, mut stream, mut awaiting) = fake.both(&secondary(1)).await;
    let (began, mut asked) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_millis(1500) {
        // Without news, and without saying that another follows.
        stream.answer(&awaiting, &secondary(1)).await;
        awaiting = stream.read().await;
        asked += 1;
    }
    // Eight in a burst, then one each 100 ms.
    assert!((10..=24).contains(&asked), "asked {asked} times");
    // News is still seen soon.
    stream.answer(&awaiting, &secondary(2)).await;
    let member = member(&topology).await;
    let sent = Instant::now();
    while counter(&member) != Some(2) {
        assert!(sent.elapsed() < SOON, "not seen");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_push_that_answers_another_request_ends_both_connections() {
    let fake = Fake::new().await;
    let topology = fake.watched(|_| {});
    let (mut poll, mut stream, awaiting) = fake.both(&secondary(1)).await;
    let member = member(&topology).await;
    stream.push(awaiting.request_id(), &secondary(2)).await;
    // The request again, instead of the push before.
    stream.push(awaiting.request_id(), &secondary(3)).await;
    stream.sees_the_end().await;
    poll.sees_the_end().await;
    wait_lost(&topology, "when 1001 was asked").await;
    assert_eq!(counter(&member), None);
}

#[tokio::test]
async fn bytes_that_are_no_reply_end_the_connection_and_nothing_large_is_read() {
    let huge = |length: i32| {
        let mut bytes = op_reply(1, &doc! { "ok": 1 });
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes
    };
    let other_opcode = {
        let mut bytes = op_reply(1, &doc! { "ok": 1 });
        bytes[12..16].copy_from_slice(&2004i32.to_le_bytes());
        bytes
    };
    for (bytes, because) in [
        (huge(i32::MAX), "message length 2147483647, limit"),
        (huge(-1), "message length -1, at least 16"),
        (huge(40), "malformed Reply message"),
        (other_opcode, "is no reply"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "server sent"),
        (op_reply(1, &doc! { "ok": 0, "code": 13, "errmsg": "no" }), "it refused with error 13: no"),
        (op_reply(9, &doc! { "ok": 1 }), "it answered request 9 when 1 was asked"),
        (op_reply(1, &doc! { "ok": 1, "hosts": ["a:b:c/"] }), "names a member wrongly"),
    ] {
        let fake = Fake::new().await;
        let topology = fake.watched(|_| {});
        let mut peer = fake.accept().await;
        peer.read().await;
        peer.stream.write_all(&bytes).await.unwrap();
        peer.sees_the_end().await;
        wait_lost(&topology, because).await;
        assert!(topology.members().is_empty());
    }
}

#[tokio::test]
async fn a_message_that_nobody_asked_for_ends_the_connection() {
    let fake = Fake::new().await;
    let topology = fake.watched(|_| {});
    let (mut poll, mut stream, _) = fake.both(&secondary(1)).await;
    poll.push(77, &secondary(2)).await;
    stream.sees_the_end().await;
    wait_lost(&topology, "it sent a message that nobody asked for").await;
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up_in_time_and_tried_again() {
    let fake = Fake::new().await;
    let topology = fake.watched(|options| options.connect_timeout = Duration::from_millis(300));
    let mut silent = fake.accept().await;
    silent.read().await;
    silent.sees_the_end().await;
    wait_lost(&topology, "no answer to the first hello within 300ms").await;
    let (_poll, _stream, _) = fake.both(&secondary(1)).await;
    assert_eq!(member(&topology).await.kind(), MemberKind::Secondary);
}

#[tokio::test]
async fn a_poll_without_an_answer_loses_the_member_though_the_stream_lives() {
    let fake = Fake::new().await;
    let topology = fake.watched(|options| {
        options.connect_timeout = Duration::from_millis(400);
        options.poll_interval = Duration::from_millis(100);
    });
    let (_poll, mut stream, awaiting) = fake.both(&secondary(1)).await;
    let member = member(&topology).await;
    stream.push(awaiting.request_id(), &secondary(2)).await;
    assert!(member.hello.latest().is_some());
    let silent = Instant::now();
    wait_lost(&topology, "no answer to hello within 400ms").await;
    assert!(silent.elapsed() < Duration::from_secs(2), "after {:?}", silent.elapsed());
    assert!(member.hello.latest().is_none());
    stream.sees_the_end().await;
}

#[tokio::test]
async fn a_closed_socket_is_replaced_at_once_and_a_second_one_loses_the_member() {
    let fake = Fake::new().await;
    let topology = fake.watched(|_| {});
    for side in ["poll", "stream"] {
        let (poll, stream, _) = fake.both(&secondary(1)).await;
        let member = member(&topology).await;
        // Only after a while may a loss be followed by a free retry again.
        sleep(Duration::from_millis(600)).await;
        let closed = Instant::now();
        let _kept = if side == "poll" { (drop(poll), stream).1 } else { (drop(stream), poll).1 };
        let again = fake.accept().await;
        assert!(closed.elapsed() < Duration::from_millis(250), "{side}: after {:?}", closed.elapsed());
        assert!(member.hello.latest().is_some(), "{side}: its clients need not know");
        let soon = Instant::now() + Duration::from_millis(50);
        assert!(member.hello.at_least_noted(soon).await.is_none(), "{side}: nothing is sure yet");
        drop(again);
        let refused = Instant::now();
        wait_lost(&topology, "it closed the connection").await;
        let third = fake.accept().await;
        assert!(refused.elapsed() > Duration::from_millis(300), "{side}: after {:?}", refused.elapsed());
        drop(third);
    }
}

#[tokio::test]
async fn a_server_that_answers_once_and_closes_does_not_make_the_monitor_spin() {
    let fake = Fake::new().await;
    let _topology = fake.watched(|_| {});
    let started = Instant::now();
    let mut connections = 0;
    while started.elapsed() < Duration::from_secs(3) {
        if let Ok(accepted) = timeout(Duration::from_millis(100), fake.listener.accept()).await {
            let mut peer = Peer { stream: accepted.unwrap().0, last_id: 0 };
            connections += 1;
            // The streaming connection of a life that has ended meanwhile says nothing more.
            while let Ok(request) = peer.try_read().await {
                peer.answer(&request, &secondary(1)).await;
                if request.opcode() == OP_MSG {
                    break;
                }
            }
        }
    }
    assert!((3..=30).contains(&connections), "{connections} connections in 3 s");
}

#[tokio::test]
async fn a_dead_port_is_tried_again_with_pauses_until_someone_listens() {
    let fake = Fake::new().await;
    let address = fake.listener.local_addr().unwrap();
    let topology = fake.watched(|_| {});
    drop(fake);
    wait_lost(&topology, "cannot connect").await;
    sleep(Duration::from_millis(300)).await;
    let fake = Fake { listener: TcpListener::bind(address).await.unwrap() };
    let listening = Instant::now();
    let _both = fake.both(&secondary(1)).await;
    assert!(listening.elapsed() < Duration::from_secs(2), "after {:?}", listening.elapsed());
    assert_eq!(member(&topology).await.kind(), MemberKind::Secondary);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_said_so() {
    let mut options = TopologyOptions::new(vec!["no-such-host.invalid:1".parse().unwrap()]);
    options.connect_timeout = Duration::from_secs(5);
    let (topology, _events) = Topology::start(options);
    wait_lost(&topology, "no-such-host.invalid:1: its name does not resolve").await;
}

#[tokio::test]
async fn a_requested_check_happens_at_once_and_many_are_one() {
    let fake = Fake::new().await;
    let topology = fake.watched(|_| {});
    let (mut poll, _stream, _) = fake.both(&secondary(1)).await;
    let member = member(&topology).await;
    let asked = Instant::now();
    (0..100).for_each(|_| member.request_check());
    let request = poll.read().await;
    assert!(asked.elapsed() < Duration::from_millis(250), "after {:?}", asked.elapsed());
    assert_eq!(request.body(), doc! { "hello": 1, "$db": "admin" });
    poll.answer(&request, &secondary(1)).await;
    assert!(timeout(Duration::from_millis(200), poll.try_read()).await.is_err(), "more than one check");
}

#[tokio::test]
async fn a_hello_behind_what_a_client_saw_waits_for_a_check() {
    let fake = Fake::new().await;
    let topology = fake.watched(|_| {});
    let (mut poll, _stream, _) = fake.both(&secondary(1)).await;
    let member = member(&topology).await;
    member.hello.note_passed(&TopologyVersion { process_id: [7; 12], counter: 2 });
    let waiting = member.clone();
    let waiter = tokio::spawn(async move { waiting.hello.at_least_noted(Instant::now() + SOON).await });
    let request = poll.read().await;
    assert!(!waiter.is_finished());
    poll.answer(&request, &secondary(2)).await;
    let copy = timeout(SOON, waiter).await.unwrap().unwrap().unwrap();
    assert_eq!(copy.topology_version().unwrap().counter, 2);
}

#[tokio::test]
async fn round_trips_are_smoothed_over_polls_only() {
    let fake = Fake::new().await;
    let topology = fake.watched(|_| {});
    let mut poll = fake.accept().await;
    let first = poll.read().await;
    poll.answer(&first, &secondary(1)).await;
    let request = poll.read().await;
    sleep(Duration::from_millis(100)).await;
    poll.answer(&request, &secondary(1)).await;
    let mut stream = fake.accept().await;
    stream.handshake(&secondary(1)).await;
    let awaiting = stream.read().await;
    let member = member(&topology).await;
    let one = member.hello.latest().unwrap().round_trip;
    assert!(one >= Duration::from_millis(100) && one < Duration::from_millis(400), "{one:?}");
    sleep(Duration::from_millis(300)).await;
    stream.push(awaiting.request_id(), &secondary(2)).await;
    member.request_check();
    let request = poll.read().await;
    poll.answer(&request, &secondary(2)).await;
    sleep(Duration::from_millis(100)).await;
    let two = member.hello.latest().unwrap().round_trip;
    assert!(two < one && two >= one.mul_f64(0.79), "{one:?} then {two:?}");
}

#[tokio::test]
async fn all_connections_end_when_the_last_handle_is_dropped() {
    let fake = Fake::new().await;
    let topology = fake.watched(|_| {});
    let (mut poll, mut stream, _) = fake.both(&secondary(1)).await;
    let clone = topology.clone();
    drop(topology);
    assert!(timeout(Duration::from_millis(100), stream.try_read()).await.is_err(), "a clone is left");
    drop(clone);
    poll.sees_the_end().await;
    stream.sees_the_end().await;
    assert!(timeout(Duration::from_millis(1200), fake.listener.accept()).await.is_err(), "it tries on");
}
