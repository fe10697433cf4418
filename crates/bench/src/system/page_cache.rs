//! How much of a directory's files the page cache holds.
//!
//! Guarantees: the query itself neither loads nor evicts a page.

use std::fs::File;
use std::io;
use std::ops::Add;
use std::os::fd::AsRawFd;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The same number on all architectures; the libc crate lacks it on some.
const SYS_CACHESTAT: libc::c_long = 451;

/// What is cached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cached {
    /// All cached bytes, dirty ones included.
    pub bytes: u64,
    /// Bytes that are still to be written or being written; `None` if the kernel does not tell (before 6.5).
    pub dirty_bytes: Option<u64>,
}

impl Add for Cached {
    type Output = Cached;
    fn add(self, other: Cached) -> Cached {
        let dirty_bytes = self.dirty_bytes.zip(other.dirty_bytes).map(|(a, b)| a + b);
        Cached { bytes: self.bytes + other.bytes, dirty_bytes }
    }
}

/// Of all files in `dir`, not of those below further directories.
pub fn of_files(dir: &Path) -> io::Result<Cached> {
    let mut sum = Cached { bytes: 0, dirty_bytes: Some(0) };
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            sum = sum + of_file(&File::open(entry.path())?)?;
        }
    }
    Ok(sum)
}

fn of_file(file: &File) -> io::Result<Cached> {
    match by_cachestat(file) {
        // Old kernels lack it; some sandboxes forbid it.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            by_mincore(file)
        }
        result => result,
    }
}

pub(crate) fn page_bytes() -> u64 {
    // SAFETY: only reads a number.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

fn by_cachestat(file: &File) -> io::Result<Cached> {
    // Offset and length; a length of 0 is up to the end.
    let range = [0_u64; 2];
    // Pages: cached, dirty, under writeback, evicted, recently evicted.
    let mut pages = [0_u64; 5];
    let (range, answer) = (range.as_ptr(), pages.as_mut_ptr());
    // SAFETY: the file is open; both arrays have the layout of the kernel's structures.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), range, answer, 0) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let [cached, dirty, writeback, ..] = pages;
    let dirty_bytes = Some((dirty + writeback) * page_bytes());
    Ok(Cached { bytes: cached * page_bytes(), dirty_bytes })
}

fn by_mincore(file: &File) -> io::Result<Cached> {
    let len = file.metadata()?.len() as usize;
    if len == 0 {
        return Ok(Cached::default());
    }
    let mut resident = vec![0_u8; len.div_ceil(page_bytes() as usize)];
    // SAFETY: a new mapping, which is only passed to `mincore` and then unmapped; the vector has a byte for each
    // page.
    unsafe {
        let (prot, flags) = (libc::PROT_READ, libc::MAP_SHARED);
        let map = libc::mmap(std::ptr::null_mut(), len, prot, flags, file.as_raw_fd(), 0);
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let result = libc::mincore(map, len, resident.as_mut_ptr());
        let error = io::Error::last_os_error();
        libc::munmap(map, len);
        if result != 0 {
            return Err(error);
        }
    }
    let pages = resident.iter().filter(|page| **page & 1 == 1).count() as u64;
    Ok(Cached { bytes: pages * page_bytes(), dirty_bytes: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::scratch::Scratch;

    /// Just written, so it is cached; both ways agree on it.
    #[test]
    fn both_ways_see_a_new_file() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let path = scratch.path().join("file");
        std::fs::write(&path, vec![b'x'; 100_000]).unwrap();
        let file = File::open(&path).unwrap();
        let all = 100_000_u64.div_ceil(page_bytes()) * page_bytes();
        assert_eq!(by_mincore(&file).unwrap().bytes, all);
        if let Ok(cached) = by_cachestat(&file) {
            assert_eq!(cached.bytes, all);
            assert!(cached.dirty_bytes.unwrap() <= all);
        }
        assert_eq!(of_files(scratch.path()).unwrap().bytes, all);
    }

    #[test]
    fn an_empty_file_has_no_pages() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let file = File::create_new(scratch.path().join("empty")).unwrap();
        assert_eq!(by_mincore(&file).unwrap().bytes, 0);
        assert_eq!(of_file(&file).unwrap().bytes, 0);
    }

    #[test]
    fn what_one_file_does_not_tell_the_sum_does_not_either() {
        let (known, unknown) =
            (Cached { bytes: 1, dirty_bytes: Some(1) }, Cached { bytes: 2, dirty_bytes: None });
        assert_eq!(known + unknown, Cached { bytes: 3, dirty_bytes: None });
    }
}
