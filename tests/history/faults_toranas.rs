//! What befalls toranas.

use std::time::Duration;

use rustix::process::Signal;

use super::bag::Bag;
use super::book::Book;
use crate::support::Torana;

/// Killed more often than anything else.
pub const KINDS: &[&str] =
    &["a torana is killed", "a torana is killed and stays away", "a torana is frozen", "a torana is ended"];

/// Faults until the run is over.
pub fn befall(toranas: &mut [Torana], book: &Book, bag: &mut Bag) {
    while !book.is_over() {
        book.rest(bag.time(2_000, 6_000));
        let kind = bag.draw(book);
        let index = bag.pick(toranas.len());
        let torana = &mut toranas[index];
        match KINDS.iter().position(|known| *known == kind).unwrap() {
            0 => {
                torana.process().kill();
                torana.restart();
            }
            1 => {
                torana.process().kill();
                book.rest(bag.time(300, 4_000));
                torana.restart();
            }
            2 => {
                torana.process().pause();
                book.rest(bag.time(200, 4_000));
                torana.process().signal(Signal::CONT);
            }
            _ => {
                torana.process().signal(Signal::TERM);
                assert!(torana.process().wait(Duration::from_secs(60)).is_some(), "torana does not end");
                torana.restart();
            }
        }
    }
}
