//! The machine's file system with injected faults: calls that fail, write less than asked, are slow or hang.
//!
//! Guarantees: a call without a fault does what it is asked for; each fault is counted by its kind.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use bufferedwriter::testing::{Facts, Fs, FsFile, RealFs};
use bufferedwriter_testkit::random::mix;

/// EIO, EACCES, EMFILE, ENOSPC, EROFS, EDQUOT, EINTR.
const ERRORS: [i32; 7] = [5, 13, 24, 28, 30, 122, 4];
/// Errors with which every call may fail: all but EINTR, after which a caller tries again at once, for ever.
const LASTING: usize = 6;

/// How often a call meets a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FaultRate {
    Never,
    /// One call in this many, with a random fault.
    OneIn(u64),
    /// Every call, with this index (modulo their number) of the lasting errors.
    Always(usize),
}

/// What happens to a call.
enum Fault {
    None,
    Error(i32),
    Short,
    Slow(Duration),
}

/// Decides which calls meet a fault, and counts the faults by kind.
pub(crate) struct FaultInjector {
    seed: AtomicU64,
    /// A [`FaultRate`] as a number: the `n` of `OneIn(n)`, 0 for `Never`, from [`ALWAYS`] on `Always`.
    rate: AtomicU64,
    calls: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) shorts: AtomicU64,
    pub(crate) slow: AtomicU64,
    pub(crate) hangs: AtomicU64,
    /// Removals of files that failed.
    pub(crate) failed_removals: AtomicU64,
}

const ALWAYS: u64 = 1 << 32;

impl FaultInjector {
    pub(crate) const fn new() -> Self {
        FaultInjector {
            seed: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            shorts: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            hangs: AtomicU64::new(0),
            failed_removals: AtomicU64::new(0),
        }
    }

    pub(crate) fn seed(&self, seed: u64) {
        self.seed.store(seed, Relaxed);
    }

    pub(crate) fn set(&self, rate: FaultRate) {
        let word = match rate {
            FaultRate::Never => 0,
            FaultRate::OneIn(calls) => calls,
            FaultRate::Always(error) => ALWAYS + error as u64,
        };
        self.rate.store(word, Relaxed);
    }

    fn next_fault(&self) -> Fault {
        let rate = self.rate.load(Relaxed);
        let chance = mix(self.seed.load(Relaxed) ^ mix(self.calls.fetch_add(1, Relaxed)));
        if rate >= ALWAYS {
            return Fault::Error(ERRORS[(rate - ALWAYS) as usize % LASTING]);
        }
        if rate == 0 || !chance.is_multiple_of(rate) {
            return Fault::None;
        }
        let (kind, how) = (chance >> 20 & 15, chance >> 32);
        match kind {
            0..8 => Fault::Error(ERRORS[how as usize % ERRORS.len()]),
            8..12 => Fault::Short,
            12..15 => Fault::Slow(Duration::from_millis(how % 20)),
            _ => Fault::Slow(Duration::from_millis(100 + how % 300)),
        }
    }

    /// Comes before each call: fails or delays it; `true` if it is to write less than it is asked for.
    fn inject(&self) -> io::Result<bool> {
        match self.next_fault() {
            Fault::None => {}
            Fault::Error(errno) => {
                self.errors.fetch_add(1, Relaxed);
                return Err(io::Error::from_raw_os_error(errno));
            }
            Fault::Short => return Ok(true),
            Fault::Slow(time) => {
                let long = time >= Duration::from_millis(100);
                if long { &self.hangs } else { &self.slow }.fetch_add(1, Relaxed);
                thread::sleep(time);
            }
        }
        Ok(false)
    }
}

/// The machine's file system behind an injector.
pub(crate) struct FaultyFs(pub(crate) &'static FaultInjector);

impl FaultyFs {
    fn wrap(&self, file: Box<dyn FsFile>) -> Box<dyn FsFile> {
        Box::new(FaultyFile { faults: self.0, file, block: 1 })
    }
}

impl Fs for FaultyFs {
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn FsFile>> {
        self.0.inject()?;
        Ok(self.wrap(RealFs.create(path, mode)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.inject()?;
        RealFs.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.inject().inspect_err(|_| {
            self.0.failed_removals.fetch_add(1, Relaxed);
        })?;
        RealFs.remove(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.0.inject()?;
        Ok(self.wrap(RealFs.open(path)?))
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.inject()?;
        RealFs.exists(path)
    }
    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        self.0.inject()?;
        RealFs.facts(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.0.inject()?;
        RealFs.list(dir)
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.0.inject()?;
        RealFs.free_bytes(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.inject()?;
        RealFs.sync_dir(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.inject()?;
        RealFs.create_dir_all(dir)
    }
    fn canonicalize(&self, dir: &Path) -> io::Result<PathBuf> {
        self.0.inject()?;
        RealFs.canonicalize(dir)
    }
    fn boot_id(&self) -> Option<[u8; 16]> {
        RealFs.boot_id()
    }
}

struct FaultyFile {
    faults: &'static FaultInjector,
    file: Box<dyn FsFile>,
    /// A direct write must stay a multiple of this.
    block: usize,
}

impl FsFile for FaultyFile {
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        if !self.faults.inject()? {
            return self.file.write_at(slices, offset);
        }
        self.faults.shorts.fetch_add(1, Relaxed);
        // Half of the first slice, which may end within a record.
        let Some(first) = slices.iter().find(|slice| !slice.is_empty()) else { return Ok(0) };
        let half = (first.len() / 2).next_multiple_of(self.block).min(first.len());
        self.file.write_at(&[IoSlice::new(&first[..half])], offset)
    }
    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.faults.inject()?;
        self.file.read_at(bytes, offset)
    }
    fn facts(&self) -> io::Result<Facts> {
        self.faults.inject()?;
        self.file.facts()
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.faults.inject()?;
        self.file.set_len(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.faults.inject()?;
        self.file.sync()
    }
    fn try_lock(&mut self) -> io::Result<()> {
        self.faults.inject()?;
        self.file.try_lock()
    }
    fn go_direct(&mut self) -> io::Result<usize> {
        self.faults.inject()?;
        self.block = self.file.go_direct()?;
        Ok(self.block)
    }
    fn go_buffered(&mut self) -> io::Result<()> {
        self.faults.inject()?;
        self.file.go_buffered()?;
        self.block = 1;
        Ok(())
    }
    fn try_clone(&self) -> io::Result<Box<dyn FsFile>> {
        self.faults.inject()?;
        let file = self.file.try_clone()?;
        Ok(Box::new(FaultyFile { faults: self.faults, file, block: self.block }))
    }
}
