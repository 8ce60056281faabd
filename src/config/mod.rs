//! Configuration: command line and TOML, checked as a whole before anything starts.
