//! Promise: limits, retention and the hook change while the writer runs; what is refused changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config, WriteError};

use crate::support::{BOUND, WriterDir, close, until};

/// Publishes this many files.
fn publish(writer: &BufferedWriter, files: u64) {
    for _ in 0..files {
        writer.write(b"a record\n").unwrap();
        writer.flush(BOUND).unwrap();
    }
}

#[test]
fn a_writer_without_limits_gets_some_and_loses_them_again() {
    let dir = WriterDir::new();
    let config = dir.config().workers(2);
    let writer = BufferedWriter::new(config.clone()).unwrap();
    publish(&writer, 1);
    assert!(writer.stats().disk_guard.is_none());
    // No disk has so much free.
    writer.reconfigure(config.clone().min_free(u64::MAX)).unwrap();
    until("records are refused", || writer.write(b"x\n") == Err(WriteError::DiskGuard));
    assert!(writer.stats().disk_guard.is_some_and(|guard| guard.refuses));
    writer.reconfigure(config.clone()).unwrap();
    until("records are taken", || writer.write(b"x\n").is_ok());
    assert!(writer.stats().disk_guard.is_none());
    writer.reconfigure(config.max_total(1)).unwrap();
    until("records are refused", || writer.write(b"x\n") == Err(WriteError::DiskGuard));
    close(&writer);
}

#[test]
fn old_files_go_by_rules_that_came_later() {
    let dir = WriterDir::new();
    let config = dir.config().workers(1);
    let writer = BufferedWriter::new(config.clone()).unwrap();
    publish(&writer, 5);
    assert!(writer.stats().retention.is_none());
    writer.reconfigure(config.clone().retain_files(2)).unwrap();
    until("two files stay", || dir.files().len() == 2);
    until("it is told", || writer.stats().retention.is_some_and(|kept| kept.files_deleted == 3));
    writer.reconfigure(config.clone().retain_files(3)).unwrap();
    publish(&writer, 4);
    until("three files stay", || dir.files().len() == 3);
    writer.reconfigure(config.clone()).unwrap();
    publish(&writer, 5);
    close(&writer);
    assert!(dir.files().len() >= 8, "no rule holds any more");
    // After the end it neither fails nor does anything.
    writer.reconfigure(config.retain_files(1)).unwrap();
    assert!(dir.files().len() >= 8);
}

#[test]
fn another_hook_is_called_for_the_next_file() {
    let dir = WriterDir::new();
    let counts = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let with = |config: Config, which: usize| {
        let count = counts[which].clone();
        config.on_publish(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    };
    let heard = |which: usize| counts[which].load(Ordering::SeqCst);
    let config = dir.config().workers(1);
    let writer = BufferedWriter::new(with(config.clone(), 0)).unwrap();
    publish(&writer, 2);
    until("the first hook hears of two", || heard(0) == 2);
    writer.reconfigure(with(config.clone(), 1)).unwrap();
    assert_eq!(Arc::strong_count(&counts[0]), 1, "the former one is gone");
    publish(&writer, 3);
    until("the second hook hears of three", || heard(1) == 3);
    assert_eq!(heard(0), 2);
    // It can't go, nor come.
    let error = writer.reconfigure(config.clone().retain_files(1)).unwrap_err();
    assert_eq!(error.operation(), "on_publish");
    close(&writer);
    assert_eq!(dir.files().len(), 5, "what is refused changes nothing");
    let plain = BufferedWriter::new(config.clone()).unwrap();
    assert_eq!(plain.reconfigure(with(config, 1)).unwrap_err().operation(), "on_publish");
    close(&plain);
}

#[test]
fn what_is_out_of_its_range_changes_nothing() {
    let dir = WriterDir::new();
    let config = dir.config().workers(1);
    let writer = BufferedWriter::new(config.clone()).unwrap();
    let wrong = config.clone().min_free(u64::MAX).workers(0);
    assert_eq!(writer.reconfigure(wrong).unwrap_err().operation(), "workers");
    publish(&writer, 1);
    assert!(writer.stats().disk_guard.is_none());
    // By several threads at once, beside writes.
    std::thread::scope(|scope| {
        for files in 1..5 {
            let (writer, config) = (&writer, config.clone().max_total(1 << 40).retain_files(files));
            scope.spawn(move || (0..20).for_each(|_| writer.reconfigure(config.clone()).unwrap()));
        }
        publish(&writer, 20);
    });
    writer.flush(Duration::from_secs(30)).unwrap();
    close(&writer);
}
