//! Packet captures as packets: pcap and pcapng, of either byte order, in microseconds or nanoseconds.

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{
    Block, InterfaceDescriptionBlock, LegacyPcapReader, PcapBlockOwned, PcapError, PcapNGReader,
};

use super::input::{Cut, Input};
use super::merge::Source;
use super::tally::{Skip, Tally};

/// The longest packet, or block of a file, that is read, bytes: `tcpdump` writes at most 256 KiB of one.
const BLOCK_MAX: usize = 1 << 20;

/// Bytes that are read at a time, unless a block is longer.
const BUFFER: usize = 128 << 10;

/// Interfaces of one section that are told apart.
const INTERFACES_MAX: usize = 10_000;

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// What it begins with: a number of <https://www.tcpdump.org/linktypes.html>.
    pub link: i32,
    /// Its bytes, as many as were captured.
    pub bytes: Vec<u8>,
}

/// What a section says of an interface.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: i32,
    /// Of a second there are so many; `None` if it says something that there is not.
    units: Option<u128>,
    offset_seconds: i64,
}

/// One file.
pub struct Packets {
    reader: Box<dyn PcapReaderIterator + Send>,
    interfaces: Vec<Interface>,
    /// The time of the last packet, for those that have none.
    last: i64,
    is_nanoseconds: bool,
    is_over: bool,
    buffer: usize,
}

impl Packets {
    /// Reads what the file says of itself.
    pub fn new(input: Input) -> Result<Packets, Cut> {
        let is_legacy = !input.front().starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]);
        let no_front = |error: PcapError<&[u8]>| Cut::Off(format!("no packet capture: {}", words(&error)));
        let reader: Box<dyn PcapReaderIterator + Send> = match is_legacy {
            true => Box::new(LegacyPcapReader::new(BUFFER, input).map_err(no_front)?),
            false => Box::new(PcapNGReader::new(BUFFER, input).map_err(no_front)?),
        };
        Ok(Packets {
            reader,
            interfaces: Vec::new(),
            last: 0,
            is_nanoseconds: false,
            is_over: false,
            buffer: BUFFER,
        })
    }
}

/// What is done with a block.
enum Step {
    Packet(i64, Packet),
    Skipped(Skip),
    Nothing,
}

impl Source for Packets {
    type Item = Packet;

    fn next(&mut self, tally: &mut Tally) -> Result<Option<(i64, Packet)>, Cut> {
        while !self.is_over {
            let (length, step) = match self.reader.next() {
                Ok((length, block)) => {
                    (length, step(&block, &mut self.interfaces, &mut self.is_nanoseconds, self.last))
                }
                Err(PcapError::Eof) => break,
                Err(PcapError::Incomplete(_)) => {
                    self.refill()?;
                    continue;
                }
                Err(PcapError::BufferTooSmall) if self.buffer < 2 * BLOCK_MAX => {
                    self.buffer *= 2;
                    self.reader.grow(self.buffer);
                    self.refill()?;
                    continue;
                }
                Err(error) => {
                    self.is_over = true;
                    return Err(Cut::Off(words(&error)));
                }
            };
            self.reader.consume(length);
            match step {
                Step::Packet(time, packet) => {
                    self.last = time;
                    return Ok(Some((time, packet)));
                }
                Step::Skipped(why) => tally.skip(why),
                Step::Nothing => {}
            }
        }
        Ok(None)
    }
}

impl Packets {
    /// Reads on. What does not fit is no packet.
    fn refill(&mut self) -> Result<(), Cut> {
        let before = self.reader.data().len();
        let failed = self.reader.refill().err().map(|error| words(&error));
        if let Some(failed) = failed {
            self.is_over = true;
            return Err(Cut::Off(failed));
        }
        if self.reader.data().len() == before && !self.reader.reader_exhausted() {
            self.is_over = true;
            return Err(Cut::Off(format!("a block of more than {BLOCK_MAX} bytes")));
        }
        Ok(())
    }
}

fn step(
    block: &PcapBlockOwned<'_>,
    interfaces: &mut Vec<Interface>,
    is_nanoseconds: &mut bool,
    last: i64,
) -> Step {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            *is_nanoseconds = header.is_nanosecond_precision();
            interfaces.push(Interface { link: link(header.network.0), units: None, offset_seconds: 0 });
            Step::Nothing
        }
        PcapBlockOwned::Legacy(packet) => {
            let fraction = i64::from(packet.ts_usec) * if *is_nanoseconds { 1 } else { 1000 };
            let time = i64::from(packet.ts_sec) * 1_000_000_000 + fraction;
            taken(interfaces.first(), time, packet.data, packet.caplen)
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            Step::Nothing
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(described)) => {
            if interfaces.len() < INTERFACES_MAX {
                interfaces.push(interface(described));
            }
            Step::Nothing
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let interface = interfaces.get(packet.if_id as usize);
            let raw = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            let time = interface.and_then(|interface| interface.time(raw)).unwrap_or(last);
            taken(interface, time, packet.data, packet.caplen)
        }
        // These have no time.
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            taken(interfaces.first(), last, packet.data, packet.origlen)
        }
        PcapBlockOwned::NG(_) => Step::Nothing,
    }
}

fn taken(interface: Option<&Interface>, time: i64, bytes: &[u8], captured: u32) -> Step {
    let Some(interface) = interface else { return Step::Skipped(Skip::NoInterface) };
    // Blocks are padded.
    let bytes = bytes.get(..captured as usize).unwrap_or(bytes);
    Step::Packet(time, Packet { link: interface.link, bytes: bytes.to_vec() })
}

/// The upper bits of a pcap file's link type say other things.
fn link(network: i32) -> i32 {
    network & 0xffff
}

fn interface(described: &InterfaceDescriptionBlock<'_>) -> Interface {
    let exponent = u32::from(described.if_tsresol & 0x7f);
    let units = match described.if_tsresol & 0x80 {
        0 => 10u128.checked_pow(exponent),
        _ => 1u128.checked_shl(exponent),
    };
    Interface {
        link: link(described.linktype.0),
        units: units.filter(|units| *units <= u128::from(u64::MAX)),
        offset_seconds: described.if_tsoffset,
    }
}

impl Interface {
    /// Nanoseconds since 1970.
    fn time(&self, raw: u64) -> Option<i64> {
        let nanos = u128::from(raw).checked_mul(1_000_000_000)? / self.units?;
        let offset = self.offset_seconds.checked_mul(1_000_000_000)?;
        i64::try_from(nanos).ok()?.checked_add(offset)
    }
}

fn words(error: &PcapError<&[u8]>) -> String {
    match error {
        PcapError::Eof | PcapError::UnexpectedEof | PcapError::Incomplete(_) => {
            "it ends in the middle of a packet".to_owned()
        }
        PcapError::BufferTooSmall => format!("a packet, or a block, of more than {BLOCK_MAX} bytes"),
        PcapError::ReadError => "it cannot be read on".to_owned(),
        PcapError::HeaderNotRecognized => "its front is that of no pcap or pcapng file".to_owned(),
        PcapError::NomError(..) | PcapError::OwnedNomError(..) => {
            "no packet begins where one has to".to_owned()
        }
    }
}

impl std::fmt::Debug for Packets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets").field("interfaces", &self.interfaces.len()).finish_non_exhaustive()
    }
}
