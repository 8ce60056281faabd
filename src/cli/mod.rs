//! Subcommands of the binary, one file each.
