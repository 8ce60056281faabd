//! Runs a search and prints what it found.

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use super::rules::Config;

/// Nobody is shown anything older than what their application had been told when they asked.
pub const TOLD: &str = "no client goes back";
/// The register holds no time that a majority does not have.
pub const COMMITTED: &str = "what is published is committed";
/// What anybody was told is in the register, or in a torana that will raise it.
pub const COVERED: &str = "what was told is published";

/// Threads of one search: other tests run beside it.
const THREADS: usize = 2;

/// Every reachable state is visited, and every property holds in each.
pub fn holds(name: &str, config: Config) {
    let began = Instant::now();
    let checker =
        config.checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{name}: {states} states, depth {depth}, {:.1} s", began.elapsed().as_secs_f32());
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        let steps: Vec<String> = path.into_actions().iter().map(|step| format!("  {step:?}")).collect();
        panic!("{name}: not true that {property}:\n{}", steps.join("\n"));
    }
    assert!(checker.is_done() && states > 1000, "{name}: the search ended early");
}

/// The property is found broken; prints the shortest way there.
pub fn breaks(name: &str, property: &'static str, config: Config) {
    let wanted = HasDiscoveries::AllOf(BTreeSet::from([property]));
    let checker = config.checker().threads(1).finish_when(wanted).spawn_bfs().join();
    let states = checker.unique_state_count();
    let Some(path) = checker.discovery(property) else {
        panic!("{name}: {states} states, and nothing found that breaks: {property}");
    };
    let steps = path.into_actions();
    println!("{name}: broken after {} steps ({states} states)", steps.len());
    steps.iter().for_each(|step| println!("  {step:?}"));
}
