//! What a register holds, as bytes.

/// Names one version of a document: the epoch of the torana that wrote it, and the number of the write there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    /// The epoch.
    pub epoch: u32,
    /// The number.
    pub serial: u64,
}

/// What a document's register says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// Nobody was told of anything later: a BSON timestamp as one number.
    pub time: u64,
    /// A version that is not later than `time`; `None` for one from before the tag, or a document that is gone.
    pub token: Option<Token>,
    /// Whether `token` is *the* version at `time`. Only then does a read that returns it prove itself fresh.
    pub is_exact: bool,
}

impl Floor {
    /// What the register says once `wanted` was told as well; `None` if it says as much already. Without a token of its
    /// own, a raise keeps the old one as a mere bound.
    pub fn raised_to(self, wanted: Floor) -> Option<Floor> {
        if wanted.time > self.time {
            let keeps = wanted.token.is_none() && !wanted.is_exact;
            return Some(if keeps { Floor { token: self.token, ..wanted } } else { wanted });
        }
        (wanted.time == self.time && wanted.is_exact && !self.is_exact).then_some(wanted)
    }
}

/// Why bytes are not what a register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Of another length.
    #[error("{0} bytes")]
    Length(usize),
    /// Of a version that this torana does not know.
    #[error("version {0} of the format, or none of torana's")]
    Version(u8),
}

const VERSION: u8 = 1;
const LENGTH: usize = 30;
const HAS_TOKEN: u8 = 1;
const IS_EXACT: u8 = 1 << 1;

/// Format: version, flags, time, token, and the birth of the register that it was computed for (0 if it was made with it):
/// a store that compares versions only lets a value pass that was meant for a register deleted since.
pub(super) fn encode(floor: &Floor, computed_for: u64) -> Vec<u8> {
    let token = floor.token.unwrap_or(Token { epoch: 0, serial: 0 });
    let mut flags = if floor.token.is_some() { HAS_TOKEN } else { 0 };
    flags |= if floor.is_exact { IS_EXACT } else { 0 };
    let mut out = Vec::with_capacity(LENGTH);
    out.extend_from_slice(&[VERSION, flags]);
    out.extend_from_slice(&floor.time.to_be_bytes());
    out.extend_from_slice(&token.epoch.to_be_bytes());
    out.extend_from_slice(&token.serial.to_be_bytes());
    out.extend_from_slice(&computed_for.to_be_bytes());
    out
}

/// The floor, and the birth of the register that it was computed for.
pub(super) fn decode(bytes: &[u8]) -> Result<(Floor, u64), Malformed> {
    let bytes: &[u8; LENGTH] = bytes.try_into().map_err(|_| Malformed::Length(bytes.len()))?;
    if bytes[0] != VERSION {
        return Err(Malformed::Version(bytes[0]));
    }
    let number = |at: usize| bytes[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let epoch = (number(10) >> 32) as u32;
    let token = Token { epoch, serial: number(14) };
    let token = (bytes[1] & HAS_TOKEN != 0).then_some(token);
    Ok((Floor { time: number(2), token, is_exact: bytes[1] & IS_EXACT != 0 }, number(22)))
}

/// A number alone: a base, or how many writes are done.
pub(super) fn encode_number(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// See [`encode_number`].
pub(super) fn decode_number(bytes: &[u8]) -> Result<u64, Malformed> {
    let bytes = bytes.try_into().map_err(|_| Malformed::Length(bytes.len()))?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: Token = Token { epoch: 3, serial: 9 };

    fn floor(time: u64, token: Option<Token>, is_exact: bool) -> Floor {
        Floor { time, token, is_exact }
    }

    #[test]
    fn a_register_only_rises_and_an_exact_token_beats_a_bound() {
        let old = floor(5, Some(TOKEN), true);
        assert_eq!(old.raised_to(floor(4, None, true)), None);
        assert_eq!(old.raised_to(floor(5, None, true)), None);
        assert_eq!(old.raised_to(floor(6, None, true)), Some(floor(6, None, true)), "deleted");
        assert_eq!(old.raised_to(floor(6, None, false)), Some(floor(6, Some(TOKEN), false)), "a bound");
        let bound = floor(5, None, false);
        assert_eq!(bound.raised_to(floor(5, Some(TOKEN), true)), Some(old));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(time: u64, epoch: u32, serial: u64, has: bool, is_exact: bool, born: u64) {
            let floor = floor(time, has.then_some(Token { epoch, serial }), is_exact);
            prop_assert_eq!(decode(&encode(&floor, born)), Ok((floor, born)));
            prop_assert_eq!(decode_number(&encode_number(time)), Ok(time));
        }

        #[test]
        fn other_bytes_are_refused_or_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode_number(&bytes);
            let is_one = bytes.len() == LENGTH && bytes[0] == VERSION;
            prop_assert_eq!(decode(&bytes).is_ok(), is_one);
        }
    }
}
