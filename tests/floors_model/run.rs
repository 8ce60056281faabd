//! Runs a search and prints what it found.

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use super::check::CLIENT;
use super::config::Config;
use super::thesis::{READABLE, Thesis};

/// Threads of one search: other tests run beside it.
const THREADS: usize = 2;

/// Every reachable state is visited, and every property holds in each.
pub fn holds(config: Config) {
    let (name, began) = (config.name, Instant::now());
    let checker =
        config.checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let seconds = began.elapsed().as_secs_f32();
    println!(
        "{name}: {} states, depth {}, {seconds:.1} s",
        checker.unique_state_count(),
        checker.max_depth()
    );
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        let steps: Vec<String> = path.into_actions().iter().map(|action| format!("  {action:?}")).collect();
        panic!("{name}: not true that {property}:\n{}", steps.join("\n"));
    }
    assert!(checker.is_done(), "{name}: the search ended early");
}

/// A client sees a promise broken; prints the shortest way there.
pub fn breaks(config: Config) {
    breaks_property(config, CLIENT);
}

pub fn breaks_property(config: Config, property: &'static str) {
    let (name, began) = (config.name, Instant::now());
    let wanted = HasDiscoveries::AllOf(BTreeSet::from([property]));
    let checker = config.checker().threads(1).finish_when(wanted).spawn_bfs().join();
    let seconds = began.elapsed().as_secs_f32();
    let states = checker.unique_state_count();
    let Some(path) = checker.discovery(property) else {
        panic!("{name}: {states} states, and nothing found that breaks: {property}");
    };
    let actions = path.into_actions();
    println!("{name}: broken after {} steps ({states} states, {seconds:.1} s)", actions.len());
    for action in actions {
        println!("  {action:?}");
    }
}

/// The thesis' algorithm leaves a document that nobody can read.
pub fn thesis_breaks() {
    let checker = Thesis.checker().spawn_bfs().join();
    let Some(path) = checker.discovery(READABLE) else { panic!("nothing found that breaks: {READABLE}") };
    let actions = path.into_actions();
    println!("the thesis' algorithm: broken after {} steps, by these toranas: {actions:?}", actions.len());
}
