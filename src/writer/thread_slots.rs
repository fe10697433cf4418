//! From a thread to its slot: a cached answer in front of a list of all writers of the thread.
//!
//! Guarantees: a look-up of the writer used last costs two loads and a comparison; a slot outlives
//! its thread and goes to the next one, with what it leases; nothing here keeps a writer alive.

use std::cell::{Cell, RefCell};

use crate::base::sync::Arc;
use crate::memory::slot::Slot;
use crate::memory::slot::owned::{Borrowed, OwnedSlot};
use crate::memory::slots::Slots;
use crate::writer::inner::Inner;

thread_local! {
    /// Writer and slot of the last look-up. Const and without a destructor: no lazy
    /// initialisation, and still there when other destructors of the thread write.
    static CACHE: Cell<Cached> = const { Cell::new(Cached { id: 0, slot: std::ptr::null() }) };
    /// Our destructor has run: slots are taken and given back at each call from here on.
    static DYING: Cell<bool> = const { Cell::new(false) };
    /// All writers that this thread has written to.
    static SLOTS: RefCell<Entries> = const { RefCell::new(Entries(Vec::new())) };
}

#[derive(Clone, Copy)]
struct Cached {
    /// Number of the writer; numbers are never used again, zero is none.
    id: u64,
    /// Alive as long as the writer is, and as long as its entry is.
    slot: *const Slot,
}

struct Entry {
    id: u64,
    slots: Arc<Slots>,
    slot: *const Slot,
}

struct Entries(Vec<Entry>);

impl Drop for Entries {
    fn drop(&mut self) {
        DYING.set(true);
        CACHE.set(Cached { id: 0, slot: std::ptr::null() });
        self.0.iter().for_each(|entry| entry.slots.release(entry.slot));
    }
}

/// This thread's slot of the writer with this number, if that is the one used last.
#[inline(always)]
pub(crate) fn cached(id: u64) -> Option<*const Slot> {
    let cached = CACHE.get();
    (cached.id == id).then_some(cached.slot)
}

/// Calls `with` with this thread's slot of the writer. `with` may come back here only while the slot
/// says that it is recording: then it is not given back either, whatever becomes of the writer.
#[inline(always)]
pub(crate) fn with_slot<T>(id: u64, inner: &Inner, with: impl FnOnce(OwnedSlot<'_>) -> T) -> T {
    if let Some(slot) = cached(id) {
        // SAFETY: the number is this writer's, so the slot is of its list, which `inner` keeps. It is this thread's
        // alone, and used again only by a formatter, while it is not busy.
        return with(unsafe { OwnedSlot::new(&inner.shared, &*slot) });
    }
    with_slot_slow(inner, with)
}

#[cold]
#[inline(never)]
fn with_slot_slow<T>(inner: &Inner, with: impl FnOnce(OwnedSlot<'_>) -> T) -> T {
    if DYING.get() {
        return with(Borrowed::new(&inner.shared).owned());
    }
    let slot = SLOTS.with_borrow_mut(|entries| find(&mut entries.0, inner));
    CACHE.set(Cached { id: inner.id, slot });
    // SAFETY: the slot is this thread's, and lives as long as its list, which `inner` keeps. Else as in `with_slot`.
    with(unsafe { OwnedSlot::new(&inner.shared, &*slot) })
}

fn find(entries: &mut Vec<Entry>, inner: &Inner) -> *const Slot {
    if let Some(entry) = entries.iter().find(|entry| entry.id == inner.id) {
        return entry.slot;
    }
    // What is left of closed writers goes when a new one comes. Their slots are given back: who
    // still writes to a closed writer gets the same one again. The cache is set after this.
    // SAFETY: the slots of the entries are this thread's; this only looks.
    let in_use =
        |entry: &Entry| unsafe { OwnedSlot::new(&inner.shared, &*entry.slot) }.is_recording();
    for entry in entries.extract_if(.., |entry| entry.slots.is_closed() && !in_use(entry)) {
        entry.slots.release(entry.slot);
    }
    let slots = inner.shared.slots.clone();
    let slot = slots.acquire();
    entries.push(Entry { id: inner.id, slots, slot });
    slot
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept;
    use crate::config::Config;
    use crate::report::error::WriteError;
    use crate::writer::open;
    use bufferedwriter_testkit::dir::TestDir;
    use std::time::Duration;

    fn handle(dir: &TestDir) -> Inner {
        open::open(Config::default().path(dir.path()).temp(dir.path()).workers(1)).unwrap()
    }

    #[test]
    fn a_closed_writer_does_not_grow_with_the_writers_that_come_later() {
        let dir = TestDir::new();
        let handle = || handle(&dir);
        let write = |handle: &Inner| {
            with_slot(handle.id, handle, |mut slot| accept::write(&mut slot, b"record"))
        };
        let closed = handle();
        write(&closed).unwrap();
        closed.close(Duration::from_secs(60)).unwrap();
        for _ in 0..10 {
            write(&handle()).unwrap();
            assert_eq!(write(&closed), Err(WriteError::Closed));
        }
        assert_eq!(closed.shared.slots.iter().count(), 1);
    }

    /// The formatter of a record closes the writer and makes a new one, for which the list of the
    /// thread's writers is tidied up.
    #[test]
    fn a_slot_in_use_is_not_given_back() {
        let dir = TestDir::new();
        let handle = || handle(&dir);
        let (outer, inner) = (handle(), handle());
        let result = with_slot(outer.id, &outer, |slot| {
            let in_use = slot.slot;
            let format = |_: &mut crate::accept::formatted::RecordWriter<'_>| {
                outer.close(Duration::from_secs(60)).unwrap();
                with_slot(inner.id, &inner, |mut slot| accept::write(&mut slot, b"record"))
                    .unwrap();
                assert!(!std::ptr::eq(in_use, outer.shared.slots.acquire()));
                Ok(())
            };
            accept::record(slot, format)
        });
        assert_eq!(result, Err(WriteError::Closed));
    }
}
