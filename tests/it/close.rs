//! Promise: after a close every accepted record is in a file or counted as lost, and later writes are refused and
//! counted. It may be called again, by anybody, and with no time at all.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, FlushError, WriteError};

use crate::support::{
    Answer, BOUND, Gate, Op, SetAtEnd, Tally, TestFs, WriterDir, close, record, stats, until,
};

#[test]
fn while_others_write_and_go_on_trying() {
    for round in 0..6 {
        let dir = WriterDir::new();
        let config = dir.config().size(128).queue_size(60).workers(1 + round % 4).file_size(2000);
        let writer = BufferedWriter::new(config).unwrap();
        let started = AtomicU32::new(0);
        let done = AtomicBool::new(false);
        let refused = AtomicU64::new(0);
        let (accepted, report) = thread::scope(|scope| {
            let threads: Vec<_> = (0..16_u32)
                .map(|producer| {
                    let (writer, started, done, refused) = (&writer, &started, &done, &refused);
                    scope.spawn(move || {
                        let mut own = (producer % 2 == 0).then(|| writer.producer());
                        let (mut buffer, mut seqs, mut closed) = (Vec::new(), Vec::new(), false);
                        for seq in 0.. {
                            record(&mut buffer, producer, seq, 12 + seq as usize % 150);
                            // Without a pause also when it is refused: the closer must get along.
                            while !(closed && done.load(Ordering::Relaxed)) {
                                let result = match &mut own {
                                    Some(own) => own.write(&buffer),
                                    None => writer.write(&buffer),
                                };
                                match result {
                                    Ok(()) => {
                                        assert!(!closed, "accepted after a refusal as closed");
                                        seqs.push(seq);
                                        break;
                                    }
                                    Err(WriteError::Full) => thread::yield_now(),
                                    Err(WriteError::Closed) => {
                                        refused.fetch_add(1, Ordering::Relaxed);
                                        closed = true;
                                    }
                                    Err(other) => panic!("{other}"),
                                }
                            }
                            if seq == 100 {
                                started.fetch_add(1, Ordering::Relaxed);
                            }
                            if closed {
                                return (producer, seqs);
                            }
                        }
                        unreachable!()
                    })
                })
                .collect();
            let end = SetAtEnd(&done);
            until("everybody writes", || started.load(Ordering::Relaxed) == 16);
            let report = writer.close(BOUND);
            drop(end);
            let threads = threads.into_iter().map(|thread| thread.join().unwrap());
            (threads.collect::<Vec<_>>(), report.unwrap())
        });
        let records: usize = accepted.iter().map(|(_, seqs)| seqs.len()).sum();
        assert_eq!(report.accepted.records, records as u64);
        assert_eq!(report.written, report.accepted);
        assert_eq!(stats(&writer).refused.closed.records, refused.load(Ordering::Relaxed));
        Tally::of(&dir).assert_all(accepted);
        dir.assert_clean();
    }
}

/// Callers that try again without a pause are in a write most of the time. They don't keep the
/// close waiting: their refusals are none of its business.
#[test]
fn is_not_held_up_by_refusals() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config()).unwrap();
    let started = AtomicU32::new(0);
    let done = AtomicBool::new(false);
    let threads = 24;
    thread::scope(|scope| {
        for _ in 0..threads {
            let (mut own, started, done) = (writer.producer(), &started, &done);
            scope.spawn(move || {
                started.fetch_add(1, Ordering::Relaxed);
                while !done.load(Ordering::Relaxed) {
                    // Nothing between two calls, where a thread could be seen at rest.
                    for _ in 0..1000 {
                        let _ = own.write(b"abc\n");
                    }
                }
            });
        }
        let end = SetAtEnd(&done);
        until("everybody writes", || started.load(Ordering::Relaxed) == threads);
        let report = writer.close(BOUND);
        drop(end);
        let report = report.unwrap();
        assert_eq!(report.accepted, report.written);
    });
    stats(&writer);
    let bytes: usize = dir.contents().iter().map(Vec::len).sum();
    assert_eq!(bytes as u64, stats(&writer).written.bytes);
    dir.assert_clean();
}

#[test]
fn again_and_from_several_threads() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config()).unwrap();
    let mut own = writer.producer();
    let mut buffer = Vec::new();
    for seq in 0..1000 {
        record(&mut buffer, 1, seq, 100);
        own.write_timeout(&buffer, BOUND).unwrap();
    }
    let reports: Vec<_> = thread::scope(|scope| {
        let closers: Vec<_> = (0..8).map(|_| scope.spawn(|| close(&writer))).collect();
        closers.into_iter().map(|closer| closer.join().unwrap()).collect()
    });
    assert!(reports.iter().all(|report| *report == reports[0]));
    assert_eq!(close(&writer), reports[0]);
    assert_eq!(writer.close(Duration::ZERO).unwrap(), reports[0]);
    assert_eq!(own.write(&buffer), Err(WriteError::Closed));
    assert_eq!(own.write_timeout(&buffer, BOUND), Err(WriteError::Closed));
    assert_eq!(writer.producer().write(&buffer), Err(WriteError::Closed));
    assert_eq!(close(&writer).refused.closed.records, 3);
    Tally::of(&dir).assert_ranges(&[(1, 1000)]);
    dir.assert_clean();
}

/// Whatever the moment: what the report says was written is visible, the rest never becomes so.
#[test]
fn with_no_time_at_all() {
    for round in 0..40_u32 {
        let dir = WriterDir::new();
        let config = dir.config().size(128).queue_size(60).workers(4).file_size(1000);
        let writer = BufferedWriter::new(config).unwrap();
        let mut buffer = Vec::new();
        for seq in 0..round * 5 {
            record(&mut buffer, 1, seq, 50);
            writer.write_timeout(&buffer, BOUND).unwrap();
        }
        let report = match writer.close(Duration::from_micros(u64::from(round % 4) * 100)) {
            Ok(report) => {
                assert_eq!(report.written, report.accepted);
                report
            }
            Err(error) => *error.report(),
        };
        assert_eq!(report.accepted.records, u64::from(round * 5));
        assert_eq!(report.accepted, report.written + report.lost.total() + report.unresolved);
        until("renames under way have ended", || stats(&writer).pending.is_zero());
        until("the workers have cleaned up", || dir.temps().is_empty());
        let tally = Tally::of(&dir);
        let now = stats(&writer);
        assert_eq!(
            (tally.found.records, tally.found.bytes),
            (now.written.records, now.written.bytes)
        );
        assert!(now.written.records >= report.written.records);
        dir.assert_nothing_hidden();
    }
}

/// A flush that a close overtakes says so, unless everything was visible by then.
#[test]
fn overtakes_a_flush() {
    for round in 0..60_u64 {
        let dir = WriterDir::new();
        let config = dir.config().size(128).queue_size(60).workers(2);
        let writer = BufferedWriter::new(config).unwrap();
        let mut buffer = Vec::new();
        for seq in 0..50 {
            record(&mut buffer, 1, seq, 50);
            writer.write_timeout(&buffer, BOUND).unwrap();
        }
        thread::scope(|scope| {
            let flushers: Vec<_> = (0..4).map(|_| scope.spawn(|| writer.flush(BOUND))).collect();
            if round % 2 == 0 {
                thread::yield_now();
            }
            let _ = writer.close(Duration::from_micros(round % 10 * 20));
            for flusher in flushers {
                match flusher.join().unwrap() {
                    Ok(()) => Tally::of(&dir).assert_ranges(&[(1, 50)]),
                    Err(FlushError::Closed) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
        until("the workers have cleaned up", || dir.temps().is_empty());
        stats(&writer);
    }
}

/// The worker comes back from the disk just when it was given up, while many wait for their flush. None of them may
/// hear that it is done.
#[test]
fn no_flush_succeeds_once_it_was_given_up() {
    for _ in 0..20 {
        let dir = WriterDir::new();
        let (gate, pass) = Gate::open();
        let fs = TestFs::new(move |call| {
            if call.op == Op::Sync && call.is_temp() {
                pass.through();
            }
            Answer::Go
        });
        let config = dir.config().workers(1).durability(bufferedwriter::Durability::File).fs(fs);
        let writer = BufferedWriter::new(config).unwrap();
        gate.set_shut(true);
        writer.write(b"lost\n").unwrap();
        let asking = AtomicU32::new(0);
        thread::scope(|scope| {
            let flush = || {
                asking.fetch_add(1, Ordering::Relaxed);
                writer.flush(BOUND)
            };
            let flushers: Vec<_> = (0..48).map(|_| scope.spawn(flush)).collect();
            until("all ask, and the worker hangs", || {
                asking.load(Ordering::Relaxed) == 48 && gate.waiting() == 1
            });
            assert!(writer.close(Duration::ZERO).is_err());
            gate.set_shut(false);
            for flusher in flushers {
                let flushed = flusher.join().unwrap();
                assert!(matches!(flushed, Err(FlushError::Closed)), "{flushed:?}");
            }
        });
        until("the worker has cleaned up", || dir.temps().is_empty());
        assert!(dir.files().is_empty());
        assert_eq!(stats(&writer).lost.shutdown.records, 1);
    }
}

#[test]
fn gives_up_on_a_disk_that_hangs() {
    for op in [Op::Create, Op::Write, Op::Rename] {
        let dir = WriterDir::new();
        let (gate, pass) = Gate::open();
        let fs = TestFs::new(move |call| {
            if call.op == op && call.is_temp() {
                pass.through();
            }
            Answer::Go
        });
        let writer = BufferedWriter::new(dir.config().workers(1).fs(fs)).unwrap();
        writer.write(b"first\n").unwrap();
        writer.flush(BOUND).unwrap();
        gate.set_shut(true);
        writer.write(b"second\n").unwrap();
        thread::scope(|scope| {
            let flusher = scope.spawn(|| writer.flush(BOUND));
            until("the worker hangs", || gate.waiting() == 1);
            // Nobody can say yet what becomes of a file that is being renamed.
            let error = writer.close(Duration::from_millis(20)).unwrap_err();
            let report = *error.report();
            let (lost, unresolved) = if op == Op::Rename { (0, 1) } else { (1, 0) };
            assert_eq!(report.lost.shutdown.records, lost);
            assert_eq!(report.unresolved.records, unresolved);
            assert_eq!((report.accepted.records, report.written.records), (2, 1));
            assert!(error.to_string().contains(&format!("{lost} records lost")), "{error}");
            // What it waited for, as far as there is a file.
            assert_eq!(error.to_string().contains(".tmp"), op != Op::Create, "{error}");
            assert!(matches!(flusher.join().unwrap(), Err(FlushError::Closed)));
            assert_eq!(writer.write(b"third\n"), Err(WriteError::Closed));
            let again = writer.close(BOUND).unwrap_err();
            assert_eq!(again.report().lost, report.lost);
        });
        gate.set_shut(false);
        until("the worker has cleaned up", || {
            gate.waiting() == 0 && dir.temps().is_empty() && stats(&writer).pending.is_zero()
        });
        let now = stats(&writer);
        let visible = dir.contents().concat();
        if op == Op::Rename {
            assert_eq!((now.written.records, visible), (2, b"first\nsecond\n".to_vec()));
        } else {
            assert_eq!((now.written.records, visible), (1, b"first\n".to_vec()));
            assert_eq!(now.lost.shutdown.records, 1);
        }
        dir.assert_nothing_hidden();
    }
}

/// On network file systems and in FUSE, close(2) and unlink(2) may hang as a write does.
#[test]
fn no_call_at_the_end_holds_it_up_beyond_its_deadline() {
    for (op, is_flushed) in [(Op::Close, true), (Op::Close, false), (Op::Remove, true)] {
        let dir = WriterDir::new();
        let (gate, pass) = Gate::open();
        let hangs = Arc::new(AtomicBool::new(false));
        let fs = TestFs::new({
            let hangs = hangs.clone();
            move |call| {
                if hangs.load(Ordering::SeqCst) && call.op == op {
                    pass.through();
                } else if call.op == Op::Remove && call.is_temp() {
                    // So that a close which gives up has the file open to the last.
                    return Answer::Error(Errno::PERM);
                }
                Answer::Go
            }
        });
        let config = dir.config().size(64).workers(2).drop_timeout(Duration::from_millis(1));
        let writer = BufferedWriter::new(config.recover(false).fs(fs)).unwrap();
        writer.write(&[b'x'; 100]).unwrap();
        if is_flushed {
            writer.flush(BOUND).unwrap();
        } else {
            until("there is a temp file", || !dir.temps().is_empty());
        }
        gate.set_shut(true);
        hangs.store(true, Ordering::SeqCst);
        let timeout = Duration::from_millis(if is_flushed { 200 } else { 0 });
        let (said, hears) = mpsc::channel();
        let closer = thread::spawn(move || {
            let closed = writer.close(timeout);
            drop(writer);
            said.send(closed).unwrap();
        });
        let closed = hears.recv_timeout(BOUND);
        let closed = closed.unwrap_or_else(|_| panic!("{op:?}: it hangs, flushed: {is_flushed}"));
        assert_eq!(closed.is_ok(), is_flushed, "{closed:?}");
        until("it hangs in the background", || gate.waiting() > 0);
        gate.set_shut(false);
        closer.join().unwrap();
        until("the state file is gone", || dir.is_clean() || !is_flushed);
    }
}
