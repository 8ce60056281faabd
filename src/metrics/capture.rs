//! What is captured of the clients' traffic.

use prometheus::IntGauge;

use super::builder::Builder;
use super::counts::Counter;

/// Captures, one at a time in a process; no labels.
pub struct CaptureMetrics {
    /// 1 while one is being recorded.
    pub recording: IntGauge,
    /// Records written.
    pub records: Counter,
    /// Bytes of records, before compression.
    pub raw_bytes: Counter,
    /// Bytes written to files.
    pub written_bytes: Counter,
    /// Files begun.
    pub files: Counter,
    /// Connections of which the rest is not in the capture.
    pub lost: Counter,
    /// Captures that ended before they were told to: the disk was full or failed, or the quota was reached.
    pub cut_short: Counter,
    /// Bytes that wait to be written, replies that are being put together included.
    pub queue_bytes: IntGauge,
    /// How many there may be.
    pub queue_limit_bytes: IntGauge,
}

impl CaptureMetrics {
    pub(super) fn new(builder: &mut Builder) -> CaptureMetrics {
        CaptureMetrics {
            recording: builder.gauge("torana_capture_recording", "1 while traffic is being captured"),
            records: builder.counter("torana_capture_records_total", "Records written to captures"),
            raw_bytes: builder
                .counter("torana_capture_raw_bytes_total", "Bytes of captured records before compression"),
            written_bytes: builder
                .counter("torana_capture_written_bytes_total", "Bytes written to the files of captures"),
            files: builder.counter("torana_capture_files_total", "Files of captures begun"),
            lost: builder.counter(
                "torana_capture_connections_lost_total",
                "Client connections dropped from a capture because the disk was behind or memory was short",
            ),
            cut_short: builder.counter(
                "torana_capture_cut_short_total",
                "Captures that ended early: at their quota, or because the disk was full or failed",
            ),
            queue_bytes: builder
                .gauge("torana_capture_queue_bytes", "Bytes of captured traffic that wait to be written"),
            queue_limit_bytes: builder
                .gauge("torana_capture_queue_limit_bytes", "Bytes of captured traffic that may wait"),
        }
    }
}

impl std::fmt::Debug for CaptureMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureMetrics").finish_non_exhaustive()
    }
}
