//! Blocking clients, one thread each, for what a consistency level costs: they do what Parse Server does with one object (GET,
//! PUT, POST and DELETE), or what the thesis of 2017 had it do (`thesis.rs`). A thread each costs more than an epoll loop, and
//! costs all subjects the same.

mod act;
mod rest;
mod thesis;

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;

use crate::generate::histogram;

pub use act::{Act, Direct, Reads, load};
pub use rest::Rest;
pub use thesis::{Registers, Thesis};

/// Objects that GET and PUT choose among.
pub const OBJECTS: u64 = 1_000;

/// A client that does one thing at a time.
pub trait Client: Send {
    /// Does `act` to object `number`, and checks what comes back.
    fn act(&mut self, act: Act, number: u64) -> Result<()>;
}

/// Where a client's objects are.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where writes go.
    pub primary: SocketAddr,
    /// Where reads go.
    pub reads: SocketAddr,
    /// The collection.
    pub collection: &'static str,
}

/// What a run saw.
#[derive(Debug)]
pub struct Seen {
    /// Operations a second.
    pub per_second: f64,
    /// Latencies, nanoseconds.
    pub latencies: Histogram<u64>,
}

/// Has all of `clients` do `act` over and over, for `warmup` and then for `window`, which is measured.
pub fn run(clients: Vec<Box<dyn Client>>, act: Act, warmup: Duration, window: Duration) -> Result<Seen> {
    let start = Barrier::new(clients.len());
    let count = clients.len() as u64;
    let results: Vec<Result<Histogram<u64>>> = thread::scope(|scope| {
        let threads = clients.into_iter().zip(0..).map(|(client, index)| {
            let start = &start;
            scope.spawn(move || one(client, act, index, count, start, (warmup, window)))
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked"))))
            .collect()
    });
    let mut latencies = histogram()?;
    for result in results {
        latencies.add(result?)?;
    }
    ensure!(!latencies.is_empty(), "nothing was answered");
    Ok(Seen { per_second: latencies.len() as f64 / window.as_secs_f64(), latencies })
}

fn one(
    mut client: Box<dyn Client>,
    act: Act,
    index: u64,
    count: u64,
    start: &Barrier,
    (warmup, window): (Duration, Duration),
) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    start.wait();
    let opens = Instant::now() + warmup;
    let mut number = index;
    loop {
        let began = Instant::now();
        if began >= opens + window {
            return Ok(latencies);
        }
        client.act(act, number).with_context(|| format!("client {index}"))?;
        let ended = Instant::now();
        if ended >= opens && ended < opens + window {
            latencies.saturating_record((ended - began).as_nanos() as u64);
        }
        // A stride of its own: clients meet on an object now and then, as users do.
        number = (number + count + index % 7) % OBJECTS;
    }
}
