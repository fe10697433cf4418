//! Every option of a writer, its default and its range.
//!
//! Guarantees: whatever passes [`Config::check`] can be built without an arithmetic overflow.
//! Refuses: options out of range, by name, value and range. Touches no file.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::file::aligned::{self, PAGE};
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::memory::arena::{self, ChunkId, Extent, MESSAGES_MAX};
use crate::memory::crash_image::Layout;
use crate::memory::message::Head;
use crate::memory::prefault::Prefault;
use crate::naming::AFFIX_BYTES_MAX;
use crate::report::error::Error;
use crate::report::health::{ErrorEvent, OnError};
use crate::worker::collect::Piece;

/// When data is forced to the disk, not only to the operating system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Never: the operating system writes back when it likes. A visible file survives the death of
    /// the process, not the loss of power; errors of the writeback are invisible to the writer.
    #[default]
    None,
    /// Before a file becomes visible it is synced, and its directory afterwards. Memory is reused
    /// only when a sync covers what it held.
    File,
}

/// Whether files are written past the page cache (direct I/O, `O_DIRECT`): that takes a fraction of the
/// processor's time for large writes and leaves the cache to others, but takes no burst that the disk can't.
///
/// Past it, a worker gathers chunks, for up to 100 ms while more come in and half of its share of the
/// memory at most, and writes up to 1 MiB at once. Where the file system has no direct I/O, or refuses
/// a write, it goes through the page cache, file by file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Io {
    /// Past the page cache where that pays: with a [`file_size`](Config::file_size) of 1 MiB or more, and
    /// memory for writes of 64 KiB or more, which means 128 KiB (`size` times buffers) for each worker.
    #[default]
    Auto,
    /// Past the page cache, even if files or memory are small.
    Direct,
    /// Through the page cache, which takes what the disk can't for a while, at the cost of processor time,
    /// of memory that nobody bounds, and of stalls when the system writes back.
    Buffered,
}

/// Whether what a writer has accepted outlives its process: a death by SIGKILL, a fault, an abort, `exit`
/// without `close`. Not the loss of power, nor a reboot.
///
/// The memory is a file then, on a file system in memory, allocated as a whole in
/// [`new`](crate::BufferedWriter::new), mapped and locked; a write costs the same. The next writer with the same
/// `path`, `temp` and prefix finds it by the state file in `temp`, publishes what is in it, and removes it; or
/// [`recover`](crate::recover()) does. `send` is a copy in this mode: what the process owns dies with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashProof {
    /// What is in memory dies with the process.
    #[default]
    Off,
    /// In `/dev/shm`. A container has 64 MB there unless it is told otherwise (`docker run --shm-size`), and
    /// loses it with its first process unless that of the host is mounted there.
    Auto,
    /// In this directory of a file system in memory (tmpfs).
    Dir(PathBuf),
}

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
    pub(crate) size: usize,
    pub(crate) queue_size: usize,
    pub(crate) workers: usize,
    pub(crate) path: PathBuf,
    pub(crate) temp: PathBuf,
    pub(crate) prefix: OsString,
    pub(crate) forced: Duration,
    pub(crate) file_size: u64,
    pub(crate) file_age: Duration,
    pub(crate) durability: Durability,
    pub(crate) io: Io,
    pub(crate) mode: u32,
    pub(crate) extension: OsString,
    pub(crate) create_dirs: bool,
    pub(crate) drop_timeout: Duration,
    pub(crate) recover: bool,
    pub(crate) crash_proof: CrashProof,
    pub(crate) give_up_after: Duration,
    pub(crate) on_error: OnError,
    pub(crate) min_free: u64,
    pub(crate) max_total: u64,
    pub(crate) fs: FsHandle,
}

/// The file system behind a writer; a test may put its own there.
#[derive(Clone)]
pub(crate) struct FsHandle(pub(crate) Arc<dyn Fs>);

impl std::fmt::Debug for FsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fs")
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            size: 8192,
            queue_size: 1024,
            workers: 8,
            path: std::env::temp_dir(),
            temp: std::env::temp_dir(),
            prefix: OsString::new(),
            forced: Duration::ZERO,
            file_size: 64 << 20,
            file_age: Duration::from_secs(10),
            durability: Durability::None,
            io: Io::Auto,
            mode: 0o600,
            extension: OsString::from("log"),
            create_dirs: false,
            drop_timeout: Duration::from_secs(5),
            recover: true,
            crash_proof: CrashProof::Off,
            give_up_after: Duration::ZERO,
            on_error: OnError::default(),
            min_free: 0,
            max_total: 0,
            fs: FsHandle(Arc::new(RealFs)),
        }
    }
}

impl Config {
    const SIZE_MAX: usize = 1 << 30;
    const QUEUE_SIZE_MAX: usize = 1 << 20;
    const WORKERS_MAX: usize = 256;
    /// A worker's list of what it holds: two pieces of a chunk (a scraped prefix and the rest),
    /// twice for the growth of the list.
    const QUEUE_BYTES_PER_CHUNK: usize = 4 * size_of::<Piece>();
    /// A worker's lists of live chunks and their lengths: of a scrape, and of two looks for idle
    /// producers, twice for the growth of the lists.
    const LOOK_BYTES_PER_CHUNK: usize = 6 * size_of::<(ChunkId, Extent)>();
    /// What the writer keeps beside each message that was handed over.
    const MESSAGE_BYTES_PER_CHUNK: usize = MESSAGES_MAX * size_of::<Head>();
    /// What is known of each run of chunks, which may be of one.
    const RUN_BYTES_PER_CHUNK: usize = Prefault::RUN_BYTES;
    const STAGING_BYTES_MIN: usize = 2 * PAGE;
    const STAGING_BYTES_MAX: usize = 1 << 20;
    /// From these on the page cache costs more than it saves.
    const DIRECT_FILE_BYTES_MIN: u64 = 1 << 20;
    const DIRECT_WRITE_BYTES_MIN: usize = 64 << 10;
    /// Stack and tables of a worker, as far as it touches them.
    const WORKER_BYTES: usize = 64 << 10;

    /// Bytes of one buffer (chunk): what a thread gathers before it goes to a worker.
    /// Default 8192; 1 B to 1 GiB. A larger record is kept in several chunks.
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// Chunks that may wait when all workers are busy. Default 1024; 0 to 2^20.
    /// The writer has `queue_size + workers` chunks in all, shared by all threads.
    pub fn queue_size(mut self, chunks: usize) -> Self {
        self.queue_size = chunks;
        self
    }

    /// Independent workers, each with its own file. Default 8; 1 to 256.
    /// A worker without traffic sleeps and has no file.
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// Directory in which complete files appear. Default: the temp directory of the system.
    pub fn path(mut self, dir: impl Into<PathBuf>) -> Self {
        self.path = dir.into();
        self
    }

    /// Directory in which files are written before they are renamed into [`path`](Self::path).
    /// Default: the temp directory of the system. Best a directory of its own on the same file
    /// system; where it is on another one, files are written under hidden names in `path`
    /// instead (see [`Stats::temp_dir`](crate::Stats::temp_dir)), since nothing is ever copied.
    pub fn temp(mut self, dir: impl Into<PathBuf>) -> Self {
        self.temp = dir.into();
        self
    }

    /// First part of every file name. Default ""; no `/`, no NUL; together with the
    /// extension at most 160 bytes.
    pub fn prefix(mut self, prefix: impl Into<OsString>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// No accepted record stays out of a visible file for longer than this, counted from the
    /// oldest unpublished record, with or without traffic, while the disk answers.
    /// Default 0 = never because of this option; but see [`file_age`](Self::file_age).
    pub fn forced(mut self, interval: Duration) -> Self {
        self.forced = interval;
        self
    }

    /// A file is published when it has this size in bytes; it may exceed it by what was flushed
    /// at once. Default 64 MiB. 0 = a file for every flushed buffer. While it can't be published, it grows
    /// on, up to four times that, at least 1 MiB; then memory fills.
    pub fn file_size(mut self, bytes: u64) -> Self {
        self.file_size = bytes;
        self
    }

    /// A file is published when its oldest record is this old; records that are still in memory
    /// are fetched in time. Default 10 s; 0 = never because of its age. Where
    /// [`forced`](Self::forced) is set too, the shorter of the two holds.
    pub fn file_age(mut self, age: Duration) -> Self {
        self.file_age = age;
        self
    }

    /// Whether files are forced to the disk. Default [`Durability::None`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether files are written past the page cache. Default [`Io::Auto`].
    pub fn io(mut self, io: Io) -> Self {
        self.io = io;
        self
    }

    /// Permissions of the files, whatever the umask. Default 0o600; 0 to 0o777.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Last part of every file name, without the dot. Default "log"; no `/`, no NUL;
    /// together with the prefix at most 160 bytes; empty = no dot either.
    pub fn extension(mut self, extension: impl Into<OsString>) -> Self {
        self.extension = extension.into();
        self
    }

    /// Whether missing directories are created, for the owner alone (0o700). Default false:
    /// a missing directory is an error of [`BufferedWriter::new`](crate::BufferedWriter::new).
    pub fn create_dirs(mut self, create: bool) -> Self {
        self.create_dirs = create;
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
        self.crash_proof = crash_proof;
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
        self.give_up_after = time;
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
        self.on_error = OnError(Some(Arc::new(callback)));
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
        self.min_free = bytes;
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
        self.max_total = bytes;
        self
    }

    /// Replaces the file system, for tests that make calls fail. Not a stable interface.
    #[doc(hidden)]
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = FsHandle(fs);
        self
    }

    /// Worst case of the writer's memory in bytes, whatever the number of records: all chunks and
    /// their headers, and what each worker needs besides, also to write past the page cache. A message
    /// that was handed over counts by its length, in place of a chunk's bytes. Apart: thread stacks,
    /// of which a worker touches a few KiB; about 300 bytes for each thread that is writing at the
    /// same time; what a message owns beyond its bytes; the names of files while they are listed for
    /// [`max_total`](Self::max_total).
    pub fn memory_bound(&self) -> usize {
        let chunks = self.chunks();
        arena::bytes(chunks, self.size)
            .unwrap_or(usize::MAX)
            .saturating_add(chunks.saturating_mul(
                Self::QUEUE_BYTES_PER_CHUNK
                    + Self::LOOK_BYTES_PER_CHUNK
                    + Self::MESSAGE_BYTES_PER_CHUNK
                    + Self::RUN_BYTES_PER_CHUNK,
            ))
            .saturating_add(self.workers.saturating_mul(Self::WORKER_BYTES))
            .saturating_add(aligned::mapped_bytes(self.workers, self.staging_bytes()))
            .saturating_add(self.memory_dir().map_or(0, |_| self.layout().arena_at()))
    }

    /// What each worker has to put blocks together, for files that go past the page cache; zero = none
    /// does. A write of 1 MiB is as fast as they get, and half a worker's share comes in meanwhile.
    pub(crate) fn staging_bytes(&self) -> usize {
        let share = (self.chunks() / self.workers.max(1)).max(1).saturating_mul(self.size);
        let bytes =
            (share / 2).clamp(Self::STAGING_BYTES_MIN, Self::STAGING_BYTES_MAX) / PAGE * PAGE;
        let pays = self.file_size >= Self::DIRECT_FILE_BYTES_MIN
            && share >= 2 * Self::DIRECT_WRITE_BYTES_MIN;
        match self.io {
            Io::Direct => bytes,
            Io::Auto if pays => bytes,
            Io::Auto | Io::Buffered => 0,
        }
    }

    /// Where the memory is, if it outlives the process.
    pub(crate) fn memory_dir(&self) -> Option<&Path> {
        match &self.crash_proof {
            CrashProof::Off => None,
            CrashProof::Auto => Some(Path::new("/dev/shm")),
            CrashProof::Dir(dir) => Some(dir),
        }
    }

    /// What it is made of, for chunks and workers.
    pub(crate) fn layout(&self) -> Layout {
        let chunks = u32::try_from(self.chunks()).unwrap_or(u32::MAX);
        Layout { chunks, size: self.size, workers: self.workers, mode: self.mode }
    }

    /// All chunks of the writer.
    pub(crate) fn chunks(&self) -> usize {
        self.queue_size.saturating_add(self.workers)
    }

    /// The shorter of `forced` and `file_age`: the age at which a record must be visible.
    pub(crate) fn age_max(&self) -> Option<Duration> {
        [self.forced, self.file_age].into_iter().filter(|age| !age.is_zero()).min()
    }

    /// Checks every option once; the first one out of its range is the error.
    pub(crate) fn check(&self) -> Result<(), Error> {
        range("size", self.size, 1, Self::SIZE_MAX)?;
        range("queue_size", self.queue_size, 0, Self::QUEUE_SIZE_MAX)?;
        range("workers", self.workers, 1, Self::WORKERS_MAX)?;
        affix("prefix", &self.prefix, AFFIX_BYTES_MAX)?;
        affix("extension", &self.extension, AFFIX_BYTES_MAX - self.prefix.len())?;
        directory("path", &self.path)?;
        directory("temp", &self.temp)?;
        if let Some(dir) = self.memory_dir() {
            directory("crash_proof", dir)?;
        }
        if self.mode > 0o777 {
            return Err(Error::option("mode", format!("{:#o}", self.mode), "0 to 0o777"));
        }
        if arena::bytes(self.chunks(), self.size).is_none() {
            return Err(Error::option(
                "size",
                self.size,
                format!("such that {} chunks of it fit the address space", self.chunks()),
            ));
        }
        Ok(())
    }
}

fn range(option: &'static str, value: usize, min: usize, max: usize) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::option(option, value, format!("{min} to {max}")))
}

/// Prefix and extension become part of a file name, so they must not leave the directory.
fn affix(option: &'static str, value: &OsStr, bytes_max: usize) -> Result<(), Error> {
    let bytes = value.as_bytes();
    if bytes.len() > bytes_max {
        let max = AFFIX_BYTES_MAX;
        let permitted = format!("prefix and extension together at most {max} bytes");
        return Err(Error::option(option, format!("{} bytes long", bytes.len()), permitted));
    }
    if bytes.iter().any(|&b| b == b'/' || b == 0) {
        return Err(Error::option(option, format!("{value:?}"), "without path separator and NUL"));
    }
    Ok(())
}

fn directory(option: &'static str, value: &Path) -> Result<(), Error> {
    let bytes = value.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(Error::option(option, format!("{value:?}"), "a directory, without NUL"));
    }
    Ok(())
}
