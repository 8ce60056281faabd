//! Whether a reply belongs to its request.

use super::identity;
use crate::{checksum, wire};

/// What the reply must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The number that it must name as what it answers.
    pub request_id: i32,
    /// The nonce of the request.
    pub nonce: i64,
    /// Which documents it may bring.
    pub documents: Documents,
}

/// Which documents a reply may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Documents {
    /// Exactly one, of the request's own nonce.
    Own,
    /// Any of the client's.
    OfClient,
    /// None.
    None,
}

/// What a reply is.
#[derive(Debug)]
pub enum Verdict {
    /// The answer to the request.
    Right {
        /// Its cursor, 0 if that is closed.
        cursor: i64,
        /// Its own number, which a further reply will name, if one follows.
        more_after: Option<i32>,
    },
    /// An error: the operation did not run, or failed.
    Refused,
    /// Somebody else's.
    Wrong(String),
}

/// Judges a whole reply.
pub fn judge(message: &[u8], expected: &Expected) -> Verdict {
    match examine(message, expected) {
        Ok(verdict) => verdict,
        Err(what) => Verdict::Wrong(format!("request {:#x} of {expected:?} got {what}", expected.request_id)),
    }
}

fn examine(message: &[u8], expected: &Expected) -> Result<Verdict, String> {
    let (Some(request_id), Some(response_to)) = (wire::i32_at(message, 4), wire::i32_at(message, 8)) else {
        return Err("less than a header".to_owned());
    };
    if response_to != expected.request_id {
        return Err(format!("a reply to request {response_to:#x}"));
    }
    if !checksum::holds(message) {
        return Err("a reply with a wrong checksum".to_owned());
    }
    let body = wire::body(message).ok_or("a reply without a document")?;
    if !wire::is_ok(body) {
        return Ok(Verdict::Refused);
    }
    echo(body, expected)?;
    let cursor = wire::find_element(body, "cursor").map(|element| element.value);
    if let Some(cursor) = cursor {
        documents(cursor, expected)?;
    } else if expected.documents != Documents::None {
        return Err("a reply without documents".to_owned());
    }
    let id = cursor.and_then(|cursor| wire::find_element(cursor, "id")).and_then(|id| identity::number(&id));
    let more = wire::flag_bits(message) & wire::MORE_TO_COME != 0;
    Ok(Verdict::Right { cursor: id.unwrap_or(0), more_after: more.then_some(request_id) })
}

/// The fake says in every reply which request it answers.
fn echo(body: &[u8], expected: &Expected) -> Result<(), String> {
    match wire::find_element(body, "answers").and_then(|element| identity::number(&element)) {
        Some(nonce) if nonce != expected.nonce => Err(format!("the reply to nonce {nonce:#x}")),
        _ => Ok(()),
    }
}

fn documents(cursor: &[u8], expected: &Expected) -> Result<(), String> {
    let batch = ["firstBatch", "nextBatch"].iter().find_map(|name| wire::find_element(cursor, name));
    let batch = batch.ok_or("a cursor without a batch")?;
    let mut count = 0;
    for document in wire::elements(batch.value) {
        let nonce = identity::check(document.value)?;
        let fits = match expected.documents {
            Documents::Own => nonce == expected.nonce,
            Documents::OfClient => identity::client_of(nonce) == identity::client_of(expected.nonce),
            Documents::None => false,
        };
        if !fits {
            return Err(format!("document {nonce:#x}"));
        }
        count += 1;
    }
    match expected.documents {
        Documents::Own if count != 1 => Err(format!("{count} documents")),
        _ => Ok(()),
    }
}
