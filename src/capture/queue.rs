//! The way from the clients' tasks to the thread that writes: bounded, and never waited for.
//!
//! Whoever has a record copies it into one shared chunk, under a lock that is held for that copy. A full chunk goes to
//! the writer over a bounded channel; where there is no room in it, the record is refused, and with it the rest of its
//! connection: clients are never slowed by the disk. Everything that is kept in memory counts against one budget.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::record::{FRONT, Record};

/// Bytes of a usual chunk: large enough that handing it over costs nothing a record, small enough that it is soon full.
pub const CHUNK: usize = 256 << 10;

/// Bytes of all chunks that wait or are being written, and of replies that are being put together. With a block, its
/// compressed copy (17 MiB, if it is one message of the longest that does not compress), what waits for the disk (4) and the
/// spare chunks the recorder stays below 64 MiB.
pub const MEMORY_MAX: usize = 36 << 20;

/// The longest message that is kept, bytes: one with a document of the largest size. With 48 MB the memory would be used
/// up by two of them and their compressed copies.
pub const MESSAGE_MAX: usize = 17 << 20;

/// Of so many of these bytes replies that are being put together take at most one: clients that are slow to take theirs must
/// not leave the others without room.
const HELD_SHARE: usize = 3;

/// Bytes of a record beside its message, at most: front, facts and policy; addresses and names of one that opens.
const BESIDE: usize = 64;

/// Empty chunks that are kept for their memory.
const SPARE_MAX: usize = 8;

/// What a record's message is, as far as its command's name tells. Stands before each record in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// Nothing special: fields that are listed are replaced.
    Open = 0,
    /// A hello after the connection's first: of its reply only the facts are kept.
    HelloAgain = 1,
    /// Carries secrets: of the request only the command's name is kept, of the reply only the facts.
    Secret = 2,
    /// The reply is text, or may be, in which any value can stand: only its facts are kept.
    Text = 3,
    /// A connection's first hello.
    Hello = 4,
}

impl Policy {
    fn of(number: u8) -> Policy {
        match number {
            0 => Policy::Open,
            1 => Policy::HelloAgain,
            3 => Policy::Text,
            4 => Policy::Hello,
            // What is not known is kept from the file.
            _ => Policy::Secret,
        }
    }
}

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The disk is behind: there is no room for more.
    Full,
    /// The capture is over.
    Ended,
}

/// A connection of which the rest is not in the capture.
#[derive(Debug, Clone, Copy)]
pub struct Lost {
    /// The connection.
    pub connection: u64,
    /// Since when.
    pub time: u64,
    /// Why, as [`Kind::Lost`](super::Kind::Lost) has it.
    pub why: u8,
}

/// A chunk on its way to the writer.
#[derive(Debug)]
pub struct Filled {
    /// Records, each with its policy before it.
    pub bytes: Vec<u8>,
    /// Connections that were lost, behind those records.
    pub lost: Vec<Lost>,
    weight: usize,
}

/// What the writer is to do next.
#[derive(Debug)]
pub enum Next {
    /// Write this.
    Filled(Filled),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come any more.
    Ended,
}

/// The queue, as those who have records see it.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    spare: Mutex<Vec<Vec<u8>>>,
    used: AtomicUsize,
    held: AtomicUsize,
    /// Nothing more is taken. The writer looks at this rather than at `state`: it has a low priority, and clients would wait
    /// for it if it were passed over with the lock in its hands.
    has_ended: AtomicBool,
    used_max: usize,
    held_max: usize,
}

#[derive(Debug)]
struct State {
    chunk: Vec<u8>,
    lost: Vec<Lost>,
    /// `None` once the capture is over.
    sender: Option<SyncSender<Filled>>,
}

impl Queue {
    /// A queue of at most `memory_max` bytes, and its other end.
    pub fn new(memory_max: usize) -> (Queue, Receiver<Filled>) {
        // Every chunk that waits counts as a full one, or as more.
        let (sender, receiver) = sync_channel(memory_max / CHUNK + 1);
        let state = State { chunk: Vec::with_capacity(CHUNK), lost: Vec::new(), sender: Some(sender) };
        let held_max = memory_max / HELD_SHARE;
        let queue = Queue {
            state: Mutex::new(state),
            spare: Mutex::default(),
            used: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            has_ended: AtomicBool::new(false),
            used_max: memory_max - held_max,
            held_max,
        };
        (queue, receiver)
    }

    /// Takes `record`, of which the body has about `length` bytes.
    pub fn append(&self, policy: Policy, record: &Record<'_>, length: usize) -> Result<(), Refused> {
        let length = length + FRONT + BESIDE;
        if length > CHUNK / 2 {
            return self.append_large(policy, record, length);
        }
        let mut state = self.locked();
        if state.sender.is_none() {
            return Err(Refused::Ended);
        }
        if state.chunk.len() + length > CHUNK {
            self.send_chunk(&mut state)?;
        }
        state.chunk.push(policy as u8);
        record.encode(&mut state.chunk);
        Ok(())
    }

    /// A large record goes by itself: what it takes to copy it is nobody else's time.
    fn append_large(&self, policy: Policy, record: &Record<'_>, length: usize) -> Result<(), Refused> {
        if !self.reserve(length) {
            return Err(Refused::Full);
        }
        let mut bytes = Vec::with_capacity(length);
        bytes.push(policy as u8);
        record.encode(&mut bytes);
        let mut state = self.locked();
        let sent = match state.chunk.is_empty() {
            true => Ok(()),
            false => self.send_chunk(&mut state),
        };
        let sent = sent.and_then(|()| self.send(&mut state, bytes, length).map_err(|(refused, _)| refused));
        if sent.is_err() {
            self.release(length);
        }
        sent
    }

    /// The rest of a connection is not in the capture, from now on.
    pub fn lose(&self, lost: Lost) {
        self.locked().lost.push(lost);
    }

    /// Counts `bytes` of a reply that is being put together; false if there is no room for them.
    pub fn hold(&self, bytes: usize) -> bool {
        count(&self.held, bytes, self.held_max)
    }

    /// They are not held any more.
    pub fn let_go(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that wait, are being written, or are held.
    pub fn used(&self) -> usize {
        let counted = self.used.load(Ordering::Relaxed) + self.held.load(Ordering::Relaxed);
        counted + self.locked().chunk.len()
    }

    /// Bytes of chunks that wait or are being written, and how many there may be.
    pub fn waiting(&self) -> (usize, usize) {
        (self.used.load(Ordering::Relaxed), self.used_max)
    }

    fn reserve(&self, bytes: usize) -> bool {
        count(&self.used, bytes, self.used_max)
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Takes nothing more. What was taken is still handed to the writer.
    pub fn end(&self) {
        self.locked().sender = None;
        self.has_ended.store(true, Ordering::Release);
        // Whoever knows of the queue for longer has no use for their memory.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What the writer is to do next; waits for it up to `within`. For the one writer alone.
    pub fn next(&self, receiver: &Receiver<Filled>, within: Duration) -> Next {
        let is_over = match receiver.recv_timeout(within) {
            Ok(filled) => return Next::Filled(filled),
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let mut state = self.locked();
        // Chunks are sent under the lock: what is in the channel now is older than what is in the chunk.
        if let Ok(filled) = receiver.try_recv() {
            return Next::Filled(filled);
        }
        if !state.chunk.is_empty() || !state.lost.is_empty() {
            let bytes = std::mem::replace(&mut state.chunk, self.empty());
            let lost = std::mem::take(&mut state.lost);
            return Next::Filled(Filled { bytes, lost, weight: 0 });
        }
        if is_over { Next::Ended } else { Next::Nothing }
    }

    /// The writer is done with a chunk.
    pub fn done(&self, filled: Filled) {
        self.release(filled.weight);
        let mut bytes = filled.bytes;
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has_ended.load(Ordering::Acquire) && bytes.capacity() == CHUNK && spare.len() < SPARE_MAX {
            bytes.clear();
            spare.push(bytes);
        }
    }

    fn send_chunk(&self, state: &mut State) -> Result<(), Refused> {
        if !self.reserve(CHUNK) {
            return Err(Refused::Full);
        }
        let chunk = std::mem::take(&mut state.chunk);
        let sent = self.send(state, chunk, CHUNK);
        match sent {
            Ok(()) => state.chunk = self.empty(),
            Err((refused, chunk)) => {
                self.release(CHUNK);
                state.chunk = chunk;
                return Err(refused);
            }
        }
        Ok(())
    }

    fn send(&self, state: &mut State, bytes: Vec<u8>, weight: usize) -> Result<(), (Refused, Vec<u8>)> {
        let Some(sender) = &state.sender else { return Err((Refused::Ended, bytes)) };
        let lost = std::mem::take(&mut state.lost);
        let (refused, filled) = match sender.try_send(Filled { bytes, lost, weight }) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(filled)) => (Refused::Full, filled),
            Err(TrySendError::Disconnected(filled)) => (Refused::Ended, filled),
        };
        state.lost = filled.lost;
        Err((refused, filled.bytes))
    }

    fn empty(&self) -> Vec<u8> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(CHUNK))
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(counted: &AtomicUsize, bytes: usize, most: usize) -> bool {
    let more = |counted: usize| counted.checked_add(bytes).filter(|sum| *sum <= most);
    counted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

/// The record at the front of a chunk's bytes with its policy, and how many bytes both take.
pub fn take(bytes: &[u8]) -> Option<(Policy, Record<'_>, usize)> {
    let (policy, rest) = bytes.split_first()?;
    let (record, behind) = Record::decode(rest)?;
    Some((Policy::of(*policy), record, bytes.len() - behind.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::record::{Kind, Request};

    fn append(queue: &Queue, connection: u64, length: usize) -> Result<(), Refused> {
        let message = vec![7; length];
        let kind =
            Kind::Request(Request { number: 0, wants_none: false, withheld: false, message: &message });
        queue.append(Policy::Open, &Record { connection, time: 1, kind }, length)
    }

    fn connections(filled: &Filled) -> Vec<u64> {
        let mut rest = filled.bytes.as_slice();
        let mut found = Vec::new();
        while let Some((_, record, length)) = take(rest) {
            found.push(record.connection);
            rest = &rest[length..];
        }
        found
    }

    fn next(queue: &Queue, receiver: &Receiver<Filled>) -> Option<Filled> {
        match queue.next(receiver, Duration::ZERO) {
            Next::Filled(filled) => Some(filled),
            _ => None,
        }
    }

    #[test]
    fn records_come_out_in_the_order_in_which_they_went_in() {
        let (queue, receiver) = Queue::new(MEMORY_MAX);
        let lengths = [10, CHUNK, 20, CHUNK / 3, CHUNK / 3, CHUNK / 3, 3 * CHUNK, 5];
        for (connection, length) in (0..).zip(lengths) {
            append(&queue, connection, length).unwrap();
        }
        let mut found = Vec::new();
        while let Some(filled) = next(&queue, &receiver) {
            found.extend(connections(&filled));
            queue.done(filled);
        }
        assert_eq!(found, (0..8).collect::<Vec<_>>());
        assert_eq!(queue.used(), 0);
    }

    #[test]
    fn what_finds_no_room_is_refused_and_memory_stays_within_its_limit() {
        let (queue, receiver) = Queue::new(6 * CHUNK);
        let taken = (0..100).filter(|_| append(&queue, 1, CHUNK / 4).is_ok()).count();
        assert!((15..=16).contains(&taken), "{taken}");
        assert!(queue.used() <= 5 * CHUNK);
        assert_eq!(append(&queue, 1, CHUNK), Err(Refused::Full));
        queue.lose(Lost { connection: 1, time: 9, why: 1 });
        let filled = next(&queue, &receiver).unwrap();
        assert!(filled.lost.is_empty());
        queue.done(filled);
        append(&queue, 2, CHUNK / 4).unwrap();
        // The loss stands behind the last record of its connection.
        let mut seen = 0;
        while let Some(filled) = next(&queue, &receiver) {
            seen += connections(&filled).iter().filter(|connection| **connection == 1).count();
            if !filled.lost.is_empty() {
                assert_eq!((filled.lost[0].connection, seen + 3), (1, taken));
                return;
            }
            queue.done(filled);
        }
        panic!("the loss was lost");
    }

    #[test]
    fn replies_that_are_held_leave_room_for_records() {
        let (queue, _receiver) = Queue::new(6 * CHUNK);
        assert!(queue.hold(2 * CHUNK) && !queue.hold(1));
        assert_eq!((0..8).filter(|_| append(&queue, 1, CHUNK / 3).is_ok()).count(), 8);
        queue.let_go(2 * CHUNK);
        assert!(queue.hold(1));
    }

    #[test]
    fn at_the_end_all_that_was_taken_is_handed_over_and_nothing_more_is_taken() {
        let (queue, receiver) = Queue::new(MEMORY_MAX);
        append(&queue, 1, CHUNK).unwrap();
        append(&queue, 2, 5).unwrap();
        queue.end();
        assert_eq!(append(&queue, 3, 5), Err(Refused::Ended));
        assert_eq!(append(&queue, 3, CHUNK), Err(Refused::Ended));
        assert_eq!(connections(&next(&queue, &receiver).unwrap()), [1]);
        assert_eq!(connections(&next(&queue, &receiver).unwrap()), [2]);
        assert!(matches!(queue.next(&receiver, Duration::ZERO), Next::Ended));
    }
}
