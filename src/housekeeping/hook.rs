//! The thread that calls the hook.
//!
//! Guarantees: the hook runs while nothing is held, and its panic is caught. It is called for one file
//! after the other, until it succeeds.

use std::time::{Duration, Instant};

use crate::base::foreign::quietly;
use crate::base::latch::wait_on;
use crate::base::sync::lock;
use crate::housekeeping::publication::Publication;
use crate::housekeeping::publications::{PAUSE_MIN, Publications};
use crate::housekeeping::queue::{Call, UPCOMING_MAX};
use crate::report::error::Error;

const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After so many files the journal gives back their room.
const RELEASED_AT_ONCE: u64 = 256;

impl Publications {
    /// The thread that calls the hook.
    pub(super) fn run_hook(&self) {
        let Some(hook) = self.hook.0.clone() else { return };
        while let Some(file) = self.next_for_hook() {
            let Some(told) = file.told(&self.dir) else {
                self.acknowledge();
                continue;
            };
            lock(&self.queue).call = Some(Call {
                file: told.path.clone(),
                since: Instant::now(),
                attempts: 0,
                error: String::new(),
                running: None,
            });
            let mut pause = PAUSE_MIN;
            loop {
                self.with_call(|call| call.running = Some(Instant::now()));
                let mut result = Err("it panicked".into());
                quietly(|| result = hook(&told));
                let error = match result {
                    Ok(()) => break,
                    Err(error) => error.to_string(),
                };
                self.with_call(|call| {
                    (call.running, call.error) = (None, error);
                    call.attempts += 1;
                });
                if !self.rest(pause) {
                    return;
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
            self.acknowledge();
        }
    }

    /// Calls the hook for all files that are listed, once each.
    #[cfg(test)]
    pub(crate) fn step_hook(&self) {
        let hook = self.hook.0.clone().expect("a hook");
        while self.stats().unacknowledged > 0 {
            let file = self.next_for_hook().expect("a file");
            hook(&file.told(&self.dir).expect("a name")).expect("acknowledged");
            self.acknowledge();
        }
    }

    fn with_call(&self, change: impl FnOnce(&mut Call)) {
        lock(&self.queue).call.as_mut().map(change);
    }

    /// Waits. `false` once the writer has ended.
    pub(super) fn rest(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut queue = lock(&self.queue);
        while !queue.ends {
            match wait_on(&self.told, queue, Some(until)) {
                Some(woken) => queue = woken,
                None => return true,
            }
        }
        false
    }

    /// Waits for a file for the hook. `None` once the writer has ended.
    fn next_for_hook(&self) -> Option<Publication> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.ends {
                return None;
            }
            if let Some(file) = queue.upcoming.front() {
                return Some(file.clone());
            }
            if queue.acknowledged < queue.entries {
                drop(queue);
                let read = self.read_upcoming();
                if read.is_err() && !self.rest(PAUSE_MIN) {
                    return None;
                }
                queue = lock(&self.queue);
                continue;
            }
            queue = wait_on(&self.told, queue, None).expect("without a deadline");
        }
    }

    /// Reads the next files from the journal. An entry that can't be read any more is passed over.
    fn read_upcoming(&self) -> Result<(), Error> {
        let mut lister = lock(&self.lister);
        let from = lock(&self.queue).acknowledged;
        let Some(journal) = &mut lister.journal else { return Ok(()) };
        let read = journal.read(from, UPCOMING_MAX)?;
        let mut queue = lock(&self.queue);
        if read.is_empty() {
            queue.acknowledged += 1;
        }
        queue.upcoming = read.into();
        if queue.acknowledged + queue.upcoming.len() as u64 == queue.entries {
            queue.unread_from = None;
        }
        Ok(())
    }

    /// The hook has acknowledged the file. An error of the journal means that it is called again after a crash.
    fn acknowledge(&self) {
        let mut lister = lock(&self.lister);
        let mut queue = lock(&self.queue);
        queue.upcoming.pop_front();
        queue.call = None;
        queue.acknowledged += 1;
        queue.stats.acknowledged += 1;
        let (acknowledged, is_all) = (queue.acknowledged, queue.acknowledged == queue.entries);
        drop(queue);
        if let Some(journal) = &mut lister.journal {
            if !is_all {
                let noted = journal.note_acknowledged(acknowledged);
                if noted.is_ok() && acknowledged % RELEASED_AT_ONCE == 0 {
                    journal.release(acknowledged);
                }
            } else if journal.forget_entries().is_ok() {
                let mut queue = lock(&self.queue);
                (queue.acknowledged, queue.entries) = (0, 0);
            }
        }
        self.told.notify_all();
    }
}
