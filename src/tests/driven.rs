//! A worker that is stepped by hand, by a clock of the test's, as its thread would do it.

use std::time::Instant;

use crate::memory::parker::Parker;
use crate::tests::clock::Clock;
use crate::worker::pace::Rest;
use crate::worker::round::Worker;

/// A worker and its rest.
pub(crate) struct Driven {
    /// None once it has ended.
    worker: Option<Worker>,
    rest: Option<Rest>,
    /// When it wants to go on, if nobody wakes it.
    until: Option<Instant>,
}

impl Driven {
    /// It wants to run at once.
    pub(crate) fn new(worker: Worker, clock: &Clock) -> Self {
        Driven { worker: Some(worker), rest: None, until: Some(clock.now()) }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.worker.is_none()
    }

    /// Whether it sleeps on until somebody wakes it.
    pub(crate) fn is_idle(&self) -> bool {
        self.until.is_none()
    }

    /// When it runs next, of itself or because somebody woke it.
    pub(crate) fn due(&self, parker: &Parker, now: Instant) -> Option<Instant> {
        self.worker.as_ref()?;
        if parker.is_woken() { Some(now) } else { self.until }
    }

    /// Ends its rest, if it has one, and lets it take a step.
    pub(crate) fn step(&mut self, parker: &Parker, clock: &Clock) {
        let Some(worker) = &mut self.worker else { return };
        if let Some(rest) = self.rest.take() {
            if rest != Rest::Again {
                parker.take_token();
            }
            worker.rise(rest, || clock.now());
        }
        self.rest = worker.step(|| clock.now());
        self.until = match self.rest {
            Some(Rest::Again) => Some(clock.now()),
            Some(Rest::Nap(time) | Rest::Doze(Some(time)) | Rest::Sleep(Some(time))) => {
                Some(clock.now() + time)
            }
            Some(Rest::Doze(None) | Rest::Sleep(None)) => None,
            None => {
                self.worker = None;
                None
            }
        };
    }
}
