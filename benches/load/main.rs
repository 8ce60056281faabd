//! The raw-wire load generator and null server.
fn main() {}
