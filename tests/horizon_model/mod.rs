//! An exhaustive model of the protocol behind `sequential`: every order in which its steps can happen, for a few clients
//! with a few operations each. It holds no code of torana's; the code follows what the model accepts.
//!
//! No member is modelled by itself: a read at a time may be answered by any member that has reached it, and a majority
//! read behind a floor from *any* majority-committed position at or above it, which is what arbitrarily many,
//! arbitrarily late secondaries can do. A time is a position in the log, so an entry that was rolled back and the one
//! that took its place have the same: the worst case of what timestamps of two primaries can do.
//!
//! [`state`] is what there is, [`steps`] what can happen, [`rules`] what a test may take away, [`run`] the search.

pub mod rules;
pub mod run;
pub mod state;
pub mod steps;
