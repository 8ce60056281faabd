//! The parts of torana that read bytes from sockets, compiled for fuzzing, and what the fuzz targets share.
//!
//! The modules are torana's own files. They need none of its dependencies but two, so that building them with
//! coverage takes a minute and not ten. `deploy/soak fuzz` builds and runs the targets, one file in `targets/` each.
#![allow(dead_code, missing_docs)]

#[path = "../../src/command/mod.rs"]
pub mod command;
#[path = "../../src/doc/mod.rs"]
pub mod doc;
#[path = "../../src/topology/names.rs"]
mod names;
#[path = "../../src/rewrite/mod.rs"]
pub mod rewrite;
#[path = "../../src/wire/mod.rs"]
pub mod wire;

pub mod topology {
    pub use crate::names::GroupNames;
}

pub mod support;
