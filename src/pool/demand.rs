//! How many connects to begin. Pure arithmetic, so that every case can be looked at.

/// What counts for the next connects.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Demand {
    /// Connections at most.
    pub max: usize,
    /// Connects at once at most.
    pub connecting_max: usize,
    /// Connections to keep idle.
    pub min_idle: usize,
    /// Connections there are, checked out or not.
    pub size: usize,
    /// Connections that nobody has picked up yet, those in the reaper's hands included.
    pub idle: usize,
    /// Callers that lack nothing but a connection. One that was given a connection and has not picked it up counts
    /// here and in `idle`.
    pub starved: usize,
    /// Connects under way.
    pub connecting: usize,
    /// The member counts as unreachable: one connect finds out whether it still is.
    pub paused: bool,
}

impl Demand {
    /// Connects to begin now.
    pub(super) fn connects(&self) -> usize {
        let lacking = match self.paused {
            true => usize::from(self.connecting == 0),
            false => (self.min_idle + self.starved).saturating_sub(self.idle + self.connecting),
        };
        let room = self.max.saturating_sub(self.size + self.connecting);
        lacking.min(room).min(self.connecting_max.saturating_sub(self.connecting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Demand = Demand {
        max: 10,
        connecting_max: 2,
        min_idle: 0,
        size: 0,
        idle: 0,
        starved: 0,
        connecting: 0,
        paused: false,
    };

    #[test]
    fn an_unused_pool_connects_only_for_its_minimum() {
        assert_eq!(EMPTY.connects(), 0);
        assert_eq!(Demand { min_idle: 1, ..EMPTY }.connects(), 1);
        assert_eq!(Demand { min_idle: 1, size: 1, idle: 1, ..EMPTY }.connects(), 0);
        assert_eq!(Demand { min_idle: 1, size: 1, ..EMPTY }.connects(), 1);
    }

    #[test]
    fn two_connects_at_a_time_and_none_that_nobody_waits_for() {
        assert_eq!(Demand { starved: 9, ..EMPTY }.connects(), 2);
        assert_eq!(Demand { starved: 9, connecting: 1, ..EMPTY }.connects(), 1);
        assert_eq!(Demand { starved: 9, connecting: 2, ..EMPTY }.connects(), 0);
        assert_eq!(Demand { starved: 1, connecting: 1, ..EMPTY }.connects(), 0);
    }

    #[test]
    fn an_assigned_connection_is_not_made_again() {
        assert_eq!(Demand { starved: 1, idle: 1, size: 1, ..EMPTY }.connects(), 0);
    }

    #[test]
    fn a_paused_pool_tries_one_connect_if_there_is_room() {
        assert_eq!(Demand { paused: true, starved: 9, ..EMPTY }.connects(), 1);
        assert_eq!(Demand { paused: true, starved: 9, connecting: 1, ..EMPTY }.connects(), 0);
        assert_eq!(Demand { paused: true, size: 10, ..EMPTY }.connects(), 0);
    }

    #[test]
    fn connects_under_way_count_against_the_limit() {
        assert_eq!(Demand { starved: 9, size: 9, ..EMPTY }.connects(), 1);
        assert_eq!(Demand { starved: 9, size: 9, connecting: 1, ..EMPTY }.connects(), 0);
        assert_eq!(Demand { starved: 9, size: 10, ..EMPTY }.connects(), 0);
    }
}
