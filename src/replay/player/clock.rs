//! What the player does by the clock alone: how long it may sleep, and how a replay ends before its end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::connection::Queued;
use super::{Ended, LEAD, Player, SWEEP_EVERY};
use crate::replay::job::{End, Item, Job};

/// A replay ends when a member could not be reached for so long, nanoseconds: as long as drivers look for a server.
const GIVE_UP: u64 = 30_000_000_000;

/// After a replay was stopped, what was sent has so long to be answered, nanoseconds.
const STOPPING: u64 = 5_000_000_000;

impl Player {
    pub(super) fn end_unsent(&mut self, job: Box<Job>) {
        self.end(Queued { job, due: 0, ready: 0 }, 0, End::Ended);
    }

    /// The replay ends before its end: what was not sent is not sent any more.
    pub(super) fn end_early(&mut self, ended: Ended) {
        let now = self.now();
        self.ended = Some((ended, now));
        self.stops.stop.store(true, Ordering::Relaxed);
        self.drop_unsent();
    }

    pub(super) fn drop_unsent(&mut self) {
        self.coming_bytes = 0;
        for item in std::mem::take(&mut self.coming) {
            if let Item::Job(job) = item {
                self.end_unsent(job);
            }
        }
        for slot in 0..self.connections.len() {
            self.with(slot, |player, connection| {
                for queued in std::mem::take(&mut connection.jobs) {
                    player.queued -= 1;
                    player.queued_bytes = player.queued_bytes.saturating_sub(queued.job.bytes());
                    player.end(queued, 0, End::Ended);
                }
            });
        }
    }

    /// Until when there is nothing to do but what the poller tells.
    pub(super) fn wait_until(&self, next_due: Option<u64>) -> Duration {
        let takes_more = self.has_more && self.has_room();
        if takes_more || !self.work.is_empty() {
            return Duration::ZERO;
        }
        // Whole milliseconds are one system call less, and nothing has its time at the highest speed.
        if !self.is_paced() {
            return Duration::from_nanos(SWEEP_EVERY);
        }
        // What is due and finds no room is let go when an answer has made some, which wakes the player anyway.
        let due = next_due.unwrap_or(u64::MAX);
        Duration::from_nanos(due.min(self.next_sweep).saturating_sub(self.now()))
    }

    pub(super) fn look_at_clock(&mut self) {
        let now = self.now();
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_EVERY;
        self.give_up_late(now);
        for member in 0..self.members.len() {
            let retried = self.members[member].retry(now);
            self.work.extend(retried);
        }
        self.go_on();
        if let Some((_, since)) = self.ended {
            if now.saturating_sub(since) > STOPPING {
                self.give_up_all();
            }
            return;
        }
        let lost =
            self.members.iter_mut().find_map(|member| (member.down_for(now) > GIVE_UP).then_some(member));
        let lost =
            lost.map(|member| format!("{} could not be reached for 30 s ({})", member.name, member.error));
        let lead = if self.is_paced() { LEAD } else { 0 };
        let limit = self.options.run_for.map(|limit| limit.as_nanos() as u64 + lead);
        if let Some(lost) = lost {
            self.end_early(Ended::Lost(lost));
        } else if self.stops.interrupted.load(Ordering::Relaxed) {
            self.end_early(Ended::Stopped);
        } else if limit.is_some_and(|limit| now >= limit) {
            self.end_early(Ended::TimeUp);
        }
    }
}
