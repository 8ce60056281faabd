//! Closed sets of label values: the only ones, besides sets and members, that any series carries.

use crate::command::Command;

/// One or several labels whose values are known when torana is compiled.
pub trait Label: Copy + Send + Sync + 'static {
    /// How many values there are.
    const COUNT: usize;

    /// The labels' names.
    fn names() -> Vec<&'static str>;

    /// All values, in the order of [`Label::index`].
    fn all() -> impl Iterator<Item = Self>;

    /// The place of this value, below [`Label::COUNT`].
    fn index(self) -> usize;

    /// The text of each label, in the order of [`Label::names`].
    fn texts(self) -> Vec<&'static str>;
}

impl Label for Command {
    const COUNT: usize = Command::COUNT;

    fn names() -> Vec<&'static str> {
        vec!["command"]
    }

    fn all() -> impl Iterator<Item = Self> {
        Command::all()
    }

    fn index(self) -> usize {
        Command::index(self)
    }

    fn texts(self) -> Vec<&'static str> {
        vec![self.name()]
    }
}

impl<A: Label, B: Label> Label for (A, B) {
    const COUNT: usize = A::COUNT * B::COUNT;

    fn names() -> Vec<&'static str> {
        [A::names(), B::names()].concat()
    }

    fn all() -> impl Iterator<Item = Self> {
        A::all().flat_map(|first| B::all().map(move |second| (first, second)))
    }

    fn index(self) -> usize {
        self.0.index() * B::COUNT + self.1.index()
    }

    fn texts(self) -> Vec<&'static str> {
        [self.0.texts(), self.1.texts()].concat()
    }
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident $label:literal {
        $($(#[$value_doc:meta])* $value:ident = $text:literal,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$value_doc])* $value,)*
        }

        impl $name {
            const ALL: &'static [$name] = &[$($name::$value,)*];

            /// Its text, as the label carries it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$value => $text,)*
                }
            }
        }

        impl Label for $name {
            const COUNT: usize = $name::ALL.len();

            fn names() -> Vec<&'static str> {
                vec![$label]
            }

            fn all() -> impl Iterator<Item = Self> {
                $name::ALL.iter().copied()
            }

            fn index(self) -> usize {
                self as usize
            }

            fn texts(self) -> Vec<&'static str> {
                vec![self.as_str()]
            }
        }
    )*};
}

labels! {
    /// Why a client's connection ended.
    EndReason "reason" {
        /// The client closed it between two messages, owing and owed nothing.
        Clean = "clean",
        /// The client's socket failed, or ended inside a message.
        Error = "error",
        /// The client left while a reply was outstanding.
        Abandoned = "abandoned",
        /// No message for the clients' idle time-out.
        IdleTimeout = "idle_timeout",
        /// No first message within the login time-out.
        LoginTimeout = "login_timeout",
        /// A message that had begun was not complete in time.
        SlowMessage = "slow_message",
        /// A legacy write was not followed by its getLastError in time.
        LastErrorTimeout = "last_error_timeout",
        /// The server did not reply in time.
        ReplyTimeout = "reply_timeout",
        /// The client sent what the wire protocol does not allow.
        ProtocolError = "protocol_error",
        /// The client asked for what torana refuses on any connection.
        Refused = "refused",
        /// The server connection failed once bytes of a request had been written to it.
        ServerError = "server_error",
        /// No connection to the member could be made.
        Unreachable = "unreachable",
        /// The monitor lost the member.
        MemberLost = "member_lost",
        /// The member left the set, or changed its name.
        MemberRemoved = "member_removed",
        /// The client did not take its reply in time.
        SlowReader = "slow_reader",
        /// torana is shutting down.
        Shutdown = "shutdown",
    }

    /// Why a server connection was closed.
    CloseReason "reason" {
        /// Unused for the pool's idle time-out.
        Idle = "idle",
        /// Older than the pool's lifetime.
        Lifetime = "lifetime",
        /// Made before the pool was last cleared.
        Stale = "stale",
        /// Reading or writing failed.
        Error = "error",
        /// The server sent what nobody asked for, or a reply to another request.
        Protocol = "protocol",
        /// Its client left in the middle of an exchange.
        Abandoned = "abandoned",
        /// Found closed, or readable without reason, before use.
        FoundDead = "found_dead",
        /// Its pool was closed.
        Shutdown = "shutdown",
    }

    /// How an operation of a client ended.
    Outcome "outcome" {
        /// Replied to with `ok: 1`, or needed no reply.
        Ok = "ok",
        /// The server replied with an error.
        Error = "error",
        /// Its time was up in torana: in the wait queue or waiting for the reply.
        Timeout = "timeout",
        /// torana replied with an error of its own.
        Refused = "refused",
        /// Its client left, or the connection to the server failed, before the reply was complete.
        Abandoned = "abandoned",
    }

    /// What a member says it is.
    MemberState "state" {
        /// It takes writes.
        Primary = "primary",
        /// It has the data and takes reads.
        Secondary = "secondary",
        /// It votes and has no data.
        Arbiter = "arbiter",
        /// Not in a replica set.
        Standalone = "standalone",
        /// In start-up, recovery, rollback, or removed.
        Other = "other",
        /// It does not answer.
        Unknown = "unknown",
    }

    /// What an operation on a tagged collection is.
    TaggedKind "kind" {
        /// Reads, and the further batches of their cursors.
        Read = "read",
        /// Writes.
        Write = "write",
        /// Commits of transactions that have touched a tagged collection.
        Transaction = "transaction",
    }

    /// What was kept for a tagged operation: the highest level of the collections that it touched.
    TaggedLevel "level" {
        /// After everything that was told through this torana.
        Causal = "causal",
        /// And after what the client was told through others.
        Sequential = "sequential",
        /// And after everything that anyone was told.
        Linearizable = "linearizable",
    }

    /// What an observed read was found to be.
    Observed "outcome" {
        /// Its member had everything of the collection that anyone had been told of.
        Current = "current",
        /// Its member had not.
        Behind = "behind",
    }

    /// What a read of a tagged collection was found to be.
    CollectionRead "outcome" {
        /// The member that was asked answered, and had everything that anyone had been told of.
        Current = "current",
        /// It had not, and answered: the collection is only observed.
        Behind = "behind",
        /// It had not, and another member answered in its place.
        PassedOver = "passed_over",
    }

    /// How an attempt at writing a set's horizon ended.
    HorizonWrite "outcome" {
        /// The register says what was to be published.
        Written = "written",
        /// Another torana had written it: once more.
        Behind = "behind",
        /// No answer, or no connection.
        Failed = "failed",
    }

    /// How the rest of an exchange ended whose client had left.
    OrphanEnd "end" {
        /// The reply came within the grace period and was thrown away.
        Discarded = "discarded",
        /// A write ran to its end and its reply was thrown away.
        Drained = "drained",
        /// A read was ended by closing its server connection.
        Closed = "closed",
        /// A read was ended by `killOp`.
        Killed = "killed",
        /// A transaction that no connection used was aborted.
        Aborted = "aborted",
    }

    /// What the answers of both sets to a shadowed read came to.
    ShadowOutcome "outcome" {
        /// They say the same.
        Equal = "equal",
        /// They did not at first, and do since the second set was asked again.
        Late = "late",
        /// They differ, and the collection was written to meanwhile: it need not mean anything.
        Racing = "racing",
        /// They differ.
        Different = "different",
        /// The second set gave an error, the first an answer.
        ErrorShadow = "error_shadow",
        /// The first set gave an error, the second an answer.
        ErrorLive = "error_live",
        /// They cannot be compared.
        NotComparable = "not_comparable",
    }

    /// Why a shadowed read came to nothing.
    ShadowDrop "reason" {
        /// There was no memory left for it, or for its answer.
        QueueFull = "queue_full",
        /// It had waited for longer than the time-out before it could be asked.
        Waited = "waited",
        /// The second set did not answer in time.
        TimedOut = "timed_out",
        /// There was no connection to the second set, or it broke.
        NoConnection = "no_connection",
        /// The first set's answer is longer than what is compared.
        TooLarge = "too_large",
        /// The client was given no answer to it.
        Unanswered = "unanswered",
    }

    /// Who answered.
    ShadowSide "side" {
        /// The set that is served.
        Live = "live",
        /// The second one.
        Shadow = "shadow",
    }

    /// Which way a message went.
    Direction "direction" {
        /// From the client to the server.
        Request = "request",
        /// From the server to the client.
        Reply = "reply",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_a_place_of_its_own_in_order() {
        let places: Vec<usize> = <(Command, Outcome)>::all().map(Label::index).collect();
        assert_eq!(places, (0..<(Command, Outcome)>::COUNT).collect::<Vec<_>>());
        assert_eq!(<(Command, Outcome)>::names(), ["command", "outcome"]);
    }

    #[test]
    fn a_reason_carries_its_text() {
        assert_eq!(EndReason::SlowReader.texts(), ["slow_reader"]);
        assert_eq!(EndReason::all().count(), EndReason::COUNT);
    }
}
