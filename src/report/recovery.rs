//! What a recovery did, as plain values, for programs and for operators. A leaf.

use std::fmt;
use std::path::PathBuf;

use crate::report::error::Error;
use crate::report::stats::Count;

/// What a recovery found of instances that died, and what became of it; in a dry run, what would have
/// become of it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Dead instances of which nothing is left to do: their state files are gone.
    pub instances: u64,
    /// Instances that live, or that another recovery has in hand: nothing of theirs was touched.
    pub alive: u64,
    /// Files that became visible, in the order in which they did; in a dry run, the temp files that would.
    pub published: Vec<PathBuf>,
    /// The whole records in them, and their bytes.
    pub records: Count,
    /// Bytes of the files on the disk.
    pub bytes: u64,
    /// Bytes that were cut off their ends, or removed with files that held nothing whole: records that
    /// were being written when the process died or, after a reboot, that no fsync covers.
    pub cut_bytes: u64,
    /// Files that can't be trusted, under the hidden names that they have now (`.*.aside`; in a dry run:
    /// their old names). Nobody touches them again: look at them, then remove them.
    pub set_aside: Vec<PathBuf>,
    /// Records that the dead instances had counted as lost, as far as they outlived them
    /// ([`Config::crash_proof`](crate::Config::crash_proof)).
    pub lost: Count,
    /// What was left as it is, with the reason.
    pub skipped: Vec<Skipped>,
    /// What failed. The instances that it was for are tried again by the next recovery.
    pub errors: Vec<Error>,
}

impl Recovery {
    /// Whether there was nothing to do and nothing to tell.
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
        )
    }
}

/// A file that a recovery did not touch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// Where it is.
    pub path: PathBuf,
    /// Why it was not touched.
    pub reason: SkipReason,
}

/// Why a recovery left a file as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SkipReason {
    /// Not a regular file, or of another user: whoever put it there may mean harm.
    NotOurs,
    /// It has another name besides. Its records may be visible under that already.
    OtherName,
    /// The state file of another version of this library.
    Version(u32),
    /// Its files have a codec of this number, which this build of the library does not have.
    Codec(u32),
    /// The state file of a writer whose files appear in another directory.
    OtherPath,
    /// The state file says that it is another one's.
    OtherInstance,
    /// Its memory is in another directory: name that to recover it
    /// ([`RecoverOptions::memory`](crate::RecoverOptions::memory)).
    OtherMemory,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::NotOurs => f.write_str("not a regular file of this user"),
            SkipReason::OtherName => f.write_str("it has another name besides"),
            SkipReason::Version(version) => {
                write!(f, "of version {version}, which is not known here")
            }
            SkipReason::Codec(number) => {
                write!(f, "its files have codec {number}, which is not known here")
            }
            SkipReason::OtherPath => f.write_str("its files belong into another directory"),
            SkipReason::OtherMemory => f.write_str("its memory is in another directory"),
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
        let skipped = vec![Skipped { path: "name".into(), reason: SkipReason::Version(7) }];
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
