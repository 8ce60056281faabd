//! Loopback ports that are free now and that no other test process takes meanwhile.
//!
//! Binding port 0 and letting go of it again is a race between test processes, and gives no consecutive ports. Here
//! a reservation is a locked file per port, which the kernel unlocks when its process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};

/// Below the range that the kernel takes for outgoing connections (32768 on), which come and go by themselves.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

/// Consecutive free ports, this process's until dropped.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    locks: Vec<File>,
}

impl Ports {
    /// One port.
    pub fn one() -> Ports {
        Ports::run(1)
    }

    /// `count` consecutive ports, on every loopback address.
    pub fn run(count: u16) -> Ports {
        let candidates = LAST - FIRST - count;
        // Processes start looking in different places, or they would all try the same locks.
        let start = (std::process::id() as u16).wrapping_mul(97) % candidates;
        (0..candidates)
            .map(|step| FIRST + (start + step) % candidates)
            .find_map(|first| Ports::reserve(first, count))
            .unwrap_or_else(|| panic!("no {count} consecutive free ports between {FIRST} and {LAST}"))
    }

    fn reserve(first: u16, count: u16) -> Option<Ports> {
        let locks = (first..first + count).map(lock_if_free).collect::<Option<Vec<_>>>()?;
        Some(Ports { first, locks })
    }

    /// The first port.
    pub fn first(&self) -> u16 {
        self.first
    }

    /// Port number `index` of the run.
    pub fn get(&self, index: u16) -> u16 {
        assert!(usize::from(index) < self.locks.len(), "port {index} of a run of {}", self.locks.len());
        self.first + index
    }
}

fn lock_if_free(port: u16) -> Option<File> {
    let folder = std::env::temp_dir().join("torana-ports");
    std::fs::create_dir_all(&folder).expect("a folder for port locks");
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(port.to_string()));
    let lock = lock.expect("a port's lock file");
    lock.try_lock().ok()?;
    // Taken by a program that is no test of ours? The wildcard conflicts with a listener on any address.
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok()?;
    Some(lock)
}
