//! A read whose answer is on its way to the client: the request as it was read, and the reply as it is written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shadow;
use super::budget::Share;
use crate::capture::Role;
use crate::metrics::ShadowDrop;
use crate::wire::{HEADER_LEN, Header, MESSAGE_MAX, Side};

/// Bytes of a read beside its two messages, about. Each counts, so that the number of those that wait is bounded too.
pub const BESIDE: usize = 1024;

/// The longest answer that is compared, bytes: what comparing takes stays within a millisecond or two.
pub const ANSWER_MAX: usize = 1 << 20;

/// A read, with its answer: what the second set is asked.
#[derive(Debug)]
pub struct Read {
    /// The request as the client sent it.
    pub request: Vec<u8>,
    /// The answer as the client got it.
    pub reply: Vec<u8>,
    /// How long the first set took.
    pub took: Duration,
    /// What the member was that answered.
    pub role: Role,
    /// When the request was read.
    pub received: Instant,
    /// Since when it waits to be asked.
    pub ready: Instant,
    /// How often the second set has been asked.
    pub asked: usize,
    share: Share,
}

/// A read whose answer is not written yet. Dropped before that, it counts as one without an answer.
#[derive(Debug)]
pub struct Pending {
    shadow: Arc<Shadow>,
    /// What its answer must name.
    id: i32,
    /// `None` once it was handed over, or dropped.
    read: Option<Read>,
    /// The server has answered: what is written is no refusal of torana's own.
    is_answered: bool,
    /// Bytes of the reply, once its header has come.
    length: Option<usize>,
}

impl Pending {
    pub(super) fn new(shadow: Arc<Shadow>, message: &[u8], id: i32, role: Role, share: Share) -> Pending {
        let now = Instant::now();
        let read = Read {
            request: message.to_vec(),
            reply: Vec::new(),
            role,
            received: now,
            ready: now,
            took: Duration::ZERO,
            asked: 0,
            share,
        };
        Pending { shadow, id, read: Some(read), is_answered: false, length: None }
    }

    /// The server took so long.
    pub fn took(&mut self, took: Duration) {
        if let Some(read) = &mut self.read {
            read.took = took;
            self.is_answered = true;
        }
    }

    /// Takes what was written to the client. False: nothing more is wanted.
    pub fn written(&mut self, bytes: &[u8]) -> bool {
        match self.take(bytes) {
            Ok(false) => true,
            Ok(true) => {
                if let Some(mut read) = self.read.take() {
                    read.ready = Instant::now();
                    self.shadow.offer(read);
                }
                false
            }
            Err(why) => {
                self.read = None;
                self.shadow.core.lose(why);
                false
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<bool, ShadowDrop> {
        let Some(read) = &mut self.read else { return Ok(true) };
        if !self.is_answered {
            return Err(ShadowDrop::Unanswered);
        }
        let length = match self.length {
            Some(length) => length,
            None => {
                let front = (HEADER_LEN - read.reply.len()).min(bytes.len());
                let (more, behind) = bytes.split_at(front);
                read.reply.extend_from_slice(more);
                bytes = behind;
                let Some(length) = length(&read.reply, self.id)? else { return Ok(false) };
                if !read.share.grow(length) {
                    return Err(ShadowDrop::QueueFull);
                }
                read.reply.reserve_exact(length - HEADER_LEN);
                *self.length.insert(length)
            }
        };
        let more = (length - read.reply.len()).min(bytes.len());
        read.reply.extend_from_slice(bytes.get(..more).unwrap_or_default());
        Ok(read.reply.len() == length)
    }
}

/// Bytes of the reply that begins with `front`, if its header is there.
fn length(front: &[u8], id: i32) -> Result<Option<usize>, ShadowDrop> {
    match Header::peek(front, Side::Server, MESSAGE_MAX) {
        Ok(Some(header)) if header.length > ANSWER_MAX => Err(ShadowDrop::TooLarge),
        Ok(Some(header)) if header.response_to == id => Ok(Some(header.length)),
        Ok(None) => Ok(None),
        _ => Err(ShadowDrop::Unanswered),
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.read.is_some() {
            self.shadow.core.lose(ShadowDrop::Unanswered);
        }
    }
}
