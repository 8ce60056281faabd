//! What a member of a replica set is to be.

use bson::{Document, doc};

/// One member's part of the configuration: everything but `_id` and `host`.
#[derive(Debug, Clone, Default)]
pub struct Member {
    fields: Document,
}

impl Member {
    /// One that votes and may be elected.
    pub fn plain() -> Member {
        Member::default()
    }

    /// One that drivers do not see.
    pub fn hidden() -> Member {
        Member { fields: doc! { "hidden": true, "priority": 0 } }
    }

    /// One that votes and holds no data.
    pub fn arbiter() -> Member {
        Member { fields: doc! { "arbiterOnly": true } }
    }

    /// One that is never elected: hello lists it under `passives`.
    pub fn passive() -> Member {
        Member { fields: doc! { "priority": 0 } }
    }

    /// With this priority: 2 and more wins elections against plain members.
    pub fn priority(mut self, priority: f64) -> Member {
        self.fields.insert("priority", priority);
        self
    }

    /// With these tags.
    pub fn tags(mut self, tags: Document) -> Member {
        self.fields.insert("tags", tags);
        self
    }

    /// With any other field of a member's configuration.
    pub fn field(mut self, name: &str, value: impl Into<bson::Bson>) -> Member {
        self.fields.insert(name, value);
        self
    }

    /// The entry of `members` in the configuration.
    pub fn config(&self, id: i32, host: &str) -> Document {
        let mut config = doc! { "_id": id, "host": host };
        config.extend(self.fields.clone());
        config
    }
}
