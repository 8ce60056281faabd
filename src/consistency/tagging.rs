//! The tags in force: those of the configuration, and those that were said while torana runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};

use super::tags::Tags;
use crate::config::Tag;

/// The tags of one replica set, as they are now.
#[derive(Debug)]
pub struct Tagging {
    configured: Vec<Tag>,
    /// Tags may be said while torana runs.
    is_live: bool,
    /// Whether any collection has a tag.
    is_any: AtomicBool,
    now: ArcSwap<Tags>,
}

impl Tagging {
    /// Those of the configuration; `is_live` if more may be said later.
    pub fn new(configured: &[Tag], is_live: bool) -> Tagging {
        Tagging {
            configured: configured.to_vec(),
            is_live,
            is_any: AtomicBool::new(!configured.is_empty()),
            now: ArcSwap::from_pointee(Tags::new(configured)),
        }
    }

    /// Whether there is none, so that nothing has to be looked up.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.is_any.load(Ordering::Acquire)
    }

    /// Whether there is none, and will be none.
    pub fn is_empty_for_ever(&self) -> bool {
        self.is_empty() && !self.is_live
    }

    /// The tags of now.
    pub fn now(&self) -> Guard<Arc<Tags>> {
        self.now.load()
    }

    /// These are said beside the configuration's, and win over them where the pattern is the same.
    pub fn say(&self, live: &[Tag]) {
        let all: Vec<Tag> = self.configured.iter().chain(live).cloned().collect();
        self.now.store(Arc::new(Tags::new(&all)));
        self.is_any.store(!all.is_empty(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Level;

    #[test]
    fn what_is_said_later_wins_and_can_be_taken_back() {
        let tag = |text: &str| text.parse::<Tag>().unwrap();
        let tagging = Tagging::new(&[tag("a.b=causal")], true);
        let level = |name: &[u8]| tagging.now().level(b"a", name);
        tagging.say(&[tag("a.b=sequential"), tag("a.c*=causal")]);
        assert_eq!((level(b"b"), level(b"cd")), (Level::Sequential, Level::Causal));
        tagging.say(&[tag("a.b=default")]);
        assert_eq!((level(b"b"), level(b"cd")), (Level::Default, Level::Default));
        tagging.say(&[]);
        assert_eq!(level(b"b"), Level::Causal);
        let none = Tagging::new(&[], true);
        assert!(none.is_empty() && !none.is_empty_for_ever());
        none.say(&[tag("a.b=causal")]);
        assert!(!none.is_empty());
    }
}
