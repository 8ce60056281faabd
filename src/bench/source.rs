//! What the engine sends: the operations of a workload, or the documents of its load in batches.

use super::engine::Source;
use super::mix::Mix;
use super::template::{Draws, Template};
use super::workload::{Load, Workload};
use crate::doc::DocWriter;
use crate::wire::{MsgFlags, OpMsgBuilder};

/// Bytes of one batch of the load, roughly: far below what a message may have, enough that its round trip does not count.
const BATCH_BYTES: usize = 1 << 20;

/// Documents of one batch.
const BATCH_DOCUMENTS: u64 = 1000;

/// The load's documents come from a stream of their own.
const LOAD_STREAM: u64 = 0x6c6f_6164_6c6f_6164;

/// The operations of a workload, without end.
#[derive(Debug)]
pub struct Operations<'w> {
    workload: &'w Workload,
    mix: Mix,
    draws: Draws,
}

impl<'w> Operations<'w> {
    /// From the first; `$next` is `next`.
    pub fn new(workload: &'w Workload, next: i64) -> Operations<'w> {
        let mix = Mix::new(workload.operations.iter().map(|operation| operation.weight));
        Operations { workload, mix, draws: Draws::new(workload.seed, workload.keys(), next) }
    }

    /// What `$next` is now.
    pub fn next_number(&self) -> i64 {
        self.draws.next
    }
}

impl Source for Operations<'_> {
    fn next(&mut self, request_id: i32, out: &mut Vec<u8>) -> usize {
        let kind = self.mix.draw(&mut self.draws.random);
        let builder = OpMsgBuilder::begin(out, request_id, 0, MsgFlags(0));
        if let Some(operation) = self.workload.operations.get(kind) {
            operation.template.write(&mut self.draws, out);
        }
        builder.finish(out);
        kind
    }
}

/// The documents of a load, in batches.
#[derive(Debug)]
pub struct Documents<'w> {
    database: &'w str,
    load: &'w Load,
    draws: Draws,
    batch: u64,
}

impl<'w> Documents<'w> {
    /// All of them, from the first.
    pub fn new(workload: &'w Workload, load: &'w Load) -> Documents<'w> {
        let mut draws = Draws::new(workload.seed ^ LOAD_STREAM, workload.keys(), 0);
        let length = sample(&load.document, &mut draws.clone());
        let batch = (BATCH_BYTES / length.max(1)) as u64;
        draws.next = 0;
        Documents { database: &workload.database, load, draws, batch: batch.clamp(1, BATCH_DOCUMENTS) }
    }

    /// How many batches there are.
    pub fn batches(&self) -> u64 {
        self.load.documents.div_ceil(self.batch)
    }

    /// Documents of a batch, the last one aside.
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// One document.
    pub fn document(&mut self, out: &mut Vec<u8>) {
        self.load.document.write(&mut self.draws, out);
    }
}

fn sample(template: &Template, draws: &mut Draws) -> usize {
    let mut out = Vec::new();
    template.write(draws, &mut out);
    out.len()
}

impl Source for Documents<'_> {
    fn next(&mut self, request_id: i32, out: &mut Vec<u8>) -> usize {
        let left = self.load.documents.saturating_sub(self.draws.next.max(0) as u64);
        let builder = OpMsgBuilder::begin(out, request_id, 0, MsgFlags(0));
        let mut command = DocWriter::begin(out);
        command.string(b"insert", &self.load.collection).bool(b"ordered", false);
        command.string(b"$db", self.database);
        command.finish();
        out.push(1);
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(b"documents\0");
        for _ in 0..left.min(self.batch) {
            self.document(out);
        }
        let length = (out.len() - start) as i32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        builder.finish(out);
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::workload::{EXAMPLE, parse};
    use crate::replay::view::View;

    #[test]
    fn a_load_is_all_its_documents_in_whole_batches_and_a_rest() {
        let text = EXAMPLE.replace("20_000", "2500").replace("1KiB", "250B");
        let workload = parse("w.toml", &text).unwrap();
        let mut source = Documents::new(&workload, workload.load.as_ref().unwrap());
        assert_eq!((source.batch(), source.batches()), (1000, 3));
        let mut numbers = Vec::new();
        for _ in 0..source.batches() {
            let mut message = Vec::new();
            source.next(1, &mut message);
            for document in View::of(&message).unwrap().batch("documents") {
                let document = bson::Document::from_reader(document).unwrap();
                numbers.push(document.get_i64("_id").unwrap());
                assert_eq!(bson::serialize_to_vec(&document).unwrap().len(), 250);
            }
        }
        assert!(numbers.into_iter().eq(0..2500));
    }

    #[test]
    fn a_seed_makes_the_same_operations() {
        // Times are those of the clock.
        let text = EXAMPLE.replace("\"$now\"", "1");
        let sent = |text: &str| {
            let workload = parse("w.toml", text).unwrap();
            let mut source = Operations::new(&workload, 5);
            let mut all = Vec::new();
            for _ in 0..200 {
                let mut message = Vec::new();
                source.next(1, &mut message);
                all.push(message);
            }
            all
        };
        assert_eq!(sent(&text), sent(&text));
        assert_ne!(sent(&text), sent(&text.replace("seed = 1", "seed = 2")));
    }
}
