//! Bytes that nobody should have written: nothing panics, and memory stays within the bytes that there are.

use proptest::prelude::*;

use super::packets::{FILES, LINKS, PLAIN, file, in_file, ip, linked};
use super::profile::documents;
use super::{Format, Input, imported, pcap, playback};

const FORMATS: [Format; 3] = [Format::Mongoreplay, Format::Profiler, Format::Pcap];

/// A good file of each kind.
fn good(kind: usize) -> (Format, Vec<u8>) {
    let profile: Vec<u8> =
        documents().iter().flat_map(|document| bson::serialize_to_vec(document).unwrap()).collect();
    match kind {
        0 => (Format::Mongoreplay, playback::conversation()),
        1 | 2 => {
            let pieces = pcap::conversation("10.0.0.1:5000", "10.0.0.9:27017", 100).pieces;
            (Format::Pcap, in_file(FILES[kind * 4 - 4], (1, "ethernet"), &pieces))
        }
        _ => (Format::Profiler, profile),
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), front in 0usize..5) {
        for format in FORMATS {
            let (_, good) = good(front);
            let known = good.len().min(60) * usize::from(front < 4);
            let file = [&good[..known], &bytes].concat();
            let _ = imported(format, &[&file]);
            let _ = Input::new(std::io::Cursor::new(file)).map(|input| input.format());
        }
    }

    #[test]
    fn damage_makes_nothing_panic(
        kind in 0usize..4,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (format, mut file) = good(kind);
        for (at, with) in changes {
            let at = at.index(file.len());
            file[at] = with;
        }
        let _ = imported(format, &[&file]);
        file.truncate(cut.index(file.len()));
        let _ = imported(format, &[&file]);
    }

    #[test]
    fn no_packets_make_it_panic(
        link in prop::sample::select(LINKS.to_vec()),
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 0..8),
    ) {
        let packets = packets.into_iter().map(|packet| (0, linked(link.1, &[&[0x45], &packet[..]].concat()), 900));
        let packets: Vec<_> = packets.flat_map(|(at, packet, length)| {
            let half = packet[..packet.len() / 2].to_vec();
            [(at, packet, length), (at, half, length)]
        }).collect();
        let _ = imported(Format::Pcap, &[&file(PLAIN, link.0, &packets)]);
    }

    #[test]
    fn damaged_packets_make_nothing_panic(
        link in prop::sample::select(LINKS.to_vec()),
        size in 20usize..200,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..90, any::<u8>()), 1..20),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..120), 0..4),
    ) {
        let wire = pcap::conversation("10.0.0.1:5000", "10.0.0.9:27017", size);
        let mut packets: Vec<_> = wire.pieces.iter().map(|piece| {
            let packet = linked(link.1, &ip(piece));
            (piece.millis, packet.clone(), packet.len())
        }).collect();
        for (packet, at, with) in changes {
            let packet = packet.index(packets.len());
            if let Some(byte) = packets[packet].1.get_mut(at) {
                *byte = with;
            }
        }
        for (packet, length) in cuts {
            let packet = packet.index(packets.len());
            packets[packet].1.truncate(length);
        }
        let _ = imported(Format::Pcap, &[&file(PLAIN, link.0, &packets)]);
    }
}
