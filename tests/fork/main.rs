//! Promise: in a forked child each call on the parent's writer says so, at once, whatever the parent's threads were
//! doing. The parent is unharmed, nothing appears twice, and the child's own writer works.
//!
//! A program of its own, without a harness. std can't start a thread in a child that was forked while another
//! thread was starting, since it takes a lock then. A harness starts threads at any time.
#![allow(clippy::incompatible_msrv, reason = "the oldest Rust builds no tests")]
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, CrashProof, FlushError, WriteError, testing};
use bufferedwriter_testkit::process::page_faults;
use bufferedwriter_testkit::shm;

use support::{
    Answer, BOUND, Op, Tally, TestFs, WriterDir, at_once, close, poll, record, stats, until,
};

#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the other integration tests")]
mod support;

fn main() {
    for (name, test) in TESTS {
        test();
        println!("test fork::{name} ... ok");
    }
}

type Test = (&'static str, fn());

const TESTS: [Test; 10] = [
    (
        "each_call_of_a_child_says_so_and_the_parent_goes_on",
        each_call_of_a_child_says_so_and_the_parent_goes_on,
    ),
    (
        "the_parents_threads_may_be_in_the_middle_of_anything",
        the_parents_threads_may_be_in_the_middle_of_anything,
    ),
    ("a_writer_of_the_childs_own_works", a_writer_of_the_childs_own_works),
    (
        "a_formatter_that_forks_ends_in_the_parent_only",
        a_formatter_that_forks_ends_in_the_parent_only,
    ),
    (
        "the_lock_ends_with_the_parent_though_a_child_lives",
        the_lock_ends_with_the_parent_though_a_child_lives,
    ),
    (
        "a_child_of_the_middle_of_a_start_keeps_no_lock",
        a_child_of_the_middle_of_a_start_keeps_no_lock,
    ),
    (
        "memory_that_is_made_among_forks_is_locked_by_its_writer_alone",
        memory_that_is_made_among_forks_is_locked_by_its_writer_alone,
    ),
    ("a_child_keeps_files_that_are_not_the_writers", a_child_keeps_files_that_are_not_the_writers),
    ("a_root_or_a_user_that_changes_later_is_told", a_root_or_a_user_that_changes_later_is_told),
    ("the_parents_writes_fault_no_more_than_before", the_parents_writes_fault_no_more_than_before),
];

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn kill(pid: i32, signal: i32) -> i32;
    fn alarm(seconds: u32) -> u32;
    fn dup2(from: i32, to: i32) -> i32;
    fn chroot(path: *const std::ffi::c_char) -> i32;
    fn setuid(user: u32) -> i32;
    fn _exit(status: i32) -> !;
}

/// Runs this in a forked child. Without a return it is killed, and the test fails.
fn in_child(child: impl FnOnce()) -> i32 {
    // SAFETY: what runs in the child takes no lock of the test's own, and never returns from here.
    let pid = unsafe { fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: plain calls.
        unsafe {
            alarm(BOUND.as_secs() as u32);
            let went_well = catch_unwind(AssertUnwindSafe(child)).is_ok();
            _exit(i32::from(!went_well));
        }
    }
    pid
}

fn assert_went_well(pid: i32) {
    let mut status = 0;
    // SAFETY: our child.
    assert_eq!(unsafe { waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0, "wait status of the child");
}

/// All that a child may call on what it has of its parent's.
fn all_say_forked(writer: &BufferedWriter) {
    assert_eq!(writer.write(b"record"), Err(WriteError::Forked));
    assert_eq!(writer.write(b""), Err(WriteError::Forked));
    assert_eq!(writer.write(&vec![b'x'; 100_000]), Err(WriteError::Forked));
    assert_eq!(writer.write_timeout(b"record", Duration::MAX), Err(WriteError::Forked));
    let refused = writer.send(vec![b'x'; 5000]).unwrap_err();
    assert_eq!((refused.kind(), refused.into_inner().len()), (WriteError::Forked, 5000));
    assert_eq!(writer.send(vec![b'x'; 5]).unwrap_err().kind(), WriteError::Forked);
    let formatted = writer.record(|_| panic!("there is nothing to format into"));
    assert_eq!(formatted, Err(WriteError::Forked));
    let mut producer = writer.producer();
    assert_eq!(producer.write(b"record"), Err(WriteError::Forked));
    assert_eq!(producer.write_timeout(b"record", Duration::MAX), Err(WriteError::Forked));
    assert_eq!(producer.record(|r| r.write_str("x")), Err(WriteError::Forked));
    assert!(matches!(writer.flush(Duration::MAX), Err(FlushError::Forked)));
    let closed = writer.close(Duration::MAX).unwrap_err();
    assert_eq!(closed.to_string(), "close: the writer belongs to the parent process");
    assert_eq!(at_once(writer.write_async(b"record")), Err(WriteError::Forked));
    assert_eq!(at_once(producer.write_async(b"record")), Err(WriteError::Forked));
    assert_eq!(at_once(writer.send_async(vec![b'x'; 5000])).unwrap_err().into_inner().len(), 5000);
    assert!(matches!(at_once(writer.flush_async()), Err(FlushError::Forked)));
    let closed = at_once(writer.close_async(Duration::MAX)).unwrap_err();
    assert_eq!(closed.to_string(), "close: the writer belongs to the parent process");
    let stats = writer.stats();
    assert!(stats.accepted.is_zero() && stats.memory_bound_bytes > 0, "{stats:?}");
    assert!(!stats.temp_dir.as_os_str().is_empty(), "{stats:?}");
    assert!(writer.health().is_ok() && writer.recovery().is_none());
    assert!(format!("{writer:?} {producer:?}").contains("BufferedWriter"));
    drop(producer);
    drop(writer.clone());
}

fn each_call_of_a_child_says_so_and_the_parent_goes_on() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().size(4096).workers(2)).unwrap();
    // Its workers have started.
    writer.flush(BOUND).unwrap();
    let mut producer = writer.producer();
    let mut buffer = Vec::new();
    for seq in 0..10 {
        record(&mut buffer, 1, seq, 40);
        writer.write(&buffer).unwrap();
        record(&mut buffer, 2, seq, 40);
        producer.write(&buffer).unwrap();
        let pid = in_child(|| {
            all_say_forked(&writer);
            assert_eq!(producer.write(b"record"), Err(WriteError::Forked));
            // Threads of the child come and go, and find no slot of theirs.
            let clone = writer.clone();
            thread::spawn(move || all_say_forked(&clone)).join().unwrap();
            let before = Instant::now();
            (0..1000).for_each(|_| drop(writer.clone()));
            assert!(before.elapsed() < BOUND / 2);
        });
        assert_went_well(pid);
    }
    let refused = stats(&writer).refused.total();
    assert!(refused.is_zero(), "the child's are not the parent's: {refused:?}");
    drop(producer);
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(1, 10), (2, 10)]);
    dir.assert_clean();
}

/// The locks of the writer are held by some thread at most of these moments.
fn the_parents_threads_may_be_in_the_middle_of_anything() {
    let dir = WriterDir::new();
    let config = dir.config().size(256).queue_size(30).workers(2).file_size(2000);
    // The thread of housekeeping holds locks too, and deletes nothing here.
    let config = config.retain_files(1 << 20).latest(dir.root().join("latest"));
    let writer = BufferedWriter::new(config).unwrap();
    let is_over = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let (writer, is_over) = (&writer, &is_over);
        let busy = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                drop(writer.producer());
                let _ = writer.stats();
                let _ = writer.flush(Duration::ZERO);
            }
        });
        let writing = scope.spawn(|| {
            let (mut buffer, mut seq) = (Vec::new(), 0);
            while !is_over.load(Ordering::Relaxed) {
                record(&mut buffer, 1, seq, 60);
                writer.write_timeout(&buffer, BOUND).unwrap();
                seq += 1;
            }
            seq
        });
        for _ in 0..100 {
            // Futures that wait since before the fork.
            let mut waits = [(); 2].map(|()| Box::pin(writer.flush_async()));
            let is_over = waits.each_mut().map(|wait| poll(wait.as_mut()).is_ready());
            let pid = in_child(|| {
                all_say_forked(writer);
                let [polled, dropped] = waits;
                drop(dropped);
                assert!(is_over[0] || matches!(at_once(polled), Err(FlushError::Forked)));
            });
            assert_went_well(pid);
        }
        is_over.store(true, Ordering::Relaxed);
        busy.join().unwrap();
        writing.join().unwrap()
    });
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(1, written)]);
    dir.assert_clean();
}

fn a_writer_of_the_childs_own_works() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().workers(1)).unwrap();
    writer.flush(BOUND).unwrap();
    let mut buffer = Vec::new();
    record(&mut buffer, 1, 0, 40);
    writer.write(&buffer).unwrap();
    let pid = in_child(|| {
        let own = BufferedWriter::new(dir.config().workers(1)).unwrap();
        own.flush(BOUND).unwrap();
        let mut buffer = Vec::new();
        for seq in 0..100 {
            record(&mut buffer, 2, seq, 40);
            own.write(&buffer).unwrap();
            assert_eq!(writer.write(&buffer), Err(WriteError::Forked));
        }
        // Whose child says so of both.
        let pid = in_child(|| {
            all_say_forked(&own);
            all_say_forked(&writer);
        });
        assert_went_well(pid);
        close(&own);
    });
    assert_went_well(pid);
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(1, 1), (2, 100)]);
    dir.assert_clean();
}

fn a_formatter_that_forks_ends_in_the_parent_only() {
    a_formatter_that_forks(CrashProof::Off);
    if shm::dir().is_some() {
        // The child has nothing of that memory, and goes on all the same.
        a_formatter_that_forks(CrashProof::Auto);
    }
}

fn a_formatter_that_forks(memory: CrashProof) {
    let dir = WriterDir::new();
    let config = dir.config().size(256).workers(1).crash_proof(memory);
    let writer = BufferedWriter::new(config).unwrap();
    let mut buffer = Vec::new();
    for (seq, len) in [(0, 40), (1, 200), (2, 700)] {
        record(&mut buffer, 1, seq, len);
        let mut parent = true;
        let mut children = Vec::new();
        let result = writer.record(|r| {
            r.write_bytes(&buffer[..20])?;
            let pid = in_child(|| ());
            children.push(pid);
            // SAFETY: as in `in_child`, but that the child goes on.
            let pid = unsafe { fork() };
            parent = pid > 0;
            children.push(pid);
            let _ = r.write_bytes(&buffer[20..]);
            Ok(())
        });
        if !parent {
            let right = result == Err(WriteError::Forked)
                && writer.write(b"record") == Err(WriteError::Forked);
            // SAFETY: a plain call.
            unsafe { _exit(i32::from(!right)) };
        }
        result.unwrap();
        children.into_iter().for_each(assert_went_well);
    }
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(1, 3)]);
    dir.assert_clean();
}

/// A worker opens files by their paths, as the user that the process is by then.
fn a_root_or_a_user_that_changes_later_is_told() {
    let change_root = |dir: &WriterDir| {
        let root = CString::new(dir.path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a plain call, in a child that ends with this test.
        unsafe { chroot(root.as_ptr()) }
    };
    // SAFETY: as above.
    let change_user = |_: &WriterDir| unsafe { setuid(65534) };
    type Change<'a> = &'a dyn Fn(&WriterDir) -> i32;
    let changes: [(Change, ErrorKind); 2] =
        [(&change_root, ErrorKind::NotFound), (&change_user, ErrorKind::PermissionDenied)];
    for (change, kind) in changes {
        let dir = WriterDir::new();
        let pid = in_child(|| {
            let writer = BufferedWriter::new(dir.config().workers(1)).unwrap();
            if change(&dir) != 0 {
                println!("skipped: not permitted here");
                return;
            }
            writer.write(b"record").unwrap();
            assert!(writer.flush(Duration::ZERO).is_err());
            until("it is told", || !writer.health().is_ok());
            assert_eq!(writer.health().stalls[0].error.kind(), kind);
            assert_eq!(stats(&writer).pending.records, 1);
            let report = *writer.close(Duration::ZERO).unwrap_err().report();
            assert_eq!(report.lost.total().records, 1);
        });
        assert_went_well(pid);
        assert!(dir.files().is_empty());
    }
}

fn the_parents_writes_fault_no_more_than_before() {
    parents_writes(CrashProof::Off);
    if shm::dir().is_some() {
        parents_writes(CrashProof::Auto);
    }
}

/// A child shares no page of the chunks, so the parent need not copy them.
fn parents_writes(memory: CrashProof) {
    let dir = WriterDir::new();
    let config = dir.config().size(64 << 10).queue_size(62).workers(2).crash_proof(memory);
    let writer = BufferedWriter::new(config).unwrap();
    // It takes all chunks but those that a worker may be about to free.
    let all = vec![b'x'; 60 * (64 << 10)];
    let write = || {
        until("the chunks are free", || stats(&writer).memory_bytes <= 64 << 10);
        let before = page_faults();
        writer.write_timeout(&all, BOUND).unwrap();
        page_faults() - before
    };
    write();
    writer.flush(BOUND).unwrap();
    // Lives until it is killed.
    let pid = in_child(|| {
        loop {
            thread::park();
        }
    });
    // 960 pages. Some of the thread's own are copied.
    let faults = write();
    // SAFETY: our child.
    unsafe { kill(pid, 9) };
    let mut status = 0;
    // SAFETY: as above.
    unsafe { waitpid(pid, &mut status, 0) };
    assert!(faults < 200, "{faults} page faults");
    close(&writer);
    dir.assert_clean();
}

/// The lock of the state file proves that its process lives: a child must not prove it in its place.
fn the_lock_ends_with_the_parent_though_a_child_lives() {
    let dir = WriterDir::new();
    let (mut reader, pipe) = std::io::pipe().unwrap();
    let pid = in_child(|| {
        let writer = BufferedWriter::new(dir.config().workers(3)).unwrap();
        writer.write(b"record").unwrap();
        // SAFETY: the child does nothing but wait to be killed.
        let grandchild = unsafe { fork() };
        if grandchild == 0 {
            loop {
                thread::park();
            }
        }
        (&pipe).write_all(&grandchild.to_ne_bytes()).unwrap();
        // Without a close, as by kill -9.
        // SAFETY: a plain call.
        unsafe { _exit(0) };
    });
    assert_went_well(pid);
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes).unwrap();
    let state = dir.states().pop().expect("nobody removed it");
    let state = File::open(state).unwrap();
    // The grandchild closes its copies first of all, but may not have had the processor yet.
    let locked = catch_unwind(|| until("the lock is free", || state.try_lock().is_ok()));
    // SAFETY: it is a child of init by now, and waits for this.
    unsafe { kill(i32::from_ne_bytes(bytes), 9) };
    locked.unwrap();
}

/// The program closed the writer's descriptors, as to become a daemon, and opened files of its own.
fn a_child_keeps_files_that_are_not_the_writers() {
    let dir = WriterDir::new();
    // Within a process that ends without the writer.
    assert_went_well(in_child(|| {
        let writer = BufferedWriter::new(dir.config().workers(1)).unwrap();
        writer.write(b"record").unwrap();
        writer.flush(BOUND).unwrap();
        let state = dir.states().pop().unwrap();
        let entries = fs::read_dir("/proc/self/fd").unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let of_state = paths.filter(|path| fs::read_link(path).is_ok_and(|to| to == state));
        let numbers = of_state
            .map(|path| path.file_name().unwrap().to_str().unwrap().parse::<i32>().unwrap());
        let numbers: Vec<_> = numbers.collect();
        assert!(!numbers.is_empty());
        let other = File::create(dir.root().join("other")).unwrap();
        for &number in &numbers {
            // SAFETY: a plain call. The writer notices that the descriptor is another file's.
            assert_eq!(unsafe { dup2(other.as_raw_fd(), number) }, number);
        }
        assert_went_well(in_child(|| {
            for &number in &numbers {
                // SAFETY: the number is that of an open file, or the call fails.
                let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(number) });
                file.write_all(b"x").expect("it is open");
            }
        }));
        // SAFETY: a plain call.
        unsafe { _exit(0) };
    }));
}

/// Children that do nothing, until the end of the test.
#[derive(Default)]
struct Idle(Vec<i32>);

impl Idle {
    fn add(&mut self) {
        // SAFETY: the child only waits.
        let pid = unsafe { fork() };
        if pid == 0 {
            loop {
                thread::park();
            }
        }
        assert!(pid > 0);
        self.0.push(pid);
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        for pid in &self.0 {
            // SAFETY: our child.
            unsafe {
                kill(*pid, 9);
                waitpid(*pid, std::ptr::null_mut(), 0);
            }
        }
    }
}

fn a_child_of_the_middle_of_a_start_keeps_no_lock() {
    let (dir, idle) = (WriterDir::new(), Arc::new(Mutex::new(Idle::default())));
    let forks = idle.clone();
    let fs = TestFs::new(move |call| {
        if matches!(call.op, Op::Lock | Op::Clone | Op::Write) && !call.is_temp() {
            forks.lock().unwrap().add();
        }
        Answer::Go
    });
    let writer = BufferedWriter::new(dir.config().workers(2).recover(false).fs(fs)).unwrap();
    let state = File::open(dir.states().pop().expect("a state file")).unwrap();
    assert!(state.try_lock().is_err());
    close(&writer);
    assert!(idle.lock().unwrap().0.len() >= 3);
    until("the lock is free", || state.try_lock().is_ok());
    dir.assert_clean();
}

fn memory_that_is_made_among_forks_is_locked_by_its_writer_alone() {
    let Some(shm) = shm::dir() else { return };
    let (dir, memory) = (WriterDir::new(), WriterDir::within(shm));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = support::SetAtEnd(&is_over);
        scope.spawn(|| {
            let mut idle = Idle::default();
            while !is_over.load(Ordering::Relaxed) {
                idle.add();
                if idle.0.len() > 100 {
                    idle = Idle::default();
                }
            }
        });
        for _ in 0..30 {
            let config = dir.config().workers(1).crash_proof(CrashProof::Dir(memory.path.clone()));
            let writer = BufferedWriter::new(config.recover(false)).unwrap();
            let entry = fs::read_dir(&memory.path).unwrap().next().expect("its memory").unwrap();
            let memory = File::open(entry.path()).unwrap();
            assert!(memory.try_lock().is_err());
            close(&writer);
            drop(writer);
            until("the lock is free", || memory.try_lock().is_ok());
        }
    });
}
