//! Recovery of the files that dead writers left. This module has the options and the call for
//! users.
//!
//! Guarantees: those of `run.rs`, which does the work. Refuses directories that are missing.

pub(crate) mod audience;
pub(crate) mod background;
mod journals;
pub(crate) mod memory_image;
mod notes;
pub(crate) mod run;
pub(crate) mod salvage;
pub(crate) mod scan;
mod temp_files;
pub(crate) mod verdict;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::SHM;
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::recovery::audience::Audience;
use crate::recovery::scan::Scan;
use crate::report::error::Error;
use crate::report::recovery::Recovery;

/// Options of [`recover`]: where it looks, and for what.
#[derive(Clone)]
#[must_use]
pub struct RecoverOptions {
    path: PathBuf,
    temp: PathBuf,
    from: Option<PathBuf>,
    prefix: Option<OsString>,
    memory: Option<PathBuf>,
    without_memory: bool,
    dry_run: bool,
    fs: Arc<dyn Fs>,
}

impl RecoverOptions {
    /// Recovers the files of dead writers with this [`path`](crate::Config::path) and this
    /// [`temp`](crate::Config::temp), whatever their prefix.
    pub fn new(path: impl Into<PathBuf>, temp: impl Into<PathBuf>) -> Self {
        let (path, temp) = (path.into(), temp.into());
        RecoverOptions {
            path,
            temp,
            from: None,
            prefix: None,
            memory: None,
            without_memory: false,
            dry_run: false,
            fs: Arc::new(RealFs),
        }
    }

    /// Recovers writers whose `path` had this name, too: the directories were moved, or are mounted
    /// elsewhere now. [`Skipped::directory`](crate::Skipped::directory) tells the name: an absolute
    /// path without symbolic links. Default: none.
    ///
    /// The next writer here adds the files to its manifest and calls its hook, also for those that
    /// the dead writers had published and nobody had heard of.
    ///
    /// This is safe beside live writers that use the same directories under the old name, as long
    /// as they run on the same machine. Their locks show that they live. It is not safe in a copy
    /// of directories whose writers live, or may be recovered where they were: the same records
    /// would appear twice. Nor is it safe if another machine writes to the directories, unless
    /// locks (`flock`) of their file system hold between machines.
    pub fn from(mut self, old_path: impl Into<PathBuf>) -> Self {
        self.from = Some(old_path.into());
        self
    }

    /// Recovers only writers with this [`prefix`](crate::Config::prefix). Default: all.
    pub fn prefix(mut self, prefix: impl Into<OsString>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Directory of the writers' crash-proof memory ([`CrashProof::Dir`](crate::CrashProof::Dir)).
    /// Default: `/dev/shm` alone, which is always searched. The directory may have moved or be mounted
    /// elsewhere by now: then this is its name today.
    pub fn memory(mut self, dir: impl Into<PathBuf>) -> Self {
        self.memory = Some(dir.into());
        self
    }

    /// Treats crash-proof memory that is not found as gone for good. What the writers' temp files
    /// hold is published. Default false: then such writers are skipped, with
    /// [`SkipReason::MemoryNotFound`](crate::SkipReason::MemoryNotFound).
    ///
    /// Only for memory that no longer exists, such as that of a container that was removed. If it
    /// exists elsewhere, its records can't be recovered any more.
    pub fn without_memory(mut self, without_memory: bool) -> Self {
        self.without_memory = without_memory;
        self
    }

    /// Changes nothing and returns what a recovery would do. Default false.
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
            .field("from", &self.from)
            .field("prefix", &self.prefix)
            .field("memory", &self.memory)
            .field("without_memory", &self.without_memory)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// Publishes the records that dead writers left in their temp directory.
///
/// A writer does the same at its start for writers with its own [`path`](crate::Config::path),
/// `temp` and prefix ([`Config::recover`](crate::Config::recover)). This call is safe at any time,
/// beside writers and other recoveries: live instances are not touched. It blocks its thread until
/// all is done.
///
/// Only instances of this user are recovered. From each temp file, the records that are known to be
/// whole become visible. These are all that were written or, after a reboot, those that an fsync
/// covers. A file that can't be trusted is set aside under a hidden name, never deleted.
///
/// If the dead writers had a manifest or a hook, the next writer with one tells it of the files that
/// this call published.
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
/// A directory is missing or can't be read, or [`RecoverOptions::from`] is relative. Later errors
/// are in [`Recovery::errors`], and the next recovery tries again.
pub fn recover(options: &RecoverOptions) -> Result<Recovery, Error> {
    let RecoverOptions { path, temp, from, prefix, memory, without_memory, dry_run, fs } = options;
    if let Some(from) = from.as_ref().filter(|from| !from.is_absolute()) {
        return Err(Error::option("from", from.display(), "an absolute path"));
    }
    let open = |dir: &Path| fs.canonicalize(dir).map_err(|e| Error::io("open directory", dir, e));
    let (path, temp) = (open(path)?, open(temp)?);
    let memory = memory.as_deref().map(open).transpose()?;
    let memory: Vec<PathBuf> = memory.into_iter().chain([PathBuf::from(SHM)]).collect();
    let search = |temp| Scan {
        fs: &**fs,
        path: &path,
        temp,
        from: from.as_deref(),
        prefix: prefix.as_deref(),
        memory: &memory,
        without_memory: *without_memory,
        dry_run: *dry_run,
    };
    let (mut recovery, mut audience) = (Recovery::default(), Audience::default());
    // Writers whose `temp` is on another file system have their temp files in `path`.
    for dir in [Some(&temp), Some(&path).filter(|path| **path != temp)].into_iter().flatten() {
        let untold = run::run(search(dir), None, &mut recovery, &mut audience)?;
        recovery.errors.extend(untold.errors);
    }
    Ok(recovery)
}
