//! The options of `write` that choose one of several words.

use clap::ValueEnum;

/// [`bufferedwriter::Durability`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum DurabilityHow {
    /// No sync: the system writes back when it likes
    None,
    /// A file and its name are on the disk before its lines count as written
    File,
}

/// [`bufferedwriter::Io`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum IoHow {
    /// Bypass the page cache where that pays: with files of 1 MiB or more, and memory for large writes
    Auto,
    /// Bypass the page cache, if the file system can do that
    Direct,
    /// Use the page cache
    Buffered,
}

/// What happens to a line while memory is full or the disk guard refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhenFull {
    /// It waits, and so does the program that writes into the pipe
    Wait,
    /// It is dropped and counted as refused (exit code 3)
    Drop,
}
