//! Makes a given number of writes by one of the calls, for callgrind to count: `scripts/instructions` takes the
//! difference of two runs.
//!
//! Guarantees: only the writes depend on their number: they fit in one chunk, unless they take chunks over, and the
//! program ends without a close.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::process::exit;

use bufferedwriter::{BufferedWriter, Config, CrashProof, Recorder};

/// The most writes to crash-proof memory.
const WRITES_MAX: usize = 40_000;
const RING_BYTES: usize = 64 << 10;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, way, writes, bytes] = &args[..] else { usage() };
    let (Ok(writes), Ok(bytes)) = (writes.parse::<usize>(), bytes.parse::<usize>()) else {
        usage()
    };
    let directory =
        std::env::temp_dir().join(format!("bufferedwriter-count-{}", std::process::id()));
    let config = Config::default().path(&directory).temp(&directory).create_dirs(true);
    // One chunk that holds all records; its memory is touched only as it is used.
    let mut config = config.size(1 << 30).queue_size(0).workers(1);
    let memory = Path::new("/dev/shm").join(format!("bufferedwriter-count-{}", std::process::id()));
    if way.ends_with("-crash-proof") {
        // This memory is allocated at once: enough for the most writes, the same for any number of them.
        let size = WRITES_MAX * bytes.max(1);
        config = config.size(size).crash_proof(CrashProof::Dir(memory.clone()));
        let _ = std::fs::create_dir(&memory);
    }
    if way.ends_with("-recorder") {
        // The same, with chunks for a reserve.
        config = config.size(WRITES_MAX * bytes.max(1)).recorder(Recorder::Last(1));
    }
    if way.ends_with("-taking-over") {
        // Four chunks of 64 records: each write of 64 takes over the oldest one.
        config = config.size(64 * bytes.max(1)).recorder(Recorder::Last(3 * 64 * bytes.max(1)));
    }
    let writer = BufferedWriter::new(config);
    let writer = writer.unwrap_or_else(|error| {
        eprintln!("{error}");
        exit(1)
    });
    count(way, &writer, writes, &vec![b'a'; bytes]);
    let accepted = writer.stats().accepted.records;
    if way != "memcpy" && accepted != writes as u64 {
        eprintln!("{accepted} of {writes} records were accepted");
        exit(1)
    }
    // Exits at once: a close would count the workers' instructions too.
    let _ = std::fs::remove_dir_all(&directory);
    let _ = std::fs::remove_dir_all(&memory);
    exit(0)
}

/// All that callgrind counts, on this thread alone: how often the workers look depends on the clock.
#[inline(never)]
fn count(way: &str, writer: &BufferedWriter, writes: usize, record: &[u8]) {
    let text = std::str::from_utf8(record).unwrap_or_default();
    let mut producer = writer.producer();
    match way {
        "memcpy" => copy(writes, record),
        "producer" | "producer-crash-proof" | "producer-recorder" | "producer-taking-over" => {
            repeat(writes, || producer.write(black_box(record)))
        }
        "writer" | "writer-crash-proof" | "writer-recorder" => {
            repeat(writes, || writer.write(black_box(record)))
        }
        "record" => repeat(writes, || producer.record(|w| w.write_str(black_box(text)))),
        "string" => repeat(writes, || {
            let mut line = String::new();
            let _ = line.write_str(black_box(text));
            producer.write(black_box(line.as_bytes()))
        }),
        _ => usage(),
    }
}

/// Checks each result, as a caller does.
fn repeat<E>(writes: usize, mut write: impl FnMut() -> Result<(), E>) {
    let mut refused = 0;
    for _ in 0..writes {
        refused += usize::from(write().is_err());
    }
    black_box(refused);
}

/// The limit: the same bytes, of a length that is known only at run time, into a ring.
fn copy(writes: usize, record: &[u8]) {
    let mut ring = vec![0_u8; RING_BYTES];
    let mut at = 0;
    for _ in 0..writes {
        let record = black_box(record);
        if at + record.len() > ring.len() {
            at = 0;
        }
        // SAFETY: `record` fits between `at` and the end of the ring.
        unsafe {
            std::ptr::copy_nonoverlapping(record.as_ptr(), ring.as_mut_ptr().add(at), record.len());
        }
        black_box(&mut ring);
        at += record.len();
    }
}

fn usage() -> ! {
    eprintln!("usage: instructions memcpy|producer|writer|record|string WRITES BYTES");
    exit(2)
}
