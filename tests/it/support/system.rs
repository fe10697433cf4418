//! What systems tell in different ways, or not at all: identities of files, permissions, symbolic links, boots.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use bufferedwriter::testing::{Fs, RealFs};
use bufferedwriter::{Config, RecoverOptions};
use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::os::{PermissionsExt, makes_links, removes_open_files, symlink};

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
pub fn traces(path: &Path) -> io::Result<Traces> {
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
pub fn traces(path: &Path) -> io::Result<Traces> {
    let found = RealFs.facts(path)?.ok_or(io::ErrorKind::NotFound)?;
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
    let makes = makes_links();
    if makes {
        symlink(to, &link).unwrap();
    }
    makes
}

/// Whether a directory can be renamed while a file in it is open. If not, this says that a test is skipped.
pub fn moves_used_dirs() -> bool {
    let dir = TestDir::new();
    let _file = fs::File::create(dir.dir("used").join("file")).unwrap();
    let moved = fs::rename(dir.join("used"), dir.join("moved"));
    if cfg!(windows) && moved.is_err() {
        println!("skipped: this system renames no directory with an open file in it");
        return false;
    }
    moved.unwrap();
    true
}

/// Whether this may be a file of a writer that is closed, though its name is still there: the writer has it open, and
/// the system shows it until nobody has. A state file and a journal stay open as long as the writer.
pub fn may_be_removed(path: &Path) -> bool {
    static KEEPS_NAMES: LazyLock<bool> = LazyLock::new(|| cfg!(windows) && !removes_open_files());
    *KEEPS_NAMES && path.extension().is_some_and(|end| end == "state" || end == "journal")
}

/// Whether the system tells a path of this length. If not, this says that a test is skipped.
pub fn tells_path(dir: &Path) -> bool {
    let tells = !cfg!(windows) || dir.canonicalize().is_ok();
    if !tells {
        println!("skipped: this system does not tell paths that are as long as it permits");
    }
    tells
}

/// A name that begins with this text, and is no Unicode.
#[cfg(unix)]
pub fn not_unicode(begin: &str) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec([begin.as_bytes(), b"\xff"].concat())
}

/// It ends in half of a character.
#[cfg(windows)]
pub fn not_unicode(begin: &str) -> OsString {
    let units: Vec<u16> = begin.encode_utf16().chain([0xd800]).collect();
    std::os::windows::ffi::OsStringExt::from_wide(&units)
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
