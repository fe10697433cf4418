//! Promise: files go past the page cache where that pays and the file system can, and hold the same as any other.
//! What it refuses goes through the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use bufferedwriter::testing::{Errno, Fs, RealFs};
use bufferedwriter::{BufferedWriter, Config, Durability, Io};

use crate::support::{
    Answer, BOUND, Op, Random, Tally, TestFs, WriterDir, close, record, stats, until,
};

/// Whether the file system of the tests has direct I/O at all.
fn is_possible(dir: &WriterDir) -> bool {
    let file = dir.temp.join("probe");
    let possible = RealFs.create(&file, 0o600).unwrap().go_direct().is_ok();
    std::fs::remove_file(&file).unwrap();
    if !possible {
        println!("skipped: no direct I/O in {}", dir.temp.display());
    }
    possible
}

/// Whether the first file of a writer with these options goes past the page cache.
fn is_direct(dir: &WriterDir, config: Config) -> bool {
    let writer = BufferedWriter::new(config.workers(1)).unwrap();
    let mut producer = writer.producer();
    // Seals a chunk, so that there is something to write.
    while stats(&writer).workers[0].temp_file_bytes == 0 {
        producer.write_timeout(b"a record\n", BOUND).unwrap();
        thread::yield_now();
    }
    let direct = stats(&writer).workers[0].temp_file_is_direct;
    drop(producer);
    close(&writer);
    dir.assert_clean();
    direct
}

#[test]
fn it_is_chosen_where_it_pays() {
    let dir = WriterDir::new();
    if !is_possible(&dir) {
        return;
    }
    let config = || dir.config().size(4096).queue_size(63);
    assert!(is_direct(&dir, config()), "64 chunks of 4 KiB make writes of 64 KiB and more");
    assert!(!is_direct(&dir, config().queue_size(15)), "too little memory for large writes");
    assert!(!is_direct(&dir, config().file_size(100_000)), "small files");
    assert!(!is_direct(&dir, config().io(Io::Buffered)));
    assert!(is_direct(&dir, config().queue_size(3).io(Io::Direct)));
}

#[test]
fn the_memory_bound_tells_what_it_takes() {
    let config = || Config::default().size(64 << 10).queue_size(1016);
    let staging = config().memory_bound() - config().io(Io::Buffered).memory_bound();
    assert_eq!(staging, 8 << 20, "a MiB for each worker");
    assert!(config().workers(0).memory_bound() > 0, "what `new` refuses has a bound all the same");
    let small = || Config::default().size(100).queue_size(8).workers(2);
    assert_eq!(small().memory_bound(), small().io(Io::Buffered).memory_bound());
    assert_eq!(small().io(Io::Direct).memory_bound() - small().memory_bound(), 2 * 8192);
}

/// Chunks wait for each other, but not for ever, and nobody has to ask.
#[test]
fn what_is_gathered_is_written_when_nothing_more_comes() {
    let dir = WriterDir::new();
    let config = dir.config().size(4096).queue_size(1023).workers(1);
    let writer = BufferedWriter::new(config.file_age(std::time::Duration::ZERO)).unwrap();
    let mut buffer = Vec::new();
    for seq in 0..3 {
        record(&mut buffer, 1, seq, 4000);
        writer.write(&buffer).unwrap();
    }
    until("two sealed chunks are written", || {
        stats(&writer).workers[0].temp_file_bytes == 2 * 4000
    });
    until("their memory came back", || stats(&writer).memory_bytes == 4096);
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(1, 3)]);
}

/// Four threads, records of all sizes, messages and chains among them; files of odd sizes.
fn everything_lands(dir: &WriterDir, config: Config) {
    const EACH: u32 = 1500;
    let writer = BufferedWriter::new(config).unwrap();
    thread::scope(|scope| {
        for producer in 0..4 {
            let writer = writer.clone();
            scope.spawn(move || {
                let (mut random, mut buffer) = (Random::new(producer.into()), Vec::new());
                for seq in 0..EACH {
                    let len = random.within(20, if seq % 100 == 0 { 40_000 } else { 3000 });
                    record(&mut buffer, producer, seq, len);
                    if seq % 3 == 0 {
                        let mut message = buffer.clone();
                        while let Err(refused) = writer.send(message) {
                            message = refused.into_inner();
                            thread::yield_now();
                        }
                    } else {
                        writer.write_timeout(&buffer, BOUND).unwrap();
                    }
                }
            });
        }
    });
    close(&writer);
    Tally::of(dir).assert_ranges(&[(0, EACH), (1, EACH), (2, EACH), (3, EACH)]);
    dir.assert_clean();
}

#[test]
fn files_hold_what_was_written() {
    for durability in [Durability::None, Durability::File] {
        for (size, queue_size) in [(1000, 60), (8192, 30), (100, 3000)] {
            let dir = WriterDir::new();
            let config = dir.config().size(size).queue_size(queue_size).workers(3);
            everything_lands(&dir, config.file_size(123_456).durability(durability).io(Io::Direct));
        }
    }
}

/// Only the parts of blocks at the ends of large writes go through it.
#[test]
fn nearly_all_bytes_go_past_the_page_cache() {
    let dir = WriterDir::new();
    if !is_possible(&dir) {
        return;
    }
    let (direct, cached) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = [direct.clone(), cached.clone()];
    let fs = TestFs::new(move |call| {
        if call.op == Op::Write && call.is_temp() {
            counts[usize::from(!call.is_direct())].fetch_add(call.bytes, Ordering::Relaxed);
        }
        Answer::Go
    });
    everything_lands(&dir, dir.config().size(64 << 10).workers(1).io(Io::Direct).fs(fs));
    let [direct, cached] = [direct, cached].map(|count| count.load(Ordering::Relaxed));
    assert!(direct > 20 * cached, "{direct} bytes past it, {cached} through it");
}

/// A file system that takes the flag and then refuses writes, always or now and then; a disk that is
/// full now and then.
#[test]
fn files_whose_direct_writes_are_refused_hold_the_same() {
    for (errno, every) in [(Errno::INVAL, 1), (Errno::INVAL, 3), (Errno::NOSPC, 4)] {
        let dir = WriterDir::new();
        let refused = Arc::new(AtomicBool::new(false));
        let seen = refused.clone();
        let fs = TestFs::new(move |call| {
            if call.op == Op::Write && call.is_temp() && call.is_direct() && call.nth % every == 0 {
                seen.store(true, Ordering::Relaxed);
                return Answer::Error(errno);
            }
            Answer::Go
        });
        let config = dir.config().size(1000).queue_size(60).workers(3).fs(fs.clone());
        everything_lands(&dir, config.file_size(123_456).io(Io::Direct));
        assert!(refused.load(Ordering::Relaxed) || !is_possible(&dir));
        fs.assert_sound();
    }
}
