//! What the planner hands to the player, and the player to the judge: one captured operation on its way.

use crate::capture::{Form, Reply, Role};

use super::scorecard::Failure;

/// A captured connection in one pass over the capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Which pass, from 0.
    pub lap: u32,
    /// Its number in the capture.
    pub number: u64,
}

/// In the order of the capture.
#[derive(Debug)]
pub enum Item {
    /// The connection will have jobs. Comes before the first of them.
    Open(Opening),
    /// To be sent.
    Job(Box<Job>),
    /// The connection has no more jobs.
    Close(ConnectionId),
}

/// A connection that is to be opened.
#[derive(Debug)]
pub struct Opening {
    /// Which.
    pub connection: ConnectionId,
    /// What its member was.
    pub role: Role,
    /// Its member in the capture.
    pub member: Box<str>,
}

/// One operation that is to be sent.
#[derive(Debug)]
pub struct Job {
    /// Jobs are numbered from 0 in the order in which they were sent when they were captured.
    pub number: u64,
    /// The connection that it was captured on.
    pub connection: ConnectionId,
    /// When it was sent, nanoseconds since the first record of the first pass, at the capture's own speed.
    pub time: u64,
    /// The message as it was captured; the player edits it before it is sent.
    pub message: Vec<u8>,
    /// Jobs of other connections whose end it has to wait for.
    pub waits_for: Vec<u64>,
    /// The cursors that it uses, by their captured ids.
    pub cursors: CursorUse,
    /// `lsid.id` as it was captured.
    pub session: Option<[u8; 16]>,
    /// No reply is wanted.
    pub wants_none: bool,
    /// Its reply may name documents that the server made.
    pub may_upsert: bool,
    /// A write to its collection was under way at the same time.
    pub is_racing: bool,
    /// What was answered, if the capture has it.
    pub recorded: Option<Recorded>,
}

/// How a job uses cursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorUse {
    /// Not at all, or it opens one.
    None,
    /// `getMore` of this one.
    More(i64),
    /// `killCursors`.
    Kill,
}

/// The recorded answer to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// From request to reply, nanoseconds.
    pub latency: u64,
    /// Its error code: see [`Reply::code`].
    pub code: i32,
    /// Its cursor, 0 if there is none.
    pub cursor: i64,
    /// Documents in its batch.
    pub documents: u32,
    /// What more is known.
    pub form: RecordedForm,
}

/// What is kept of a recorded answer beside its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordedForm {
    /// Nothing.
    Nothing,
    /// The message.
    Whole(Vec<u8>),
    /// Its digest.
    Digest([u8; 16]),
}

impl Recorded {
    /// The answer `reply`, which came so long after its request.
    pub fn new(reply: &Reply<'_>, latency: u64) -> Recorded {
        let form = match reply.form {
            Form::Whole(message) => RecordedForm::Whole(message.to_vec()),
            Form::Digest(digest) => RecordedForm::Digest(*digest),
            Form::None | Form::TooLarge => RecordedForm::Nothing,
        };
        let Reply { code, cursor, documents, .. } = *reply;
        Recorded { latency, code, cursor, documents, form }
    }

    /// Bytes that it holds beside itself.
    pub fn bytes(&self) -> usize {
        match &self.form {
            RecordedForm::Whole(message) => message.len(),
            RecordedForm::Nothing | RecordedForm::Digest(_) => 0,
        }
    }
}

impl Job {
    /// Bytes that it holds, roughly.
    pub fn bytes(&self) -> usize {
        size_of::<Job>() + self.message.len() + self.recorded.as_ref().map_or(0, Recorded::bytes)
    }
}

/// What became of a job. Every job has one outcome.
#[derive(Debug)]
pub struct Outcome {
    /// The job, as it was sent.
    pub job: Box<Job>,
    /// When it was due, nanoseconds since the replay began.
    pub due: u64,
    /// When nothing but torana itself kept it from being sent any more.
    pub ready: u64,
    /// When it was sent; 0 if it was not.
    pub sent: u64,
    /// When its end was known.
    pub done: u64,
    /// How it ended.
    pub end: End,
}

/// How a job ended.
#[derive(Debug)]
pub enum End {
    /// It was answered. The answer is not here if too many were waiting to be compared.
    Answered(Option<Vec<u8>>),
    /// No answer was wanted.
    Unanswered,
    /// It failed.
    Failed(Failure),
    /// It needs what does not exist on the target.
    Unmatched,
    /// The replay ended before it was sent.
    Ended,
}
