//! Options that choose among a few: rotation at the clock, compression, durability, page cache, crash-proof
//! memory.

use std::path::{Path, PathBuf};

/// Default directory of crash-proof memory.
pub(crate) const SHM: &str = "/dev/shm";

/// How files are compressed.
///
/// Each file is one gzip member or one zstd frame, with its checksum, whole before it becomes
/// visible. The workers compress; a caller never waits for that. If they are slower than the
/// callers, memory fills, and `write` returns [`Full`](crate::WriteError::Full).
/// [`WorkerStats::codec_time`](crate::WorkerStats::codec_time) shows how long they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Files hold records as they are.
    #[default]
    None,
    /// Gzip, with a level of 0 (not compressed) to 9 (smallest); names end with `.gz`. Needs the
    /// feature `gzip`.
    #[cfg(feature = "gzip")]
    Gzip(u32),
    /// Zstd, with a level of -7 (fastest) to 19 (smallest); names end with `.zst`. Levels 1 to 3 pay
    /// most. Needs the feature `zstd`.
    #[cfg(feature = "zstd")]
    Zstd(i32),
    /// Each byte twice: tests use it to show that no code takes bytes of a file for bytes of
    /// records.
    #[cfg(test)]
    Doubled,
}

/// Numbers of the codecs, of which a recovery knows one: the low byte; the next byte is the level.
#[cfg(feature = "gzip")]
const GZIP: u32 = 1;
#[cfg(feature = "zstd")]
const ZSTD: u32 = 2;

impl Compression {
    /// A recovery knows codec and level by this number.
    pub(crate) fn id(self) -> u32 {
        match self {
            Compression::None => 0,
            #[cfg(feature = "gzip")]
            Compression::Gzip(level) => GZIP | level << 8,
            #[cfg(feature = "zstd")]
            Compression::Zstd(level) => ZSTD | u32::from(level as i8 as u8) << 8,
            #[cfg(test)]
            Compression::Doubled => u32::MAX,
        }
    }

    /// `None` if this build does not have the codec.
    pub(crate) fn from_id(id: u32) -> Option<Self> {
        match id & 0xff {
            0 if id == 0 => Some(Compression::None),
            #[cfg(feature = "gzip")]
            GZIP => Some(Compression::Gzip(id >> 8)),
            #[cfg(feature = "zstd")]
            ZSTD if id >> 16 == 0 => Some(Compression::Zstd(i32::from((id >> 8) as u8 as i8))),
            #[cfg(test)]
            0xff if id == u32::MAX => Some(Compression::Doubled),
            _ => None,
        }
        .filter(|compression| compression.has_level())
    }

    /// Whether there is such a level.
    pub(crate) fn has_level(self) -> bool {
        match self {
            #[cfg(feature = "gzip")]
            Compression::Gzip(level) => level <= 9,
            #[cfg(feature = "zstd")]
            Compression::Zstd(level) => (-7..=19).contains(&level),
            _ => true,
        }
    }

    /// What the names of files end with, after their extension.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            #[cfg(feature = "gzip")]
            Compression::Gzip(_) => "gz",
            #[cfg(feature = "zstd")]
            Compression::Zstd(_) => "zst",
            _ => "",
        }
    }
}

/// When files are published by the wall clock, so that each holds the records of one period.
///
/// Boundaries are civil times of the [time zone](crate::Config::time_zone). `Hours(6)` means 00:00,
/// 06:00, 12:00 and 18:00 there, and `Minutes(15)` means each quarter of an hour.
///
/// Where the clocks change, civil times may be missing or come twice. A boundary that is missing is
/// the moment of the change. So a day whose midnight is missing begins with its first moment. A time
/// that comes twice is a boundary twice for periods of an hour or less, and once for longer ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Boundary {
    /// Not by the wall clock.
    #[default]
    Never,
    /// At each full hour, and each that many minutes after it. The number must divide 60.
    Minutes(u32),
    /// At midnight, and each that many hours after it. The number must divide 24.
    Hours(u32),
    /// At midnight.
    Day,
}

impl Boundary {
    /// The length of a period in seconds, while no clock changes. `None` without periods.
    pub(crate) fn seconds(self) -> Option<u64> {
        match self {
            Boundary::Never => None,
            Boundary::Minutes(minutes) => Some(u64::from(minutes) * 60),
            Boundary::Hours(hours) => Some(u64::from(hours) * 3600),
            Boundary::Day => Some(86_400),
        }
    }

    /// The one with the shorter periods. Each of its periods lies in one of the other's.
    pub(crate) fn finer(self, other: Boundary) -> Boundary {
        let seconds = |of: Boundary| of.seconds().unwrap_or(u64::MAX);
        if seconds(other) < seconds(self) { other } else { self }
    }
}

/// Whether a file must be on the disk, not only with the operating system, before it becomes
/// visible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// No sync: the operating system writes back when it likes. A visible file survives the death
    /// of the process, but not a loss of power. The writer does not see write-back errors.
    #[default]
    None,
    /// Sync the file, rename it, then sync its directory. Memory is reused only when a sync covers
    /// its records.
    File,
}

/// Whether files bypass the page cache (direct I/O, `O_DIRECT`).
///
/// Large direct writes cost a fraction of the processor time and leave the page cache to others.
/// But the page cache absorbs bursts that outrun the disk, and direct writes do without it.
///
/// Before a direct write, a worker gathers chunks for up to 100 ms while more come in. It gathers
/// at most half of its share of the memory. It writes up to 1 MiB at once. If the file system has
/// no direct I/O, or refuses a write, that file goes through the page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Io {
    /// Direct I/O where it pays: without [compression](Compression), with a
    /// [`file_size`](crate::Config::file_size) of 1 MiB or more, and memory for writes of 64 KiB or
    /// more. That takes 128 KiB of chunks per worker.
    #[default]
    Auto,
    /// Direct I/O, even if files or memory are small.
    Direct,
    /// Through the page cache. It absorbs bursts, at the cost of processor time, of memory without
    /// a bound, and of stalls when the system writes back.
    Buffered,
}

/// Whether accepted records survive the death of their process: SIGKILL, a fault, an abort, `exit`
/// without `close`. They never survive a loss of power or a reboot.
///
/// With [`Auto`](Self::Auto) and [`Dir`](Self::Dir), the writer's memory is a file on a file system
/// in memory. [`new`](crate::BufferedWriter::new) allocates all of it, maps it and locks the file.
/// A write costs the same. If a memory cgroup permits less, the kernel kills the process in `new`,
/// without an error.
///
/// The next writer with the same `path`, `temp` and prefix finds the memory through the state file
/// in `temp`. It publishes the records and removes the memory. [`recover`](crate::recover()) does
/// the same without a writer. In this mode `send` copies, since a message dies with its process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashProof {
    /// Records in memory die with the process.
    #[default]
    Off,
    /// In `/dev/shm`. A container has 64 MB there by default (`docker run --shm-size`). It loses
    /// `/dev/shm` with its first process, unless the host's is mounted there.
    Auto,
    /// In this directory, which must be on a file system in memory (tmpfs).
    Dir(PathBuf),
}

/// Whether the writer is a flight recorder: it keeps the newest records in memory, and files appear
/// only when somebody [dumps](crate::BufferedWriter::dump) them.
///
/// What a thread has filled stays in memory. Once the permitted memory is used up, the oldest chunk is
/// written over, as a whole. [`Stats::overwritten`](crate::Stats::overwritten) counts its records.
/// `write` never waits, and never returns [`Full`](crate::WriteError::Full), if
/// [`queue_size`](crate::Config::queue_size) is at least three chunks for each thread that writes,
/// and the chunks of the larger records that are written at the same time. With less it may, when
/// other threads and a dump have all chunks.
///
/// [The guide](crate::guide::recorder) says when to use it, and how much memory it needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recorder {
    /// Records go to files by themselves.
    #[default]
    Off,
    /// Keeps this many bytes of chunks. [`queue_size`](crate::Config::queue_size) chunks more are the
    /// reserve, for what is written during a dump.
    Last(usize),
    /// Keeps seven eighths of [`queue_size`](crate::Config::queue_size) chunks. The rest is the
    /// reserve, for what is written during a dump.
    Whole,
}

impl CrashProof {
    /// The directory of the crash-proof memory; `None` if it is off.
    pub(crate) fn dir(&self) -> Option<&Path> {
        match self {
            CrashProof::Off => None,
            CrashProof::Auto => Some(Path::new(SHM)),
            CrashProof::Dir(dir) => Some(dir),
        }
    }
}
