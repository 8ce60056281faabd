//! CRC-32C of OP_MSG: the last four bytes of a message whose `checksumPresent` flag is set.
//!
//! Drivers do not send it, mongod's own clients and mongosh's legacy ancestor do, so speed does not matter here:
//! a table of 256 entries is enough.

const POLYNOMIAL_REVERSED: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0u32; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL_REVERSED } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

/// CRC-32C (Castagnoli) of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_of([bytes])
}

/// CRC-32C of `parts`, one behind the other.
pub fn crc32c_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let step = |crc: u32, &byte: &u8| (crc >> 8) ^ TABLE[((crc ^ u32::from(byte)) & 0xff) as usize];
    !parts.into_iter().flatten().fold(!0u32, step)
}

/// Whether the last four bytes of `message` are the CRC-32C of those before them.
pub fn checksum_matches(message: &[u8]) -> bool {
    match message.split_last_chunk::<4>() {
        Some((covered, stored)) => crc32c(covered) == u32::from_le_bytes(*stored),
        None => false,
    }
}

/// Overwrites the last four bytes of `message` with the CRC-32C of those before them.
pub fn write_checksum(message: &mut [u8]) {
    if let Some((covered, stored)) = message.split_last_chunk_mut::<4>() {
        *stored = crc32c(covered).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_castagnoli_catalogue_comes_out() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let mut message = *b"some message....";
        write_checksum(&mut message);
        assert!(checksum_matches(&message));
        message[3] ^= 1;
        assert!(!checksum_matches(&message));
    }
}
