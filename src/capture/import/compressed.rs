//! OP_COMPRESSED: the message inside, as it would have come without.

use std::io::Read;

use crate::wire::{HEADER_LEN, Header, MESSAGE_MAX, Opcode, read_i32};

/// Bytes behind the header: original opcode, length without header, compressor.
const FRONT: usize = 9;

/// The message that is packed in `message`, which has this header, of whatever opcode; `None` if it cannot be unpacked, or
/// says another length than it has.
pub fn unpacked(header: &Header, message: &[u8]) -> Option<Vec<u8>> {
    let opcode = read_i32(message, HEADER_LEN).filter(|inner| *inner != Opcode::Compressed as i32)?;
    let length = usize::try_from(read_i32(message, HEADER_LEN + 4)?).ok()?;
    let whole = length.checked_add(HEADER_LEN).filter(|whole| *whole <= MESSAGE_MAX)?;
    let compressor = *message.get(HEADER_LEN + 8)?;
    let packed = message.get(HEADER_LEN + FRONT..)?;
    let mut out = Header { length: whole, ..*header }.to_bytes()[..12].to_vec();
    out.extend(opcode.to_le_bytes());
    // One byte more than it says, so that one that lies is found out.
    let limit = length as u64 + 1;
    match compressor {
        0 => out.extend_from_slice(packed),
        1 => {
            // It says its length at its front, and allocates by that.
            let says = snap::raw::decompress_len(packed).ok()?;
            out.extend((says == length).then(|| snap::raw::Decoder::new().decompress_vec(packed).ok())??);
        }
        2 => drop(flate2::read::ZlibDecoder::new(packed).take(limit).read_to_end(&mut out).ok()?),
        3 => drop(zstd::Decoder::new(packed).ok()?.take(limit).read_to_end(&mut out).ok()?),
        _ => return None,
    }
    (out.len() == whole).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgFlags, OpMsgBuilder, Side};
    use proptest::prelude::*;
    use std::io::Write;

    fn packed(message: &[u8], compressor: u8) -> Vec<u8> {
        let body = &message[HEADER_LEN..];
        let data = match compressor {
            1 => snap::raw::Encoder::new().compress_vec(body).unwrap(),
            2 => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            3 => zstd::bulk::compress(body, 1).unwrap(),
            _ => body.to_vec(),
        };
        let length = HEADER_LEN + FRONT + data.len();
        let (request_id, response_to) = (read_i32(message, 4).unwrap(), read_i32(message, 8).unwrap());
        let header = Header { length, request_id, response_to, opcode: Opcode::Compressed };
        let mut out = header.to_bytes().to_vec();
        out.extend(read_i32(message, 12).unwrap().to_le_bytes());
        out.extend((body.len() as i32).to_le_bytes());
        out.push(compressor);
        out.extend(data);
        out
    }

    fn unpack(message: &[u8]) -> Option<Vec<u8>> {
        let header = Header::peek(message, Side::Client, MESSAGE_MAX).ok()??;
        unpacked(&header, message)
    }

    fn message() -> Vec<u8> {
        let command = bson::serialize_to_vec(&bson::doc! { "find": "x".repeat(500), "$db": "app" }).unwrap();
        OpMsgBuilder::message(7, 9, MsgFlags(0), &command)
    }

    #[test]
    fn every_compressor_is_undone_and_lengths_that_lie_are_refused() {
        for compressor in 0..4 {
            let compressed = packed(&message(), compressor);
            assert_eq!(unpack(&compressed).as_deref(), Some(message().as_slice()), "{compressor}");
            for lie in [0i32, 100, 600, i32::MAX, -1] {
                let mut lying = compressed.clone();
                lying[20..24].copy_from_slice(&lie.to_le_bytes());
                assert_eq!(unpack(&lying), None, "{compressor} {lie}");
            }
        }
        assert_eq!(unpack(&packed(&message(), 4)), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(compressor in 0u8..5, at in 0usize..200, with in any::<u8>(), cut in 0usize..600) {
            let mut compressed = packed(&message(), compressor);
            let at = at % compressed.len();
            compressed[at] = with;
            let _ = unpack(&compressed);
            compressed.truncate(cut);
            let _ = unpack(&compressed);
        }
    }
}
