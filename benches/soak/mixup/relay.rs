//! The same faults in front of a real server: a relay that passes requests on as they are and replies with [`Faults`].

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::fake::comment;
use super::faults::Faults;
use super::stream::read_message;
use super::tally::Tally;
use crate::{checksum, wire};

/// What is known of a request that has no reply yet.
struct Awaited {
    has_checksum: bool,
    hold: Duration,
}

/// Requests of clients that have no reply yet.
type Asked = Arc<Mutex<HashMap<i32, Awaited>>>;

/// Relays from `listener` to `server` for the rest of the process.
pub fn start(listener: TcpListener, server: SocketAddr, seed: u64, tally: Arc<Tally>) {
    thread::spawn(move || {
        for (connection, near) in listener.incoming().flatten().enumerate() {
            let tally = tally.clone();
            thread::spawn(move || {
                // An error is one side's closing, which closes the other.
                let _ = relay(near, server, Faults::new(seed, connection as u64, &tally), &tally);
            });
        }
    });
}

fn relay(near: TcpStream, server: SocketAddr, faults: Faults<'_>, tally: &Tally) -> Result<()> {
    let mut far = TcpStream::connect(server)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let asked = Asked::default();
    let (replies_from, replies_to, asking) = (far.try_clone()?, near.try_clone()?, asked.clone());
    thread::scope(|scope| {
        scope.spawn(move || {
            let _ = pass_replies(&replies_from, &replies_to, faults, &asking);
            let _ = replies_from.shutdown(Shutdown::Both);
            let _ = replies_to.shutdown(Shutdown::Both);
        });
        let (mut message, mut near) = (Vec::new(), BufReader::new(near));
        while let Ok(true) = read_message(&mut near, &mut message) {
            note(&message, &asked, tally);
            if far.write_all(&message).is_err() {
                break;
            }
        }
        let _ = far.shutdown(Shutdown::Both);
    });
    Ok(())
}

fn note(message: &[u8], asked: &Asked, tally: &Tally) {
    let flags = wire::flag_bits(message);
    let (Some(comment), Some(id)) = (wire::body(message).and_then(comment), wire::i32_at(message, 4)) else {
        return;
    };
    if flags & wire::MORE_TO_COME == 0 {
        let awaited = Awaited { has_checksum: flags & checksum::CHECKSUM_PRESENT != 0, hold: comment.hold };
        asked.lock().unwrap_or_else(PoisonError::into_inner).insert(id, awaited);
    }
    if !comment.hold.is_zero() {
        tally.arrived(comment.nonce);
    }
}

fn pass_replies(from: &TcpStream, to: &TcpStream, mut faults: Faults<'_>, asked: &Asked) -> Result<()> {
    let (mut from, mut to) = (BufReader::new(from.try_clone()?), to.try_clone()?);
    let mut message = Vec::new();
    while read_message(&mut from, &mut message)? {
        let id = wire::i32_at(&message, 8).unwrap_or(0);
        let operation = asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        // A stream of replies stays as it is: each names the one before.
        match operation.filter(|_| wire::flag_bits(&message) & wire::MORE_TO_COME == 0) {
            Some(awaited) => {
                thread::sleep(awaited.hold);
                faults.write(&mut to, &message, awaited.has_checksum)?
            }
            None => to.write_all(&message)?,
        }
    }
    Ok(())
}
