//! What a command does to a collection, as far as its level is concerned.

use crate::command::Command;

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads at a read concern.
    Read,
    /// Changes something, with a write concern.
    Write,
    /// Fetches a cursor's next batch: part of the read that opened it.
    GetMore,
    /// Runs without a read concern that could keep a level.
    MapReduce,
}

impl Role {
    /// The role of `command`; `writes` tells an aggregate that ends with `$out` or `$merge`. `None`: whatever the
    /// level, it passes untouched.
    pub fn of(command: Command, writes: bool) -> Option<Role> {
        match command.name() {
            "aggregate" if writes => Some(Role::Write),
            "find" | "aggregate" | "count" | "distinct" => Some(Role::Read),
            "insert" | "update" | "delete" | "findAndModify" | "findandmodify" | "create" | "drop"
            | "createIndexes" | "dropIndexes" | "collMod" | "convertToCapped" | "renameCollection"
            | "dropDatabase" | "bulkWrite" => Some(Role::Write),
            "getMore" => Some(Role::GetMore),
            "mapReduce" | "mapreduce" => Some(Role::MapReduce),
            _ => None,
        }
    }
}
