//! Packet captures.

use bson::doc;

use super::packets::{ACK, FILES, FIN, LINKS, PLAIN, Piece, RST, Wire, file, in_file, ip, linked, plain};
use super::{Format, Imported, Input, Skip, batch, imported, reply, request};

/// A conversation, in segments of these sizes.
pub fn conversation(client: &str, server: &str, size: usize) -> Wire {
    let hello = doc! { "hello": 1, "client": { "application": { "name": "shop" } }, "$db": "admin" };
    Wire::new(client, server, u32::MAX - 200, u32::MAX - 90)
        .open(1)
        .up(5, size, &request(1, hello))
        .down(6, size, &reply(90, 1, doc! { "isWritablePrimary": true, "ok": 1.0 }))
        .up(7, size, &request(2, doc! { "find": "things", "filter": { "x": "y".repeat(300) }, "$db": "app" }))
        .down(9, size, &batch(91, 2, 77, 20))
        .up(12, size, &request(3, doc! { "getMore": 77i64, "collection": "things", "$db": "app" }))
        .down(14, size, &batch(92, 3, 0, 2))
        .end(20, 0, FIN)
        .end(20, 1, FIN)
}

fn lines(client: &str, server: &str) -> Vec<String> {
    [
        &format!("1 0 opened {client} {server} shop Other"),
        "1 0 hello admin",
        "1 1 reply 0 whole 0 0 0",
        "1 2 find app.things",
        "1 4 reply 1 whole 0 0 0",
        "1 7 getMore app.things",
        "1 9 reply 2 whole 0 0 0",
        "1 15 closed true",
    ]
    .map(str::to_owned)
    .to_vec()
}

const V4: (&str, &str) = ("10.0.0.1:5000", "10.0.0.9:27017");
const V6: (&str, &str) = ("[fd00::1]:5000", "[fd00::9]:27017");

fn of(pieces: &[Piece]) -> Imported {
    imported(Format::Pcap, &[&plain(pieces)])
}

#[test]
fn every_file_and_link_type_of_both_families_gives_the_same() {
    for (client, server) in [V4, V6] {
        let pieces = conversation(client, server, 100).pieces;
        for kind in FILES {
            for link in LINKS {
                let bytes = in_file(kind, link, &pieces);
                let imported = imported(Format::Pcap, &[&bytes]);
                assert_eq!(imported.lines(), lines(client, server), "{kind:?} {link:?}");
                assert_eq!(imported.taker.tape.started, Some(1_700_000_000_005), "{kind:?}");
                assert_eq!(imported.skipped(), [], "{kind:?} {link:?}");
                let input = Input::new(std::io::Cursor::new(bytes)).unwrap();
                assert_eq!(input.format(), Some(Format::Pcap), "{kind:?}");
            }
        }
    }
}

#[test]
fn segments_that_come_again_late_early_or_overlapping_change_nothing() {
    let wire = conversation(V4.0, V4.1, 37);
    let is_up = |piece: &Piece| piece.from == wire.client;
    // Each message's segments backwards, each twice; then each with some bytes of the one behind it.
    let mut backwards: Vec<Piece> = Vec::new();
    for run in wire.pieces.chunk_by(|one, other| {
        one.millis == other.millis
            && one.payload.is_empty() == other.payload.is_empty()
            && is_up(one) == is_up(other)
    }) {
        let is_open = run[0].payload.is_empty();
        let mut run = run.to_vec();
        if !is_open {
            run.reverse();
            run.extend(run.clone());
        }
        backwards.extend(run);
    }
    assert_eq!(of(&backwards).lines(), lines(V4.0, V4.1));
    let mut overlapping = wire.pieces.clone();
    for (place, piece) in overlapping.iter_mut().enumerate().skip(1) {
        let next = wire
            .pieces
            .get(place + 1)
            .filter(|next| next.from == wire.pieces[place].from && next.millis == wire.pieces[place].millis);
        if let Some(next) = next.filter(|_| !wire.pieces[place].payload.is_empty()) {
            piece.payload.extend(&next.payload[..next.payload.len() / 2]);
        }
    }
    assert_eq!(of(&overlapping).lines(), lines(V4.0, V4.1));
    // What comes after the end is no other connection.
    let mut late = wire.pieces.clone();
    late.extend(wire.pieces.iter().filter(|piece| !piece.payload.is_empty()).cloned());
    assert_eq!(of(&late).lines(), lines(V4.0, V4.1));
}

#[test]
fn a_connection_that_began_before_the_capture_is_taken_from_its_next_message_on() {
    let whole = conversation(V4.0, V4.1, 50).pieces;
    let find = whole.iter().position(|piece| piece.millis == 7).unwrap();
    // In the middle of the find: its reply is that to nothing.
    let imported = of(&whole[find + 2..]);
    assert_eq!(
        imported.lines(),
        [
            &format!("1 0 opened {} {}  Other", V4.0, V4.1),
            "1 0 getMore app.things",
            "1 2 reply 0 whole 0 0 0",
            "1 8 closed true",
        ]
    );
    let skipped = imported.skipped();
    assert_eq!(skipped[1], (Skip::StrayReply, 1));
    assert!(matches!(skipped[0], (Skip::MidStream, 200..400)), "{skipped:?}");
    // A message may begin in the middle of a segment.
    let both =
        [request(1, doc! { "ping": 1, "$db": "a" }), request(2, doc! { "ping": 1, "$db": "b" })].concat();
    let tail = Wire::new(V4.0, V4.1, 5, 5).up(0, 1000, &both[7..]);
    assert_eq!(of(&tail.pieces).lines()[1..], ["1 0 ping b"]);
}

#[test]
fn a_gap_drops_the_rest_of_its_connection_and_what_is_cut_short_too() {
    let pieces = conversation(V4.0, V4.1, 50).pieces;
    let missing = pieces.iter().position(|piece| piece.millis == 7).unwrap() + 1;
    let mut gap = pieces.clone();
    gap.remove(missing);
    let imported = of(&gap);
    let wanted = lines(V4.0, V4.1);
    assert_eq!(imported.lines()[..3], wanted[..3]);
    assert_eq!(imported.lines()[3..], ["1 15 lost 3"]);
    assert_eq!(imported.skipped(), [(Skip::Gap, 1), (Skip::StrayReply, 2)]);

    let cut = |piece: &Piece| {
        let packet = linked("ethernet", &ip(piece));
        (piece.millis, packet[..packet.len().min(100)].to_vec(), packet.len())
    };
    let short = file(PLAIN, 1, &pieces.iter().map(cut).collect::<Vec<_>>());
    let imported = super::imported(Format::Pcap, &[&short]);
    assert_eq!(imported.skipped(), [(Skip::OtherProtocol, 1)]);
    let short = pieces.iter().map(|piece| {
        if piece.millis < 9 { (piece.millis, linked("raw", &ip(piece)), 0) } else { cut(piece) }
    });
    let short: Vec<_> = short
        .map(|(millis, bytes, length)| match length {
            0 => (millis, bytes.clone(), bytes.len()),
            length => (millis, bytes[14..].to_vec(), length - 14),
        })
        .collect();
    let imported = super::imported(Format::Pcap, &[&file(PLAIN, 101, &short)]);
    assert_eq!(imported.lines()[3..], ["1 2 find app.things", "1 4 lost 3"]);
    assert_eq!(imported.skipped(), [(Skip::SnapLength, 1)]);
}

#[test]
fn a_port_that_is_used_again_is_another_connection_and_a_reset_is_no_order() {
    let ping = |id: i32| request(id, doc! { "ping": 1, "$db": "admin" });
    let first = Wire::new(V4.0, V4.1, 100, 100).open(0).up(1, 99, &ping(1));
    let second = Wire::new(V4.0, V4.1, 70_000, 9).open(2).up(3, 99, &ping(1)).end(4, 0, RST);
    let third = Wire::new(V4.0, V4.1, 7, 9).open(5).up(6, 99, &ping(1)).end(7, 1, FIN);
    let pieces = [first.pieces, second.pieces, third.pieces].concat();
    let lines = of(&pieces).lines();
    let kept: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.contains("opened")).collect();
    assert_eq!(
        kept,
        [
            "1 0 ping admin",
            "1 1 closed false",
            "2 2 ping admin",
            "2 3 closed false",
            "3 5 ping admin",
            "3 6 closed false"
        ]
    );
}

#[test]
fn whatever_else_is_in_a_file_is_counted_by_its_name() {
    let say = |port: &str, bytes: &[u8]| {
        Wire::new("10.0.0.1:6000", &format!("10.0.0.9:{port}"), 1, 1).open(0).up(1, 1000, bytes).pieces
    };
    let tls = [&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[7; 100]].concat();
    let http = b"GET /a/long/enough/path HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(of(&say("27017", &tls)).skipped(), [(Skip::Tls, 1)]);
    assert_eq!(of(&say("27017", http)).skipped(), [(Skip::OtherProtocol, 1)]);
    let other = of(&say("443", &tls));
    assert_eq!((other.skipped(), other.taker.tally.busiest_port), (vec![(Skip::OtherPort, 4)], Some(443)));
    // In the middle of either: nothing begins there.
    let mid = Wire::new(V4.0, V4.1, 5, 5).up(0, 1000, &[&[0x17, 3, 3, 0, 100][..], &[9; 100]].concat());
    assert_eq!(of(&mid.pieces).skipped(), [(Skip::Tls, 1)]);
    let mid = Wire::new(V4.0, V4.1, 5, 5).up(0, 10, http);
    assert_eq!(of(&mid.pieces).skipped(), [(Skip::OtherProtocol, 1)]);

    let piece = &say("27017", http)[3];
    let mut fragment = ip(piece);
    fragment[6] = 0x20;
    let mut udp = ip(piece);
    udp[9] = 17;
    let packets: Vec<Vec<u8>> = vec![fragment, udp, vec![0x45, 0, 0], ip(piece)[..30].to_vec()];
    let packets: Vec<_> = packets.into_iter().map(|packet| (0, packet.clone(), packet.len())).collect();
    let imported = imported(Format::Pcap, &[&file(PLAIN, 101, &packets)]);
    assert_eq!(imported.skipped(), [(Skip::NotTcp, 1), (Skip::Fragment, 1), (Skip::BadPacket, 2)]);
    let unknown = super::imported(Format::Pcap, &[&file(PLAIN, 147, &packets)]);
    assert_eq!(unknown.skipped(), [(Skip::LinkType, 4)]);
}

#[test]
fn bytes_that_are_no_message_drop_the_rest_and_a_request_that_is_too_long_does() {
    let ping = |id: i32| request(id, doc! { "ping": 1, "$db": "admin" });
    let wire = Wire::new(V4.0, V4.1, 100, 100).open(0).up(1, 99, &ping(1)).up(2, 99, &[0xff; 40]);
    let imported = of(&wire.clone().up(3, 99, &ping(2)).pieces);
    assert_eq!(imported.lines()[1..], ["1 0 ping admin", "1 1 lost 4"]);
    assert_eq!(imported.skipped(), [(Skip::OutOfStep, 1)]);
    let mut long = ping(2);
    long[..4].copy_from_slice(&(18i32 << 20).to_le_bytes());
    let wire = Wire::new(V4.0, V4.1, 100, 100).open(0).up(1, 99, &ping(1)).up(2, 99, &long);
    let imported = of(&wire.up(3, 99, &ping(3)).pieces);
    assert_eq!(imported.lines()[1..], ["1 0 ping admin", "1 1 lost 2"]);
    assert_eq!(imported.skipped(), [(Skip::LongRequest, 1)]);
}

#[test]
fn a_long_reply_is_kept_as_its_facts() {
    let documents: Vec<_> = (0..5).map(|n| doc! { "_id": n, "x": "y".repeat(1 << 20) }).collect();
    let long =
        reply(9, 1, doc! { "cursor": { "firstBatch": documents, "id": 5i64, "ns": "a.b" }, "ok": 1.0 });
    let find = |id: i32| request(id, doc! { "find": "b", "$db": "a" });
    let wire = Wire::new(V4.0, V4.1, 1, 1).open(0).up(1, 999, &find(1)).down(2, 60_000, &long);
    let imported = of(&wire.up(3, 999, &find(2)).down(4, 999, &batch(10, 2, 0, 1)).pieces);
    assert_eq!(
        imported.lines()[1..],
        ["1 0 find a.b", "1 1 reply 0 too large 0 5 5", "1 2 find a.b", "1 3 reply 1 whole 0 0 0"]
    );
}

#[test]
fn memory_and_connections_have_limits_in_all() {
    use super::super::flows::Flows;
    use super::super::{Taker, packets::Packet, segment::segment};
    let mut flows = Flows::with_limits(&[27017], 3, 50_000);
    let mut taker = Taker::new(super::List::default());
    for port in 0..5 {
        let client = format!("10.0.0.1:{}", 5000 + port);
        let ping = request(1, doc! { "ping": "x".repeat(90), "$db": "admin" });
        let mut wire = Wire::new(&client, V4.1, 100, 100).open(0).up(1, 900, &ping);
        // Three times what fits, behind a gap.
        wire.next[0] += 1;
        for piece in wire.up(2, 10_000, &[0; 20_000]).pieces {
            let packet = Packet { link: 101, bytes: ip(&piece) };
            flows.take(0, &segment(&packet).unwrap(), &mut taker).unwrap();
        }
    }
    flows.finish(0, &mut taker).unwrap();
    let skipped: Vec<_> = taker.tally.counts().collect();
    assert_eq!(skipped, [(Skip::TooManyConnections, 6), (Skip::Gap, 2), (Skip::Memory, 1)]);
}

#[test]
fn packets_may_be_larger_than_what_is_read_at_a_time_up_to_a_limit() {
    let large = |size: usize| vec![(0, vec![0x60; size], size), (1, vec![0x45; 5], 5)];
    for kind in [FILES[0], FILES[4]] {
        let fits = imported(Format::Pcap, &[&file(kind, 101, &large(1 << 20))]);
        assert_eq!(fits.taker.tally.damage, [""; 0]);
        assert!(fits.skipped().iter().map(|(_, count)| count).sum::<u64>() == 2, "{:?}", fits.skipped());
        let over = imported(Format::Pcap, &[&file(kind, 101, &large(5 << 20))]);
        assert_eq!(over.taker.tally.damage, ["0: a packet, or a block, of more than 1048576 bytes"]);
    }
}

#[test]
fn several_files_of_one_capture_are_one() {
    let pieces = conversation(V4.0, V4.1, 50).pieces;
    let (first, second) = pieces.split_at(pieces.len() / 2);
    let imported = imported(Format::Pcap, &[&plain(second), &plain(first)]);
    assert_eq!(imported.lines(), lines(V4.0, V4.1));
    assert!(pieces.iter().all(|piece| piece.flags & ACK != 0 || piece.payload.is_empty()));
}

#[test]
fn a_file_that_was_cut_off_anywhere_gives_what_is_before_the_cut() {
    let pieces = conversation(V4.0, V4.1, 100).pieces;
    for kind in [FILES[0], FILES[4]] {
        let whole = in_file(kind, (1, "ethernet"), &pieces);
        let wanted = lines(V4.0, V4.1);
        for length in (0..whole.len()).step_by(11) {
            let cut = imported(Format::Pcap, &[&whole[..length]]);
            let lines = cut.lines();
            let lost = lines.last().is_some_and(|last| last.contains("lost"));
            let same = lines.len() - usize::from(lost);
            assert_eq!(lines[..same], wanted[..same], "{kind:?} {length}");
        }
        let cut = imported(Format::Pcap, &[&whole[..whole.len() - 1]]);
        assert_eq!(cut.taker.tally.damage, ["0: it ends in the middle of a packet"]);
    }
    assert_eq!(imported(Format::Pcap, &[b"none"]).taker.tally.damage.len(), 1);
    assert_eq!(imported(Format::Pcap, &[&file(PLAIN, 1, &[])]).taker.tally.damage.len(), 0);
}
