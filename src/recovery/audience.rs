//! Who hears of the files that a recovery publishes, and of those that dead writers had published.
//!
//! Guarantees: a file is noted before it is renamed, so a recovery that is killed in between repeats
//! no line and skips none. A dead writer's journal is touched under the lock of its state file, or
//! if that no longer exists.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::time::Duration;

use crate::file::publish::{self, Identity, Refusal};
use crate::file::tree;
use crate::fs::{FsFile, write_all};
use crate::housekeeping::journal::dead::{DeadJournal, temp_name};
use crate::housekeeping::publication::Publication;
use crate::housekeeping::publications::Announcer;
use crate::naming::{self, Names, Stamp};
use crate::recovery::run::Run;
use crate::recovery::verdict::is_ours;
use crate::report::error::Error;
use crate::report::published::PublishReason;
use crate::report::stats::Watermark;

/// How long to wait for a manifest that can't be written. Then the next recovery goes on.
const ROOM_WAIT: Duration = Duration::from_secs(10);

/// Who hears of published files.
pub(crate) enum Audience {
    Nobody,
    /// The writer that runs the recovery.
    Announcer(Announcer),
    /// A writer that has not started yet.
    Later(Vec<Publication>),
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
        fs: &dyn crate::fs::Fs,
        path: &Path,
        of: Identity<'_>,
        file: &LeftOver<'_>,
    ) -> Result<std::path::PathBuf, Error> {
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
                _ => Ok(()),
            })
        });
        match (self, &renamed) {
            (Audience::Announcer(announcer), Ok(visible)) => announcer.published(known(visible)),
            (Audience::Later(files), Ok(visible)) => files.push(known(visible)),
            (Audience::Announcer(announcer), Err(_)) => announcer.clear(),
            _ => {}
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

impl Run<'_> {
    /// Deals with the journals of writers that have no state file any more. `own` is the calling
    /// writer.
    pub(super) fn journals(&mut self, own: Option<&Names>) -> Result<(), Error> {
        for name in self.scan.list(self.scan.temp)? {
            let names = naming::parse_journal(&name, self.scan.prefix);
            let Some(names) = names.filter(|names| {
                own.is_none_or(|own| (own.instance, own.pid) != (names.instance, names.pid))
            }) else {
                continue;
            };
            if self.scan.facts(&self.scan.temp.join(names.state()))?.is_none()
                && let Err(error) = self.journal(&names)
            {
                self.recovery.errors.push(error);
            }
        }
        Ok(())
    }

    /// Deals with the journal of a dead writer, if it has one.
    pub(super) fn journal(&mut self, names: &Names) -> Result<(), Error> {
        let path = self.scan.temp.join(names.journal());
        let Some(facts) = self.scan.facts(&path)?.filter(|facts| is_ours(facts, self.uid)) else {
            return Ok(());
        };
        if facts.links != 1 || self.scan.dry_run {
            return Ok(());
        }
        let Some(mut file) = self.scan.open(&path, &facts)? else { return Ok(()) };
        if let Err(error) = file.try_lock() {
            // Its writer lives, or another recovery was faster.
            let is_held = error.kind() == ErrorKind::WouldBlock;
            return if is_held { Ok(()) } else { Err(Error::io("lock", &path, error)) };
        }
        if self.scan.facts(&path)?.is_none_or(|now| now.id != facts.id) {
            return Ok(());
        }
        let dead = DeadJournal::read(&mut *file, names).map_err(|e| Error::io("read", &path, e))?;
        let Some(dead) = dead else { return self.set_aside(&path) };
        if !self.scan.is_path(&dead.path) {
            return Ok(());
        }
        if self.take_over(&mut *file, &path, &dead)? { self.remove(&path) } else { Ok(()) }
    }

    /// Tells of what a dead writer had published. Returns whether nothing is left to tell.
    fn take_over(
        &mut self,
        file: &mut dyn FsFile,
        path: &Path,
        dead: &DeadJournal,
    ) -> Result<bool, Error> {
        let mut is_all = true;
        for (at, publication) in &dead.unlisted {
            let is_told = self.has_temp(publication)?
                || match &self.audience {
                    Audience::Announcer(announcer) => {
                        announcer.publications().adopt(publication, true)?;
                        true
                    }
                    _ => false,
                };
            is_all &= is_told;
            if is_told {
                // It is told of, or was never renamed and will get another name.
                let empty = [0; 8];
                write_all(file, &mut [IoSlice::new(&empty)], *at)
                    .1
                    .map_err(|e| Error::io("write", path, e))?;
            }
        }
        for number in dead.acknowledged.. {
            let listed = dead.listed(file, number).map_err(|e| Error::io("read", path, e))?;
            let Some(listed) = listed else { break };
            let Audience::Announcer(announcer) = &self.audience else { return Ok(false) };
            if !announcer.publications().hand_on(&listed)? {
                return Ok(false);
            }
        }
        Ok(is_all)
    }

    /// Whether a file that was about to become visible is still a temp file.
    fn has_temp(&self, file: &Publication) -> Result<bool, Error> {
        for dir in self.scan.dirs() {
            if let Some(temp) = temp_name(file, dir)
                && self.scan.facts(&temp)?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
