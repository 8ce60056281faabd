//! Read buffers, and the free lists that they come from.
//!
//! An idle client holds no buffer: ten thousand of them would otherwise hold 160 MB. A buffer is taken for the
//! duration of one poll and given back when there was nothing to read. Buffers are zeroed once, when they are
//! made, so that no uninitialised memory is ever handed to a read.

use std::sync::{Mutex, PoisonError};

/// Bytes of a usual buffer: one read takes in a request, or a reply of a hundred small documents.
pub const BUFFER_LEN: usize = 16 * 1024;

/// Bytes of a buffer for streaming a large reply: fewer system calls a megabyte, still bounded a client.
pub const LARGE_LEN: usize = 128 * 1024;

/// Free buffers of each size that are kept. More than are in use at once on a busy proxy, few enough to forget.
const KEPT: usize = 256;
const KEPT_LARGE: usize = 32;

/// Bytes read and not yet consumed, at the front of a fixed piece of memory.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty buffer of `length` bytes.
    pub fn new(length: usize) -> Self {
        Buffer { bytes: vec![0; length].into_boxed_slice(), start: 0, end: 0 }
    }

    /// What was read and not consumed.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The same, to be patched in place.
    pub fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Whether nothing is left to consume.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes left to consume.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it is of the size that requests and most replies are read into.
    pub fn is_usual(&self) -> bool {
        self.bytes.len() == BUFFER_LEN
    }

    /// Room behind the unread bytes.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// Counts `n` bytes of the space as read.
    pub fn filled(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len());
    }

    /// Drops `n` bytes from the front.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Moves the unread bytes to the front, so that all other room is behind them.
    pub fn compact(&mut self) {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
    }

    /// Drops all unread bytes.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Makes room for `length` bytes in all, counted from the first unread one.
    #[inline]
    pub fn reserve(&mut self, length: usize) {
        if self.start + length > self.bytes.len() {
            self.make_room(length);
        }
    }

    #[cold]
    fn make_room(&mut self, length: usize) {
        if length <= self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
        } else {
            let mut larger = vec![0; length].into_boxed_slice();
            larger[..self.len()].copy_from_slice(self.unread());
            self.bytes = larger;
        }
        (self.start, self.end) = (0, self.end - self.start);
    }
}

impl Buffer {
    /// Puts `with` in the place of the unread bytes in `range`, which must be among them, and leaves room for `more`
    /// behind the last. Grows if need be.
    pub fn splice(&mut self, range: std::ops::Range<usize>, with: &[u8], more: usize) {
        let length = self.len() - range.len() + with.len();
        self.reserve(length.max(self.len()) + more);
        let (at, behind) = (self.start + range.start, self.start + range.end);
        self.bytes.copy_within(behind..self.end, at + with.len());
        self.bytes[at..at + with.len()].copy_from_slice(with);
        self.end = self.start + length;
    }
}

/// Free lists of buffers, shared by the clients of a proxy.
#[derive(Debug, Default)]
pub struct BufferPool {
    free: Mutex<Vec<Buffer>>,
    free_large: Mutex<Vec<Buffer>>,
}

impl BufferPool {
    /// An empty buffer of [`BUFFER_LEN`] bytes.
    pub fn take(&self) -> Buffer {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| Buffer::new(BUFFER_LEN))
    }

    /// An empty buffer of [`LARGE_LEN`] bytes.
    pub fn take_large(&self) -> Buffer {
        let free = self.free_large.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| Buffer::new(LARGE_LEN))
    }

    /// Takes a buffer back, whatever is in it. Buffers of unusual sizes, and those above the number kept, are freed.
    pub fn give(&self, mut buffer: Buffer) {
        let (list, kept) = match buffer.bytes.len() {
            BUFFER_LEN => (&self.free, KEPT),
            LARGE_LEN => (&self.free_large, KEPT_LARGE),
            _ => return,
        };
        buffer.clear();
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < kept {
            list.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(bytes: &[u8], length: usize) -> Buffer {
        let mut buffer = Buffer::new(length);
        buffer.space()[..bytes.len()].copy_from_slice(bytes);
        buffer.filled(bytes.len());
        buffer
    }

    #[test]
    fn making_room_keeps_the_unread_bytes() {
        let mut buffer = holding(b"abcdef", 8);
        buffer.consume(4);
        buffer.reserve(7);
        assert_eq!(buffer.unread(), b"ef");
        assert_eq!(buffer.space().len(), 6);
        buffer.reserve(100);
        assert_eq!(buffer.unread(), b"ef");
        assert_eq!(buffer.space().len(), 98);
    }

    #[test]
    fn a_part_is_replaced_by_a_longer_or_shorter_one() {
        let mut buffer = holding(b"--abcdef", 10);
        buffer.consume(2);
        buffer.splice(1..3, b"XYZ12", 0);
        assert_eq!(buffer.unread(), b"aXYZ12def");
        buffer.splice(1..6, b"", 4);
        assert_eq!(buffer.unread(), b"adef");
        buffer.splice(4..4, b"end", 100);
        assert_eq!(buffer.unread(), b"adefend");
        assert!(buffer.space().len() >= 100);
    }

    #[test]
    fn a_buffer_given_back_comes_out_empty() {
        let pool = BufferPool::default();
        let mut buffer = pool.take();
        buffer.filled(100);
        pool.give(buffer);
        assert!(pool.take().is_empty());
    }

    #[test]
    fn odd_sizes_are_not_kept() {
        let pool = BufferPool::default();
        pool.give(Buffer::new(12));
        assert_eq!(pool.take().space().len(), BUFFER_LEN);
    }
}
