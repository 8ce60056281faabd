//! Maps of the replay. Their keys are numbers and names of a capture, of which millions a minute are looked up: what the
//! standard library hashes with takes longer than most of what is done for an operation. Seeded anew in each process.

use std::collections::HashMap;

/// What hashes.
pub type Hashing = foldhash::fast::RandomState;

/// A map.
pub type Map<K, V> = HashMap<K, V, Hashing>;
