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
    "all toranas are cut off from two ZooKeepers",
    "all connections to ZooKeeper are reset",
    "ZooKeeper is slow for a torana",
];

/// How many servers each kind strikes.
const STRUCK: [usize; 9] = [1, 2, 1, 2, 3, 1, 2, 3, 3];

/// Faults until the run is over.
pub fn befall(ensemble: &mut Ensemble, links: &[Vec<Relay>], book: &Book, bag: &mut Bag) {
    while !book.is_over() {
        book.rest(bag.time(1_500, 5_000));
        one(ensemble, links, book, bag);
        ensemble.wait_all();
    }
}

fn one(ensemble: &mut Ensemble, links: &[Vec<Relay>], book: &Book, bag: &mut Bag) {
    let kind = bag.draw(book);
    let place = KINDS.iter().position(|known| *known == kind).unwrap();
    let first = bag.pick(links.len());
    let struck = (0..STRUCK[place]).map(|next| (first + next) % links.len());
    match place {
        0 | 1 => {
            struck.clone().for_each(|index| ensemble.kill(index));
            book.rest(bag.time(200, 4_000));
            struck.for_each(|index| ensemble.restart(index));
        }
        2 | 3 => {
            struck.clone().for_each(|index| ensemble.pause(index));
            book.rest(bag.time(500, 5_000));
            struck.for_each(|index| ensemble.resume(index));
        }
        4 => {
            links[first].iter().for_each(Relay::blackhole);
            book.rest(bag.time(3_000, 6_000));
            links[first].iter().for_each(Relay::pass);
        }
        5 | 6 => {
            let struck = || struck.clone().flat_map(|index| links.iter().map(move |links| &links[index]));
            struck().for_each(Relay::blackhole);
            book.rest(bag.time(1_000, 5_000));
            struck().for_each(Relay::pass);
        }
        7 => links.iter().flatten().for_each(Relay::reset_all),
        _ => {
            let delay = bag.time(20, 250);
            links[first].iter().for_each(|link| link.delay(delay));
            book.rest(bag.time(2_000, 5_000));
            links[first].iter().for_each(Relay::pass);
        }
    }
}
