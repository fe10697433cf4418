//! Files that are read and written at offsets, and how many may be open.

use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt;
use std::path::Path;

/// Opens a regular file that is read from its beginning to its end.
pub(crate) fn open_finished(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

pub(crate) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(into, offset)
}

pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_write(bytes, offset)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
        }
    }
    Ok(())
}

/// Files inherit their permissions from the directory.
pub(crate) fn make_readable(_: &File) -> io::Result<()> {
    Ok(())
}

/// How many files the process may have open. The system has no limit that is worth a thought.
pub(crate) fn open_files_max() -> usize {
    usize::MAX
}
