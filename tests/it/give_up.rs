//! Promise: with `give_up_after`, records in memory are counted as lost once the disk has failed for that time, and
//! their memory serves again. Records in a file are never given up. A flush that waits hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, Durability, FlushError};

use crate::support::{
    Answer, BOUND, Drops, Op, Tally, TestFs, WriterDir, fails_while_broken, record, stats, until,
};

const AGE: Duration = Duration::from_millis(100);

/// A file system on which these operations fail on temp files, as long as it is broken.
fn broken(ops: &'static [Op]) -> (Arc<AtomicBool>, Arc<TestFs>) {
    fails_while_broken(Errno::NOSPC, move |call| ops.contains(&call.op) && call.is_temp())
}

#[test]
fn its_memory_serves_again_and_what_comes_later_lands() {
    for (op, durability) in [
        (Op::Create, Durability::None),
        (Op::Write, Durability::None),
        (Op::Sync, Durability::File),
    ] {
        let dir = WriterDir::new();
        let ops: &[Op] = match op {
            Op::Create => &[Op::Create],
            Op::Write => &[Op::Write],
            _ => &[Op::Sync],
        };
        let (broken, fs) = broken(ops);
        let config = dir.config().size(128).queue_size(14).workers(2).durability(durability);
        let config = config.give_up_after(AGE).fs(fs.clone());
        let began = Instant::now();
        let writer = BufferedWriter::new(config).unwrap();
        let (drops, mut buffer, mut seq) = (Drops::leaked(), Vec::new(), 0);
        // Five times what memory holds.
        while seq < 100 {
            record(&mut buffer, 1, seq, 100);
            if writer.send(drops.message(&buffer)).is_ok() {
                seq += 1;
            } else {
                std::thread::yield_now();
            }
            assert!(began.elapsed() < BOUND, "memory does not serve again");
        }
        assert!(began.elapsed() >= AGE);
        let flushed = writer.flush(BOUND);
        assert!(matches!(flushed, Err(FlushError::Io(_))), "{op:?}: {flushed:?}");
        let now = stats(&writer);
        assert_eq!((now.lost.gave_up.records, now.lost.gave_up.bytes), (100, 10_000), "{now:?}");
        assert!(now.pending.is_zero() && now.memory_bytes <= 128, "{now:?}");
        broken.store(false, Ordering::SeqCst);
        until("a record lands", || {
            record(&mut buffer, 1, seq, 100);
            writer.write_timeout(&buffer, BOUND).unwrap();
            seq += 1;
            writer.flush(BOUND).is_ok()
        });
        let report = writer.close(BOUND).unwrap();
        assert_eq!(report.lost.total(), report.lost.gave_up);
        assert_eq!(report.written.records + report.lost.gave_up.records, u64::from(seq));
        let tally = Tally::of(&dir);
        assert_eq!(tally.found.records, report.written.records);
        assert!(tally.found.records >= 1);
        drop(writer);
        until("each message is dropped", || drops.dropped() >= 100);
        fs.assert_sound();
        dir.assert_clean();
    }
}

#[test]
fn what_is_in_a_file_is_kept() {
    let dir = WriterDir::new();
    let writes = AtomicU64::new(0);
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = broken.clone();
    let fs = TestFs::new(move |call| {
        if call.op != Op::Write || !call.is_temp() || !is_broken.load(Ordering::SeqCst) {
            return Answer::Go;
        }
        // First some of it: two records, and a part of the third.
        let first = writes.fetch_add(1, Ordering::SeqCst) == 0;
        if first { Answer::Short(250) } else { Answer::Error(Errno::IO) }
    });
    let config = dir.config().size(100).queue_size(14).workers(1).give_up_after(AGE).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let mut buffer = Vec::new();
    let mut write = |seq| {
        record(&mut buffer, 1, seq, 100);
        writer.write(&buffer).unwrap();
    };
    (0..4).for_each(&mut write);
    until("three are in the file", || stats(&writer).workers[0].temp_file_bytes == 300);
    broken.store(true, Ordering::SeqCst);
    (4..9).for_each(&mut write);
    until("it gives up", || stats(&writer).lost.gave_up.records > 0);
    let lost = stats(&writer).lost.gave_up.records;
    assert!((1..=5).contains(&lost), "{:?}", stats(&writer));
    broken.store(false, Ordering::SeqCst);
    let flushed = writer.flush(BOUND);
    assert!(flushed.is_ok(), "{flushed:?}");
    let report = writer.close(BOUND).unwrap();
    assert_eq!((report.written.records, report.lost.total().records), (9 - lost, lost));
    let tally = Tally::of(&dir);
    assert_eq!(tally.found.records, 9 - lost);
    dir.assert_clean();
}

#[test]
fn a_close_need_not_wait_for_its_deadline() {
    let dir = WriterDir::new();
    let (_broken, fs) = broken(&[Op::Write]);
    let config = dir.config().size(64).workers(3).give_up_after(AGE).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    for n in 0..50 {
        writer.write(format!("record number {n}\n").as_bytes()).unwrap();
    }
    let report = writer.close(Duration::MAX).unwrap();
    assert_eq!((report.lost.gave_up.records, report.lost.shutdown.records), (50, 0));
    assert!(report.written.is_zero() && report.unresolved.is_zero());
    assert!(dir.files().is_empty());
    dir.assert_clean();
}

#[test]
fn by_default_nothing_is_given_up() {
    let dir = WriterDir::new();
    let (broken, fs) = broken(&[Op::Write]);
    let writer = BufferedWriter::new(dir.config().size(64).workers(1).fs(fs)).unwrap();
    writer.write(&[b'x'; 200]).unwrap();
    until("it was tried for some time", || {
        writer.health().stalls.first().is_some_and(|stall| stall.lasting > 5 * AGE)
    });
    assert_eq!((stats(&writer).pending.records, stats(&writer).lost.total().records), (1, 0));
    broken.store(false, Ordering::SeqCst);
    crate::support::close(&writer);
}
