//! Packet captures: packets, segments, connections, messages.

use super::error::ImportError;
use super::flows::Flows;
use super::merge::Merge;
use super::packets::Packets;
use super::segment::segment;
use super::taker::Taker;
use super::tape::Tape;

/// Takes all that is in `files` of servers on these ports. The port that most other packets were of, to be proposed where
/// nothing is found.
pub fn import<T: Tape>(
    files: Vec<(String, Packets)>,
    ports: &[u16],
    taker: &mut Taker<T>,
) -> Result<Option<u16>, ImportError> {
    let mut merge = Merge::new(files, &mut taker.tally);
    let mut flows = Flows::new(ports);
    let mut last = 0;
    while let Some(timed) = merge.next(&mut taker.tally) {
        last = timed.time;
        match segment(&timed.item) {
            Ok(segment) => flows.take(timed.time, &segment, taker)?,
            Err(why) => taker.tally.skip(why),
        }
    }
    let other = flows.busiest_other();
    flows.finish(last, taker)?;
    Ok(other)
}
