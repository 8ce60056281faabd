//! What the monitors see of a member.

use std::sync::Arc;

use prometheus::{Gauge, IntGauge};

use super::age::Age;
use super::builder::Builder;
use super::counts::Counter;
use super::labels::MemberState;
use super::table::OneOf;

/// One member as its monitors see it.
pub struct TopologyMetrics {
    /// What it says it is.
    pub state: Arc<OneOf<MemberState>>,
    /// 1 while its newest hello may be served to clients.
    pub fresh: IntGauge,
    /// Elections that it was seen to win.
    pub elections: Counter,
    /// Hellos that failed or did not come in time.
    pub monitor_failures: Counter,
    /// Seconds since its newest hello.
    pub hello_age: Arc<Age>,
    /// Smoothed round-trip time, seconds.
    pub round_trip: Gauge,
}

impl TopologyMetrics {
    pub(super) fn new(builder: &mut Builder) -> TopologyMetrics {
        TopologyMetrics {
            state: builder.one_of(
                "torana_member_state",
                "1 for what the member says it is, 0 for the rest",
                MemberState::Unknown,
            ),
            fresh: builder.gauge("torana_member_fresh", "1 while the member's newest hello may be served"),
            elections: builder.counter("torana_elections_total", "Elections that the member was seen to win"),
            monitor_failures: builder.counter(
                "torana_monitor_failures_total",
                "Times that the monitor lost the member, or tried in vain to reach it",
            ),
            hello_age: builder.age("torana_hello_age_seconds", "Time since the member's newest hello"),
            round_trip: builder
                .float_gauge("torana_round_trip_seconds", "Smoothed round-trip time to the member"),
        }
    }
}
