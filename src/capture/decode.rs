//! Documents out of a capture, or from a server that a capture is replayed to, decoded to be shown. A file that somebody
//! made can nest them as deep as it likes, and decoders recurse.

use crate::doc::{BsonType, elements};

/// The deepest nesting that is decoded. Servers take 100 levels (`maxBSONDepth`), and a command has some around them.
const DEPTH_MAX: usize = 220;

/// The document in `bytes`, or why it cannot be shown.
pub fn document(bytes: &[u8]) -> Result<bson::Document, String> {
    match is_within_depth(bytes) {
        true => bson::Document::from_reader(bytes).map_err(|error| error.to_string()),
        false => {
            Err(format!("a document that is nested more than {DEPTH_MAX} deep, or has code with a scope"))
        }
    }
}

/// Whether decoders can be let loose on it.
pub fn is_within_depth(bytes: &[u8]) -> bool {
    let mut open = vec![elements(bytes)];
    while let Some(innermost) = open.last_mut() {
        let Some(Ok(element)) = innermost.next() else {
            open.pop();
            continue;
        };
        if let Some(inner) = element.value.as_document() {
            open.push(elements(inner));
        }
        // Its scope is a document that `as_document` does not show. Nobody sends it any more.
        if open.len() > DEPTH_MAX || element.value.kind == BsonType::CodeWithScope {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn what_is_nested_too_deep_is_not_decoded() {
        let plain = doc! { "a": [{ "b": { "c": 1 } }], "d": 2 };
        assert_eq!(document(&bson::serialize_to_vec(&plain).unwrap()), Ok(plain));
        let mut deep = vec![5u8, 0, 0, 0, 0];
        while deep.len() < 400_000 {
            let mut outer = ((deep.len() + 8) as i32).to_le_bytes().to_vec();
            outer.extend([3, b'a', 0]);
            outer.append(&mut deep);
            outer.push(0);
            deep = outer;
        }
        assert!(document(&deep).unwrap_err().contains("nested more than 220 deep"));
        assert!(document(b"no document").is_err());
    }
}
