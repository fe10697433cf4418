//! Left-overs of instances that died: what was written whole is published, the rest is set aside.
//!
//! Guarantees: touches only the state file of a dead instance, whose lock it holds, and temp files of that
//! instance, by plain names in the directory that was given; never follows a link; deletes nothing that may
//! hold a whole record. Killed at any point and run again, the result is the same: the state file goes last,
//! when all else is done and forced to the disk. Refuses to touch what lives, what is another user's and what
//! has another `path`.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::file::publish::{self, Refusal};
use crate::file::state_file::decode::{self, DecodedState, Record, Unreadable};
use crate::fs::{Facts, FsFile, read_full, write_all};
use crate::naming::{self, Names, Parsed};
use crate::recovery::salvage::{Found, Memory, Places};
use crate::recovery::scan::Scan;
use crate::recovery::verdict::{Claim, Verdict, claim, is_ours, judge};
use crate::report::error::Error;
use crate::report::recovery::{Recovery, SkipReason, Skipped};

/// Bytes of one copy.
const COPY_BYTES: usize = 256 << 10;

/// Deals with all dead instances but the one of this state file, our own.
pub(crate) fn run(
    search: Scan<'_>,
    own: Option<&OsStr>,
    recovery: &mut Recovery,
) -> Result<(), Error> {
    let mut run = Run { search, uid: geteuid().as_raw(), recovery };
    for name in search.list(search.temp)? {
        let names = naming::parse_state(&name, search.prefix);
        if let Some(names) = names.filter(|_| own != Some(&*name))
            && let Err(error) = run.instance(&name, &names)
        {
            run.recovery.errors.push(error);
        }
    }
    Ok(())
}

/// A recovery that is under way.
struct Run<'a> {
    search: Scan<'a>,
    uid: u32,
    recovery: &'a mut Recovery,
}

/// A dead instance, whose lock is held.
struct Dead<'a> {
    state: &'a Path,
    /// Without the extension if the state file is unreadable.
    names: &'a Names,
    /// None if the state file is unreadable.
    records: Option<&'a [Option<Record>]>,
    same_boot: bool,
    /// The memory, if it outlived the process: what it tells is newer than the state file.
    memory: Option<&'a Memory>,
}

impl Run<'_> {
    /// One state file, of this name, which says so much.
    fn instance(&mut self, name: &OsStr, named: &Names) -> Result<(), Error> {
        let search = self.search;
        let state = search.temp.join(name);
        let Some(facts) = search.facts(&state)? else { return Ok(()) };
        if facts.uid != self.uid {
            // No concern of ours.
            return Ok(());
        }
        if !facts.is_file {
            return self.skip(&state, SkipReason::NotOurs);
        }
        let Some(mut file) = search.open(&state, &facts)? else { return Ok(()) };
        // Before the lock is tried, since for others it would look as if the instance were alive.
        if let Some(reason) = self.foreign(&read(&mut *file, &state)?, name) {
            return self.skip(&state, reason);
        }
        match file.try_lock() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.recovery.alive += 1;
                return Ok(());
            }
            locked => locked.map_err(|e| Error::io("lock", &state, e))?,
        }
        // From here on it is ours, unless somebody was quicker and has removed it.
        let Some(facts) = search.facts(&state)?.filter(|now| now.id == facts.id) else {
            return Ok(());
        };
        match facts.links {
            1 => self.locked(&state, name, named, &mut *file),
            2 if self.is_aside(&state, &facts)? => self.remove(&state),
            _ => self.skip(&state, SkipReason::OtherName),
        }
    }

    /// A state file whose lock is ours.
    fn locked(
        &mut self,
        state: &Path,
        name: &OsStr,
        named: &Names,
        file: &mut dyn FsFile,
    ) -> Result<(), Error> {
        let remains = read(file, state)?;
        if let Some(reason) = self.foreign(&remains, name) {
            return self.skip(state, reason);
        }
        match &remains {
            Ok(DecodedState { boot_id, names, records, memory, .. }) => {
                let same_boot = boot_id.is_some() && *boot_id == self.search.fs.boot_id();
                let dead = Dead { state, names, records: Some(records), same_boot, memory: None };
                match memory {
                    Some(dir) => self.bury_with_memory(dead, dir),
                    None => self.bury(&dead),
                }
            }
            Err(why) => {
                let is_short = *why == Unreadable::Short;
                let dead =
                    Dead { state, names: named, records: None, same_boot: false, memory: None };
                self.bury_unknown(&dead, is_short)
            }
        }
    }

    /// Why an instance is not to be dealt with, dead or alive.
    fn foreign(
        &self,
        remains: &Result<DecodedState, Unreadable>,
        name: &OsStr,
    ) -> Option<SkipReason> {
        match remains {
            Err(Unreadable::Version(version)) => Some(SkipReason::Version(*version)),
            Ok(remains) if remains.names.state() != name => Some(SkipReason::OtherInstance),
            Ok(remains) if remains.path.as_os_str() != self.search.path => {
                Some(SkipReason::OtherPath)
            }
            _ => None,
        }
    }

    /// An instance whose state file is whole.
    fn bury(&mut self, dead: &Dead<'_>) -> Result<(), Error> {
        if self.temp_files(dead)? {
            self.end(dead)?;
        }
        Ok(())
    }

    /// An instance whose state file is whole, and whose memory is, or was, in this directory.
    fn bury_with_memory(&mut self, dead: Dead<'_>, dir: &Path) -> Result<(), Error> {
        let Scan { fs, path, temp, memory, dry_run, .. } = self.search;
        if !memory.iter().any(|known| known == dir) {
            return self.skip(dead.state, SkipReason::OtherMemory);
        }
        let mut memory = match Memory::open(fs, dir, dead.names, self.uid)? {
            // It is gone with the last boot, or was closed.
            Found::Nothing => return self.bury(&dead),
            Found::Alive => {
                self.recovery.alive += 1;
                return Ok(());
            }
            Found::LeaveAlone(reason) => {
                return self.skip(&dir.join(dead.names.memory()), reason);
            }
            Found::Damaged(path) => {
                self.set_aside(&path)?;
                return self.bury(&dead);
            }
            // Not of the writer that made the state file: files of its other workers would be taken for a recovery's.
            Found::Memory(memory) if dead.records.map(<[_]>::len) != Some(memory.worker()) => {
                self.set_aside(memory.path())?;
                return self.bury(&dead);
            }
            Found::Memory(memory) => memory,
        };
        let records: Vec<_> = memory.relics.records.iter().copied().map(Some).collect();
        let known =
            Dead { records: Some(&records), same_boot: true, memory: Some(&memory), ..dead };
        let all = self.temp_files(&known)?;
        // Also beside a temp file that stays: what is in chunks is in none.
        if dry_run {
            if memory.bytes() > 0 {
                self.recovery.published.push(memory.path().to_owned());
                self.recovery.bytes += memory.bytes();
            }
        } else if let Some((visible, bytes)) =
            memory.rescue(Places { fs, temp, path, names: dead.names })?
        {
            self.recovery.published.push(visible);
            self.recovery.bytes += bytes;
        }
        if !all {
            // It tells what that temp file holds.
            return Ok(());
        }
        self.recovery.lost = self.recovery.lost.saturating_add(memory.relics.lost);
        match memory.relics.damaged {
            0 if dry_run => {}
            0 => memory.remove(fs)?,
            _ => self.set_aside(memory.path())?,
        }
        self.end(&dead)
    }

    /// An instance whose state file tells nothing.
    fn bury_unknown(&mut self, dead: &Dead<'_>, is_short: bool) -> Result<(), Error> {
        let before = self.recovery.set_aside.len();
        if !self.temp_files(dead)? {
            return Ok(());
        }
        if is_short && self.recovery.set_aside.len() == before {
            // It died before it had written its state file, so before it had any temp file.
            return self.end(dead);
        }
        self.remove_probes(dead.names)?;
        self.search.sync_dir(self.search.temp)?;
        self.set_aside(dead.state)?;
        self.recovery.instances += 1;
        Ok(())
    }

    /// Nothing is left of it but its state file: that goes when all else is on the disk.
    fn end(&mut self, dead: &Dead<'_>) -> Result<(), Error> {
        self.remove_probes(dead.names)?;
        self.search.sync_dir(self.search.path)?;
        if self.search.temp != self.search.path {
            self.search.sync_dir(self.search.temp)?;
        }
        self.remove(dead.state)?;
        self.recovery.instances += 1;
        Ok(())
    }

    /// The empty files by which it tried its directories, if it died just then. They are where the two names
    /// say, and have both while a rename in two steps is under way.
    fn remove_probes(&self, names: &Names) -> Result<(), Error> {
        let Scan { temp, path, .. } = self.search;
        for dir in [temp, path].into_iter().take(if temp == path { 1 } else { 2 }) {
            for name in self.search.list(dir)? {
                if !naming::is_probe(&name, names) {
                    continue;
                }
                let probe = dir.join(name);
                let found = self.search.facts(&probe)?;
                if found.is_some_and(|found| is_ours(&found, self.uid) && found.len == 0) {
                    self.remove(&probe)?;
                }
            }
        }
        Ok(())
    }

    /// Deals with each temp file of a dead instance. Whether none is left.
    fn temp_files(&mut self, dead: &Dead<'_>) -> Result<bool, Error> {
        let mut all = true;
        // Only now, when no more of them can appear.
        for name in self.search.list(self.search.temp)? {
            let Names { prefix, extension, instance, pid } = dead.names;
            let extension = match dead.records {
                Some(_) => extension,
                None => naming::temp_extension(&name, prefix),
            };
            let parsed = naming::parse_temp(&name, prefix, extension);
            let is_its = |parsed: &Parsed| parsed.instance == *instance && parsed.pid == *pid;
            let Some(parsed) = parsed.filter(is_its) else { continue };
            if dead.memory.is_some_and(|memory| memory.worker() == parsed.worker) {
                // Of a recovery, which goes on there.
                continue;
            }
            match self.temp_file(dead, &name, &parsed) {
                Ok(done) => all &= done,
                Err(error) => {
                    self.recovery.errors.push(error);
                    all = false;
                }
            }
        }
        Ok(all)
    }

    /// One temp file. Whether it is done with.
    fn temp_file(&mut self, dead: &Dead<'_>, name: &OsStr, parsed: &Parsed) -> Result<bool, Error> {
        let temp = self.search.temp.join(name);
        let Some(facts) = self.search.facts(&temp)? else { return Ok(true) };
        let claim = dead.records.map_or(Claim::Damaged, |records| claim(records, parsed));
        match judge(&facts, self.uid, claim, dead.same_boot) {
            Verdict::Publish(len) => {
                let doubtful = match claim {
                    Claim::Lengths { synced, .. } if dead.same_boot => Some(synced),
                    _ => None,
                };
                return self.publish(dead, &temp, parsed, &facts, len, doubtful);
            }
            Verdict::Remove => {
                self.remove(&temp)?;
                self.recovery.cut_bytes += facts.len;
            }
            Verdict::SetAside => self.set_aside(&temp)?,
            Verdict::TwoNames => return self.end_rename(dead, &temp, parsed, &facts),
            Verdict::LeaveAlone(reason) => {
                self.skip(&temp, reason)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Cuts a temp file to its whole records and makes it visible. From `doubtful` on it may not be on the disk.
    fn publish(
        &mut self,
        dead: &Dead<'_>,
        temp: &Path,
        parsed: &Parsed,
        facts: &Facts,
        len: u64,
        doubtful: Option<u64>,
    ) -> Result<bool, Error> {
        let Scan { fs, path, dry_run, .. } = self.search;
        let in_one_step = dead.memory.is_some();
        let visible = if dry_run {
            temp.to_owned()
        } else {
            let Some(mut file) = self.search.open(temp, facts)? else {
                self.skip(temp, SkipReason::NotOurs)?;
                return Ok(false);
            };
            if facts.len > len {
                file.set_len(len).map_err(|e| Error::io("truncate", temp, e))?;
            }
            if let Some(doubtful) = doubtful {
                // Its writer may have died between an fsync that failed and the note of it: what it
                // dropped looks as if it were written, and the next fsync would not know better.
                write_again(&mut *file, doubtful..len).map_err(|e| Error::io("write", temp, e))?;
            }
            if let Err(error) = file.sync() {
                // A second fsync would succeed although the data are gone (see `file.rs`): nobody
                // can trust it any more.
                let error = Error::io("fsync", temp, error);
                self.set_aside(temp)?;
                return Err(error);
            }
            publish::rename(fs, temp, path, dead.names, parsed.worker, parsed.seq, in_one_step)
                .map_err(|(Refusal::Gone(error) | Refusal::Retry(error))| error)?
        };
        self.recovery.published.push(visible);
        self.recovery.bytes += len;
        self.recovery.cut_bytes += facts.len - len;
        Ok(true)
    }

    /// A file with two names: somebody died between the two steps of a rename, or gave it another name.
    fn end_rename(
        &mut self,
        dead: &Dead<'_>,
        temp: &Path,
        parsed: &Parsed,
        facts: &Facts,
    ) -> Result<bool, Error> {
        if self.is_aside(temp, facts)? || self.is_visible(dead, parsed, facts)? {
            self.remove(temp)?;
            return Ok(true);
        }
        self.skip(temp, SkipReason::OtherName)?;
        Ok(false)
    }

    /// Whether the name under which this file would be set aside is the same file's.
    fn is_aside(&self, file: &Path, facts: &Facts) -> Result<bool, Error> {
        let found = self.search.facts(&aside(file))?;
        Ok(found.is_some_and(|found| found.id == facts.id))
    }

    /// Whether this temp file has a visible name already.
    fn is_visible(&self, dead: &Dead<'_>, temp: &Parsed, facts: &Facts) -> Result<bool, Error> {
        let Names { prefix, extension, .. } = dead.names;
        for name in self.search.list(self.search.path)? {
            let parsed = naming::parse(&name, prefix, extension);
            let is_its = |found: &Parsed| {
                let id = |of: &Parsed| (of.instance, of.pid, of.worker, of.seq);
                !found.temp && id(found) == id(temp)
            };
            if parsed.is_some_and(|found| is_its(&found)) {
                let found = self.search.facts(&self.search.path.join(name))?;
                if found.is_some_and(|found| found.id == facts.id) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn skip(&mut self, path: &Path, reason: SkipReason) -> Result<(), Error> {
        self.recovery.skipped.push(Skipped { path: path.to_owned(), reason });
        Ok(())
    }

    /// It may be gone already.
    fn remove(&self, path: &Path) -> Result<(), Error> {
        if self.search.dry_run {
            return Ok(());
        }
        match self.search.fs.remove(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("unlink", path, error))
            }
            _ => Ok(()),
        }
    }

    fn set_aside(&mut self, path: &Path) -> Result<(), Error> {
        if self.search.dry_run {
            self.recovery.set_aside.push(path.to_owned());
            return Ok(());
        }
        let to = aside(path);
        self.search.fs.rename(path, &to).map_err(|e| Error::io("set aside", path, e))?;
        self.recovery.set_aside.push(to);
        Ok(())
    }
}

fn read(file: &mut dyn FsFile, state: &Path) -> Result<Result<DecodedState, Unreadable>, Error> {
    let bytes = decode::bytes(file).map_err(|e| Error::io("read", state, e))?;
    Ok(decode::read(&bytes))
}

/// Writes what stands there once more, so that the next fsync has to force it to the disk.
fn write_again(file: &mut dyn FsFile, mut range: Range<u64>) -> io::Result<()> {
    let mut bytes = vec![0; COPY_BYTES];
    while range.start < range.end {
        let left = (range.end - range.start).min(bytes.len() as u64) as usize;
        if read_full(file, &mut bytes[..left], range.start)? < left {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        write_all(file, &mut [IoSlice::new(&bytes[..left])], range.start).1?;
        range.start += left as u64;
    }
    Ok(())
}

/// Where a file is set aside: in its directory.
fn aside(path: &Path) -> PathBuf {
    path.with_file_name(naming::aside(path.file_name().unwrap_or_default()))
}
