//! What is deliberately left as the servers sent it.

/// Replies, by command and field, whose text may be a member's address all the same and that torana passes
/// unchanged: they speak of the operating system's host, of the process's own command line, of sockets' other
/// ends or of what was logged. The README shows this list; a test searches the raw bytes of every reply for
/// addresses and allows nothing else.
pub const CLOSED_LIST: &[(&str, &str, &str)] = &[
    (
        "serverStatus",
        "host, advisoryHostFQDNs",
        "the operating system's name for the machine, with mongod's port",
    ),
    ("$currentOp, currentOp", "host, client, client_s", "the machine's name; the other end of a socket"),
    ("$currentOp, currentOp", "command.from, command.hostInfo", "requests of the members among themselves"),
    ("explain and $collStats, $indexStats, $planCacheStats", "serverInfo.host, host", "the machine's name"),
    ("hostInfo", "system.hostname", "the machine's name"),
    ("whatsmyuri, connectionStatus", "you", "the other end of a socket"),
    ("getCmdLineOpts", "argv, parsed", "mongod's command line, bindIp among it"),
    ("find on local.startup_log", "hostname, cmdLine", "the machine's name; mongod's command line"),
    ("getLog", "log", "the text of mongod's log"),
    ("getParameter", "values", "parameters that were given as text"),
    ("find on local.oplog.rs and system.profile", "o, command, client", "what was stored or recorded"),
    (
        "find on a view of local.system.replset, and later batches of an aggregate that joins it",
        "members[].host",
        "a reply does not tell where its documents come from",
    ),
    ("hello", "tags", "what the configuration's author wrote"),
    ("replSetGetConfig", "members[].horizons, tags", "names that the configuration's author wrote"),
];
