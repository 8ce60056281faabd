//! A few names, of which every key of every document is told apart: nearly all by one look.

/// A list of names that is known when torana is built.
#[derive(Debug)]
pub struct Names {
    names: &'static [&'static [u8]],
    marks: Marks,
}

impl Names {
    /// These.
    pub const fn new(names: &'static [&'static [u8]]) -> Names {
        let mut marks = Marks::new();
        let mut place = 0;
        while place < names.len() {
            marks = marks.with(names[place]);
            place += 1;
        }
        Names { names, marks }
    }

    /// Whether `name` is one of them.
    #[inline]
    pub fn has(&self, name: &[u8]) -> bool {
        self.marks.may_have(name) && self.names.contains(&name)
    }
}

/// By its first and by its last byte, the lengths that a name may have, a bit each; all above 62 are one.
#[derive(Debug)]
pub struct Marks {
    first: [u64; 256],
    last: [u64; 256],
}

impl Marks {
    /// Those of no name.
    #[allow(clippy::new_without_default, reason = "nobody asks for them outside of a constant")]
    pub const fn new() -> Marks {
        Marks { first: [0; 256], last: [0; 256] }
    }

    /// And of this one. An empty name is not marked.
    pub const fn with(mut self, name: &[u8]) -> Marks {
        if let ([first, ..], [.., last]) = (name, name) {
            self.first[*first as usize] |= 1 << length(name);
            self.last[*last as usize] |= 1 << length(name);
        }
        self
    }

    /// False if `name` is none of those that were marked.
    #[inline]
    pub fn may_have(&self, name: &[u8]) -> bool {
        let ([first, ..], [.., last]) = (name, name) else { return false };
        let both = self.first[usize::from(*first)] & self.last[usize::from(*last)];
        both >> length(name) & 1 != 0
    }
}

const fn length(name: &[u8]) -> usize {
    if name.len() < 63 { name.len() } else { 63 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static SOME: Names = Names::new(&[
        b"find",
        b"$in",
        b"a name that is longer than sixty-three bytes, as names may be in BSON",
    ]);

    proptest! {
        #[test]
        fn a_name_is_found_if_it_is_listed(name in "find|\\$in|fin|finds|in|a name [a-z ]{50,70}|[a-z$]{0,5}") {
            prop_assert_eq!(SOME.has(name.as_bytes()), SOME.names.contains(&name.as_bytes()));
        }
    }

    #[test]
    fn a_name_is_told_from_others_by_its_ends_and_its_length() {
        assert!(SOME.has(SOME.names[2]) && !SOME.has(b""));
        let marks = Marks::new().with(b"credentials").with(b"accessToken").with(&[b'x'; 70]);
        assert!(marks.may_have(b"credentials") && marks.may_have(b"c123456789s"));
        assert!(!marks.may_have(b"clusterTime") && !marks.may_have(b"c12345678s"));
        assert!(marks.may_have(&[b'x'; 90]) && !marks.may_have(&[b'x'; 9]));
    }
}
