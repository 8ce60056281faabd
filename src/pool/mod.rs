//! The pool of server connections of one member.
