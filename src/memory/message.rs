//! A message that the caller handed over: the bytes of any owned type, kept until a file has them.
//!
//! Guarantees: `as_ref` is called once, when the message has reached its final address. Each
//! message is dropped exactly once, and a panic in its `Drop` is caught here. Never blocks, apart
//! from the message's own `Drop`.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use crate::base::foreign::quietly;
use crate::base::sync::{AtomicU32, Relaxed};

/// Any owned message, in one word.
#[derive(Debug)]
pub(crate) struct Message(NonNull<Head>);

// SAFETY: `new` takes only `Send` types. The stored bytes borrow from the message, which nothing
// else accesses before the drop. Moving both to a thread is like lending the message to a scoped
// thread and then sending it there.
unsafe impl Send for Message {}

/// A message without its type.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Head {
    /// The slice that `as_ref` returned. Valid until the drop, since nothing accesses the message
    /// before.
    bytes: *const u8,
    len: usize,
    /// Offset at which the message stands in its chunk. Stored before the pointer to this head.
    /// Atomic, since a worker that searches for messages also meets uncommitted ones.
    offset: AtomicU32,
    /// Drops the message and frees the whole box.
    drop: unsafe fn(NonNull<Head>),
}

#[repr(C)]
struct Boxed<M> {
    /// The first field, so that a pointer to it is also a pointer to the box.
    head: Head,
    message: M,
}

impl Message {
    /// Calls `as_ref`. If that panics, drops the message and lets the panic continue.
    pub(crate) fn new<M: AsRef<[u8]> + Send + 'static>(message: M) -> Self {
        let (bytes, drop) = (std::ptr::null(), drop_boxed::<M> as unsafe fn(_));
        let head = Head { bytes, len: 0, offset: AtomicU32::new(0), drop };
        let boxed = Box::into_raw(Box::new(Boxed { head, message }));
        // SAFETY: `into_raw` never returns null. The pointer covers the whole box, so `drop` may
        // free it.
        let this = Message(unsafe { NonNull::new_unchecked(boxed.cast()) });
        // SAFETY: `boxed` is valid, and no other code has it. The message is borrowed for its whole
        // life while the head is written; these fields do not overlap.
        unsafe {
            let message = &(*boxed).message;
            let bytes = message.as_ref();
            (*boxed).head.bytes = bytes.as_ptr();
            (*boxed).head.len = bytes.len();
        }
        this
    }

    /// The bytes, valid until the message is dropped.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the slice is valid until the drop, as `Head` states.
        unsafe { self.0.as_ref().bytes() }
    }

    /// Returns the original message.
    ///
    /// # Safety
    /// The message was made from an `M`.
    pub(crate) unsafe fn into_inner<M>(self) -> M {
        let head = ManuallyDrop::new(self).0.as_ptr();
        // SAFETY: `new` made the box with this type, and `ManuallyDrop` prevents another drop.
        let boxed = unsafe { Box::from_raw(head.cast::<Boxed<M>>()) };
        boxed.message
    }

    /// Gives up ownership and stores the offset in the chunk. `from_raw` takes ownership back.
    pub(crate) fn into_raw(self, offset: usize) -> *mut Head {
        let head = ManuallyDrop::new(self).0.as_ptr();
        // SAFETY: the message is alive, and no other thread has it yet. Offsets fit 32 bits: a
        // chunk has at most 2^30 bytes.
        unsafe { &*head }.offset.store(offset as u32, Relaxed);
        head
    }

    /// # Safety
    /// The message is not dropped during the life of the slice.
    pub(crate) unsafe fn from_raw(head: *mut Head) -> Option<Self> {
        NonNull::new(head).map(Message)
    }
}

impl Head {
    /// # Safety
    /// `head` is null or comes from `into_raw`, and this is the only call for it.
    pub(crate) unsafe fn bytes<'a>(&self) -> &'a [u8] {
        // SAFETY: `as_ref` returned this slice, and nothing has accessed the message since.
        unsafe { std::slice::from_raw_parts(self.bytes, self.len) }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset.load(Relaxed) as usize
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: `self` is the only owner, and `drop` matches the type of the box.
        quietly(|| unsafe { (self.0.as_ref().drop)(self.0) });
    }
}

unsafe fn drop_boxed<M>(head: NonNull<Head>) {
    // SAFETY: the caller owns the box, which `new` made with this type.
    drop(unsafe { Box::from_raw(head.as_ptr().cast::<Boxed<M>>()) });
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::panic::catch_unwind;

    thread_local! {
        static DROPS: Cell<u32> = const { Cell::new(0) };
    }

    /// Holds its bytes inline, returns others at each call, and counts its drops.
    struct Odd {
        bytes: [u8; 4],
        calls: Cell<usize>,
        panics: bool,
    }

    impl AsRef<[u8]> for Odd {
        fn as_ref(&self) -> &[u8] {
            self.calls.set(self.calls.get() + 1);
            &self.bytes[..self.calls.get()]
        }
    }

    impl Drop for Odd {
        fn drop(&mut self) {
            DROPS.set(DROPS.get() + 1);
            if self.panics {
                // A payload that panics when it is dropped.
                struct Payload;
                impl Drop for Payload {
                    fn drop(&mut self) {
                        panic!("drop of the payload");
                    }
                }
                std::panic::panic_any(Payload);
            }
        }
    }

    fn odd(panics: bool) -> Odd {
        Odd { bytes: *b"abcd", calls: Cell::new(0), panics }
    }

    #[test]
    fn as_ref_is_called_once_and_the_message_comes_back_whole() {
        let message = Message::new(odd(false));
        assert_eq!((message.bytes(), message.bytes()), (&b"a"[..], &b"a"[..]));
        // SAFETY: the message was made from an `Odd`.
        let back: Odd = unsafe { message.into_inner() };
        assert_eq!((back.calls.get(), DROPS.get()), (1, 0));
        drop(back);
        assert_eq!(DROPS.take(), 1);
    }

    #[test]
    fn a_drop_that_panics_stays_here() {
        drop(Message::new(odd(true)));
        assert_eq!(DROPS.take(), 1);
    }

    #[test]
    fn an_as_ref_that_panics_drops_the_message_once() {
        struct Bad(#[expect(dead_code, reason = "dropped")] Odd);
        impl AsRef<[u8]> for Bad {
            fn as_ref(&self) -> &[u8] {
                panic!("as_ref");
            }
        }
        assert!(catch_unwind(|| Message::new(Bad(odd(false)))).is_err());
        assert_eq!(DROPS.take(), 1);
    }

    #[test]
    fn a_message_that_no_worker_took_goes_with_its_memory() {
        let arena = crate::memory::arena::Arena::new(2, 64).unwrap();
        arena.place(1, 0, Message::new(odd(false)), 0);
        assert_eq!(DROPS.get(), 0);
        drop(arena);
        assert_eq!(DROPS.take(), 1);
    }

    #[test]
    fn the_types_that_people_use() {
        let expected = b"some bytes".as_slice();
        for message in [
            Message::new(expected.to_vec()),
            Message::new("some bytes".to_owned()),
            Message::new(expected),
            Message::new(std::sync::Arc::<[u8]>::from(expected)),
            Message::new(expected.to_vec().into_boxed_slice()),
            Message::new(*b"some bytes"),
        ] {
            assert_eq!(message.bytes(), expected);
        }
    }
}
