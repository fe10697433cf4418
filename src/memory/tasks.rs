//! Tasks that wait for memory: callers that leave a waker and hold no thread.
//!
//! Guarantees: chunks that come back wake the tasks that have waited longest. A task that is done,
//! or is dropped, after it was woken wakes the next one. So no wake-up gets lost, and none is spent
//! on tasks for which there is nothing. A task that is dropped leaves no trace. Wakers are foreign
//! code: none is cloned, called or dropped under the lock, and their panics are caught.
//! Refuses: nothing.
//!
//! A task that is woken and then never polled keeps its wake-up. So workers look now and then
//! whether chunks are free while tasks wait (`Shared::serve_tasks`).

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

use crate::base::foreign::quietly;
use crate::base::sync::{Mutex, SeqCst, fence, lock};
use crate::memory::Shared;

/// The wakers of tasks that wait and were not woken yet.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<Queues>);

#[derive(Debug, Default)]
struct Queues {
    /// The next task's number.
    next: u64,
    /// Tasks by number: those whose records fit one chunk, and those that need several.
    queues: [BTreeMap<u64, Waker>; 2],
}

const SMALL: usize = 0;
const LARGE: usize = 1;

impl Tasks {
    /// Queues a task, behind all others if it has no number yet. Returns the number.
    fn queue(&self, queue: usize, number: Option<u64>, waker: Waker) -> u64 {
        let mut queues = lock(&self.0);
        let waits = number.filter(|number| queues.queues[queue].contains_key(number));
        // Who needs one chunk keeps its place. Who needs many may wait long, so others go first.
        let kept = if queue == LARGE { waits } else { number };
        let number = kept.unwrap_or(queues.next);
        queues.next = queues.next.max(number + 1);
        let before = queues.queues[queue].insert(number, waker);
        drop(queues);
        quietly(|| drop(before));
        number
    }

    /// Forgets a task. `false` if it was woken.
    fn remove(&self, queue: usize, number: u64) -> bool {
        let waker = lock(&self.0).queues[queue].remove(&number);
        let waits = waker.is_some();
        quietly(|| drop(waker));
        waits
    }

    /// Wakes up to `count` tasks of a queue. A task that queues again meanwhile may be woken again.
    fn wake(&self, queue: usize, count: usize) {
        let count = count.min(lock(&self.0).queues[queue].len());
        for _ in 0..count {
            // The lock is free again before the call.
            let Some((_, waker)) = lock(&self.0).queues[queue].pop_first() else { return };
            quietly(|| waker.wake());
        }
    }

    /// For chunks that came back. One task that needs several of them tries too.
    pub(super) fn wake_for(&self, chunks: usize) {
        self.wake(SMALL, chunks);
        self.wake(LARGE, 1);
    }

    pub(super) fn wake_all(&self) {
        [SMALL, LARGE].iter().for_each(|&queue| self.wake(queue, usize::MAX));
    }

    /// Passes a wake-up on. Who needs several chunks is woken by each chunk that comes back anyway.
    fn wake_next(&self) {
        let has_small = !lock(&self.0).queues[SMALL].is_empty();
        self.wake(if has_small { SMALL } else { LARGE }, 1);
    }
}

/// One task's wait for memory. Its drop ends the wait.
pub(crate) struct Wait<'a> {
    shared: &'a Shared,
    queue: usize,
    /// `None` before the first wait and after the last.
    number: Option<u64>,
}

impl<'a> Wait<'a> {
    /// For a record of `len` bytes.
    pub(crate) fn new(shared: &'a Shared, len: usize) -> Self {
        let queue = if len > shared.arena.size() { LARGE } else { SMALL };
        Wait { shared, queue, number: None }
    }

    /// Polls `look`, which takes memory. The task is woken when it should look again.
    pub(crate) fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        mut look: impl FnMut() -> Option<T>,
    ) -> Poll<T> {
        let found = look().or_else(|| {
            self.begin(context.waker().clone());
            // Pairs with the fence of `Pool::notify`: either this look sees the chunk, or whoever
            // brings it sees the task.
            fence(SeqCst);
            look()
        });
        let Some(found) = found else { return Poll::Pending };
        self.end();
        Poll::Ready(found)
    }

    fn begin(&mut self, waker: Waker) {
        let pool = &self.shared.pool;
        if self.number.is_none() {
            pool.add_task();
        }
        self.number = Some(pool.tasks.queue(self.queue, self.number, waker));
    }

    /// Ends the wait. Passes on a wake-up that this task has had.
    fn end(&mut self) {
        let Some(number) = self.number.take() else { return };
        if self.shared.slots.is_forked() {
            // A child takes no lock, and nobody waits in it.
            return;
        }
        let pool = &self.shared.pool;
        pool.remove_task();
        if !pool.tasks.remove(self.queue, number) {
            pool.tasks.wake_next();
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::base::sync::Barrier;
    use crate::memory::arena::ChunkId;

    /// Counts the calls, and then does what a test wants.
    struct Task<F: Fn() + Send + Sync>(AtomicU32, F);

    impl<F: Fn() + Send + Sync> Wake for Task<F> {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
            (self.1)();
        }
    }

    fn task() -> Arc<Task<fn()>> {
        Arc::new(Task(AtomicU32::new(0), || ()))
    }

    /// How often it was woken since the last look.
    fn woken<F: Fn() + Send + Sync>(task: &Task<F>) -> u32 {
        task.0.swap(0, Ordering::Relaxed)
    }

    fn poll<F: Fn() + Send + Sync + 'static>(
        wait: &mut Wait<'_>,
        task: &Arc<Task<F>>,
        shared: &Shared,
    ) -> Option<ChunkId> {
        let waker = Waker::from(task.clone());
        let chunks = if wait.queue == SMALL { 1 } else { 2 };
        let look = || Some(shared.pool.pop_chain(&shared.arena, 0, chunks)?.0);
        match wait.poll(&mut Context::from_waker(&waker), look) {
            Poll::Ready(chunk) => Some(chunk),
            Poll::Pending => None,
        }
    }

    /// Memory of which nothing is free.
    fn full(chunks: u32) -> Shared {
        let shared = Shared::new(chunks, 8, 1, Barrier::detect()).unwrap();
        shared.pool.pop_chain(&shared.arena, 0, chunks).unwrap();
        shared
    }

    fn free(shared: &Shared, chunks: impl IntoIterator<Item = ChunkId>) {
        shared.pool.push_all(&shared.arena, chunks.into_iter());
    }

    #[test]
    fn tasks_are_woken_in_their_order_and_keep_their_place() {
        let shared = full(3);
        let tasks = [task(), task(), task()];
        let mut waits = [(); 3].map(|()| Wait::new(&shared, 8));
        let all = |waits: &mut [Wait<'_>; 3]| {
            let mut at = 0;
            waits.each_mut().map(|wait| {
                at += 1;
                poll(wait, &tasks[at - 1], &shared)
            })
        };
        assert_eq!(all(&mut waits), [None; 3]);
        // Another poll queues no task twice.
        assert_eq!(all(&mut waits), [None; 3]);
        assert_eq!(shared.pool.waiting_tasks(), 3);
        free(&shared, [0]);
        assert_eq!(tasks.each_ref().map(|task| woken(task)), [1, 0, 0]);
        // Somebody else was quicker. The first task is woken first again.
        assert_eq!(shared.pool.pop(&shared.arena, 0), Some(0));
        assert_eq!(poll(&mut waits[0], &tasks[0], &shared), None);
        free(&shared, [0, 1]);
        assert_eq!(tasks.each_ref().map(|task| woken(task)), [1, 1, 0]);
        // Each that is served wakes the next one.
        assert!(poll(&mut waits[0], &tasks[0], &shared).is_some());
        assert_eq!(woken(&tasks[2]), 1);
        assert_eq!(shared.pool.waiting_tasks(), 2);
        drop(waits);
        assert_eq!(shared.pool.waiting_tasks(), 0);
        assert!(tasks.iter().all(|task| Arc::strong_count(task) == 1), "a waker was left behind");
    }

    #[test]
    fn a_task_that_needs_several_chunks_holds_up_no_other() {
        let shared = full(3);
        let (large, other, small) = (task(), task(), task());
        let mut waits = [9, 9, 8].map(|len| Wait::new(&shared, len));
        for (wait, task) in waits.iter_mut().zip([&large, &other, &small]) {
            assert_eq!(poll(wait, task, &shared), None);
        }
        free(&shared, [0]);
        assert_eq!([&large, &other, &small].map(|task| woken(task)), [1, 0, 1]);
        assert_eq!(poll(&mut waits[0], &large, &shared), None);
        // It went behind the other one.
        free(&shared, [1]);
        assert_eq!([&large, &other, &small].map(|task| woken(task)), [0, 1, 0]);
        assert!(poll(&mut waits[1], &other, &shared).is_some());
        assert_eq!(woken(&large), 1, "the small one is woken already");
    }

    #[test]
    fn a_task_that_is_dropped_passes_its_wake_up_on() {
        let shared = full(2);
        let (one, other) = (task(), task());
        let (mut first, mut second) = (Wait::new(&shared, 8), Wait::new(&shared, 8));
        assert!(poll(&mut first, &one, &shared).or(poll(&mut second, &other, &shared)).is_none());
        free(&shared, [0]);
        assert_eq!((woken(&one), woken(&other)), (1, 0));
        drop(first);
        assert_eq!((woken(&one), woken(&other)), (0, 1));
        assert_eq!(Arc::strong_count(&one), 1);
        // One that was not woken has none to pass on.
        let mut third = Wait::new(&shared, 8);
        assert_eq!(poll(&mut second, &other, &shared), Some(0));
        assert_eq!(poll(&mut third, &one, &shared), None);
        let mut fourth = Wait::new(&shared, 8);
        assert_eq!(poll(&mut fourth, &other, &shared), None);
        drop(third);
        assert_eq!((woken(&one), woken(&other)), (0, 0));
    }

    /// As when a caller of `select!` does not come back to one of its futures.
    #[test]
    fn a_task_that_is_never_polled_again_holds_up_no_other_for_long() {
        let shared = full(2);
        let (one, other) = (task(), task());
        let (mut first, mut second) = (Wait::new(&shared, 8), Wait::new(&shared, 8));
        assert!(poll(&mut first, &one, &shared).or(poll(&mut second, &other, &shared)).is_none());
        assert!(shared.serve_tasks());
        assert_eq!((woken(&one), woken(&other)), (0, 0), "nothing is free");
        free(&shared, [0]);
        assert_eq!((woken(&one), woken(&other)), (1, 0));
        assert!(shared.serve_tasks());
        assert_eq!((woken(&one), woken(&other)), (0, 1));
        drop((first, second));
        assert!(!shared.serve_tasks());
    }

    #[test]
    fn all_are_woken_to_be_refused() {
        let shared = full(2);
        let tasks = [task(), task(), task()];
        let mut waits = [8, 8, 9].map(|len| Wait::new(&shared, len));
        let queue = |waits: &mut [Wait<'_>]| {
            for (wait, task) in waits.iter_mut().zip(&tasks) {
                assert_eq!(poll(wait, task, &shared), None);
            }
        };
        queue(&mut waits);
        shared.pool.notify_all();
        assert_eq!(tasks.each_ref().map(|task| woken(task)), [1; 3]);
        queue(&mut waits);
        shared.set_over_quota(true);
        assert!(shared.serve_tasks());
        assert_eq!(tasks.each_ref().map(|task| woken(task)), [1; 3]);
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_from_being_woken() {
        let shared = full(2);
        let (bad, good) = (Arc::new(Task(AtomicU32::new(0), || panic!("in a waker"))), task());
        let (mut first, mut second) = (Wait::new(&shared, 8), Wait::new(&shared, 8));
        assert_eq!(poll(&mut first, &bad, &shared), None);
        assert_eq!(poll(&mut second, &good, &shared), None);
        free(&shared, [0, 1]);
        assert_eq!((woken(&bad), woken(&good)), (1, 1));
    }

    /// A waker may do anything with the writer, such as poll the task at once.
    #[test]
    fn nothing_is_held_while_a_waker_runs() {
        let shared: &'static Shared = Box::leak(Box::new(full(2)));
        let inner = Arc::new(std::sync::Mutex::new(Wait::new(shared, 8)));
        let again = inner.clone();
        let noop = task();
        let outer = Arc::new(Task(AtomicU32::new(0), move || {
            assert!(poll(&mut again.lock().unwrap(), &noop, shared).is_some());
        }));
        assert_eq!(poll(&mut inner.lock().unwrap(), &outer, shared), None);
        free(shared, [0]);
        assert_eq!(woken(&outer), 1);
        assert_eq!(shared.pool.waiting_tasks(), 0);
        assert_eq!(Arc::strong_count(&outer), 1);
    }
}
