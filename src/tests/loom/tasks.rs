//! Tasks: the waker of a future is not missed, whatever it waits for. A missed one is a deadlock.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::{Condvar, Mutex};

use super::close::close_gates;
use super::*;
use crate::base::oneshot::Oneshot;
use crate::memory::tasks::Wait;
use crate::worker::control::{Control, FlushTask, Phase};

/// An executor of one task on its thread.
#[derive(Default)]
struct Executor {
    is_woken: Mutex<bool>,
    told: Condvar,
}

impl Wake for Executor {
    fn wake(self: std::sync::Arc<Self>) {
        *self.is_woken.lock().unwrap() = true;
        self.told.notify_one();
    }
}

impl Executor {
    /// Waits for the waker, without a limit.
    fn wait(&self) {
        let mut is_woken = self.is_woken.lock().unwrap();
        while !*is_woken {
            is_woken = self.told.wait(is_woken).unwrap();
        }
        *is_woken = false;
    }
}

fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let executor = std::sync::Arc::new(Executor::default());
    let waker = Waker::from(executor.clone());
    let mut future = pin!(poll_fn(|context| poll(context)));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        executor.wait();
    }
}

/// What `write_async` does after its first try.
fn write_async(shared: &Arc<Shared>, owner: Owner, record: &[u8]) -> Result<(), WriteError> {
    let mut wait = Wait::new(shared, record.len());
    block_on(|context| wait.poll(context, || look(shared, owner, record)))
}

fn look(shared: &Arc<Shared>, owner: Owner, record: &[u8]) -> Option<Result<(), WriteError>> {
    Some(owner.write(shared, record)).filter(|result| *result != Err(WriteError::Full))
}

/// Memory of one chunk, in which one record waits for the worker.
fn full(size: usize) -> Arc<Shared> {
    let shared = shared(1, size, 1);
    let owner = Owner::new(&shared);
    owner.write(&shared, &b"ab"[..size]).unwrap();
    assert_eq!(owner.write(&shared, b"c"), Err(WriteError::Full));
    shared
}

/// A task that found no memory is woken by the chunk that comes back.
#[test]
fn task_waits_for_memory() {
    explore("task_waits_for_memory", || {
        let shared = full(1);
        let owner = Owner::new(&shared);
        let task = {
            let shared = shared.clone();
            thread::spawn(move || write_async(&shared, owner, b"x"))
        };
        let mut worker = Worker::new(0);
        worker.take(&shared);
        assert_eq!(task.join().unwrap(), Ok(()));
        worker.scrape(&shared);
        assert_eq!(worker.out, b"ax");
        assert_eq!(shared.pool.waiting_tasks(), 0);
    });
}

/// A future that is dropped, before or after it was woken: the other task gets the chunk.
#[test]
fn task_that_is_dropped_passes_its_wake_up_on() {
    explore("task_that_is_dropped_passes_its_wake_up_on", || {
        let shared = full(1);
        let (dropped, owner) = (Owner::new(&shared), Owner::new(&shared));
        let mut wait = Wait::new(&shared, 1);
        let mut context = Context::from_waker(Waker::noop());
        assert!(wait.poll(&mut context, || look(&shared, dropped, b"z")).is_pending());
        let task = {
            let shared = shared.clone();
            thread::spawn(move || write_async(&shared, owner, b"x"))
        };
        let worker = {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut worker = Worker::new(0);
                worker.take(&shared);
                worker
            })
        };
        drop(wait);
        assert_eq!(task.join().unwrap(), Ok(()));
        let mut worker = worker.join().unwrap();
        worker.scrape(&shared);
        assert_eq!(worker.out, b"ax");
        assert_eq!(shared.pool.waiting_tasks(), 0);
    });
}

/// Two tasks on one thread, and one chunk with room for both: who is served wakes the other.
#[test]
fn task_that_is_served_wakes_the_next() {
    explore("task_that_is_served_wakes_the_next", || {
        let shared = full(2);
        let owner = Owner::new(&shared);
        let tasks = {
            let shared = shared.clone();
            thread::spawn(move || {
                let executors = [0, 1].map(|_| std::sync::Arc::new(Executor::default()));
                let mut waits = [0, 1].map(|_| Wait::new(&shared, 1));
                let mut poll = |task: usize| {
                    let waker = Waker::from(executors[task].clone());
                    let look = || look(&shared, owner, b"x");
                    waits[task].poll(&mut Context::from_waker(&waker), look).is_ready()
                };
                let mut is_done = [poll(0), poll(1)];
                for task in [0, 1] {
                    while !is_done[task] {
                        executors[task].wait();
                        is_done[task] = poll(task);
                    }
                }
            })
        };
        let mut worker = Worker::new(0);
        worker.take(&shared);
        tasks.join().unwrap();
        worker.scrape(&shared);
        assert_eq!(worker.out, b"abxx");
    });
}

/// Close: a task that waits for memory is refused, whenever it began to wait.
#[test]
fn task_waits_against_close() {
    explore("task_waits_against_close", || {
        let shared = full(1);
        let owner = Owner::new(&shared);
        let task = {
            let shared = shared.clone();
            thread::spawn(move || write_async(&shared, owner, b"x"))
        };
        close_gates(&shared);
        shared.pool.notify_all();
        assert_eq!(task.join().unwrap(), Err(WriteError::Closed));
    });
}

/// A task that waits for a flush is woken by the answer of the last worker, and by a close that gives up.
#[test]
fn task_waits_for_a_flush() {
    fn flush(workers: usize, meanwhile: impl FnOnce(&Control) + Send + 'static) -> bool {
        let (shared, control) = (shared(1, 1, workers), Arc::new(Control::new(workers)));
        let number = control.ask_flush();
        // It leaves nothing behind.
        let dropped = FlushTask::new(&control, &shared.slots, control.ask_flush());
        assert!(dropped.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(dropped);
        let other = {
            let control = control.clone();
            thread::spawn(move || meanwhile(&control))
        };
        let task = FlushTask::new(&control, &shared.slots, number);
        let answer = block_on(|context| task.poll(context));
        drop(task);
        other.join().unwrap();
        assert_eq!(control.waiting_tasks(), 0);
        answer
    }
    explore("task_waits_for_a_flush", || {
        let answer = |control: &Control| {
            control.answer_flush(1, 1);
            control.answer_ended(0, true);
        };
        assert!(flush(2, answer));
    });
    explore("task_waits_for_a_flush, which is given up", || {
        assert!(!flush(1, |control: &Control| control.advance(Phase::Abandoned)));
    });
}

/// A task that waits for the thread that closes the writer is woken by its report.
#[test]
fn task_waits_for_a_close() {
    explore("task_waits_for_a_close", || {
        let answer = Arc::new(Oneshot::new());
        let closer = {
            let answer = answer.clone();
            thread::spawn(move || answer.set(7))
        };
        assert_eq!(block_on(|context| answer.poll(context)), 7);
        closer.join().unwrap();
    });
}
