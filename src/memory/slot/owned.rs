//! The right to write through a slot.
//!
//! Guarantees: the holder of an [`OwnedSlot`] owns the slot, and the slot belongs to the memory
//! beside it. Only one reference to its lease exists at a time. So code that accepts records needs
//! no promise from its callers.

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

/// An owner in the middle of a write. Workers that shut its gate wait until this is dropped.
pub(crate) struct Busy<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) slot: &'a Slot,
    pub(crate) lease: &'a mut Lease,
}

impl<'a> OwnedSlot<'a> {
    /// # Safety
    /// `slot` is on the list of `shared`, and no other thread owns it while this lives. Another
    /// `OwnedSlot` of it is used only while this one is not [`Busy`]: by a formatter, which finds
    /// it recording.
    #[inline(always)]
    pub(crate) unsafe fn new(shared: &'a Shared, slot: &'a Slot) -> Self {
        OwnedSlot { shared, slot, on_this_thread: PhantomData }
    }

    /// Whether a record is being formatted through the slot.
    pub(crate) fn is_recording(&self) -> bool {
        // SAFETY: this thread owns the slot, and no `Busy` is alive, as `new` requires. The
        // reference ends here.
        unsafe { (*self.slot.lease.get()).is_recording }
    }

    /// Begins a write. The gate is read after this.
    #[inline(always)]
    pub(crate) fn enter(&mut self) -> Busy<'_> {
        self.slot.enter();
        self.entered()
    }

    /// Continues a write that was begun, as by a `try_write` that returned `false`.
    #[inline(always)]
    pub(crate) fn entered(&mut self) -> Busy<'_> {
        // SAFETY: this thread owns the slot, as `new` requires, and the borrow of `self` rules out
        // a second reference.
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
    /// `None` if memory runs out.
    pub(crate) fn new(shared: &'a Shared) -> Option<Self> {
        let slot = shared.slots.acquire()?;
        Some(Borrowed { shared, slot })
    }

    pub(crate) fn owned(&mut self) -> OwnedSlot<'_> {
        // SAFETY: the list gave the slot to this guard alone, and the slot lives as long as the
        // list.
        unsafe { OwnedSlot::new(self.shared, &*self.slot) }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        self.shared.slots.release(self.slot);
    }
}

impl Busy<'_> {
    /// Lets waiting workers pass, then begins again.
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
