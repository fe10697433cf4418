//! Open directories and symbolic links.
//!
//! Guarantees: an open directory is neither renamed nor removed, so its path leads to it. Symbolic links and junctions
//! count as links, and are not followed.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::windows::fs::{OpenOptionsExt, symlink_file};
use std::path::{Path, PathBuf};

use windows_sys::Win32::Foundation::{ERROR_NOT_A_REPARSE_POINT, ERROR_SHARING_VIOLATION};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_SHARE_READ, FILE_SHARE_WRITE,
};

use crate::base::sys::Facts;
use crate::base::sys::windows::file;

/// An open directory.
pub(crate) struct Dir {
    path: PathBuf,
    /// Opened so that others may use what is in it, but not rename or remove it.
    _handle: File,
}

/// Opens the directory of this path.
pub(crate) fn open(path: &Path) -> io::Result<Dir> {
    let handle = OpenOptions::new()
        .read(true)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)?;
    if !file::facts(&handle)?.is_dir {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(Dir { path: path.to_owned(), _handle: handle })
}

/// Makes a symbolic link to a file. Windows permits that to administrators and in developer mode.
pub(crate) fn link(target: &Path, link: &Path) -> io::Result<()> {
    symlink_file(target, link)
}

/// Where a symbolic link leads. `None` if there is nothing of that name.
pub(crate) fn read_link(link: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_link(link) {
        Ok(target) => Ok(Some(target)),
        Err(error) if file::is_absent(&error) => Ok(None),
        Err(error) if error.raw_os_error() == Some(ERROR_NOT_A_REPARSE_POINT as i32) => {
            Err(io::ErrorKind::InvalidInput.into())
        }
        Err(error) => Err(error),
    }
}

/// A rename that replaces.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

impl Dir {
    /// Shows each name, and whether it may be a directory, until `see` returns `false`.
    pub(crate) fn each(&self, see: &mut dyn FnMut(&OsStr, bool) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let may_be_dir = entry.file_type().map_or(true, |kind| kind.is_dir());
            if !see(&entry.file_name(), may_be_dir) {
                break;
            }
        }
        Ok(())
    }

    /// Metadata of this name, if it exists.
    pub(crate) fn facts(&self, name: &OsStr) -> io::Result<Option<Facts>> {
        file::facts_at(&self.path.join(name))
    }

    /// Opens a directory in this one. `None` if the name is anything else, or is gone.
    pub(crate) fn open_dir(&self, name: &OsStr) -> io::Result<Option<Dir>> {
        match open(&self.path.join(name)) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if file::is_absent(&error) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    /// Removes an empty directory. One that somebody looks at counts as not empty: it stays.
    pub(crate) fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        fs::remove_dir(self.path.join(name)).map_err(|error| match error.raw_os_error() {
            Some(code) if code == ERROR_SHARING_VIOLATION as i32 => {
                io::ErrorKind::DirectoryNotEmpty.into()
            }
            _ => error,
        })
    }
}
