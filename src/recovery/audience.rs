//! Who hears of the files that a recovery publishes.
//!
//! Guarantees: a file is noted before it is renamed, so a recovery that is killed in between repeats
//! no line and skips none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::file::publish::{self, Identity, Refusal};
use crate::file::tree;
use crate::fs::Fs;
use crate::housekeeping::announcer::Announcer;
use crate::housekeeping::publication::Publication;
use crate::naming::Stamp;
use crate::recovery::notes::Notes;
use crate::report::error::Error;
use crate::report::published::PublishReason;
use crate::report::stats::Watermark;

/// How long to wait for a manifest that can't be written. Then the next recovery goes on.
const ROOM_WAIT: Duration = Duration::from_secs(10);

/// Who hears of published files.
pub(crate) enum Audience {
    /// The writer that runs the recovery.
    Announcer(Announcer),
    /// Whichever writer with a manifest or a hook comes next, if dead ones had one.
    Next(Notes),
}

impl Default for Audience {
    fn default() -> Self {
        Audience::Next(Notes::default())
    }
}

/// What is known of a left-over that is about to become visible.
pub(super) struct LeftOver<'a> {
    pub(super) temp: &'a Path,
    /// Its partition, and the permissions of the file.
    pub(super) below: &'a Path,
    pub(super) mode: u32,
    pub(super) first: Stamp,
    pub(super) last: Stamp,
    pub(super) whole: Watermark,
}

impl Audience {
    /// Makes a left-over visible in its partition below `path`, and tells of it. Returns its path.
    pub(super) fn rename(
        &mut self,
        fs: &dyn Fs,
        path: &Path,
        of: Identity<'_>,
        file: &LeftOver<'_>,
    ) -> Result<PathBuf, Error> {
        let known = |visible: &Path| Publication {
            relative: visible.strip_prefix(path).unwrap_or(visible).to_owned(),
            first: file.first,
            last: file.last,
            bytes: file.whole.len,
            records: file.whole.count,
            reason: PublishReason::Recovered,
        };
        if let Audience::Announcer(announcer) = self {
            announcer.wait_for_room(ROOM_WAIT)?;
        }
        let renamed = tree::rename(fs, path, file.below, file.mode, |dir| {
            publish::rename(fs, file.temp, dir, of, |visible| match self {
                Audience::Announcer(announcer) => announcer.note(&known(visible)),
                Audience::Next(notes) => notes.note(of.names, &known(visible)),
            })
        });
        match (self, &renamed) {
            (Audience::Announcer(announcer), Ok(visible)) => announcer.published(known(visible)),
            (Audience::Announcer(announcer), Err(_)) => announcer.clear(),
            (Audience::Next(notes), renamed) => notes.settle(renamed.is_ok()),
        }
        renamed.map_err(Refusal::error)
    }

    /// The directories of all files that were renamed are synced.
    pub(super) fn synced(&mut self) {
        if let Audience::Announcer(announcer) = self {
            announcer.synced();
        }
    }
}
