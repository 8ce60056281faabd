//! Messages out of the bytes of one direction. Where the beginning of a connection was not seen, it looks for the next place
//! at which a message can begin.

use super::taker::REPLY_MAX;
use crate::capture::MESSAGE_MAX;
use crate::capture::facts::{Facts, Passing};
use crate::wire::{HEADER_LEN, Header, MESSAGE_MAX as WIRE_MAX, Opcode, Side, read_i32};

/// OP_COMMAND and OP_COMMANDREPLY, which have lengths as all have.
const OLD: [i32; 2] = [2010, 2011];

/// As much of a message is looked at to tell whether it is one: header, flag bits, the front of a section or a namespace.
const LOOK: usize = 26;

/// What comes out.
#[derive(Debug)]
pub enum Framed<'a> {
    /// A whole message.
    Whole(&'a [u8]),
    /// A reply that is longer than what is kept.
    Passed(Header, Facts),
    /// A request that is longer than what is kept: its rest, and what follows, is not read.
    TooLong,
}

/// No message begins where one has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfStep;

/// A direction's messages.
#[derive(Debug)]
pub struct Framer {
    side: Side,
    buffer: Vec<u8>,
    /// So much of the buffer has been given.
    given: usize,
    mode: Mode,
    passed_over: u64,
}

#[derive(Debug)]
enum Mode {
    /// For a place at which a message can begin.
    Looking,
    Reading,
    /// Through a reply that is not kept, of which so many bytes are to come.
    Passing {
        passing: Box<Passing>,
        header: Header,
        left: usize,
    },
    Over,
}

impl Framer {
    /// Of what `side` sends: from its first byte on, or from somewhere.
    pub fn new(side: Side, from_the_first: bool) -> Framer {
        let mode = if from_the_first { Mode::Reading } else { Mode::Looking };
        Framer { side, buffer: Vec::new(), given: 0, mode, passed_over: 0 }
    }

    /// Bytes in memory.
    pub fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// Bytes that were passed over before the first message.
    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Takes the next bytes of the direction. What they make is given by [`Framer::message`], which is to be called until
    /// there is nothing.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.given);
        self.given = 0;
        if !matches!(self.mode, Mode::Over) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next message that is whole.
    pub fn message(&mut self) -> Result<Option<Framed<'_>>, OutOfStep> {
        loop {
            if self.given >= self.buffer.len() {
                (self.buffer, self.given) = (Vec::new(), 0);
                return Ok(None);
            }
            match &mut self.mode {
                Mode::Over => return Ok(None),
                Mode::Looking => {
                    if !self.look() {
                        return Ok(None);
                    }
                    self.mode = Mode::Reading;
                }
                Mode::Reading => match self.read()? {
                    Some(length) if length > 0 => {
                        let from = self.given;
                        self.given += length;
                        return Ok(self.buffer.get(from..self.given).map(Framed::Whole));
                    }
                    Some(_) if matches!(self.mode, Mode::Over) => return Ok(Some(Framed::TooLong)),
                    Some(_) => {}
                    None => return Ok(None),
                },
                Mode::Passing { passing, header, left } => {
                    let ahead = self.buffer.get(self.given..).unwrap_or_default();
                    let more = (*left).min(ahead.len());
                    passing.pass(&ahead[..more]);
                    *left -= more;
                    self.given += more;
                    if *left == 0 {
                        let passed = Framed::Passed(*header, passing.facts());
                        self.mode = Mode::Reading;
                        return Ok(Some(passed));
                    }
                }
            }
        }
    }

    /// Passes over what no message can begin with. Whether one begins behind that.
    fn look(&mut self) -> bool {
        let ahead = self.buffer.get(self.given..).unwrap_or_default();
        let place = (0..ahead.len()).find(|at| can_begin(&ahead[*at..], self.side) != Some(false));
        let place = place.unwrap_or(ahead.len());
        let found = can_begin(&ahead[place..], self.side) == Some(true);
        self.given += place;
        self.passed_over += place as u64;
        found
    }

    /// The length of the message that is next, once it is whole; 0 if it is not to be kept, which the mode then says.
    fn read(&mut self) -> Result<Option<usize>, OutOfStep> {
        let ahead = self.buffer.get(self.given..).unwrap_or_default();
        let Some(length) = length(ahead, self.side)? else { return Ok(None) };
        let is_request = self.side == Side::Client;
        if is_request && length > MESSAGE_MAX {
            self.mode = Mode::Over;
            return Ok(Some(0));
        }
        let header = Header::peek(ahead, self.side, WIRE_MAX).ok().flatten();
        match header.filter(|_| length > REPLY_MAX && !is_request) {
            Some(header) => {
                self.mode = Mode::Passing { passing: Box::default(), header, left: length };
                Ok(Some(0))
            }
            None => Ok((ahead.len() >= length).then_some(length)),
        }
    }
}

/// The length of the message at the front of these bytes, once its header is there.
fn length(bytes: &[u8], side: Side) -> Result<Option<usize>, OutOfStep> {
    if bytes.len() < HEADER_LEN {
        return Ok(None);
    }
    let length = read_i32(bytes, 0).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let opcode = read_i32(bytes, 12).unwrap_or(0);
    match (HEADER_LEN..=WIRE_MAX).contains(&length) && is_sent_by(opcode, side) {
        true => Ok(Some(length)),
        false => Err(OutOfStep),
    }
}

fn is_sent_by(opcode: i32, side: Side) -> bool {
    match Opcode::from_i32(opcode) {
        Some(Opcode::Msg | Opcode::Compressed) => true,
        Some(Opcode::Reply) => side != Side::Client,
        Some(_) => side == Side::Client,
        None => OLD.contains(&opcode),
    }
}

/// Whether a message of `side` can begin with these bytes; `None` if there are too few of them to tell.
fn can_begin(bytes: &[u8], side: Side) -> Option<bool> {
    if bytes.len() < LOOK {
        return None;
    }
    let field = |at: usize| read_i32(bytes, at).unwrap_or(-1);
    let Ok(Some(length)) = length(bytes, side) else { return Some(false) };
    let answers_nothing = field(8) == 0;
    if answers_nothing != (side == Side::Client) {
        return Some(false);
    }
    let flags = field(HEADER_LEN);
    Some(match Opcode::from_i32(field(12)) {
        // Checksum, more to come, exhaust allowed; then a document or a sequence that fits.
        Some(Opcode::Msg) => {
            let section = usize::try_from(field(21)).unwrap_or(0);
            flags & !0x1_0003 == 0 && bytes[20] <= 1 && section >= 5 && section <= length.saturating_sub(21)
        }
        Some(Opcode::Compressed) => {
            let unpacked = usize::try_from(field(20)).unwrap_or(usize::MAX);
            Opcode::from_i32(flags).is_some() && unpacked <= WIRE_MAX && bytes[24] <= 3
        }
        Some(Opcode::Reply) => (0..16).contains(&flags) && length >= 36,
        // Flags, or a zero; then a namespace, or a number of cursors.
        Some(_) => (0..256).contains(&flags) && bytes[20].is_ascii() && length > 24,
        None => false,
    })
}

/// Whether these bytes begin with the header of a message, whoever sent it.
pub fn has_header(bytes: &[u8]) -> bool {
    [Side::Client, Side::Server].into_iter().any(|side| matches!(length(bytes, side), Ok(Some(_))))
}
