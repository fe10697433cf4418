//! A value that one thread hands to one task, once.
//!
//! Guarantees: the task is woken when the value is there. Wakers are foreign code: none is cloned,
//! called or dropped under the lock, and their panics are caught.

use std::task::{Context, Poll, Waker};

use crate::base::foreign::quietly;
use crate::base::sync::{Mutex, lock};

/// Both sides share one.
#[derive(Debug)]
pub(crate) struct Oneshot<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

impl<T> Oneshot<T> {
    pub(crate) fn new() -> Self {
        Oneshot(Mutex::new(State { value: None, waker: None }))
    }

    /// Hands the value over. Called once.
    pub(crate) fn set(&self, value: T) {
        let mut state = lock(&self.0);
        state.value = Some(value);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            quietly(|| waker.wake());
        }
    }

    /// Takes the value, or has the task woken when it is there.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<T> {
        let waker = context.waker().clone();
        let mut state = lock(&self.0);
        let (value, before) = match state.value.take() {
            Some(value) => (Poll::Ready(value), Some(waker)),
            None => (Poll::Pending, state.waker.replace(waker)),
        };
        drop(state);
        quietly(|| drop(before));
        value
    }

    /// The task waits no longer.
    pub(crate) fn forget(&self) {
        let waker = lock(&self.0).waker.take();
        quietly(|| drop(waker));
    }
}
