//! The null server's prebuilt replies: one copy and two patched words an operation.

use anyhow::Result;
use bson::spec::BinarySubtype;
use bson::{Binary, Document, Timestamp, doc};

use crate::wire::{self, Header};
use crate::workload;

/// Whole OP_MSG messages, finished but for their two numbers.
pub(super) struct Replies {
    found: Vec<u8>,
    written: Vec<u8>,
    more: Vec<u8>,
    ok: Vec<u8>,
}

impl Replies {
    /// Prebuilds them; a find returns one document of about `reply_bytes`.
    pub(super) fn new(reply_bytes: usize) -> Result<Replies> {
        let least = workload::document(workload::document_id(0), 0).to_vec()?.len();
        let document = workload::document(workload::document_id(0), reply_bytes.saturating_sub(least));
        let namespace = format!("{}.{}", workload::DATABASE, workload::ITEMS);
        let cursor = |batch: &str| doc! { batch: [&document], "id": 0_i64, "ns": &namespace };
        Ok(Replies {
            found: finished(doc! { "cursor": cursor("firstBatch"), "ok": 1.0 })?,
            written: finished(doc! { "n": 1, "nModified": 1, "ok": 1.0 })?,
            more: finished(doc! { "cursor": cursor("nextBatch"), "ok": 1.0 })?,
            ok: finished(doc! { "ok": 1.0 })?,
        })
    }

    /// Appends the reply to the command called `name`.
    pub(super) fn put(&self, name: &[u8], request: Header, request_id: i32, out: &mut Vec<u8>) {
        let reply = match name {
            b"find" | b"aggregate" => &self.found,
            b"insert" | b"update" | b"delete" => &self.written,
            b"getMore" => &self.more,
            _ => &self.ok,
        };
        if request.opcode == wire::OP_QUERY {
            wire::put_op_reply(out, request_id, request.request_id, wire::body(reply).unwrap_or_default());
            return;
        }
        let start = out.len();
        out.extend_from_slice(reply);
        out[start + 4..start + 8].copy_from_slice(&request_id.to_le_bytes());
        out[start + 8..start + 12].copy_from_slice(&request.request_id.to_le_bytes());
    }
}

fn finished(mut body: Document) -> Result<Vec<u8>> {
    gossip(&mut body, Timestamp { time: 1, increment: 1 });
    let mut message = Vec::new();
    wire::put_op_msg(&mut message, 0, 0, 0, &body.to_vec()?);
    Ok(message)
}

/// What every reply of a member carries, signed with the empty key of a server without authentication.
pub(super) fn gossip(body: &mut Document, time: Timestamp) {
    let hash = Binary { subtype: BinarySubtype::Generic, bytes: vec![0; 20] };
    body.insert("$clusterTime", doc! { "clusterTime": time, "signature": { "hash": hash, "keyId": 0_i64 } });
    body.insert("operationTime", time);
}
