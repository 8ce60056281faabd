//! The capture as one stream of blocks, over all its files, as often as is wanted. One block is in memory at a time. A
//! block that is damaged is passed over and counted; what is wrong with a capture never ends a replay half-way.

use std::path::Path;

use bson::oid::ObjectId;

use crate::capture::file::records;
use crate::capture::{CaptureError, Head, Reader, folder};

/// Sentences about damage that are kept.
const NOTES_MAX: usize = 20;

/// A capture that is being read.
#[derive(Debug)]
pub struct Source {
    files: Vec<Reader>,
    file: usize,
    block: usize,
    damage: Damage,
}

/// What of a capture could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damage {
    /// Blocks that were passed over.
    pub blocks: u64,
    /// Records that are not there, as far as is known.
    pub records: u64,
    /// What is wrong, in words: the first of each kind of place.
    pub notes: Vec<String>,
}

impl Source {
    /// Opens the capture at `path`, a folder or one file.
    pub fn open(path: &Path) -> Result<Source, CaptureError> {
        let files = folder::open(path)?;
        let mut damage = Damage::default();
        for file in &files {
            let name = file.path().display();
            file.damage.iter().for_each(|what| damage.note(format!("{name}: {what}")));
        }
        Ok(Source { files, file: 0, block: 0, damage })
    }

    /// The head of its first file.
    pub fn head(&self) -> Option<&Head> {
        self.files.first().map(|file| &file.head)
    }

    /// The replica set that it came from; `None` if it is not known, or not the same in all files.
    pub fn replica_set_id(&self) -> Option<ObjectId> {
        let first = self.head()?.replica_set_id?;
        self.files.iter().all(|file| file.head.replica_set_id == Some(first)).then_some(first)
    }

    /// The times of its first and of its last record.
    pub fn span(&self) -> (u64, u64) {
        let blocks = || self.files.iter().flat_map(|file| &file.blocks);
        let first = blocks().map(|block| block.first).min().unwrap_or(0);
        (first, blocks().map(|block| block.last).max().unwrap_or(0).max(first))
    }

    /// Begins anew.
    pub fn rewind(&mut self) {
        (self.file, self.block) = (0, 0);
    }

    /// The bytes of the next block that can be read, and the number of its records.
    pub fn next_block(&mut self) -> Option<Vec<u8>> {
        loop {
            let file = self.files.get_mut(self.file)?;
            let Some(block) = file.blocks.get(self.block).copied() else {
                self.file += 1;
                self.block = 0;
                continue;
            };
            self.block += 1;
            match file.block(&block) {
                Ok(bytes) => {
                    let missing = u64::from(block.records).saturating_sub(records(&bytes).count() as u64);
                    if missing > 0 {
                        let at = format!("{}, byte {}", file.path().display(), block.at);
                        self.damage.note(format!("{at}: {missing} records of a block are none"));
                        self.damage.records += missing;
                    }
                    return Some(bytes);
                }
                Err(error) => {
                    self.damage.blocks += 1;
                    self.damage.records += u64::from(block.records);
                    self.damage.note(error.to_string());
                }
            }
        }
    }

    /// What could not be read so far.
    pub fn damage(&self) -> &Damage {
        &self.damage
    }
}

impl Damage {
    fn note(&mut self, what: String) {
        if self.notes.len() < NOTES_MAX && !self.notes.contains(&what) {
            self.notes.push(what);
        }
    }
}
