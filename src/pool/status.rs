//! A pool in numbers.

/// A pool in numbers, for gauges and error texts. Each number is right; together they may be a moment apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Connections at most, extra ones for awaiting operations included.
    pub max: usize,
    /// Connections there are.
    pub size: usize,
    /// Those that nobody uses.
    pub idle: usize,
    /// Those checked out.
    pub out: usize,
    /// Connects under way.
    pub connecting: usize,
    /// Callers waiting for a connection.
    pub waiting: usize,
    /// Waiting callers at most.
    pub queue_max: usize,
    /// Places of ordinary work in use.
    pub ordinary: usize,
    /// Places of ordinary work: the limit without the reserve.
    pub ordinary_max: usize,
    /// Awaiting operations that hold a permit.
    pub awaiting: usize,
    /// Awaiting operations that may hold a permit at once.
    pub awaiting_max: usize,
}

impl Status {
    /// Counts another pool in.
    pub fn add(&mut self, other: &Status) {
        self.add_lane(other);
        self.queue_max += other.queue_max;
        self.ordinary += other.ordinary;
        self.ordinary_max += other.ordinary_max;
        self.awaiting += other.awaiting;
        self.awaiting_max += other.awaiting_max;
    }

    /// Counts the extra connections for awaiting operations in.
    pub(super) fn add_lane(&mut self, lane: &Status) {
        self.max += lane.max;
        self.size += lane.size;
        self.idle += lane.idle;
        self.out += lane.out;
        self.connecting += lane.connecting;
        self.waiting += lane.waiting;
    }
}
