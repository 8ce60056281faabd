//! What befalls ZooKeepers, and the network between them and toranas.

use super::bag::Bag;
use super::book::Book;
use crate::support::{Ensemble, Relay};

/// Two of three are no quorum: then nothing new is told.
pub const KINDS: &[&str] = &[
    "a ZooKeeper is killed",
    "two ZooKeepers are killed",
    "a ZooKeeper is frozen",
    "two ZooKeepers are frozen",
    "a torana is cut off from ZooKeeper until its session has expired",
    "all toranas are cut off from one ZooKeeper",
    "all connections to ZooKeeper are reset",
    "ZooKeeper is slow",
];

/// Faults until the run is over.
pub fn befall(ensemble: &mut Ensemble, links: &[Vec<Relay>], book: &Book, bag: &mut Bag) {
    while !book.is_over() {
        book.rest(bag.time(1_500, 5_000));
        let kind = bag.draw(book);
        let place = KINDS.iter().position(|known| *known == kind).unwrap();
        let first = bag.pick(3);
        let some: Vec<usize> =
            (0..[1, 2, 1, 2].get(place).map_or(0, |count| *count)).map(|n| (first + n) % 3).collect();
        match place {
            0 | 1 => {
                some.iter().for_each(|index| ensemble.kill(*index));
                book.rest(bag.time(200, 4_000));
                some.iter().for_each(|index| ensemble.restart(*index));
            }
            2 | 3 => {
                some.iter().for_each(|index| ensemble.pause(*index));
                book.rest(bag.time(500, 5_000));
                some.iter().for_each(|index| ensemble.resume(*index));
            }
            4 => {
                links[first].iter().for_each(Relay::blackhole);
                book.rest(bag.time(3_000, 6_000));
                links[first].iter().for_each(Relay::pass);
            }
            5 => {
                links.iter().for_each(|links| links[first].blackhole());
                book.rest(bag.time(1_000, 5_000));
                links.iter().for_each(|links| links[first].pass());
            }
            6 => links.iter().flatten().for_each(Relay::reset_all),
            _ => {
                let delay = bag.time(5, 100);
                links.iter().flatten().for_each(|link| link.delay(delay));
                book.rest(bag.time(1_000, 4_000));
                links.iter().flatten().for_each(Relay::pass);
            }
        }
        ensemble.wait_all();
    }
}
