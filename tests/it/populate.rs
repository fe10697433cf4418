//! Promise: with `populate` all memory is resident and locked before the first write, which then meets
//! no page fault. Where that is not permitted, `new` says so and leaves nothing behind.

use std::thread;

use bufferedwriter::{BufferedWriter, Config, CrashProof, Io};
use bufferedwriter_testkit::dir::{TestDir, list};
use bufferedwriter_testkit::emulated;
use bufferedwriter_testkit::process::{number, page_faults};
use bufferedwriter_testkit::shm;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::support::{WriterDir, close};

const SIZE: usize = 4096;
const CHUNKS: usize = 256;

/// Two workers with 256 KiB each for direct I/O, beside 1 MiB of chunks.
fn config(dir: &WriterDir) -> Config {
    let config = dir.config_without_copy().size(SIZE).queue_size(CHUNKS - 2).workers(2);
    config.io(Io::Direct).populate(true)
}

fn locked() -> usize {
    number("self", "VmLck:") as usize * 1024
}

/// Only tests of this file lock memory, and a process has one number of locked bytes, so this is
/// one test.
#[test]
fn all_memory_is_locked_while_the_writer_lives() {
    let permitted = getrlimit(Resource::Memlock).current;
    if permitted.is_some_and(|bytes| bytes < 8 << 20) {
        eprintln!("skipped: RLIMIT_MEMLOCK permits {permitted:?} bytes");
        return;
    }
    let dir = WriterDir::new();
    // Crash-proof memory needs a rename in one step.
    let shm = shm::dir();
    let memory = shm.map(TestDir::within);
    let crash_proof = memory.iter().map(|memory| CrashProof::Dir(memory.path().to_owned()));
    for crash_proof in std::iter::once(CrashProof::Off).chain(crash_proof) {
        let config = config(&dir).crash_proof(crash_proof);
        let bound = config.memory_bound();
        let writer = BufferedWriter::new(config).unwrap();
        let all = locked();
        // The page of the slots comes on top.
        let least = CHUNKS * SIZE + 2 * CHUNKS / 2 * SIZE / 2 + 4096;
        assert!((least..=bound).contains(&all), "{least} <= {all} <= {bound}");
        close(&writer);
        drop(writer);
        assert_eq!(locked(), 0);
        dir.assert_clean();
    }
    if !emulated::skips("qemu-user does not pass on MADV_POPULATE_WRITE") {
        // With the thread go its slots.
        thread::spawn(no_write_faults).join().unwrap();
    }
    if let Some(memory) = memory {
        what_is_not_permitted_is_refused(&memory);
    }
}

/// One chunk that is larger than what workers make resident ahead.
fn no_write_faults() {
    let dir = WriterDir::new();
    let size = 5 << 20;
    let config = dir.config_without_copy().size(size).queue_size(0).workers(1).io(Io::Buffered);
    let writer = BufferedWriter::new(config.populate(true)).unwrap();
    let record = vec![b'x'; size - 1];
    // The thread's own memory and the code of a write may fault.
    writer.write(b"\n").unwrap();
    let before = page_faults();
    writer.write(&record).unwrap();
    let faults = page_faults() - before;
    assert!(faults < 10, "{faults} page faults for 1280 pages");
    close(&writer);
}

fn what_is_not_permitted_is_refused(memory: &TestDir) {
    let dir = WriterDir::new();
    let limits = getrlimit(Resource::Memlock);
    setrlimit(Resource::Memlock, Rlimit { current: Some(1 << 20), ..limits }).unwrap();
    let in_memory = CrashProof::Dir(memory.path().to_owned());
    for crash_proof in [CrashProof::Off, in_memory] {
        let config = config(&dir).io(Io::Buffered).crash_proof(crash_proof);
        // A capability and its loss are the thread's alone.
        let refused = thread::spawn(|| {
            let mut own = capabilities(None).unwrap();
            own.effective.remove(CapabilitySet::IPC_LOCK);
            set_capabilities(None, own).unwrap();
            BufferedWriter::new(config)
        });
        let error = refused.join().unwrap().expect_err("more than is permitted");
        assert_eq!(error.operation(), "mlock memory for");
        assert_eq!(error.path(), Some(&*dir.path));
        let text = error.to_string();
        assert!(text.contains(" bytes; RLIMIT_MEMLOCK permits 1048576 bytes in all"), "{text}");
        assert!(memory.list().is_empty() && list(&dir.path).is_empty());
        dir.assert_clean();
        assert_eq!(locked(), 0);
    }
    setrlimit(Resource::Memlock, limits).unwrap();
}
