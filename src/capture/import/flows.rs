//! TCP connections out of segments, and what was said on them.
//!
//! The server's end is told by its port. What is kept in memory is bounded, for each connection and in all; one that goes
//! beyond that, or lacks bytes, is dropped from that point on, as the recorder of a proxy does it.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::error::ImportError;
use super::framer::{Framed, Framer, has_header};
use super::half::Half;
use super::segment::Segment;
use super::taker::{Connection, Ends, Taker};
use super::tally::Skip;
use super::tape::Tape;
use crate::capture::{Form, LostWhy};
use crate::wire::Side;

/// Connections that are followed, those that have just ended among them.
const FLOWS_MAX: usize = 100_000;

/// Bytes in memory: what came out of order, and messages that are not whole yet.
const HELD_MAX: usize = 256 << 20;

/// After so many packets that found no room it is looked again for connections that can be forgotten.
const SWEEP_EVERY: u64 = 10_000;

/// How long a connection that has ended is remembered, nanoseconds: what comes of it once more is not the middle of another.
const REMEMBERED: i64 = 60_000_000_000;

/// The ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    client: SocketAddr,
    server: SocketAddr,
}

/// A connection.
#[derive(Debug)]
enum Flow {
    Open(Box<Open>),
    /// It has ended, or was dropped.
    Ended(i64),
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    client: String,
    server: String,
    /// What the client sends, and the server.
    directions: [Direction; 2],
    has_bytes: bool,
    /// A message was found in it.
    has_messages: bool,
}

#[derive(Debug)]
struct Direction {
    half: Half,
    framer: Option<Framer>,
    side: Side,
}

/// Why the rest of a connection is not taken.
enum Drop {
    Lost(Skip, LostWhy),
    Failed(ImportError),
}

impl From<ImportError> for Drop {
    fn from(error: ImportError) -> Drop {
        Drop::Failed(error)
    }
}

/// All connections.
#[derive(Debug)]
pub struct Flows {
    ports: Vec<u16>,
    flows: HashMap<Key, Flow>,
    flows_max: usize,
    refused: u64,
    held: usize,
    held_max: usize,
    /// Packets of other ports, by the lower port of the two.
    others: HashMap<u16, u64>,
}

impl Flows {
    /// Of servers on these ports.
    pub fn new(ports: &[u16]) -> Flows {
        Flows::with_limits(ports, FLOWS_MAX, HELD_MAX)
    }

    /// With other limits: of connections, and of bytes in memory.
    pub fn with_limits(ports: &[u16], flows_max: usize, held_max: usize) -> Flows {
        let (flows, others) = (HashMap::new(), HashMap::new());
        Flows { ports: ports.to_vec(), flows, flows_max, refused: 0, held: 0, held_max, others }
    }

    /// The port that most packets of other ports were of.
    pub fn busiest_other(&self) -> Option<u16> {
        self.others.iter().max_by_key(|(port, count)| (**count, **port)).map(|(port, _)| *port)
    }

    /// Takes a segment that was captured at `time`.
    pub fn take<T: Tape>(
        &mut self,
        time: i64,
        segment: &Segment<'_>,
        taker: &mut Taker<T>,
    ) -> Result<(), ImportError> {
        let Some((key, from)) = self.key(segment) else {
            taker.tally.skip(Skip::OtherPort);
            *self.others.entry(segment.from.port().min(segment.to.port())).or_default() += 1;
            return Ok(());
        };
        if self.opens_another(&key, segment) {
            self.end(key, time, false, taker)?;
            self.flows.remove(&key);
        }
        if !self.flows.contains_key(&key) && !self.begin(key, time, segment) {
            if !segment.payload.is_empty() {
                taker.tally.skip(Skip::TooManyConnections);
            }
            return Ok(());
        }
        let Some(Flow::Open(open)) = self.flows.get_mut(&key) else { return Ok(()) };
        let before = open.held();
        let taken = open.take(time, from, segment, taker);
        self.held = (self.held + open.held()).saturating_sub(before);
        let is_over = open.directions.iter().any(|direction| direction.half.is_over());
        match taken {
            Err(Drop::Failed(error)) => return Err(error),
            Err(Drop::Lost(skip, why)) => return self.lose(key, time, skip, why, taker),
            Ok(()) => {}
        }
        if self.held > self.held_max {
            return self.lose(key, time, Skip::Memory, LostWhy::Missing, taker);
        }
        // Whoever ends it first; a server's end, or a reset, is not the client's order.
        match is_over || segment.rst {
            true => self.end(key, time, from == 0 && !segment.rst, taker),
            false => Ok(()),
        }
    }

    /// Whether a segment opens another connection between the ends of one that is known.
    fn opens_another(&mut self, key: &Key, segment: &Segment<'_>) -> bool {
        let opens = segment.syn && !segment.ack;
        match self.flows.get_mut(key) {
            // Its own beginning, said again, is no other connection.
            Some(Flow::Open(open)) => opens && open.directions[0].half.begin(segment.sequence),
            Some(Flow::Ended(_)) => opens,
            None => false,
        }
    }

    /// There are no more segments: of what waited for others, and of what was never MongoDB's, is told.
    pub fn finish<T: Tape>(mut self, time: i64, taker: &mut Taker<T>) -> Result<(), ImportError> {
        let keys: Vec<Key> = self.flows.keys().copied().collect();
        for key in keys {
            let Some(Flow::Open(open)) = self.flows.get(&key) else { continue };
            match open.has_gap() {
                true => self.lose(key, time, Skip::Gap, LostWhy::Missing, taker)?,
                false => open.tell(taker),
            }
        }
        Ok(())
    }

    /// The connection of a segment, and who sent it: 0 the client, 1 the server.
    fn key(&self, segment: &Segment<'_>) -> Option<(Key, usize)> {
        let is_server = |end: SocketAddr| self.ports.contains(&end.port());
        let (from, to) = (segment.from, segment.to);
        let up = (Key { client: from, server: to }, 0);
        let down = (Key { client: to, server: from }, 1);
        match (is_server(from), is_server(to)) {
            (false, false) => None,
            (false, true) => Some(up),
            (true, false) => Some(down),
            // Servers among themselves: whoever was seen to ask first.
            (true, true) => {
                let is_down = self.flows.contains_key(&down.0) || (segment.syn && segment.ack);
                Some(if is_down { down } else { up })
            }
        }
    }

    /// Follows another connection from here on. False if there are too many, or there is nothing of it yet.
    fn begin(&mut self, key: Key, time: i64, segment: &Segment<'_>) -> bool {
        if segment.payload.is_empty() && !segment.syn && !segment.is_cut {
            return false;
        }
        let is_full = self.flows.len() >= self.flows_max;
        if is_full && self.refused.is_multiple_of(SWEEP_EVERY) {
            let is_recent = |flow: &Flow| match flow {
                Flow::Open(_) => true,
                Flow::Ended(at) => time.saturating_sub(*at) < REMEMBERED,
            };
            self.flows.retain(|_, flow| is_recent(flow));
        }
        if self.flows.len() >= self.flows_max {
            self.refused += 1;
            return false;
        }
        let direction = |side| Direction { half: Half::default(), framer: None, side };
        let open = Open {
            connection: Connection::default(),
            client: key.client.to_string(),
            server: key.server.to_string(),
            directions: [direction(Side::Client), direction(Side::Server)],
            has_bytes: false,
            has_messages: false,
        };
        self.flows.insert(key, Flow::Open(Box::new(open)));
        true
    }

    fn lose<T: Tape>(
        &mut self,
        key: Key,
        time: i64,
        skip: Skip,
        why: LostWhy,
        taker: &mut Taker<T>,
    ) -> Result<(), ImportError> {
        let Some(mut open) = self.ended(key, time) else { return Ok(()) };
        match open.has_messages || skip == Skip::Tls || skip == Skip::OtherProtocol {
            true => taker.tally.skip(skip),
            false => taker.tally.skip(Skip::OtherProtocol),
        }
        taker.lose(&mut open.connection, time, why)
    }

    fn end<T: Tape>(
        &mut self,
        key: Key,
        time: i64,
        in_order: bool,
        taker: &mut Taker<T>,
    ) -> Result<(), ImportError> {
        if matches!(self.flows.get(&key), Some(Flow::Open(open)) if open.has_gap()) {
            return self.lose(key, time, Skip::Gap, LostWhy::Missing, taker);
        }
        let Some(mut open) = self.ended(key, time) else { return Ok(()) };
        open.tell(taker);
        taker.close(&mut open.connection, time, in_order)
    }

    /// Gives the memory of a connection back.
    fn ended(&mut self, key: Key, time: i64) -> Option<Box<Open>> {
        let flow = self.flows.get_mut(&key)?;
        match std::mem::replace(flow, Flow::Ended(time)) {
            Flow::Open(open) => {
                self.held = self.held.saturating_sub(open.held());
                Some(open)
            }
            Flow::Ended(_) => None,
        }
    }
}

impl Open {
    fn held(&self) -> usize {
        self.directions
            .iter()
            .map(|direction| direction.half.held() + direction.framer.as_ref().map_or(0, Framer::held))
            .sum()
    }

    fn has_gap(&self) -> bool {
        self.directions.iter().any(|direction| direction.half.has_gap())
    }

    fn take<T: Tape>(
        &mut self,
        time: i64,
        from: usize,
        segment: &Segment<'_>,
        taker: &mut Taker<T>,
    ) -> Result<(), Drop> {
        let [up, down] = &mut self.directions;
        let direction = if from == 0 { up } else { down };
        if segment.syn {
            direction.half.begin(segment.sequence);
        }
        // The number of a segment that opens a direction is that of the opening itself.
        let sequence = segment.sequence.wrapping_add(u32::from(segment.syn));
        let from_the_first = segment.syn || direction.half.has_begun();
        if !segment.payload.is_empty() {
            self.has_bytes = true;
            let side = direction.side;
            direction.framer.get_or_insert_with(|| Framer::new(side, from_the_first));
            let gap = |_| Drop::Lost(Skip::Gap, LostWhy::Missing);
            let next = direction.half.take(time, sequence, segment.payload).map_err(gap)?;
            if let Some(next) = next {
                self.bytes(time, from, next, taker)?;
                while let Some(waited) = self.directions[from].half.waited() {
                    self.bytes(time, from, &waited, taker)?;
                }
            }
        }
        if segment.is_cut {
            return Err(Drop::Lost(Skip::SnapLength, LostWhy::Missing));
        }
        if segment.fin {
            self.directions[from].half.ends(sequence, segment.payload.len());
        }
        Ok(())
    }

    /// The next bytes of a direction.
    fn bytes<T: Tape>(
        &mut self,
        time: i64,
        from: usize,
        bytes: &[u8],
        taker: &mut Taker<T>,
    ) -> Result<(), Drop> {
        if !self.has_messages && is_tls(bytes) {
            return Err(Drop::Lost(Skip::Tls, LostWhy::OutOfStep));
        }
        let direction = &mut self.directions[from];
        let Some(framer) = &mut direction.framer else { return Ok(()) };
        framer.push(bytes);
        let ends = Ends { client: &self.client, member: &self.server, application: "" };
        let out_of_step = |_| Drop::Lost(Skip::OutOfStep, LostWhy::OutOfStep);
        while let Some(framed) = framer.message().map_err(out_of_step)? {
            self.has_messages = true;
            match framed {
                Framed::Whole(message) => {
                    taker.message(&mut self.connection, ends, time, direction.side, message)?;
                }
                Framed::Passed(header, facts) => {
                    taker.reply(&mut self.connection, time, header, facts, Form::TooLarge, 0)?;
                }
                Framed::TooLong => return Err(Drop::Lost(Skip::LongRequest, LostWhy::TooLong)),
            }
        }
        Ok(())
    }

    /// Tells what of a connection was none of MongoDB's.
    fn tell<T: Tape>(&self, taker: &mut Taker<T>) {
        if self.has_bytes && !self.has_messages {
            taker.tally.skip(Skip::OtherProtocol);
            return;
        }
        let framers = self.directions.iter().filter_map(|direction| direction.framer.as_ref());
        taker.tally.add(Skip::MidStream, framers.map(Framer::passed_over).sum());
    }
}

/// Whether bytes begin with a record of TLS: its kind, its version, a length of at most 16 KiB and what encryption adds. The
/// length of a message can look the same, but then an opcode follows.
fn is_tls(bytes: &[u8]) -> bool {
    let Some([0x14..=0x17, 3, 0..=4, high, low]) = bytes.first_chunk() else { return false };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    (1..=(16 << 10) + 2048).contains(&length) && !has_header(bytes)
}
