//! What tests need of the system: names that are bytes, permissions, links, files at offsets. Unix has it in std.
//! Elsewhere the same names stand for what comes closest, so that tests need no second text.

#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;

#[cfg(unix)]
mod unix {
    use std::fs::{self, Permissions};
    use std::io;
    use std::path::Path;

    pub use std::os::unix::ffi::{OsStrExt, OsStringExt};
    pub use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, chown, symlink};

    /// Whether this system makes symbolic links.
    pub fn makes_links() -> bool {
        true
    }

    /// Whether a file that is removed while it is open has no name any more.
    pub fn removes_open_files() -> bool {
        true
    }

    /// Sets a file's permissions.
    pub fn set_mode(path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, Permissions::from_mode(mode))
    }
}

#[cfg(windows)]
#[allow(missing_docs, reason = "they are those of std::os::unix")]
mod windows {
    use std::ffi::{OsStr, OsString};
    use std::fs::{self, File, OpenOptions, Permissions};
    use std::io;
    use std::os::windows::fs::{FileExt as _, symlink_dir, symlink_file};
    use std::path::Path;

    use crate::dir::TestDir;

    pub trait OsStrExt {
        /// Bytes that spell no text become others that do.
        fn from_bytes(bytes: &[u8]) -> &Self;
        fn as_bytes(&self) -> &[u8];
    }

    impl OsStrExt for OsStr {
        fn from_bytes(bytes: &[u8]) -> &OsStr {
            match std::str::from_utf8(bytes) {
                Ok(text) => OsStr::new(text),
                Err(_) => OsStr::new(String::from_utf8_lossy(bytes).into_owned().leak()),
            }
        }

        fn as_bytes(&self) -> &[u8] {
            self.as_encoded_bytes()
        }
    }

    pub trait OsStringExt {
        fn from_vec(bytes: Vec<u8>) -> Self;
        fn into_vec(self) -> Vec<u8>;
    }

    impl OsStringExt for OsString {
        fn from_vec(bytes: Vec<u8>) -> OsString {
            OsStr::from_bytes(&bytes).to_owned()
        }

        fn into_vec(self) -> Vec<u8> {
            self.into_encoded_bytes()
        }
    }

    pub trait FileExt {
        fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
        fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    }

    impl FileExt for File {
        fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            let written = self.seek_write(bytes, offset)?;
            if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
        }

        fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
            let read = self.seek_read(bytes, offset)?;
            if read == bytes.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        }
    }

    /// All files have the same.
    pub trait PermissionsExt {
        fn mode(&self) -> u32;
    }

    impl PermissionsExt for Permissions {
        fn mode(&self) -> u32 {
            0o600
        }
    }

    /// Files get the permissions of their directory.
    pub trait OpenOptionsExt {
        fn mode(&mut self, mode: u32) -> &mut Self;
    }

    impl OpenOptionsExt for OpenOptions {
        fn mode(&mut self, _: u32) -> &mut Self {
            self
        }
    }

    /// Owners are no numbers.
    pub fn chown(_: impl AsRef<Path>, _: Option<u32>, _: Option<u32>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// They stay as they are.
    pub fn set_mode(_: impl AsRef<Path>, _: u32) -> io::Result<()> {
        Ok(())
    }

    /// Whether this system makes symbolic links. Wine 8 says that it did, and makes none.
    pub fn makes_links() -> bool {
        let dir = TestDir::new();
        let link = dir.join("link");
        let is_made = symlink("elsewhere", &link).is_ok() && fs::symlink_metadata(link).is_ok();
        if !is_made {
            println!("skipped: this system makes no symbolic links");
        }
        is_made
    }

    /// Whether a file that is removed while it is open has no name any more. Wine 8 keeps the name until the file is
    /// closed, as Windows did before version 10.
    pub fn removes_open_files() -> bool {
        let dir = TestDir::new();
        let _file = File::create(dir.join("file")).unwrap();
        fs::remove_file(dir.join("file")).unwrap();
        let is_gone = dir.list().is_empty();
        if !is_gone {
            println!("skipped: this system keeps the name of an open file that is removed");
        }
        is_gone
    }

    pub fn symlink(to: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
        if to.as_ref().is_dir() { symlink_dir(to, link) } else { symlink_file(to, link) }
    }
}
