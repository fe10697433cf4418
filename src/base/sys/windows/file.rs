//! Calls to files and their directories.
//!
//! Guarantees: no symbolic link is opened. Others may rename and remove a file while it is open (FILE_SHARE_DELETE,
//! std's default), so a reader does not hinder a writer. A lock is of a byte that no file has, so it hinders no reader.
//! Refuses: direct I/O, permissions as numbers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::os::windows::io::AsRawHandle;
use std::path::Path;

use windows_sys::Win32::Foundation::{
    ERROR_DIRECTORY, ERROR_FILE_NOT_FOUND, ERROR_INVALID_FUNCTION, ERROR_IO_PENDING,
    ERROR_LOCK_VIOLATION, ERROR_NOT_SUPPORTED, ERROR_PATH_NOT_FOUND,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_TAG_INFO, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT,
    FILE_READ_ATTRIBUTES, FILE_STANDARD_INFO, FileAttributeTagInfo, FileStandardInfo,
    GetDiskFreeSpaceExW, GetFileInformationByHandle, GetFileInformationByHandleEx,
    LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, MoveFileExW,
};
use windows_sys::Win32::System::IO::OVERLAPPED;

use crate::base::sys::Facts;

/// The byte that is locked: the last but one that an offset can name.
const LOCK_AT: u64 = i64::MAX as u64 - 1;
/// From 1601 to 1970, in units of 100 ns.
const EPOCH: u64 = 116_444_736_000_000_000;

/// Whether an open file keeps its id. On FAT a rename changes it, and under Wine the volume's part. No child shares a
/// handle, so none needs to be told from another file's.
pub(crate) const IDS_STAY: bool = false;

/// A path for a call of the system.
fn wide(path: &Path) -> Vec<u16> {
    path.as_os_str().encode_wide().chain([0]).collect()
}

fn checked(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Creates a new file for reading and writing. It gets the permissions of its directory.
pub(crate) fn create(path: &Path, _: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

/// Opens a file to read and write.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)
}

/// Permissions are no numbers here.
pub(crate) fn set_mode(_: &File, _: u32) -> io::Result<bool> {
    Ok(false)
}

/// Takes the file's lock (LockFileEx). `WouldBlock` if another opening of the file has it.
pub(crate) fn try_lock(file: &File) -> io::Result<()> {
    let mut at = OVERLAPPED::default();
    at.Anonymous.Anonymous.Offset = LOCK_AT as u32;
    at.Anonymous.Anonymous.OffsetHigh = (LOCK_AT >> 32) as u32;
    let flags = LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY;
    // SAFETY: the handle is open, and the call returns before `at` goes: it is not asynchronous.
    let locked = checked(unsafe { LockFileEx(file.as_raw_handle(), flags, 0, 1, 0, &mut at) });
    locked.map_err(|error| match error.raw_os_error().map(|code| code as u32) {
        Some(ERROR_LOCK_VIOLATION | ERROR_IO_PENDING) => io::ErrorKind::WouldBlock.into(),
        _ => error,
    })
}

/// Whether this error of [`try_lock`] says that there are no locks here.
pub(crate) fn has_no_locks(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(|code| code as u32);
    matches!(code, Some(ERROR_INVALID_FUNCTION | ERROR_NOT_SUPPORTED))
}

/// Writes at an offset. It may write less: the first slice that is not empty.
pub(crate) fn write_at(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    let first = slices.iter().find(|slice| !slice.is_empty());
    first.map_or(Ok(0), |slice| file.seek_write(slice, offset))
}

/// Reads at an offset.
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(bytes, offset)
}

/// Metadata of an open file.
pub(crate) fn facts(file: &File) -> io::Result<Facts> {
    let (handle, mut found) = (file.as_raw_handle(), BY_HANDLE_FILE_INFORMATION::default());
    // SAFETY: the handle is open, and the call fills the structure.
    checked(unsafe { GetFileInformationByHandle(handle, &mut found) })?;
    let mut size = FILE_STANDARD_INFO::default();
    let (at, len) = ((&raw mut size).cast(), size_of::<FILE_STANDARD_INFO>() as u32);
    // SAFETY: as above; the buffer has this length.
    checked(unsafe { GetFileInformationByHandleEx(handle, FileStandardInfo, at, len) })?;
    let is = |attribute| found.dwFileAttributes & attribute != 0;
    let is_link = is(FILE_ATTRIBUTE_REPARSE_POINT) && stands_for_another(file);
    let both = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let changed = both(found.ftLastWriteTime.dwHighDateTime, found.ftLastWriteTime.dwLowDateTime);
    Ok(Facts {
        is_file: !is_link && !is(FILE_ATTRIBUTE_DIRECTORY),
        is_dir: !is_link && is(FILE_ATTRIBUTE_DIRECTORY),
        len: both(found.nFileSizeHigh, found.nFileSizeLow),
        allocated: size.AllocationSize as u64,
        uid: 0,
        mode: 0o600,
        links: u64::from(found.nNumberOfLinks),
        id: (
            u64::from(found.dwVolumeSerialNumber),
            both(found.nFileIndexHigh, found.nFileIndexLow),
        ),
        modified: changed.saturating_sub(EPOCH).saturating_mul(100),
    })
}

/// Whether a reparse point stands for another name, as symbolic links and junctions do. Others are files all the same,
/// such as those whose contents a server shares between files.
fn stands_for_another(file: &File) -> bool {
    /// The bit in a tag that says so (IsReparseTagNameSurrogate of ntifs.h).
    const SURROGATE: u32 = 0x2000_0000;
    let mut found = FILE_ATTRIBUTE_TAG_INFO::default();
    let (at, len) = ((&raw mut found).cast(), size_of::<FILE_ATTRIBUTE_TAG_INFO>() as u32);
    // SAFETY: the handle is open, and the buffer has this length.
    let told = checked(unsafe {
        GetFileInformationByHandleEx(file.as_raw_handle(), FileAttributeTagInfo, at, len)
    });
    told.is_err() || found.ReparseTag & SURROGATE != 0
}

/// Whether there is nothing of this path. std's kind would take a server that can't be reached for that.
pub(super) fn is_absent(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(|code| code as u32);
    matches!(code, Some(ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND | ERROR_DIRECTORY))
}

/// Metadata of a path, if it exists. Symbolic links are not followed.
pub(crate) fn facts_at(path: &Path) -> io::Result<Option<Facts>> {
    let opened = OpenOptions::new()
        .access_mode(FILE_READ_ATTRIBUTES)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path);
    match opened {
        Ok(file) => facts(&file).map(Some),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Free bytes that this process may use on the directory's volume.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    // The name of a share must end with a separator.
    let (path, mut free) = (wide(&dir.join("")), 0);
    let null = std::ptr::null_mut();
    // SAFETY: the path ends with a zero, and the call stores one number.
    checked(unsafe { GetDiskFreeSpaceExW(path.as_ptr(), &mut free, null, null) })?;
    Ok(free)
}

/// A rename in one step that never replaces.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (wide(from), wide(to));
    // SAFETY: both paths end with a zero. Without a flag, an existing target is an error.
    checked(unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), 0) })
}

/// Syncs contents and length to the disk (FlushFileBuffers).
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Syncs a directory's entries, as far as Windows permits: only administrators may, and not on each file system. NTFS
/// keeps a journal of renames.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    let found = facts_at(dir)?.ok_or(io::ErrorKind::NotFound)?;
    if !found.is_dir {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let opened = OpenOptions::new().write(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(dir);
    let _ = opened.and_then(|dir| dir.sync_all());
    Ok(())
}

/// A handle can't be opened again without the file's path.
pub(crate) fn reopen(_: &File) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nobody can tell.
pub(crate) fn has_hole(_: &File, _: u64) -> io::Result<bool> {
    Ok(false)
}

/// Room can't be taken without changing the length.
pub(crate) fn reserve(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Files are not sparse here.
pub(crate) fn punch_hole(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A file is opened for direct I/O or not at all, so it can't be switched.
pub(crate) fn may_go_direct(_: &File, _: usize) -> io::Result<bool> {
    Ok(false)
}

/// Not called, since [`may_go_direct`] refuses.
pub(crate) fn go_direct(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// All I/O is.
pub(crate) fn go_buffered(_: &File) -> io::Result<()> {
    Ok(())
}

/// Creates a directory and its missing parents.
pub(crate) fn create_dir_all(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

/// Creates one directory. It gets the permissions of its parent.
pub(crate) fn create_dir(dir: &Path, _: u32) -> io::Result<()> {
    fs::create_dir(dir)
}
