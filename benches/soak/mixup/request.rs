//! What a client asks. Every command carries in its comment whose it is, which a server passes over and the fake checks.

use std::time::Duration;

use anyhow::Result;
use bson::{Document, doc};

use super::identity;
use crate::{checksum, wire};

/// The database and the collection.
pub const DATABASE: &str = "soak";
const COLLECTION: &str = "mixup";

/// With a checksum the request keeps its own number all the way to the server, so only the rule that a connection in mid-exchange
/// is never used again keeps two of one number apart. All such requests have this one.
pub const CHECKED_REQUEST_ID: i32 = 0x7000_0001;

/// Documents of one batch, and of a cursor in all, against a real server.
const BATCH: i32 = 2;
const CURSOR_LIMIT: i32 = 12;

fn message(request_id: i32, flags: u32, nonce: i64, last: bool, command: Document) -> Result<Vec<u8>> {
    let comment = doc! { "client": identity::client_of(nonce), "nonce": nonce, "last": last };
    commented(request_id, flags, comment, command)
}

fn commented(request_id: i32, flags: u32, comment: Document, mut command: Document) -> Result<Vec<u8>> {
    command.extend(doc! { "comment": comment, "$db": DATABASE });
    let mut out = Vec::new();
    wire::put_op_msg(&mut out, request_id, 0, flags, &command.to_vec()?);
    Ok(out)
}

fn find_command(nonce: i64) -> Document {
    doc! { "find": COLLECTION, "filter": { "_id": nonce }, "limit": 1, "singleBatch": true }
}

/// The one document of `nonce`.
pub fn find(request_id: i32, nonce: i64) -> Result<Vec<u8>> {
    message(request_id, 0, nonce, true, find_command(nonce))
}

/// The same, to be held for so long once it has arrived, which is noted. With a checksum if the number is
/// [`CHECKED_REQUEST_ID`].
pub fn find_held(request_id: i32, nonce: i64, hold: Duration) -> Result<Vec<u8>> {
    let hold = hold.as_micros() as i64;
    let comment = doc! { "client": identity::client_of(nonce), "nonce": nonce, "last": true, "hold": hold };
    let mut message = commented(request_id, 0, comment, find_command(nonce))?;
    if request_id == CHECKED_REQUEST_ID {
        checksum::append(&mut message);
    }
    Ok(message)
}

/// The same with a checksum.
pub fn find_checked(nonce: i64) -> Result<Vec<u8>> {
    let mut message = find(CHECKED_REQUEST_ID, nonce)?;
    checksum::append(&mut message);
    Ok(message)
}

/// A cursor over documents of `nonce`'s client.
pub fn open_cursor(request_id: i32, nonce: i64) -> Result<Vec<u8>> {
    let client = identity::client_of(nonce);
    let range = doc! { "$gte": identity::nonce(client, 0), "$lt": identity::nonce(client + 1, 0) };
    let command =
        doc! { "find": COLLECTION, "filter": { "_id": range }, "limit": CURSOR_LIMIT, "batchSize": BATCH };
    message(request_id, 0, nonce, false, command)
}

/// Its next batch, or all of the rest with [`wire::EXHAUST_ALLOWED`]. `last` asks the fake to end the cursor.
pub fn get_more(request_id: i32, flags: u32, nonce: i64, cursor: i64, last: bool) -> Result<Vec<u8>> {
    let command = doc! { "getMore": cursor, "collection": COLLECTION, "batchSize": BATCH };
    message(request_id, flags, nonce, last, command)
}

/// Stores the document of `nonce`; with [`wire::MORE_TO_COME`] nobody hears how it went.
pub fn insert(request_id: i32, flags: u32, nonce: i64) -> Result<Vec<u8>> {
    let w = i32::from(flags & wire::MORE_TO_COME == 0);
    let command = doc! { "insert": COLLECTION, "ordered": true, "writeConcern": { "w": w } };
    let mut out = message(request_id, flags, nonce, true, command)?;
    wire::append_document_sequence(&mut out, "documents", &identity::document(nonce).to_vec()?);
    Ok(out)
}

/// The first message of a connection.
pub fn hello(request_id: i32) -> Result<Vec<u8>> {
    let command = doc! {
        "hello": 1,
        "client": {
            "driver": { "name": "torana-soak", "version": env!("CARGO_PKG_VERSION") },
            "os": { "type": "Linux" }, "platform": "raw wire",
        },
        "$db": "admin",
    };
    let mut out = Vec::new();
    wire::put_op_msg(&mut out, request_id, 0, 0, &command.to_vec()?);
    Ok(out)
}
