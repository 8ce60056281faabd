//! Packets as TCP segments: what stands around them is read and left behind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};

use super::packets::Packet;
use super::tally::Skip;

/// Link types, as tcpdump.org numbers them.
mod link {
    pub const NULL: i32 = 0;
    pub const ETHERNET: i32 = 1;
    /// What some systems wrote for raw IP.
    pub const RAW_OLD: [i32; 2] = [12, 14];
    pub const RAW: i32 = 101;
    pub const LOOP: i32 = 108;
    pub const LINUX_SLL: i32 = 113;
    pub const IPV4: i32 = 228;
    pub const IPV6: i32 = 229;
    pub const LINUX_SLL2: i32 = 276;
}

/// Bytes of a "cooked" header of Linux, and of its second version.
const SLL: usize = 16;
const SLL2: usize = 20;

/// A TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// The number of its first byte.
    pub sequence: u32,
    /// It opens its direction: that number is the one before the first byte.
    pub syn: bool,
    /// It answers one that does.
    pub ack: bool,
    /// It ends its direction.
    pub fin: bool,
    /// It ends both.
    pub rst: bool,
    /// Its bytes.
    pub payload: &'a [u8],
    /// It had more of them than were captured.
    pub is_cut: bool,
}

/// The segment in a packet.
pub fn segment(packet: &Packet) -> Result<Segment<'_>, Skip> {
    let bytes = packet.bytes.as_slice();
    let ip = |at: usize| {
        let ip = bytes.get(at..).ok_or(Skip::BadPacket)?;
        LaxSlicedPacket::from_ip(ip).map_err(|_| Skip::BadPacket)
    };
    let by_type = |type_at: usize, at: usize| {
        let ether_type = bytes.get(type_at..).and_then(|rest| rest.first_chunk()).ok_or(Skip::BadPacket)?;
        let ether_type = EtherType(u16::from_be_bytes(*ether_type));
        Ok(LaxSlicedPacket::from_ether_type(ether_type, bytes.get(at..).ok_or(Skip::BadPacket)?))
    };
    let sliced = match packet.link {
        link::ETHERNET => LaxSlicedPacket::from_ethernet(bytes).map_err(|_| Skip::BadPacket)?,
        link::LINUX_SLL => by_type(SLL - 2, SLL)?,
        link::LINUX_SLL2 => by_type(0, SLL2)?,
        // The four bytes before name the protocol's family, by numbers that differ from system to system.
        link::NULL | link::LOOP => ip(4)?,
        link::RAW | link::IPV4 | link::IPV6 => ip(0)?,
        other if link::RAW_OLD.contains(&other) => ip(0)?,
        _ => return Err(Skip::LinkType),
    };
    of(&sliced)
}

fn of<'a>(packet: &LaxSlicedPacket<'a>) -> Result<Segment<'a>, Skip> {
    let (from, to, payload) = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let address = |bytes| IpAddr::V4(Ipv4Addr::from(bytes));
            (address(header.source()), address(header.destination()), ip.payload().clone())
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let address = |bytes| IpAddr::V6(Ipv6Addr::from(bytes));
            (address(header.source()), address(header.destination()), ip.payload().clone())
        }
        _ => return Err(Skip::NotTcp),
    };
    if payload.fragmented {
        return Err(Skip::Fragment);
    }
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
        let is_tcp = payload.ip_number == etherparse::IpNumber::TCP;
        return Err(if is_tcp { Skip::BadPacket } else { Skip::NotTcp });
    };
    Ok(Segment {
        from: SocketAddr::new(from, tcp.source_port()),
        to: SocketAddr::new(to, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        syn: tcp.syn(),
        ack: tcp.ack(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        payload: tcp_payload(tcp),
        is_cut: payload.incomplete,
    })
}

/// Its bytes for as long as the packet lives, which its own method does not promise.
fn tcp_payload<'a>(tcp: &etherparse::TcpSlice<'a>) -> &'a [u8] {
    tcp.slice().get(tcp.header_len()..).unwrap_or_default()
}
