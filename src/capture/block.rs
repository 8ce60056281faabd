//! Blocks: records, compressed and checked as one.

use crate::wire::crc32c_of;

/// The first bytes of a block.
pub const MAGIC: [u8; 4] = *b"TBLK";

/// Bytes before a block's payload.
pub const FRONT: usize = 36;

/// The most bytes of records in one block, and of its payload: one record of the longest fits.
pub const BYTES_MAX: usize = 64 << 20;

/// Records are put into a block until they have as many bytes: enough to compress well, little to lose in a crash.
pub const BYTES_USUAL: usize = 1 << 20;

/// Room that is kept from one block to the next, bytes; that for a larger one is given back with the next usual one.
const KEPT_MAX: usize = 2 * BYTES_USUAL;

/// How hard is compressed. Level 1 keeps up with a busy proxy on a small share of a core.
const LEVEL: i32 = 1;

/// What the front of a block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFront {
    /// Bytes of the payload.
    pub payload: usize,
    /// Bytes of the records.
    pub raw: usize,
    /// The number of records.
    pub records: u32,
    /// The time of the first.
    pub first: u64,
    /// The time of the last.
    pub last: u64,
    sum: u32,
}

impl BlockFront {
    /// What these bytes say, if they are the front of a block; its payload is still to be checked.
    pub fn decode(bytes: &[u8; FRONT]) -> Result<BlockFront, String> {
        let four = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let eight = |at: usize| u64::from(four(at)) | u64::from(four(at + 4)) << 32;
        if bytes[..4] != MAGIC {
            return Err("no block begins here".to_owned());
        }
        let (payload, raw) = (four(4) as usize, four(8) as usize);
        if payload > BYTES_MAX || raw > BYTES_MAX {
            return Err(format!("a block of {payload} bytes, {raw} unpacked; limit {BYTES_MAX}"));
        }
        Ok(BlockFront { payload, raw, records: four(12), first: eight(16), last: eight(24), sum: four(32) })
    }
}

/// Packs blocks; keeps what that takes from one to the next.
pub struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
    /// The last block, and room behind it.
    block: Vec<u8>,
}

impl Packer {
    /// One with the usual level.
    pub fn new() -> std::io::Result<Packer> {
        Ok(Packer { compressor: zstd::bulk::Compressor::new(LEVEL)?, block: Vec::new() })
    }

    /// The block with these `records`, at most [`BYTES_MAX`] bytes of them. It is in memory once.
    pub fn pack(&mut self, records: &[u8], count: u32, (first, last): (u64, u64)) -> std::io::Result<&[u8]> {
        let most = FRONT + zstd::zstd_safe::compress_bound(records.len());
        if self.block.len() > KEPT_MAX.max(most) {
            self.block = Vec::new();
        }
        // Only what has grown is filled: the room stays.
        if self.block.len() < most {
            self.block.resize(most, 0);
        }
        let (front, payload) = self.block.split_at_mut(FRONT);
        let length = self.compressor.compress_to_buffer(records, payload)?;
        let (unsummed, rest) = front.split_at_mut(FRONT - 4);
        let mut fields = Vec::with_capacity(FRONT);
        fields.extend(MAGIC);
        fields.extend((length as u32).to_le_bytes());
        fields.extend((records.len() as u32).to_le_bytes());
        fields.extend(count.to_le_bytes());
        fields.extend(first.to_le_bytes());
        fields.extend(last.to_le_bytes());
        unsummed.copy_from_slice(&fields);
        rest.copy_from_slice(&sum(unsummed, &payload[..length]).to_le_bytes());
        Ok(&self.block[..FRONT + length])
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

/// The records of a block, after its checksum was checked.
pub fn unpack(bytes: &[u8; FRONT], front: &BlockFront, payload: &[u8]) -> Result<Vec<u8>, String> {
    if sum(&bytes[..FRONT - 4], payload) != front.sum {
        return Err("a block's checksum is wrong".to_owned());
    }
    let records = zstd::bulk::decompress(payload, front.raw).map_err(|error| format!("a block: {error}"))?;
    match records.len() == front.raw {
        true => Ok(records),
        false => Err(format!("a block of {} bytes, which says {}", records.len(), front.raw)),
    }
}

fn sum(front: &[u8], payload: &[u8]) -> u32 {
    crc32c_of([front, payload])
}
