//! The replica set: who its members are, and what each says of itself.
