//! Whose a document is. The nonce says it, and everything else in the document follows from the nonce, so that a single byte of
//! somebody else's shows.

use std::sync::LazyLock;

use bson::{Document, doc};

use crate::wire;

/// Numbers of a client's documents.
const SEQUENCE_BITS: u32 = 32;
/// One document in so many is large: its reply is streamed in pieces, and can be cut in the middle.
pub const LARGE_EVERY: i64 = 128;
/// One in so many does not fit one read buffer of torana (16 KiB).
const MIDDLE_EVERY: i64 = 16;
const LARGE_LEN: usize = 200_000;
/// Letters from a to w: a prime number, so that no power of two brings two documents into step.
const CYCLE_LEN: usize = 23;
const MIDDLE_LEN: usize = 20_000;

/// The nonce of document number `sequence` of `client`.
pub fn nonce(client: i64, sequence: i64) -> i64 {
    (client << SEQUENCE_BITS) | sequence
}

/// The client that `nonce` belongs to.
pub fn client_of(nonce: i64) -> i64 {
    nonce >> SEQUENCE_BITS
}

fn fill_len(nonce: i64) -> usize {
    match nonce {
        nonce if nonce % LARGE_EVERY == 0 => LARGE_LEN,
        nonce if nonce % MIDDLE_EVERY == 0 => MIDDLE_LEN,
        nonce => 20 + (nonce % 97) as usize,
    }
}

/// The letters that a document of `nonce` is filled with: a cycle that begins elsewhere for each of its neighbours.
fn fill(nonce: i64) -> &'static str {
    static LETTERS: LazyLock<String> =
        LazyLock::new(|| ('a'..='w').cycle().take(LARGE_LEN + CYCLE_LEN).collect());
    let begin = nonce.wrapping_mul(7).rem_euclid(CYCLE_LEN as i64) as usize;
    LETTERS.get(begin..begin + fill_len(nonce)).unwrap_or_default()
}

/// The document that `nonce` stands for.
pub fn document(nonce: i64) -> Document {
    doc! { "_id": nonce, "client": client_of(nonce), "nonce": nonce, "fill": fill(nonce) }
}

/// The nonce of a document, if all that is in it belongs to that nonce; otherwise what does not.
pub fn check(document: &[u8]) -> Result<i64, String> {
    let number = |key| wire::find_element(document, key).and_then(|element| number(&element));
    let (Some(id), Some(client), Some(nonce)) = (number("_id"), number("client"), number("nonce")) else {
        return Err(format!("a document of {} bytes without an identity", document.len()));
    };
    if id != nonce || client != client_of(nonce) {
        return Err(format!("a document with _id {id:#x}, client {client}, nonce {nonce:#x}"));
    }
    let found = wire::find_element(document, "fill").and_then(|fill| fill.value.get(4..)?.split_last());
    let Some((_, found)) = found else { return Err(format!("document {nonce:#x} without fill")) };
    let own = fill(nonce).as_bytes();
    if found == own {
        return Ok(nonce);
    }
    match found.iter().zip(own).position(|(found, own)| found != own) {
        Some(at) => Err(format!("document {nonce:#x} with foreign bytes from {at} of {}", found.len())),
        None => Err(format!("document {nonce:#x} of {} bytes in place of {}", found.len(), own.len())),
    }
}

/// A number, whichever of the three types it came in.
pub fn number(element: &wire::Element<'_>) -> Option<i64> {
    match element.kind {
        0x10 => wire::i32_at(element.value, 0).map(i64::from),
        0x12 => Some(i64::from_le_bytes(element.value.try_into().ok()?)),
        0x01 => Some(f64::from_le_bytes(element.value.try_into().ok()?) as i64),
        _ => None,
    }
}
