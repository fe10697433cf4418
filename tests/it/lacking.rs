//! Promise: where a file system or a sandbox has no locks, or can't set permissions, a writer goes without and says
//! so. What it can't promise without, it refuses.
//!
//! A filter of system calls holds for a whole process. So each case is this test program again, whose calls the
//! kernel answers with an error.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::{env, fs};

use bufferedwriter::{BufferedWriter, CrashProof, Missing, RecoverOptions, SkipReason, recover};
use bufferedwriter_testkit::dir::{TestDir, list};
use bufferedwriter_testkit::emulated;
use rustix::io::Errno;

use crate::recovery::{config, die};
use crate::support::{Answer, BOUND, Op, TestFs, WriterDir, close, until};

const CALL: &str = "BUFFEREDWRITER_LACKING_CALL";
const ERRNO: &str = "BUFFEREDWRITER_LACKING_ERRNO";
const THREADS: &str = "BUFFEREDWRITER_LACKING_THREADS";
const DIR: &str = "BUFFEREDWRITER_LACKING_DIR";

/// Whether no call can be forbidden.
fn is_skipped() -> bool {
    emulated::skips("qemu-user does not pass on filters of system calls")
}

/// From here on, this thread and those that it starts get this error from the system call.
fn forbid(call: libc::c_long, errno: Errno) {
    let op = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let (load, equal, answer) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    );
    let error = libc::SECCOMP_RET_ERRNO | errno.raw_os_error() as u32;
    let mut filter = [
        // The number of the call is the first word of what a filter sees.
        op(load, 0, 0, 0),
        op(equal, 0, 1, call as u32),
        op(answer, 0, 0, error),
        op(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the filter during the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program), 0);
    }
}

/// Not a test of its own: a writer in a process without one of the calls.
#[test]
fn child() {
    let Ok(call) = env::var(CALL) else { return };
    let errno = Errno::from_raw_os_error(env::var(ERRNO).unwrap().parse().unwrap());
    let dir = env::var_os(DIR).unwrap();
    let is_flock = call == "flock";
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
    forbid(if is_flock { libc::SYS_flock } else { libc::SYS_fchmod }, errno);
    let config = config(dir.as_ref()).mode(0o666);
    let states = || {
        let names = fs::read_dir(config_temp(&dir)).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|name| name.extension().is_some_and(|end| end == "state")).count()
    };
    if bufferedwriter_testkit::shm::dir().is_some() {
        // What makes memory crash-proof is the lock; its permissions are right from the start.
        match BufferedWriter::new(config.clone().crash_proof(CrashProof::Auto)) {
            Ok(writer) => assert!(!is_flock && writer.close(BOUND).is_ok()),
            Err(error) => assert!(is_flock && error.operation() == "lock", "{error}"),
        }
        assert_eq!(states(), 0);
    }
    for recover in [false, true] {
        let writer = BufferedWriter::new(config.clone().recover(recover).file_size(1)).unwrap();
        let Missing { locks, permissions, .. } = writer.stats().missing;
        assert_eq!((locks, permissions), (is_flock, !is_flock));
        writer.write(b"record\n").unwrap();
        writer.flush(BOUND).unwrap();
        // Also not after a file, before which a state file that is gone is made again.
        assert_eq!(states(), usize::from(!is_flock));
        close(&writer);
        if recover {
            let recovery = writer.recovery().unwrap();
            assert!(recovery.errors.is_empty(), "{recovery:?}");
        }
    }
}

fn config_temp(dir: &std::ffi::OsStr) -> std::path::PathBuf {
    std::path::Path::new(dir).join("temp")
}

#[test]
fn without_locks_or_permissions_a_writer_goes_on() {
    if is_skipped() {
        return;
    }
    let (enosys, none) = (Errno::NOSYS, Errno::OPNOTSUPP);
    for (call, errnos) in
        [("flock", [enosys, none, Errno::NOLCK]), ("fchmod", [enosys, none, Errno::PERM])]
    {
        for errno in errnos {
            let dir = WriterDir::new();
            let mut other = Command::new(env::current_exe().unwrap());
            other.args(["--exact", "lacking::child", "--nocapture"]).stdin(Stdio::null());
            other.env(CALL, call).env(ERRNO, errno.raw_os_error().to_string()).env(DIR, dir.root());
            let output = other.output().unwrap();
            let told = [output.stdout, output.stderr];
            let told = told.map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
            assert!(output.status.success(), "{call}, {errno}: {told}");
            assert_eq!(dir.contents(), [b"record\n", b"record\n"], "{told}");
            let mode = fs::metadata(&dir.files()[0].1).unwrap().mode() & 0o777;
            assert_eq!(mode, if call == "flock" { 0o666 } else { 0o640 });
            dir.assert_clean();
        }
    }
}

/// Not a test of its own: starts in a process that gets no thread.
#[test]
fn child_without_threads() {
    let Some(dir) = env::var_os(THREADS) else { return };
    let memory = bufferedwriter_testkit::shm::dir().map(TestDir::within);
    for call in [libc::SYS_clone3, libc::SYS_clone] {
        forbid(call, Errno::AGAIN);
    }
    let off = CrashProof::Off;
    let kinds = memory.iter().map(|memory| CrashProof::Dir(memory.path().to_owned())).chain([off]);
    for kind in kinds {
        let error = BufferedWriter::new(config(dir.as_ref()).crash_proof(kind)).unwrap_err();
        assert_eq!(error.operation(), "start a worker for", "{error}");
        let left: Vec<_> = memory.iter().flat_map(|memory| list(memory.path())).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_start_without_threads_leaves_nothing() {
    if is_skipped() {
        return;
    }
    let dir = WriterDir::new();
    let mut other = Command::new(env::current_exe().unwrap());
    other.args(["--exact", "lacking::child_without_threads", "--nocapture", "--test-threads=1"]);
    let output = other.env(THREADS, dir.root()).stdin(Stdio::null()).output().unwrap();
    let told = [output.stdout, output.stderr];
    let told = told.map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{told}");
    dir.assert_clean();
}

/// Any other error is a fault.
#[test]
fn other_errors_of_a_lock_are_told() {
    let dir = WriterDir::new();
    for errno in [Errno::IO, Errno::ACCESS, Errno::INVAL] {
        let fs = TestFs::new(move |call| match call.op {
            Op::Lock => Answer::Error(errno),
            _ => Answer::Go,
        });
        let error = BufferedWriter::new(config(dir.root()).recover(false).fs(fs)).unwrap_err();
        assert_eq!(error.operation(), "lock", "{error}");
        dir.assert_clean();
    }
}

/// Whether its writer lives is unknown.
#[test]
fn a_left_over_where_no_lock_tells_is_skipped() {
    let dir = WriterDir::new();
    die(&dir);
    let fs = TestFs::new(|call| match call.op {
        Op::Lock => Answer::Error(Errno::OPNOTSUPP),
        _ => Answer::Go,
    });
    let options = RecoverOptions::new(&dir.path, &dir.temp);
    let recovery = recover(&options.clone().fs(fs)).unwrap();
    assert_eq!((recovery.instances, recovery.errors.len()), (0, 0), "{recovery:?}");
    assert_eq!(recovery.skipped[0].reason, SkipReason::NoLocks);
    until("it is recovered", || recover(&options).unwrap().instances == 1);
    dir.assert_clean();
}
