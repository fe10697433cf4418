//! What differs between operating systems: memory, barriers, locks, randomness, files, directories, forks, signals.
//!
//! Guarantees: only this folder asks which system it is compiled for. `unix` is shared by Linux, macOS and FreeBSD;
//! `linux` and `bsd` have what they do not share. Refuses: other systems do not compile.
//! `docs/guide/platforms.md` says what each system lacks.

#[cfg(not(any(
    target_os = "linux",
    target_os = "macos",
    target_os = "freebsd",
    all(windows, target_pointer_width = "64")
)))]
compile_error!("bufferedwriter supports Linux, macOS, FreeBSD and 64-bit Windows");

#[cfg(any(target_os = "macos", target_os = "freebsd"))]
mod bsd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
pub(crate) mod no_crash_file;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(any(target_os = "macos", target_os = "freebsd"))]
use bsd as native;
#[cfg(target_os = "linux")]
use linux as native;
#[cfg(windows)]
use windows as native;

#[cfg(unix)]
pub(crate) use unix::{dir, file, fork, host, memory, names, signals, threads};
#[cfg(windows)]
pub(crate) use windows::{dir, file, fork, host, memory, names, signals, threads};

pub(crate) use native::{barrier, crash_file};

#[cfg(unix)]
pub use rustix::io::Errno;
#[cfg(windows)]
pub use windows::Errno;

/// Metadata of a path or of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length in bytes.
    pub len: u64,
    /// Bytes that it takes on the disk.
    pub allocated: u64,
    /// User id of the owner. 0 where owners are not numbers (Windows).
    pub uid: u32,
    /// Permissions. Those that the system has, where these are others (Windows).
    pub mode: u32,
    /// Number of hard links.
    pub links: u64,
    /// Unique identity: device and inode.
    pub id: (u64, u64),
    /// When its contents last changed, in nanoseconds since the epoch.
    pub modified: u64,
}

/// What a forked child finds in place of its parent's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InChild {
    /// As many zeros.
    Zeros,
    /// Nothing: an access ends the child.
    Nothing,
}
