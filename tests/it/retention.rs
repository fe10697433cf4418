//! Promise: the oldest files are deleted, as many as the options say, soon and by nobody but a thread of its own. The
//! disk guard refuses nothing before that. No error of it, and no call that hangs, holds up a record.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, Config, PublishedFile, RetentionStats, WriteError};

use crate::recovery;
use crate::support::{
    Answer, BOUND, Call, Gate, Op, SetAtEnd, TestFs, WriterDir, close, makes_links, record,
    removes_open_files, stats, until,
};

/// A file for each flush.
fn config(dir: &WriterDir) -> Config {
    dir.config().size(4096).workers(1)
}

/// Publishes files of one record each.
fn publish(writer: &BufferedWriter, count: u32) {
    for seq in 0..count {
        let mut buffer = Vec::new();
        record(&mut buffer, 1, seq, 1000);
        writer.write(&buffer).unwrap();
        writer.flush(BOUND).unwrap();
    }
}

fn paths(dir: &WriterDir) -> Vec<PathBuf> {
    dir.files().into_iter().map(|(_, path)| path).collect()
}

fn retention(writer: &BufferedWriter) -> RetentionStats {
    stats(writer).retention.expect("it is on")
}

/// A call of retention to a visible file.
fn is_removal(call: &Call<'_>) -> bool {
    call.op == Op::Remove && call.path.extension().is_some_and(|end| end == "log")
}

#[test]
fn the_newest_files_stay() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(config(&dir).retain_files(3)).unwrap();
    publish(&writer, 10);
    let newest = paths(&dir).pop();
    until("old files go", || dir.files().len() == 3);
    publish(&writer, 1);
    until("they go again", || dir.files().len() == 3);
    assert_eq!(paths(&dir)[1], newest.unwrap());
    until("it is counted", || retention(&writer).files_deleted == 8);
    let told = retention(&writer);
    assert!(told.bytes_deleted >= 8 * 1000 && told.last_error.is_none(), "{told:?}");
    let report = close(&writer);
    // The accounts are of what was published.
    assert_eq!((report.written.records, report.files), (11, 11));
    dir.assert_clean();
}

/// What the last workers publish counts too, and so does what earlier writers left.
#[test]
fn after_a_close_no_more_are_there_than_stay() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(config(&dir)).unwrap();
    publish(&writer, 9);
    close(&writer);
    assert!(writer.stats().retention.is_none());
    let writer = BufferedWriter::new(config(&dir).retain_files(5)).unwrap();
    until("left-overs go", || dir.files().len() == 5);
    writer.write(b"last").unwrap();
    close(&writer);
    assert_eq!((dir.files().len(), retention(&writer).files_deleted), (5, 5));
    assert_eq!(dir.contents()[4], b"last");
    // A drop does the same.
    drop(BufferedWriter::new(config(&dir).retain_files(2)).unwrap());
    assert_eq!(dir.files().len(), 2);
    dir.assert_clean();
}

#[test]
fn bytes_and_age_count_too() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(config(&dir).retain_bytes(5 * 4096)).unwrap();
    publish(&writer, 20);
    close(&writer);
    assert!((1..=20).contains(&dir.files().len()));
    let left = dir.files().len() as u64;
    assert!(left * 1000 <= 5 * 4096, "{left}");
    let age = Duration::from_millis(200);
    let writer = BufferedWriter::new(config(&dir).retain_age(age)).unwrap();
    publish(&writer, 1);
    // Nothing more is published, and still somebody looks.
    until("all are too old", || dir.files().is_empty());
    close(&writer);
    dir.assert_clean();
}

/// In one process or in many makes no difference to it: each writer has its own thread, and knows nothing of others.
#[test]
fn writers_of_one_directory_delete_each_file_once() {
    // Where a name stays until a file is closed, two may delete it.
    if !removes_open_files() {
        return;
    }
    let dir = WriterDir::new();
    let writers: Vec<_> = (0..4)
        .map(|_| BufferedWriter::new(config(&dir).workers(2).retain_files(5)).unwrap())
        .collect();
    std::thread::scope(|scope| {
        writers.iter().for_each(|writer| drop(scope.spawn(|| publish(writer, 50))));
    });
    let (mut deleted, mut files) = (0, 0);
    for writer in &writers {
        files += close(writer).files;
        let told = retention(writer);
        assert!(told.last_error.is_none(), "{told:?}");
        deleted += told.files_deleted;
    }
    assert_eq!(dir.files().len(), 5);
    assert_eq!((files, deleted), (200, 195));
    dir.assert_clean();
}

#[test]
fn an_error_is_told_and_tried_again_and_costs_no_record() {
    let dir = WriterDir::new();
    let is_sick = Arc::new(AtomicBool::new(true));
    let sick = is_sick.clone();
    let fs = TestFs::new(move |call| match is_removal(call) && sick.load(Ordering::SeqCst) {
        true => Answer::Error(Errno::PERM),
        false => Answer::Go,
    });
    let writer = BufferedWriter::new(config(&dir).retain_files(2).fs(fs)).unwrap();
    publish(&writer, 5);
    until("it is told", || retention(&writer).last_error.is_some());
    let error = retention(&writer).last_error.unwrap();
    assert_eq!(error.operation(), "unlink");
    assert!(error.path().is_some_and(|path| path.starts_with(&dir.path)), "{error}");
    assert!(writer.health().is_ok() && dir.files().len() == 5);
    is_sick.store(false, Ordering::SeqCst);
    until("it heals by itself", || dir.files().len() == 2);
    until("that is told", || retention(&writer).last_error.is_none());
    assert_eq!(retention(&writer).files_deleted, 3);
    close(&writer);
}

#[test]
fn a_call_that_hangs_holds_up_no_record_and_no_close_beyond_its_deadline() {
    let dir = WriterDir::new();
    let (gate, pass) = Gate::open();
    gate.set_shut(true);
    let fs = TestFs::new(move |call| {
        if is_removal(call) {
            pass.through();
        }
        Answer::Go
    });
    let writer = BufferedWriter::new(config(&dir).retain_files(2).fs(fs)).unwrap();
    publish(&writer, 10);
    until("it hangs", || gate.waiting() == 1);
    publish(&writer, 10);
    let began = Instant::now();
    let report = writer.close(Duration::from_millis(100)).unwrap();
    assert!(began.elapsed() < BOUND);
    assert_eq!((report.written.records, dir.files().len()), (20, 20));
    // The call comes back, and was the last one.
    gate.set_shut(false);
    until("it ends", || retention(&writer).files_deleted == 1);
    assert_eq!(dir.files().len(), 19);
    dir.assert_clean();
}

/// Far more is written than the limit permits, eight times, and no record is refused.
#[test]
fn the_disk_guard_refuses_nothing_that_retention_makes_room_for() {
    let dir = WriterDir::new();
    let config = config(&dir).file_size(16 << 10).queue_size(15);
    let (max, mut most) = (1 << 20, 0);
    let config = config.max_total(max).retain_files(30);
    let writer = BufferedWriter::new(config).unwrap();
    let (mut buffer, mut times) = (Vec::new(), 0);
    for seq in 0..8192 {
        record(&mut buffer, 1, seq, 1024);
        // Retention has two seconds. Without a processor for that long, it is late.
        if writer.write_timeout(&buffer, BOUND).is_err() {
            times += 1;
            until("there is room", || writer.write(&buffer).is_ok());
        }
        let guard = stats(&writer).disk_guard.unwrap();
        most = most.max(guard.total_bytes.unwrap());
    }
    assert!(times <= 2, "refused {times} times");
    assert_eq!(close(&writer).written.records, 8192);
    assert!(dir.files().len() == 30 && most > 30 * (16 << 10), "{most}");
}

/// What is free is what the test says, and a file that is deleted makes room. Where deleting hangs, the guard does not
/// wait for ever.
#[test]
fn the_disk_guard_refuses_while_retention_hangs_and_gives_way_after_it() {
    let dir = WriterDir::new();
    let (gate, pass) = Gate::open();
    gate.set_shut(true);
    let free = Arc::new(AtomicU64::new(1 << 30));
    let asked = free.clone();
    let fs = TestFs::new(move |call| match call.op {
        Op::FreeBytes => Answer::Free(asked.load(Ordering::SeqCst)),
        _ if is_removal(call) => {
            pass.through();
            asked.store(1 << 30, Ordering::SeqCst);
            Answer::Go
        }
        _ => Answer::Go,
    });
    let config = config(&dir).min_free(1 << 20).retain_files(3).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    publish(&writer, 5);
    until("retention hangs", || gate.waiting() == 1);
    free.store(1 << 10, Ordering::SeqCst);
    let mut buffer = Vec::new();
    until("the guard refuses", || {
        record(&mut buffer, 2, 0, 1000);
        matches!(writer.write_timeout(&buffer, BOUND), Err(WriteError::DiskGuard))
    });
    gate.set_shut(false);
    until("it gives way", || !stats(&writer).disk_guard.unwrap().refuses);
    close(&writer);
    assert_eq!(dir.files().len(), 3);
}

/// A reader that opens the link at any moment.
#[test]
fn the_link_leads_to_the_newest_file_at_any_moment() {
    if !makes_links() {
        return;
    }
    let dir = WriterDir::new();
    let link = dir.root().join("latest");
    let writer = BufferedWriter::new(config(&dir).workers(3).latest(&link)).unwrap();
    assert!(!link.exists());
    publish(&writer, 1);
    until("it is there", || link.exists());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = SetAtEnd(&is_over);
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let target = std::fs::read_link(&link).unwrap();
                    assert!(target.is_relative() && target.starts_with("path"), "{target:?}");
                    assert!(!std::fs::read(&link).unwrap().is_empty());
                }
            });
        }
        publish(&writer, 100);
    });
    let newest = |dir: &WriterDir| paths(dir).pop().unwrap();
    until("it is the newest", || std::fs::canonicalize(&link).unwrap() == newest(&dir));
    writer.write(b"last").unwrap();
    close(&writer);
    assert_eq!(std::fs::canonicalize(&link).unwrap(), newest(&dir));
    assert_eq!(std::fs::read(&link).unwrap(), b"last");
    assert_eq!(names(dir.root()), ["latest", "path", "temp"]);
    // It stays while nothing new is published.
    let writer = BufferedWriter::new(config(&dir).latest(&link)).unwrap();
    close(&writer);
    assert_eq!(std::fs::read(&link).unwrap(), b"last");
    dir.assert_clean();
}

fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    bufferedwriter_testkit::dir::list(dir)
}

#[test]
fn a_link_that_can_not_be_set_is_told_and_tried_again() {
    if !makes_links() {
        return;
    }
    let dir = WriterDir::new();
    let (link, is_sick) = (dir.root().join("latest"), Arc::new(AtomicBool::new(true)));
    let sick = is_sick.clone();
    let fs = TestFs::new(move |call| match call.op == Op::Symlink && sick.load(Ordering::SeqCst) {
        true => Answer::Error(Errno::ROFS),
        false => Answer::Go,
    });
    let writer = BufferedWriter::new(config(&dir).latest(&link).fs(fs)).unwrap();
    publish(&writer, 2);
    until("it is told", || stats(&writer).latest_error.is_some());
    assert_eq!(stats(&writer).latest_error.unwrap().operation(), "link");
    is_sick.store(false, Ordering::SeqCst);
    until("it heals by itself", || link.exists());
    until("that is told", || stats(&writer).latest_error.is_none());
    close(&writer);
}

/// A start that is refused leaves nothing, and what lies there stays.
#[test]
fn a_link_that_can_not_work_is_refused_at_the_start() {
    let dir = WriterDir::new();
    let file = dir.root().join("file");
    std::fs::write(&file, "mine").unwrap();
    for link in [&file, &dir.path, &dir.root().join("path/.."), Path::new("/")] {
        let error = BufferedWriter::new(config(&dir).latest(link)).unwrap_err();
        assert_eq!(error.operation(), "latest", "{error}");
    }
    let missing = dir.root().join("a/latest");
    let error = BufferedWriter::new(config(&dir).latest(&missing)).unwrap_err();
    assert_eq!(error.operation(), "open directory", "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    dir.assert_clean();
    let writer = BufferedWriter::new(config(&dir).latest(&missing).create_dirs(true)).unwrap();
    publish(&writer, 1);
    close(&writer);
    if makes_links() {
        assert!(std::fs::canonicalize(&missing).unwrap().starts_with(&dir.path));
    }
}

/// What a recovery publishes is heard of as well, though this writer publishes nothing.
#[test]
fn recovered_files_count_and_the_link_leads_to_one() {
    let dir = WriterDir::new();
    let (link, makes_links) = (dir.root().join("latest"), makes_links());
    recovery::die(&dir);
    let config = recovery::config(dir.root()).retain_files(1).latest(&link);
    let writer = BufferedWriter::new(config).unwrap();
    assert!(!recovery::recovered(&writer).published.is_empty());
    until("old ones go", || dir.files().len() == 1);
    let leads = || std::fs::canonicalize(&link).ok() == paths(&dir).pop();
    until("the link leads to the last", || !makes_links || leads());
    close(&writer);
}

/// Also of a writer that died: nobody knows its files before the recovery is over.
#[test]
fn files_stay_until_their_hook_has_returned() {
    let dir = WriterDir::new();
    let (gate, pass) = Gate::open();
    gate.set_shut(true);
    let hook = move |_: &_| {
        pass.through();
        Ok(())
    };
    let looks = Arc::new(AtomicU64::new(0));
    let (counts, path) = (looks.clone(), dir.path.canonicalize().unwrap());
    let fs = TestFs::new(move |call| {
        if call.op == Op::OpenDir && call.path == path {
            counts.fetch_add(1, Ordering::SeqCst);
        }
        Answer::Go
    });
    let config = config(&dir).retain_files(2).on_publish(hook).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    publish(&writer, 6);
    until("the hook hangs", || gate.waiting() == 1);
    // When the second of them has begun, the first knew all files, and is over.
    for _ in 0..2 {
        let before = looks.load(Ordering::SeqCst);
        publish(&writer, 1);
        until("old files are looked for", || looks.load(Ordering::SeqCst) > before);
    }
    assert_eq!((dir.files().len(), retention(&writer).files_deleted), (8, 0));
    gate.set_shut(false);
    until("the hook has returned for all", || dir.files().len() == 2);
    close(&writer);
    assert_eq!(retention(&writer).files_deleted, 6);
}

/// If the options say so, a hook that hangs holds no file. It still hears of each, in order.
#[test]
fn files_go_before_their_hook_has_returned_if_the_options_say_so() {
    let dir = WriterDir::new();
    let (gate, pass) = Gate::open();
    gate.set_shut(true);
    let heard: Arc<Mutex<Vec<u64>>> = Arc::default();
    let hears = heard.clone();
    let hook = move |file: &PublishedFile| {
        pass.through();
        hears.lock().unwrap().push(file.sequence);
        Ok(())
    };
    let config = config(&dir).retain_files(2).retain_unacknowledged(false).on_publish(hook);
    let writer = BufferedWriter::new(config).unwrap();
    publish(&writer, 8);
    until("the hook hangs", || gate.waiting() == 1);
    until("old files go", || dir.files().len() == 2);
    assert_eq!(stats(&writer).publishing.unwrap().unacknowledged, 8);
    gate.set_shut(false);
    assert_eq!(close(&writer).unacknowledged, 0);
    let heard = heard.lock().unwrap();
    assert!(heard.len() == 8 && heard.is_sorted_by(|a, b| a < b), "{heard:?}");
}

/// Those of another writer stay too, while it lives and once it has given up, until the next one's hook has
/// returned.
#[test]
fn files_of_others_stay_until_their_hook_has_returned() {
    let dir = WriterDir::new();
    let refuses = |_: &PublishedFile| Err("not now".into());
    let other = BufferedWriter::new(config(&dir).on_publish(refuses)).unwrap();
    publish(&other, 4);
    until("its hook fails", || other.health().hook.is_some());
    let writer = BufferedWriter::new(config(&dir).retain_files(1)).unwrap();
    // When the second of two looks has begun, the first knew all files, and is over.
    let stay = |files| {
        publish(&writer, 2);
        until("they are looked for", || retention(&writer).held_by.is_some());
        publish(&writer, 2);
        until("a journal holds them", || retention(&writer).held_by.is_some());
        assert_eq!((dir.files().len(), retention(&writer).files_deleted), (files, 0));
    };
    stay(8);
    let journal = retention(&writer).held_by.unwrap();
    assert!(journal.starts_with(&dir.temp) && journal.exists(), "{journal:?}");
    let _ = other.close(Duration::ZERO);
    assert!(journal.exists());
    stay(12);
    // One that is there already hears of them once nobody else has the journal.
    let next = BufferedWriter::new(config(&dir).on_publish(|_| Ok(()))).unwrap();
    until("its recovery has met the other one", || next.recovery().is_some());
    drop(other);
    until("the next hook has heard of them", || !journal.exists());
    close(&next);
    until("old files go", || dir.files().len() == 1);
    assert_eq!(retention(&writer).held_by, None);
    close(&writer);
}
