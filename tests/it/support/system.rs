//! What systems tell in different ways, or not at all: identities of files, permissions, symbolic links, boots.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bufferedwriter::testing::{Fs, RealFs};
use bufferedwriter::{Config, RecoverOptions};
use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::os::{PermissionsExt, symlink};

use super::fs::{Answer, TestFs};

/// What tells whether somebody touched a file: its device and number, and when it last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traces {
    pub id: (u64, u64),
    /// Its permissions.
    pub mode: u32,
    /// The moments of the last change, of the contents and of all else, where the system tells both.
    pub changed: [i64; 4],
    /// Bytes that it takes on the disk.
    pub allocated: u64,
}

/// Of this path, without following a link.
#[cfg(unix)]
pub fn traces(path: &Path) -> std::io::Result<Traces> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::symlink_metadata(path)?;
    Ok(Traces {
        id: (found.dev(), found.ino()),
        mode: found.mode(),
        changed: [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()],
        allocated: found.blocks() * 512,
    })
}

/// std has no stable way to them here, so the library is asked.
#[cfg(windows)]
pub fn traces(path: &Path) -> std::io::Result<Traces> {
    let found = RealFs.facts(path)?.ok_or(std::io::ErrorKind::NotFound)?;
    let changed = [found.modified as i64, 0, 0, 0];
    Ok(Traces { id: found.id, mode: found.mode, changed, allocated: found.allocated })
}

/// A file or a directory has exactly these permissions, unless they are those of its directory.
#[track_caller]
pub fn assert_mode(path: &Path, mode: u32) {
    let found = fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert!(cfg!(windows) || found == mode, "{}: {found:o}", path.display());
}

/// Makes a symbolic link. Where the system makes none, this says that a test, or a part of it, is skipped.
#[must_use]
pub fn links(to: impl AsRef<Path>, link: impl AsRef<Path>) -> bool {
    let result = symlink(to, &link);
    // Wine before version 10 says that it made one, and made none.
    let is_there = fs::symlink_metadata(link).is_ok_and(|found| found.is_symlink());
    if !is_there && cfg!(windows) {
        println!("skipped: this system makes no symbolic links");
        return false;
    }
    result.unwrap();
    assert!(is_there);
    true
}

/// Whether this system makes symbolic links. If not, this says that a test is skipped.
pub fn has_links() -> bool {
    let dir = TestDir::new();
    links(dir.join("nowhere"), dir.join("link"))
}

/// The machine's file system with the number of a boot, where the system counts none.
pub fn counts_boots() -> Arc<TestFs> {
    TestFs::new(|_| Answer::Go)
}

/// The same options, of a writer whose files a recovery knows to be of this boot.
pub fn of_this_boot(config: Config) -> Config {
    if RealFs.boot_id().is_some() { config } else { config.fs(counts_boots()) }
}

/// A recovery of these directories that knows which files are of this boot.
pub fn recovery_of(path: impl AsRef<Path>, temp: impl AsRef<Path>) -> RecoverOptions {
    let options = RecoverOptions::new(path.as_ref(), temp.as_ref());
    if RealFs.boot_id().is_some() { options } else { options.fs(counts_boots()) }
}
