//! The state file of a living instance: it proves that the instance lives, and holds what each
//! worker says of its temp file.
//!
//! The process holds the file's lock (flock) while it lives. A process id proves nothing.
//!
//! Where the file system has no locks there is no state file, since others would take this instance
//! for dead. Then nobody can recover what it leaves.
//!
//! Guarantees: the file has its final length from the start, so that no change needs space on the
//! disk. An entry lies within one sector. Refuses: a header that does not fit.
//!
//! The file is not synced: after a loss of power its entries may be older than the temp files.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::base::sys::Errno;

use crate::base::sync::{Acquire, Arc, AtomicU64, Mutex, Release, lock};
use crate::base::sys::file::has_no_locks;
use crate::config::WallClock;
use crate::file::state_file::counters::{Times, first_slots};
use crate::file::state_file::encode;
use crate::file::state_file::format::{ENTRY_BYTES, HEADER_BYTES, Header};
use crate::fs::{Fs, FsFile, write_all};
use crate::naming::Stamp;
use crate::report::error::Error;
use crate::report::stats::Missing;

const MODE: u32 = 0o600;

/// How often another process's recovery may take our unfinished state file for a left-over.
const ATTEMPTS_MAX: usize = 8;
/// How long to wait for the end of that recovery, which syncs two directories, and how often to
/// check.
const RECOVERY_MAX: Duration = Duration::from_secs(5);
const RECOVERY_LOOK: Duration = Duration::from_millis(1);

/// The state file of a living instance. The lock lasts until this and all workers' states are
/// dropped: a worker that hangs is alive.
pub(crate) struct StateFile {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    /// The lock is held during I/O, so workers only try to take it. `None` without locks.
    pub(super) current: Mutex<Option<Current>>,
    /// What the file system lacks, as far as is known.
    pub(crate) missing: Arc<Mutex<Missing>>,
    /// Files that were moved away, with their locks: a recovery that sees one of them must see that
    /// its writer lives.
    pub(super) former: Mutex<Vec<Box<dyn FsFile>>>,
    /// The number of the current file. It increases when another file is made.
    pub(super) version: AtomicU64,
    started: Stamp,
}

/// The file that was made last.
pub(super) struct Current {
    pub(super) file: Box<dyn FsFile>,
    /// Device and inode.
    pub(super) inode: (u64, u64),
}

impl StateFile {
    /// Creates the state file in `dir` and locks it. With crash-proof memory, which is found by it,
    /// there must be locks.
    pub(crate) fn create(fs: &dyn Fs, dir: &Path, header: Header) -> Result<Self, Error> {
        let state = StateFile::none(dir, header);
        state.make(fs)?;
        Ok(state)
    }

    /// A state file that is not there yet: the disk is full.
    pub(crate) fn none(dir: &Path, header: Header) -> Self {
        let path = dir.join(header.names.state());
        let missing = Arc::new(Mutex::new(Missing::default()));
        let (current, former) = (Mutex::new(None), Mutex::default());
        let (version, started) = (AtomicU64::new(0), Stamp::read(&WallClock::default()));
        StateFile { path, header, current, former, missing, version, started }
    }

    /// Creates the file if it is not there yet.
    pub(crate) fn make(&self, fs: &dyn Fs) -> Result<(), Error> {
        let mut current = lock(&self.current);
        if current.is_none() {
            let made = Current::create(fs, self)?;
            (*current, *lock(&self.missing)) = made;
            // Pairs with the Acquire of `WorkerState::set`. No other thread changes it: the lock is
            // held.
            self.version.store(self.version.load(Acquire) + 1, Release);
        }
        Ok(())
    }

    /// Before anything is counted.
    pub(crate) fn start(&self) -> Times {
        let started = self.started;
        Times { started, refreshed: started, uptime: Duration::ZERO }
    }

    /// Removes the file when the instance leaves nothing to recover. It may be gone already.
    pub(crate) fn remove(&self, fs: &dyn Fs) -> Result<(), Error> {
        match fs.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("unlink", &self.path, error))
            }
            _ => Ok(()),
        }
    }
}

impl Current {
    /// `None` where the file system has no locks.
    pub(super) fn create(fs: &dyn Fs, of: &StateFile) -> Result<(Option<Self>, Missing), Error> {
        let StateFile { path: state, header, .. } = of;
        let boot_id = fs.boot_id().unwrap_or_default();
        let mut bytes = encode::header(boot_id, header)
            .ok_or_else(|| Error::io("write", state, Errno::NAMETOOLONG.into()))?;
        bytes.resize(HEADER_BYTES + header.workers * ENTRY_BYTES, 0);
        bytes.extend(first_slots(header.slot_bytes, of.start()));
        let (mut file, is_locked) = create_locked(fs, state, header.memory.is_some())?;
        let missing = Missing { locks: !is_locked, permissions: !file.has_mode() };
        if !is_locked {
            drop(file);
            fs.remove(state).map_err(|e| Error::io("unlink", state, e))?;
            return Ok((None, missing));
        }
        let written = write_all(&mut *file, &mut [IoSlice::new(&bytes)], 0).1;
        match written.and_then(|()| file.facts()) {
            Ok(facts) => Ok((Some(Current { file, inode: facts.id }), missing)),
            Err(error) => {
                let _ = fs.remove(state);
                Err(Error::io("write", state, error))
            }
        }
    }
}

/// Creates the state file and locks it. `false` without the lock: the file system has none, and
/// they are not needed.
///
/// Between creation and lock, a recovery can take the file for a left-over, lock it and remove it.
/// Wait until that recovery is over, since it goes by names and would remove a file that we made
/// meanwhile. Then make another. Once the lock is ours and the name still exists, it stays so.
fn create_locked(
    fs: &dyn Fs,
    state: &Path,
    needs_lock: bool,
) -> Result<(Box<dyn FsFile>, bool), Error> {
    let began = Instant::now();
    for _ in 0..ATTEMPTS_MAX {
        let mut file = fs.create(state, MODE).map_err(|e| Error::io("create", state, e))?;
        let locked = loop {
            match file.try_lock().and_then(|()| fs.exists(state)) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && began.elapsed() < RECOVERY_MAX =>
                {
                    std::thread::sleep(RECOVERY_LOOK);
                }
                locked => break locked,
            }
        };
        match locked {
            Ok(true) => return Ok((file, true)),
            Ok(false) => drop(fs.remove(state)),
            Err(error) if has_no_locks(&error) && !needs_lock => return Ok((file, false)),
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    // The name belongs to this instance alone, so the file there is ours.
                    let _ = fs.remove(state);
                }
                return Err(Error::io("lock", state, error));
            }
        }
    }
    Err(Error::io("lock", state, io::ErrorKind::NotFound.into()))
}
