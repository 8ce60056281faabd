//! The head of a file: whose traffic it holds, from when, and how it was taken.

use bson::oid::ObjectId;
use serde::{Deserialize, Serialize};

use super::decode::is_within_depth;
use crate::wire::crc32c;

/// The first bytes of every file.
pub const MAGIC: [u8; 8] = *b"TORANACP";

/// The version of the format.
pub const VERSION: u16 = 1;

/// The longest document in a head, bytes.
pub const DOCUMENT_MAX: usize = 1 << 20;

/// Bytes before the document.
pub const BEFORE: usize = 16;

/// What the head of a file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The same in all files of one capture; random.
    pub capture_id: String,
    /// The number of this file in its capture, from 1.
    pub file: i32,
    /// When the capture began: time 0 of all records.
    pub started: bson::DateTime,
    /// The version of the torana that wrote it.
    pub torana: String,
    /// The name of the replica set; of a standalone its address; `unknown` if the traffic was imported.
    pub set: String,
    /// `settings.replicaSetId` of the set, if it was known.
    #[serde(default)]
    pub replica_set_id: Option<ObjectId>,
    /// What is kept of replies: `none`, `digests` or `whole`.
    pub replies: String,
    /// What was replaced: `fields` (those of the default list, and `redact_fields`) or `values` (all).
    pub redact: String,
    /// Fields that were replaced beside those of the default list.
    #[serde(default)]
    pub redact_fields: Vec<String>,
    /// Of how many connections one was taken.
    pub sample: i32,
    /// The selection, in words, if not everything was taken; of imported traffic, what it was imported from.
    #[serde(default)]
    pub selection: String,
}

/// Why bytes are not a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadError {
    /// Other bytes than [`MAGIC`] at the front.
    Magic,
    /// A version that is not known here.
    Version(u16),
    /// Cut off, or damaged.
    Damaged(String),
}

impl Head {
    /// The head as the bytes of a file's front.
    pub fn encode(&self) -> Result<Vec<u8>, bson::error::Error> {
        let document = bson::serialize_to_vec(self)?;
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend([0, 0]);
        out.extend((document.len() as u32).to_le_bytes());
        out.extend(document);
        out.extend(crc32c(&out).to_le_bytes());
        Ok(out)
    }

    /// How many bytes follow the first [`BEFORE`] of a file: document and checksum.
    pub fn rest(before: &[u8; BEFORE]) -> Result<usize, HeadError> {
        if before[..8] != MAGIC {
            return Err(HeadError::Magic);
        }
        let version = u16::from_le_bytes([before[8], before[9]]);
        if version != VERSION {
            return Err(HeadError::Version(version));
        }
        let length = u32::from_le_bytes([before[12], before[13], before[14], before[15]]) as usize;
        match length <= DOCUMENT_MAX {
            true => Ok(length + 4),
            false => Err(HeadError::Damaged(format!("a head of {length} bytes, limit {DOCUMENT_MAX}"))),
        }
    }

    /// The head that `bytes` are: all of it, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Head, HeadError> {
        let damaged = |what: &str| HeadError::Damaged(what.to_owned());
        let (head, sum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("the head is cut off"))?;
        if crc32c(head) != u32::from_le_bytes(*sum) {
            return Err(damaged("the head's checksum is wrong"));
        }
        let document = head.get(BEFORE..).unwrap_or_default();
        if !is_within_depth(document) {
            return Err(damaged("the head is nested too deep"));
        }
        bson::deserialize_from_slice(document)
            .map_err(|error| HeadError::Damaged(format!("the head: {error}")))
    }
}
