//! The only module that imports atomics, locks and barriers: from std, or from loom in models.
//!
//! Guarantees: no other module names `std::sync::atomic` or `loom`.

#[cfg(not(any(loom, bufferedwriter_tsan)))]
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::{
    sync::atomic::{
        AtomicPtr, AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
        compiler_fence, fence,
    },
    thread::Thread,
};
#[cfg(bufferedwriter_tsan)]
pub(crate) use told::{Arc, Condvar, Mutex, MutexGuard};

#[cfg(loom)]
pub(crate) use loom::{
    sync::atomic::{
        Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
        fence,
    },
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::Thread,
};
#[cfg(loom)]
pub(crate) use seen::{AtomicPtr, AtomicU32, AtomicU64};

#[cfg(not(loom))]
use crate::base::sys::barrier;

/// Locks a mutex and ignores poisoning: all data behind this crate's locks are valid between any
/// two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Waits until another thread unparks this one, or until the time is over; without a time, for as long as it takes.
/// May return early.
pub(crate) fn park(time: Option<std::time::Duration>) {
    #[cfg(not(loom))]
    match time {
        Some(time) => std::thread::park_timeout(time),
        None => std::thread::park(),
    }
    // Models know no time: a wait in vain is a deadlock there.
    #[cfg(loom)]
    {
        let _ = time;
        loom::thread::park();
    }
}

/// Stands in for the one of `base/thread.rs`: a model tries the other threads.
#[cfg(loom)]
#[derive(Debug, Default)]
pub(crate) struct Backoff;

#[cfg(loom)]
impl Backoff {
    pub(crate) fn pause(&mut self) {
        loom::thread::yield_now();
    }
}

/// Like [`lock`], but returns `None` while another thread holds the lock.
#[cfg(not(loom))]
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
}

#[cfg(loom)]
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    mutex.try_lock().ok()
}

/// Starts to fetch the cache line of a value that is needed soon. Several fetches overlap; plain
/// loads around locked instructions would run one after the other.
#[inline(always)]
pub(crate) fn prefetch<T>(value: *const T) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: a prefetch is a hint and accepts any address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(value.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    let _ = value;
}

/// How a producer's store to `busy` is ordered before its load of `gate`. The other side is a
/// worker that stores `gate` and then loads `busy`. Fixed when the writer is created.
///
/// An asymmetric fence, as in Linux' membarrier(2) and folly's `asymmetricThreadFence`. The side
/// that runs at each write pays nothing; the rare side makes all threads pass a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// The light side restrains only the compiler. The heavy side makes all threads pass a fence, such as by
    /// membarrier(PRIVATE_EXPEDITED).
    #[cfg(not(loom))]
    Membarrier,
    /// A full fence on both sides, where the system has no such call or refuses it.
    Fence,
    /// Stands in for `Membarrier`, since loom has no compiler fences; see [`BarrierWord`].
    #[cfg(loom)]
    Model,
}

impl Barrier {
    /// Falls back to the plain fence if the system can't make other threads pass one.
    #[cfg(not(loom))]
    pub(crate) fn detect() -> Self {
        if barrier::register() { Barrier::Membarrier } else { Barrier::Fence }
    }

    /// Whether the light side must be a full fence.
    pub(crate) fn is_fence(self) -> bool {
        self == Barrier::Fence
    }

    /// The heavy side. After it, each producer has seen the gates stored before, or the loads that
    /// follow see its `busy`.
    pub(crate) fn heavy(self) {
        #[cfg(loom)]
        if self == Barrier::Model {
            return;
        }
        fence(SeqCst);
        #[cfg(not(loom))]
        if self == Barrier::Membarrier {
            barrier::pass();
        }
    }
}

/// Stands in for membarrier under loom: a read-modify-write on one word per slot orders just the
/// two sides. A sequentially consistent fence would be too strong and would hide bugs.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct BarrierWord {
    barrier: Barrier,
    word: AtomicU32,
}

#[cfg(loom)]
impl BarrierWord {
    pub(crate) fn new(barrier: Barrier) -> Self {
        BarrierWord { barrier, word: AtomicU32::new(0) }
    }

    /// Does nothing in the mode that has real fences.
    pub(crate) fn pass(&self) {
        if self.barrier == Barrier::Model {
            self.word.fetch_add(1, AcqRel);
        }
    }
}

/// std's locks and `Arc`, with orderings that ThreadSanitizer can see.
///
/// std is compiled without ThreadSanitizer, so it does not see how a lock orders memory. It does
/// not understand the fence with which the last `Arc` waits for the others either. So each unlock
/// also stores a word (Release) that the next lock loads (Acquire), and `Arc` needs no fence. This
/// adds no order that std does not give, so other races are still reported.
#[cfg(bufferedwriter_tsan)]
mod told {
    use std::fmt;
    use std::ops::{Deref, DerefMut};
    use std::ptr::NonNull;
    use std::sync::{
        self, LockResult, PoisonError, TryLockError, TryLockResult, WaitTimeoutResult,
    };
    use std::time::Duration;

    use super::{AcqRel, Acquire, AtomicU32, Relaxed, Release};

    #[derive(Debug)]
    pub(crate) struct Mutex<T> {
        unlocked: AtomicU32,
        inner: sync::Mutex<T>,
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Mutex { unlocked: AtomicU32::new(0), inner: sync::Mutex::new(value) }
        }

        pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(MutexGuard::new(&self.unlocked, inner))
        }

        pub(crate) fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
            let inner = match self.inner.try_lock() {
                Ok(inner) => inner,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Err(TryLockError::WouldBlock),
            };
            Ok(MutexGuard::new(&self.unlocked, inner))
        }
    }

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Self {
            Mutex::new(T::default())
        }
    }

    pub(crate) struct MutexGuard<'a, T> {
        unlocked: &'a AtomicU32,
        /// `None` only while a condition variable has the guard.
        inner: Option<sync::MutexGuard<'a, T>>,
    }

    impl<'a, T> MutexGuard<'a, T> {
        fn new(unlocked: &'a AtomicU32, inner: sync::MutexGuard<'a, T>) -> Self {
            unlocked.load(Acquire);
            MutexGuard { unlocked, inner: Some(inner) }
        }

        fn unlock(mut self) -> (&'a AtomicU32, Option<sync::MutexGuard<'a, T>>) {
            (self.unlocked, self.inner.take())
        }
    }

    impl<T> Drop for MutexGuard<'_, T> {
        fn drop(&mut self) {
            self.unlocked.store(0, Release);
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            self.inner.as_ref().expect("locked")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.inner.as_mut().expect("locked")
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Condvar(sync::Condvar::new())
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }

        pub(crate) fn wait<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
        ) -> LockResult<MutexGuard<'a, T>> {
            let (unlocked, inner) = guard.unlock();
            let waited = self.0.wait(inner.expect("locked"));
            Ok(MutexGuard::new(unlocked, waited.unwrap_or_else(PoisonError::into_inner)))
        }

        pub(crate) fn wait_timeout<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            timeout: Duration,
        ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
            let (unlocked, inner) = guard.unlock();
            let waited = self.0.wait_timeout(inner.expect("locked"), timeout);
            let (inner, result) = waited.unwrap_or_else(PoisonError::into_inner);
            Ok((MutexGuard::new(unlocked, inner), result))
        }
    }

    /// Like std's, except that every drop acquires; in std only the last one does, by a fence.
    pub(crate) struct Arc<T>(NonNull<Counted<T>>);

    struct Counted<T> {
        handles: AtomicU32,
        value: T,
    }

    // SAFETY: another thread that gets a handle shares the value (`Sync`), and drops it if its
    // handle is the last one (`Send`).
    unsafe impl<T: Send + Sync> Send for Arc<T> {}
    // SAFETY: through `&Arc`, another thread reaches the value (`Sync`) and can clone a handle,
    // which may be the last one to be dropped there (`Send`).
    unsafe impl<T: Send + Sync> Sync for Arc<T> {}

    impl<T> Arc<T> {
        pub(crate) fn new(value: T) -> Self {
            let counted = Box::new(Counted { handles: AtomicU32::new(1), value });
            Arc(NonNull::from(Box::leak(counted)))
        }

        fn counted(&self) -> &Counted<T> {
            // SAFETY: the allocation lives as long as any handle, and `self` is one.
            unsafe { self.0.as_ref() }
        }
    }

    impl<T: Default> Default for Arc<T> {
        fn default() -> Self {
            Arc::new(T::default())
        }
    }

    impl<T> Clone for Arc<T> {
        fn clone(&self) -> Self {
            self.counted().handles.fetch_add(1, Relaxed);
            Arc(self.0)
        }
    }

    impl<T> Deref for Arc<T> {
        type Target = T;
        fn deref(&self) -> &T {
            &self.counted().value
        }
    }

    impl<T: fmt::Debug> fmt::Debug for Arc<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (**self).fmt(f)
        }
    }

    impl<T> Drop for Arc<T> {
        fn drop(&mut self) {
            if self.counted().handles.fetch_sub(1, AcqRel) == 1 {
                // SAFETY: `new` made this from a box, and this was the last handle.
                drop(unsafe { Box::from_raw(self.0.as_ptr()) });
            }
        }
    }
}

/// loom's atomics, wrapped so that loom misses no interleaving.
///
/// loom 0.7 reorders two accesses to one atomic only if they conflict, and it compares only with
/// the last access before. So a thread that loads and then stores a word hides its store from
/// another thread's earlier load. So loom never tries the orders in which the store comes first:
/// see the model `loads_are_explored`. Here each access also increments a Relaxed counter beside
/// the atomic. It orders no memory, but accesses by two threads always conflict.
#[cfg(loom)]
mod seen {
    use loom::sync::atomic::{self, Ordering};

    macro_rules! seen {
        ($name:ident $(<$param:ident>)?, $value:ty, $inner:ty) => {
            #[derive(Debug)]
            pub(crate) struct $name $(<$param>)? {
                value: $inner,
                accesses: atomic::AtomicU32,
            }

            #[allow(dead_code, reason = "not each type uses each operation")]
            impl $(<$param>)? $name $(<$param>)? {
                pub(crate) fn new(value: $value) -> Self {
                    $name { value: <$inner>::new(value), accesses: atomic::AtomicU32::new(0) }
                }

                fn see(&self) -> &$inner {
                    self.accesses.fetch_add(1, Ordering::Relaxed);
                    &self.value
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    self.see().load(order)
                }

                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    self.see().store(value, order);
                }

                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    self.see().swap(value, order)
                }

                pub(crate) fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.see().compare_exchange(current, new, success, failure)
                }

                pub(crate) fn compare_exchange_weak(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.compare_exchange(current, new, success, failure)
                }
            }
        };
    }

    seen!(AtomicU32, u32, atomic::AtomicU32);
    seen!(AtomicU64, u64, atomic::AtomicU64);
    seen!(AtomicPtr<T>, *mut T, atomic::AtomicPtr<T>);

    impl AtomicU64 {
        pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
            self.see().fetch_add(value, order)
        }

        pub(crate) fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
            self.see().fetch_sub(value, order)
        }
    }

    impl AtomicU32 {
        pub(crate) fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
            self.see().fetch_add(value, order)
        }

        pub(crate) fn fetch_max(&self, value: u32, order: Ordering) -> u32 {
            self.see().fetch_max(value, order)
        }

        pub(crate) fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
            self.see().fetch_sub(value, order)
        }
    }
}
