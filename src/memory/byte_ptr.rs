//! Bytes of the arena, by their address.
//!
//! Guarantees: nothing by itself: each use says why the bytes are the caller's. Refuses nothing.

/// Committed bytes.
#[cfg(not(loom))]
pub(crate) type Bytes<'a> = &'a [u8];
/// loom's cells have no slice.
#[cfg(loom)]
pub(crate) type Bytes<'a> = std::borrow::Cow<'a, [u8]>;

/// Address of a byte in the arena.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct BytePtr(*mut u8);

#[cfg(not(loom))]
impl BytePtr {
    pub(crate) const NONE: BytePtr = BytePtr(std::ptr::null_mut());

    /// The caller says what may be done with it.
    #[inline(always)]
    pub(crate) fn new(at: *mut u8) -> Self {
        BytePtr(at)
    }

    /// As an address.
    #[inline(always)]
    pub(crate) fn get_ptr(self) -> *mut u8 {
        self.0
    }

    /// The address so many bytes on.
    ///
    /// # Safety
    /// Within the chunk, or at its end.
    #[inline(always)]
    pub(crate) unsafe fn add(self, bytes: usize) -> BytePtr {
        // SAFETY: the caller's promise.
        BytePtr(unsafe { self.0.add(bytes) })
    }

    /// Copies a record's bytes here and returns the address after them.
    ///
    /// # Safety
    /// The caller has the lease of the chunk, and `bytes` fits between here and its end.
    #[inline(always)]
    pub(crate) unsafe fn put(self, bytes: &[u8]) -> BytePtr {
        // SAFETY: room is the caller's promise; a record never lies in the arena itself, since
        // no reference to uncommitted bytes is ever handed out.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0, bytes.len());
            BytePtr(self.0.add(bytes.len()))
        }
    }

    /// Copies bytes from another chunk here and returns the address after them.
    ///
    /// # Safety
    /// The caller has the lease of both chunks and wrote the bytes; they fit between here and the
    /// end.
    pub(crate) unsafe fn copy(self, from: BytePtr, len: usize) -> BytePtr {
        // SAFETY: the caller's promise; two chunks do not overlap.
        unsafe {
            std::ptr::copy_nonoverlapping(from.0, self.0, len);
            BytePtr(self.0.add(len))
        }
    }

    /// The committed bytes from here.
    ///
    /// # Safety
    /// `len` bytes from here on are committed, and the chunk is not freed during `'a`.
    pub(crate) unsafe fn get<'a>(self, len: usize) -> &'a [u8] {
        // SAFETY: committed bytes are initialised and never written again before the free.
        unsafe { std::slice::from_raw_parts(self.0, len) }
    }
}

/// A cell per byte: one for the whole chunk would report the disjoint halves as a race.
#[cfg(loom)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct BytePtr(*const loom::cell::UnsafeCell<u8>);

#[cfg(loom)]
impl BytePtr {
    pub(crate) const NONE: BytePtr = BytePtr(std::ptr::null());

    pub(crate) fn new(at: *const loom::cell::UnsafeCell<u8>) -> Self {
        BytePtr(at)
    }

    /// # Safety
    /// As the real one.
    pub(crate) unsafe fn add(self, bytes: usize) -> BytePtr {
        // SAFETY: as the real one.
        BytePtr(unsafe { self.0.add(bytes) })
    }

    /// # Safety
    /// As the real one.
    pub(crate) unsafe fn put(self, bytes: &[u8]) -> BytePtr {
        for (i, &byte) in bytes.iter().enumerate() {
            // SAFETY: loom checks that nobody else has the cell.
            unsafe { (*self.0.add(i)).with_mut(|cell| *cell = byte) };
        }
        // SAFETY: at most one past the end of the chunk.
        BytePtr(unsafe { self.0.add(bytes.len()) })
    }

    /// # Safety
    /// As the real one.
    pub(crate) unsafe fn copy(self, from: BytePtr, len: usize) -> BytePtr {
        // SAFETY: as the real one.
        unsafe { self.put(&from.get(len)) }
    }

    /// # Safety
    /// As the real one.
    pub(crate) unsafe fn get(self, len: usize) -> Vec<u8> {
        // SAFETY: loom checks that nobody writes the cell.
        (0..len).map(|i| unsafe { (*self.0.add(i)).with(|cell| *cell) }).collect()
    }
}
