//! Deals with the journals of dead writers: what they published and nobody has heard of is told.
//!
//! Guarantees: a journal is touched only while its writer's state file is locked, or no longer
//! exists. Journals come first in a recovery, since a temp file may get another name than its writer
//! had noted. Each stays until the state file is gone, for whoever publishes the temp files.

use std::io::ErrorKind;
use std::path::Path;

use crate::fs::{Facts, FsFile};
use crate::housekeeping::journal::dead::{DeadJournal, Listed, temp_name};
use crate::housekeeping::journal::format::{ACKNOWLEDGED_AT, HEADER_BYTES, NONE_WAITS, WAITS_AT};
use crate::housekeeping::publication::Publication;
use crate::naming::{self, Names};
use crate::recovery::audience::Audience;
use crate::recovery::notes::{self, Dealt, Kept, NO_NOTE};
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
    /// Nothing for now, or what the recovery keeps for its notes.
    Kept,
    /// Another process has it, and may die.
    Locked,
    /// It is not for us.
    Others,
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
            let Some(names) = naming::parse_journal(&name, self.scan.prefix) else { continue };
            if own.is_none_or(|own| id(own) != id(&names)) {
                self.deal_with(&names, false);
            }
        }
        Ok(())
    }

    /// Deals with the journal of a writer whose state file this recovery has locked, unless that was
    /// done: another recovery may have had it until now.
    pub(super) fn journal_of(&mut self, names: &Names) {
        let is_dealt_with = self.journals.iter().any(|dealt| id(&dealt.names) == id(names));
        if !self.scan.dry_run && !is_dealt_with {
            self.deal_with(names, true);
        }
    }

    fn deal_with(&mut self, names: &Names, is_locked: bool) {
        let dealt = self.journal(names, is_locked);
        self.untold.are_left |= matches!(dealt, Ok(Left::Locked));
        if !matches!(dealt, Ok(Left::Others | Left::Locked)) {
            let is_done = matches!(dealt, Ok(Left::Nothing));
            self.journals.push(Dealt { names: names.clone(), is_done });
        }
        self.untold.errors.extend(dealt.err());
    }

    /// Removes the journals that say nothing any more. While a state file is left, its journal
    /// stays: whoever publishes that writer's files may have to note them there.
    pub(super) fn end_journals(&mut self) {
        let temp = self.scan.temp;
        for Dealt { names, is_done } in std::mem::take(&mut self.journals) {
            if is_done {
                let path = temp.join(names.journal());
                let ended = self.unless_state(&names, |run| run.remove_journal(&names, &path));
                let ended = ended.map_err(|error| self.recovery.errors.push(error));
                self.untold.are_left |= matches!(ended, Ok(false));
            }
        }
        let Audience::Next(notes) = &mut *self.audience else { return };
        for mut kept in notes.end() {
            let (names, path) = (kept.names.clone(), self.scan.path);
            let ended = self.unless_state(&names, |run| {
                let ended = match kept.says_nothing() {
                    true => run.remove(&kept.path),
                    false => kept.follow(path),
                };
                ended.map(|()| true)
            });
            self.recovery.errors.extend(ended.err());
        }
    }

    /// Does something with a journal, unless its writer's state file is left. Returns whether that is all.
    fn unless_state(
        &self,
        names: &Names,
        what: impl FnOnce(&Self) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        match self.scan.facts(&self.scan.temp.join(names.state()))? {
            Some(_) => Ok(true),
            None => what(self),
        }
    }

    /// Removes a journal that says nothing. Since it was dealt with, another recovery may have noted files in it:
    /// `false` if it says something again, or another process has it.
    fn remove_journal(&self, names: &Names, path: &Path) -> Result<bool, Error> {
        let Some((mut file, facts)) = self.open_own(path)? else { return Ok(true) };
        let failed = |e| Error::io("read", path, e);
        if !locked(&mut *file, path)? {
            return Ok(false);
        }
        if self.scan.facts(path)?.is_none_or(|now| now.id != facts.id) {
            return Ok(true);
        }
        let dead = DeadJournal::read(&mut *file, names).map_err(failed)?;
        // What is too short to be one had no files yet.
        let is_empty = dead.map_or(Ok(true), |dead| dead.says_nothing(&mut *file));
        if is_empty.map_err(failed)? { self.remove(path).map(|()| true) } else { Ok(false) }
    }

    /// Deals with one journal, unless its writer lives. `is_locked`: we hold the lock of its state file.
    fn journal(&mut self, names: &Names, is_locked: bool) -> Result<Left, Error> {
        let path = self.scan.temp.join(names.journal());
        let Some((mut file, facts)) = self.open_own(&path)? else { return Ok(Left::Others) };
        let read = |file: &mut dyn FsFile| {
            DeadJournal::read(file, names).map_err(|e| Error::io("read", &path, e))
        };
        // Before the locks: to others, a lock makes the writer look alive.
        let is_ours = |dead: DeadJournal| self.scan.paths().any(|path| dead.is_of(path));
        if !read(&mut *file)?.is_none_or(is_ours) {
            return Ok(Left::Others);
        }
        let state = self.scan.temp.join(names.state());
        let mut state_file = match is_locked {
            true => None,
            false => self.open_own(&state)?.map(|(file, _)| file),
        };
        if let Some(state_file) = &mut state_file {
            if !locked(&mut **state_file, &state)? {
                return Ok(Left::Locked);
            }
        }
        if !locked(&mut *file, &path)? {
            return Ok(Left::Locked);
        }
        if self.scan.facts(&path)?.is_none_or(|now| now.id != facts.id) {
            return Ok(Left::Others);
        }
        let Some(dead) = read(&mut *file)? else {
            // It died before it had written its journal, so before it had any file.
            let is_short = facts.len < HEADER_BYTES as u64;
            return if is_short {
                Ok(Left::Nothing)
            } else {
                self.set_aside(&path).map(|()| Left::Damage)
            };
        };
        let left = self.take_over(&mut *file, &path, &dead)?;
        if let Audience::Next(notes) = &mut *self.audience {
            let is_moved = !dead.is_of(self.scan.path);
            let mut kept = Kept::new(names, file, path, dead.free);
            (kept.is_done, kept.is_moved) = (matches!(left, Left::Nothing), is_moved);
            notes.keep(kept);
            return Ok(Left::Kept);
        }
        if let Left::Damage = left {
            self.set_aside(&path)?;
        }
        Ok(left)
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
        // Without a hook we have the lines, and the next writer with one tells it.
        let keeps_notes = dead.has_hook && !publications.has_hook() && !untold.is_empty();
        for ((at, file), in_manifest) in untold.into_iter().zip(known) {
            if !(keeps_notes && in_manifest) {
                publications.adopt(file, in_manifest)?;
            }
            if !keeps_notes {
                notes::write(journal, path, at, &NO_NOTE)?;
            }
        }
        Ok(if keeps_notes { Left::Files } else { left })
    }

    /// Calls the hook for files that were listed, from the first one that was not acknowledged on.
    fn hand_on(
        &mut self,
        journal: &mut dyn FsFile,
        path: &Path,
        dead: &DeadJournal,
    ) -> Result<Left, Error> {
        let mut left = Left::Nothing;
        for number in dead.acknowledged.. {
            match dead.listed(journal, number).map_err(|e| Error::io("read", path, e))? {
                Listed::End if number == dead.acknowledged => break,
                // The journal may have to stay for now, but nobody is to hear of them again.
                Listed::End => {
                    notes::write(journal, path, ACKNOWLEDGED_AT, &number.to_le_bytes())?;
                    if dead.has_waiting {
                        notes::write(journal, path, WAITS_AT, &NONE_WAITS.to_le_bytes())?;
                    }
                    break;
                }
                Listed::Damaged => left = Left::Damage,
                Listed::File(file) => {
                    let Audience::Announcer(announcer) = &self.audience else {
                        return Ok(Left::Files);
                    };
                    match announcer.publications().hand_on(&file) {
                        Ok(true) => {}
                        Ok(false) => return Ok(Left::Files),
                        // There may be no room for more. What was handed on is not called for again.
                        Err(error) if number > dead.acknowledged => {
                            self.untold.has_progress = true;
                            return handed_on(journal, path, dead, number).and(Err(error));
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(left)
    }

    /// Whether a file that was about to become visible is still a temp file, and no more than that: between the two
    /// steps of a rename it has both names.
    fn has_temp(&self, file: &Publication) -> Result<bool, Error> {
        let visible = self.scan.facts(&self.scan.path.join(&file.relative))?;
        for dir in self.scan.dirs() {
            let Some(temp) = temp_name(file, dir) else { continue };
            if let Some(temp) = self.scan.facts(&temp)? {
                return Ok(visible.is_none_or(|visible| visible.id != temp.id));
            }
        }
        Ok(false)
    }
}

/// Notes that the listed files before this one are somebody else's to call for.
fn handed_on(
    journal: &mut dyn FsFile,
    path: &Path,
    dead: &DeadJournal,
    number: u64,
) -> Result<(), Error> {
    let oldest = dead.oldest_from(journal, number).map_err(|e| Error::io("read", path, e))?;
    notes::write(journal, path, ACKNOWLEDGED_AT, &number.to_le_bytes())?;
    notes::write(journal, path, WAITS_AT, &oldest.to_le_bytes())
}

/// Which writer it is.
fn id(names: &Names) -> (u64, u32) {
    (names.instance, names.pid)
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
