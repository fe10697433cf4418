//! For tests: a file system in memory that fails as the test wants, with a clock of the test's.
//!
//! Guarantees: creation is exclusive, and a rename replaces nothing. A failed fsync takes with it what it did not
//! force to the disk. Direct I/O wants blocks. Notes each breach of what no writer may do: it must not touch a
//! visible file again, nor publish an empty one. If told to sync, it must publish none that is not synced.
//!
//! The simulator's disk is another one. It keeps what is durable apart, for power cuts, while this one does what
//! the test says, call by call.

mod disk;
mod faults;
mod file;

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bufferedwriter_testkit::dir::names_in;

use super::hooked::{Op, is_temp};
use crate::base::sync::lock;
use crate::config::{Compression, Envelope};
use crate::fs::{Facts, Fs, FsFile};
use crate::tests::clock::Clock;
use crate::tests::codec::{records, records_start};
use crate::tests::fs::dir_facts;
use disk::Disk;
use file::MemoryFile;

pub(crate) use faults::{DiskFault, FaultPlan, Planned};

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

impl MemoryFs {
    pub(crate) fn new(clock: Clock, path: &str, crossing: bool, durable: bool) -> Self {
        let path = PathBuf::from(path);
        let (disk, hook, meanwhile) = (Mutex::default(), Mutex::default(), Mutex::default());
        MemoryFs(Arc::new(Shared { disk, hook, meanwhile, clock, path, crossing, durable }))
    }

    /// These faults, and no others that were planned before.
    pub(crate) fn plan(&self, planned: &[Planned]) {
        lock(&self.0.disk).faults.plan_by_number(planned);
    }

    /// The operations that met a planned fault so far.
    pub(crate) fn met(&self) -> Vec<Op> {
        lock(&self.0.disk).faults.met.clone()
    }

    /// Does this whenever a call is slow, while it is.
    pub(crate) fn meanwhile(&self, others: Option<Box<dyn FnMut() + Send>>) {
        *lock(&self.0.meanwhile) = others;
    }

    /// From now on calls fail like this, and no more in another way.
    pub(crate) fn fail(&self, plan: Option<FaultPlan>) {
        lock(&self.0.disk).faults.plan = plan;
    }

    /// From now on there is no free space, or much.
    pub(crate) fn set_short(&self, short: bool) {
        lock(&self.0.disk).is_short = short;
    }

    pub(crate) fn is_healthy(&self) -> bool {
        lock(&self.0.disk).faults.plan.is_none()
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
        lock(&self.0.disk).steal(temp);
    }

    /// Number of calls, and of those that met a fault.
    pub(crate) fn calls(&self) -> (u64, u64) {
        let faults = &lock(&self.0.disk).faults;
        (faults.calls, faults.fired)
    }

    /// How the files hold the records that are asked for.
    pub(crate) fn set_format(&self, codec: Compression, envelope: Arc<Envelope>) {
        let mut disk = lock(&self.0.disk);
        (disk.codec, disk.envelope) = (codec, envelope);
    }

    /// Records of the files that became visible since the last call.
    pub(crate) fn appeared(&self) -> Vec<Vec<u8>> {
        self.appeared_in().into_iter().map(|(_, records)| records).collect()
    }

    /// The same, each with the directory of its file.
    pub(crate) fn appeared_in(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut disk = lock(&self.0.disk);
        let files = std::mem::take(&mut disk.appeared);
        let records = |file| records(disk.codec, &disk.envelope, file);
        files.into_iter().map(|(dir, file)| (dir, records(file))).collect()
    }

    /// Records of stolen files that their writer gave up since the last call. A half of a write, or the
    /// footer, may follow them.
    pub(crate) fn vanished(&self) -> Vec<Vec<u8>> {
        let mut disk = lock(&self.0.disk);
        let files = std::mem::take(&mut disk.vanished);
        let header = &disk.envelope.header;
        files.into_iter().map(|file| records_start(disk.codec, header, file)).collect()
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

    /// The contents of a file.
    pub(crate) fn read(&self, path: &Path) -> Vec<u8> {
        let disk = lock(&self.0.disk);
        disk.names.get(path).map_or(Vec::new(), |&node| disk.nodes[node].bytes.clone())
    }

    /// Files that are not visible.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let disk = lock(&self.0.disk);
        let hidden = disk.names.iter().filter(|&(_, &node)| !disk.nodes[node].visible);
        hidden.map(|(path, _)| path.clone()).collect()
    }

    fn file(&self, path: &Path, node: usize) -> Box<dyn FsFile> {
        let (fs, path) = (self.clone(), path.to_owned());
        Box::new(MemoryFile { fs, path, node, is_direct: false })
    }

    fn call<T>(
        &self,
        op: Op,
        temp: bool,
        bytes: usize,
        act: impl FnOnce(&mut Disk, Option<DiskFault>) -> io::Result<T>,
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
        let fault = disk.faults.meet(op, temp, bytes);
        if let Some(DiskFault::Slow(time)) = fault {
            drop(disk);
            self.0.clock.advance(time);
            lock(&self.0.meanwhile).iter_mut().for_each(|others| others());
            disk = lock(&self.0.disk);
        }
        let result = match fault {
            Some(DiskFault::Error(errno, _)) if op != Op::Write && op != Op::Sync => {
                Err(errno.into())
            }
            Some(DiskFault::DoneBut(errno)) => act(&mut disk, None).and(Err(errno.into())),
            _ => act(&mut disk, fault),
        };
        drop(disk);
        if let Some(hook) = after {
            hook();
        }
        result
    }
}

impl Fs for MemoryFs {
    fn create(&self, path: &Path, _mode: u32) -> io::Result<Box<dyn FsFile>> {
        let node = self.call(Op::Create, is_temp(path), 0, |disk, _| disk.create(path))?;
        Ok(self.file(path, node))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Op::Rename, is_temp(from), 0, |disk, _| disk.rename(&self.0, from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Op::Remove, is_temp(path), 0, |disk, _| disk.remove(path))
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
        Ok(self.file(path, node))
    }

    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        self.call(Op::Facts, is_temp(path), 0, |disk, _| {
            if let Some(&node) = disk.stolen.get(path) {
                disk.nodes[node].missed = true;
            }
            let dir = disk.dirs.contains(path).then(|| dir_facts(0));
            Ok(disk.names.get(path).map(|&node| disk.facts(node)).or(dir))
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.call(Op::List, true, 0, |disk, _| {
            Ok(names_in(dir, disk.names.keys().chain(&disk.dirs)))
        })
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        self.call(Op::FreeBytes, true, 0, |disk, _| Ok(if disk.is_short { 0 } else { u64::MAX }))
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        Some([7; 16])
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(Op::SyncDir, true, 0, |disk, _| {
            disk.sync_dir(dir);
            Ok(())
        })
    }

    fn create_dir(&self, dir: &Path, _mode: u32) -> io::Result<()> {
        self.call(Op::CreateDir, true, 0, |disk, _| disk.create_dir(&self.0, dir))
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn canonicalize(&self, dir: &Path) -> io::Result<PathBuf> {
        Ok(dir.to_owned())
    }
}
