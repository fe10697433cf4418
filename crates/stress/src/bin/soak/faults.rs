//! The machine's file system in changing weather: calls that fail, write less, take their time or hang.
//!
//! Guarantees: what does not fail is done as asked; each fault is counted by its kind. One per lane, for
//! as long as the program runs. Refuses nothing: what a fault means is the writer's to find out.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use bufferedwriter::testing::{Facts, Fs, FsFile, RealFs};
use bufferedwriter_stress::random::mix;

/// EIO, EACCES, EMFILE, ENOSPC, EROFS, EDQUOT, and EINTR, which no storm is made of: it asks for another
/// try at once.
const ERRORS: [i32; 7] = [5, 13, 24, 28, 30, 122, 4];
const STORMS: usize = 6;

/// How likely a fault is. Of each lane one is kept in a number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sky {
    /// Nothing fails.
    Clear,
    /// One call in so many.
    Showers(u64),
    /// Each call, with this one of the errors.
    Storm(usize),
}

/// What becomes of a call.
enum Strike {
    None,
    Error(i32),
    Short,
    Slow(Duration),
}

/// Faults that happened, by kind.
pub(crate) struct Weather {
    seed: AtomicU64,
    sky: AtomicU64,
    calls: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) shorts: AtomicU64,
    pub(crate) slow: AtomicU64,
    pub(crate) hangs: AtomicU64,
    /// Removals of files that failed.
    pub(crate) unlinks: AtomicU64,
}

const STORM: u64 = 1 << 32;

impl Weather {
    pub(crate) const fn new() -> Self {
        Weather {
            seed: AtomicU64::new(0),
            sky: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            shorts: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            hangs: AtomicU64::new(0),
            unlinks: AtomicU64::new(0),
        }
    }

    pub(crate) fn seed(&self, seed: u64) {
        self.seed.store(seed, Relaxed);
    }

    pub(crate) fn set(&self, sky: Sky) {
        let word = match sky {
            Sky::Clear => 0,
            Sky::Showers(one_in) => one_in,
            Sky::Storm(error) => STORM + error as u64,
        };
        self.sky.store(word, Relaxed);
    }

    fn strike(&self) -> Strike {
        let sky = self.sky.load(Relaxed);
        let chance = mix(self.seed.load(Relaxed) ^ mix(self.calls.fetch_add(1, Relaxed)));
        if sky >= STORM {
            return Strike::Error(ERRORS[(sky - STORM) as usize % STORMS]);
        }
        if sky == 0 || !chance.is_multiple_of(sky) {
            return Strike::None;
        }
        let (kind, how) = (chance >> 20 & 15, chance >> 32);
        match kind {
            0..8 => Strike::Error(ERRORS[how as usize % ERRORS.len()]),
            8..12 => Strike::Short,
            12..15 => Strike::Slow(Duration::from_millis(how % 20)),
            _ => Strike::Slow(Duration::from_millis(100 + how % 300)),
        }
    }

    /// What comes before each call; true if it is to do less than it is asked for.
    fn pass(&self) -> io::Result<bool> {
        match self.strike() {
            Strike::None => {}
            Strike::Error(errno) => {
                self.errors.fetch_add(1, Relaxed);
                return Err(io::Error::from_raw_os_error(errno));
            }
            Strike::Short => return Ok(true),
            Strike::Slow(time) => {
                let long = time >= Duration::from_millis(100);
                if long { &self.hangs } else { &self.slow }.fetch_add(1, Relaxed);
                thread::sleep(time);
            }
        }
        Ok(false)
    }
}

/// A file system in the weather of a lane.
pub(crate) struct Outdoors(pub(crate) &'static Weather);

impl Outdoors {
    fn wrap(&self, file: Box<dyn FsFile>) -> Box<dyn FsFile> {
        Box::new(OutdoorFile { weather: self.0, file, block: 1 })
    }
}

impl Fs for Outdoors {
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn FsFile>> {
        self.0.pass()?;
        Ok(self.wrap(RealFs.create(path, mode)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.pass()?;
        RealFs.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.pass().inspect_err(|_| {
            self.0.unlinks.fetch_add(1, Relaxed);
        })?;
        RealFs.remove(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.0.pass()?;
        Ok(self.wrap(RealFs.open(path)?))
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.pass()?;
        RealFs.exists(path)
    }
    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        self.0.pass()?;
        RealFs.facts(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.0.pass()?;
        RealFs.list(dir)
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.0.pass()?;
        RealFs.free_bytes(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.pass()?;
        RealFs.sync_dir(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.pass()?;
        RealFs.create_dir_all(dir)
    }
    fn canonicalize(&self, dir: &Path) -> io::Result<PathBuf> {
        self.0.pass()?;
        RealFs.canonicalize(dir)
    }
    fn boot_id(&self) -> Option<[u8; 16]> {
        RealFs.boot_id()
    }
}

struct OutdoorFile {
    weather: &'static Weather,
    file: Box<dyn FsFile>,
    /// Direct writes stay whole numbers of blocks.
    block: usize,
}

impl FsFile for OutdoorFile {
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        if !self.weather.pass()? {
            return self.file.write_at(slices, offset);
        }
        self.weather.shorts.fetch_add(1, Relaxed);
        // The first slice alone, or half of it, which may be within a record.
        let Some(first) = slices.iter().find(|slice| !slice.is_empty()) else { return Ok(0) };
        let half = (first.len() / 2).next_multiple_of(self.block).min(first.len());
        self.file.write_at(&[IoSlice::new(&first[..half])], offset)
    }
    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.weather.pass()?;
        self.file.read_at(bytes, offset)
    }
    fn facts(&self) -> io::Result<Facts> {
        self.weather.pass()?;
        self.file.facts()
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.weather.pass()?;
        self.file.set_len(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.weather.pass()?;
        self.file.sync()
    }
    fn try_lock(&mut self) -> io::Result<()> {
        self.weather.pass()?;
        self.file.try_lock()
    }
    fn go_direct(&mut self) -> io::Result<usize> {
        self.weather.pass()?;
        self.block = self.file.go_direct()?;
        Ok(self.block)
    }
    fn go_buffered(&mut self) -> io::Result<()> {
        self.weather.pass()?;
        self.file.go_buffered()?;
        self.block = 1;
        Ok(())
    }
    fn try_clone(&self) -> io::Result<Box<dyn FsFile>> {
        self.weather.pass()?;
        let file = self.file.try_clone()?;
        Ok(Box::new(OutdoorFile { weather: self.weather, file, block: self.block }))
    }
}
