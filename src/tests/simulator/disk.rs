//! A disk that keeps what is durable apart from what only the running system knows, for files and for names. Faults
//! and crashes can happen at any call. `MemoryFs` is apart from it: there a test says what each call does, here a
//! seed.
//!
//! The model: names change in the order of a journal, of which a power cut keeps a random beginning. It keeps at
//! least what a sync of a directory or, on some seeds, of a file has covered. Of the writes to a file since its
//! last fsync a power cut keeps a random subset of blocks, with zeros for what lies between. A failed fsync drops
//! them, and the next one succeeds. Lengths are cut in the order of the journal too. On some seeds only an fsync of
//! the file makes that durable, and then none fails. With both, no file that met a failed fsync could be kept. A
//! killed process leaves all that the system knows.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::base::sys::Errno;
use bufferedwriter_testkit::random::Random;

use crate::base::sync::lock;
use crate::fs::Facts;
use crate::tests::clock::Clock;
use crate::tests::fs::facts_of;

const ERRORS: [Errno; 7] =
    [Errno::NOSPC, Errno::IO, Errno::ROFS, Errno::ACCESS, Errno::MFILE, Errno::INTR, Errno::DQUOT];
/// A power cut may keep one block of a write and lose the next.
pub(super) const BLOCK: usize = 16;
/// What lies within a sector is written as a whole or not at all, and a kill does not tear what lies within a
/// page. Small, as all sizes here.
pub(super) const SECTOR: usize = 128;

pub(super) fn is_sector(at: usize, len: usize) -> bool {
    len == SECTOR && at.is_multiple_of(SECTOR)
}

/// What ended a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    /// The process is gone, the system goes on.
    Kill,
    /// The system is gone.
    PowerCut,
}

/// The disk; clones share it.
#[derive(Clone)]
pub(super) struct SimFs(pub(super) Arc<Mutex<Disk>>, Clock);

pub(super) struct Disk {
    pub(super) random: Random,
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) durable_names: BTreeMap<PathBuf, usize>,
    /// Directories below that of visible files.
    pub(super) dirs: BTreeSet<PathBuf>,
    durable_dirs: BTreeSet<PathBuf>,
    /// Changes of names that are not durable yet.
    pub(super) journal: Vec<Change>,
    pub(super) nodes: Vec<Node>,
    /// A sync of a file covers the journal, too, as ext4's does.
    pub(super) file_sync_covers_names: bool,
    pub(super) has_direct: bool,
    /// Lengths are not part of the journal, and no fsync fails.
    pub(super) lengths_apart: bool,
    pub(super) boot: u8,
    /// Processes so far: what an earlier one opened is dead.
    pub(super) process: u64,
    pub(super) opened: u64,
    pub(super) calls: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) is_dead: bool,
    /// One call in this number fails. `None` = no call.
    pub(super) fault_every: Option<u64>,
    pub(super) faults: u64,
    pub(super) breaches: Vec<String>,
    /// All calls, if somebody looks into a seed.
    pub(super) log: Option<Vec<String>>,
}

#[derive(Clone)]
pub(super) enum Change {
    Create(PathBuf, usize),
    CreateDir(PathBuf),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    /// The oldest change of this file's length that is not durable.
    Len(usize),
}

#[derive(Clone, Default)]
pub(super) struct Node {
    pub(super) bytes: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Since the last fsync, in order.
    pub(super) dirty: Vec<Dirty>,
    /// Which opening of the file has its lock.
    pub(super) lock: Option<u64>,
}

#[derive(Clone)]
pub(super) enum Dirty {
    Write(usize, Vec<u8>),
    Len(usize),
}

impl SimFs {
    pub(super) fn new(seed: u64, clock: Clock, is_logged: bool) -> Self {
        let mut random = Random::new(seed);
        let (file_sync_covers_names, has_direct) = (random.one_in(2), random.one_in(2));
        let lengths_apart = random.one_in(3);
        SimFs(
            Arc::new(Mutex::new(Disk {
                random,
                names: BTreeMap::new(),
                durable_names: BTreeMap::new(),
                dirs: BTreeSet::new(),
                durable_dirs: BTreeSet::new(),
                journal: Vec::new(),
                nodes: Vec::new(),
                file_sync_covers_names,
                has_direct,
                lengths_apart,
                boot: 1,
                process: 0,
                opened: 0,
                calls: 0,
                crash_at: None,
                is_dead: false,
                fault_every: None,
                faults: 0,
                breaches: Vec::new(),
                log: is_logged.then(Vec::new),
            })),
            clock,
        )
    }

    /// From now on one call in `fault_every` fails, and the process dies in the middle of the `crash_in`th.
    pub(super) fn plan(&self, fault_every: Option<u64>, crash_in: Option<u64>) {
        let mut disk = lock(&self.0);
        disk.fault_every = fault_every;
        disk.crash_at = crash_in.map(|calls| disk.calls + calls);
    }

    pub(super) fn is_dead(&self) -> bool {
        lock(&self.0).is_dead
    }

    /// Calls so far, faults among them.
    pub(super) fn calls(&self) -> (u64, u64) {
        let disk = lock(&self.0);
        (disk.calls, disk.faults)
    }

    /// The last calls before something went wrong.
    pub(super) fn log(&self) -> String {
        let disk = lock(&self.0);
        let log = disk.log.as_deref().unwrap_or_default();
        log[log.len().saturating_sub(60)..].join("\n")
    }

    pub(super) fn breaches(&self) -> Vec<String> {
        lock(&self.0).breaches.clone()
    }

    /// The process is gone, and maybe the system: a new one begins, on a disk without faults.
    pub(super) fn restart(&self, crash: Crash) {
        let mut disk = lock(&self.0);
        disk.process += 1;
        disk.note(|| format!("restart after {crash:?}"));
        disk.is_dead = false;
        (disk.crash_at, disk.fault_every) = (None, None);
        disk.nodes.iter_mut().for_each(|node| node.lock = None);
        if crash == Crash::PowerCut {
            disk.cut_power();
        }
    }

    /// Paths and contents of the files in a directory and below it, from there on.
    pub(super) fn contents(&self, dir: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let disk = lock(&self.0);
        let content = |(path, node): (&PathBuf, &usize)| {
            Some((path.strip_prefix(dir).ok()?.to_owned(), disk.nodes[*node].bytes.clone()))
        };
        disk.names.iter().filter_map(content).collect()
    }

    pub(super) fn call<T>(
        &self,
        what: &str,
        path: &Path,
        process: Option<u64>,
        act: impl FnOnce(&mut Disk, Chance) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut disk = lock(&self.0);
        let gone = || Err(Errno::IO.into());
        if disk.is_dead || process.is_some_and(|process| process != disk.process) {
            return gone();
        }
        disk.calls += 1;
        disk.note(|| format!("{what} {}", path.display()));
        if disk.crash_at.is_some_and(|at| at <= disk.calls) {
            // Nothing of it was done, some of it, or all, and nobody hears of it.
            let part = disk.random.below(3);
            disk.note(|| format!("  crash {part}"));
            if part > 0 {
                let chance = if part == 1 { Chance::Part } else { Chance::Whole };
                let _ = act(&mut disk, chance);
            }
            disk.is_dead = true;
            return gone();
        }
        let disk = &mut *disk;
        match disk.fault_every {
            Some(every) if disk.random.one_in(every) => {
                disk.faults += 1;
                disk.note(|| "  fault".into());
                let slow = Duration::from_micros(disk.random.below(300_000));
                match disk.random.below(8) {
                    0 => self.1.advance(slow),
                    1 => return act(disk, Chance::Part),
                    _ => {
                        let errno = disk.random.pick(&ERRORS);
                        return act(disk, Chance::Fails(errno));
                    }
                }
                act(disk, Chance::Whole)
            }
            _ => act(disk, Chance::Whole),
        }
    }

    pub(super) fn plain<T>(
        &self,
        what: &str,
        path: &Path,
        act: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        self.call(what, path, None, |disk, chance| match chance {
            Chance::Fails(errno) => Err(errno.into()),
            _ => act(disk),
        })
    }
}

/// What a call comes to.
#[derive(Clone, Copy)]
pub(super) enum Chance {
    Whole,
    /// Of a write, some bytes; all else as a whole.
    Part,
    Fails(Errno),
}

impl Disk {
    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(line());
        }
    }

    fn cut_power(&mut self) {
        self.boot += 1;
        let kept = self.random.below(self.journal.len() + 1);
        self.journal.truncate(kept);
        self.sync_names();
        self.names.clone_from(&self.durable_names);
        self.dirs.clone_from(&self.durable_dirs);
        for node in &mut self.nodes {
            let mut bytes = std::mem::take(&mut node.durable);
            for dirty in std::mem::take(&mut node.dirty) {
                dirty.survive(&mut bytes, &mut self.random);
            }
            node.durable.clone_from(&bytes);
            node.bytes = bytes;
        }
    }

    pub(super) fn sync_names(&mut self) {
        for change in std::mem::take(&mut self.journal) {
            match change {
                Change::Len(node) => self.nodes[node].keep_len(),
                Change::CreateDir(dir) => drop(self.durable_dirs.insert(dir)),
                change => apply(&mut self.durable_names, &change),
            }
        }
    }

    pub(super) fn change(&mut self, change: Change) {
        match &change {
            Change::CreateDir(dir) => drop(self.dirs.insert(dir.clone())),
            change => apply(&mut self.names, change),
        }
        self.journal.push(change);
    }

    /// Whether this is a directory: those of the writer are always there.
    pub(super) fn has_dir(&self, dir: Option<&Path>) -> bool {
        dir.is_some_and(|dir| dir.components().count() == 2 || self.dirs.contains(dir))
    }

    pub(super) fn facts(&self, node: usize) -> Facts {
        facts_of(self.nodes[node].bytes.len(), node)
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &Change) {
    match change {
        Change::Create(path, node) => {
            names.insert(path.clone(), *node);
        }
        Change::Remove(path) => {
            names.remove(path);
        }
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
        Change::CreateDir(_) | Change::Len(_) => {}
    }
}

impl Node {
    /// The oldest change of the length is durable: whatever was written before it ends there.
    fn keep_len(&mut self) {
        let is_len = |dirty: &Dirty| matches!(dirty, Dirty::Len(_));
        let Some(at) = self.dirty.iter().position(is_len) else { return };
        let Dirty::Len(len) = self.dirty.remove(at) else { return };
        self.durable.truncate(len);
        for dirty in &mut self.dirty[..at] {
            if let Dirty::Write(begin, data) = dirty {
                data.truncate(len.saturating_sub(*begin));
            }
        }
    }
}

impl Dirty {
    pub(super) fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Dirty::Len(len) => bytes.resize(len, 0),
            Dirty::Write(at, data) => {
                bytes.resize(bytes.len().max(at + data.len()), 0);
                bytes[at..at + data.len()].copy_from_slice(&data);
            }
        }
    }

    /// What is left of it after a power cut.
    fn survive(self, bytes: &mut Vec<u8>, random: &mut Random) {
        match self {
            Dirty::Len(_) => {}
            Dirty::Write(_, data) if data.is_empty() => {}
            Dirty::Write(at, data) => {
                let fate = random.below(4);
                if fate == 0 {
                    return;
                }
                // The length may be known though the data are not there.
                bytes.resize(bytes.len().max(at + data.len()), 0);
                for (i, block) in data.chunks(BLOCK).enumerate() {
                    if fate == 1 && !is_sector(at, data.len()) && random.one_in(2) {
                        continue;
                    }
                    bytes[at + i * BLOCK..][..block.len()].copy_from_slice(block);
                }
            }
        }
    }
}
