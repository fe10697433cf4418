//! Deletes the oldest published files, as many as the options say.
//!
//! Guarantees: only regular files of this user whose names are ours, with this prefix and
//! extension, oldest first by the stamps in their names. They are reached by directory handles, and
//! no symbolic link is followed, so nothing outside of the directory is touched, whoever moves
//! directories meanwhile. What another process has deleted is no error. Memory is bounded: of many
//! files the oldest are remembered, and the rest are counted. Temp files are not touched. Refuses
//! nothing: what can't be deleted stays, and the first error is returned.

use std::collections::BinaryHeap;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::sys::host::user;
use crate::config::{Retain, WallClock};
use crate::file::tree;
use crate::fs::{Entry, Fs, FsDir};
use crate::housekeeping::journal::waiting::Waiting;
use crate::naming::{self, Names, Parsed, Stamp};
use crate::report::error::Error;

/// The most files that are remembered at once, of 48 bytes each.
const REMEMBERED_MAX: usize = 1 << 16;

/// Which files stay whatever their age and number: the oldest that waits, and all with later stamps.
pub(crate) type Protection = Box<dyn Fn() -> Result<Option<Waiting>, Error> + Send + Sync>;

/// The files of a prefix, and the rules by which they are deleted.
pub(crate) struct Retention {
    /// From the options, hence the `Arc` of std.
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) path: PathBuf,
    /// Levels of directories below `path`.
    pub(crate) depth: usize,
    /// Prefix and extension count.
    pub(crate) names: Names,
    /// The file system does not report how much a file takes, so lengths count.
    pub(crate) by_len: bool,
    pub(crate) rules: Retain,
    pub(crate) clock: WallClock,
    /// Asked after each look. What it returns must hold before a file becomes visible.
    pub(crate) protection: Protection,
}

/// What a pass found and left.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The first error.
    pub(crate) error: Option<Error>,
    /// The oldest file that stays.
    pub(crate) oldest: Option<Stamp>,
    /// The journal that protects files that would have gone.
    pub(crate) held_by: Option<PathBuf>,
    /// How long it took to look.
    pub(crate) took: Duration,
}

/// What a deletion left.
struct Left {
    /// The oldest file that stays, if it is known.
    oldest: Option<Stamp>,
    held_by: Option<PathBuf>,
    /// All that were remembered went, but not all that there are.
    goes_on: bool,
}

/// A file that may be deleted. The oldest is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    stamp: Stamp,
    instance: u64,
    seq: u64,
    worker: usize,
    pid: u32,
    /// Number of the directory.
    dir: u32,
    bytes: u64,
}

/// A directory: its parent's number, and its name there.
struct Place {
    parent: usize,
    name: OsString,
    level: usize,
    /// A file of it is gone, so it may be empty.
    is_touched: bool,
}

/// What a look has found.
struct Look {
    places: Vec<Place>,
    /// The oldest ones.
    oldest: BinaryHeap<Found>,
    files: u64,
    bytes: u64,
    newest: Option<Stamp>,
    error: Option<Error>,
}

impl Retention {
    /// Looks at all files, and deletes what must go. `ended` says for each file whether it is to be
    /// the last one; `deleted` hears of each file that was deleted, and of the bytes that it took.
    pub(crate) fn pass(&self, ended: &dyn Fn() -> bool, deleted: &mut dyn FnMut(u64)) -> Outcome {
        let mut took = Duration::ZERO;
        loop {
            let began = Instant::now();
            let mut look = self.look(ended);
            took += began.elapsed();
            let Left { oldest, held_by, goes_on } = self.delete(&mut look, ended, deleted);
            self.remove_empty(&mut look);
            if !goes_on || look.error.is_some() || ended() {
                return Outcome { error: look.error, oldest, held_by, took };
            }
        }
    }

    /// Finds the files.
    fn look(&self, ended: &dyn Fn() -> bool) -> Look {
        let root = Place { parent: 0, name: OsString::new(), level: 0, is_touched: false };
        let mut look = Look {
            places: vec![root],
            oldest: BinaryHeap::new(),
            files: 0,
            bytes: 0,
            newest: None,
            error: None,
        };
        let uid = user();
        let mut at = 0;
        while at < look.places.len() && !ended() {
            match self.open(&look.places, at) {
                Ok(Some(dir)) => self.look_into(&mut look, at, &*dir, uid, ended),
                // It was removed, or is no directory any more.
                Ok(None) => {}
                Err(error) => look.note(error),
            }
            at += 1;
        }
        look
    }

    fn look_into(
        &self,
        look: &mut Look,
        at: usize,
        dir: &dyn FsDir,
        uid: u32,
        ended: &dyn Fn() -> bool,
    ) {
        let level = look.places[at].level;
        let seen = dir.each(&mut |Entry { name, may_be_dir }| {
            if let Some(parsed) = self.parse(name) {
                match dir.facts(name) {
                    Ok(Some(facts)) if facts.is_file && facts.uid == uid => {
                        let bytes = if self.by_len { facts.len } else { facts.allocated };
                        look.add(parsed, at, bytes);
                    }
                    // Not ours, or another process has deleted it.
                    Ok(_) => {}
                    Err(e) => {
                        let path = self.path_of(&look.places, at).join(name);
                        look.note(Error::io("look up", &path, e));
                    }
                }
            } else if may_be_dir && level < self.depth && tree::may_be_partition(name) {
                let (name, level) = (name.to_owned(), level + 1);
                look.places.push(Place { parent: at, name, level, is_touched: false });
            }
            !ended()
        });
        if let Err(e) = seen {
            look.note(Error::io("list", &self.path_of(&look.places, at), e));
        }
    }

    fn parse(&self, name: &OsStr) -> Option<Parsed> {
        let parsed = naming::parse(name, &self.names.prefix, &self.names.extension);
        parsed.filter(|parsed| !parsed.temp)
    }

    /// Deletes what must go, oldest first.
    fn delete(
        &self,
        look: &mut Look,
        ended: &dyn Fn() -> bool,
        deleted: &mut dyn FnMut(u64),
    ) -> Left {
        let protection = if self.rules.ignores_hook { Ok(None) } else { (self.protection)() };
        let protected = match protection {
            Ok(protected) => protected,
            Err(error) => {
                // Nobody knows which files wait.
                look.note(error);
                return Left { oldest: None, held_by: None, goes_on: false };
            }
        };
        let now = Stamp::read(&self.clock);
        let are_more = look.files > look.oldest.len() as u64;
        let mut open: Option<(u32, Option<Box<dyn FsDir>>)> = None;
        for found in std::mem::take(&mut look.oldest).into_sorted_vec() {
            let held = protected.as_ref().filter(|waiting| found.stamp >= waiting.from);
            let goes = self.goes(look, &found, now);
            if held.is_some() || !goes || ended() {
                let held_by = held.filter(|_| goes).map(|waiting| waiting.journal.clone());
                return Left { oldest: Some(found.stamp), held_by, goes_on: false };
            }
            // What can't be deleted counts as gone: no newer file goes in its place.
            look.files -= 1;
            look.bytes = look.bytes.saturating_sub(found.bytes);
            if open.as_ref().is_none_or(|(number, _)| *number != found.dir) {
                let opened = self.open(&look.places, found.dir as usize);
                let dir = opened.unwrap_or_else(|error| {
                    look.note(error);
                    None
                });
                open = Some((found.dir, dir));
            }
            if let Some((_, Some(dir))) = &open {
                self.unlink(look, &**dir, &found, deleted);
            }
        }
        Left { oldest: None, held_by: None, goes_on: are_more }
    }

    /// Whether a rule says that this file goes, if all older ones have gone.
    fn goes(&self, look: &Look, found: &Found, now: Stamp) -> bool {
        let Retain { bytes, files, age, .. } = self.rules;
        let is_newest = look.newest == Some(found.stamp);
        (files > 0 && look.files > files)
            || (bytes > 0 && look.bytes > bytes && !is_newest)
            || (!age.is_zero() && now.since(found.stamp) >= age)
    }

    fn unlink(
        &self,
        look: &mut Look,
        dir: &dyn FsDir,
        found: &Found,
        deleted: &mut dyn FnMut(u64),
    ) {
        let Found { instance, pid, .. } = *found;
        let names = Names { instance, pid, ..self.names.clone() };
        let name = names.visible(found.stamp, found.worker, found.seq);
        let at = found.dir as usize;
        // Another directory may have its place by now, or another file its name.
        let removed = match dir.facts(&name) {
            Ok(Some(facts)) if facts.is_file && facts.uid == user() => {
                dir.remove(&name).map_err(|e| ("unlink", e))
            }
            Ok(Some(_)) => return,
            Ok(None) => Err(("look up", ErrorKind::NotFound.into())),
            Err(e) => Err(("look up", e)),
        };
        match removed {
            Ok(()) => deleted(found.bytes),
            // Another process was quicker.
            Err((_, error)) if error.kind() == ErrorKind::NotFound => {}
            Err((operation, error)) => {
                let path = self.path_of(&look.places, at).join(name);
                return look.note(Error::io(operation, &path, error));
            }
        }
        look.places[at].is_touched = true;
    }

    /// Removes the directories that are empty since their files were deleted, but never `path`.
    fn remove_empty(&self, look: &mut Look) {
        for at in (1..look.places.len()).rev() {
            if !look.places[at].is_touched {
                continue;
            }
            let parent = look.places[at].parent;
            let removed = match self.open(&look.places, parent) {
                Ok(Some(dir)) => dir.remove_dir(&look.places[at].name),
                Ok(None) => continue,
                Err(error) => {
                    look.note(error);
                    continue;
                }
            };
            match removed.map_err(|e| (e.kind(), e)) {
                Ok(()) => look.places[parent].is_touched = true,
                // A file came meanwhile, or another process was quicker.
                Err((
                    ErrorKind::DirectoryNotEmpty
                    | ErrorKind::AlreadyExists
                    | ErrorKind::NotFound
                    | ErrorKind::NotADirectory,
                    _,
                )) => {}
                Err((_, e)) => {
                    look.note(Error::io("remove directory", &self.path_of(&look.places, at), e));
                }
            }
        }
    }

    /// Opens a directory, from `path` on. `None` if it is none any more.
    fn open(&self, places: &[Place], at: usize) -> Result<Option<Box<dyn FsDir>>, Error> {
        if at == 0 {
            let opened = self.fs.open_dir(&self.path);
            return opened.map(Some).map_err(|e| Error::io("open directory", &self.path, e));
        }
        let Some(parent) = self.open(places, places[at].parent)? else { return Ok(None) };
        parent
            .open_dir(&places[at].name)
            .map_err(|e| Error::io("open directory", &self.path_of(places, at), e))
    }

    fn path_of(&self, places: &[Place], at: usize) -> PathBuf {
        if at == 0 {
            return self.path.clone();
        }
        self.path_of(places, places[at].parent).join(&places[at].name)
    }

    /// When the oldest file has its age, from now on. `None` without a rule for that.
    pub(crate) fn due_in(&self, oldest: Option<Stamp>) -> Option<Duration> {
        let age = Some(self.rules.age).filter(|age| !age.is_zero())?;
        Some(age.saturating_sub(Stamp::read(&self.clock).since(oldest?)))
    }
}

impl Look {
    fn add(&mut self, parsed: Parsed, at: usize, bytes: u64) {
        let Parsed { stamp, instance, pid, worker, seq, .. } = parsed;
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.newest = self.newest.max(Some(stamp));
        let is_full = self.oldest.len() >= REMEMBERED_MAX;
        if is_full && self.oldest.peek().is_some_and(|latest| latest.stamp < stamp) {
            return;
        }
        if is_full {
            self.oldest.pop();
        }
        // More directories than this do not fit the memory.
        let dir = u32::try_from(at).unwrap_or(u32::MAX);
        self.oldest.push(Found { stamp, instance, seq, worker, pid, dir, bytes });
    }

    /// The first error is told.
    fn note(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }
}
