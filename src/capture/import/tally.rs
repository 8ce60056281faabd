//! What of a source was not taken, counted by its reason: an import leaves nothing out silently.

use std::collections::BTreeMap;

/// Notes about damage that are kept.
const NOTES_MAX: usize = 20;

/// Why something of a source is not in the capture, or not as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // `Skip::words` has the sentence of each.
pub enum Skip {
    OtherPort,
    NotTcp,
    Fragment,
    LinkType,
    BadPacket,
    NoInterface,
    Tls,
    OtherProtocol,
    TooManyConnections,
    Gap,
    SnapLength,
    Memory,
    OutOfStep,
    LongRequest,
    MidStream,
    StrayReply,
    OpCommand,
    Opcode,
    BadMessage,
    Compressor,
    Shortened,
    BadDocument,
    NoOperation,
    NoTime,
    Truncated,
    NoDocuments,
    NoClient,
    Transaction,
    ProfileItself,
    Operation,
    TimeWentBack,
}

impl Skip {
    /// The reason in words, which follow a number.
    pub fn words(self) -> &'static str {
        match self {
            Skip::OtherPort => "TCP packets of other ports (--port)",
            Skip::NotTcp => "packets of other protocols than TCP",
            Skip::Fragment => "fragments of IP packets, which are not put together",
            Skip::LinkType => "packets of a link type that is not known",
            Skip::BadPacket => "packets that cannot be read",
            Skip::NoInterface => "packets of an interface that the file does not describe",
            Skip::Tls => "connections encrypted by TLS",
            Skip::OtherProtocol => "connections without any MongoDB message",
            Skip::TooManyConnections => "packets of connections beyond as many as are followed at a time",
            Skip::Gap => "connections dropped where bytes are missing",
            Skip::SnapLength => {
                "connections dropped where a packet was cut short when it was captured (tcpdump -s 0)"
            }
            Skip::Memory => "connections dropped as too many bytes came out of order",
            Skip::OutOfStep => "connections dropped where no message begins",
            Skip::LongRequest => "connections dropped at a request of more than 17 MiB",
            Skip::MidStream => {
                "bytes before the first whole message of connections that began before the capture"
            }
            Skip::StrayReply => "replies to requests that are not there",
            Skip::OpCommand => "messages of the opcodes 2010 and 2011, which servers 3.2 to 4.0 knew",
            Skip::Opcode => "messages of an unknown opcode",
            Skip::BadMessage => "messages that are not whole",
            Skip::Compressor => "compressed messages that cannot be unpacked",
            Skip::Shortened => {
                "replies that were recorded without all of their documents: their facts are kept"
            }
            Skip::BadDocument => {
                "documents that cannot be read (of JSON, extended JSON is, one document a line)"
            }
            Skip::NoOperation => "documents that are no operation",
            Skip::NoTime => "operations without a time",
            Skip::Truncated => "operations that the server cut short in its profile",
            Skip::NoDocuments => "inserts of which the profile does not have the documents",
            Skip::NoClient => "operations of the server's own, without a client",
            Skip::Transaction => "statements of transactions, of which the profile does not have all",
            Skip::ProfileItself => "operations on system.profile",
            Skip::Operation => "operations of a kind that cannot be made a command",
            Skip::TimeWentBack => "records whose time lay before the one before them on their connection",
        }
    }

    /// Whether what is counted is in the capture all the same.
    pub fn is_kept(self) -> bool {
        matches!(self, Skip::Shortened | Skip::TimeWentBack)
    }
}

/// Counts, and what is wrong with the sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<Skip, u64>,
    /// Where sources end early, or are damaged.
    pub damage: Vec<String>,
    /// The port that most packets of other ports were of.
    pub busiest_port: Option<u16>,
}

impl Tally {
    /// Counts one.
    pub fn skip(&mut self, why: Skip) {
        self.add(why, 1);
    }

    /// Counts `many`.
    pub fn add(&mut self, why: Skip, many: u64) {
        if many > 0 {
            *self.counts.entry(why).or_default() += many;
        }
    }

    /// How many there are.
    pub fn count(&self, why: Skip) -> u64 {
        self.counts.get(&why).copied().unwrap_or(0)
    }

    /// All counts, in the order of [`Skip`].
    pub fn counts(&self) -> impl Iterator<Item = (Skip, u64)> + '_ {
        self.counts.iter().map(|(why, count)| (*why, *count))
    }

    /// Takes note of damage.
    pub fn note(&mut self, what: String) {
        if self.damage.len() < NOTES_MAX {
            self.damage.push(what);
        }
    }
}
