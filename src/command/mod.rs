//! The table of commands and what is to be done with each.
