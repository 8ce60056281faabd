//! BSON documents as bytes: reading the few fields that torana needs, and editing by byte ranges.
//!
//! A document is never decoded as a whole and encoded again: what torana does not look at passes byte for byte,
//! whatever types later servers add. Nothing here recurses, allocates by a length from the input or panics.
//! Called by command classification, the rewriter, the hello service and the monitors.

mod elements;
mod names;
mod value;
mod writer;

pub use elements::{
    CutElement, DocError, Element, Elements, cut_element, document_length, elements, find, find_path,
    front_elements,
};
pub use names::{Marks, Names};
pub use value::{BsonType, Value};
pub use writer::DocWriter;
