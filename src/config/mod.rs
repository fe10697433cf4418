//! The options of a writer, with their defaults and ranges.
//!
//! Guarantees: plain data, grouped by the part of the writer that reads it. [`Config::check`]
//! refuses an option out of its range and names the option, the value and the range. Touches no
//! file and computes nothing: `writer/budget.rs` does the sums.

mod aftercare;
mod check;
mod groups;
mod keys;
mod options;
mod partition;
mod presets;
mod recorder;
#[cfg(feature = "serde")]
mod serialize;
mod sources;
pub mod text;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::fs::Fs;
use crate::report::health::{ErrorEvent, OnError};
use crate::report::published::{BoxError, OnPublish, PublishedFile};

pub(crate) use check::{AFFIX_BYTES_MAX, CHUNKS_MAX, ENVELOPE_BYTES_MAX, SIZE_MAX, WORKERS_MAX};
pub(crate) use groups::{
    Aftercare, Envelope, Files, FsHandle, Limits, Memory, OnFailure, Publishing, Retain, UTC,
    WallClock,
};
pub(crate) use options::SHM;
pub use options::{Boundary, Compression, CrashProof, Durability, Io, Recorder};

/// The options of a [`BufferedWriter`](crate::BufferedWriter). Each setter returns the `Config`, so
/// that calls can be chained. [`BufferedWriter::new`](crate::BufferedWriter::new) checks the ranges
/// and refuses an option out of its range.
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
    pub(crate) aftercare: Aftercare,
    pub(crate) on_failure: OnFailure,
    pub(crate) publishing: Publishing,
    /// Publish the left-over files of dead writers at the start.
    pub(crate) recover: bool,
    /// Start although the disk is full.
    pub(crate) start_on_full_disk: bool,
    pub(crate) drop_timeout: Duration,
    /// `None` = the machine's file system.
    pub(crate) fs: Option<FsHandle>,
    pub(crate) wall_clock: WallClock,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            memory: Memory::default(),
            files: Files::default(),
            limits: Limits::default(),
            aftercare: Aftercare::default(),
            on_failure: OnFailure::default(),
            publishing: Publishing::default(),
            recover: true,
            start_on_full_disk: false,
            drop_timeout: Duration::from_secs(5),
            fs: None,
            wall_clock: WallClock::default(),
        }
    }
}

impl Config {
    /// Size of one chunk in bytes. Default 8192; 1 B to 1 GiB.
    ///
    /// A *chunk* is `size` bytes of memory that one thread fills; then it goes to a worker. A
    /// record larger than `size` takes several chunks.
    ///
    /// Workers make memory resident before threads need it, so that `write` rarely meets a page
    /// fault. They can't do that for chunks above 4 MiB, nor when the system is short of memory:
    /// see [`populate`](Self::populate).
    pub fn size(mut self, bytes: usize) -> Self {
        self.memory.size = bytes;
        self
    }

    /// Number of chunks that may wait while all workers are busy. Default 1024; 0 to 1,048,576
    /// (2^20).
    ///
    /// The writer has `queue_size + workers` chunks in all. All threads share them.
    pub fn queue_size(mut self, chunks: usize) -> Self {
        self.memory.queue_size = chunks;
        self
    }

    /// Number of workers, each with its own file. Default 8; 1 to 256.
    ///
    /// A worker without traffic sleeps and has no file.
    pub fn workers(mut self, count: usize) -> Self {
        self.memory.workers = count;
        self
    }

    /// Directory in which complete files appear. Default: the system's temp directory.
    ///
    /// [`new`](crate::BufferedWriter::new) resolves symbolic links and relative paths once. Files
    /// are opened by path later on: call chroot(2) and setuid(2) before.
    pub fn path(mut self, dir: impl Into<PathBuf>) -> Self {
        self.files.path = dir.into();
        self
    }

    /// Directory in which files are written before they are renamed into [`path`](Self::path).
    /// Default: the system's temp directory.
    ///
    /// Best is a directory of its own, on the file system of `path`. If `temp` is on another file
    /// system, files are written under hidden names in `path` instead
    /// ([`Stats::temp_dir`](crate::Stats::temp_dir) says where).
    pub fn temp(mut self, dir: impl Into<PathBuf>) -> Self {
        self.files.temp = dir.into();
        self
    }

    /// First part of every file name. Default ""; no `/`, no NUL; with the extension at most 160
    /// bytes. On Windows also none of `\ : * ? " < > |`, and no control character.
    pub fn prefix(mut self, prefix: impl Into<OsString>) -> Self {
        self.files.prefix = prefix.into();
        self
    }

    /// The longest time that an accepted record may stay out of a visible file. Default 0 = no
    /// limit from this option, but see [`file_age`](Self::file_age).
    ///
    /// The time counts from the oldest unpublished record, with or without traffic. The promise
    /// holds while the disk answers.
    pub fn forced(mut self, interval: Duration) -> Self {
        self.files.forced = interval;
        self
    }

    /// File size in bytes at which a file is published. Default 64 MiB; 0 = one file for every
    /// flushed chunk.
    ///
    /// A file may exceed this size by one write of its worker. While it can't be published it keeps
    /// growing, up to four times this size, or to 1 MiB if that is more. Then memory fills.
    pub fn file_size(mut self, bytes: u64) -> Self {
        self.files.file_size = bytes;
        self
    }

    /// Age of its oldest record at which a file is published. Default 10 s; 0 = no limit from this
    /// option.
    ///
    /// Records that are still in memory are collected in time. If [`forced`](Self::forced) is set
    /// too, the shorter time applies.
    pub fn file_age(mut self, age: Duration) -> Self {
        self.files.file_age = age;
        self
    }

    /// Publish files at boundaries of the wall clock, such as each full hour. Default
    /// [`Boundary::Never`]; numbers of minutes that divide 60, numbers of hours that divide 24.
    ///
    /// At a boundary, each worker takes what is in memory and publishes its file. A record is in a
    /// file of the period in which it was accepted, or, if it was accepted within 100 ms of a
    /// boundary, of the neighbouring period. [`file_size`](Self::file_size) and
    /// [`file_age`](Self::file_age) still hold: the limit that is met first applies.
    ///
    /// A late worker does not shift later boundaries. Records count for the period in which the
    /// worker looks at them if it comes back more than 100 ms after a boundary, because the disk or
    /// the processor kept it. While a file can't be published, it takes records of later periods.
    ///
    /// The clock is read when a worker wakes up. A worker that holds records wakes up each 50 ms, so
    /// it soon notices a clock that was set. Then the file is published if the time lies in another
    /// period, earlier or later. A worker without records sleeps on.
    pub fn rotate_at(mut self, boundary: Boundary) -> Self {
        self.files.rotate_at = boundary;
        self
    }

    /// The time zone of [`rotate_at`](Self::rotate_at) and [`partition`](Self::partition): `"UTC"`,
    /// `"local"`, or a name of the IANA database, such as `"Europe/Berlin"`. Default `"UTC"`.
    ///
    /// All zones but UTC need the feature `time-zone`. It prefers the system's database, and brings
    /// its own for names that the system does not know. `"local"` is the zone of the environment
    /// variable `TZ`, or else of `/etc/localtime`.
    ///
    /// [`new`](crate::BufferedWriter::new) looks the zone up once, and refuses what it doesn't find.
    pub fn time_zone(mut self, name: impl Into<String>) -> Self {
        self.files.time_zone = name.into();
        self
    }

    /// Whether files are synced to the disk before they count as written. Default
    /// [`Durability::None`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.files.durability = durability;
        self
    }

    /// Whether files bypass the page cache. Default [`Io::Auto`].
    pub fn io(mut self, io: Io) -> Self {
        self.files.io = io;
        self
    }

    /// How files are compressed. Default [`Compression::None`].
    ///
    /// Names end with `.gz` or `.zst` after the [`extension`](Self::extension). Sizes of files are
    /// those on the disk: [`file_size`](Self::file_size), [`max_total`](Self::max_total),
    /// [`Stats::files_bytes`](crate::Stats::files_bytes). Counts of records and their bytes are those
    /// before compression. All writers of one directory should compress alike: engines expect that.
    ///
    /// A worker compresses what it has before each write: about 1 MiB, or one chunk or one record if
    /// that is larger.
    /// After each write a crash loses nothing of what was written: a recovery cuts the file there and
    /// ends it.
    ///
    /// ```
    /// # #[cfg(feature = "zstd")]
    /// use bufferedwriter::{Compression, Config};
    /// # #[cfg(feature = "zstd")]
    /// let config = Config::default().compression(Compression::Zstd(3));
    /// ```
    pub fn compression(mut self, compression: Compression) -> Self {
        self.files.compression = compression;
        self
    }

    /// The first bytes of each file, such as the names of columns. Default: none; at most 4096 bytes.
    ///
    /// They stand once in each file, before the first record, in files of a recovery too. They count
    /// as bytes of files ([`file_size`](Self::file_size),
    /// [`Stats::files_bytes`](crate::Stats::files_bytes)), never as a record. A file without a record
    /// does not appear. No newline is added.
    ///
    /// With [`compression`](Self::compression) they are the first bytes of what is compressed. A
    /// recovery takes header and footer from the state file of the writer that died.
    ///
    /// ```
    /// let config = bufferedwriter::Config::default().header("time,host,bytes\n").footer("# end\n");
    /// ```
    pub fn header(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        Arc::make_mut(&mut self.files.envelope).header = bytes.into();
        self
    }

    /// The last bytes of each file. Default: none; at most 4096 bytes. All else is as with
    /// [`header`](Self::header).
    ///
    /// Each write of a worker ends with it, and the next write begins there. So no file lacks room
    /// for it when the disk is full.
    pub fn footer(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        Arc::make_mut(&mut self.files.envelope).footer = bytes.into();
        self
    }

    /// Permissions of the files, independent of the umask. Default 0o600; 0 to 0o777.
    pub fn mode(mut self, mode: u32) -> Self {
        self.files.mode = mode;
        self
    }

    /// Last part of every file name, without the dot. Default "log"; no `/`, no NUL; with the prefix and that of the
    /// [`compression`](Self::compression) at most 160 bytes; on Windows without what [`prefix`](Self::prefix) must not
    /// have. If it is empty, the name has no dot before it either.
    pub fn extension(mut self, extension: impl Into<OsString>) -> Self {
        self.files.extension = extension.into();
        self
    }

    /// Whether to create missing directories, accessible to the owner only (0o700). Default false:
    /// a missing directory is an error of [`BufferedWriter::new`](crate::BufferedWriter::new).
    pub fn create_dirs(mut self, create: bool) -> Self {
        self.files.create_dirs = create;
        self
    }

    /// How long the drop of the last handle waits for the disk. Default 5 s; 0 = it does not wait.
    ///
    /// The drop blocks its thread for up to that long, but not after a close. On an async executor's
    /// thread call [`close_async`](crate::BufferedWriter::close_async) before.
    pub fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }

    /// Whether to publish the left-over files of dead writers at the start. Default true.
    ///
    /// These are writers with the same [`path`](Self::path), [`temp`](Self::temp) and
    /// [`prefix`](Self::prefix) whose process died. The recovery runs in the background while this
    /// writer already accepts records
    /// ([`BufferedWriter::recovery`](crate::BufferedWriter::recovery) has its result). If the start
    /// lacks room on a disk or in memory, which dead writers may hold, it recovers them first and
    /// then tries once more. To recover without a writer, call [`recover`](crate::recover()).
    pub fn recover(mut self, recover: bool) -> Self {
        self.recover = recover;
        self
    }

    /// Whether to start although the disk is full. Default false: then
    /// [`BufferedWriter::new`](crate::BufferedWriter::new) fails for want of room.
    ///
    /// With this, it recovers dead writers, tries once more, and then returns a writer that has no
    /// file yet. Records are refused with [`WriteError::DiskGuard`](crate::WriteError::DiskGuard)
    /// until there is room. A worker looks for it once a second, and
    /// [`Stats::disk_guard`](crate::Stats::disk_guard) shows why it waits. A process that can make
    /// room, or that can do without its records for a while, starts this way.
    ///
    /// A full disk is ENOSPC or EDQUOT in [`path`](Self::path) or [`temp`](Self::temp). All else
    /// stays an error, also if the directory of [crash-proof memory](Self::crash_proof) is full.
    pub fn start_on_full_disk(mut self, start: bool) -> Self {
        self.start_on_full_disk = start;
        self
    }

    /// Whether accepted records survive the death of the process. Default [`CrashProof::Off`].
    ///
    /// With crash-proof memory, [`new`](crate::BufferedWriter::new) fails if the directory is not
    /// in memory (tmpfs). It fails if that has no room for [`memory_bound`](Self::memory_bound),
    /// even after dead writers were [recovered](Self::recover). It also fails if the file system of
    /// `path` can't rename without replacing in one step.
    pub fn crash_proof(mut self, crash_proof: CrashProof) -> Self {
        self.memory.crash_proof = crash_proof;
        self
    }

    /// Whether [`new`](crate::BufferedWriter::new) makes all memory resident and locks it
    /// (mlock(2)). Default false: memory becomes resident as it is used.
    ///
    /// No write then meets a page fault in the writer's memory: not with large chunks, not after a
    /// fork, not under a memory limit. It covers the chunks, their headers, the threads' slots and
    /// the memory for direct I/O. `new` takes longer: 12 ms for 13 MiB.
    ///
    /// `new` fails with `"mlock memory for"` if `RLIMIT_MEMLOCK` permits less than the memory of
    /// all such writers. Most systems permit 8 MiB, and the defaults take
    /// [more](Self::memory_bound). More than a memory cgroup permits kills the process.
    pub fn populate(mut self, populate: bool) -> Self {
        self.memory.populate = populate;
        self
    }

    /// How long records wait in memory while the disk fails. Default 0 = without limit: memory
    /// fills, and then `write` returns [`Full`](crate::WriteError::Full).
    ///
    /// A worker gives up when, for this long, no file could take the records that it holds,
    /// although it kept trying. The records count as lost
    /// ([`Lost::gave_up`](crate::Lost::gave_up)), messages are dropped, and the memory is free
    /// again. While the stall lasts, records that come later are given up after each failed try.
    ///
    /// Records in a temp file are never given up: they take no memory and may still become visible.
    /// With [`Durability::File`] that is so only for records that an fsync covers. This option does
    /// not end a call that does not return. Its worker keeps its share of the memory until `close`
    /// gives it up at its deadline.
    pub fn give_up_after(mut self, time: Duration) -> Self {
        self.on_failure.give_up_after = time;
        self
    }

    /// A callback for errors that hold up a worker, and for lost records. Default: none.
    ///
    /// The worker calls it on its own thread, while it holds no lock and no chunk. A new error is
    /// reported at once, then at most once a second per worker while it lasts
    /// ([`Stall::attempts`](crate::Stall::attempts) counts the failures). Lost records are reported
    /// at once. The callback is not told of the end of a stall, nor of a call that does not return:
    /// [`health`](crate::BufferedWriter::health) shows both.
    ///
    /// Inside the callback `write` works, `flush` and `close` return an error, and a panic is
    /// caught. The worker waits until the callback returns. A callback that holds a handle of the
    /// writer keeps it open: only [`close`](crate::BufferedWriter::close) closes it then.
    pub fn on_error(mut self, callback: impl Fn(&ErrorEvent) + Send + Sync + 'static) -> Self {
        self.on_failure.on_error = OnError(Some(Arc::new(callback)));
        self
    }

    /// Bytes that the file systems of [`path`](Self::path) and [`temp`](Self::temp) must keep free
    /// for this process (space reserved for root does not count). Default 0 = off.
    ///
    /// When no more than this is free, records are refused with
    /// [`WriteError::DiskGuard`](crate::WriteError::DiskGuard) until more is free. The disk guard
    /// measures in [`new`](crate::BufferedWriter::new), then once a second while records come in or
    /// are refused. Between two measurements it subtracts what this writer writes.
    ///
    /// The guard acts on chunks: a record that still fits its thread's chunk is accepted, and
    /// accepted records are written. So free space may fall below this by up to
    /// [`memory_bound`](Self::memory_bound), plus what others write within a second. A failed
    /// measurement refuses nothing: the last result stays in force, and
    /// [`Stats::disk_guard`](crate::Stats::disk_guard) shows the error.
    pub fn min_free(mut self, bytes: u64) -> Self {
        self.limits.min_free = bytes;
        self
    }

    /// Bytes that all files with this prefix and extension may take. Default 0 = off. Nothing is
    /// deleted: [`retain_bytes`](Self::retain_bytes) does that.
    ///
    /// Visible files in [`path`](Self::path) and temp files in [`temp`](Self::temp) count,
    /// whichever writer, process or user made them: they fill the same disk. Each counts with the
    /// disk blocks that it takes, so a sparse file counts little. Where the file system reports no
    /// blocks, lengths count.
    ///
    /// When they take this much or more, records are refused as with [`min_free`](Self::min_free),
    /// until files are removed. The files are counted in [`new`](crate::BufferedWriter::new), then
    /// once a second, or less often so that counting takes at most 2 % of one worker's time. 10,000
    /// files take about 35 ms, once in 2 s; 100,000 files take 0.4 s, once in 20 s.
    ///
    /// The counting worker stops writing for at most 5 ms at a time, or while it lists a directory
    /// (an eighth of the whole time). Meanwhile each file name takes about 150 bytes of memory.
    /// Between two counts the guard sees neither the files of other writers nor removed files.
    pub fn max_total(mut self, bytes: u64) -> Self {
        self.limits.max_total = bytes;
        self
    }

    /// A hook that is called for each file that became visible. Default: none.
    ///
    /// It runs on a thread of its own, after the rename and, with [`Durability::File`], after the sync
    /// of the directory. It is called for one file after the other. The files of one worker come in
    /// their order. An error is tried again with growing pauses, from 0.1 s to 30 s, and the later
    /// files wait meanwhile. A panic counts as an error.
    ///
    /// Waiting files take no memory, but 1 KiB each in a hidden journal in [`temp`](Self::temp). They
    /// hold up no worker. [`close`](crate::BufferedWriter::close) waits for them until its deadline;
    /// [`CloseReport::unacknowledged`](crate::CloseReport::unacknowledged) counts those that are left.
    /// [`Health::hook`](crate::Health::hook) shows a hook that fails or hangs.
    ///
    /// Files that were not acknowledged are called again by the next writer with the same
    /// [`path`](Self::path), `temp` and [`prefix`](Self::prefix), if this process dies. So each file
    /// is called for at least once. [`PublishedFile::id`](crate::PublishedFile::id) tells repeated
    /// calls. After a loss of power that holds with [`Durability::File`], but for the files of the last moment.
    ///
    /// Inside the hook `write` works, and `flush` and `close` return an error.
    ///
    /// ```
    /// let config = bufferedwriter::Config::default().on_publish(|file| {
    ///     std::fs::copy(&file.path, "/mnt/archive").map(drop).map_err(Into::into)
    /// });
    /// ```
    pub fn on_publish(
        mut self,
        hook: impl Fn(&PublishedFile) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.publishing.on_publish = OnPublish(Some(Arc::new(hook)));
        self
    }

    /// A file that gets one line of JSON for each published file. Default: none.
    ///
    /// It must not lie in [`path`](Self::path), and its directory must exist. A line is written after
    /// the file became visible and before [`on_publish`](Self::on_publish) is called. It has the keys
    /// `id`, `path` (below the directory), `bytes`, `records`, `record_bytes`, `first` and `last`
    /// (RFC 3339), `worker`, `sequence`, `instance`, `reason`, and `partition` (an object).
    ///
    /// Each file has exactly one line, even if the process is killed: the next writer with the same
    /// directories and the same manifest adds what is missing. After a loss of power, the files of
    /// the last moment may have no line, and without [`Durability::File`] those of the last half minute.
    ///
    /// Several writers and processes may share a manifest. You may move it away at any time, and a new one is begun.
    /// While it can't be written, each worker publishes up to 8 more files. Then its file
    /// grows, and [`Health::manifest`](crate::Health::manifest) shows why.
    ///
    /// With a manifest, [`prefix`](Self::prefix) and [`extension`](Self::extension) must be UTF-8.
    pub fn manifest(mut self, path: impl Into<PathBuf>) -> Self {
        self.publishing.manifest = Some(path.into());
        self
    }

    /// Replaces the wall clock.
    #[cfg(test)]
    pub(crate) fn wall_clock(mut self, clock: Arc<dyn Fn() -> Duration + Send + Sync>) -> Self {
        self.wall_clock = WallClock(Some(clock));
        self
    }

    /// Replaces the file system, for tests that make calls fail. Not a stable interface.
    #[doc(hidden)]
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = Some(FsHandle(fs));
        self
    }
}
