//! Options that are a choice among a few: durability, page cache, what outlives the process.

use std::path::{Path, PathBuf};

/// Where memory that outlives the process is, if nothing else is said.
pub(crate) const SHM: &str = "/dev/shm";

/// How files hold records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Codec {
    /// As they are.
    #[default]
    None,
    /// Each byte twice: shows that nothing takes bytes of a file for bytes of records.
    #[cfg(test)]
    Doubled,
}

impl Codec {
    /// By this number a recovery knows it.
    pub(crate) fn id(self) -> u32 {
        match self {
            Codec::None => 0,
            #[cfg(test)]
            Codec::Doubled => u32::MAX,
        }
    }

    /// None if this build does not know it.
    pub(crate) fn from_id(id: u32) -> Option<Self> {
        match id {
            0 => Some(Codec::None),
            #[cfg(test)]
            u32::MAX => Some(Codec::Doubled),
            _ => None,
        }
    }
}

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
    /// Past the page cache where that pays: with a [`file_size`](crate::Config::file_size) of 1 MiB or more, and
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

impl CrashProof {
    /// Where the memory is, if it outlives the process.
    pub(crate) fn dir(&self) -> Option<&Path> {
        match self {
            CrashProof::Off => None,
            CrashProof::Auto => Some(Path::new(SHM)),
            CrashProof::Dir(dir) => Some(dir),
        }
    }
}
