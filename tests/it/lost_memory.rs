//! Promise: with `crash_proof`, what was counted as lost stays lost when the process dies. A recovery publishes
//! nothing of it, and tells how much it was. Memory that a recovery cannot see does not count as lost.
//!
//! Writers that die are processes: this test binary, run again with an environment variable.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use bufferedwriter::testing::Errno;
use bufferedwriter::{
    BufferedWriter, Config, CrashProof, RecoverOptions, Recovery, SkipReason, recover,
};
use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::shm;
use rustix::process::{Signal, getpid, kill_process};

use crate::support::{Answer, BOUND, Op, TestFs, WriterDir, hangs_at, stats, until};

const CHILD: &str = "BUFFEREDWRITER_LOST_CHILD";
const HOW: &str = "BUFFEREDWRITER_LOST_HOW";
const AGE: Duration = Duration::from_millis(50);

fn config(dir: &Path, memory: &Path) -> Config {
    let config = Config::default().path(dir.join("path")).temp(dir.join("temp")).size(100);
    let config = config.workers(1).queue_size(100).file_age(Duration::ZERO);
    config.crash_proof(CrashProof::Dir(memory.to_owned()))
}

/// Not a test of its own: what the other process does.
#[test]
fn child() {
    let Some(dirs) = env::var_os(CHILD) else { return };
    let dirs: Vec<PathBuf> = env::split_paths(&dirs).collect();
    let config = config(&dirs[0], &dirs[1]);
    let die = || kill_process(getpid(), Signal::KILL).unwrap();
    if env::var(HOW).unwrap() == "write" {
        let writer = BufferedWriter::new(config.clone()).unwrap();
        (0..5).for_each(|_| writer.write(&[b'x'; 60]).unwrap());
        die();
    }
    if env::var(HOW).unwrap() == "close" {
        // Hangs in its first write; the close gives up.
        let (gate, fs) = hangs_at(Op::Write);
        let writer = BufferedWriter::new(config.fs(fs)).unwrap();
        gate.set_shut(true);
        (0..20).for_each(|_| writer.write(&[b'x'; 60]).unwrap());
        let error = writer.close(AGE).unwrap_err();
        assert_eq!(error.report().lost.shutdown.records, 20);
        die();
    } else {
        let fs = TestFs::new(|call| match call.op {
            Op::Write if call.is_temp() => Answer::Error(Errno::NOSPC),
            _ => Answer::Go,
        });
        let writer = BufferedWriter::new(config.fs(fs).give_up_after(AGE)).unwrap();
        // The last one stays in a chunk that the thread goes on with.
        (0..5).for_each(|_| writer.write(&[b'x'; 60]).unwrap());
        let _ = writer.flush(BOUND);
        until("all is given up", || stats(&writer).lost.gave_up.records == 5);
        die();
    }
}

/// Runs the other process until it dies.
fn die(how: &str, dir: &WriterDir, memory: &Path) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "lost_memory::child", "--nocapture"]);
    command.env(CHILD, env::join_paths([dir.root(), memory]).unwrap()).env(HOW, how);
    let output = command.stdout(Stdio::null()).output().unwrap();
    let killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
    assert!(killed, "{}", String::from_utf8_lossy(&output.stderr));
}

fn after(how: &str) -> Option<Recovery> {
    let memory = TestDir::within(shm::dir()?);
    let dir = WriterDir::new();
    die(how, &dir, memory.path());
    let recovery =
        recover(&RecoverOptions::new(&dir.path, &dir.temp).memory(memory.path())).unwrap();
    assert!(dir.files().is_empty() && recovery.errors.is_empty(), "{recovery:?}");
    dir.assert_clean();
    assert!(memory.list().is_empty(), "{:?}", memory.list());
    Some(recovery)
}

#[test]
fn what_was_given_up_stays_lost() {
    let Some(recovery) = after("give-up") else { return };
    assert_eq!((recovery.instances, recovery.lost.records, recovery.lost.bytes), (1, 5, 300));
}

#[test]
fn what_a_close_gave_up_stays_lost() {
    let Some(recovery) = after("close") else { return };
    assert_eq!(recovery.instances, 1, "{recovery:?}");
}

/// A writer died, and its memory is in this directory.
fn dead() -> Option<(WriterDir, TestDir, PathBuf)> {
    let root = TestDir::within(shm::dir()?);
    let (dir, memory) = (WriterDir::new(), root.dir("memory"));
    die("write", &dir, &memory);
    Some((dir, root, memory))
}

/// As a container with a `/dev/shm` of its own does.
#[test]
fn a_recovery_that_sees_another_directory_leaves_all_to_one_that_sees_the_memory() {
    let Some((dir, root, memory)) = dead() else { return };
    let options = RecoverOptions::new(&dir.path, &dir.temp).memory(&memory);
    let elsewhere = root.join("elsewhere");
    fs::rename(&memory, &elsewhere).unwrap();
    fs::create_dir(&memory).unwrap();
    for _ in 0..2 {
        let recovery = recover(&options).unwrap();
        let reasons: Vec<_> = recovery.skipped.iter().map(|skipped| skipped.reason).collect();
        assert_eq!((recovery.instances, reasons), (0, vec![SkipReason::MemoryNotFound]));
        assert_eq!((dir.states().len(), dir.files().len()), (1, 0));
    }
    fs::remove_dir(&memory).unwrap();
    fs::rename(&elsewhere, &memory).unwrap();
    let recovery = recover(&options).unwrap();
    assert_eq!((recovery.instances, recovery.records.records), (1, 5), "{recovery:?}");
    dir.assert_clean();
}

#[test]
fn memory_that_is_gone_holds_up_no_recovery() {
    for asked in [false, true] {
        let Some((dir, root, memory)) = dead() else { return };
        let mut options = RecoverOptions::new(&dir.path, &dir.temp);
        if asked {
            // With the directory itself.
            fs::rename(&memory, root.join("elsewhere")).unwrap();
            let recovery = recover(&options).unwrap();
            assert_eq!(recovery.skipped[0].reason, SkipReason::OtherMemory);
            options = options.without_memory(true);
        } else {
            fs::read_dir(&memory)
                .unwrap()
                .for_each(|file| fs::remove_file(file.unwrap().path()).unwrap());
            options = options.memory(&memory);
        }
        let recovery = recover(&options).unwrap();
        assert_eq!((recovery.instances, recovery.skipped.len()), (1, 0), "{recovery:?}");
        dir.assert_clean();
    }
}

/// Who says so wrongly, while the directory is there, is not believed.
#[test]
fn memory_that_is_there_is_not_taken_for_gone() {
    let Some((dir, _root, memory)) = dead() else { return };
    let options = RecoverOptions::new(&dir.path, &dir.temp).without_memory(true);
    assert_eq!(recover(&options).unwrap().skipped[0].reason, SkipReason::OtherMemory);
    let recovery = recover(&options.memory(&memory)).unwrap();
    assert_eq!((recovery.instances, recovery.records.records), (1, 5), "{recovery:?}");
}
