//! The algorithm of the thesis that this protocol replaces.
