//! Deals with the journals of dead writers: what they published and nobody has heard of is told.
//!
//! Guarantees: a journal is touched only while its writer's state file is locked, or no longer
//! exists. Journals come first in a recovery, since a temp file may get another name than its writer
//! had noted.

use std::io::ErrorKind;
use std::path::Path;

use crate::fs::{Facts, FsFile};
use crate::housekeeping::journal::dead::{DeadJournal, Listed, temp_name};
use crate::housekeeping::journal::format::HEADER_BYTES;
use crate::housekeeping::publication::Publication;
use crate::naming::{self, Names};
use crate::recovery::audience::Audience;
use crate::recovery::notes::{self, Kept, NO_NOTE};
use crate::recovery::run::Run;
use crate::recovery::scan;
use crate::recovery::verdict::is_ours;
use crate::report::error::Error;

/// What is left of a journal.
#[derive(Clone, Copy, Debug)]
enum Left {
    Nothing,
    /// Only entries that are not what a writer wrote.
    Damage,
    /// Files that nobody has heard of.
    Files,
}

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
                if let Audience::Announcer(announcer) = &self.audience {
                    announcer.publications().protect_all();
                }
                self.recovery.errors.push(error);
            }
        }
        Ok(())
    }

    /// Removes the journals of dead writers that say nothing any more.
    pub(super) fn end_journals(&mut self) {
        let Audience::Next(notes) = &mut *self.audience else { return };
        for path in notes.done() {
            if let Err(error) = self.remove(&path) {
                self.recovery.errors.push(error);
            }
        }
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
        let left = self.take_over(&mut *file, &path, &dead)?;
        if let Audience::Next(notes) = &mut *self.audience {
            let is_done = matches!(left, Left::Nothing);
            notes.keep(Kept::new(names, file, path, dead.free, is_done));
            return Ok(());
        }
        match left {
            Left::Nothing => self.remove(&path),
            Left::Damage => self.set_aside(&path),
            Left::Files => Ok(()),
        }
    }

    /// Opens a file of this user that has no other name.
    fn open_own(&self, path: &Path) -> Result<Option<Opened>, Error> {
        let facts = self.scan.facts(path)?;
        let Some(facts) = facts.filter(|facts| is_ours(facts, self.uid) && facts.links == 1) else {
            return Ok(None);
        };
        Ok(self.scan.open(path, &facts)?.map(|file| (file, facts)))
    }

    /// Tells of what a dead writer had published.
    fn take_over(
        &mut self,
        journal: &mut dyn FsFile,
        path: &Path,
        dead: &DeadJournal,
    ) -> Result<Left, Error> {
        // What was listed came first, so the hook hears of it first.
        let left = self.hand_on(journal, path, dead)?;
        let mut untold = Vec::new();
        for (at, file) in &dead.unlisted {
            if self.has_temp(file)? {
                // It was never renamed, and will get another name.
                notes::write(journal, path, *at, &NO_NOTE)?;
            } else {
                untold.push((*at, file));
            }
        }
        let Audience::Announcer(announcer) = &self.audience else {
            return Ok(if untold.is_empty() { left } else { Left::Files });
        };
        let publications = announcer.publications();
        let files: Vec<_> = untold.iter().map(|(_, file)| *file).collect();
        let known = publications.listed_before(&files)?;
        for ((at, file), in_manifest) in untold.into_iter().zip(known) {
            publications.adopt(file, in_manifest)?;
            notes::write(journal, path, at, &NO_NOTE)?;
        }
        Ok(left)
    }

    /// Calls the hook for files that were listed, from the first one that was not acknowledged on.
    fn hand_on(
        &self,
        journal: &mut dyn FsFile,
        path: &Path,
        dead: &DeadJournal,
    ) -> Result<Left, Error> {
        let mut left = Left::Nothing;
        for number in dead.acknowledged.. {
            match dead.listed(journal, number).map_err(|e| Error::io("read", path, e))? {
                Listed::End => break,
                Listed::Damaged => left = Left::Damage,
                Listed::File(file) => match &self.audience {
                    Audience::Announcer(announcer)
                        if announcer.publications().hand_on(&file)? => {}
                    _ => return Ok(Left::Files),
                },
            }
        }
        Ok(left)
    }

    /// Whether a file that was about to become visible is still a temp file, and no more than that: between the two
    /// steps of a rename it has both names.
    fn has_temp(&self, file: &Publication) -> Result<bool, Error> {
        let visible = self.scan.facts(&self.scan.path.join(&file.relative))?;
        for dir in self.scan.dirs() {
            if let Some(temp) = temp_name(file, dir)
                && let Some(temp) = self.scan.facts(&temp)?
            {
                return Ok(visible.is_none_or(|visible| visible.id != temp.id));
            }
        }
        Ok(false)
    }
}

/// Takes a lock. `false` while another process has it: its writer lives, or another recovery was
/// faster.
fn locked(file: &mut dyn FsFile, path: &Path) -> Result<bool, Error> {
    match scan::lock(file) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(Error::io("lock", path, error)),
        Ok(()) => Ok(true),
    }
}
