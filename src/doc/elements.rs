//! One pass over the elements of a document, without looking into nested ones.

use super::value::{BsonType, Value};
use crate::wire::read_i32;

/// Why bytes are not a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocError {
    /// The length field is below 5, or above the bytes at hand.
    #[error("a BSON document's length field does not fit its bytes")]
    Length,
    /// The document ends in the middle of an element, or has no end mark.
    #[error("a BSON document is cut off")]
    Truncated,
    /// An element type that BSON does not define.
    #[error("BSON element type {0:#04x} is unknown")]
    UnknownType(u8),
    /// A string, code or nested document whose own length contradicts its document.
    #[error("a BSON value's length does not fit its document")]
    ValueLength,
}

/// One element of a document: a view into its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    /// The field's name. Not checked to be UTF-8.
    pub key: &'a [u8],
    /// The field's type and value.
    pub value: Value<'a>,
    /// The element as it stands in the document: type, key, zero, value.
    pub raw: &'a [u8],
    /// Where `raw` begins, bytes from the document's first.
    pub at: usize,
}

/// Iterates over a document's elements; ends after the first error.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    document: &'a [u8],
    at: usize,
}

/// The length that the document at the front of `bytes` claims, checked against `bytes`.
pub fn document_length(bytes: &[u8]) -> Result<usize, DocError> {
    let length = read_i32(bytes, 0).ok_or(DocError::Length)?;
    match usize::try_from(length) {
        Ok(length) if length >= 5 && length <= bytes.len() => Ok(length),
        _ => Err(DocError::Length),
    }
}

/// The elements of the document at the front of `bytes`. A wrong length field is the iterator's first item.
pub fn elements(bytes: &[u8]) -> Elements<'_> {
    match document_length(bytes) {
        Ok(length) => Elements { document: &bytes[..length], at: 4 },
        Err(_) => Elements { document: &[], at: 0 },
    }
}

/// The elements of a document of which only the front is here, up to the first that is not here as a whole.
pub fn front_elements(front: &[u8]) -> Elements<'_> {
    Elements { document: front, at: 4 }
}

/// The first element of a document that is not here as a whole, as far as its front tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutElement<'a> {
    /// Where it begins, bytes from the document's first.
    pub start: usize,
    /// Where it ends, and its key: known of documents and arrays whose length is here.
    pub end: Option<(&'a [u8], usize)>,
}

/// Where the elements stop that are here as a whole.
pub fn cut_element(front: &[u8]) -> CutElement<'_> {
    let mut walk = front_elements(front);
    while let Ok(Some(_)) = walk.try_next() {}
    let start = walk.at;
    let end = || {
        let rest = front.get(start..)?;
        let kind = BsonType::from_u8(*rest.first()?)?;
        let zero = zero_at(rest.get(1..)?)?;
        let value_at = zero + 2;
        let length = usize::try_from(read_i32(rest, value_at)?).ok()?;
        let nests = matches!(kind, BsonType::Document | BsonType::Array);
        nests.then(|| (&rest[1..1 + zero], start + value_at + length))
    };
    CutElement { start, end: end() }
}

/// The first element called `key`; `None` too when the document breaks off before it.
pub fn find<'a>(document: &'a [u8], key: &str) -> Option<Element<'a>> {
    elements(document).map_while(Result::ok).find(|element| element.key == key.as_bytes())
}

/// The value behind a path of nested documents or arrays, `["config", "members"]` for example.
pub fn find_path<'a>(document: &'a [u8], path: &[&str]) -> Option<Value<'a>> {
    let (last, parents) = path.split_last()?;
    let mut inside = document;
    for key in parents {
        inside = find(inside, key)?.value.as_document()?;
    }
    find(inside, last).map(|element| element.value)
}

/// Where the first zero byte is. Keys are short, so eight bytes at a time are as good as anything wider.
#[inline]
fn zero_at(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut rest = bytes;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        // The lowest bit set is the first zero's; those above it may be wrong.
        let zeros = word.wrapping_sub(ONES) & !word & HIGHS;
        if zeros != 0 {
            return Some(bytes.len() - rest.len() + zeros.trailing_zeros() as usize / 8);
        }
        rest = behind;
    }
    rest.iter().position(|&byte| byte == 0).map(|place| bytes.len() - rest.len() + place)
}

impl<'a> Elements<'a> {
    /// The next element; `None` at the document's end. The same as the iterator, for loops that every message goes through:
    /// they end at the first error, so nothing has to be remembered of it.
    // Into each loop: otherwise every element is written to memory once more than it is read.
    #[inline(always)]
    pub fn try_next(&mut self) -> Result<Option<Element<'a>>, DocError> {
        let start = self.at;
        let Some((&number, behind_type)) = self.document.get(start..).and_then(<[u8]>::split_first) else {
            return Err(if self.document.is_empty() { DocError::Length } else { DocError::Truncated });
        };
        if number == 0 {
            // Bytes behind the end mark mean that the length field lied.
            return if behind_type.is_empty() { Ok(None) } else { Err(DocError::Length) };
        }
        let kind = BsonType::from_u8(number).ok_or(DocError::UnknownType(number))?;
        let zero = zero_at(behind_type).ok_or(DocError::Truncated)?;
        let (key, rest) = behind_type.split_at(zero);
        let behind_key = rest.get(1..).ok_or(DocError::Truncated)?;
        let length = kind.value_length(behind_key)?;
        // The document's own end mark cannot be part of a value.
        if length >= behind_key.len() {
            return Err(DocError::Truncated);
        }
        self.at = start + 1 + zero + 1 + length;
        Ok(Some(Element {
            key,
            value: Value { kind, bytes: &behind_key[..length] },
            raw: &self.document[start..self.at],
            at: start,
        }))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, DocError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at == usize::MAX {
            return None;
        }
        let step = self.try_next();
        if !matches!(step, Ok(Some(_))) {
            self.at = usize::MAX;
        }
        step.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn document() -> Vec<u8> {
        let inner = bson::doc! { "x": [1, "two", null] };
        bson::serialize_to_vec(&bson::doc! { "find": "things", "filter": inner, "n": 7i64, "$db": "app" })
            .unwrap()
    }

    #[test]
    fn keys_come_in_order_and_their_ranges_cover_the_document() {
        let bytes = document();
        let all: Vec<_> = elements(&bytes).map(Result::unwrap).collect();
        let keys: Vec<_> = all.iter().map(|element| element.key).collect();
        assert_eq!(keys, [b"find".as_slice(), b"filter", b"n", b"$db"]);
        let covered: usize = all.iter().map(|element| element.raw.len()).sum();
        assert_eq!(covered + 5, bytes.len());
        assert!(all.iter().all(|element| bytes[element.at..].starts_with(element.raw)));
    }

    #[test]
    fn every_truncation_ends_in_one_error() {
        let bytes = document();
        for end in 0..bytes.len() {
            let items: Vec<_> = elements(&bytes[..end]).collect();
            assert!(items.last().unwrap().is_err(), "cut at {end}");
            assert_eq!(items.iter().filter(|item| item.is_err()).count(), 1);
        }
    }

    #[test]
    fn a_document_whose_front_is_here_says_where_its_cut_element_ends() {
        let bytes = document();
        let filter = elements(&bytes).map(Result::unwrap).find(|element| element.key == b"filter").unwrap();
        let end = filter.at + filter.raw.len();
        for cut in filter.at + 12..end {
            let whole = CutElement { start: filter.at, end: Some((b"filter", end)) };
            assert_eq!(cut_element(&bytes[..cut]), whole, "{cut}");
            let keys: Vec<_> =
                front_elements(&bytes[..cut]).map_while(Result::ok).map(|element| element.key).collect();
            assert_eq!(keys, [b"find"]);
        }
        (0..filter.at + 12).for_each(|cut| assert_eq!(cut_element(&bytes[..cut]).end, None, "{cut}"));
        assert_eq!(cut_element(&bytes[..filter.at + 3]).start, filter.at);
    }

    #[test]
    fn a_path_leads_into_nested_documents_and_arrays() {
        let bytes = document();
        assert_eq!(find_path(&bytes, &["filter", "x", "1"]).unwrap().as_str(), Some("two"));
        assert!(find_path(&bytes, &["filter", "y", "1"]).is_none());
    }

    proptest! {
        #[test]
        fn the_first_zero_is_found(bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0x80), any::<u8>()], 0..40)) {
            prop_assert_eq!(zero_at(&bytes), bytes.iter().position(|&byte| byte == 0));
        }

        #[test]
        fn any_bytes_are_walked_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            elements(&bytes).for_each(drop);
            front_elements(&bytes).for_each(drop);
            let _ = cut_element(&bytes);
        }

        #[test]
        fn a_damaged_document_is_walked_without_a_panic(at in 0usize..60, with in any::<u8>()) {
            let mut bytes = document();
            let at = at % bytes.len();
            bytes[at] = with;
            elements(&bytes).for_each(drop);
        }
    }
}
