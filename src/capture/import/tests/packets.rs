//! Packet captures by hand: segments, what stands around them, and the files that hold them.

use std::net::{IpAddr, SocketAddr};

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// A segment on its way into a file.
#[derive(Debug, Clone)]
pub struct Piece {
    pub millis: i64,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub sequence: u32,
    pub flags: u8,
    pub payload: Vec<u8>,
}

/// A connection that is spoken on.
#[derive(Debug, Clone)]
pub struct Wire {
    pub client: SocketAddr,
    pub server: SocketAddr,
    pub next: [u32; 2],
    pub pieces: Vec<Piece>,
}

impl Wire {
    /// From these numbers on.
    pub fn new(client: &str, server: &str, up: u32, down: u32) -> Wire {
        let (client, server) = (client.parse().unwrap(), server.parse().unwrap());
        Wire { client, server, next: [up, down], pieces: Vec::new() }
    }

    fn piece(&mut self, millis: i64, direction: usize, flags: u8, payload: &[u8]) {
        let (from, to) = if direction == 0 { (self.client, self.server) } else { (self.server, self.client) };
        let sequence = self.next[direction];
        let more = payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
        self.next[direction] = sequence.wrapping_add(more);
        self.pieces.push(Piece { millis, from, to, sequence, flags, payload: payload.to_vec() });
    }

    /// Opens it.
    pub fn open(mut self, millis: i64) -> Wire {
        self.piece(millis, 0, SYN, b"");
        self.piece(millis, 1, SYN | ACK, b"");
        self.piece(millis, 0, ACK, b"");
        self
    }

    /// The client says something, in segments of at most `size` bytes.
    pub fn up(mut self, millis: i64, size: usize, bytes: &[u8]) -> Wire {
        bytes.chunks(size).for_each(|chunk| self.piece(millis, 0, ACK, chunk));
        self
    }

    /// The server does.
    pub fn down(mut self, millis: i64, size: usize, bytes: &[u8]) -> Wire {
        bytes.chunks(size).for_each(|chunk| self.piece(millis, 1, ACK, chunk));
        self
    }

    /// An end of it: 0 the client's.
    pub fn end(mut self, millis: i64, direction: usize, flags: u8) -> Wire {
        self.piece(millis, direction, flags | ACK, b"");
        self
    }
}

/// A segment as an IP packet.
pub fn ip(piece: &Piece) -> Vec<u8> {
    let mut tcp = piece.from.port().to_be_bytes().to_vec();
    tcp.extend(piece.to.port().to_be_bytes());
    tcp.extend(piece.sequence.to_be_bytes());
    tcp.extend([0, 0, 0, 1, 8 << 4, piece.flags, 1, 0, 0, 0, 0, 0]);
    // Options, as every segment has: nothing, nothing, time stamps.
    tcp.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    tcp.extend(&piece.payload);
    match (piece.from.ip(), piece.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut packet = vec![0x45, 0];
            packet.extend((20 + tcp.len() as u16).to_be_bytes());
            packet.extend([0, 1, 0x40, 0, 64, 6, 0, 0]);
            packet.extend(from.octets().into_iter().chain(to.octets()).chain(tcp));
            packet
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend((tcp.len() as u16).to_be_bytes());
            packet.extend([6, 64]);
            packet.extend(from.octets().into_iter().chain(to.octets()).chain(tcp));
            packet
        }
        _ => panic!("two families"),
    }
}

/// What stands before an IP packet, and the number of that.
pub const LINKS: [(i32, &str); 9] = [
    (1, "ethernet"),
    (1, "vlan"),
    (1, "two vlans"),
    (113, "cooked"),
    (276, "cooked 2"),
    (101, "raw"),
    (228, "raw by version"),
    (0, "null"),
    (108, "loop"),
];

/// An IP packet with what stands before it.
pub fn linked(link: &str, ip: &[u8]) -> Vec<u8> {
    let ether_type: [u8; 2] = if ip[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    let macs = [2u8; 12];
    let front: Vec<u8> = match link {
        "ethernet" => [&macs[..], &ether_type].concat(),
        "vlan" => [&macs[..], &[0x81, 0, 0, 5], &ether_type].concat(),
        "two vlans" => [&macs[..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6], &ether_type].concat(),
        "cooked" => [&[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0][..], &ether_type].concat(),
        "cooked 2" => [&ether_type[..], &[0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0]].concat(),
        "null" | "loop" => vec![2, 0, 0, 0],
        _ => Vec::new(),
    };
    // Short frames of Ethernet are padded.
    let padding =
        if link == "ethernet" { vec![0xee; 60usize.saturating_sub(14 + ip.len())] } else { Vec::new() };
    [front, ip.to_vec(), padding].concat()
}

/// A file of packets: its numbers in this order, its times in these parts of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    Pcap { big: bool, nanos: bool },
    PcapNg { big: bool, resolution: u8 },
}

pub const FILES: [File; 8] = [
    File::Pcap { big: false, nanos: false },
    File::Pcap { big: true, nanos: false },
    File::Pcap { big: false, nanos: true },
    File::Pcap { big: true, nanos: true },
    File::PcapNg { big: false, resolution: 6 },
    File::PcapNg { big: true, resolution: 9 },
    File::PcapNg { big: false, resolution: 3 },
    // Parts that are a power of two.
    File::PcapNg { big: false, resolution: 0x80 | 30 },
];

pub const PLAIN: File = File::Pcap { big: false, nanos: false };

/// Packets with their times, and how many bytes each had, in a file.
pub fn file(file: File, link: i32, packets: &[(i64, Vec<u8>, usize)]) -> Vec<u8> {
    let (File::Pcap { big, .. } | File::PcapNg { big, .. }) = file;
    let four = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let two = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut out = Vec::new();
    let block = |out: &mut Vec<u8>, kind: u32, body: &[u8]| {
        let length = four(12 + body.len().next_multiple_of(4) as u32);
        out.extend(four(kind).into_iter().chain(length));
        out.extend(body);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(length);
    };
    match file {
        File::Pcap { nanos, .. } => {
            out.extend(four(if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 }));
            out.extend(two(2).into_iter().chain(two(4)));
            [0, 0, 262_144, link as u32].into_iter().for_each(|number| out.extend(four(number)));
        }
        File::PcapNg { resolution, .. } => {
            let section = [&four(0x1a2b_3c4d)[..], &two(1), &two(0), &[0xff; 8]].concat();
            block(&mut out, 0x0a0d_0d0a, &section);
            let options = [&two(9)[..], &two(1), &[resolution, 0, 0, 0], &two(0), &two(0)].concat();
            block(&mut out, 1, &[&two(link as u16)[..], &two(0), &four(0), &options].concat());
            // One that says nothing of packets.
            block(&mut out, 5, &[&four(0)[..], &four(0), &four(0)].concat());
        }
    }
    for (millis, bytes, length) in packets {
        let at = 1_700_000_000_000 + millis;
        let lengths = [four(bytes.len() as u32), four(*length as u32)].concat();
        match file {
            File::Pcap { nanos, .. } => {
                out.extend(four((at / 1000) as u32));
                out.extend(four((at % 1000) as u32 * if nanos { 1_000_000 } else { 1000 }));
                out.extend(lengths.iter().chain(bytes));
            }
            File::PcapNg { resolution, .. } => {
                let units = if resolution & 0x80 == 0 {
                    10u128.pow(resolution.into())
                } else {
                    1 << (resolution & 0x7f)
                };
                // Rounded up, as what is read is rounded down.
                let raw = (at as u128 * units).div_ceil(1000) as u64;
                let times = [four((raw >> 32) as u32), four(raw as u32)].concat();
                block(&mut out, 6, &[&four(0)[..], &times, &lengths, bytes].concat());
            }
        }
    }
    out
}

/// Segments in a file of Ethernet.
pub fn plain(pieces: &[Piece]) -> Vec<u8> {
    in_file(PLAIN, (1, "ethernet"), pieces)
}

pub fn in_file(kind: File, (number, link): (i32, &str), pieces: &[Piece]) -> Vec<u8> {
    let whole = |piece: &Piece| {
        let packet = linked(link, &ip(piece));
        (piece.millis, packet.clone(), packet.len())
    };
    file(kind, number, &pieces.iter().map(whole).collect::<Vec<_>>())
}
