//! Each subject does what it is measured for: the files hold the records, byte for byte, and only whole records
//! are refused or lost.

#![cfg(feature = "harness")]

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bufferedwriter_bench::subject::{Running, Setup, Sink, Subject, landed};
use bufferedwriter_bench::subjects;

const RECORD_BYTES: usize = 64;
const LIMIT: Duration = Duration::from_secs(60);

/// A directory of the test's own, which is removed when the test ends.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "bufferedwriter-bench-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn setup(dir: &Dir, sink: Sink, memory_bytes: usize) -> Setup {
    let record_bytes = RECORD_BYTES;
    Setup { dir: dir.0.clone(), sink, buffer_bytes: 4096, memory_bytes, record_bytes }
}

/// A started subject, with a directory; `None` if it is unavailable here.
fn start(
    subject: &dyn Subject,
    sink: Sink,
    memory_bytes: usize,
) -> Option<(Dir, Box<dyn Running>)> {
    let dir = Dir::new();
    match subject.start(&setup(&dir, sink, memory_bytes)) {
        Ok(running) => Some((dir, running)),
        Err(why) => {
            eprintln!("{}: {why}", subject.name());
            None
        }
    }
}

/// A record of the usual length that holds its thread and number.
fn record(thread: usize, number: usize) -> Vec<u8> {
    let text = format!("{thread:03} {number:09} {{}} %v äöü ");
    let mut record = text.into_bytes();
    record.resize(RECORD_BYTES - 1, b'.');
    record.push(b'\n');
    record
}

/// All bytes in the files, file by file in the order of their names.
fn contents(dir: &Dir) -> Vec<u8> {
    let visible = |name: &PathBuf| !name.file_name().unwrap().as_encoded_bytes().starts_with(b".");
    let mut files: Vec<_> =
        fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap().path()).filter(visible).collect();
    files.sort();
    let bytes: Vec<u8> = files.iter().flat_map(|file| fs::read(file).unwrap()).collect();
    let all = landed(&dir.0).unwrap();
    assert_eq!((all.bytes, all.files), (bytes.len() as u64, files.len() as u64));
    bytes
}

/// How often each record is in the files. Fails where something is not a whole record.
fn records(dir: &Dir, subject: &str) -> HashMap<Vec<u8>, usize> {
    let mut count = HashMap::new();
    for line in contents(dir).split_inclusive(|&byte| byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        assert_eq!(line.len(), RECORD_BYTES, "{subject}: not a record: {text:?}");
        *count.entry(line.to_vec()).or_default() += 1;
    }
    count
}

/// The subjects that write files.
fn landing() -> impl Iterator<Item = Box<dyn Subject>> {
    subjects::all().into_iter().filter(|subject| subject.lands())
}

#[test]
fn at_a_slow_rate_the_files_hold_exactly_the_records() {
    for subject in landing() {
        // Twice: in a benchmark each is started many times.
        for _ in 0..2 {
            let Some((dir, running)) = start(&*subject, Sink::Files, 1 << 20) else { continue };
            let mut writer = running.writer();
            let mut expected = Vec::new();
            for number in 0..1000 {
                let record = record(0, number);
                assert!(writer.write(&record), "{}: refused {number}", subject.name());
                expected.extend_from_slice(&record);
                if number % 20 == 0 {
                    running.settle(LIMIT);
                }
            }
            drop(writer);
            running.finish(LIMIT);
            assert!(contents(&dir) == expected, "{}: not the records", subject.name());
        }
    }
}

#[test]
fn threads_mix_whole_records() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    for subject in landing() {
        let Some((dir, running)) = start(&*subject, Sink::Files, 4 << 20) else { continue };
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (running, subject) = (&running, &subject);
                scope.spawn(move || {
                    let mut writer = running.writer();
                    for number in 0..EACH {
                        let taken = writer.write(&record(thread, number));
                        assert!(taken, "{}: refused {number}", subject.name());
                        if number % 20 == 0 {
                            running.settle(LIMIT);
                        }
                    }
                });
            }
        });
        running.finish(LIMIT);
        let records = records(&dir, subject.name());
        assert_eq!(records.len(), THREADS * EACH, "{}", subject.name());
        assert!(records.values().all(|&times| times == 1), "{}: twice", subject.name());
    }
}

#[test]
fn outrun_it_loses_whole_records_and_ends_in_time() {
    const OFFERED: usize = 100_000;
    for subject in landing() {
        let Some((dir, running)) = start(&*subject, Sink::Files, 64 << 10) else { continue };
        let mut writer = running.writer();
        let taken = (0..OFFERED).filter(|&number| writer.write(&record(0, number))).count();
        drop(writer);
        let began = Instant::now();
        running.finish(LIMIT);
        assert!(began.elapsed() < LIMIT, "{}: no end", subject.name());
        let records = records(&dir, subject.name());
        assert!(!records.is_empty(), "{}: nothing landed", subject.name());
        assert!(records.len() <= taken, "{}: more than it took", subject.name());
        assert!(records.values().all(|&times| times == 1), "{}: twice", subject.name());
        if subject.when_outrun().starts_with("refused") {
            assert_eq!(records.len(), taken, "{}: took and lost", subject.name());
        }
    }
}

#[test]
fn without_a_file_it_takes_records_all_the_same() {
    for subject in subjects::all() {
        let Some((dir, running)) = start(&*subject, Sink::Null, 1 << 20) else { continue };
        let mut writer = running.writer();
        let (record, mut ticks) = (record(0, 0), [0; 100]);
        assert_eq!(writer.repeat(&record, 1000), 1000, "{}", subject.name());
        assert_eq!(writer.timed(&record, &mut ticks), 100, "{}", subject.name());
        drop(writer);
        running.settle(LIMIT);
        running.finish(LIMIT);
        assert_eq!(landed(&dir.0).unwrap().bytes, 0, "{}", subject.name());
    }
}

#[test]
fn it_tells_when_all_has_left_memory() {
    for subject in subjects::all() {
        let Some((_dir, running)) = start(&*subject, Sink::Files, 64 << 10) else { continue };
        let mut writer = running.writer();
        for _ in 0..5 {
            writer.repeat(&record(0, 0), 5000);
            let settled = running.settle(LIMIT);
            // flexi_logger does not tell what waits.
            assert_eq!(settled, subject.name() != "flexi_logger", "{}", subject.name());
        }
        drop(writer);
        running.finish(LIMIT);
    }
}

#[test]
fn a_disk_that_hangs_holds_up_no_subject() {
    // The one without a thread of its own has no choice.
    for subject in landing().filter(|subject| subject.name() != "Mutex<BufWriter>") {
        let dir = Dir::new();
        let setup = setup(&dir, Sink::Files, 64 << 10);
        let path = CString::new(setup.file().as_os_str().as_bytes()).unwrap();
        // SAFETY: the path ends in a zero byte.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        // A pipe that is never read takes at most 64 KiB. At the end of the round it is closed, so blocked writes
        // fail.
        let _pipe = OpenOptions::new().read(true).write(true).open(setup.file()).unwrap();
        let Ok(running) = subject.start(&setup) else { continue };
        let mut writer = running.writer();
        for number in 0..10_000 {
            writer.write(&record(0, number));
        }
        drop(writer);
        let began = Instant::now();
        running.finish(Duration::from_millis(200));
        assert!(began.elapsed() < LIMIT, "{}: held up", subject.name());
    }
}
