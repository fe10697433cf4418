//! Every option of a writer, its default and its range.
//!
//! Guarantees: plain data, in groups as the parts of a writer take them; [`Config::check`] refuses options out of
//! range by name, value and range. Touches no file, computes nothing (`writer/budget.rs` does).

mod check;
mod groups;
mod options;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::fs::Fs;
use crate::report::health::{ErrorEvent, OnError};

pub(crate) use check::{AFFIX_BYTES_MAX, CHUNKS_MAX, SIZE_MAX, WORKERS_MAX};
pub(crate) use groups::{Files, FsHandle, Limits, Memory, OnFailure};
pub(crate) use options::{Codec, SHM};
pub use options::{CrashProof, Durability, Io};

/// The options of a [`BufferedWriter`](crate::BufferedWriter), chained.
///
/// ```
/// use std::time::Duration;
/// let config = bufferedwriter::Config::default()
///     .path("/var/log/app")
///     .prefix("access_")
///     .size(64 << 10)
///     .forced(Duration::from_secs(1));
/// assert!(config.memory_bound() >= 64 << 10);
/// ```
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Config {
    pub(crate) memory: Memory,
    pub(crate) files: Files,
    pub(crate) limits: Limits,
    pub(crate) on_failure: OnFailure,
    /// Left-overs of writers that died are published at the start.
    pub(crate) recover: bool,
    pub(crate) drop_timeout: Duration,
    /// The machine's, if there is none.
    pub(crate) fs: Option<FsHandle>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            memory: Memory::default(),
            files: Files::default(),
            limits: Limits::default(),
            on_failure: OnFailure::default(),
            recover: true,
            drop_timeout: Duration::from_secs(5),
            fs: None,
        }
    }
}

impl Config {
    /// Bytes of one buffer (chunk): what a thread gathers before it goes to a worker.
    /// Default 8192; 1 B to 1 GiB. A larger record is kept in several chunks.
    pub fn size(mut self, bytes: usize) -> Self {
        self.memory.size = bytes;
        self
    }

    /// Chunks that may wait when all workers are busy. Default 1024; 0 to 2^20.
    /// The writer has `queue_size + workers` chunks in all, shared by all threads.
    pub fn queue_size(mut self, chunks: usize) -> Self {
        self.memory.queue_size = chunks;
        self
    }

    /// Independent workers, each with its own file. Default 8; 1 to 256.
    /// A worker without traffic sleeps and has no file.
    pub fn workers(mut self, count: usize) -> Self {
        self.memory.workers = count;
        self
    }

    /// Directory in which complete files appear. Default: the temp directory of the system.
    pub fn path(mut self, dir: impl Into<PathBuf>) -> Self {
        self.files.path = dir.into();
        self
    }

    /// Directory in which files are written before they are renamed into [`path`](Self::path).
    /// Default: the temp directory of the system. Best a directory of its own on the same file
    /// system; where it is on another one, files are written under hidden names in `path`
    /// instead (see [`Stats::temp_dir`](crate::Stats::temp_dir)), since nothing is ever copied.
    pub fn temp(mut self, dir: impl Into<PathBuf>) -> Self {
        self.files.temp = dir.into();
        self
    }

    /// First part of every file name. Default ""; no `/`, no NUL; together with the
    /// extension at most 160 bytes.
    pub fn prefix(mut self, prefix: impl Into<OsString>) -> Self {
        self.files.prefix = prefix.into();
        self
    }

    /// No accepted record stays out of a visible file for longer than this, counted from the
    /// oldest unpublished record, with or without traffic, while the disk answers.
    /// Default 0 = never because of this option; but see [`file_age`](Self::file_age).
    pub fn forced(mut self, interval: Duration) -> Self {
        self.files.forced = interval;
        self
    }

    /// A file is published when it has this size in bytes; it may exceed it by what was flushed
    /// at once. Default 64 MiB. 0 = a file for every flushed buffer. While it can't be published, it grows
    /// on, up to four times that, at least 1 MiB; then memory fills.
    pub fn file_size(mut self, bytes: u64) -> Self {
        self.files.file_size = bytes;
        self
    }

    /// A file is published when its oldest record is this old; records that are still in memory
    /// are fetched in time. Default 10 s; 0 = never because of its age. Where
    /// [`forced`](Self::forced) is set too, the shorter of the two holds.
    pub fn file_age(mut self, age: Duration) -> Self {
        self.files.file_age = age;
        self
    }

    /// Whether files are forced to the disk. Default [`Durability::None`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.files.durability = durability;
        self
    }

    /// Whether files are written past the page cache. Default [`Io::Auto`].
    pub fn io(mut self, io: Io) -> Self {
        self.files.io = io;
        self
    }

    /// Permissions of the files, whatever the umask. Default 0o600; 0 to 0o777.
    pub fn mode(mut self, mode: u32) -> Self {
        self.files.mode = mode;
        self
    }

    /// Last part of every file name, without the dot. Default "log"; no `/`, no NUL;
    /// together with the prefix at most 160 bytes; empty = no dot either.
    pub fn extension(mut self, extension: impl Into<OsString>) -> Self {
        self.files.extension = extension.into();
        self
    }

    /// Whether missing directories are created, for the owner alone (0o700). Default false:
    /// a missing directory is an error of [`BufferedWriter::new`](crate::BufferedWriter::new).
    pub fn create_dirs(mut self, create: bool) -> Self {
        self.files.create_dirs = create;
        self
    }

    /// How long the drop of the last handle waits for the disk. Default 5 s; 0 = not at all.
    pub fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }

    /// Whether left-overs of writers that died with this [`path`](Self::path), [`temp`](Self::temp) and
    /// [`prefix`](Self::prefix) are published, in the background, while this one works already (see
    /// [`BufferedWriter::recovery`](crate::BufferedWriter::recovery)). Default true. By hand:
    /// [`recover`](crate::recover()).
    pub fn recover(mut self, recover: bool) -> Self {
        self.recover = recover;
        self
    }

    /// Whether what was accepted outlives the process. Default [`CrashProof::Off`]. With it, a
    /// directory that is not in memory (tmpfs) or has no room for [`memory_bound`](Self::memory_bound), and
    /// a file system of `path` that can't rename without replacing in one step, are errors of
    /// [`new`](crate::BufferedWriter::new).
    pub fn crash_proof(mut self, crash_proof: CrashProof) -> Self {
        self.memory.crash_proof = crash_proof;
        self
    }

    /// How long records wait in memory for a disk that fails. Default 0 = as long as it takes; then memory
    /// fills, and `write` says [`Full`](crate::WriteError::Full).
    ///
    /// Once no file of a worker's could take what it holds for so long, although it was tried again and
    /// again, that is counted as lost ([`Lost::gave_up`](crate::Lost::gave_up)), messages are dropped, and
    /// the memory serves again. While the stall lasts, so is what comes later, after each try that fails.
    /// What is in a temp file, with [`Durability::File`] covered by an fsync, is never given up: it takes no
    /// memory, and may still become visible. A call that does not return at all is not ended by this:
    /// its worker holds its share of the memory, as long as it hangs; `close` gives it up at its deadline.
    pub fn give_up_after(mut self, time: Duration) -> Self {
        self.on_failure.give_up_after = time;
        self
    }

    /// Who is told when a worker is held up by an error, or loses records. Default: nobody.
    ///
    /// Called on the worker's own thread while nothing is held: at once for a new error, then at most once
    /// a second for each worker while it lasts ([`Stall::attempts`](crate::Stall::attempts) tells how
    /// often it was tried meanwhile); and at once when records are lost. The end of the stall is not
    /// told, nor a call that does not return: [`health`](crate::BufferedWriter::health) shows both.
    ///
    /// As in the `Drop` of a message, `write` works, `flush` and `close` return an error, and a panic is
    /// caught. It holds up its worker as long as it takes. A callback that holds a handle of the writer keeps
    /// it open: it is then closed by [`close`](crate::BufferedWriter::close) only.
    pub fn on_error(
        mut self,
        callback: impl Fn(&ErrorEvent) + Send + std::marker::Sync + 'static,
    ) -> Self {
        self.on_failure.on_error = OnError(Some(Arc::new(callback)));
        self
    }

    /// Bytes that the file system of [`path`](Self::path) and [`temp`](Self::temp) must keep free, as far as
    /// this process may use it (without what is reserved for root). Default 0 = does not matter.
    ///
    /// When no more than this is free, records are refused with
    /// [`WriteError::DiskGuard`](crate::WriteError::DiskGuard), until there is more again. That is looked up
    /// in [`new`](crate::BufferedWriter::new), then once a second by a worker, while records come in or are
    /// refused; in between, what this writer writes is taken off. The guard acts on buffers: a record that
    /// still fits its thread's buffer is accepted, and what was accepted is written, so that the disk may get
    /// fuller by up to [`memory_bound`](Self::memory_bound). What others write in a second comes on top. An
    /// error refuses nothing: the last answer holds, and
    /// [`Stats::disk_guard`](crate::Stats::disk_guard) tells of it.
    pub fn min_free(mut self, bytes: u64) -> Self {
        self.limits.min_free = bytes;
        self
    }

    /// Bytes that the files with this prefix and extension may take: visible ones in [`path`](Self::path)
    /// and temp files in [`temp`](Self::temp), of this writer and of all others, in this process and in
    /// others. Each counts with the blocks that it takes of the file system, at least with its length.
    /// Default 0 = any number. Nothing is deleted.
    ///
    /// When they take this or more, records are refused as with [`min_free`](Self::min_free), until somebody
    /// takes files away. The files are counted in [`new`](crate::BufferedWriter::new), then once a
    /// second, but so seldom that it takes at most 2 % of one worker's time: to count 10,000 files takes about
    /// 35 ms, so that comes once in 2 s; 100,000 files 0.4 s, once in 20 s. The worker that counts writes
    /// nothing for 5 ms at once, or while a directory is listed (an eighth of that time); names take about
    /// 150 bytes of memory each meanwhile. Other writers' files are not seen in between, nor that files were
    /// taken away.
    pub fn max_total(mut self, bytes: u64) -> Self {
        self.limits.max_total = bytes;
        self
    }

    /// How files hold records.
    #[cfg(test)]
    pub(crate) fn codec(mut self, codec: Codec) -> Self {
        self.files.codec = codec;
        self
    }

    /// Replaces the file system, for tests that make calls fail. Not a stable interface.
    #[doc(hidden)]
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = Some(FsHandle(fs));
        self
    }
}
