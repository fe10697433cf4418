//! The real file system behind a hook that may answer in its place, or hang.
//!
//! Checks by itself, for all tests: after a failed fsync a file is neither written nor synced again.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bufferedwriter::testing::{Facts, Fs, FsFile, RealFs};
use rustix::io::Errno;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
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

/// A call, as the hook sees it.
pub struct Call<'a> {
    pub op: Op,
    /// Of `rename` the old path.
    pub path: &'a Path,
    /// Number of the call, counted from 1 over all operations.
    pub nth: u64,
    /// Of a file that goes past the page cache.
    pub is_direct: bool,
}

impl Call<'_> {
    /// A call for a file that is being written, not for the state file or a directory.
    pub fn is_temp(&self) -> bool {
        self.path.extension().is_some_and(|end| end == "tmp")
    }

    /// The worker whose temp file it is.
    pub fn worker(&self) -> Option<usize> {
        let name = self.path.file_name()?.to_str()?.strip_suffix(".tmp")?;
        name.rsplit('-').nth(1)?.strip_prefix('w')?.parse().ok()
    }
}

pub enum Answer {
    Go,
    Error(Errno),
    /// `write_at` writes at most so many bytes.
    Short(usize),
    /// `free_bytes` finds so many.
    Free(u64),
}

type Hook = dyn Fn(&Call<'_>) -> Answer + Send + Sync;

pub struct TestFs(Arc<Inner>);

struct Inner {
    hook: Box<Hook>,
    calls: AtomicU64,
    /// What must never happen, noticed on a worker's thread, where a panic would go unheard.
    broken: Mutex<Vec<String>>,
}

impl TestFs {
    pub fn new(hook: impl Fn(&Call<'_>) -> Answer + Send + Sync + 'static) -> Arc<TestFs> {
        let inner =
            Inner { hook: Box::new(hook), calls: AtomicU64::new(0), broken: Mutex::default() };
        Arc::new(TestFs(Arc::new(inner)))
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Nothing happened that must never happen.
    pub fn assert_sound(&self) {
        let broken = self.0.broken.lock().unwrap();
        assert!(broken.is_empty(), "{broken:?}");
    }
}

impl Inner {
    fn ask(&self, op: Op, path: &Path, is_direct: bool) -> Answer {
        let nth = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        (self.hook)(&Call { op, path, nth, is_direct })
    }

    fn call<T>(&self, op: Op, path: &Path, go: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.ask(op, path, false) {
            Answer::Error(errno) => Err(errno.into()),
            Answer::Go | Answer::Short(_) | Answer::Free(_) => go(),
        }
    }

    fn wrap(self: &Arc<Self>, path: &Path, file: Box<dyn FsFile>) -> Box<dyn FsFile> {
        let path = path.to_owned();
        Box::new(TestFile { fs: self.clone(), path, file, is_direct: false, sync_failed: false })
    }
}

impl Fs for TestFs {
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn FsFile>> {
        let file = self.0.call(Op::Create, path, || RealFs.create(path, mode))?;
        Ok(self.0.wrap(path, file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.call(Op::Rename, from, || RealFs.rename(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.call(Op::Remove, path, || RealFs.remove(path))
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.call(Op::Exists, path, || RealFs.exists(path))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = self.0.call(Op::Open, path, || RealFs.open(path))?;
        Ok(self.0.wrap(path, file))
    }
    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        self.0.call(Op::Facts, path, || RealFs.facts(path))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.0.call(Op::List, dir, || RealFs.list(dir))
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        match self.0.ask(Op::FreeBytes, dir, false) {
            Answer::Free(bytes) => Ok(bytes),
            Answer::Error(errno) => Err(errno.into()),
            Answer::Go | Answer::Short(_) => RealFs.free_bytes(dir),
        }
    }
    fn boot_id(&self) -> Option<[u8; 16]> {
        RealFs.boot_id()
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.call(Op::SyncDir, dir, || RealFs.sync_dir(dir))
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.call(Op::CreateDir, dir, || RealFs.create_dir_all(dir))
    }
    fn canonicalize(&self, dir: &Path) -> io::Result<PathBuf> {
        self.0.call(Op::Canonicalize, dir, || RealFs.canonicalize(dir))
    }
}

struct TestFile {
    fs: Arc<Inner>,
    path: PathBuf,
    file: Box<dyn FsFile>,
    is_direct: bool,
    sync_failed: bool,
}

impl TestFile {
    fn must_not(&self, what: &str) {
        if self.sync_failed {
            let broken = format!("{what} after a failed fsync of {}", self.path.display());
            self.fs.broken.lock().unwrap().push(broken);
        }
    }
}

impl FsFile for TestFile {
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.must_not("write");
        match self.fs.ask(Op::Write, &self.path, self.is_direct) {
            Answer::Go | Answer::Free(_) => self.file.write_at(slices, offset),
            Answer::Error(errno) => Err(errno.into()),
            Answer::Short(max) => {
                let all: Vec<u8> =
                    slices.iter().flat_map(|s| s.iter().copied()).take(max).collect();
                self.file.write_at(&[IoSlice::new(&all)], offset)
            }
        }
    }
    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fs.call(Op::Read, &self.path, || self.file.read_at(bytes, offset))
    }
    fn facts(&self) -> io::Result<Facts> {
        self.fs.call(Op::Facts, &self.path, || self.file.facts())
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.fs.call(Op::SetLen, &self.path, || self.file.set_len(len))
    }
    fn sync(&mut self) -> io::Result<()> {
        self.must_not("fsync");
        let synced = self.fs.call(Op::Sync, &self.path, || self.file.sync());
        self.sync_failed |= synced.is_err();
        synced
    }
    fn try_lock(&mut self) -> io::Result<()> {
        self.fs.call(Op::Lock, &self.path, || self.file.try_lock())
    }
    fn go_direct(&mut self) -> io::Result<usize> {
        let block = self.file.go_direct();
        self.is_direct = block.is_ok();
        block
    }
    fn go_buffered(&mut self) -> io::Result<()> {
        self.is_direct = false;
        self.file.go_buffered()
    }
    fn try_clone(&self) -> io::Result<Box<dyn FsFile>> {
        let file = self.fs.call(Op::Clone, &self.path, || self.file.try_clone())?;
        Ok(self.fs.wrap(&self.path, file))
    }
}

/// Where calls hang as long as it is shut. Opens by itself when the test ends, also by a panic.
pub struct Gate(Arc<Bar>);

#[derive(Default)]
struct Bar {
    shut: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicUsize,
}

/// A file system on which one operation on temp files hangs while the gate is shut.
pub fn hangs_at(op: Op) -> (Gate, Arc<TestFs>) {
    let (gate, pass) = Gate::open();
    let fs = TestFs::new(move |call| {
        if call.op == op && call.is_temp() {
            pass.through();
        }
        Answer::Go
    });
    (gate, fs)
}

/// The side of the gate that goes into a hook.
#[derive(Clone)]
pub struct Pass(Arc<Bar>);

impl Gate {
    pub fn open() -> (Gate, Pass) {
        let bar = Arc::new(Bar::default());
        (Gate(bar.clone()), Pass(bar))
    }

    pub fn set_shut(&self, shut: bool) {
        *self.0.shut.lock().unwrap() = shut;
        self.0.opened.notify_all();
    }

    /// Calls that hang now.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.set_shut(false);
    }
}

impl Pass {
    pub fn through(&self) {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let mut shut = self.0.shut.lock().unwrap();
        while *shut {
            shut = self.0.opened.wait(shut).unwrap();
        }
        drop(shut);
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
