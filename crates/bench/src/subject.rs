//! What is compared: each way to get records to disk, behind one small trait.
//!
//! All subjects are started with the same [`Setup`], and each gives every thread its own [`Writer`]. The loops
//! over `write` are provided methods of [`Writer`], compiled for each implementor: a virtual call is
//! paid once a loop, not once a record.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::system::clock;

/// Where the bytes of a run go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Nowhere, to measure what a write costs its caller without the disk. Memory is free again as soon as the
    /// subject's own thread has passed it on.
    Null,
    /// Into files in [`Setup::dir`].
    Files,
}

/// What every subject is given, the same for all of a run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// An empty directory of the run's own.
    pub dir: PathBuf,
    pub sink: Sink,
    /// Bytes of one buffer, for subjects that have buffers.
    pub buffer_bytes: usize,
    /// Memory for waiting records, for subjects that can be bounded, in bytes or in as many records.
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

/// Why a subject can't be measured here. It appears in the output and fails no run.
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

    /// What it does with records when it can't keep up, in a few words.
    fn when_outrun(&self) -> &'static str;

    /// Its records go to disk; those of a bare memcpy do not.
    fn lands(&self) -> bool {
        true
    }

    /// It is this library, through one of its calls.
    fn ours(&self) -> bool {
        false
    }

    /// It is measured only if it is named on the command line.
    fn is_extra(&self) -> bool {
        false
    }

    /// Starts it.
    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable>;
}

/// A subject at work.
pub trait Running: Send + Sync {
    /// A writer for the calling thread.
    fn writer(&self) -> Box<dyn Writer + '_>;

    /// Waits until all accepted records have left memory, as far as the subject can tell. `false` after the
    /// timeout, or if the subject can't tell. Called between rounds in which no record may be refused, off the
    /// clock.
    fn settle(&self, timeout: Duration) -> bool;

    /// Ends it: writes what is in memory, within the timeout, and closes files without a sync. All writers
    /// are gone.
    fn finish(self: Box<Self>, timeout: Duration);
}

/// What one thread writes to.
pub trait Writer {
    /// Offers a record, which is UTF-8 and ends in a newline. `false` if the subject says that it refused it.
    /// Some never say so; what they lost shows only in the files.
    fn write(&mut self, record: &[u8]) -> bool;

    /// After how many records of this size the subject swaps its buffer, if that is known.
    fn swaps_every(&self, _record_bytes: usize) -> Option<u64> {
        None
    }

    /// Offers a record `times` times; returns how many were accepted.
    fn repeat(&mut self, record: &[u8], times: u64) -> u64 {
        (0..times).map(|_| u64::from(self.write(std::hint::black_box(record)))).sum()
    }

    /// Offers a record once for each element of `ticks` and stores there how long it took, in
    /// [`clock::ticks`]. Returns how many were accepted.
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

/// Counts the visible files of `dir` and their bytes: what landed.
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

/// What is in a directory's visible files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Landed {
    pub files: u64,
    pub bytes: u64,
}
