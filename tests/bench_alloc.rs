//! To make an operation up allocates nothing in steady state. In a binary of its own, with one test, because it counts what
//! the whole process allocates.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/counting.rs"]
mod counting;

use std::sync::atomic::Ordering;

use counting::ALLOCATIONS;
use torana::bench::engine::Source;
use torana::bench::source::Operations;
use torana::bench::workload::{EXAMPLE, parse};

#[test]
fn an_operation_is_made_up_without_an_allocation() {
    let text = EXAMPLE.replace("\"1KiB\"", "{ min = \"200B\", max = \"4KiB\" }");
    let workload = parse("w.toml", &text).unwrap();
    let mut source = Operations::new(&workload, 20_000);
    // Its buffers grow with the first.
    let mut message = Vec::with_capacity(8192);
    let mut some = |source: &mut Operations<'_>, count: i32| {
        for number in 0..count {
            message.clear();
            source.next(number, &mut message);
        }
    };
    some(&mut source, 1000);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    some(&mut source, 10_000);
    let made = ALLOCATIONS.load(Ordering::Relaxed) - before;
    // The test runner's own thread may make one.
    assert!(made < 10, "{made} allocations for 10000 operations");
}
