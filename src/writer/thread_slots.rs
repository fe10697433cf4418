//! Finds a thread's slot: a cache of the last look-up, in front of a list of all writers of the
//! thread.
//!
//! Guarantees: a look-up of the writer that was used last costs two loads and a comparison. A slot
//! outlives its thread: the next thread gets it, with the chunk that it leases. Nothing here keeps
//! a writer alive.

use std::cell::{Cell, RefCell};

use crate::base::sync::Arc;
use crate::memory::slot::Slot;
use crate::memory::slot::owned::{Borrowed, OwnedSlot};
use crate::memory::slots::Slots;
use crate::writer::inner::Inner;

thread_local! {
    /// Writer and slot of the last look-up. Const and without a destructor, so it needs no lazy
    /// initialisation and still works when other destructors of the thread write.
    static CACHE: Cell<Cached> = const { Cell::new(Cached { id: 0, slot: std::ptr::null() }) };
    /// The destructor of `SLOTS` has run. From here on each call takes a slot and gives it back.
    static DYING: Cell<bool> = const { Cell::new(false) };
    /// All writers that this thread has written to.
    static SLOTS: RefCell<Entries> = const { RefCell::new(Entries(Vec::new())) };
}

#[derive(Clone, Copy)]
struct Cached {
    /// Number of the writer. Numbers are never reused; 0 = none.
    id: u64,
    /// Valid while the writer lives and while its entry exists.
    slot: *const Slot,
}

struct Entry {
    id: u64,
    slots: Arc<Slots>,
    slot: *const Slot,
}

/// In the order of the writers' numbers.
struct Entries(Vec<Entry>);

impl Drop for Entries {
    fn drop(&mut self) {
        DYING.set(true);
        CACHE.set(Cached { id: 0, slot: std::ptr::null() });
        self.0.iter().for_each(|entry| entry.slots.release(entry.slot));
    }
}

/// This thread's slot of this writer, if it is the writer used last.
#[inline(always)]
pub(crate) fn cached(id: u64) -> Option<*const Slot> {
    let cached = CACHE.get();
    (cached.id == id).then_some(cached.slot)
}

/// Calls `with` with this thread's slot of the writer, or with `None` if there is no memory for one.
/// `with` may call this function again only while the slot is recording. A recording slot is not
/// given back, whatever happens to the writer.
#[inline(always)]
pub(crate) fn with_slot<T>(
    id: u64,
    inner: &Inner,
    with: impl FnOnce(Option<OwnedSlot<'_>>) -> T,
) -> T {
    if let Some(slot) = cached(id) {
        // SAFETY: the number is this writer's, so the slot is in its list, which `inner` keeps
        // alive. It belongs to this thread alone, and only a formatter uses it again, while it is
        // not busy.
        return with(Some(unsafe { OwnedSlot::new(&inner.shared, &*slot) }));
    }
    with_slot_slow(inner, with)
}

#[cold]
#[inline(never)]
fn with_slot_slow<T>(inner: &Inner, with: impl FnOnce(Option<OwnedSlot<'_>>) -> T) -> T {
    if DYING.get() {
        let mut borrowed = Borrowed::new(&inner.shared);
        return with(borrowed.as_mut().map(Borrowed::owned));
    }
    let found = SLOTS.with_borrow_mut(|entries| find(&mut entries.0, inner));
    let Some(slot) = found else { return with(None) };
    CACHE.set(Cached { id: inner.id, slot });
    // SAFETY: the slot belongs to this thread, and `inner` keeps its list alive. Otherwise as in
    // `with_slot`.
    with(Some(unsafe { OwnedSlot::new(&inner.shared, &*slot) }))
}

/// `None` if there is no memory for a slot.
fn find(entries: &mut Vec<Entry>, inner: &Inner) -> Option<*const Slot> {
    if let Ok(at) = entries.binary_search_by_key(&inner.id, |entry| entry.id) {
        return Some(entries[at].slot);
    }
    // A new writer removes the entries of closed ones and gives their slots back. A thread that
    // still writes to a closed writer gets the same slot again. The cache is set after this.
    // SAFETY: the slots in the entries belong to this thread, and this only reads.
    let in_use =
        |entry: &Entry| unsafe { OwnedSlot::new(&inner.shared, &*entry.slot) }.is_recording();
    entries.retain(|entry| {
        let stays = !entry.slots.is_closed() || in_use(entry);
        if !stays {
            entry.slots.release(entry.slot);
        }
        stays
    });
    entries.try_reserve(1).ok()?;
    let slots = inner.shared.slots.clone();
    let slot = slots.acquire()?;
    // Later writers have higher numbers, so this is the end unless an older writer is new here.
    let at = entries.partition_point(|entry| entry.id < inner.id);
    entries.insert(at, Entry { id: inner.id, slots, slot });
    Some(slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept;
    use crate::config::Config;
    use crate::report::error::WriteError;
    use crate::writer::open;
    use bufferedwriter_testkit::dir::TestDir;
    use std::sync::mpsc;
    use std::time::Duration;

    fn handle(dir: &TestDir) -> Inner {
        open::open(Config::default().path(dir.path()).temp(dir.path()).workers(1)).unwrap()
    }

    #[test]
    fn a_closed_writer_does_not_grow_with_the_writers_that_come_later() {
        let dir = TestDir::new();
        let handle = || handle(&dir);
        let write = |handle: &Inner| {
            with_slot(handle.id, handle, |slot| accept::write(&mut slot.unwrap(), b"record"))
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

    thread_local! {
        static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    }

    /// Takes the slot that its thread has given back, as another thread would, and writes.
    struct Last {
        handle: std::sync::Arc<Inner>,
        say: mpsc::Sender<(bool, bool)>,
    }

    impl Drop for Last {
        fn drop(&mut self) {
            let Last { handle, say } = self;
            let of_another = handle.shared.slots.acquire().unwrap();
            let is_shared =
                with_slot(handle.id, handle, |slot| std::ptr::eq(slot.unwrap().slot, of_another));
            handle.shared.slots.release(of_another);
            say.send((DYING.get(), is_shared)).unwrap();
        }
    }

    #[test]
    fn what_a_thread_gave_back_at_its_end_is_no_longer_its_own() {
        let dir = TestDir::new();
        let handle = std::sync::Arc::new(handle(&dir));
        // Which of two destructors runs first depends on which was registered first, and on the system.
        let was_last = [true, false].map(|is_early| {
            let (handle, (say, hear)) = (handle.clone(), mpsc::channel());
            let thread = std::thread::spawn(move || {
                let write = || {
                    with_slot(handle.id, &handle, |slot| {
                        accept::write(&mut slot.unwrap(), b"record")
                    })
                };
                if !is_early {
                    write().unwrap();
                }
                LAST.set(Some(Last { handle: handle.clone(), say }));
                write().unwrap();
            });
            thread.join().unwrap();
            let (is_last, is_shared) = hear.recv().unwrap();
            assert!(!is_shared, "a slot has two owners");
            is_last
        });
        // On Windows the one whose type was used last in the process runs first, in each thread.
        let is_met = was_last.contains(&true) || cfg!(windows);
        assert!(is_met, "the library's destructor runs first");
    }

    /// Whichever writer it used first.
    #[test]
    fn a_thread_has_one_slot_of_each_writer() {
        let dir = TestDir::new();
        let handles: Vec<_> = (0..7).map(|_| handle(&dir)).collect();
        for round in 0..3 {
            for at in [3, 1, 6, 0, 5, 2, 4] {
                let handle = &handles[(at + round) % 7];
                with_slot(handle.id, handle, |slot| accept::write(&mut slot.unwrap(), b"x"))
                    .unwrap();
            }
        }
        for handle in &handles {
            assert_eq!(handle.shared.slots.iter().count(), 1);
            assert_eq!(handle.stats().accepted.records, 3);
        }
    }

    /// The formatter of a record closes the writer and makes a new one, which cleans up the
    /// thread's list.
    #[test]
    fn a_slot_in_use_is_not_given_back() {
        let dir = TestDir::new();
        let handle = || handle(&dir);
        let (outer, inner) = (handle(), handle());
        let result = with_slot(outer.id, &outer, |slot| {
            let slot = slot.unwrap();
            let in_use = slot.slot;
            let format = |_: &mut crate::accept::formatted::RecordWriter<'_>| {
                outer.close(Duration::from_secs(60)).unwrap();
                with_slot(inner.id, &inner, |slot| accept::write(&mut slot.unwrap(), b"record"))
                    .unwrap();
                assert!(!std::ptr::eq(in_use, outer.shared.slots.acquire().unwrap()));
                Ok(())
            };
            accept::record(slot, format)
        });
        assert_eq!(result, Err(WriteError::Closed));
    }
}
