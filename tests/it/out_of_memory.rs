//! Promise: where the system has no memory, `producer` and each thread's first write say so, and nothing aborts; later
//! tries succeed. A start that fails for want of memory or of a thread leaves nothing behind.
//!
//! Limits hold for a whole process, so each case is this test program again.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::{env, thread};

use bufferedwriter::{BufferedWriter, CrashProof, Io, WriteError};
use bufferedwriter_testkit::dir::{TestDir, paths};
use bufferedwriter_testkit::emulated;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{BOUND, WriterDir, close, stats};

const CHILD: &str = "BUFFEREDWRITER_OUT_OF_MEMORY_CHILD";

/// Runs a test of this file again, alone in its process. `false` in that process.
fn is_parent(test: &str) -> bool {
    if env::var_os(CHILD).is_some() {
        return false;
    }
    // What `warm` leaves serves the test itself meanwhile. musl's allocator gives it back to the system.
    if cfg!(not(target_env = "gnu")) {
        println!("skipped: only glibc's allocator keeps memory for the test itself");
        return true;
    }
    if emulated::skips("qemu-user does not limit the memory of a process") {
        return true;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, "").stdin(Stdio::null());
    // All threads allocate from what `warm` leaves, and it stays.
    command.env("MALLOC_ARENA_MAX", "1").env("MALLOC_TRIM_THRESHOLD_", "1000000000");
    command.env("MALLOC_MMAP_THRESHOLD_", "1000000000");
    let output = command.output().unwrap();
    let told =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}: {}", output.status, told.concat());
    true
}

/// Bytes of address space that this process has.
fn used() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// Leaves this thread's allocator enough for what the test itself allocates.
fn warm() {
    drop(std::hint::black_box(vec![1_u8; 8 << 20]));
}

/// Calls `with` while the process may map only this many more bytes.
fn limited<T>(more: u64, with: impl FnOnce() -> T) -> T {
    let before = getrlimit(Resource::As);
    setrlimit(Resource::As, Rlimit { current: Some(used() + more), ..before }).unwrap();
    let result = with();
    setrlimit(Resource::As, before).unwrap();
    result
}

#[test]
fn who_has_no_memory_is_refused_and_may_try_again() {
    const REFUSED: WriteError = WriteError::OutOfMemory;
    if is_parent("out_of_memory::who_has_no_memory_is_refused_and_may_try_again") {
        return;
    }
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().workers(1)).unwrap();
    let mut producers = Vec::with_capacity(1000);
    let (go, wait) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        let writer = &writer;
        // Its first write comes while there is no memory.
        scope.spawn(move || {
            warm();
            tell.send(Ok(())).unwrap();
            for () in wait {
                tell.send(writer.write(b"thread\n")).unwrap();
            }
        });
        assert_eq!(told.recv().unwrap(), Ok(()));
        warm();
        writer.write(b"first\n").unwrap();
        // The worker has begun, and has nothing to do from here on.
        writer.flush(BOUND).unwrap();
        let accepted = limited(0, || {
            let mut accepted = 0;
            // The page of slots that there is serves some.
            let last = loop {
                let mut producer = writer.producer();
                match producer.write(b"early\n") {
                    Ok(()) => accepted += 1,
                    Err(error) => break (error, producer),
                }
                producers.push(producer);
            };
            let (error, mut last) = last;
            assert_eq!(error, REFUSED);
            assert_eq!(last.write_timeout(b"12", BOUND), Err(REFUSED));
            let message = last.send(b"123").unwrap_err();
            assert_eq!((message.kind(), message.into_inner()), (REFUSED, b"123"));
            assert_eq!(last.record(|_| panic!("nothing takes it")), Err(REFUSED));
            // A formatter's own records need another slot.
            let own = writer.record(|record| {
                record.write_bytes(b"outer\n")?;
                assert_eq!(writer.write(b"inner"), Err(REFUSED));
                Ok(())
            });
            assert_eq!(own, Ok(()));
            go.send(()).unwrap();
            assert_eq!(told.recv().unwrap(), Err(REFUSED));
            producers.push(last);
            accepted
        });
        let refused = stats(writer).refused;
        let expected = (6, 6 + 2 + 3 + 5 + 7);
        assert_eq!((refused.out_of_memory.records, refused.out_of_memory.bytes), expected);
        assert_eq!(refused.total(), refused.out_of_memory);
        // There is memory again, for the same producer and the same thread.
        producers.last_mut().unwrap().write(b"later\n").unwrap();
        go.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), Ok(()));
        drop(go);
        producers.clear();
        assert_eq!(stats(writer).accepted.records, accepted + 4);
    });
    close(&writer);
    dir.assert_clean();
}

/// With each page of memory more it comes further: to its arena, its pages, its first thread.
#[test]
fn a_start_that_fails_leaves_nothing() {
    if is_parent("out_of_memory::a_start_that_fails_leaves_nothing") {
        return;
    }
    let Some(shm) = bufferedwriter_testkit::shm::dir() else { return };
    let (dir, memory) = (WriterDir::new(), TestDir::within(shm));
    let config = dir.config().size(100).queue_size(10).workers(1).recover(false).io(Io::Buffered);
    warm();
    let mut failed = BTreeSet::new();
    for memory_of in [CrashProof::Off, CrashProof::Dir(memory.path().to_owned())] {
        let config = config.clone().crash_proof(memory_of);
        // A thread that has its stack and nothing else is the end of the process: std does that.
        for step in 0.. {
            let more = step * 4096;
            assert!(more < 64 << 20, "it never came to a thread: {failed:?}");
            let error = limited(more, || BufferedWriter::new(config.clone())).unwrap_err();
            let left = [paths(memory.path()), paths(&dir.temp), paths(&dir.path)].concat();
            assert!(left.is_empty(), "{more} bytes more, {error}: {left:?}");
            failed.insert(error.operation().to_owned());
            if error.operation() == "start a worker for" {
                break;
            }
        }
    }
    let expected = ["map memory for", "map memory in", "start a worker for"];
    assert_eq!(failed.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    dir.assert_clean();
}
