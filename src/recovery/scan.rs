//! The file system as a recovery sees it: it follows no link and trusts no name.
//!
//! Guarantees: the file that it opens is the file whose metadata it read. Changes nothing.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::file::publish;
use crate::file::state_file::format::MemoryDir;
use crate::fs::{Facts, Fs, FsFile, lock_within};
use crate::report::error::Error;

/// How long a child of another process may hold a dead writer's lock between fork and exec.
const SPAWN_MAX: Duration = Duration::from_millis(20);

/// Takes the lock of a file of a writer that may be dead. `WouldBlock` if the writer lives. A child that is being
/// started by posix_spawn(3) holds the locks of its parent until it has become another program.
pub(super) fn lock(file: &mut dyn FsFile) -> io::Result<()> {
    lock_within(file, SPAWN_MAX)
}

/// Where to look, and for what. The directories are canonical.
#[derive(Clone, Copy)]
pub(crate) struct Scan<'a> {
    pub(crate) fs: &'a dyn Fs,
    /// Where files become visible.
    pub(crate) path: &'a Path,
    /// What `path` was called by writers of before, if it was called something else.
    pub(crate) from: Option<&'a Path>,
    /// Where state files and temp files are.
    pub(crate) temp: &'a Path,
    /// `None` = any.
    pub(crate) prefix: Option<&'a OsStr>,
    /// Directories that may hold crash-proof memory.
    pub(crate) memory: &'a [PathBuf],
    /// Memory that is not found is gone for good.
    pub(crate) without_memory: bool,
    pub(crate) dry_run: bool,
}

impl<'a> Scan<'a> {
    /// What the directory of visible files is called, and what it was.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &'a Path> {
        std::iter::once(self.path).chain(self.from)
    }

    /// Whether files of a writer with this `path` become visible where we look.
    pub(crate) fn is_path(&self, path: &Path) -> bool {
        path.as_os_str() == self.path || self.from == Some(path)
    }

    /// What the directory of a writer's memory is called now, if anybody told us of it: it may be
    /// mounted elsewhere.
    pub(crate) fn memory_dir(&self, location: &MemoryDir) -> Result<Option<&'a Path>, Error> {
        for known in self.memory {
            if self.is_dir(known, location.id)? {
                return Ok(Some(known));
            }
        }
        Ok(self.memory.iter().find(|known| **known == location.path).map(PathBuf::as_path))
    }

    /// Whether this is the directory with this device and inode.
    pub(crate) fn is_dir(&self, dir: &Path, id: (u64, u64)) -> Result<bool, Error> {
        Ok(self.facts(dir)?.is_some_and(|now| now.id == id))
    }

    /// The directories in which an instance may have files, each once.
    pub(crate) fn dirs(self) -> impl Iterator<Item = &'a Path> {
        [self.temp, self.path].into_iter().take(if self.temp == self.path { 1 } else { 2 })
    }

    pub(crate) fn list(&self, dir: &Path) -> Result<Vec<OsString>, Error> {
        self.fs.list(dir).map_err(|e| Error::io("list", dir, e))
    }

    pub(crate) fn facts(&self, path: &Path) -> Result<Option<Facts>, Error> {
        self.fs.facts(path).map_err(|e| Error::io("look up", path, e))
    }

    /// Opens the file with this metadata. `None` if the path is gone or has another file meanwhile.
    pub(crate) fn open(
        &self,
        path: &Path,
        known: &Facts,
    ) -> Result<Option<Box<dyn FsFile>>, Error> {
        let file = match self.fs.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|e| Error::io("open", path, e))?,
        };
        let facts = file.facts().map_err(|e| Error::io("look up", path, e))?;
        let shown = |of: &Facts| (of.id, of.is_file, of.uid, of.links, of.len);
        Ok((shown(&facts) == shown(known)).then_some(file))
    }

    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<(), Error> {
        if self.dry_run { Ok(()) } else { publish::sync_dir(self.fs, dir) }
    }
}
