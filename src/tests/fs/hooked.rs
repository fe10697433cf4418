//! The machine's file system behind a hook, which sees each call and may answer in its place.
//!
//! Guarantees: what the hook lets through is the real call. A write, or an fsync, of a file whose fsync failed is noted
//! as a breach: no writer may do so.
//!
//! The library's unit tests know its traits as their own, other crates as those of a dependency. So they can't share a
//! crate with this in it, and include this file instead, each with `testing` at its root.

#![allow(dead_code, reason = "each of those who include it uses a part")]

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::testing::{Entry, Errno, Facts, Fs, FsDir, FsFile, RealFs};

/// The calls of [`Fs`] and [`FsFile`].
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
    GoDirect,
    GoBuffered,
    Clone,
    /// The drop of a file. It can hang, but not fail.
    Close,
    OpenDir,
    RemoveDir,
    Symlink,
    ReadLink,
    /// A rename that replaces.
    Replace,
}

/// A call, as the hook sees it.
pub struct Call<'a> {
    pub op: Op,
    /// Of `rename` the old path.
    pub path: &'a Path,
    /// Number of the call, counted from 1 over all operations that may fail.
    pub nth: u64,
    /// Bytes that a write is asked for.
    pub bytes: usize,
    /// What a file's writes must be multiples of: 1, unless it goes past the page cache.
    pub block: usize,
}

impl Call<'_> {
    /// A call for a file that is being written, not for the state file or a directory.
    pub fn is_temp(&self) -> bool {
        is_temp(self.path)
    }

    /// Of a file that goes past the page cache.
    pub fn is_direct(&self) -> bool {
        self.block > 1
    }

    /// The worker whose temp file it is.
    pub fn worker(&self) -> Option<usize> {
        let name = self.path.file_name()?.to_str()?.strip_suffix(".tmp")?;
        name.rsplit('-').nth(1)?.strip_prefix('w')?.parse().ok()
    }
}

/// Whether it is what workers write to.
pub fn is_temp(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tmp")
}

/// What becomes of a call. What does not fit the operation lets it through.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Go,
    /// This error; nothing is done.
    Error(Errno),
    /// It is done, and then this error is returned, as when an answer is lost.
    DoneBut(Errno),
    /// A write takes at most this number of bytes.
    Short(usize),
    /// `exists` says no, `facts` nothing.
    Absent,
    /// `free_bytes` returns this number.
    Free(u64),
    /// A sync, of a file or a directory, does nothing, and succeeds.
    Skip,
}

/// Decides what becomes of calls.
pub trait Hook: Send + Sync + 'static {
    fn answer(&self, call: &Call<'_>) -> Answer;

    /// Whether files keep to the rules of direct I/O where the file system has no such thing.
    fn pretends_direct(&self) -> bool {
        false
    }
}

impl<F: Fn(&Call<'_>) -> Answer + Send + Sync + 'static> Hook for F {
    fn answer(&self, call: &Call<'_>) -> Answer {
        self(call)
    }
}

/// The file system. Clones share the hook.
pub struct HookedFs<H>(Arc<Inner<H>>);

struct Inner<H> {
    hook: H,
    calls: AtomicU64,
    /// What must never happen, noticed on a worker's thread, where a panic would go unheard.
    breaches: Mutex<Vec<String>>,
}

impl<H> Clone for HookedFs<H> {
    fn clone(&self) -> Self {
        HookedFs(self.0.clone())
    }
}

impl<H: Hook + Default> Default for HookedFs<H> {
    fn default() -> Self {
        HookedFs::with(H::default())
    }
}

impl<H: Hook> HookedFs<H> {
    pub fn with(hook: H) -> Self {
        let (calls, breaches) = (AtomicU64::new(0), Mutex::default());
        HookedFs(Arc::new(Inner { hook, calls, breaches }))
    }

    pub fn hook(&self) -> &H {
        &self.0.hook
    }

    /// Calls so far.
    pub fn calls_made(&self) -> u64 {
        self.0.calls.load(Relaxed)
    }

    /// Nothing happened that must never happen.
    pub fn assert_sound(&self) {
        let breaches = self.0.breaches.lock().unwrap();
        assert!(breaches.is_empty(), "{breaches:?}");
    }

    fn ask(&self, op: Op, path: &Path, bytes: usize, block: usize) -> Answer {
        let nth = self.0.calls.fetch_add(1, Relaxed) + 1;
        self.0.hook.answer(&Call { op, path, nth, bytes, block })
    }

    fn call<T>(&self, op: Op, path: &Path, go: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        follow(self.ask(op, path, 0, 1), go)
    }

    fn wrap(&self, path: &Path, file: Box<dyn FsFile>) -> Box<dyn FsFile> {
        let (fs, path) = (self.clone(), path.to_owned());
        Box::new(HookedFile { fs, path, file, block: 1, sync_failed: false })
    }
}

/// Makes the call, if the answer is to make it.
fn follow<T>(answer: Answer, go: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match answer {
        Answer::Error(errno) => Err(errno.into()),
        Answer::DoneBut(errno) => go().and(Err(errno.into())),
        _ => go(),
    }
}

impl<H: Hook> Fs for HookedFs<H> {
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn FsFile>> {
        let file = self.call(Op::Create, path, || RealFs.create(path, mode))?;
        Ok(self.wrap(path, file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Op::Rename, from, || RealFs.rename(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Op::Remove, path, || RealFs.remove(path))
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.ask(Op::Exists, path, 0, 1) {
            Answer::Absent => Ok(false),
            answer => follow(answer, || RealFs.exists(path)),
        }
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = self.call(Op::Open, path, || RealFs.open(path))?;
        Ok(self.wrap(path, file))
    }
    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        match self.ask(Op::Facts, path, 0, 1) {
            Answer::Absent => Ok(None),
            answer => follow(answer, || RealFs.facts(path)),
        }
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.call(Op::List, dir, || RealFs.list(dir))
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        match self.ask(Op::FreeBytes, dir, 0, 1) {
            Answer::Free(bytes) => Ok(bytes),
            answer => follow(answer, || RealFs.free_bytes(dir)),
        }
    }
    /// Where the system counts no boots, as Wine does not, all are one: a test sees no other.
    fn boot_id(&self) -> Option<[u8; 16]> {
        RealFs.boot_id().or(Some([1; 16]))
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match self.ask(Op::SyncDir, dir, 0, 1) {
            Answer::Skip => Ok(()),
            answer => follow(answer, || RealFs.sync_dir(dir)),
        }
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.call(Op::CreateDir, dir, || RealFs.create_dir_all(dir))
    }
    fn create_dir(&self, dir: &Path, mode: u32) -> io::Result<()> {
        self.call(Op::CreateDir, dir, || RealFs.create_dir(dir, mode))
    }
    fn canonicalize(&self, dir: &Path) -> io::Result<PathBuf> {
        self.call(Op::Canonicalize, dir, || RealFs.canonicalize(dir))
    }
    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn FsDir>> {
        let open = self.call(Op::OpenDir, dir, || RealFs.open_dir(dir))?;
        Ok(Box::new(HookedDir { fs: self.clone(), path: dir.to_owned(), dir: open }))
    }
    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.call(Op::Symlink, link, || RealFs.symlink(target, link))
    }
    fn read_link(&self, link: &Path) -> io::Result<Option<PathBuf>> {
        self.call(Op::ReadLink, link, || RealFs.read_link(link))
    }
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Op::Replace, from, || RealFs.replace(from, to))
    }
}

struct HookedDir<H: Hook> {
    fs: HookedFs<H>,
    path: PathBuf,
    dir: Box<dyn FsDir>,
}

impl<H: Hook> FsDir for HookedDir<H> {
    fn each(&self, see: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()> {
        self.fs.call(Op::List, &self.path, || self.dir.each(see))
    }
    fn facts(&self, name: &OsStr) -> io::Result<Option<Facts>> {
        match self.fs.ask(Op::Facts, &self.path.join(name), 0, 1) {
            Answer::Absent => Ok(None),
            answer => follow(answer, || self.dir.facts(name)),
        }
    }
    fn open_dir(&self, name: &OsStr) -> io::Result<Option<Box<dyn FsDir>>> {
        let path = self.path.join(name);
        let open = self.fs.call(Op::OpenDir, &path, || self.dir.open_dir(name))?;
        let hooked = |dir| Box::new(HookedDir { fs: self.fs.clone(), path, dir }) as _;
        Ok(open.map(hooked))
    }
    fn remove(&self, name: &OsStr) -> io::Result<()> {
        self.fs.call(Op::Remove, &self.path.join(name), || self.dir.remove(name))
    }
    fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        self.fs.call(Op::RemoveDir, &self.path.join(name), || self.dir.remove_dir(name))
    }
}

struct HookedFile<H: Hook> {
    fs: HookedFs<H>,
    path: PathBuf,
    file: Box<dyn FsFile>,
    block: usize,
    sync_failed: bool,
}

impl<H: Hook> HookedFile<H> {
    fn ask(&self, op: Op, bytes: usize) -> Answer {
        self.fs.ask(op, &self.path, bytes, self.block)
    }

    fn note_unless_synced(&self, what: &str) {
        if self.sync_failed {
            let breach = format!("{what} after a failed fsync of {}", self.path.display());
            let breaches = &self.fs.0.breaches;
            breaches.lock().unwrap_or_else(PoisonError::into_inner).push(breach);
        }
    }
}

impl<H: Hook> FsFile for HookedFile<H> {
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.note_unless_synced("write");
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        let is_aligned = [offset as usize, bytes].iter().all(|n| n % self.block == 0);
        match self.ask(Op::Write, bytes) {
            Answer::Error(errno) => Err(errno.into()),
            _ if !is_aligned => Err(io::ErrorKind::InvalidInput.into()),
            Answer::Short(most) => {
                let all = slices.iter().flat_map(|slice| slice.iter().copied());
                let all: Vec<u8> = all.take(most).collect();
                self.file.write_at(&[IoSlice::new(&all)], offset)
            }
            answer => follow(answer, || self.file.write_at(slices, offset)),
        }
    }
    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        follow(self.ask(Op::Read, 0), || self.file.read_at(bytes, offset))
    }
    fn facts(&self) -> io::Result<Facts> {
        follow(self.ask(Op::Facts, 0), || self.file.facts())
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        follow(self.ask(Op::SetLen, 0), || self.file.set_len(len))
    }
    fn sync(&mut self) -> io::Result<()> {
        self.note_unless_synced("fsync");
        let synced = match self.ask(Op::Sync, 0) {
            Answer::Skip => Ok(()),
            answer => follow(answer, || self.file.sync()),
        };
        self.sync_failed |= synced.is_err();
        synced
    }
    fn has_hole(&self, before: u64) -> io::Result<bool> {
        self.file.has_hole(before)
    }
    fn has_mode(&self) -> bool {
        self.file.has_mode()
    }
    fn try_lock(&mut self) -> io::Result<()> {
        follow(self.ask(Op::Lock, 0), || self.file.try_lock())
    }
    fn go_direct(&mut self) -> io::Result<usize> {
        let block = follow(self.ask(Op::GoDirect, 0), || match self.file.go_direct() {
            Err(_) if self.fs.hook().pretends_direct() => Ok(4096),
            block => block,
        })?;
        self.block = block;
        Ok(block)
    }
    fn go_buffered(&mut self) -> io::Result<()> {
        follow(self.ask(Op::GoBuffered, 0), || self.file.go_buffered())?;
        self.block = 1;
        Ok(())
    }
    fn try_clone(&self) -> io::Result<Box<dyn FsFile>> {
        let file = follow(self.ask(Op::Clone, 0), || self.file.try_clone())?;
        Ok(self.fs.wrap(&self.path, file))
    }
}

impl<H: Hook> Drop for HookedFile<H> {
    fn drop(&mut self) {
        let (path, block) = (&*self.path, self.block);
        self.fs.hook().answer(&Call { op: Op::Close, path, nth: 0, bytes: 0, block });
    }
}
