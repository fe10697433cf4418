//! All slots of a writer: who writes has one; who ends leaves it to the next.
//!
//! Guarantees: one owner at a time; a slot stays where it is until the last one who holds the list
//! lets it go; after `close` all gates are closed, those of slots to come too. Takes a lock, for a
//! moment, when a thread begins or ends, and never in a write.

use crate::slot::Slot;
use crate::sync::{Acquire, AtomicPtr, Barrier, Mutex, Relaxed, Release, lock};

/// All slots of a writer. Never shrinks while it lives: slots are given from thread to thread.
/// Keeps no writer alive: a thread may hold it long after the writer is gone.
pub(crate) struct Slots {
    /// The slot registered last; they are linked.
    head: AtomicPtr<Slot>,
    barrier: Barrier,
    idle: Mutex<Idle>,
}

struct Idle {
    /// Registered, without an owner.
    slots: Vec<*const Slot>,
    /// Set once, before the closer walks the list: later slots are born closed.
    closed: bool,
}

// SAFETY: the pointers are to slots of the list, which are Sync and live as long as it.
unsafe impl Send for Slots {}
// SAFETY: as above; `idle` is locked.
unsafe impl Sync for Slots {}

impl Slots {
    pub(crate) fn new(barrier: Barrier) -> Self {
        Slots {
            head: AtomicPtr::new(std::ptr::null_mut()),
            barrier,
            idle: Mutex::new(Idle { slots: Vec::new(), closed: false }),
        }
    }

    /// A slot for the caller alone, until it gives it back: one that another owner left, with
    /// whatever it leases, or a new one. It lives as long as `self`.
    pub(crate) fn acquire(&self) -> *const Slot {
        let mut idle = lock(&self.idle);
        if let Some(slot) = idle.slots.pop() {
            return slot;
        }
        let slot = Box::new(Slot::new(self.barrier, self.head.load(Relaxed)));
        if idle.closed {
            slot.close();
        }
        let slot = Box::into_raw(slot);
        // Pairs with the load of `iter`; the lock orders registrations.
        self.head.store(slot, Release);
        slot
    }

    /// A slot for the caller alone, until the guard is dropped, for one call.
    pub(crate) fn borrow(&self) -> Borrowed<'_> {
        Borrowed { slots: self, slot: self.acquire() }
    }

    /// Takes a slot back for the next one.
    pub(crate) fn release(&self, slot: *const Slot) {
        lock(&self.idle).slots.push(slot);
    }

    /// Closes all gates, those of slots to come too.
    pub(crate) fn close(&self) {
        lock(&self.idle).closed = true;
        self.iter().for_each(Slot::close);
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.idle).closed
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        let mut at = self.head.load(Acquire).cast_const();
        std::iter::from_fn(move || {
            // SAFETY: slots are freed in `drop` only, and `&self` keeps that away.
            let slot = unsafe { at.as_ref() }?;
            at = slot.next;
            Some(slot)
        })
    }

    /// The heavy side of the barrier, towards all owners.
    pub(crate) fn heavy_barrier(&self) {
        #[cfg(not(loom))]
        self.barrier.heavy();
        #[cfg(loom)]
        self.iter().for_each(Slot::pass_barrier);
    }
}

/// A slot for one call.
pub(crate) struct Borrowed<'a> {
    slots: &'a Slots,
    slot: *const Slot,
}

impl std::ops::Deref for Borrowed<'_> {
    type Target = Slot;
    fn deref(&self) -> &Slot {
        // SAFETY: it lives as long as the list.
        unsafe { &*self.slot }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        self.slots.release(self.slot);
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        let mut at = self.head.load(Acquire);
        while !at.is_null() {
            // SAFETY: made by `Box::into_raw`, each once in the list; nobody has a slot of a list
            // that nobody holds.
            let slot = unsafe { Box::from_raw(at) };
            at = slot.next.cast_mut();
        }
    }
}
