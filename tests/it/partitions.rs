//! Promise: files appear in the partition of their time, and never outside of `path`. Directories are made when they
//! are needed, through no link, and synced with `Durability::File`. What stands in the way holds a file up, and nothing
//! is lost.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, Config, Durability, ErrorEvent};
use bufferedwriter_testkit::dir::list;

use crate::support::{
    Answer, BOUND, Call, Op, Tally, TestFs, WriterDir, assert_mode, close, fails_while_broken,
    flush_error, links, record, stats, tells_path,
};

/// A writer whose files appear in `a=x/b`.
fn config(dir: &WriterDir) -> Config {
    dir.config().partition("a={x}/b").partition_value("x", "x")
}

fn write(writer: &BufferedWriter, records: std::ops::Range<u32>) {
    let mut buffer = Vec::new();
    for seq in records {
        record(&mut buffer, 1, seq, 100);
        writer.write_timeout(&buffer, BOUND).unwrap();
    }
}

/// From `path` on, each once.
fn dirs(dir: &WriterDir) -> BTreeSet<PathBuf> {
    let below = |file: &Path| file.parent().unwrap().strip_prefix(&dir.path).unwrap().to_owned();
    dir.files().iter().map(|(_, file)| below(file)).collect()
}

#[test]
fn directories_let_those_in_who_may_read_the_files() {
    for (mode, expected) in [(0o600, 0o700), (0o640, 0o750), (0o644, 0o755), (0o604, 0o705)] {
        let dir = WriterDir::new();
        let writer = BufferedWriter::new(config(&dir).mode(mode).workers(3)).unwrap();
        write(&writer, 0..1000);
        close(&writer);
        assert_eq!(dirs(&dir), BTreeSet::from([PathBuf::from("a=x/b")]));
        for made in ["a=x", "a=x/b"] {
            assert_mode(&dir.path.join(made), expected);
        }
        Tally::of(&dir).assert_ranges(&[(1, 1000)]);
        dir.assert_clean();
    }
}

#[test]
fn temp_must_be_outside_of_path_and_on_its_file_system() {
    let dir = WriterDir::new();
    let below = dir.path.join("below");
    fs::create_dir(&below).unwrap();
    let link = dir.root().join("link");
    let through_link = links(&below, &link).then_some(&link);
    for temp in [&dir.path, &below].into_iter().chain(through_link) {
        let error = BufferedWriter::new(config(&dir).temp(temp)).unwrap_err();
        assert_eq!(error.operation(), "temp", "{error}");
        assert!(error.to_string().contains("outside of `path`"), "{error}");
    }
    assert_eq!((list(&below).len(), list(&dir.path).len()), (0, 1));
    let fs = TestFs::new(|call| match call.op {
        // Only from one directory to the other.
        Op::Rename if call.path.parent().unwrap().ends_with("temp") => Answer::Error(Errno::XDEV),
        _ => Answer::Go,
    });
    let error = BufferedWriter::new(config(&dir).fs(fs)).unwrap_err();
    assert!(error.to_string().contains("the file system of `path`"), "{error}");
    dir.assert_clean();
    // The other way round is all right.
    let config = Config::default().path(&below).temp(&dir.path).partition("x");
    close(&BufferedWriter::new(config).unwrap());
}

#[test]
fn paths_that_could_become_too_long_are_refused() {
    let dir = WriterDir::new();
    let deep = vec!["x".repeat(200); 16].join("/");
    let path = dir.path.join(&deep);
    let like_it = dir.root().join("like it").join(&deep);
    fs::create_dir_all(&like_it).unwrap();
    if !tells_path(&like_it) {
        return;
    }
    let config = |template: &str| {
        Config::default().path(&path).temp(&dir.temp).create_dirs(true).partition(template)
    };
    close(&BufferedWriter::new(config("%Y")).unwrap());
    let long = vec!["x".repeat(200); 3].join("/");
    let error = BufferedWriter::new(config(&long)).unwrap_err();
    assert_eq!(error.operation(), "path", "{error}");
}

/// As who tidies up does with empty directories.
#[test]
fn a_directory_that_somebody_removes_just_before_the_rename_is_made_again() {
    let dir = WriterDir::new();
    let (removed, path) = (Arc::new(AtomicU32::new(0)), dir.path.clone());
    let count = removed.clone();
    let fs = TestFs::new(move |call: &Call<'_>| {
        if call.op == Op::Rename && call.is_temp() && count.fetch_add(1, Ordering::SeqCst) < 3 {
            fs::remove_dir(path.join("a=x/b")).unwrap();
            fs::remove_dir(path.join("a=x")).unwrap();
        }
        Answer::Go
    });
    let told = Arc::new(AtomicBool::new(false));
    let tells = told.clone();
    let config = config(&dir).workers(1).fs(fs);
    let config = config.on_error(move |_: &ErrorEvent| tells.store(true, Ordering::SeqCst));
    let writer = BufferedWriter::new(config).unwrap();
    write(&writer, 0..10);
    writer.flush(BOUND).unwrap();
    assert_eq!((removed.load(Ordering::SeqCst), told.load(Ordering::SeqCst)), (4, false));
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(1, 10)]);
}

#[test]
fn what_stands_in_the_way_holds_the_file_up_and_no_link_is_followed() {
    let elsewhere = WriterDir::new();
    for (at, is_link) in [("a=x", false), ("a=x", true), ("a=x/b", false), ("a=x/b", true)] {
        let dir = WriterDir::new();
        let way = dir.path.join(at);
        fs::create_dir_all(way.parent().unwrap()).unwrap();
        match is_link {
            false => fs::write(&way, "in the way").unwrap(),
            true if links(&elsewhere.path, &way) => {}
            true => continue,
        }
        let writer = BufferedWriter::new(config(&dir).workers(1)).unwrap();
        write(&writer, 0..10);
        let error = flush_error(&writer);
        assert_eq!((error.operation(), error.path()), ("create directory", Some(&*way)));
        assert_eq!((stats(&writer).pending.records, stats(&writer).files), (10, 0));
        assert!(list(&elsewhere.path).is_empty());
        fs::remove_file(&way).unwrap();
        writer.flush(BOUND).unwrap();
        close(&writer);
        Tally::of(&dir).assert_ranges(&[(1, 10)]);
    }
}

#[test]
fn a_disk_without_room_for_a_directory_holds_the_file_up() {
    for errno in [Errno::NOSPC, Errno::ACCESS, Errno::DQUOT, Errno::IO] {
        let dir = WriterDir::new();
        let (broken, fs) =
            fails_while_broken(errno, |call| call.op == Op::CreateDir && call.path.ends_with("b"));
        let writer = BufferedWriter::new(config(&dir).workers(2).fs(fs)).unwrap();
        write(&writer, 0..10);
        let error = flush_error(&writer);
        assert_eq!(error.operation(), "create directory");
        assert_eq!(error.path(), Some(&*dir.path.join("a=x/b")));
        assert_eq!(stats(&writer).pending.records, 10);
        broken.store(false, Ordering::SeqCst);
        writer.flush(BOUND).unwrap();
        close(&writer);
        Tally::of(&dir).assert_ranges(&[(1, 10)]);
        dir.assert_clean();
    }
}

/// Calls for directories, and renames, in their order.
fn noting(log: &Arc<Mutex<Vec<(Op, PathBuf)>>>) -> Arc<TestFs> {
    let log = log.clone();
    TestFs::new(move |call: &Call<'_>| {
        let is_one = matches!(call.op, Op::SyncDir | Op::CreateDir);
        if is_one || call.op == Op::Rename && call.is_temp() {
            log.lock().unwrap().push((call.op, call.path.to_owned()));
        }
        Answer::Go
    })
}

#[test]
fn directories_are_synced_up_to_path_before_a_flush_returns() {
    let dir = WriterDir::new();
    let log = Arc::new(Mutex::new(Vec::new()));
    let config = config(&dir).workers(1).durability(Durability::File).fs(noting(&log));
    let writer = BufferedWriter::new(config).unwrap();
    for round in 0..3 {
        log.lock().unwrap().clear();
        write(&writer, 10 * round..10 * round + 10);
        writer.flush(BOUND).unwrap();
        let calls = log.lock().unwrap().clone();
        let renamed = calls.iter().position(|call| call.0 == Op::Rename).unwrap();
        let made = calls[..renamed].iter().filter(|call| call.0 == Op::CreateDir).count();
        assert_eq!(made, if round == 0 { 2 } else { 0 }, "{calls:?}");
        // Another worker may have made them, and may not have come to its sync.
        let synced: Vec<_> = calls[renamed..].iter().filter(|call| call.0 == Op::SyncDir).collect();
        let expected = ["", "a=x", "a=x/b"].map(|below| (Op::SyncDir, dir.path.join(below)));
        assert!(synced.into_iter().eq(&expected), "{calls:?}");
    }
    close(&writer);
}

#[test]
fn a_partition_that_is_taken_away_before_its_sync_holds_nothing_up() {
    let dir = WriterDir::new();
    let (path, root) = (dir.path.clone(), dir.root().to_owned());
    let taken = Arc::new(AtomicBool::new(false));
    let is_taken = taken.clone();
    let fs = TestFs::new(move |call: &Call<'_>| {
        let is_first = call.op == Op::SyncDir && call.path.ends_with("a=x");
        if is_first && !is_taken.swap(true, Ordering::SeqCst) {
            fs::rename(path.join("a=x"), root.join("taken")).unwrap();
        }
        Answer::Go
    });
    let config = config(&dir).workers(1).durability(Durability::File).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    write(&writer, 0..10);
    writer.flush(BOUND).unwrap();
    write(&writer, 10..20);
    writer.flush(BOUND).unwrap();
    close(&writer);
    assert!(taken.load(Ordering::SeqCst));
    assert_eq!((list(&dir.root().join("taken/b")).len(), dir.files().len()), (1, 1));
}

/// As when a file system is mounted over `temp`, or over a partition.
#[test]
fn a_file_that_no_rename_can_move_waits_or_is_copied_but_is_never_seen_unfinished() {
    for partition_is_apart in [false, true] {
        let dir = WriterDir::new();
        let apart = Arc::new(AtomicBool::new(true));
        let (is_apart, temp) = (apart.clone(), dir.temp.clone());
        let creations = Arc::new(AtomicU32::new(0));
        let created = creations.clone();
        let fs = TestFs::new(move |call: &Call<'_>| {
            if call.op == Op::Create && call.is_temp() {
                created.fetch_add(1, Ordering::SeqCst);
            }
            let leaves = call.op == Op::Rename && call.is_temp();
            let leaves = leaves && (partition_is_apart || call.path.parent() == Some(&temp));
            let refused = leaves && is_apart.load(Ordering::SeqCst);
            if refused { Answer::Error(Errno::XDEV) } else { Answer::Go }
        });
        let writer = BufferedWriter::new(config(&dir).workers(1).fs(fs)).unwrap();
        write(&writer, 0..10);
        if partition_is_apart {
            (0..3).for_each(|_| assert_eq!(flush_error(&writer).operation(), "rename"));
            // It is copied once, not at each try.
            assert_eq!(creations.load(Ordering::SeqCst), 2);
            assert_eq!(stats(&writer).pending.records, 10);
            apart.store(false, Ordering::SeqCst);
        }
        writer.flush(BOUND).unwrap();
        assert_eq!(creations.load(Ordering::SeqCst), 2);
        assert_eq!(dirs(&dir), BTreeSet::from([PathBuf::from("a=x/b")]));
        close(&writer);
        Tally::of(&dir).assert_ranges(&[(1, 10)]);
        dir.assert_clean();
    }
}

#[test]
fn the_disk_guard_counts_files_in_partitions() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(config(&dir)).unwrap();
    write(&writer, 0..1000);
    close(&writer);
    let counted = |template: &str| {
        let config = dir.config().partition(template).max_total(1 << 30);
        let writer = BufferedWriter::new(config).unwrap();
        let guard = writer.stats().disk_guard.expect("a limit");
        close(&writer);
        guard.total_bytes.expect("it has been measured")
    };
    assert!(counted("a=x/b") >= 100_000);
    // Not below the depth of its own template.
    assert_eq!(counted("other"), 0);
}
