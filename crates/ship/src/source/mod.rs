//! Finished files of a directory: which there are, what they hold. Follows no link, knows no store.

pub(crate) mod content;
pub(crate) mod manifest;
pub(crate) mod scan;
pub(crate) mod watch;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bufferedwriter::FileName;

/// A finished file that may have to be shipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Below the directory.
    pub(crate) path: PathBuf,
    /// The time in its name, which is when it became visible.
    pub(crate) time: SystemTime,
    pub(crate) bytes: u64,
    /// Its last change, which is the end of its life as a temp file.
    pub(crate) modified: SystemTime,
}

impl Candidate {
    /// `None` for names that are not those of finished files, and for what is no regular file.
    pub(crate) fn look(from: &Path, path: PathBuf) -> Option<Candidate> {
        let time = FileName::parse(path.file_name()?)?.time;
        let facts = from.join(&path).symlink_metadata().ok()?;
        let modified = facts.modified().ok()?;
        facts.is_file().then_some(Candidate { path, time, bytes: facts.len(), modified })
    }
}
