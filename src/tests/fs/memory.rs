//! For tests: a file system in memory that fails as the test wants, with a clock of the test's.
//!
//! Guarantees: creation is exclusive, a rename replaces nothing, a failed fsync takes with it what it
//! did not force to the disk; direct I/O wants blocks. Checkpoint each breach of what no writer may do: to touch a visible file
//! again, to publish an empty one or, if told to sync, one that is not synced.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::base::sync::lock;
use crate::config::Codec;
use crate::fs::{Facts, Fs, FsFile};
use crate::tests::codec::decode;
use crate::tests::fs::faulty::{Op, is_temp};

/// More than a test makes, unless somebody calls in a circle.
const CALLS_MAX: u64 = 20_000;
/// Of direct I/O; small, so that records of a few bytes cross it.
const BLOCK: usize = 16;

/// A clock that goes when it is told to.
#[derive(Clone)]
pub(crate) struct Clock {
    began: Instant,
    passed: Arc<AtomicU64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Clock { began: Instant::now(), passed: Arc::default() }
    }

    pub(crate) fn now(&self) -> Instant {
        self.began + self.passed()
    }

    /// Since the clock was made.
    pub(crate) fn passed(&self) -> Duration {
        Duration::from_nanos(self.passed.load(SeqCst))
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.passed.fetch_add(time.as_nanos() as u64, SeqCst);
    }
}

/// What happens to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// This error; a write has written so many bytes before it.
    Error(Errno, usize),
    /// At most so many bytes are written.
    Short(usize),
    /// There is room for so many bytes; then writes fail with this error.
    Full(Errno, usize),
    /// It is done, and then this error is returned, as when an answer is lost.
    DoneBut(Errno),
    /// It takes so long.
    Slow(Duration),
}

/// Which calls meet a fault.
#[derive(Clone, Debug)]
pub(crate) struct FaultPlan {
    /// Only calls of this operation, on temp files; none = all calls.
    pub(crate) op: Option<Op>,
    pub(crate) fault: Fault,
    /// So many calls go well before.
    pub(crate) after: u32,
    /// So many calls meet it; none = all, until somebody heals the disk.
    pub(crate) times: Option<u32>,
}

/// A fault of the n-th call of all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    /// Counted from 1.
    pub(crate) nth: u64,
    pub(crate) fault: Fault,
    /// Each later call of that operation meets it too, until the plan is given up.
    pub(crate) sticky: bool,
}

/// What is done in the middle of a call.
type Hook = Box<dyn FnOnce() + Send>;

/// The file system. Clones share it.
#[derive(Clone)]
pub(crate) struct MemoryFs(Arc<Shared>);

struct Shared {
    disk: Mutex<Disk>,
    hook: Mutex<Option<(bool, Hook)>>,
    /// What others do while a call is slow.
    meanwhile: Mutex<Option<Box<dyn FnMut() + Send>>>,
    clock: Clock,
    /// Directory in which files are visible.
    path: PathBuf,
    /// Each directory is a file system of its own.
    crossing: bool,
    /// What is visible must be synced.
    durable: bool,
}

#[derive(Default)]
struct Disk {
    names: BTreeMap<PathBuf, usize>,
    nodes: Vec<Node>,
    /// Names of files that somebody removed while they were written.
    stolen: BTreeMap<PathBuf, usize>,
    plan: Option<FaultPlan>,
    /// Nothing is free, as `free_bytes` says; writes find room all the same.
    is_short: bool,
    /// Retry, and for a sticky one its operation once it was met.
    planned: Vec<(Planned, Option<Op>)>,
    /// Operations that met one of them.
    met: Vec<Op>,
    /// Files that ever became visible, and how many of them by the last sync of the directory.
    visible: u64,
    settled: u64,
    calls: u64,
    fired: u64,
    /// That of the files.
    codec: Codec,
    /// What became visible since somebody asked.
    appeared: Vec<Vec<u8>>,
    /// What was in stolen files that their writer could not publish, since somebody asked.
    vanished: Vec<Vec<u8>>,
    breaches: Vec<String>,
}

#[derive(Default)]
struct Node {
    bytes: Vec<u8>,
    /// So many bytes survive a failed fsync.
    synced: usize,
    visible: bool,
    /// Its writer was told that it is not there.
    missed: bool,
}

impl Node {
    fn facts(&self, node: usize) -> Facts {
        let len = self.bytes.len() as u64;
        let uid = rustix::process::geteuid().as_raw();
        Facts {
            is_file: true,
            len,
            allocated: len,
            uid,
            mode: 0o600,
            links: 1,
            id: (0, node as u64),
        }
    }
}

impl MemoryFs {
    pub(crate) fn new(clock: Clock, path: &str, crossing: bool, durable: bool) -> Self {
        let path = PathBuf::from(path);
        let (disk, hook, meanwhile) = (Mutex::default(), Mutex::default(), Mutex::default());
        MemoryFs(Arc::new(Shared { disk, hook, meanwhile, clock, path, crossing, durable }))
    }

    /// These faults, and no others that were planned before.
    pub(crate) fn plan(&self, planned: &[Planned]) {
        lock(&self.0.disk).planned = planned.iter().map(|&planned| (planned, None)).collect();
    }

    /// The operations that met a planned fault so far.
    pub(crate) fn met(&self) -> Vec<Op> {
        lock(&self.0.disk).met.clone()
    }

    /// Does this whenever a call is slow, while it is.
    pub(crate) fn meanwhile(&self, others: Option<Box<dyn FnMut() + Send>>) {
        *lock(&self.0.meanwhile) = others;
    }

    /// From now on calls fail like this, and no more in another way.
    pub(crate) fn fail(&self, plan: Option<FaultPlan>) {
        lock(&self.0.disk).plan = plan;
    }

    /// From now on there is no free space, or much.
    pub(crate) fn set_short(&self, short: bool) {
        lock(&self.0.disk).is_short = short;
    }

    pub(crate) fn is_healthy(&self) -> bool {
        lock(&self.0.disk).plan.is_none()
    }

    /// Does this in the middle of the next call: before it has its effect, or after.
    pub(crate) fn amid(&self, after: bool, hook: Hook) {
        *lock(&self.0.hook) = Some((after, hook));
    }

    /// What is still to be done in the middle of a call.
    pub(crate) fn take_hook(&self) -> Option<Hook> {
        lock(&self.0.hook).take().map(|(_, hook)| hook)
    }

    /// Removes a temp file, as somebody might who tidies up.
    pub(crate) fn steal(&self, temp: &Path) {
        let mut disk = lock(&self.0.disk);
        if let Some(node) = disk.names.remove(temp) {
            disk.stolen.insert(temp.to_owned(), node);
        }
    }

    /// Number of calls, and of those that met a fault.
    pub(crate) fn calls(&self) -> (u64, u64) {
        let disk = lock(&self.0.disk);
        (disk.calls, disk.fired)
    }

    /// The codec of the files, whose records are asked for.
    pub(crate) fn set_codec(&self, codec: Codec) {
        lock(&self.0.disk).codec = codec;
    }

    /// Records of the files that became visible since the last call.
    pub(crate) fn appeared(&self) -> Vec<Vec<u8>> {
        self.decoded(|disk| &mut disk.appeared)
    }

    /// Records of stolen files that their writer gave up since the last call.
    pub(crate) fn vanished(&self) -> Vec<Vec<u8>> {
        self.decoded(|disk| &mut disk.vanished)
    }

    fn decoded(&self, files: impl Fn(&mut Disk) -> &mut Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut disk = lock(&self.0.disk);
        let files = std::mem::take(files(&mut disk));
        files.into_iter().map(|file| decode(disk.codec, file)).collect()
    }

    /// What was done and must not be.
    pub(crate) fn breaches(&self) -> Vec<String> {
        lock(&self.0.disk).breaches.clone()
    }

    /// How many of the visible files, in the order of their appearance, nobody need sync the directory
    /// for any more.
    pub(crate) fn settled(&self) -> u64 {
        let disk = lock(&self.0.disk);
        if self.0.durable { disk.settled } else { disk.visible }
    }

    /// Files that are not visible.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let disk = lock(&self.0.disk);
        let hidden = disk.names.iter().filter(|&(_, &node)| !disk.nodes[node].visible);
        hidden.map(|(path, _)| path.clone()).collect()
    }

    fn call<T>(
        &self,
        op: Op,
        temp: bool,
        bytes: usize,
        act: impl FnOnce(&mut Disk, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        let after = match lock(&self.0.hook).take() {
            Some((true, hook)) => Some(hook),
            Some((false, hook)) => {
                hook();
                None
            }
            None => None,
        };
        let mut disk = lock(&self.0.disk);
        let fault = disk.fault(op, temp, bytes);
        if let Some(Fault::Slow(time)) = fault {
            drop(disk);
            self.0.clock.advance(time);
            lock(&self.0.meanwhile).iter_mut().for_each(|others| others());
            disk = lock(&self.0.disk);
        }
        let result = match fault {
            Some(Fault::Error(errno, _)) if op != Op::Write && op != Op::Sync => Err(errno.into()),
            Some(Fault::DoneBut(errno)) => act(&mut disk, None).and(Err(errno.into())),
            _ => act(&mut disk, fault),
        };
        drop(disk);
        if let Some(hook) = after {
            hook();
        }
        result
    }
}

impl Disk {
    fn fault(&mut self, op: Op, temp: bool, bytes: usize) -> Option<Fault> {
        self.calls += 1;
        assert!(self.calls < CALLS_MAX, "{op:?} again and again, without end");
        let calls = self.calls;
        let meets = |(planned, stuck): &&mut (Planned, Option<Op>)| {
            planned.nth == calls || *stuck == Some(op)
        };
        if let Some((planned, stuck)) = self.planned.iter_mut().find(meets) {
            *stuck = planned.sticky.then_some(op);
            self.met.push(op);
            return Some(planned.fault);
        }
        let plan = self.plan.as_mut()?;
        if plan.op.is_some_and(|wanted| wanted != op || !temp) {
            return None;
        }
        if plan.after > 0 {
            plan.after -= 1;
            return None;
        }
        let mut fault = plan.fault;
        if let Fault::Full(errno, room) = &mut plan.fault {
            let written = bytes.min(*room);
            let full = *room == 0 || op != Op::Write;
            fault = if full { Fault::Error(*errno, 0) } else { Fault::Short(written) };
            *room -= written;
        }
        self.fired += 1;
        if let Some(times) = &mut plan.times {
            *times -= 1;
            if *times == 0 {
                self.plan = None;
            }
        }
        Some(fault)
    }

    fn breach(&mut self, what: &str, path: &Path) {
        self.breaches.push(format!("{what}: {}", path.display()));
    }

    fn rename(&mut self, shared: &Shared, from: &Path, to: &Path) -> io::Result<()> {
        let Some(&node) = self.names.get(from) else {
            return Err(ErrorKind::NotFound.into());
        };
        if shared.crossing && from.parent() != to.parent() {
            return Err(ErrorKind::CrossesDevices.into());
        }
        if self.names.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if self.nodes[node].visible {
            self.breach("a visible file was renamed", from);
        }
        self.names.remove(from);
        self.names.insert(to.to_owned(), node);
        if to.parent() != Some(&shared.path) || is_hidden(to) {
            return Ok(());
        }
        let Node { bytes, synced, visible, .. } = &mut self.nodes[node];
        *visible = true;
        self.visible += 1;
        let (empty, unsynced) = (bytes.is_empty(), *synced < bytes.len());
        self.appeared.push(bytes.clone());
        if empty {
            self.breach("published empty", to);
        }
        if shared.durable && unsynced {
            self.breach("published before it was synced", to);
        }
        Ok(())
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

impl Fs for MemoryFs {
    fn create(&self, path: &Path, _mode: u32) -> io::Result<Box<dyn FsFile>> {
        let node = self.call(Op::Create, is_temp(path), 0, |disk, _| {
            if disk.names.contains_key(path) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            if !is_hidden(path) {
                disk.breach("created in sight", path);
            }
            disk.nodes.push(Node::default());
            disk.names.insert(path.to_owned(), disk.nodes.len() - 1);
            Ok(disk.nodes.len() - 1)
        })?;
        Ok(Box::new(CrashMapping {
            fs: self.clone(),
            path: path.to_owned(),
            node,
            is_direct: false,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Op::Rename, is_temp(from), 0, |disk, _| disk.rename(&self.0, from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Op::Remove, is_temp(path), 0, |disk, _| {
            let node = disk.names.remove(path).ok_or(ErrorKind::NotFound)?;
            if disk.nodes[node].visible {
                disk.breach("a visible file was removed", path);
            }
            Ok(())
        })
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.call(Op::Exists, true, 0, |disk, _| {
            if let Some(&node) = disk.stolen.get(path) {
                disk.nodes[node].missed = true;
            }
            Ok(disk.names.contains_key(path))
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let node = self.call(Op::Open, is_temp(path), 0, |disk, _| {
            disk.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
        })?;
        Ok(Box::new(CrashMapping {
            fs: self.clone(),
            path: path.to_owned(),
            node,
            is_direct: false,
        }))
    }

    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        self.call(Op::Facts, is_temp(path), 0, |disk, _| {
            Ok(disk.names.get(path).map(|&node| disk.nodes[node].facts(node)))
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.call(Op::List, true, 0, |disk, _| {
            let below = disk.names.keys().filter(|path| path.parent() == Some(dir));
            Ok(below.filter_map(|path| path.file_name()).map(OsString::from).collect())
        })
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        self.call(Op::FreeBytes, true, 0, |disk, _| Ok(if disk.is_short { 0 } else { u64::MAX }))
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        Some([7; 16])
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        self.call(Op::SyncDir, true, 0, |disk, _| {
            disk.settled = disk.visible;
            Ok(())
        })
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn canonicalize(&self, dir: &Path) -> io::Result<PathBuf> {
        Ok(dir.to_owned())
    }
}

/// An open file. Nobody else ever opens it, so its lock is always free.
struct CrashMapping {
    fs: MemoryFs,
    path: PathBuf,
    node: usize,
    is_direct: bool,
}

impl CrashMapping {
    fn call<T>(
        &self,
        op: Op,
        bytes: usize,
        act: impl FnOnce(&mut Node, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.fs.call(op, is_temp(&self.path), bytes, |disk, fault| {
            if disk.nodes[self.node].visible {
                disk.breach(&format!("{op:?} of a visible file"), &self.path);
            }
            act(&mut disk.nodes[self.node], fault)
        })
    }
}

impl FsFile for CrashMapping {
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let asked: usize = slices.iter().map(|slice| slice.len()).sum();
        let aligned = |at: usize| at.is_multiple_of(BLOCK);
        if self.is_direct && !(aligned(asked) && aligned(offset as usize) && slices.len() == 1) {
            return Err(Errno::INVAL.into());
        }
        self.call(Op::Write, asked, |node, fault| {
            let (len, error) = match fault {
                Some(Fault::Error(errno, torn)) => (torn.min(asked), Some(errno)),
                Some(Fault::Short(len)) => (len.min(asked), None),
                _ => (asked, None),
            };
            let (from, to) = (offset as usize, offset as usize + len);
            node.bytes.resize(node.bytes.len().max(to), 0);
            // What is written over with the same bytes, as direct I/O does, is as safe as before.
            let mut at = from;
            for slice in slices {
                let part = &slice[..slice.len().min(to - at)];
                let there = &mut node.bytes[at..at + part.len()];
                if let Some(i) = there.iter().zip(part).position(|(old, new)| old != new) {
                    node.synced = node.synced.min(at + i);
                    there.copy_from_slice(part);
                }
                at += part.len();
            }
            if self.is_direct && error == Some(Errno::IO) {
                // The block that could not be written holds nothing any more.
                let block = to.min(node.bytes.len())..(from + BLOCK).min(node.bytes.len());
                node.synced = node.synced.min(block.start);
                node.bytes[block.start..block.end.max(block.start)].fill(0);
            }
            node.synced = node.synced.min(node.bytes.len());
            error.map_or(Ok(len), |errno| Err(errno.into()))
        })
    }

    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fs.call(Op::Read, is_temp(&self.path), 0, |disk, _| {
            let all = &disk.nodes[self.node].bytes;
            let there = &all[all.len().min(offset as usize)..];
            let len = there.len().min(bytes.len());
            bytes[..len].copy_from_slice(&there[..len]);
            Ok(len)
        })
    }

    fn facts(&self) -> io::Result<Facts> {
        let disk = lock(&self.fs.0.disk);
        Ok(disk.nodes[self.node].facts(self.node))
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.call(Op::SetLen, 0, |node, _| {
            node.bytes.resize(len as usize, 0);
            node.synced = node.synced.min(node.bytes.len());
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.call(Op::Sync, 0, |node, fault| {
            if let Some(Fault::Error(errno, _)) = fault {
                // The system drops what it could not write, and says so only once.
                node.bytes[node.synced..].fill(0);
                return Err(errno.into());
            }
            node.synced = node.bytes.len();
            Ok(())
        })
    }

    fn try_lock(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn go_direct(&mut self) -> io::Result<usize> {
        self.is_direct = true;
        Ok(BLOCK)
    }

    fn go_buffered(&mut self) -> io::Result<()> {
        self.is_direct = false;
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Box<dyn FsFile>> {
        let CrashMapping { fs, path, node, is_direct } = self;
        let (fs, path, node, is_direct) = (fs.clone(), path.clone(), *node, *is_direct);
        Ok(Box::new(CrashMapping { fs, path, node, is_direct }))
    }
}

impl Drop for CrashMapping {
    fn drop(&mut self) {
        let mut disk = lock(&self.fs.0.disk);
        if disk.nodes[self.node].missed {
            let bytes = std::mem::take(&mut disk.nodes[self.node].bytes);
            disk.vanished.push(bytes);
        }
    }
}
