//! What all measures share: the chosen subjects, how each is set up, and a directory for its files.
//!
//! Guarantees: all files are below one directory, which is removed at the end.

use std::ops::Deref;
use std::path::Path;

use crate::report::{Described, MEMCPY, PRODUCER, WRITER};
use crate::subject::{Running, Setup, Sink, Subject, Unavailable};
use crate::subjects;
use crate::system::clock::Calibration;
use crate::system::scratch::Scratch;

/// How a subject's memory is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    pub buffer_bytes: usize,
    pub memory_bytes: usize,
}

/// The division that the targets assume: the library's `Config::high_throughput`.
pub const LARGE: Buffers = Buffers { buffer_bytes: 64 << 10, memory_bytes: 64 << 20 };
/// The library's defaults: 1024 buffers that may wait, and one for each of 8 workers.
pub const DEFAULTS: Buffers =
    Buffers { buffer_bytes: 8 << 10, memory_bytes: (1024 + 8) * (8 << 10) };

/// A subject with one division of memory: one row of a table.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub subject: &'a dyn Subject,
    pub buffers: Buffers,
}

impl Entry<'_> {
    pub fn name(&self) -> &'static str {
        self.subject.name()
    }
}

pub struct Bench {
    dir: Scratch,
    pub subjects: Vec<Box<dyn Subject>>,
    /// A short run, to see that everything works.
    pub quick: bool,
    /// Bytes between two pauses, in loops in which no record may be refused.
    pub round_bytes: usize,
    pub clock: Calibration,
}

impl Bench {
    /// With all subjects, or those whose names contain one of `wanted`. memcpy is always there, as the
    /// reference.
    pub fn new(dir: &Path, wanted: &[String], quick: bool) -> std::io::Result<Self> {
        let mut subjects = subjects::all();
        subjects.retain(|subject| {
            let name = subject.name().to_lowercase();
            wanted.is_empty() && !subject.is_extra()
                || name == MEMCPY
                || wanted.iter().any(|part| name.contains(&part.to_lowercase()))
        });
        let dir = Scratch::new(dir)?;
        Ok(Bench { dir, subjects, quick, round_bytes: 1 << 20, clock: Calibration::measure() })
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// An empty directory, which is removed when its guard is dropped.
    pub fn scratch(&self) -> Scratch {
        Scratch::new(self.dir.path()).expect("the run's directory takes directories")
    }

    /// Every subject with large buffers, and ours with the defaults too.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let large =
            self.subjects.iter().map(|subject| Entry { subject: &**subject, buffers: LARGE });
        let ours = self.subjects.iter().filter(|subject| subject.ours());
        large.chain(ours.map(|subject| Entry { subject: &**subject, buffers: DEFAULTS })).collect()
    }

    /// The [`entries`](Self::entries) that write files.
    pub fn landing_entries(&self) -> Vec<Entry<'_>> {
        let mut entries = self.entries();
        entries.retain(|entry| entry.subject.lands());
        entries
    }

    /// For measures that take seconds: of the entries with the defaults only those that a target names.
    pub fn few_entries(&self) -> Vec<Entry<'_>> {
        let mut entries = self.entries();
        entries
            .retain(|entry| entry.buffers == LARGE || [PRODUCER, WRITER].contains(&entry.name()));
        entries
    }

    /// What the report says of each subject.
    pub fn described(&self) -> Vec<Described> {
        let subjects = self.subjects.iter().map(|subject| Described {
            name: subject.name().into(),
            when_outrun: subject.when_outrun().into(),
            ours: subject.ours(),
            lands: subject.lands(),
        });
        subjects.collect()
    }

    /// The first value in full runs, the second in quick ones.
    pub fn full_or_quick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// At most half of the memory, since some subjects can't tell when it is free again.
    pub fn writes_per_round(&self, buffers: Buffers, record_bytes: usize) -> u64 {
        (self.round_bytes.min(buffers.memory_bytes / 2) / record_bytes).max(1) as u64
    }

    /// Starts a subject in a directory of its own.
    pub fn start(&self, entry: Entry<'_>, sink: Sink, record_bytes: usize) -> Started {
        let scratch = self.scratch();
        let setup = setup(scratch.path(), entry.buffers, sink, record_bytes);
        let running = entry.subject.start(&setup)?;
        Ok((running, scratch))
    }
}

/// The directory outlives what runs in it.
pub type Started = Result<(Box<dyn Running>, Scratch), Unavailable>;

pub fn setup(dir: &Path, buffers: Buffers, sink: Sink, record_bytes: usize) -> Setup {
    Setup {
        dir: dir.into(),
        sink,
        buffer_bytes: buffers.buffer_bytes,
        memory_bytes: buffers.memory_bytes,
        record_bytes,
    }
}

/// A line, its newline included, that is aligned to a cache line: its address must not decide what a copy
/// of it costs.
pub struct Record {
    lines: Box<[CacheLine]>,
    bytes: usize,
}

#[derive(Clone)]
#[repr(align(64))]
struct CacheLine([u8; 64]);

pub fn record(bytes: usize) -> Record {
    let mut lines = vec![CacheLine([b'a'; 64]); bytes.div_ceil(64)];
    if bytes > 0 {
        lines[(bytes - 1) / 64].0[(bytes - 1) % 64] = b'\n';
    }
    Record { lines: lines.into(), bytes }
}

impl Deref for Record {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the lines are contiguous, without padding, and hold at least `bytes` bytes.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_lines_of_the_length_that_was_asked_for() {
        let line = record(128);
        assert_eq!(line.len(), 128);
        assert_eq!(line.as_ptr() as usize % 64, 0);
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(127));
    }

    /// So the rows of a table are what a user gets.
    #[test]
    fn both_divisions_are_sets_of_the_librarys_defaults() {
        use bufferedwriter::Config;
        for (config, buffers) in [(Config::high_throughput(), LARGE), (Config::default(), DEFAULTS)]
        {
            let of = |key: &str| config.get(key).unwrap().into_string().unwrap();
            let size = bufferedwriter::text::size(&of("size")).unwrap() as usize;
            let chunks = ["queue_size", "workers"].map(|key| of(key).parse::<usize>().unwrap());
            assert_eq!(size, buffers.buffer_bytes);
            assert_eq!(size * chunks.iter().sum::<usize>(), buffers.memory_bytes);
        }
    }

    #[test]
    fn a_round_takes_half_of_the_memory_at_most() {
        let bench = Bench::new(&std::env::temp_dir(), &["none".into()], true).unwrap();
        assert_eq!(bench.writes_per_round(LARGE, 128), 8192);
        let small = Buffers { buffer_bytes: 1 << 10, memory_bytes: 1 << 20 };
        assert_eq!(bench.writes_per_round(small, 128), 4096);
    }

    #[test]
    fn subjects_are_chosen_by_parts_of_names_and_memcpy_stays() {
        let bench = Bench::new(&std::env::temp_dir(), &["SEN".into()], true).unwrap();
        let names: Vec<_> = bench.subjects.iter().map(|subject| subject.name()).collect();
        assert_eq!(names, ["memcpy", "send"]);
        let buffers: Vec<_> = bench.entries().iter().take(3).map(|entry| entry.buffers).collect();
        assert_eq!(buffers, [LARGE, LARGE, DEFAULTS]);
        let dir = bench.dir().to_path_buf();
        assert!(dir.is_dir());
        drop(bench);
        assert!(!dir.exists());
    }
}
