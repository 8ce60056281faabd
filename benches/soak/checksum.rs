//! CRC-32C (Castagnoli, RFC 3720 appendix B.4), which may end an OP_MSG. Written again here rather than taken from torana, so that
//! a fault there cannot hide behind the same fault here.

use crate::wire;

/// Flag bit 0: a checksum over the whole message ends it.
pub const CHECKSUM_PRESENT: u32 = 1;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let (mut value, mut bit) = (index as u32, 0);
        while bit < 8 {
            value = if value & 1 == 1 { 0x82f6_3b78 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// The checksum of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

/// Sets the flag of a finished OP_MSG and appends its checksum.
pub fn append(message: &mut Vec<u8>) {
    let flags = wire::flag_bits(message) | CHECKSUM_PRESENT;
    message[16..20].copy_from_slice(&flags.to_le_bytes());
    let length = message.len() as i32 + 4;
    message[..4].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c(message);
    message.extend_from_slice(&crc.to_le_bytes());
}

/// Whether the message's checksum, if it has one, is right.
pub fn holds(message: &[u8]) -> bool {
    if wire::i32_at(message, 12) != Some(wire::OP_MSG) || wire::flag_bits(message) & CHECKSUM_PRESENT == 0 {
        return true;
    }
    let Some((covered, crc)) = message.split_last_chunk::<4>() else { return false };
    crc32c(covered) == u32::from_le_bytes(*crc)
}
