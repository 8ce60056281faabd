//! What a torana has in memory.

use super::mongo::{DOCS, Token, Version};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Torana {
    pub epoch: u8,
    /// The last serial number given to a write.
    pub serial: u8,
    /// Writes whose outcome is not known, one bit a serial number.
    pub unresolved: u8,
    /// `L`: floors that it knows.
    pub known: [u8; DOCS],
    /// `C`: the collection's.
    pub collection: u8,
    /// The oldest state of ZooKeeper that its session may still show it.
    pub view: u8,
    /// The checker's: the newest version acknowledged or returned through it since it started.
    pub told: [Version; DOCS],
}

impl Torana {
    pub fn new(epoch: u8) -> Torana {
        Torana { epoch, ..Torana::default() }
    }

    pub fn next_token(&mut self) -> Token {
        self.serial += 1;
        self.unresolved |= 1 << self.serial;
        Token { epoch: self.epoch, serial: self.serial }
    }

    /// The write was published, or covered by `base`, or will never happen.
    pub fn resolve(&mut self, token: Token) {
        if token.epoch == self.epoch {
            self.unresolved &= !(1 << token.serial);
        }
    }

    /// Every write up to this serial number is resolved.
    pub fn done(&self) -> u8 {
        match self.unresolved {
            0 => self.serial,
            waiting => waiting.trailing_zeros() as u8 - 1,
        }
    }
}
