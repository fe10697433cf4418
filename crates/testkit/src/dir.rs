//! Directories of one test, gone at its end.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own for one test. Its path is absolute and free of symbolic links.
#[derive(Debug)]
pub struct TestDir {
    path: PathBuf,
    is_kept_on_failure: bool,
}

impl TestDir {
    /// In the system's directory for temporary files.
    ///
    /// # Panics
    /// It can't be made.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> TestDir {
        TestDir::within(&std::env::temp_dir())
    }

    /// In a directory of the caller's choice, for the sake of its file system.
    ///
    /// # Panics
    /// It can't be made.
    pub fn within(parent: &Path) -> TestDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bufferedwriter-test-{}-{count}", std::process::id());
        let dir = parent.canonicalize().unwrap().join(name);
        // A left-over of a killed run that had the same process id.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        TestDir { path: dir, is_kept_on_failure: false }
    }

    /// Stays where it is if the test fails, for a look at what can't be repeated.
    #[must_use]
    pub fn kept_on_failure(mut self) -> TestDir {
        self.is_kept_on_failure = true;
        self
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Makes a directory in it.
    ///
    /// # Panics
    /// It can't be made.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.join(name);
        fs::create_dir(&dir).unwrap();
        dir
    }

    /// The names in it, sorted by their bytes.
    pub fn list(&self) -> Vec<OsString> {
        list(&self.path)
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        if !(self.is_kept_on_failure && std::thread::panicking()) {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The names in a directory, sorted by their bytes.
///
/// # Panics
/// It can't be read.
#[track_caller]
pub fn list(dir: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// The paths in a directory, in the order of their names.
///
/// # Panics
/// It can't be read.
#[track_caller]
pub fn paths(dir: &Path) -> Vec<PathBuf> {
    list(dir).into_iter().map(|name| dir.join(name)).collect()
}

/// The paths of all that is no directory, in a directory and below it, sorted. No link is followed.
///
/// # Panics
/// It can't be read.
#[track_caller]
pub fn paths_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths(dir) {
        // It may have been renamed meanwhile.
        match fs::symlink_metadata(&path) {
            Ok(known) if known.is_dir() => found.extend(paths_below(&path)),
            _ => found.push(path),
        }
    }
    found
}

/// The names of those paths that stand in a directory, which need not exist.
pub fn names_in<'a>(dir: &Path, paths: impl Iterator<Item = &'a PathBuf>) -> Vec<OsString> {
    let there = paths.filter(|path| path.parent() == Some(dir));
    there.filter_map(|path| path.file_name()).map(OsString::from).collect()
}

/// Whether a name begins with a dot, as those of unfinished files do.
pub fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_its_own_is_gone_at_the_end() {
        let (one, other) = (TestDir::new(), TestDir::new());
        assert_ne!(one.path(), other.path());
        fs::write(one.dir("b").join("file"), "x").unwrap();
        fs::write(one.join(".a"), "x").unwrap();
        assert_eq!(one.list(), [".a", "b"]);
        let hidden: Vec<bool> = paths(one.path()).iter().map(|path| is_hidden(path)).collect();
        assert_eq!(hidden, [true, false]);
        let below = [one.join("b"), one.join("b/file")];
        assert_eq!(names_in(one.path(), below.iter()), ["b"]);
        std::os::unix::fs::symlink(one.path(), one.join("b/link")).unwrap();
        let below = [".a", "b/file", "b/link"].map(|name| one.join(name));
        assert_eq!(paths_below(one.path()), below);
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists() && other.path().is_dir());
    }
}
