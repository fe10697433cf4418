//! What is compared: each way to get records to disk behind one small trait.
//!
//! A subject is started with the same [`Setup`] as all others and hands out one [`Writer`] a thread. The
//! loops over `write` are provided methods of [`Writer`]: they are compiled for each implementor, so that
//! a virtual call is paid once a loop and never once a record.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::system::clock;

/// Where the bytes of a run go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Nowhere: what a write costs its caller is measured, not the disk. Memory comes back as fast as
    /// the subject's own thread gives it back.
    Null,
    /// Into files in [`Setup::dir`].
    Files,
}

/// What every subject gets, the same for all in one run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// An empty directory of the run's own.
    pub dir: PathBuf,
    pub sink: Sink,
    /// Bytes of one buffer, for subjects that have such a thing.
    pub buffer_bytes: usize,
    /// Memory for what waits, for subjects that can be bounded: in bytes, or in as many records.
    pub memory_bytes: usize,
    /// Bytes of each record.
    pub record_bytes: usize,
}

impl Setup {
    /// [`memory_bytes`](Self::memory_bytes), for subjects that count records.
    pub fn memory_records(&self) -> usize {
        (self.memory_bytes / self.record_bytes).max(1)
    }

    /// The one file of subjects that write a single one.
    pub fn file(&self) -> PathBuf {
        self.dir.join("records.log")
    }
}

/// Why a subject can't be measured here; said in the output, never an error.
#[derive(Clone, Debug)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A way to get records to disk.
pub trait Subject: Sync {
    /// Short and stable: it names the subject in tables, JSON and plots.
    fn name(&self) -> &'static str;

    /// What it does with records that it can't keep up with, in a few words.
    fn when_outrun(&self) -> &'static str;

    /// Records go to disk at all (a bare memcpy's do not).
    fn lands(&self) -> bool {
        true
    }

    /// It is this library, in one of its ways in.
    fn ours(&self) -> bool {
        false
    }

    /// It is measured only if it is asked for by name.
    fn is_extra(&self) -> bool {
        false
    }

    /// Starts it.
    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable>;
}

/// A subject at work.
pub trait Running: Send + Sync {
    /// The calling thread's way in.
    fn writer(&self) -> Box<dyn Writer + '_>;

    /// Waits, at most so long, until what was accepted has left memory, as far as the subject can tell;
    /// `false` if it can't or the time is over. Rounds of a loop in which nothing may be refused are
    /// separated by this, off the clock.
    fn settle(&self, timeout: Duration) -> bool;

    /// Ends it: what is still in memory is written, waiting at most so long, and files are closed, but not
    /// forced to the disk. All writers are gone.
    fn finish(self: Box<Self>, timeout: Duration);
}

/// One thread's way into a subject.
pub trait Writer {
    /// Offers a record: UTF-8 that ends in a newline. `false` if the subject says that it refused it; some
    /// never say, and what they lost shows only in the files.
    fn write(&mut self, record: &[u8]) -> bool;

    /// Every how many writes of so many bytes the subject swaps its buffer, if that is known.
    fn swaps_every(&self, _record_bytes: usize) -> Option<u64> {
        None
    }

    /// Offers a record so many times; how many were taken.
    fn repeat(&mut self, record: &[u8], times: u64) -> u64 {
        (0..times).map(|_| u64::from(self.write(std::hint::black_box(record)))).sum()
    }

    /// Offers a record once for each place of `ticks` and notes what each took, in ticks of
    /// [`clock::ticks`]; how many were taken.
    fn timed(&mut self, record: &[u8], ticks: &mut [u64]) -> u64 {
        let mut taken = 0;
        for place in ticks {
            let before = clock::ticks();
            taken += u64::from(self.write(std::hint::black_box(record)));
            *place = clock::ticks() - before;
        }
        taken
    }
}

/// Complete lines in all files below `dir` whose names are not hidden: what landed.
pub fn landed(dir: &Path) -> std::io::Result<Landed> {
    let mut sum = Landed::default();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() || entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        sum.files += 1;
        sum.bytes += entry.metadata()?.len();
    }
    Ok(sum)
}

/// What stands in a directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Landed {
    pub files: u64,
    pub bytes: u64,
}
