//! All slots of a writer. Each thread that writes owns one and leaves it to the next when it ends.
//!
//! Guarantees: a slot has one owner at a time. It stays in place until the last holder of the list
//! lets go. After `close` all gates are closed, also those of later slots. Takes a lock briefly
//! when a thread begins or ends, never in a write.
//!
//! Slots lie in pages that a forked child sees zeroed. The child takes no lock, since a thread of
//! its parent may have held it.
//!
//! Refuses a slot if the system has no page for it. Then the caller's records are refused.

use std::io;
use std::mem::ManuallyDrop;

use crate::base::sync::{Acquire, AtomicPtr, AtomicU64, Barrier, Mutex, Relaxed, Release, lock};
use crate::memory::slot::Slot;
use crate::report::error::WriteError;
use crate::report::stats::Count;
#[cfg(not(loom))]
use blocks::Blocks;
#[cfg(loom)]
use boxes::Blocks;

/// All slots of a writer. Never shrinks while it lives: slots pass from thread to thread. Keeps no
/// writer alive: a thread may hold it long after the writer is gone.
pub(crate) struct Slots {
    /// The slot registered last; slots form a linked list.
    head: AtomicPtr<Slot>,
    barrier: Barrier,
    /// Never registered; its gate is never open. All threads of a forked child get it, and the
    /// child recognises itself by it. Producers without a slot try to write to it. It seems to be
    /// recording, so that who looks for its own slot looks twice.
    ghost: *const Slot,
    /// Records and bytes that were refused for want of a slot.
    refused: [AtomicU64; 2],
    /// Not dropped in a forked child, where its state is unknown.
    idle: ManuallyDrop<Mutex<Idle>>,
}

struct Idle {
    /// The memory of all slots.
    blocks: Blocks,
    /// Slots registered so far.
    made: u64,
    /// Registered slots without an owner.
    slots: Vec<*const Slot>,
    /// Set once, before the closer walks the list: later slots start closed.
    closed: bool,
}

// SAFETY: the list owns the memory of the slots to which its pointers lead, and no slot is bound to
// the thread that made it.
unsafe impl Send for Slots {}
// SAFETY: shared access gives out slots, which are Sync and live as long as the list. `head` is an
// atomic, a mutex protects `idle`, and `ghost` never changes.
unsafe impl Sync for Slots {}

impl Slots {
    pub(crate) fn new(barrier: Barrier) -> io::Result<Self> {
        let mut blocks = Blocks::default();
        let ghost = blocks.place()?;
        // SAFETY: the place is new, and no other code has it.
        unsafe {
            Slot::make(ghost, barrier, 0, std::ptr::null());
            (*ghost).close();
            (*ghost).seem_recording();
        }
        let idle = Mutex::new(Idle { blocks, made: 0, slots: Vec::new(), closed: false });
        Ok(Slots {
            head: AtomicPtr::new(std::ptr::null_mut()),
            barrier,
            ghost,
            refused: [AtomicU64::new(0), AtomicU64::new(0)],
            idle: ManuallyDrop::new(idle),
        })
    }

    /// Whether this process was forked from the one that made these slots.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        // SAFETY: the ghost lives as long as `self`.
        unsafe { (*self.ghost).is_wiped() }
    }

    /// Gives the caller exclusive use of a slot until `release`: a new one, or one that another
    /// owner left with whatever it leases. The slot lives as long as `self`. In a forked child
    /// slots do nothing, and all callers get the same one. `None` if memory runs out.
    pub(crate) fn acquire(&self) -> Option<*const Slot> {
        if self.is_forked() {
            return Some(self.ghost);
        }
        let mut idle = lock(&self.idle);
        if let Some(slot) = idle.slots.pop() {
            return Some(slot);
        }
        // Room for all slots, so that `release` never allocates.
        let all = idle.made as usize + 1;
        idle.slots.try_reserve(all).ok()?;
        let slot = idle.blocks.place().ok()?;
        // SAFETY: the place is new, and no other code has it.
        unsafe { Slot::make(slot, self.barrier, idle.made, self.head.load(Relaxed)) };
        idle.made += 1;
        if idle.closed {
            // SAFETY: the slot was just made and lives as long as `self`.
            unsafe { &*slot }.close();
        }
        // Pairs with the load of `iter`; the lock orders registrations.
        self.head.store(slot, Release);
        Some(slot)
    }

    /// Takes a slot back for the next owner.
    pub(crate) fn release(&self, slot: *const Slot) {
        if !self.is_forked() && !self.is_ghost(slot) {
            lock(&self.idle).slots.push(slot);
        }
    }

    /// What a producer has while there is no memory for a slot. Any number of them may try to write
    /// to it, and none succeeds.
    pub(crate) fn ghost(&self) -> *const Slot {
        self.ghost
    }

    pub(crate) fn is_ghost(&self, slot: *const Slot) -> bool {
        std::ptr::eq(slot, self.ghost)
    }

    /// Counts a record that is refused because [`acquire`](Self::acquire) returned `None`.
    #[cold]
    pub(crate) fn refuse(&self, bytes: usize) -> WriteError {
        let [records, sum] = &self.refused;
        records.fetch_add(1, Relaxed);
        sum.fetch_add(bytes as u64, Relaxed);
        WriteError::OutOfMemory
    }

    /// The records that were refused for want of a slot.
    pub(crate) fn refused(&self) -> Count {
        let [records, bytes] = &self.refused;
        Count::new(records.load(Relaxed), bytes.load(Relaxed))
    }

    /// Closes all gates, including those of later slots.
    pub(crate) fn close(&self) {
        lock(&self.idle).closed = true;
        self.iter().for_each(Slot::close);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_forked() || lock(&self.idle).closed
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        let mut at = self.head.load(Acquire).cast_const();
        std::iter::from_fn(move || {
            // SAFETY: slots are freed only in `drop`, which cannot run while `&self` exists.
            let slot = unsafe { at.as_ref() }?;
            at = slot.next;
            Some(slot)
        })
    }

    /// Locks the memory of the slots in place. That of later ones is locked when it comes, if it can
    /// be.
    #[cfg(not(loom))]
    pub(crate) fn lock_memory(&self) -> io::Result<()> {
        lock(&self.idle).blocks.lock()
    }

    /// Passes the heavy side of the barrier, towards all owners.
    pub(crate) fn heavy_barrier(&self) {
        self.barrier.heavy();
        #[cfg(loom)]
        self.iter().for_each(Slot::pass_barrier);
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        if !self.is_forked() {
            // SAFETY: this is the only drop. The list has no holder left, so no slot is in use.
            unsafe { ManuallyDrop::drop(&mut self.idle) };
        }
    }
}

/// Memory for slots, allocated a page at a time.
#[cfg(not(loom))]
mod blocks {
    use std::io;

    use crate::base::sys::InChild;
    use crate::base::sys::memory::{Mapping, page_size};
    use crate::memory::slot::Slot;

    #[derive(Default)]
    pub(super) struct Blocks {
        pages: Vec<Mapping>,
        /// Places taken in the last page.
        taken: usize,
        /// Whether pages are locked in memory.
        is_locked: bool,
    }

    impl Blocks {
        /// Room for one more slot. It stays in place as long as `self`.
        pub(super) fn place(&mut self) -> io::Result<*mut Slot> {
            if self.pages.is_empty() || self.taken == page_size() / size_of::<Slot>() {
                let page = Mapping::new(page_size(), InChild::Zeros)?;
                if self.is_locked {
                    // A thread that comes late is served, whatever the limits are by then. Its slot
                    // is resident all the same, since it is written right away.
                    let _ = page.lock();
                }
                self.pages.try_reserve(1).map_err(|_| io::ErrorKind::OutOfMemory)?;
                self.pages.push(page);
                self.taken = 0;
            }
            let page = &self.pages[self.pages.len() - 1];
            // SAFETY: within the page, which begins aligned.
            let place = unsafe { page.begin().as_ptr().cast::<Slot>().add(self.taken) };
            self.taken += 1;
            Ok(place)
        }

        /// Locks all pages in memory, and those that follow.
        pub(super) fn lock(&mut self) -> io::Result<()> {
            self.is_locked = true;
            self.pages.iter().try_for_each(Mapping::lock)
        }
    }
}

/// loom's types are not plain memory and must be dropped.
#[cfg(loom)]
mod boxes {
    use std::mem::MaybeUninit;

    use crate::memory::slot::Slot;

    #[derive(Default)]
    pub(super) struct Blocks(Vec<*mut MaybeUninit<Slot>>);

    impl Blocks {
        pub(super) fn place(&mut self) -> std::io::Result<*mut Slot> {
            let place = Box::into_raw(Box::new(MaybeUninit::uninit()));
            self.0.push(place);
            Ok(place.cast())
        }
    }

    impl Drop for Blocks {
        fn drop(&mut self) {
            for place in self.0.drain(..) {
                // SAFETY: `place` made this box, and each place has become a slot.
                drop(unsafe { Box::from_raw(place.cast::<Slot>()) });
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::sys::memory::page_size;

    /// The pages that are there, and those that come later. Only Linux tells.
    #[test]
    #[cfg(target_os = "linux")]
    fn locked_slots_are_locked() {
        let slots = Slots::new(Barrier::detect()).unwrap();
        let early = slots.acquire().unwrap().addr();
        if let Err(error) = slots.lock_memory() {
            return println!("skipped: no memory may be locked: {error}");
        }
        let late =
            (0..page_size() / size_of::<Slot>()).map(|_| slots.acquire().unwrap().addr()).last();
        for place in [early, late.unwrap()] {
            assert!(is_locked(place));
        }
    }

    /// Whether the kernel (proc(5), smaps) keeps the mapping around this address in memory.
    #[cfg(target_os = "linux")]
    fn is_locked(at: usize) -> bool {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_here = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let address = |text| usize::from_str_radix(text, 16).ok();
            if let Some((Some(from), Some(to))) = range.map(|(a, b)| (address(a), address(b))) {
                is_here = (from..to).contains(&at);
            } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| is_here) {
                return flags.split(' ').any(|flag| flag == "lo");
            }
        }
        panic!("nothing is mapped at {at:#x}");
    }

    /// A thread costs a slot, not a page.
    #[test]
    fn slots_lie_side_by_side() {
        let slots = Slots::new(Barrier::detect()).unwrap();
        let places: Vec<usize> = (0..100).map(|_| slots.acquire().unwrap().addr()).collect();
        let mut pages: Vec<usize> = places.iter().map(|place| place / page_size()).collect();
        pages.dedup();
        assert!(pages.len() <= 100 * size_of::<Slot>() / page_size() + 2, "{}", pages.len());
        assert_eq!(slots.iter().count(), 100);
    }
}
