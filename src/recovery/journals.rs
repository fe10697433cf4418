//! Deals with the journals of dead writers: what they published and nobody has heard of is told.
//!
//! Guarantees: a journal is touched only while its writer's state file is locked, or no longer
//! exists. Journals come first in a recovery, since a temp file may get another name than its writer
//! had noted.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;

use crate::fs::{Facts, FsFile, write_all};
use crate::housekeeping::journal::dead::{DeadJournal, temp_name};
use crate::housekeeping::journal::format::HEADER_BYTES;
use crate::housekeeping::publication::Publication;
use crate::naming::{self, Names};
use crate::recovery::audience::Audience;
use crate::recovery::run::Run;
use crate::recovery::verdict::is_ours;
use crate::report::error::Error;

/// An open file, and what was known of it before.
type Opened = (Box<dyn FsFile>, Facts);

impl Run<'_> {
    /// Deals with the journals of dead writers. `own` is the calling writer.
    pub(super) fn journals(&mut self, own: Option<&Names>) -> Result<(), Error> {
        if self.scan.dry_run {
            return Ok(());
        }
        for name in self.scan.list(self.scan.temp)? {
            let names = naming::parse_journal(&name, self.scan.prefix);
            let id = |of: &Names| (of.instance, of.pid);
            let Some(names) = names.filter(|names| own.is_none_or(|own| id(own) != id(names)))
            else {
                continue;
            };
            if let Err(error) = self.journal(&names) {
                self.recovery.errors.push(error);
            }
        }
        Ok(())
    }

    /// Deals with one journal, unless its writer lives.
    fn journal(&mut self, names: &Names) -> Result<(), Error> {
        let path = self.scan.temp.join(names.journal());
        let Some((mut file, facts)) = self.open_own(&path)? else { return Ok(()) };
        let read = |file: &mut dyn FsFile| {
            DeadJournal::read(file, names).map_err(|e| Error::io("read", &path, e))
        };
        // Before the locks: to others, a lock makes the writer look alive.
        if read(&mut *file)?.is_some_and(|dead| !self.scan.is_path(&dead.path)) {
            return Ok(());
        }
        let state = self.scan.temp.join(names.state());
        let mut state_file = self.open_own(&state)?.map(|(file, _)| file);
        if let Some(state_file) = &mut state_file
            && !locked(&mut **state_file, &state)?
        {
            return Ok(());
        }
        if !locked(&mut *file, &path)?
            || self.scan.facts(&path)?.is_none_or(|now| now.id != facts.id)
        {
            return Ok(());
        }
        let Some(dead) = read(&mut *file)? else {
            // It died before it had written its journal, so before it had any file.
            let is_short = facts.len < HEADER_BYTES as u64;
            return if is_short { self.remove(&path) } else { self.set_aside(&path) };
        };
        if let Audience::Next(notes) = &mut *self.audience {
            notes.want(&names.prefix)?;
        }
        if self.take_over(&mut *file, &path, &dead)? { self.remove(&path) } else { Ok(()) }
    }

    /// Opens a file of this user that has no other name.
    fn open_own(&self, path: &Path) -> Result<Option<Opened>, Error> {
        let facts = self.scan.facts(path)?;
        let Some(facts) = facts.filter(|facts| is_ours(facts, self.uid) && facts.links == 1) else {
            return Ok(None);
        };
        Ok(self.scan.open(path, &facts)?.map(|file| (file, facts)))
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
        for nth in 0.. {
            // Whoever wrote the journal chose the first number.
            let number = dead.acknowledged.saturating_add(nth);
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

/// Takes a lock. `false` while another process has it: its writer lives, or another recovery was
/// faster.
fn locked(file: &mut dyn FsFile, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(Error::io("lock", path, error)),
        Ok(()) => Ok(true),
    }
}
