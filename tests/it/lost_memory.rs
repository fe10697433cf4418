//! Promise: with `crash_proof`, what was counted as lost stays lost when the process dies: a recovery publishes nothing
//! of it, and tells how much it was.
//!
//! Writers that die are processes: this test binary, run again with an environment variable.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config, CrashProof, RecoverOptions, Recovery, recover};
use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::shm;
use rustix::io::Errno;
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

fn after(how: &str) -> Option<Recovery> {
    let memory = TestDir::within(shm::dir()?);
    let dir = WriterDir::new();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "lost_memory::child", "--nocapture"]);
    command.env(CHILD, env::join_paths([dir.root(), memory.path()]).unwrap()).env(HOW, how);
    let output = command.stdout(Stdio::null()).output().unwrap();
    let killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
    assert!(killed, "{}", String::from_utf8_lossy(&output.stderr));
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
