//! Recovers dead instances: publishes the records that were written whole and sets the rest aside.
//!
//! Guarantees: touches only the state file of a dead instance, whose lock it holds, and temp files
//! of that instance, by plain names in the given directory. Never follows a link. Deletes nothing
//! that may hold a whole record. If it is killed at any point and run again, the result is the
//! same: it removes the state file last, when everything else is done and synced. Refuses to touch
//! live instances, files of other users, and instances with another `path`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::base::sys::file::has_no_locks;
use crate::base::sys::host::user;
use crate::config::Compression;
use crate::file::publish;
use crate::file::state_file::decode::{self, DecodedState, Unreadable};
use crate::file::state_file::format::{FileLayout, MemoryDir, WorkerEntry};
use crate::file::tree;
use crate::fs::{Facts, FsFile};
use crate::naming::partition::Unusable;
use crate::naming::{self, Names, Partition};
use crate::recovery::audience::Audience;
use crate::recovery::notes::Dealt;
use crate::recovery::salvage::{DeadMemory, Found, Locations};
use crate::recovery::scan::{self, Scan};
use crate::recovery::verdict::is_ours;
use crate::report::error::Error;
use crate::report::recovery::{Recovery, SkipReason, Skipped};
use crate::report::stats::Watermark;

/// Recovers all dead instances, and tells the audience of their files. `own` is the calling writer,
/// which is skipped. Returns which journals it could not tell of; [`tell`] tries them again.
pub(crate) fn run(
    scan: Scan<'_>,
    own: Option<&Names>,
    recovery: &mut Recovery,
    audience: &mut Audience,
) -> Result<Untold, Error> {
    let mut run = Run::new(scan, recovery, audience);
    let own_state = own.map(Names::state);
    // First, before temp files get other names than their writers, or recoveries, had noted.
    run.journals(own)?;
    for name in scan.list(scan.temp)? {
        let names = naming::parse_state(&name, scan.prefix);
        let Some(names) = names.filter(|_| own_state.as_ref() != Some(&name)) else { continue };
        if let Err(error) = run.instance(&name, &names) {
            run.recovery.errors.push(error);
        }
    }
    run.end_journals();
    Ok(run.untold)
}

/// Tells the audience of what dead instances had published, and no more.
pub(crate) fn tell(
    scan: Scan<'_>,
    own: &Names,
    recovery: &mut Recovery,
    audience: &mut Audience,
) -> Result<Untold, Error> {
    let mut run = Run::new(scan, recovery, audience);
    run.journals(Some(own))?;
    run.end_journals();
    Ok(run.untold)
}

/// A recovery in progress.
pub(super) struct Run<'a> {
    pub(super) scan: Scan<'a>,
    pub(super) uid: u32,
    pub(super) recovery: &'a mut Recovery,
    pub(super) audience: &'a mut Audience,
    pub(super) journals: Vec<Dealt>,
    pub(super) untold: Untold,
}

/// Journals whose files could not be told of.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    pub(crate) errors: Vec<Error>,
    /// Other processes have some, and may die; or have noted files in some.
    pub(crate) are_left: bool,
    /// Some were told of, before an error.
    pub(crate) has_progress: bool,
}

/// A dead instance. The recovery holds its lock.
pub(super) struct Dead<'a> {
    state: &'a Path,
    /// Without the extension if the state file is unreadable.
    pub(super) names: &'a Names,
    /// `None` if the state file is unreadable.
    pub(super) entries: Option<&'a [Option<WorkerEntry>]>,
    pub(super) same_boot: bool,
    /// How its files are compressed. `None` if the state file is unreadable: then no file is
    /// published.
    pub(super) compression: Option<Compression>,
    pub(super) layout: &'a FileLayout,
    /// Where its files appear below `path`; `None` = in `path` itself.
    pub(super) partition: Option<&'a Partition>,
    /// The crash-proof memory, if there is one. It is newer than the state file.
    pub(super) memory: Option<&'a DeadMemory>,
}

impl<'a> Run<'a> {
    fn new(scan: Scan<'a>, recovery: &'a mut Recovery, audience: &'a mut Audience) -> Self {
        let uid = user();
        let untold = Untold::default();
        Run { scan, uid, recovery, audience, journals: Vec::new(), untold }
    }

    /// Deals with one state file. `named` holds the parts of its name.
    fn instance(&mut self, name: &OsStr, named: &Names) -> Result<(), Error> {
        let scan = self.scan;
        let state = scan.temp.join(name);
        let Some(facts) = scan.facts(&state)? else { return Ok(()) };
        if facts.uid != self.uid {
            // Files of other users are ignored.
            return Ok(());
        }
        if !facts.is_file {
            return self.skip(&state, SkipReason::NotOurs);
        }
        let Some(mut file) = scan.open(&state, &facts)? else { return Ok(()) };
        // Check this before the lock: to other recoveries, a lock makes the instance look alive.
        if self.skip_foreign(&state, &read(&mut *file, &state)?, name) {
            return Ok(());
        }
        match scan::lock(&mut *file) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.recovery.alive += 1;
                return Ok(());
            }
            Err(error) if has_no_locks(&error) => return self.skip(&state, SkipReason::NoLocks),
            locked => locked.map_err(|e| Error::io("lock", &state, e))?,
        }
        // The file is ours from here on, unless another recovery was faster and has removed it.
        let Some(facts) = scan.facts(&state)?.filter(|now| now.id == facts.id) else {
            return Ok(());
        };
        match facts.links {
            1 => self.locked(&state, name, named, &mut *file),
            2 if self.is_aside(&state, &facts)? => self.remove(&state),
            _ => self.skip(&state, SkipReason::OtherName),
        }
    }

    /// Deals with a state file whose lock we hold.
    fn locked(
        &mut self,
        state: &Path,
        name: &OsStr,
        named: &Names,
        file: &mut dyn FsFile,
    ) -> Result<(), Error> {
        let decoded = read(file, state)?;
        if self.skip_foreign(state, &decoded, name) {
            return Ok(());
        }
        self.journal_of(named);
        match &decoded {
            Ok(DecodedState { boot_id, header, entries }) => {
                let now = self.scan.fs.boot_id();
                let same_boot = boot_id.is_some() && *boot_id == now;
                let rebooted = boot_id.is_some() && now.is_some() && !same_boot;
                // It was looked at before.
                let partition = partition(&header.layout).ok().flatten();
                let dead = Dead {
                    state,
                    names: &header.names,
                    entries: Some(entries),
                    same_boot,
                    compression: Compression::from_id(header.codec),
                    layout: &header.layout,
                    partition: partition.as_ref(),
                    memory: None,
                };
                match &header.memory {
                    Some(memory) => self.recover_with_memory(dead, memory, rebooted),
                    None => self.recover(&dead),
                }
            }
            Err(why) => {
                let is_short = *why == Unreadable::Short;
                let dead = Dead {
                    state,
                    names: named,
                    entries: None,
                    same_boot: false,
                    compression: None,
                    layout: &FileLayout::default(),
                    partition: None,
                    memory: None,
                };
                self.recover_unknown(&dead, is_short)
            }
        }
    }

    /// Skips an instance that is not for this recovery, dead or alive.
    fn skip_foreign(
        &mut self,
        state: &Path,
        decoded: &Result<DecodedState, Unreadable>,
        name: &OsStr,
    ) -> bool {
        let Some(reason) = self.foreign(decoded, name) else { return false };
        let path = decoded.as_ref().ok().map(|decoded| decoded.header.path.clone());
        let directory = path.filter(|_| reason == SkipReason::OtherPath);
        self.recovery.skipped.push(Skipped { path: state.to_owned(), reason, directory });
        true
    }

    /// Why an instance must be skipped.
    fn foreign(
        &self,
        decoded: &Result<DecodedState, Unreadable>,
        name: &OsStr,
    ) -> Option<SkipReason> {
        match decoded {
            Err(Unreadable::Version(version)) => Some(SkipReason::Version(*version)),
            Err(Unreadable::Codec(number)) => Some(SkipReason::Codec(*number)),
            Ok(decoded) if decoded.header.names.state() != name => Some(SkipReason::OtherInstance),
            Ok(decoded) if !self.scan.is_path(&decoded.header.path) => Some(SkipReason::OtherPath),
            Ok(decoded) if partition(&decoded.header.layout).is_err() => Some(SkipReason::TimeZone),
            _ => None,
        }
    }

    /// Recovers an instance whose state file is whole.
    fn recover(&mut self, dead: &Dead<'_>) -> Result<(), Error> {
        if self.temp_files(dead)? {
            self.end(dead)?;
        }
        Ok(())
    }

    /// Recovers an instance whose state file is whole and whose crash-proof memory is, or was, in
    /// this directory.
    fn recover_with_memory(
        &mut self,
        dead: Dead<'_>,
        location: &MemoryDir,
        rebooted: bool,
    ) -> Result<(), Error> {
        let Scan { fs, without_memory, .. } = self.scan;
        let Some(dir) = self.scan.memory_dir(location)? else {
            return match without_memory && !self.scan.is_dir(&location.path, location.id)? {
                true => self.recover(&dead),
                false => self.skip_memory(&dead, SkipReason::OtherMemory, location),
            };
        };
        let memory = match DeadMemory::open(fs, dir, dead.names, self.uid)? {
            Found::Nothing => {
                // It vanished with the last boot, or the writer was closed. If the directory is
                // another one than the writer's, such as in another container, nobody can tell.
                if without_memory || rebooted || self.scan.is_dir(dir, location.id)? {
                    return self.recover(&dead);
                }
                return self.skip_memory(&dead, SkipReason::MemoryNotFound, location);
            }
            Found::Alive => {
                self.recovery.alive += 1;
                return Ok(());
            }
            Found::Skip(reason) => {
                return self.skip(&dir.join(dead.names.memory()), reason);
            }
            Found::Damaged(path) => {
                self.set_aside(&path)?;
                return self.recover(&dead);
            }
            // It does not belong to the writer of this state file: files of that writer's other
            // workers would be taken for a recovery's.
            Found::Memory(memory) if dead.entries.map(<[_]>::len) != Some(memory.worker()) => {
                self.set_aside(memory.path())?;
                return self.recover(&dead);
            }
            Found::Memory(memory) => memory,
        };
        self.salvage(dead, memory)
    }

    /// Recovers an instance with its crash-proof memory.
    fn salvage(&mut self, dead: Dead<'_>, mut memory: DeadMemory) -> Result<(), Error> {
        let Scan { fs, path, temp, dry_run, .. } = self.scan;
        let partition = dead.partition;
        let entries: Vec<_> = memory.image.entries.iter().copied().map(Some).collect();
        let known =
            Dead { entries: Some(&entries), same_boot: true, memory: Some(&memory), ..dead };
        let all = self.temp_files(&known)?;
        // Do this even if a temp file stays: unfiled records are in no temp file.
        if dry_run {
            let count = memory.count();
            if !count.is_zero() {
                // The encoded length is unknown before the records are encoded.
                let others = dead.layout.header.len() + dead.layout.footer.len();
                let len = count.bytes.saturating_add(others as u64);
                self.published(memory.path().to_owned(), Watermark { len, count, checksum: 0 });
            }
        } else if let Some((visible, good)) = memory.salvage(
            Locations { fs, temp, path, names: dead.names, layout: dead.layout, partition },
            self.audience,
        )? {
            self.published(visible, good);
        }
        if !all {
            // The memory stays, since it says what the remaining temp file holds.
            return Ok(());
        }
        self.recovery.lost = self.recovery.lost.saturating_add(memory.image.lost);
        let overwritten = memory.image.overwritten;
        self.recovery.overwritten = self.recovery.overwritten.saturating_add(overwritten);
        match memory.image.damaged {
            0 if dry_run => {}
            0 => memory.remove(fs)?,
            _ => self.set_aside(memory.path())?,
        }
        self.end(&Dead { entries: Some(&entries), ..dead })
    }

    /// Recovers an instance whose state file is unreadable.
    fn recover_unknown(&mut self, dead: &Dead<'_>, is_short: bool) -> Result<(), Error> {
        let before = self.recovery.set_aside.len();
        if !self.temp_files(dead)? {
            return Ok(());
        }
        if is_short && self.recovery.set_aside.len() == before {
            // It died before it had written its state file, so before it had any temp file.
            return self.end(dead);
        }
        self.remove_probes(dead.names)?;
        self.scan.sync_dir(self.scan.temp)?;
        self.set_aside(dead.state)?;
        self.recovery.instances += 1;
        Ok(())
    }

    /// Ends a recovery: removes the state file once everything else is on the disk.
    fn end(&mut self, dead: &Dead<'_>) -> Result<(), Error> {
        self.remove_probes(dead.names)?;
        self.scan.sync_dir(self.scan.path)?;
        self.sync_partitions(dead)?;
        if self.scan.temp != self.scan.path {
            self.scan.sync_dir(self.scan.temp)?;
        }
        self.audience.synced();
        self.remove(dead.state)?;
        self.recovery.instances += 1;
        Ok(())
    }

    /// Syncs each directory in which a recovery may have published a file of this instance, also one
    /// that was killed.
    fn sync_partitions(&self, dead: &Dead<'_>) -> Result<(), Error> {
        let Scan { fs, path, dry_run, .. } = self.scan;
        let (Some(partition), Some(entries), false) = (dead.partition, dead.entries, dry_run)
        else {
            return Ok(());
        };
        let mut dirs = BTreeSet::new();
        let entries = entries.iter().flatten();
        for temp in entries.filter_map(|entry| entry.temp) {
            dirs.extend(tree::chain(path, &partition.dir(temp.stamp)?));
        }
        dirs.iter().try_for_each(|dir| tree::sync(fs, path, dir))
    }

    /// Removes the empty probe files, if the instance died while it probed its directories. They
    /// lie where their two names say. During a rename in two steps one file has both names.
    fn remove_probes(&self, names: &Names) -> Result<(), Error> {
        for dir in self.scan.dirs() {
            for name in self.scan.list(dir)? {
                if !naming::is_probe(&name, names) {
                    continue;
                }
                let probe = dir.join(name);
                let found = self.scan.facts(&probe)?;
                if found.is_some_and(|found| is_ours(&found, self.uid) && found.len == 0) {
                    self.remove(&probe)?;
                }
            }
        }
        Ok(())
    }

    /// Whether this file also has its aside name.
    pub(super) fn is_aside(&self, file: &Path, facts: &Facts) -> Result<bool, Error> {
        let found = self.scan.facts(&publish::aside(file))?;
        Ok(found.is_some_and(|found| found.id == facts.id))
    }

    /// Counts a file that is visible or, in a dry run, would be.
    pub(super) fn published(&mut self, path: PathBuf, good: Watermark) {
        self.recovery.published.push(path);
        self.recovery.records = self.recovery.records.saturating_add(good.count);
        self.recovery.bytes = self.recovery.bytes.saturating_add(good.len);
    }

    pub(super) fn skip(&mut self, path: &Path, reason: SkipReason) -> Result<(), Error> {
        self.recovery.skipped.push(Skipped { path: path.to_owned(), reason, directory: None });
        Ok(())
    }

    /// Skips an instance whose memory is not at hand.
    fn skip_memory(
        &mut self,
        dead: &Dead<'_>,
        reason: SkipReason,
        location: &MemoryDir,
    ) -> Result<(), Error> {
        let (path, directory) = (dead.state.to_owned(), Some(location.path.clone()));
        self.recovery.skipped.push(Skipped { path, reason, directory });
        Ok(())
    }

    /// Removes a file, which may be gone already.
    pub(super) fn remove(&self, path: &Path) -> Result<(), Error> {
        if self.scan.dry_run {
            return Ok(());
        }
        match self.scan.fs.remove(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("unlink", path, error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn set_aside(&mut self, path: &Path) -> Result<(), Error> {
        if self.scan.dry_run {
            self.recovery.set_aside.push(path.to_owned());
            return Ok(());
        }
        let to = publish::set_aside(self.scan.fs, path)?;
        self.recovery.set_aside.push(to);
        Ok(())
    }
}

/// Where a dead writer's files belong. An error means that its time zone is not known: `decode` has
/// read the rest.
fn partition(layout: &FileLayout) -> Result<Option<Partition>, Unusable> {
    Partition::restored(&layout.partition, &layout.time_zone)
}

fn read(file: &mut dyn FsFile, state: &Path) -> Result<Result<DecodedState, Unreadable>, Error> {
    let bytes = decode::bytes(file).map_err(|e| Error::io("read", state, e))?;
    Ok(decode::read(&bytes))
}
