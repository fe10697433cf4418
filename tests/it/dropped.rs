//! Promise: the drop of the last handle publishes everything, and on a disk that hangs returns
//! after `drop_timeout`; what was given up then never appears.

use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, WriteError};

use crate::support::{Answer, BOUND, Gate, Op, Tally, TestFs, WriterDir, record, stats, until};

#[test]
fn the_last_clone_publishes() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().drop_timeout(BOUND)).unwrap();
    thread::scope(|scope| {
        for producer in 0..4 {
            let writer = writer.clone();
            scope.spawn(move || {
                let mut buffer = Vec::new();
                for seq in 0..500 {
                    record(&mut buffer, producer, seq, 60);
                    writer.write_timeout(&buffer, BOUND).unwrap();
                }
            });
        }
    });
    assert!(dir.files().is_empty());
    assert_eq!(stats(&writer).pending.records, 2000);
    drop(writer);
    Tally::of(&dir).assert_ranges(&[(0, 500), (1, 500), (2, 500), (3, 500)]);
    dir.assert_clean();
}

#[test]
fn a_producer_is_a_handle_too() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().drop_timeout(BOUND)).unwrap();
    let mut own = writer.producer();
    own.write(b"before\n").unwrap();
    drop(writer);
    own.write(b"after\n").unwrap();
    assert!(dir.files().is_empty());
    // Dropped on another thread than the one that made it.
    thread::spawn(move || drop(own)).join().unwrap();
    assert_eq!(dir.contents(), [b"before\nafter\n"]);
    dir.assert_clean();
}

#[test]
fn what_was_given_up_never_appears() {
    for op in [Op::Create, Op::Write] {
        for drop_timeout in [Duration::ZERO, Duration::from_millis(50)] {
            let dir = WriterDir::new();
            let (gate, pass) = Gate::open();
            let fs = TestFs::new(move |call| {
                if call.op == op && call.is_temp() {
                    pass.through();
                }
                Answer::Go
            });
            let config = dir.config().workers(1).size(64).drop_timeout(drop_timeout).fs(fs);
            let writer = BufferedWriter::new(config).unwrap();
            gate.set_shut(true);
            let mut buffer = Vec::new();
            for seq in 0..20 {
                record(&mut buffer, 1, seq, 40);
                writer.write(&buffer).unwrap();
            }
            until("the worker hangs", || gate.waiting() == 1);
            let began = Instant::now();
            let own = writer.producer();
            drop(writer);
            assert_eq!(gate.waiting(), 1, "a handle is left, nothing is given up");
            drop(own);
            assert!(began.elapsed() >= drop_timeout && began.elapsed() < BOUND);
            gate.set_shut(false);
            until("the worker has ended", || {
                gate.waiting() == 0 && dir.temps().is_empty() && !is_locked(&dir)
            });
            assert!(dir.files().is_empty());
            dir.assert_nothing_hidden();
        }
    }
}

/// The state file is locked as long as a worker lives.
fn is_locked(dir: &WriterDir) -> bool {
    dir.states().iter().any(|path| std::fs::File::open(path).unwrap().try_lock().is_err())
}

#[test]
fn clones_and_producers_outlive_a_close() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config()).unwrap();
    let (clone, mut own) = (writer.clone(), writer.producer());
    writer.write(b"a\n").unwrap();
    crate::support::close(&writer);
    drop(writer);
    assert_eq!(clone.write(b"b\n"), Err(WriteError::Closed));
    drop(clone);
    assert_eq!(own.write(b"c\n"), Err(WriteError::Closed));
    drop(own);
    assert_eq!(dir.contents(), [b"a\n"]);
    dir.assert_clean();
}
