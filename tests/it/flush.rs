//! Promise: when a flush returns, everything that was accepted before the call is in visible files. That means the
//! caller's own records, and those that another thread told it of.

use std::sync::{Mutex, mpsc};
use std::thread;

use bufferedwriter::{BufferedWriter, Config, FlushError};

use crate::support::{BOUND, Random, Tally, WriterDir, close, record, stats};

fn configs(dir: &WriterDir) -> [Config; 3] {
    [
        dir.config().size(512).queue_size(40).workers(3),
        dir.config().size(64).queue_size(30).workers(8).file_size(300),
        dir.config().size(100).queue_size(30).workers(1).file_size(0),
    ]
}

#[test]
fn from_many_threads_at_once() {
    for i in 0..3 {
        let dir = WriterDir::new();
        let writer = BufferedWriter::new(configs(&dir)[i].clone()).unwrap();
        let tally = Mutex::new(Tally::default());
        thread::scope(|scope| {
            for producer in 0..6_u32 {
                let (writer, tally, dir) = (writer.clone(), &tally, &dir);
                scope.spawn(move || {
                    let (mut random, mut buffer) = (Random::new(producer.into()), Vec::new());
                    let mut own = (producer % 2 == 0).then(|| writer.producer());
                    let mut seq = 0;
                    for _ in 0..25 {
                        let first = seq;
                        for _ in 0..random.within(1, 12) {
                            record(&mut buffer, producer, seq, random.within(12, 200));
                            match &mut own {
                                Some(own) => own.write_timeout(&buffer, BOUND),
                                None => writer.write_timeout(&buffer, BOUND),
                            }
                            .unwrap();
                            seq += 1;
                        }
                        writer.flush(BOUND).unwrap();
                        stats(&writer);
                        let mut tally = tally.lock().unwrap();
                        tally.look(dir);
                        for seq in first..seq {
                            assert!(tally.has(producer, seq), "flushed: {producer:x}.{seq:x}");
                        }
                    }
                });
            }
        });
        let report = close(&writer);
        let mut tally = tally.into_inner().unwrap();
        tally.look(&dir);
        assert_eq!(tally.found.records, report.accepted.records);
        dir.assert_clean();
    }
}

#[test]
fn covers_what_other_threads_told_of() {
    for i in 0..3 {
        let dir = WriterDir::new();
        let writer = BufferedWriter::new(configs(&dir)[i].clone()).unwrap();
        let mut tally = Tally::default();
        thread::scope(|scope| {
            let (told, hears) = mpsc::sync_channel(0);
            for producer in 0..3_u32 {
                let (writer, told) = (&writer, told.clone());
                scope.spawn(move || {
                    let (mut own, mut buffer) = (writer.producer(), Vec::new());
                    for seq in 0..80 {
                        record(&mut buffer, producer, seq, 12 + (seq as usize * 37) % 150);
                        own.write_timeout(&buffer, BOUND).unwrap();
                        told.send((producer, seq)).unwrap();
                    }
                });
            }
            drop(told);
            for (producer, seq) in hears {
                writer.flush(BOUND).unwrap();
                tally.look(&dir);
                assert!(tally.has(producer, seq), "flushed: {producer:x}.{seq:x}");
            }
        });
        close(&writer);
        tally.look(&dir);
        tally.assert_ranges(&[(0, 80), (1, 80), (2, 80)]);
        dir.assert_clean();
    }
}

#[test]
fn of_nothing_makes_no_file_and_after_close_it_says_so() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config()).unwrap();
    for _ in 0..20 {
        writer.flush(BOUND).unwrap();
    }
    assert!(dir.contents().is_empty() && dir.temps().is_empty());
    writer.write(b"one\n").unwrap();
    writer.flush(BOUND).unwrap();
    writer.flush(BOUND).unwrap();
    assert_eq!(dir.contents(), [b"one\n"]);
    close(&writer);
    assert!(matches!(writer.flush(BOUND), Err(FlushError::Closed)));
    assert_eq!(dir.contents(), [b"one\n"]);
    dir.assert_clean();
}
