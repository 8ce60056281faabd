//! One file of a capture: written block by block, read from any of them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::block::{BYTES_MAX, BlockFront, FRONT, MAGIC, Packer, unpack};
use super::error::CaptureError;
use super::head::{self, Head, HeadError};
use super::record::Record;
use crate::wire::crc32c;

/// The first bytes of an index.
const INDEX_MAGIC: [u8; 4] = *b"TIDX";

/// The last bytes of a file that was closed in order.
const END_MAGIC: [u8; 8] = *b"TORANEND";

/// Bytes of a trailer.
const TRAILER: u64 = 16;

/// Bytes of one block in the index.
const ENTRY: usize = 28;

/// The most blocks in one file: a terabyte of the smallest usual ones.
const BLOCKS_MAX: u32 = 1 << 24;

/// How much is looked through at a time for the next block behind damage.
const WINDOW: usize = 1 << 20;

/// Where a block is, and what it spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockAt {
    /// Where in the file it begins.
    pub at: u64,
    /// The time of its first record.
    pub first: u64,
    /// The time of its last record.
    pub last: u64,
    /// How many records it has.
    pub records: u32,
}

/// Writes one file: its head, then blocks, then its index. Each block is handed over in one write.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    packer: Packer,
    at: u64,
    index: Vec<BlockAt>,
}

impl<W: Write> Writer<W> {
    /// Writes the head.
    pub fn begin(mut out: W, head: &Head) -> io::Result<Writer<W>> {
        let bytes = head.encode().map_err(io::Error::other)?;
        out.write_all(&bytes)?;
        let at = bytes.len() as u64;
        Ok(Writer { out, packer: Packer::new()?, at, index: Vec::new() })
    }

    /// Writes a block of `count` records, which span `times`. After an error the file has at most a part of it at its end.
    pub fn block(&mut self, records: &[u8], count: u32, times: (u64, u64)) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let packed = self.packer.pack(records, count, times)?;
        self.out.write_all(packed)?;
        self.index.push(BlockAt { at: self.at, first: times.0, last: times.1, records: count });
        self.at += packed.len() as u64;
        Ok(())
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.at
    }

    /// Writes index and trailer.
    pub fn finish(mut self) -> io::Result<W> {
        let mut bytes = INDEX_MAGIC.to_vec();
        bytes.extend((self.index.len() as u32).to_le_bytes());
        for block in &self.index {
            for number in [block.at, block.first, block.last] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(block.records.to_le_bytes());
        }
        bytes.extend(crc32c(&bytes).to_le_bytes());
        bytes.extend(self.at.to_le_bytes());
        bytes.extend(END_MAGIC);
        self.out.write_all(&bytes)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Reads one file.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    /// What the file says of itself.
    pub head: Head,
    /// Its blocks, in the order of the file.
    pub blocks: Vec<BlockAt>,
    /// What is wrong with it: it was cut off, or parts of it are damaged. What is left can be read.
    pub damage: Vec<String>,
}

impl Reader {
    /// Opens a file: by its index, or, if it has none, by looking at each block's front.
    pub fn open(path: &Path) -> Result<Reader, CaptureError> {
        let io = |error| CaptureError::io(path, error);
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let (head, blocks_at) = read_head(&mut file, path)?;
        let mut reader = Reader { path: path.to_owned(), file, head, blocks: Vec::new(), damage: Vec::new() };
        match reader.indexed(length).map_err(io)? {
            Some(blocks) => reader.blocks = blocks,
            None => {
                reader.damage.push("it has no index: the recording did not end in order".to_owned());
                reader.scan(blocks_at, length).map_err(io)?;
            }
        }
        Ok(reader)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The records of one block, as bytes for [`records`].
    pub fn block(&mut self, block: &BlockAt) -> Result<Vec<u8>, CaptureError> {
        let damaged = |what| CaptureError::Damaged { path: self.path.clone(), at: block.at, what };
        let io = |error| CaptureError::io(&self.path, error);
        self.file.seek(SeekFrom::Start(block.at)).map_err(io)?;
        let mut front = [0; FRONT];
        self.file.read_exact(&mut front).map_err(io)?;
        let parsed = BlockFront::decode(&front).map_err(damaged)?;
        let mut payload = vec![0; parsed.payload];
        self.file.read_exact(&mut payload).map_err(io)?;
        unpack(&front, &parsed, &payload).map_err(damaged)
    }

    /// The index, if there is one that is sound.
    fn indexed(&mut self, length: u64) -> io::Result<Option<Vec<BlockAt>>> {
        let Some(trailer_at) = length.checked_sub(TRAILER) else { return Ok(None) };
        let mut trailer = [0; TRAILER as usize];
        self.file.seek(SeekFrom::Start(trailer_at))?;
        self.file.read_exact(&mut trailer)?;
        let index_at = u64_at(&trailer, 0);
        let size = trailer_at.checked_sub(index_at).filter(|_| trailer[8..] == END_MAGIC);
        let Some(size) = size.filter(|size| *size <= u64::from(BLOCKS_MAX) * ENTRY as u64 + 12) else {
            return Ok(None);
        };
        let mut index = vec![0; size as usize];
        self.file.seek(SeekFrom::Start(index_at))?;
        self.file.read_exact(&mut index)?;
        Ok(decode_index(&index))
    }

    /// Finds the blocks from `at` on. What is not one is passed over.
    fn scan(&mut self, mut at: u64, length: u64) -> io::Result<()> {
        while at < length {
            let mut front = [0; FRONT];
            self.file.seek(SeekFrom::Start(at))?;
            if length - at < FRONT as u64 {
                self.damage
                    .push(format!("byte {at}: the last {} bytes are a part of something", length - at));
                return Ok(());
            }
            self.file.read_exact(&mut front)?;
            match BlockFront::decode(&front) {
                Ok(block) if at + (FRONT + block.payload) as u64 > length => {
                    self.damage.push(format!("byte {at}: the file ends in the middle of a block"));
                    return Ok(());
                }
                Ok(_) if self.blocks.len() >= BLOCKS_MAX as usize => {
                    self.damage.push(format!("byte {at}: there are more than {BLOCKS_MAX} blocks"));
                    return Ok(());
                }
                Ok(block) => {
                    let BlockFront { first, last, records, .. } = block;
                    self.blocks.push(BlockAt { at, first, last, records });
                    at += (FRONT + block.payload) as u64;
                }
                Err(_) if front.starts_with(&INDEX_MAGIC) => return Ok(()),
                Err(what) => {
                    self.damage.push(format!("byte {at}: {what}"));
                    match self.next_block(at + 1)? {
                        Some(next) => at = next,
                        None => return Ok(()),
                    }
                }
            }
        }
        Ok(())
    }

    /// Where the next block may begin.
    fn next_block(&mut self, mut at: u64) -> io::Result<Option<u64>> {
        let mut window = Vec::new();
        loop {
            window.clear();
            self.file.seek(SeekFrom::Start(at))?;
            (&self.file).take(WINDOW as u64).read_to_end(&mut window)?;
            // A mark alone is no block: those in one stretch of damage are looked at here, and noted once.
            let is_front = |bytes: &[u8]| {
                bytes.starts_with(&MAGIC)
                    && bytes.first_chunk().is_some_and(|front| BlockFront::decode(front).is_ok())
            };
            if let Some(found) = window.windows(FRONT).position(is_front) {
                return Ok(Some(at + found as u64));
            }
            if window.len() < WINDOW {
                return Ok(None);
            }
            // A front may stand on the edge.
            at += (window.len() - (FRONT - 1)) as u64;
        }
    }
}

/// The records in a block's bytes; ends early if the bytes are not records.
pub fn records(mut block: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let (record, behind) = Record::decode(block)?;
        block = behind;
        Some(record)
    })
}

fn read_head(file: &mut File, path: &Path) -> Result<(Head, u64), CaptureError> {
    let not_whole = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => CaptureError::Damaged {
            path: path.to_owned(),
            at: 0,
            what: "the file ends in its head".to_owned(),
        },
        _ => CaptureError::io(path, error),
    };
    let wrong = |error| match error {
        HeadError::Magic => CaptureError::NotACapture { path: path.to_owned() },
        HeadError::Version(version) => CaptureError::Version { path: path.to_owned(), version },
        HeadError::Damaged(what) => CaptureError::Damaged { path: path.to_owned(), at: 0, what },
    };
    let mut before = [0; head::BEFORE];
    file.read_exact(&mut before).map_err(not_whole)?;
    let rest = Head::rest(&before).map_err(wrong)?;
    let mut bytes = before.to_vec();
    bytes.resize(head::BEFORE + rest, 0);
    file.read_exact(&mut bytes[head::BEFORE..]).map_err(not_whole)?;
    Ok((Head::decode(&bytes).map_err(wrong)?, bytes.len() as u64))
}

fn decode_index(bytes: &[u8]) -> Option<Vec<BlockAt>> {
    let (index, sum) = bytes.split_last_chunk::<4>()?;
    let entries = index.strip_prefix(INDEX_MAGIC.as_slice())?.get(4..)?;
    if crc32c(index) != u32::from_le_bytes(*sum) || entries.len() % ENTRY != 0 {
        return None;
    }
    let entry = |entry: &[u8]| BlockAt {
        at: u64_at(entry, 0),
        first: u64_at(entry, 8),
        last: u64_at(entry, 16),
        records: u64_at(entry, 20).wrapping_shr(32) as u32,
    };
    Some(entries.chunks_exact(ENTRY).map(entry).collect())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

const _: () = assert!(BYTES_MAX > super::record::RECORD_MAX + 4);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::record::Kind;

    fn head() -> Head {
        Head {
            capture_id: "c".into(),
            file: 1,
            started: bson::DateTime::from_millis(5),
            torana: "0".into(),
            set: "rs0".into(),
            replica_set_id: None,
            replies: "whole".into(),
            redact: "fields".into(),
            redact_fields: Vec::new(),
            sample: 1,
            selection: String::new(),
        }
    }

    /// A file of blocks with three records each, as bytes, and where its blocks end.
    fn file(blocks: u64) -> (Vec<u8>, Vec<u64>) {
        let mut writer = Writer::begin(Vec::new(), &head()).unwrap();
        let mut ends = vec![writer.bytes()];
        for block in 0..blocks {
            let mut bytes = Vec::new();
            let times = (block * 10, block * 10 + 2);
            for time in times.0..=times.1 {
                Record { connection: block, time, kind: Kind::Closed(true) }.encode(&mut bytes);
            }
            writer.block(&bytes, 3, times).unwrap();
            ends.push(writer.bytes());
        }
        (writer.finish().unwrap(), ends)
    }

    fn open(bytes: &[u8]) -> Result<Reader, CaptureError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture-00001.torana");
        std::fs::write(&path, bytes).unwrap();
        Reader::open(&path)
    }

    fn times(reader: &mut Reader) -> Vec<u64> {
        let blocks = reader.blocks.clone();
        let read = blocks.iter().filter_map(|block| reader.block(block).ok());
        read.flat_map(|block| records(&block).map(|record| record.time).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn what_is_written_is_read_with_its_head() {
        let mut reader = open(&file(3).0).unwrap();
        assert_eq!((reader.head.clone(), reader.damage.len()), (head(), 0));
        assert_eq!(times(&mut reader), [0, 1, 2, 10, 11, 12, 20, 21, 22]);
        assert_eq!(reader.blocks[1].records, 3);
        assert!(times(&mut open(&file(0).0).unwrap()).is_empty());
    }

    #[test]
    fn a_file_that_was_cut_off_anywhere_is_read_up_to_its_last_whole_block() {
        let (bytes, ends) = file(3);
        for length in 0..bytes.len() {
            let opened = open(&bytes[..length]);
            if length < ends[0] as usize {
                assert!(matches!(opened, Err(CaptureError::Damaged { .. })), "{length}");
                continue;
            }
            let mut reader = opened.unwrap();
            let whole = ends.iter().skip(1).filter(|end| **end as usize <= length).count();
            assert_eq!(times(&mut reader).len(), whole * 3, "{length}");
            assert!(!reader.damage.is_empty());
        }
    }

    #[test]
    fn a_flipped_bit_loses_the_block_that_it_is_in_and_no_other() {
        let (bytes, ends) = file(3);
        for at in ends[0] as usize..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let mut reader = open(&damaged).unwrap();
            let is_in_a_block = at < ends[3] as usize;
            assert_eq!(times(&mut reader).len(), if is_in_a_block { 6 } else { 9 }, "{at}");
        }
        for at in 0..ends[0] as usize {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            // The reserved bytes, too, are under the checksum.
            assert!(open(&damaged).is_err(), "{at}");
        }
    }

    #[test]
    fn other_files_and_later_versions_are_named() {
        let error = open(b"something else that is long enough").unwrap_err().to_string();
        assert!(error.contains("is not a capture of torana's"), "{error}");
        let mut later = file(1).0;
        later[8] = 2;
        let error = open(&later).unwrap_err().to_string();
        assert!(error.contains("format version 2; this torana reads versions up to 1"), "{error}");
    }

    #[test]
    fn marks_without_blocks_cost_no_more_than_their_bytes() {
        let mut bytes = file(0).0[..].to_vec();
        bytes.truncate(file(0).1[0] as usize);
        bytes.extend(b"TBLK\xff\xff\xff\xff".repeat(32 * 1024));
        let began = std::time::Instant::now();
        let reader = open(&bytes).unwrap();
        eprintln!("{:?} for {} bytes, {} notes", began.elapsed(), bytes.len(), reader.damage.len());
        assert!(reader.damage.len() < 100, "{}", reader.damage.len());
    }
}
