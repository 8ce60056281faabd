//! Names and kinds of the commands that torana knows.

/// What torana does with a command, as far as its name alone tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Answered from the monitors' newest hello.
    Hello,
    /// Authentication in all its forms: belongs to a hop, never reaches a pooled connection.
    Authentication,
    /// `whatsmyuri`: names the connection that asks, which is the client's own.
    WhatsMyUri,
    /// Changes nothing on the server: may be ended by closing its connection when its client has gone.
    Read,
    /// May change something: runs to its end, whoever has gone.
    Write,
    /// A batch of an existing cursor.
    GetMore,
    /// Ends a transaction.
    EndTransaction,
    /// Frees what something else waits for, or looks at who does: never waits behind ordinary work.
    Relief,
    /// Ends cursors: relief, too.
    EndsCursors,
    /// Ends sessions and their transactions: relief, too.
    EndsSessions,
    /// `getLastError` and its kin: speak of the last legacy write on their own connection.
    LastError,
    /// Its reply or request names members: rewritten.
    Names,
    /// `configureFailPoint`: may be for commands that torana answers itself.
    FailPoint,
}

macro_rules! commands {
    ($($name:literal => $kind:ident,)*) => {
        const TABLE: &[(&str, Kind)] = &[("other", Kind::Write), $(($name, Kind::$kind),)*];
    };
}

// Sorted by name, after `other`. Unknown commands count as writes, because ending a write
// half-way is the error that cannot be mended.
commands! {
    "_isSelf" => Read,
    "abortTransaction" => EndTransaction,
    "aggregate" => Read,
    "appendOplogNote" => Write,
    "applyOps" => Write,
    "authenticate" => Authentication,
    "autocompact" => Write,
    "buildInfo" => Read,
    "buildinfo" => Read,
    "bulkWrite" => Write,
    "clone" => Write,
    "cloneCollectionAsCapped" => Write,
    "collMod" => Write,
    "collStats" => Read,
    "collstats" => Read,
    "commitTransaction" => EndTransaction,
    "compact" => Write,
    "configureFailPoint" => FailPoint,
    "connPoolStats" => Names,
    "connectionStatus" => Read,
    "convertToCapped" => Write,
    "count" => Read,
    "create" => Write,
    "createIndexes" => Write,
    "createRole" => Write,
    "createUser" => Write,
    "currentOp" => Relief,
    "dataSize" => Read,
    "dbHash" => Read,
    "dbStats" => Read,
    "dbstats" => Read,
    "delete" => Write,
    "distinct" => Read,
    "drop" => Write,
    "dropAllRolesFromDatabase" => Write,
    "dropAllUsersFromDatabase" => Write,
    "dropDatabase" => Write,
    "dropIndexes" => Write,
    "dropRole" => Write,
    "dropUser" => Write,
    "endSessions" => EndsSessions,
    "explain" => Read,
    "features" => Read,
    "filemd5" => Read,
    "find" => Read,
    "findAndModify" => Write,
    "findandmodify" => Write,
    "fsync" => Write,
    "fsyncUnlock" => Relief,
    "geoSearch" => Read,
    "getCmdLineOpts" => Read,
    "getDefaultRWConcern" => Read,
    "getLastError" => LastError,
    "getLog" => Read,
    "getMore" => GetMore,
    "getParameter" => Read,
    "getPrevError" => LastError,
    "getlasterror" => LastError,
    "getnonce" => Read,
    "getpreverror" => LastError,
    "grantRolesToUser" => Write,
    "hello" => Hello,
    "hostInfo" => Read,
    "insert" => Write,
    "isMaster" => Hello,
    "isdbgrid" => Read,
    "ismaster" => Hello,
    "killAllSessions" => EndsSessions,
    "killCursors" => EndsCursors,
    "killOp" => Relief,
    "killSessions" => EndsSessions,
    "listCollections" => Read,
    "listCommands" => Read,
    "listDatabases" => Read,
    "listIndexes" => Read,
    "lockInfo" => Read,
    "logApplicationMessage" => Write,
    "logRotate" => Write,
    "logout" => Authentication,
    "mapReduce" => Write,
    "mapreduce" => Write,
    "ping" => Read,
    "planCacheClear" => Write,
    "planCacheListFilters" => Read,
    "profile" => Write,
    "reIndex" => Write,
    "refreshSessions" => Write,
    "renameCollection" => Write,
    "replSetAbortPrimaryCatchUp" => Write,
    "replSetFreeze" => Write,
    "replSetGetConfig" => Names,
    "replSetGetRBID" => Read,
    "replSetGetStatus" => Names,
    "replSetInitiate" => Names,
    "replSetMaintenance" => Write,
    "replSetReconfig" => Names,
    "replSetResizeOplog" => Write,
    "replSetStepDown" => Write,
    "replSetSyncFrom" => Names,
    "replSetTest" => Write,
    "resetError" => LastError,
    "reseterror" => LastError,
    "rolesInfo" => Read,
    "saslContinue" => Authentication,
    "saslStart" => Authentication,
    "serverStatus" => Names,
    "setDefaultRWConcern" => Write,
    "setFeatureCompatibilityVersion" => Write,
    "setParameter" => Write,
    "shutdown" => Write,
    "startSession" => Read,
    "top" => Read,
    "update" => Write,
    "updateUser" => Write,
    "usersInfo" => Read,
    "validate" => Read,
    "validateDBMetadata" => Read,
    "waitForFailPoint" => Read,
    "whatsmyuri" => WhatsMyUri,
}

/// Slots of the hash table over the names: a power of two, several times their number, so that probes are short.
const SLOTS: usize = 512;

/// Names longer than this share the hash of their front.
const HASHED: usize = 32;

/// Places in [`TABLE`] by the hash of their names, with linear probing; 0 where nothing is.
static PLACES: [u8; SLOTS] = places();

const fn places() -> [u8; SLOTS] {
    let mut places = [0; SLOTS];
    let mut place = 1;
    while place < TABLE.len() {
        let mut slot = slot(TABLE[place].0.as_bytes());
        while places[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        places[slot] = place as u8;
        place += 1;
    }
    places
}

/// Where the search for `name` begins: FNV-1a, folded.
const fn slot(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < name.len() && at < HASHED {
        hash = (hash ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 16)) as usize % SLOTS
}

/// A command of the table, by its place there: what metrics and classification work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Command(u8);

impl Command {
    /// What is not in the table.
    pub const OTHER: Command = Command(0);
    /// How many there are, `other` included: the closed set of the metrics' label `command`.
    pub const COUNT: usize = TABLE.len();

    /// The command called `name`, by MongoDB's own spelling.
    pub fn named(name: &[u8]) -> Command {
        let mut slot = slot(name);
        loop {
            let place = PLACES[slot];
            // An empty slot leads to `other`, which is nobody's name.
            if place == 0 || TABLE[usize::from(place)].0.as_bytes() == name {
                return Command(place);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// All commands, in the order of [`Command::index`].
    pub fn all() -> impl Iterator<Item = Command> {
        (0..TABLE.len()).map(|place| Command(place as u8))
    }

    /// Its place, below [`Command::COUNT`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// MongoDB's name for it, or `other`.
    pub fn name(self) -> &'static str {
        TABLE[self.index()].0
    }

    /// What its name alone tells.
    pub fn kind(self) -> Kind {
        TABLE[self.index()].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_fits_its_index() {
        assert!(TABLE[1..].windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(TABLE.len() <= 256);
    }

    #[test]
    fn a_search_looks_at_few_names() {
        let longest = PLACES.split(|place| *place == 0).map(<[u8]>::len).max().unwrap();
        assert!(longest <= 8, "{longest} names in a row");
    }

    #[test]
    fn every_name_is_found_and_others_are_other() {
        for command in Command::all().skip(1) {
            assert_eq!(Command::named(command.name().as_bytes()), command);
        }
        for name in [b"FIND".as_slice(), b"", b"fin", b"finds", &[b'x'; 1000]] {
            assert_eq!(Command::named(name), Command::OTHER);
        }
        assert_eq!(Command::named(b"other").kind(), Kind::Write);
    }
}
