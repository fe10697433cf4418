//! Promise: a writer that finds no room at its start recovers what dead ones left, and tries once more. The
//! left-overs may be what holds the room. Who may starts on a full disk and refuses records until there is room.
//! A start that fails leaves nothing behind.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, CrashProof, PublishedFile, WriteError};
use bufferedwriter_testkit::dir::TestDir;

use crate::recovery::{config, die};
use crate::support::{
    Answer, BOUND, Call, Op, Tally, TestFs, WriterDir, close, fails_while_broken, stats, until,
};

fn is_state(call: &Call<'_>) -> bool {
    call.path.extension().is_some_and(|extension| extension == "state")
}

/// A disk on which `full` fails with this error as long as the one state file of before is there.
fn disk(dir: &WriterDir, errno: Errno, full: fn(&Call<'_>) -> bool) -> Arc<TestFs> {
    let dead = dir.states().pop().expect("a dead writer");
    TestFs::new(move |call| {
        let is_full = full(call) && call.path != dead && dead.exists();
        if is_full { Answer::Error(errno) } else { Answer::Go }
    })
}

/// What needs room at a start: the state file, its contents, and the probe.
const NEEDS: [fn(&Call<'_>) -> bool; 3] = [
    |call| call.op == Op::Create && is_state(call),
    |call| call.op == Op::Write && is_state(call),
    |call| call.op == Op::Create && !is_state(call) && !call.is_temp(),
];

#[test]
fn left_overs_that_hold_the_room_are_recovered_first() {
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::NOMEM] {
        for full in NEEDS {
            let dir = WriterDir::new();
            die(&dir);
            let disk = disk(&dir, errno, full);
            let writer = BufferedWriter::new(config(dir.root()).fs(disk)).unwrap();
            // It is known before the first record.
            let recovery = writer.recovery().expect("it is over");
            assert_eq!((recovery.instances, recovery.errors.len()), (1, 0), "{recovery:?}");
            let tally = Tally::of(&dir);
            assert_eq!(tally.found.bytes, recovery.bytes);
            assert!(tally.found.records > 0);
            close(&writer);
            dir.assert_clean();
        }
    }
}

#[test]
fn nothing_is_recovered_first_by_who_must_not_or_lacks_something_else() {
    let dir = WriterDir::new();
    die(&dir);
    let before = bufferedwriter_testkit::dir::list(&dir.temp);
    for (errno, recover) in [(Errno::NOSPC, false), (Errno::ACCESS, true), (Errno::ROFS, true)] {
        let config = config(dir.root()).recover(recover).fs(disk(&dir, errno, NEEDS[0]));
        let error = BufferedWriter::new(config).unwrap_err();
        assert_eq!(error.operation(), "create", "{error}");
        assert_eq!(bufferedwriter_testkit::dir::list(&dir.temp), before);
    }
}

/// One retry, not more; what was recovered is visible.
#[test]
fn a_start_that_still_lacks_room_fails() {
    let dir = WriterDir::new();
    die(&dir);
    let full = TestFs::new(|call| match call.op {
        Op::Write if is_state(call) => Answer::Error(Errno::NOSPC),
        _ => Answer::Go,
    });
    let error = BufferedWriter::new(config(dir.root()).fs(full)).unwrap_err();
    assert_eq!((error.operation(), error.kind()), ("write", std::io::ErrorKind::StorageFull));
    assert!(Tally::of(&dir).found.records > 0);
    dir.assert_clean();
}

fn waits(writer: &BufferedWriter) {
    assert_eq!(writer.write(b"early\n"), Err(WriteError::DiskGuard));
    let guard = stats(writer).disk_guard.expect("it guards");
    assert!(guard.refuses && guard.last_error.is_some(), "{guard:?}");
}

#[test]
fn who_may_starts_on_a_full_disk_and_takes_records_once_there_is_room() {
    let start = |errno, full: fn(&Call<'_>) -> bool, recover: bool, memory: Option<&Path>| {
        let dir = WriterDir::new();
        let (is_full, fs) = fails_while_broken(errno, full);
        let config = config(dir.root()).recover(recover).start_on_full_disk(true).fs(fs);
        let memories = || memory.map_or(0, |memory| fs::read_dir(memory).unwrap().count());
        let config = match memory {
            Some(memory) => config.crash_proof(CrashProof::Dir(memory.to_owned())),
            None => config,
        };
        let writer = BufferedWriter::new(config.clone()).unwrap();
        assert_eq!(writer.recovery().is_some(), recover);
        waits(&writer);
        // Killed now, it would leave nothing that nobody finds.
        assert_eq!(memories(), 0);
        close(&writer);
        dir.assert_clean();
        drop(writer);
        let writer = BufferedWriter::new(config).unwrap();
        waits(&writer);
        is_full.store(false, Ordering::SeqCst);
        until("there is room", || writer.write(b"record\n").is_ok());
        let guard = stats(&writer).disk_guard.expect("it guards");
        assert!(!guard.refuses && guard.last_error.is_none(), "{guard:?}");
        assert_eq!((dir.states().len(), memories()), (1, usize::from(memory.is_some())));
        close(&writer);
        assert_eq!((dir.contents(), memories()), (vec![b"record\n".to_vec()], 0));
        dir.assert_clean();
    };
    thread::scope(|scope| {
        for full in NEEDS {
            scope.spawn(move || start(Errno::NOSPC, full, true, None));
            scope.spawn(move || start(Errno::DQUOT, full, false, None));
        }
        let memory = bufferedwriter_testkit::shm::dir().map(TestDir::within);
        scope.spawn(move || {
            memory.inspect(|memory| start(Errno::NOSPC, NEEDS[0], true, Some(memory.path())))
        });
    });
}

/// The left-overs are what fills the disk: they are recovered, and there is room.
#[test]
fn who_may_start_on_a_full_disk_still_recovers_first() {
    let dir = WriterDir::new();
    die(&dir);
    let disk = disk(&dir, Errno::NOSPC, NEEDS[1]);
    let writer = BufferedWriter::new(config(dir.root()).start_on_full_disk(true).fs(disk)).unwrap();
    assert_eq!(writer.recovery().expect("it is over").instances, 1);
    assert!(stats(&writer).disk_guard.is_none());
    writer.write(b"record\n").unwrap();
    close(&writer);
    dir.assert_clean();
}

#[test]
fn a_disk_that_is_not_full_but_broken_refuses_a_start_all_the_same() {
    let dir = WriterDir::new();
    for errno in [Errno::IO, Errno::ACCESS, Errno::ROFS, Errno::NOMEM] {
        let (_, broken) = fails_while_broken(errno, NEEDS[0]);
        let config = config(dir.root()).start_on_full_disk(true).fs(broken);
        assert_eq!(BufferedWriter::new(config).unwrap_err().operation(), "create");
        dir.assert_clean();
    }
}

/// Old files that retention deletes may be what holds the room.
#[test]
fn old_files_that_hold_the_room_go_first() {
    let visible = |dir: &Path| bufferedwriter_testkit::dir::list(dir).len();
    for full in NEEDS {
        let dir = WriterDir::new();
        let writer = BufferedWriter::new(config(dir.root()).workers(1)).unwrap();
        for record in ["1\n", "2\n", "3\n", "4\n"] {
            writer.write(record.as_bytes()).unwrap();
            writer.flush(BOUND).unwrap();
        }
        close(&writer);
        assert_eq!(visible(&dir.path), 4);
        let path = dir.path.clone();
        let disk = TestFs::new(move |call| {
            let is_full = full(call) && visible(&path) > 2;
            if is_full { Answer::Error(Errno::NOSPC) } else { Answer::Go }
        });
        let config = |files| config(dir.root()).recover(false).retain_files(files).fs(disk.clone());
        for files in [0, 3] {
            BufferedWriter::new(config(files)).unwrap_err();
        }
        assert_eq!(visible(&dir.path), 3);
        let writer = BufferedWriter::new(config(2)).unwrap();
        assert_eq!(visible(&dir.path), 2);
        close(&writer);
    }
}

/// So may files that wait for the hook. It hears of them though there is no room for a journal, and the next writer's
/// hook of those that it did not acknowledge.
#[test]
fn files_for_the_hook_that_hold_the_room_are_told_first() {
    let dir = WriterDir::new();
    let config = || config(dir.root()).workers(1);
    let alive = Arc::new(());
    let hold = alive.clone();
    let refuses = move |_: &PublishedFile| {
        let _ = &hold;
        Err("not now".into())
    };
    let writer = BufferedWriter::new(config().on_publish(refuses)).unwrap();
    for record in ["1\n", "2\n", "3\n", "4\n"] {
        writer.write(record.as_bytes()).unwrap();
        writer.flush(BOUND).unwrap();
    }
    let _ = writer.close(Duration::ZERO);
    drop(writer);
    until("nobody has its journal any more", || Arc::strong_count(&alive) == 1);
    let visible = |dir: &Path| bufferedwriter_testkit::dir::list(dir).len();
    let path = dir.path.clone();
    let disk = TestFs::new(move |call| {
        let is_full = call.op == Op::Create && !call.is_temp() && visible(&path) > 2;
        if is_full { Answer::Error(Errno::NOSPC) } else { Answer::Go }
    });
    let heard: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    for accepted in [2, 9] {
        let hears = heard.clone();
        let hook = move |file: &PublishedFile| {
            let mut heard = hears.lock().unwrap();
            if heard.len() == accepted {
                return Err("not now".into());
            }
            heard.insert(file.id.clone());
            Ok(())
        };
        let config = config().start_on_full_disk(true).retain_files(2).fs(disk.clone());
        let writer = BufferedWriter::new(config.on_publish(hook)).unwrap();
        if accepted == 2 {
            until("the hook fails", || writer.health().hook.is_some());
            assert_eq!((visible(&dir.path), heard.lock().unwrap().len()), (4, 2));
            let _ = writer.close(Duration::ZERO);
            heard.lock().unwrap().clear();
            continue;
        }
        until("old files go", || visible(&dir.path) == 2);
        // What was acknowledged before is not called for again.
        until("it has heard of the others", || heard.lock().unwrap().len() == 2);
        until("there is room", || writer.write(b"5\n").is_ok());
        close(&writer);
        dir.assert_clean();
    }
}
