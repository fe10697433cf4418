//! The file system as a recovery sees it: it follows no link and trusts no name.
//!
//! Guarantees: the file that it opens is the file whose metadata it read. Changes nothing.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::file::publish;
use crate::fs::{Facts, Fs, FsFile};
use crate::report::error::Error;

/// Where to look, and for what. The directories are canonical.
#[derive(Clone, Copy)]
pub(crate) struct Scan<'a> {
    pub(crate) fs: &'a dyn Fs,
    /// Where files become visible.
    pub(crate) path: &'a Path,
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

impl Scan<'_> {
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
