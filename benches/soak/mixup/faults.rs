//! A server that misbehaves in time, not in content: replies come late, in pieces, again before the right one, or again when nobody
//! asked. It never repeats the reply to a request with a checksum: those have one number, and a server that answers the wrong one of
//! two requests with one number cannot be found out by anybody.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use super::tally::Tally;
use crate::dice::Dice;

/// In ten thousand replies: repeated ahead of the next, repeated behind themselves, late by some milliseconds, in two pieces.
const LATE_BEFORE: u64 = 20;
const LATE_AFTER: u64 = 10;
const DELAYED: u64 = 100;
const IN_PIECES: u64 = 100;
/// Held back for longer than torana's reply time-out; more often where only closing the connection helps.
const HELD_BACK: u64 = 3;
const HELD_BACK_CHECKED: u64 = 30;
/// Held back at once at most: each takes one of the eight connections for half a second.
const HOLDING_MAX: usize = 2;
/// Longest reply that is kept for repeating.
const KEPT_LEN: usize = 16 * 1024;

static HOLDING: AtomicUsize = AtomicUsize::new(0);

/// The faults of one server connection.
pub struct Faults<'t> {
    dice: Dice,
    kept: Option<Vec<u8>>,
    tally: &'t Tally,
}

impl<'t> Faults<'t> {
    /// Of connection number `connection`.
    pub fn new(seed: u64, connection: u64, tally: &'t Tally) -> Self {
        Faults { dice: Dice::new(seed, connection), kept: None, tally }
    }

    /// Writes a reply to a client's operation, perhaps late, perhaps with an old one before or behind it.
    pub fn write(&mut self, out: &mut TcpStream, reply: &[u8], has_checksum: bool) -> io::Result<()> {
        self.hold_back(has_checksum);
        if self.dice.in_ten_thousand(DELAYED) {
            self.tally.delayed.add();
            sleep(Duration::from_micros(200 + self.dice.below(80_000)));
        }
        if self.dice.in_ten_thousand(LATE_BEFORE)
            && let Some(old) = self.kept.take()
        {
            self.tally.late_before.add();
            out.write_all(&old)?;
        }
        self.write_true(out, reply)?;
        let is_kept = !has_checksum && reply.len() <= KEPT_LEN;
        if is_kept && self.dice.in_ten_thousand(LATE_AFTER) {
            self.tally.late_after.add();
            sleep(Duration::from_micros(self.dice.below(3_000)));
            out.write_all(reply)?;
        }
        if is_kept && self.dice.below(8) == 0 {
            self.kept = Some(reply.to_vec());
        }
        Ok(())
    }

    fn write_true(&mut self, out: &mut TcpStream, reply: &[u8]) -> io::Result<()> {
        if !self.dice.in_ten_thousand(IN_PIECES) {
            return out.write_all(reply);
        }
        self.tally.delayed.add();
        let (front, rest) = reply.split_at(self.dice.below(reply.len() as u64) as usize);
        out.write_all(front)?;
        sleep(Duration::from_micros(self.dice.below(5_000)));
        out.write_all(rest)
    }

    fn hold_back(&mut self, has_checksum: bool) {
        let chance = if has_checksum { HELD_BACK_CHECKED } else { HELD_BACK };
        if !self.dice.in_ten_thousand(chance) {
            return;
        }
        if HOLDING.fetch_add(1, Ordering::Relaxed) < HOLDING_MAX {
            self.tally.held_back.add();
            sleep(Duration::from_millis(700 + self.dice.below(300)));
        }
        HOLDING.fetch_sub(1, Ordering::Relaxed);
    }
}
