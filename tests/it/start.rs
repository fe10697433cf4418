//! Promise: a writer that finds no room at its start recovers what dead ones left, and tries once more. The
//! left-overs may be what holds the room. Who may starts on a full disk and refuses records until there is room.
//! A start that fails leaves nothing behind.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, thread};

use bufferedwriter::{BufferedWriter, CrashProof, PublishedFile, WriteError};
use bufferedwriter_testkit::dir::TestDir;
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use crate::recovery::{config, die};
use crate::support::{
    Answer, BOUND, Call, Op, Tally, TestFs, WriterDir, close, fails_while_broken, stats, until,
};

/// What the other process is to do.
const CHILD: &str = "BUFFEREDWRITER_START_CHILD";
const DIR: &str = "BUFFEREDWRITER_START_DIR";

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

/// Crash-proof memory takes more than half of its file system, so there is room for one only. The other processes
/// have a small one mounted, in a mount namespace of their own.
#[cfg(target_os = "linux")]
#[test]
fn memory_of_a_dead_writer_makes_room_for_the_next() {
    use std::os::unix::process::CommandExt;
    if bufferedwriter_testkit::shm::dir().is_none() {
        return;
    }
    let (dir, memory) = (WriterDir::new(), TestDir::new());
    let spawn = |what: &str| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "start::child", "--nocapture"]).env(CHILD, what);
        command.env(DIR, env::join_paths([dir.root(), memory.path()]).unwrap());
        command.stdout(Stdio::null());
        command
    };
    let at = std::ffi::CString::new(memory.path().to_str().unwrap()).unwrap();
    let mut first = spawn("lives");
    let mount = move || {
        let (tmpfs, none, size) = (c"tmpfs".as_ptr(), std::ptr::null(), c"size=8m".as_ptr());
        let private = libc::MS_REC | libc::MS_PRIVATE;
        // SAFETY: plain system calls, with strings that outlive them.
        let done = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(none, c"/".as_ptr(), none, private, none.cast()) == 0
                && libc::mount(tmpfs, at.as_ptr(), tmpfs, 0, size.cast()) == 0
        };
        if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: it makes system calls only.
    unsafe { first.pre_exec(mount) };
    let output = match first.output() {
        Ok(output) => output,
        Err(error) => return println!("skipped: no file system can be mounted: {error}"),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A process that wrote ten records to crash-proof memory, and was killed.
pub(crate) fn die_with_memory(dir: &Path, memory: &Path) {
    let mut other = Command::new(env::current_exe().unwrap());
    other.args(["--exact", "start::child", "--nocapture"]).env(CHILD, "dies");
    other.env(DIR, env::join_paths([dir, memory]).unwrap());
    let status = other.stdout(Stdio::null()).status().unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
    // What looks at the process from outside, such as ps, may hold its mapping a moment longer.
    let is_free = |file: fs::DirEntry| fs::File::open(file.path()).unwrap().try_lock().is_ok();
    until("its lock ends", || fs::read_dir(memory).unwrap().all(|file| is_free(file.unwrap())));
}

/// Not a test of its own: what the other processes do. The first has the second killed, in its own mount namespace.
#[test]
fn child() {
    let Some(what) = env::var_os(CHILD) else { return };
    let dirs: Vec<_> = env::split_paths(&env::var_os(DIR).unwrap()).collect();
    let (dir, memory) = (&dirs[0], &dirs[1]);
    // 5 MB of 8.
    let config = |dir: &Path| config(dir).size(50_000).crash_proof(CrashProof::Dir(memory.clone()));
    if what == "dies" {
        let writer = BufferedWriter::new(config(dir)).unwrap();
        (0..10).for_each(|_| writer.write(b"record\n").unwrap());
        kill_process(getpid(), Signal::KILL).unwrap();
    }
    for round in 1..=3 {
        die_with_memory(dir, memory);
        assert_eq!(fs::read_dir(memory).unwrap().count(), 1);
        // Without a recovery there is no room.
        let error = BufferedWriter::new(config(dir).recover(false)).unwrap_err();
        assert_eq!(error.operation(), "allocate memory in", "{error}");
        let writer = BufferedWriter::new(config(dir)).unwrap();
        let recovery = writer.recovery().expect("it is over");
        assert_eq!((recovery.instances, recovery.records.records), (1, 10), "{recovery:?}");
        assert_eq!(fs::read_dir(memory).unwrap().count(), 1, "its own");
        writer.close(BOUND).unwrap();
        assert_eq!(fs::read_dir(memory).unwrap().count(), 0);
        assert_eq!(fs::read_dir(dir.join("path")).unwrap().count(), round);
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
