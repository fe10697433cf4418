//! Addresses of bytes in the arena.
//!
//! Guarantees: nothing. Each unsafe use must show that the caller may access the bytes. Refuses:
//! nothing.

/// Committed bytes.
#[cfg(not(loom))]
pub(crate) type Bytes<'a> = &'a [u8];
/// loom's cells cannot form a slice.
#[cfg(loom)]
pub(crate) type Bytes<'a> = std::borrow::Cow<'a, [u8]>;

/// Address of a byte in the arena.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct BytePtr(*mut u8);

#[cfg(not(loom))]
impl BytePtr {
    pub(crate) const NONE: BytePtr = BytePtr(std::ptr::null_mut());

    /// Creates an address. Each use must show why it is sound.
    #[inline(always)]
    pub(crate) fn new(at: *mut u8) -> Self {
        BytePtr(at)
    }

    #[inline(always)]
    pub(crate) fn get_ptr(self) -> *mut u8 {
        self.0
    }

    /// The address `bytes` further on.
    ///
    /// # Safety
    /// The result lies within the chunk or at its end.
    #[inline(always)]
    pub(crate) unsafe fn add(self, bytes: usize) -> BytePtr {
        // SAFETY: the caller promises that the result stays within the chunk or at its end.
        BytePtr(unsafe { self.0.add(bytes) })
    }

    /// Copies a record's bytes here and returns the address after them.
    ///
    /// # Safety
    /// The caller leases the chunk, and `bytes` fits between here and its end.
    #[inline(always)]
    pub(crate) unsafe fn put(self, bytes: &[u8]) -> BytePtr {
        // SAFETY: the caller promises the room. The source does not overlap: no reference to
        // uncommitted bytes is ever handed out.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0, bytes.len());
            BytePtr(self.0.add(bytes.len()))
        }
    }

    /// Copies bytes from another chunk here and returns the address after them.
    ///
    /// # Safety
    /// The caller leases both chunks and wrote the bytes, which fit between here and the end.
    pub(crate) unsafe fn copy(self, from: BytePtr, len: usize) -> BytePtr {
        // SAFETY: the caller promises initialised bytes and the room for them; two chunks do not
        // overlap.
        unsafe {
            std::ptr::copy_nonoverlapping(from.0, self.0, len);
            BytePtr(self.0.add(len))
        }
    }

    /// The committed bytes from here on.
    ///
    /// # Safety
    /// The next `len` bytes are committed, and the chunk is not freed during `'a`.
    pub(crate) unsafe fn get<'a>(self, len: usize) -> &'a [u8] {
        // SAFETY: committed bytes are initialised, and nothing writes to them before the chunk is
        // freed.
        unsafe { std::slice::from_raw_parts(self.0, len) }
    }
}

/// Holds one cell per byte: a cell for the whole chunk would report accesses to different bytes as
/// a race.
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
    /// As in the real type.
    pub(crate) unsafe fn add(self, bytes: usize) -> BytePtr {
        // SAFETY: as in the real type, the caller keeps the result within the chunk or at its end.
        BytePtr(unsafe { self.0.add(bytes) })
    }

    /// # Safety
    /// As in the real type.
    pub(crate) unsafe fn put(self, bytes: &[u8]) -> BytePtr {
        for (i, &byte) in bytes.iter().enumerate() {
            // SAFETY: the caller promises the room; loom checks that no other thread accesses the
            // cell.
            unsafe { (*self.0.add(i)).with_mut(|cell| *cell = byte) };
        }
        // SAFETY: at most one past the end of the chunk.
        BytePtr(unsafe { self.0.add(bytes.len()) })
    }

    /// # Safety
    /// As in the real type.
    pub(crate) unsafe fn copy(self, from: BytePtr, len: usize) -> BytePtr {
        // SAFETY: as in the real type, the bytes exist and fit here.
        unsafe { self.put(&from.get(len)) }
    }

    /// # Safety
    /// As in the real type.
    pub(crate) unsafe fn get(self, len: usize) -> Vec<u8> {
        // SAFETY: the bytes are within the chunk; loom checks that no thread writes the cell.
        (0..len).map(|i| unsafe { (*self.0.add(i)).with(|cell| *cell) }).collect()
    }
}
