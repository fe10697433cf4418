//! The result of a recovery, as plain values, for programs and operators.

use std::fmt;
use std::path::PathBuf;

use crate::report::error::Error;
use crate::report::stats::Count;

/// What a recovery found of dead instances and did with it. In a dry run: what it would have done.
///
/// An instance is one writer of one process.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Dead instances that are recovered completely: their state files are removed.
    pub instances: u64,
    /// Instances that are alive, or that another recovery is working on. Nothing of theirs is
    /// touched.
    pub alive: u64,
    /// Files that became visible, in that order. In a dry run: the temp files that would.
    pub published: Vec<PathBuf>,
    /// The whole records in the published files.
    pub records: Count,
    /// Bytes of the published files on the disk.
    pub bytes: u64,
    /// Bytes that were cut off the ends of files, or removed with files that held no whole record.
    /// They belong to records that were being written at the death or, after a reboot, that no
    /// fsync covers.
    pub cut_bytes: u64,
    /// Files that can't be trusted, under their new hidden names (`.*.aside`); in a dry run, under
    /// their old names. No later recovery touches them: look at them, then remove them.
    pub set_aside: Vec<PathBuf>,
    /// Records that the dead instances had counted as lost. Only crash-proof memory keeps these
    /// counts ([`Config::crash_proof`](crate::Config::crash_proof)).
    pub lost: Count,
    /// Records that dead flight recorders had overwritten
    /// ([`Config::recorder`](crate::Config::recorder)). Only crash-proof memory keeps these counts.
    pub overwritten: Count,
    /// Files that were left as they are, with the reason.
    pub skipped: Vec<Skipped>,
    /// Errors. The next recovery tries those instances again.
    pub errors: Vec<Error>,
}

impl Recovery {
    /// Whether there was nothing to do and there is nothing to report.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances == 0
            && self.published.is_empty()
            && self.set_aside.is_empty()
            && self.skipped.is_empty()
            && self.errors.is_empty()
    }
}

/// One line for an operator.
impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} dead instances, {} alive; {} files published, {} records, {} bytes; {} bytes cut off; \
             {} files set aside, {} skipped; {} records lost before; {} errors",
            self.instances,
            self.alive,
            self.published.len(),
            self.records.records,
            self.bytes,
            self.cut_bytes,
            self.set_aside.len(),
            self.skipped.len(),
            self.lost.records,
            self.errors.len(),
        )?;
        match self.overwritten.records {
            0 => Ok(()),
            records => write!(f, "; {records} records overwritten before"),
        }
    }
}

/// A file that a recovery left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// The path of the file.
    pub path: PathBuf,
    /// Why it was left.
    pub reason: SkipReason,
    /// The directory that its writer had: of visible files for [`SkipReason::OtherPath`], of memory
    /// for [`SkipReason::OtherMemory`] and [`SkipReason::MemoryNotFound`].
    pub directory: Option<PathBuf>,
}

/// Why a recovery left a file as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SkipReason {
    /// Not a regular file that belongs to this user alone. Someone else may have put it there to do
    /// harm.
    NotOurs,
    /// It has another hard link, under which its records may be visible already.
    OtherName,
    /// It was written by a version of this library with another format.
    Version(u32),
    /// Its files use the codec with this number, which this build does not have: see the features
    /// of [`Compression`](crate::Compression).
    Codec(u32),
    /// Its files belong in partitions by a time zone that is not known here: see the feature
    /// `time-zone`.
    TimeZone,
    /// It is the state file of a writer whose files appear in another directory. If that directory
    /// is now here, under another name: [`RecoverOptions::from`](crate::RecoverOptions::from).
    OtherPath,
    /// Its file system has no locks (`flock`), so nothing tells whether its writer lives. Recover it
    /// where the file system has them.
    NoLocks,
    /// Its name and its contents name different instances.
    OtherInstance,
    /// Its crash-proof memory is in another directory. To recover it, pass that directory to
    /// [`RecoverOptions::memory`](crate::RecoverOptions::memory).
    OtherMemory,
    /// Its crash-proof memory is not here, and this is not the directory that its writer saw under
    /// that path. A container has a `/dev/shm` of its own. Recover it where the memory is. If that
    /// is gone, use [`RecoverOptions::without_memory`](crate::RecoverOptions::without_memory).
    MemoryNotFound,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::NotOurs => f.write_str("not a regular file of this user"),
            SkipReason::OtherName => f.write_str("it has another hard link"),
            SkipReason::Version(version) => {
                write!(f, "its format has version {version}, which this build can't read")
            }
            SkipReason::Codec(number) => {
                let codec = match number & 0xff {
                    1 => "gzip",
                    2 => "zstd",
                    _ => return write!(f, "its files use codec {number}, which this build lacks"),
                };
                write!(f, "its files are compressed with {codec}, which this build lacks")
            }
            SkipReason::TimeZone => {
                f.write_str("its partitions are of a time zone that is not known here")
            }
            SkipReason::OtherPath => f.write_str("its files belong in another directory"),
            SkipReason::OtherMemory => f.write_str("its memory is in another directory"),
            SkipReason::NoLocks => f.write_str("its file system has no locks"),
            SkipReason::MemoryNotFound => {
                f.write_str("its memory is not here; this is another directory of that name")
            }
            SkipReason::OtherInstance => f.write_str("it is the state file of another instance"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_happened_is_told() {
        let path = || vec![PathBuf::from("name")];
        let skipped =
            vec![Skipped { path: "name".into(), reason: SkipReason::Version(7), directory: None }];
        let error = Error::io("rename", std::path::Path::new("name"), std::io::Error::other("no"));
        let some = [
            Recovery { instances: 1, ..Recovery::default() },
            Recovery { published: path(), ..Recovery::default() },
            Recovery { set_aside: path(), ..Recovery::default() },
            Recovery { skipped, ..Recovery::default() },
            Recovery { errors: vec![error], ..Recovery::default() },
        ];
        assert!(some.iter().all(|recovery| !recovery.is_empty()), "{some:?}");
        assert!(Recovery { alive: 3, ..Recovery::default() }.is_empty());
        assert!(some[3].skipped[0].reason.to_string().contains('7'));
    }
}
