//! For unit tests: a file system whose k-th call of an operation fails.
//!
//! Guarantees: a planned fault happens exactly once; every other call is the real one.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use crate::fs::real::RealFs;
use crate::fs::{Facts, Fs, FsFile};

/// The calls of [`Fs`] and [`FsFile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Rename,
    Remove,
    Exists,
    Open,
    Facts,
    List,
    FreeBytes,
    Read,
    SyncDir,
    CreateDir,
    Canonicalize,
    Write,
    SetLen,
    Sync,
    Lock,
    Clone,
}

/// What happens instead of the call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// This error; nothing is done.
    Error(Errno),
    /// At most so many bytes are written.
    Short(usize),
    /// It is done, and then this error is returned, as when an answer is lost.
    DoneBut(Errno),
    /// `exists` says no, `facts` nothing.
    Absent,
}

#[derive(Default)]
struct Plan {
    calls: Vec<Op>,
    /// (operation, number of the call counted from 1, fault)
    faults: Vec<(Op, usize, Fault)>,
    /// From this call on, of whatever operation; only that one, or all.
    any: Option<(usize, bool, Fault)>,
    /// Writes to temp files, and faults of those alone, by number.
    appends: usize,
    append_faults: Vec<(usize, Fault)>,
}

/// The real file system with planned faults. Clones share the plan.
#[derive(Clone, Default)]
pub(crate) struct Faulty(Arc<Mutex<Plan>>);

impl Faulty {
    /// Plans a fault for the `nth` call of an operation from now on, counted from 1.
    pub(crate) fn plan(&self, op: Op, nth: usize, fault: Fault) {
        let nth = self.calls(op) + nth;
        self.0.lock().unwrap().faults.push((op, nth, fault));
    }

    /// Plans a fault for the `nth` call from now on, of whatever operation, counted from 1; with `sticky`
    /// also for all that come after it.
    pub(crate) fn plan_any(&self, nth: usize, sticky: bool, fault: Fault) {
        let mut plan = self.0.lock().unwrap();
        plan.any = Some((plan.calls.len() + nth, sticky, fault));
    }

    /// The calls so far.
    pub(crate) fn all_calls(&self) -> Vec<Op> {
        self.0.lock().unwrap().calls.clone()
    }

    /// How often an operation was called.
    pub(crate) fn calls(&self, op: Op) -> usize {
        self.0.lock().unwrap().calls.iter().filter(|&&o| o == op).count()
    }

    /// Plans a fault for the `nth` write to a temp file from now on, counted from 1.
    pub(crate) fn plan_append(&self, nth: usize, fault: Fault) {
        let mut plan = self.0.lock().unwrap();
        let nth = plan.appends + nth;
        plan.append_faults.push((nth, fault));
    }

    /// How often a temp file was written to: without the checkpoint in the state file, which are writes too.
    pub(crate) fn appends(&self) -> usize {
        self.0.lock().unwrap().appends
    }

    fn append_fault(&self) -> Option<Fault> {
        let mut plan = self.0.lock().unwrap();
        plan.appends += 1;
        plan.append_faults.iter().find(|fault| fault.0 == plan.appends).map(|fault| fault.1)
    }

    fn fault(&self, op: Op) -> Option<Fault> {
        self.0.lock().unwrap().calls.push(op);
        let nth = self.calls(op);
        let plan = self.0.lock().unwrap();
        let at = plan.calls.len();
        if let Some((from, sticky, fault)) = plan.any
            && (at == from || sticky && at > from)
        {
            return Some(fault);
        }
        plan.faults.iter().find(|f| f.0 == op && f.1 == nth).map(|f| f.2)
    }

    fn call<T>(&self, op: Op, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.fault(op) {
            Some(Fault::Error(errno)) => Err(errno.into()),
            Some(Fault::DoneBut(errno)) => call().and(Err(errno.into())),
            _ => call(),
        }
    }

    fn wrap(&self, file: Box<dyn FsFile>, is_temp: bool) -> Box<dyn FsFile> {
        Box::new(FaultyFile { fs: self.clone(), file, is_temp, block: 1 })
    }
}

impl Fs for Faulty {
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn FsFile>> {
        self.call(Op::Create, || RealFs.create(path, mode))
            .map(|file| self.wrap(file, is_temp(path)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Op::Rename, || RealFs.rename(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Op::Remove, || RealFs.remove(path))
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.fault(Op::Exists) {
            Some(Fault::Absent) => Ok(false),
            Some(Fault::Error(errno)) => Err(errno.into()),
            _ => RealFs.exists(path),
        }
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.call(Op::Open, || RealFs.open(path)).map(|file| self.wrap(file, is_temp(path)))
    }
    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        match self.fault(Op::Facts) {
            Some(Fault::Absent) => Ok(None),
            Some(Fault::Error(errno)) => Err(errno.into()),
            _ => RealFs.facts(path),
        }
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.call(Op::List, || RealFs.list(dir))
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.call(Op::FreeBytes, || RealFs.free_bytes(dir))
    }
    fn boot_id(&self) -> Option<[u8; 16]> {
        RealFs.boot_id()
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(Op::SyncDir, || RealFs.sync_dir(dir))
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.call(Op::CreateDir, || RealFs.create_dir_all(dir))
    }
    fn canonicalize(&self, dir: &Path) -> io::Result<PathBuf> {
        self.call(Op::Canonicalize, || RealFs.canonicalize(dir))
    }
}

struct FaultyFile {
    fs: Faulty,
    file: Box<dyn FsFile>,
    is_temp: bool,
    /// Writes must be multiples of it, if it goes past the page cache, or pretends to.
    block: usize,
}

/// Whether it is what workers write to.
pub(crate) fn is_temp(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tmp")
}

impl FsFile for FaultyFile {
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let fault = self.fs.fault(Op::Write);
        let append = if self.is_temp { self.fs.append_fault() } else { None };
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        let is_aligned = [offset as usize, bytes].iter().all(|n| n.is_multiple_of(self.block));
        match append.or(fault) {
            Some(Fault::Error(errno)) => Err(errno.into()),
            _ if !is_aligned => Err(io::ErrorKind::InvalidInput.into()),
            Some(Fault::Short(bytes)) => {
                let all: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
                self.file.write_at(&[IoSlice::new(&all[..bytes.min(all.len())])], offset)
            }
            _ => self.file.write_at(slices, offset),
        }
    }
    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fs.call(Op::Read, || self.file.read_at(bytes, offset))
    }
    fn facts(&self) -> io::Result<Facts> {
        self.fs.call(Op::Facts, || self.file.facts())
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.fs.call(Op::SetLen, || self.file.set_len(len))
    }
    fn sync(&mut self) -> io::Result<()> {
        self.fs.call(Op::Sync, || self.file.sync())
    }
    fn try_lock(&mut self) -> io::Result<()> {
        self.fs.call(Op::Lock, || self.file.try_lock())
    }
    fn go_direct(&mut self) -> io::Result<usize> {
        // Where the file system of the tests has no direct I/O, the rules are the same.
        self.block = self.file.go_direct().unwrap_or(4096);
        Ok(self.block)
    }
    fn go_buffered(&mut self) -> io::Result<()> {
        self.block = 1;
        self.file.go_buffered()
    }
    fn try_clone(&self) -> io::Result<Box<dyn FsFile>> {
        self.fs
            .call(Op::Clone, || self.file.try_clone())
            .map(|file| self.fs.wrap(file, self.is_temp))
    }
}
