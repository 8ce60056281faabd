//! Names for the rewriters, and what must hold for whatever they write.

use crate::doc::{BsonType, elements};
use crate::topology::GroupNames;

/// The members of the recorded seeds, as clients would know them.
pub fn names() -> GroupNames {
    let members = ["127.0.0.2:27217", "127.0.0.3:27317", "127.0.0.4:27417", "db1:27017", "[::1]:1"];
    let gated = members.iter().enumerate();
    GroupNames::new(gated.map(|(index, own)| ((*own).to_owned(), format!("gate.example:{}", 27117 + index))))
}

/// Walks a whole document to any depth. `false` where bytes are not a document.
///
/// Not by recursion: a document in a document in a document may go on for as long as the input does.
pub fn is_well_formed(document: &[u8]) -> bool {
    let mut to_walk = vec![document];
    while let Some(document) = to_walk.pop() {
        for element in elements(document) {
            let Ok(element) = element else { return false };
            to_walk.extend(element.value.as_document());
        }
    }
    true
}

/// Reads every value of a document in every way there is.
pub fn read_every_value(document: &[u8]) {
    for element in elements(document).map_while(Result::ok) {
        let value = element.value;
        assert_eq!(BsonType::from_u8(element.raw[0]), Some(value.kind));
        std::hint::black_box((value.as_str(), value.as_i64(), value.as_bool(), value.as_document()));
        std::hint::black_box((value.as_binary(), value.as_object_id(), value.as_timestamp()));
        std::hint::black_box(value.as_date_millis());
    }
}

/// The first byte of the input chooses among `choices`; the rest is what it is chosen for.
pub fn choose<'d, T: Copy>(data: &'d [u8], choices: &[T]) -> Option<(T, &'d [u8])> {
    let (first, rest) = data.split_first()?;
    Some((*choices.get(usize::from(*first) % choices.len())?, rest))
}
