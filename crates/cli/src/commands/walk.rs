//! The files in a directory and below it.
//!
//! Guarantees: in the order of their paths; no link is followed. Names that begin with a dot are set apart: files of
//! writers that are at work, and what dead ones left.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bufferedwriter::FileName;

/// What a directory holds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) hidden: Vec<PathBuf>,
    /// Directories that could not be read, and why.
    pub(crate) errors: Vec<(PathBuf, io::Error)>,
}

/// Lists a directory.
pub(crate) fn walk(dir: &Path) -> Found {
    let mut found = Found::default();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        if let Err(error) = list(&dir, &mut dirs, &mut found) {
            found.errors.push((dir, error));
        }
    }
    found.files.sort();
    found.hidden.sort();
    found
}

/// The hidden files in a directory itself, of which there may be many others: temp directories are shared.
pub(crate) fn hidden_in(dir: &Path) -> Vec<PathBuf> {
    let mut found = Found::default();
    // Whoever needs the directory tells that it can't be read.
    let _ = list(dir, &mut Vec::new(), &mut found);
    found.hidden.sort();
    found.hidden
}

fn list(dir: &Path, dirs: &mut Vec<PathBuf>, found: &mut Found) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if kind.is_dir() && !is_hidden {
            dirs.push(entry.path());
        } else if kind.is_file() && is_hidden {
            found.hidden.push(entry.path());
        } else if kind.is_file() {
            found.files.push(entry.path());
        }
    }
    Ok(())
}

/// The parts of a file's name, if a writer made it.
pub(crate) fn parsed(path: &Path) -> Option<FileName> {
    path.file_name().and_then(FileName::parse)
}
