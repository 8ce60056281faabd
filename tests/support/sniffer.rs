//! Packets of the loopback interface, as tcpdump would write them to a file.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size_force, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, eth, socket_with};

use super::traffic::now;

/// Room for packets that are not read yet: other tests' traffic passes the same interface.
const BUFFER: usize = 64 << 20;

/// How often it is looked whether to stop.
const BEAT: Duration = Duration::from_millis(50);

/// How long is waited for packets that are still on their way.
const SETTLE: Duration = Duration::from_millis(300);

/// Bytes of Ethernet before an IP packet.
const ETHERNET: usize = 14;

/// A thread that takes packets down.
pub struct Sniffer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(i64, Vec<u8>)>>,
}

impl Sniffer {
    /// Takes down what goes from or to this TCP port over IPv4, on every interface; `None` if this user may not.
    pub fn of(port: u16) -> Option<Sniffer> {
        let flags = SocketFlags::CLOEXEC;
        let socket = match socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(eth::ALL)) {
            Ok(socket) => socket,
            Err(Errno::PERM | Errno::ACCESS | Errno::AFNOSUPPORT) => return None,
            Err(error) => panic!("no socket for packets: {error}"),
        };
        set_socket_recv_buffer_size_force(&socket, BUFFER).expect("a large buffer");
        set_socket_timeout(&socket, Timeout::Recv, Some(BEAT)).expect("a time-out");
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = std::thread::spawn(move || sniff(&socket, port, &stopping));
        Some(Sniffer { stop, thread })
    }

    /// What it has seen, as a pcap file. Packets of the loopback interface are in it twice: as they left, and as they came.
    pub fn pcap(self) -> Vec<u8> {
        std::thread::sleep(SETTLE);
        self.stop.store(true, Ordering::Relaxed);
        let packets = self.thread.join().expect("packets");
        let mut file: Vec<u8> =
            [0xa1b2_3c4du32, 4 << 16 | 2, 0, 0, 262_144, 1].into_iter().flat_map(u32::to_le_bytes).collect();
        for (time, bytes) in packets {
            let length = bytes.len() as u32;
            let front = [(time / 1_000_000_000) as u32, (time % 1_000_000_000) as u32, length, length];
            file.extend(front.into_iter().flat_map(u32::to_le_bytes).chain(bytes));
        }
        file
    }
}

fn sniff(socket: &OwnedFd, port: u16, stop: &AtomicBool) -> Vec<(i64, Vec<u8>)> {
    let mut packets = Vec::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match rustix::io::read(socket, &mut buffer) {
            Ok(length) if is_of(&buffer[..length], port) => packets.push((now(), buffer[..length].to_vec())),
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::INTR) if stop.load(Ordering::Relaxed) => return packets,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => panic!("cannot read packets: {error}"),
        }
    }
}

fn is_of(packet: &[u8], port: u16) -> bool {
    let is_tcp = packet.get(12..14) == Some(&[8, 0]) && packet.get(ETHERNET + 9) == Some(&6);
    let tcp_at = ETHERNET + 4 * usize::from(packet.get(ETHERNET).map_or(0, |first| first & 0x0f));
    let ports = packet.get(tcp_at..tcp_at + 4).filter(|_| is_tcp);
    ports.is_some_and(|ports| ports.chunks(2).any(|end| end == port.to_be_bytes()))
}
