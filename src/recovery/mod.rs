//! Left-overs by hand: what a recovery of a dead writer's files is asked for.
//!
//! Guarantees: those of `run.rs`, which does it. Refuses directories that are missing.

pub(crate) mod background;
pub(crate) mod memory_image;
pub(crate) mod run;
pub(crate) mod salvage;
pub(crate) mod scan;
mod temp_files;
pub(crate) mod verdict;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::recovery::scan::Scan;
use crate::report::error::Error;
use crate::report::recovery::Recovery;

/// What [`recover`] looks for, and where.
#[derive(Clone)]
#[must_use]
pub struct RecoverOptions {
    path: PathBuf,
    temp: PathBuf,
    prefix: Option<OsString>,
    memory: Option<PathBuf>,
    dry_run: bool,
    fs: Arc<dyn Fs>,
}

impl RecoverOptions {
    /// Left-overs of writers with this [`path`](crate::Config::path) and this [`temp`](crate::Config::temp),
    /// whatever their prefix.
    pub fn new(path: impl Into<PathBuf>, temp: impl Into<PathBuf>) -> Self {
        let (path, temp) = (path.into(), temp.into());
        RecoverOptions {
            path,
            temp,
            prefix: None,
            memory: None,
            dry_run: false,
            fs: Arc::new(RealFs),
        }
    }

    /// Only those with this [`prefix`](crate::Config::prefix). Default: all.
    pub fn prefix(mut self, prefix: impl Into<OsString>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Where the memory of writers is that outlives them, if it is not in `/dev/shm`
    /// ([`CrashProof::Dir`](crate::CrashProof::Dir)).
    pub fn memory(mut self, dir: impl Into<PathBuf>) -> Self {
        self.memory = Some(dir.into());
        self
    }

    /// Changes nothing, and tells what would be done. Default false.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Replaces the file system, for tests that make calls fail. Not a stable interface.
    #[doc(hidden)]
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = fs;
        self
    }
}

impl std::fmt::Debug for RecoverOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecoverOptions")
            .field("path", &self.path)
            .field("temp", &self.temp)
            .field("prefix", &self.prefix)
            .field("memory", &self.memory)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// Publishes what writers that died left in their temp directory, as the next writer with the same
/// [`path`](crate::Config::path), `temp` and prefix does by itself
/// ([`Config::recover`](crate::Config::recover)). Safe at any time, beside writers and other recoveries:
/// instances that live are left alone. Returns when all is done.
///
/// Only instances of this user are dealt with. Of each temp file, what is known to be whole records
/// becomes visible: all that was written, or after a reboot what an fsync covers. What can't be trusted
/// is set aside under a hidden name, never deleted.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("bw-doc-recover-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let recovery = bufferedwriter::recover(&bufferedwriter::RecoverOptions::new(&dir, &dir))?;
/// assert!(recovery.is_empty());
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A directory that is missing or can't be read. What fails later is in [`Recovery::errors`], and tried
/// again by the next recovery.
pub fn recover(options: &RecoverOptions) -> Result<Recovery, Error> {
    let RecoverOptions { path, temp, prefix, memory, dry_run, fs } = options;
    let open = |dir: &Path| fs.canonicalize(dir).map_err(|e| Error::io("open directory", dir, e));
    let (path, temp) = (open(path)?, open(temp)?);
    let memory = memory.as_deref().map(open).transpose()?;
    let memory: Vec<PathBuf> = memory.into_iter().chain([PathBuf::from("/dev/shm")]).collect();
    let search = |temp| Scan {
        fs: &**fs,
        path: &path,
        temp,
        prefix: prefix.as_deref(),
        memory: &memory,
        dry_run: *dry_run,
    };
    let mut recovery = Recovery::default();
    run::run(search(&temp), None, &mut recovery)?;
    if temp != path {
        // Where `temp` is on another file system, writers have their files in `path`.
        run::run(search(&path), None, &mut recovery)?;
    }
    Ok(recovery)
}
