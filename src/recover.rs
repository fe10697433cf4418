//! Left-overs of instances that died: what was written whole is published, the rest is set aside.
//!
//! Guarantees: touches only the state file of a dead instance, whose lock it holds, and temp files of that
//! instance, by plain names in the directory that was given; never follows a link; deletes nothing that may
//! hold a whole record. Killed at any point and run again, the result is the same: the state file goes last,
//! when all else is done and forced to the disk. Refuses to touch what lives, what is another user's and what
//! has another `path`.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::geteuid;

use crate::error::Error;
use crate::fs::{Facts, Fs, FsFile, write_all};
use crate::judge::{Claim, Verdict, claim, is_ours, judge};
use crate::name::{self, Names, Parsed};
use crate::publish::{self, Refusal};
use crate::real_fs::RealFs;
use crate::recovery::{LeftAlone, LeftReason, Recovery};
use crate::remains::{self, Record, Remains, Unreadable};

/// Bytes of one copy.
const COPY_BYTES: usize = 256 << 10;

/// What [`recover`] looks for, and where.
#[derive(Clone)]
#[must_use]
pub struct RecoverOptions {
    path: PathBuf,
    temp: PathBuf,
    prefix: Option<OsString>,
    dry_run: bool,
    fs: Arc<dyn Fs>,
}

impl RecoverOptions {
    /// Left-overs of writers with this [`path`](crate::Config::path) and this [`temp`](crate::Config::temp),
    /// whatever their prefix.
    pub fn new(path: impl Into<PathBuf>, temp: impl Into<PathBuf>) -> Self {
        let (path, temp) = (path.into(), temp.into());
        RecoverOptions { path, temp, prefix: None, dry_run: false, fs: Arc::new(RealFs) }
    }

    /// Only those with this [`prefix`](crate::Config::prefix). Default: all.
    pub fn prefix(mut self, prefix: impl Into<OsString>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Changes nothing, and tells what would be done. Default false.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Replaces the file system, for tests that make calls fail. Not a stable interface.
    #[doc(hidden)]
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = fs;
        self
    }
}

impl std::fmt::Debug for RecoverOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecoverOptions")
            .field("path", &self.path)
            .field("temp", &self.temp)
            .field("prefix", &self.prefix)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// Publishes what writers that died left in their temp directory, as the next writer with the same
/// [`path`](crate::Config::path), `temp` and prefix does by itself
/// ([`Config::recover`](crate::Config::recover)). Safe at any time, beside writers and other recoveries:
/// instances that live are left alone. Returns when all is done.
///
/// Only instances of this user are dealt with. Of each temp file, what is known to be whole records
/// becomes visible: all that was written, or after a reboot what an fsync covers. What can't be trusted
/// is set aside under a hidden name, never deleted.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("bw-doc-recover-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let recovery = bufferedwriter::recover(&bufferedwriter::RecoverOptions::new(&dir, &dir))?;
/// assert!(recovery.is_empty());
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A directory that is missing or can't be read. What fails later is in [`Recovery::errors`], and tried
/// again by the next recovery.
pub fn recover(options: &RecoverOptions) -> Result<Recovery, Error> {
    let RecoverOptions { path, temp, prefix, dry_run, fs } = options;
    let open = |dir: &Path| fs.canonicalize(dir).map_err(|e| Error::io("open directory", dir, e));
    let (path, temp) = (open(path)?, open(temp)?);
    let search = |temp| Search {
        fs: &**fs,
        path: &path,
        temp,
        prefix: prefix.as_deref(),
        dry_run: *dry_run,
    };
    let mut recovery = Recovery::default();
    search(&temp).run(None, &mut recovery)?;
    if temp != path {
        // Where `temp` is on another file system, writers have their files in `path`.
        search(&path).run(None, &mut recovery)?;
    }
    Ok(recovery)
}

/// Where to look, and for what. The directories are canonical.
#[derive(Clone, Copy)]
pub(crate) struct Search<'a> {
    pub(crate) fs: &'a dyn Fs,
    /// Where files become visible.
    pub(crate) path: &'a Path,
    /// Where state files and temp files are.
    pub(crate) temp: &'a Path,
    /// None = any.
    pub(crate) prefix: Option<&'a OsStr>,
    pub(crate) dry_run: bool,
}

impl Search<'_> {
    /// Deals with all dead instances but the one of this state file, our own.
    pub(crate) fn run(self, own: Option<&OsStr>, recovery: &mut Recovery) -> Result<(), Error> {
        let mut run = Run { search: self, uid: geteuid().as_raw(), recovery };
        for name in self.list(self.temp)? {
            let names = name::parse_state(&name, self.prefix);
            if let Some(names) = names.filter(|_| own != Some(&*name))
                && let Err(error) = run.instance(&name, &names)
            {
                run.recovery.errors.push(error);
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> Result<Vec<OsString>, Error> {
        self.fs.list(dir).map_err(|e| Error::io("list", dir, e))
    }

    fn facts(&self, path: &Path) -> Result<Option<Facts>, Error> {
        self.fs.facts(path).map_err(|e| Error::io("look up", path, e))
    }

    /// Opens a file that these facts are of; none if another one stands there meanwhile, or none.
    fn open(&self, path: &Path, known: &Facts) -> Result<Option<Box<dyn FsFile>>, Error> {
        let file = match self.fs.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|e| Error::io("open", path, e))?,
        };
        let facts = file.facts().map_err(|e| Error::io("look up", path, e))?;
        let shown = |of: &Facts| (of.id, of.is_file, of.uid, of.links, of.len);
        Ok((shown(&facts) == shown(known)).then_some(file))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), Error> {
        if self.dry_run { Ok(()) } else { publish::sync_dir(self.fs, dir) }
    }
}

/// A recovery that is under way.
struct Run<'a> {
    search: Search<'a>,
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
            return self.leave_alone(&state, LeftReason::NotOurs);
        }
        let Some(mut file) = search.open(&state, &facts)? else { return Ok(()) };
        // Before the lock is tried, since for others it would look as if the instance were alive.
        if let Some(reason) = self.foreign(&read(&mut *file, &state)?, name) {
            return self.leave_alone(&state, reason);
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
            _ => self.leave_alone(&state, LeftReason::OtherName),
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
            return self.leave_alone(state, reason);
        }
        match &remains {
            Ok(Remains { boot_id, names, records, .. }) => {
                let same_boot = boot_id.is_some() && *boot_id == self.search.fs.boot_id();
                self.bury(&Dead { state, names, records: Some(records), same_boot })
            }
            Err(why) => {
                let is_short = *why == Unreadable::Short;
                let dead = Dead { state, names: named, records: None, same_boot: false };
                self.bury_unknown(&dead, is_short)
            }
        }
    }

    /// Why an instance is not to be dealt with, dead or alive.
    fn foreign(&self, remains: &Result<Remains, Unreadable>, name: &OsStr) -> Option<LeftReason> {
        match remains {
            Err(Unreadable::Version(version)) => Some(LeftReason::Version(*version)),
            Ok(remains) if remains.names.state() != name => Some(LeftReason::OtherInstance),
            Ok(remains) if remains.path.as_os_str() != self.search.path => {
                Some(LeftReason::OtherPath)
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
        for dir in [self.search.temp, self.search.path] {
            for name in self.search.list(dir)? {
                if !name::is_probe(&name, names) {
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
                None => name::temp_extension(&name, prefix),
            };
            let parsed = name::parse(&name, prefix, extension);
            let is_its =
                |parsed: &Parsed| parsed.temp && parsed.instance == *instance && parsed.pid == *pid;
            let Some(parsed) = parsed.filter(is_its) else { continue };
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
                self.leave_alone(&temp, reason)?;
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
        let Search { fs, path, dry_run, .. } = self.search;
        let visible = if dry_run {
            temp.to_owned()
        } else {
            let Some(mut file) = self.search.open(temp, facts)? else {
                self.leave_alone(temp, LeftReason::NotOurs)?;
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
            publish::rename(fs, temp, path, dead.names, parsed.worker, parsed.seq)
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
        self.leave_alone(temp, LeftReason::OtherName)?;
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
            let parsed = name::parse(&name, prefix, extension);
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

    fn leave_alone(&mut self, path: &Path, reason: LeftReason) -> Result<(), Error> {
        self.recovery.left_alone.push(LeftAlone { path: path.to_owned(), reason });
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

fn read(file: &mut dyn FsFile, state: &Path) -> Result<Result<Remains, Unreadable>, Error> {
    let bytes = remains::bytes(file).map_err(|e| Error::io("read", state, e))?;
    Ok(remains::read(&bytes))
}

/// Writes what stands there once more, so that the next fsync has to force it to the disk.
fn write_again(file: &mut dyn FsFile, mut range: Range<u64>) -> io::Result<()> {
    let mut bytes = vec![0; COPY_BYTES.min((range.end - range.start.min(range.end)) as usize)];
    while range.start < range.end {
        let left = (range.end - range.start).min(bytes.len() as u64) as usize;
        let read = match file.read_at(&mut bytes[..left], range.start) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        write_all(file, &mut [IoSlice::new(&bytes[..read])], range.start).1?;
        range.start += read as u64;
    }
    Ok(())
}

/// Where a file is set aside: in its directory.
fn aside(path: &Path) -> PathBuf {
    path.with_file_name(name::aside(path.file_name().unwrap_or_default()))
}
