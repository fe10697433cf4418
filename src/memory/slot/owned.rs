//! The right to write through a slot.
//!
//! Guarantees: who has an [`OwnedSlot`] is the slot's owner, the slot is of the memory that comes with it, and there
//! is one reference to its lease at a time: so all that accepts records needs no promise of its callers.

use std::marker::PhantomData;

use crate::memory::Shared;
use crate::memory::slot::Slot;
use crate::memory::slot::lease::Lease;

/// A slot in its owner's hands. Stays on its thread.
pub(crate) struct OwnedSlot<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) slot: &'a Slot,
    on_this_thread: PhantomData<*const ()>,
}

/// An owner in the middle of a write: workers that shut its gate wait until this is dropped.
pub(crate) struct Busy<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) slot: &'a Slot,
    pub(crate) lease: &'a mut Lease,
}

impl<'a> OwnedSlot<'a> {
    /// # Safety
    /// `slot` is of the list of `shared`. As long as this lives, no other thread owns it, and another `OwnedSlot` of
    /// it is used only while this one is not [`Busy`]: by a formatter, which finds it recording.
    #[inline(always)]
    pub(crate) unsafe fn new(shared: &'a Shared, slot: &'a Slot) -> Self {
        OwnedSlot { shared, slot, on_this_thread: PhantomData }
    }

    /// Whether a record is being formatted through it just now.
    pub(crate) fn is_recording(&self) -> bool {
        // SAFETY: the promise of `new`; the reference ends here.
        unsafe { (*self.slot.lease.get()).is_recording }
    }

    /// Begins a write. The gate is looked at after this.
    #[inline(always)]
    pub(crate) fn enter(&mut self) -> Busy<'_> {
        self.slot.enter();
        self.entered()
    }

    /// Goes on with a write that was begun, as by a `try_write` that returned `false`.
    #[inline(always)]
    pub(crate) fn entered(&mut self) -> Busy<'_> {
        // SAFETY: the promise of `new`, and the borrow keeps a second reference away.
        let lease = unsafe { &mut *self.slot.lease.get() };
        Busy { shared: self.shared, slot: self.slot, lease }
    }
}

/// A slot for one call.
pub(crate) struct Borrowed<'a> {
    shared: &'a Shared,
    slot: *const Slot,
}

impl<'a> Borrowed<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Borrowed { shared, slot: shared.slots.acquire() }
    }

    pub(crate) fn owned(&mut self) -> OwnedSlot<'_> {
        // SAFETY: the list hands it out to this guard alone, and it lives as long as the list.
        unsafe { OwnedSlot::new(self.shared, &*self.slot) }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        self.shared.slots.release(self.slot);
    }
}

impl Busy<'_> {
    /// Lets waiting workers pass, and begins again.
    pub(crate) fn pause(&mut self, meanwhile: impl FnOnce(&Shared, &Slot)) {
        self.slot.rest(self.lease.is_recording);
        meanwhile(self.shared, self.slot);
        self.slot.enter();
    }
}

impl Drop for Busy<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.slot.rest(self.lease.is_recording);
    }
}
