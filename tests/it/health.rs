//! Promise: `health` tells which worker is held up, by what, since when, and how much it holds back. It does so
//! also for a call that does not return, and tells when all is well again. Others go on meanwhile.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bufferedwriter::BufferedWriter;
use bufferedwriter::testing::Errno;

use crate::support::{
    BOUND, Op, Tally, WriterDir, close, fails_while_broken, flush_error, hangs_at, record, stats,
    until,
};

#[test]
fn one_worker_fails_and_the_others_go_on() {
    let dir = WriterDir::new();
    let (broken, fs) =
        fails_while_broken(Errno::NOSPC, |call| call.op == Op::Create && call.worker() == Some(0));
    let config = dir.config().size(64).queue_size(60).workers(4).file_size(600).fs(fs);
    let began = Instant::now();
    let writer = BufferedWriter::new(config).unwrap();
    assert!(writer.health().is_ok());
    let (mut own, mut buffer, mut seq) = (writer.producer(), Vec::new(), 0);
    until("worker 0 fails, and the others' files appear", || {
        record(&mut buffer, 1, seq, 40);
        // Whoever has its share of the memory leaves the rest to the others: nobody waits for long.
        own.write_timeout(&buffer, BOUND).unwrap();
        seq += 1;
        seq >= 1000 && stats(&writer).files > 20 && !writer.health().is_ok()
    });
    let mut attempts = 0;
    until("it is tried again", || {
        let health = writer.health();
        let [stall] = &health.stalls[..] else { panic!("{health:?}") };
        assert_eq!((stall.worker, stall.error.operation()), (0, "create"), "{stall}");
        assert_eq!(stall.error.kind(), ErrorKind::StorageFull);
        assert!(stall.error.path().is_some_and(|path| path.starts_with(&dir.temp)), "{stall}");
        assert!(stall.since >= began && stall.lasting <= began.elapsed(), "{stall}");
        assert!((1..=32).contains(&stall.held_chunks), "{stall:?}");
        assert!(stall.held_in_file.is_zero(), "{stall:?}");
        assert!(stall.attempts >= attempts, "{stall}");
        attempts = stall.attempts;
        attempts >= 3
    });
    assert_eq!(flush_error(&writer).operation(), "create");
    let now = stats(&writer);
    assert_eq!(now.refused.total().records, 0);
    let held_up: Vec<_> = now.workers.iter().map(|worker| worker.last_error.is_some()).collect();
    assert_eq!(held_up, [true, false, false, false], "{now:?}");
    broken.store(false, Ordering::SeqCst);
    writer.flush(BOUND).unwrap();
    assert!(writer.health().is_ok(), "{:?}", writer.health());
    drop(own);
    close(&writer);
    assert!(writer.health().is_ok());
    Tally::of(&dir).assert_ranges(&[(1, seq)]);
}

#[test]
fn what_waits_for_a_rename_is_told() {
    let dir = WriterDir::new();
    let (broken, fs) =
        fails_while_broken(Errno::ACCESS, |call| call.op == Op::Rename && call.is_temp());
    let writer = BufferedWriter::new(dir.config().size(64).workers(1).fs(fs)).unwrap();
    let mut buffer = Vec::new();
    for seq in 0..10 {
        record(&mut buffer, 1, seq, 50);
        writer.write(&buffer).unwrap();
    }
    assert_eq!(flush_error(&writer).operation(), "rename");
    let stall = writer.health().stalls.remove(0);
    assert_eq!((stall.held_in_file.records, stall.held_in_file.bytes), (10, 500), "{stall:?}");
    broken.store(false, Ordering::SeqCst);
    close(&writer);
}

#[test]
fn a_call_that_does_not_return_is_told_after_a_second() {
    for op in [Op::Create, Op::Write] {
        let dir = WriterDir::new();
        let (gate, fs) = hangs_at(op);
        let writer = BufferedWriter::new(dir.config().size(64).workers(1).fs(fs)).unwrap();
        gate.set_shut(true);
        writer
            .write(b"a record that is larger than a chunk, so that it goes to a worker at once")
            .unwrap();
        until("the call hangs", || gate.waiting() == 1);
        let began = Instant::now();
        until("it is told", || !writer.health().is_ok());
        let stall = writer.health().stalls.remove(0);
        assert_eq!((stall.worker, stall.error.operation()), (0, "finish"), "{stall}");
        assert_eq!((stall.error.kind(), stall.attempts), (ErrorKind::TimedOut, 0));
        let path = stall.error.path().unwrap();
        // There is no file before it is created.
        let expected = if op == Op::Create { dir.temp.clone() } else { dir.temps().remove(0) };
        assert_eq!(path, expected);
        assert!(stall.lasting >= Duration::from_secs(1) && stall.held_chunks == 2, "{stall:?}");
        assert!(began.elapsed() + Duration::from_millis(100) >= Duration::from_secs(1));
        // Statistics tell the same.
        let told = stats(&writer).workers.remove(0).last_error.unwrap();
        assert_eq!(told.to_string(), stall.error.to_string());
        gate.set_shut(false);
        until("all is well", || writer.health().is_ok());
        assert!(stats(&writer).workers[0].last_error.is_none());
        close(&writer);
    }
}
