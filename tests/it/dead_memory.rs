//! Promise: the crash-proof memory of a writer that died makes room for the next one, which starts where there is room
//! for one only.
//!
//! Writers that die are processes: this test binary, run again with an environment variable.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use bufferedwriter::{BufferedWriter, CrashProof};
use bufferedwriter_testkit::dir::TestDir;
use rustix::process::{Signal, getpid, kill_process};

use crate::recovery::config;
use crate::support::{BOUND, WriterDir, until};

/// What the other process is to do.
const CHILD: &str = "BUFFEREDWRITER_START_CHILD";
const DIR: &str = "BUFFEREDWRITER_START_DIR";

/// Crash-proof memory takes more than half of its file system, so there is room for one only. The other processes
/// have a small one mounted, in a mount namespace of their own.
#[test]
fn memory_of_a_dead_writer_makes_room_for_the_next() {
    if bufferedwriter_testkit::shm::dir().is_none() {
        return;
    }
    let (dir, memory) = (WriterDir::new(), TestDir::new());
    let spawn = |what: &str| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "dead_memory::child", "--nocapture"]).env(CHILD, what);
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
    other.args(["--exact", "dead_memory::child", "--nocapture"]).env(CHILD, "dies");
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
