//! Promise: a worker that hangs in a call, whichever it is, holds its share of the memory and no more. Callers that
//! leave room are never refused, whoever their home was. What they write lands through the other workers. Once the
//! call returns, the rest lands too.

use std::thread;

use bufferedwriter::{BufferedWriter, Durability, Producer};

use crate::support::{
    Answer, BOUND, Gate, Op, Tally, TestFs, WriterDir, close, record, stats, until,
};

const WORKERS: usize = 8;
const SIZE: usize = 128;
/// Chunks in all, and those that a worker without progress may hold.
const CHUNKS: usize = 160;
const SHARE: usize = CHUNKS / WORKERS;
/// Records of each producer in one turn. Together they leave room: see `Load::turn`.
const BURST: u32 = 2;
const TURNS: u32 = 150;

/// One of the writer's own threads, by its number.
fn is_worker(number: usize) -> bool {
    thread::current().name() == Some(&*format!("bw-{number}"))
}

/// Producers, one for each worker's home.
struct Load {
    producers: Vec<Producer>,
    seq: u32,
    buffer: Vec<u8>,
}

impl Load {
    fn new(writer: &BufferedWriter) -> Self {
        let producers = (0..WORKERS).map(|_| writer.producer()).collect();
        Load { producers, seq: 0, buffer: Vec::new() }
    }

    /// As fast as chunks come back: at most half of the memory is in use when it begins. No write
    /// waits, none is refused.
    fn turn(&mut self, writer: &BufferedWriter) {
        until("half of the memory is free", || stats(writer).memory_bytes <= CHUNKS / 2 * SIZE);
        for _ in 0..BURST {
            for (number, producer) in self.producers.iter_mut().enumerate() {
                record(&mut self.buffer, number as u32, self.seq, 90);
                let said = producer.write(&self.buffer);
                assert_eq!(said, Ok(()), "producer {number}: {:?}", stats(writer));
            }
            self.seq += 1;
        }
    }
}

/// All homes go round while this worker hangs in this operation.
fn others_go_on(op: Op, durability: Durability, stuck: usize) {
    let dir = WriterDir::new();
    let (gate, pass) = Gate::open();
    let fs = TestFs::new(move |call| {
        if call.op == op && is_worker(stuck) {
            pass.through();
        }
        Answer::Go
    });
    let config = dir.config().size(SIZE).queue_size(CHUNKS - WORKERS).workers(WORKERS);
    let writer =
        BufferedWriter::new(config.file_size(1000).durability(durability).fs(fs.clone())).unwrap();
    let mut load = Load::new(&writer);
    let mut tally = Tally::default();
    // Each worker has a producer and has made progress.
    (0..20).for_each(|_| load.turn(&writer));
    writer.flush(BOUND).unwrap();
    tally.look(&dir);
    let homes = tally.homes.values().flatten().copied().collect::<std::collections::BTreeSet<_>>();
    assert!(
        homes.contains(&stuck),
        "{op:?}: no producer is at home with worker {stuck}: {homes:?}"
    );

    gate.set_shut(true);
    let before = load.seq;
    for _ in 0..TURNS {
        load.turn(&writer);
    }
    assert_eq!(gate.waiting(), 1, "{op:?}: the worker hangs");
    // Its share; what it had taken before it hung; and a chunk that each producer had begun.
    let held = stats(&writer).workers[stuck].backlog_chunks;
    assert!(held <= 2 * SHARE + WORKERS, "{op:?}: worker {stuck} holds {held} of {CHUNKS} chunks");
    // All the rest lands, without the one that hangs: it is asked to, nobody waits for its answer.
    let _ = writer.flush(std::time::Duration::ZERO);
    let kept_max = ((2 * SHARE + WORKERS) * SIZE + 1000) as u64;
    until("all but the hanging worker's share is visible", || {
        stats(&writer).pending.bytes <= kept_max
    });
    tally.look(&dir);
    for producer in 0..WORKERS as u32 {
        let late = (before + BURST * TURNS / 2..load.seq).filter(|&seq| tally.has(producer, seq));
        let (late, of) = (late.count() as u32, BURST * TURNS / 2);
        assert!(late > of / 2, "{op:?}: {late} of {of} late records of producer {producer}");
    }

    gate.set_shut(false);
    let sent = load.seq;
    drop(load);
    let report = close(&writer);
    assert_eq!(report.refused.total().records, 0, "{op:?}");
    tally.look(&dir);
    tally.assert_ranges(&(0..WORKERS as u32).map(|p| (p, sent)).collect::<Vec<_>>());
    fs.assert_sound();
    dir.assert_clean();
}

#[test]
fn in_a_write_each_worker_in_turn() {
    (0..WORKERS).for_each(|stuck| others_go_on(Op::Write, Durability::None, stuck));
}

#[test]
fn in_a_creation_or_a_rename() {
    for (i, op) in [Op::Create, Op::Rename].into_iter().enumerate() {
        others_go_on(op, Durability::None, i);
        others_go_on(op, Durability::File, i + 3);
    }
}

#[test]
fn in_an_fsync_of_a_file_or_of_the_directory() {
    for (i, op) in [Op::Sync, Op::SyncDir].into_iter().enumerate() {
        others_go_on(op, Durability::File, i);
        others_go_on(op, Durability::File, i + 4);
    }
}
