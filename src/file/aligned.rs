//! Staging memory, in which workers assemble whole blocks for direct I/O.
//!
//! Guarantees: page-aligned, bounded, and touched only when it is first used. Workers share the
//! mapping but no bytes of it. Refuses nothing, never touches files.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::base::sys::InChild;
use crate::base::sys::memory::{self, Mapping};

/// Each worker's part, and each block of a file, begins at a multiple of this. Pages of memory may be larger.
pub(crate) const PAGE: usize = 4096;
/// Size of a huge page. The kernel pins one in a single step rather than in 512, which halves its
/// share of the cost of a direct write.
const HUGE: usize = 2 << 20;
/// From this size of a worker's part on, huge pages pay. They are touched as a whole.
const HUGE_FROM: usize = 1 << 20;

/// Bytes that may be touched in a mapping for `workers` parts of `bytes` each.
pub(crate) fn mapped_bytes(workers: usize, bytes: usize) -> usize {
    let all = workers.saturating_mul(bytes);
    if bytes < HUGE_FROM { all } else { all.saturating_add(HUGE - 1) / HUGE * HUGE }
}

/// The mapping. The last worker's part unmaps it.
struct Region {
    _map: Mapping,
    /// The part of it that workers use.
    begin: NonNull<u8>,
    used: usize,
}

/// One worker's part of the mapping.
pub(crate) struct Staging {
    /// Keeps the mapping alive. `None` if there is no memory.
    region: Option<Arc<Region>>,
    /// Start of `capacity` bytes that belong to this value alone.
    begin: NonNull<u8>,
    /// A multiple of [`PAGE`].
    capacity: usize,
    /// At most `capacity`.
    len: usize,
}

// SAFETY: the bytes belong to this value alone and are not bound to a thread.
unsafe impl Send for Staging {}
// SAFETY: a region only keeps its mapping. The bytes belong to the parts.
unsafe impl Send for Region {}
// SAFETY: a shared region gives access to no byte; see `Send`.
unsafe impl Sync for Region {}

impl Staging {
    /// No memory: files go through the page cache.
    pub(crate) fn none() -> Self {
        Staging { region: None, begin: NonNull::dangling(), capacity: 0, len: 0 }
    }

    /// One part of `bytes` bytes, a multiple of [`PAGE`], for each worker. With 0 bytes nothing is
    /// mapped.
    pub(crate) fn for_workers(workers: usize, bytes: usize) -> io::Result<Vec<Self>> {
        debug_assert!(bytes % PAGE == 0);
        if bytes == 0 {
            return Ok((0..workers).map(|_| Self::none()).collect());
        }
        let used = mapped_bytes(workers, bytes);
        let is_huge = bytes >= HUGE_FROM;
        // Leaves room to begin at a huge page. The memory before and after that is never touched.
        let len =
            used.checked_add(if is_huge { HUGE } else { 0 }).ok_or(io::ErrorKind::OutOfMemory)?;
        // A forked child has no workers. If it shared these pages, a direct write in progress could
        // see a copy (open(2)), and each page would be copied on its next use.
        let map = Mapping::new(len, InChild::Nothing)?;
        let skip = if is_huge { map.begin().as_ptr().align_offset(HUGE) } else { 0 };
        // SAFETY: `len` has room for `skip` bytes in front of the used ones.
        let begin = unsafe { map.begin().add(skip) };
        if is_huge {
            // SAFETY: within the mapping, which has no content yet.
            unsafe { memory::prefer_huge(begin, used) };
        }
        let region = Arc::new(Region { _map: map, begin, used });
        let part = |worker| Staging {
            region: Some(region.clone()),
            // SAFETY: within the mapping, since `used` is at least `workers * bytes`.
            begin: unsafe { begin.add(worker * bytes) },
            capacity: bytes,
            len: 0,
        };
        Ok((0..workers).map(part).collect())
    }

    /// Makes all parts of the mapping resident, and locks them.
    pub(crate) fn lock(&self) -> io::Result<()> {
        let Some(region) = &self.region else { return Ok(()) };
        // SAFETY: within the region's mapping, which only workers use.
        unsafe { memory::lock(region.begin, region.used) }
    }

    /// Bytes that it can hold; 0 if there is no memory.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The bytes in it.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the bytes belong to this value. They are initialised, since the mapping began as
        // zeros.
        unsafe { std::slice::from_raw_parts(self.begin.as_ptr(), self.len) }
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends as much of `bytes` as fits. Returns how much that was.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.capacity - self.len);
        // SAFETY: the free part belongs to this value, and no reference to it exists.
        unsafe {
            let to = self.begin.as_ptr().add(self.len);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, len);
        }
        self.len += len;
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::process::mapped;

    #[test]
    fn parts_are_aligned_apart_and_take_what_fits() {
        for bytes in [PAGE, 3 * PAGE, HUGE_FROM] {
            let mut parts = Staging::for_workers(3, bytes).unwrap();
            for (i, part) in parts.iter_mut().enumerate() {
                assert_eq!((part.capacity(), part.bytes().len()), (bytes, 0));
                assert!(part.bytes().as_ptr().addr().is_multiple_of(PAGE));
                assert_eq!(part.put(&vec![i as u8 + 1; bytes - 1]), bytes - 1);
                assert_eq!(part.put(&[9; 5]), 1);
                assert_eq!((part.put(&[9]), part.bytes().len()), (0, bytes));
            }
            for (i, part) in parts.iter().enumerate() {
                assert!(part.bytes()[..bytes - 1].iter().all(|&b| b == i as u8 + 1));
            }
        }
    }

    /// Other tests map less than the margin meanwhile.
    #[test]
    fn memory_goes_with_the_last_part() {
        let before = mapped();
        for _ in 0..64 {
            drop(Staging::for_workers(256, 4 << 20).unwrap());
        }
        assert!(mapped() < before + (32 << 30));
    }

    #[test]
    fn what_huge_pages_take_is_counted() {
        let below = HUGE_FROM - PAGE;
        assert_eq!(mapped_bytes(3, below), 3 * below);
        assert_eq!(mapped_bytes(2, HUGE_FROM), HUGE);
        assert_eq!(mapped_bytes(3, HUGE_FROM), 2 * HUGE);
        assert_eq!(mapped_bytes(1, HUGE), HUGE);
        assert_eq!(mapped_bytes(usize::MAX, 0), 0);
        assert_eq!(mapped_bytes(usize::MAX, PAGE), usize::MAX);
    }

    #[test]
    fn no_memory_holds_nothing() {
        let mut none = Staging::none();
        assert_eq!((none.capacity(), none.put(b"abc"), none.bytes()), (0, 0, &b""[..]));
    }
}
