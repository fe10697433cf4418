//! The directories below that of visible files: made when a file appears in one, synced, and walked.
//!
//! Guarantees: no symbolic link below `path` is followed. A directory lets those in who may read
//! the files in it, and nobody else. Refuses whatever stands in the place of a directory.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::file::publish::{self, Refusal};
use crate::fs::Fs;
use crate::report::error::Error;

/// How often a directory that others make and remove meanwhile is looked for.
const ATTEMPTS_MAX: usize = 8;

/// Makes the directories from `path` down to `below`, and renames a file into the last one. Makes
/// them again if somebody removes them meanwhile, as who tidies up does with empty ones.
pub(crate) fn rename<T>(
    fs: &dyn Fs,
    path: &Path,
    below: &Path,
    mode: u32,
    mut rename: impl FnMut(&Path) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut attempt = 1;
    loop {
        let dir = make(fs, path, below, mode).map_err(|error| Refusal::Retry(error, None))?;
        match rename(&dir) {
            Err(Refusal::Retry(error, None))
                if error.kind() == ErrorKind::NotFound && dir != path && attempt < ATTEMPTS_MAX =>
            {
                attempt += 1;
            }
            renamed => return renamed,
        }
    }
}

/// Makes the directories from `path` down to `below`, which has plain parts only. They suit files
/// with permissions `mode`. Returns the last one.
fn make(fs: &dyn Fs, path: &Path, below: &Path, mode: u32) -> Result<PathBuf, Error> {
    let mut dir = path.to_owned();
    for part in below {
        dir.push(part);
        make_one(fs, &dir, dir_mode(mode))?;
    }
    Ok(dir)
}

fn make_one(fs: &dyn Fs, dir: &Path, mode: u32) -> Result<(), Error> {
    let failed = |e| Error::io("create directory", dir, e);
    for _ in 0..ATTEMPTS_MAX {
        match fs.facts(dir).map_err(|e| Error::io("look up", dir, e))? {
            Some(facts) if facts.is_dir => return Ok(()),
            Some(_) => return Err(failed(ErrorKind::NotADirectory.into())),
            None => {}
        }
        match fs.create_dir(dir, mode) {
            // Somebody was quicker: is it a directory?
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => return created.map_err(failed),
        }
    }
    Err(failed(ErrorKind::AlreadyExists.into()))
}

/// The permissions of a directory of files with these permissions.
fn dir_mode(mode: u32) -> u32 {
    let readers = [0o040, 0o004].into_iter().filter(|reader| mode & reader != 0);
    readers.fold(0o700, |all, reader| all | reader | reader >> 2)
}

/// `path` and each directory from there down to `below`.
pub(crate) fn chain(path: &Path, below: &Path) -> impl Iterator<Item = PathBuf> {
    let mut dirs = vec![path.to_owned()];
    for part in below {
        dirs.push(dirs[dirs.len() - 1].join(part));
    }
    dirs.into_iter()
}

/// Syncs the names in `path`, or in a directory below it. Who removed or moved that has taken its
/// names along.
pub(crate) fn sync(fs: &dyn Fs, path: &Path, dir: &Path) -> Result<(), Error> {
    match publish::sync_dir(fs, dir) {
        Err(error) if error.kind() == ErrorKind::NotFound && dir != path => Ok(()),
        synced => synced,
    }
}

/// `path`, and the directories below it, down to this depth.
pub(crate) fn walk(fs: &dyn Fs, path: &Path, depth: usize) -> Result<Vec<PathBuf>, Error> {
    let mut found = vec![path.to_owned()];
    let mut level = 0;
    for _ in 0..depth {
        let end = found.len();
        for at in level..end {
            for name in list(fs, path, &found[at])? {
                let dir = found[at].join(name);
                if is_partition(fs, &dir)? {
                    found.push(dir);
                }
            }
        }
        level = end;
    }
    Ok(found)
}

/// The names in `path`, or in a directory below it, which others may have removed meanwhile.
pub(crate) fn list(fs: &dyn Fs, path: &Path, dir: &Path) -> Result<Vec<OsString>, Error> {
    match fs.list(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound && dir != path => Ok(Vec::new()),
        listed => listed.map_err(|e| Error::io("list", dir, e)),
    }
}

/// Whether a template can name a directory like this: engines skip other names.
pub(crate) fn may_be_partition(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    !name.is_empty() && !name.starts_with(b".") && !name.starts_with(b"_")
}

/// Whether this can be a directory that a template names.
pub(crate) fn is_partition(fs: &dyn Fs, dir: &Path) -> Result<bool, Error> {
    if !may_be_partition(dir.file_name().unwrap_or_default()) {
        return Ok(false);
    }
    let facts = fs.facts(dir).map_err(|e| Error::io("look up", dir, e))?;
    Ok(facts.is_some_and(|facts| facts.is_dir))
}
