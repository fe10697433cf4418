//! The end of a writer: close, drop, and giving up at a deadline.
//!
//! Guarantees: a close returns by its deadline, whichever call hangs, and says exactly what is missing; what it gave
//! up never becomes visible. The drop of the last handle closes the writer.

use std::thread;
use std::time::{Duration, Instant};

use crate::base::latch::Latch;
use crate::base::sync::{Arc, Mutex, lock};
use crate::memory::slot::Slot;
use crate::report::close::{CloseError, CloseReport, Reason};
use crate::report::error::Error;
use crate::worker::control::Phase;
use crate::writer::inner::Inner;

/// How much longer than its deadline a close may take, for workers that were given up to clean up.
const GRACE: Duration = Duration::from_millis(10);

/// The same for the removal of the state file, the last call of all.
const LAST_GRACE: Duration = Duration::from_millis(250);

impl Inner {
    /// Ends the writer. Each caller waits until its own deadline; the first deadline that passes
    /// ends the wait of all, since nobody wants the writer any more.
    pub(crate) fn close(&self, timeout: Duration) -> Result<CloseReport, CloseError> {
        if self.is_forked() {
            return Err(CloseError { report: Box::default(), reason: Reason::Forked });
        }
        if self.is_own_worker() {
            return Err(CloseError { report: Box::new(self.report()), reason: Reason::OnWorker });
        }
        let deadline = Instant::now().checked_add(timeout);
        self.begin_close(deadline);
        if !self.control.wait_finished(deadline) {
            self.abandon();
            // Who does not hang in a call removes its temp file at once: what is reported as lost
            // should not lie about.
            self.control.wait_ended(Instant::now().checked_add(GRACE));
        }
        // If it is not over by then, the next start goes on with it.
        self.recovery.wait(deadline);
        self.finish(deadline)
    }

    /// Refuses further records and tells the workers to finish, unless the deadline passes first.
    pub(crate) fn begin_close(&self, deadline: Option<Instant>) {
        self.shared.slots.close();
        self.shared.slots.heavy_barrier();
        // Who waits for memory shall see the closed gate.
        self.shared.pool.notify();
        if self.wait_quiet(deadline) {
            self.control.advance(Phase::Draining);
            self.wake_all();
        }
    }

    /// Waits until no producer is in a write that began before the gates were closed: that takes a
    /// copy's time, unless one is preempted. Each slot on its own: once seen at rest it can only be
    /// busy with refusals, and callers that go on trying must not hold up the close.
    fn wait_quiet(&self, deadline: Option<Instant>) -> bool {
        let mut busy: Vec<&Slot> = self.shared.slots.iter().collect();
        loop {
            busy.retain(|slot| slot.is_busy());
            if busy.is_empty() {
                return true;
            }
            if deadline.is_some_and(|at| at <= Instant::now()) {
                return false;
            }
            thread::yield_now();
        }
    }

    /// The last handle went with a message that a worker dropped, and a worker can't wait for itself:
    /// another thread does. If there is none to be had, the workers end when all is written.
    fn close_elsewhere(&mut self) {
        self.shared.slots.close();
        self.shared.slots.heavy_barrier();
        // No handle is left, so nobody is in a write.
        self.control.advance(Phase::Draining);
        self.wake_all();
        if std::mem::replace(&mut self.is_handed_on, true) {
            return;
        }
        let successor = Inner {
            id: self.id,
            shared: self.shared.clone(),
            control: self.control.clone(),
            ledgers: std::mem::take(&mut self.ledgers),
            threads: Mutex::new(std::mem::take(&mut *lock(&self.threads))),
            target: self.target.clone(),
            state: self.state.clone(),
            recovery: self.recovery.clone(),
            drop_timeout: self.drop_timeout,
            memory_bound: self.memory_bound,
            is_handed_on: true,
        };
        // On an error the successor is dropped here.
        let _ = thread::Builder::new().name("bw-close".into()).spawn(move || drop(successor));
    }

    /// Tells the workers to publish nothing that they have not claimed, and to end.
    pub(crate) fn abandon(&self) {
        self.control.advance(Phase::Abandoned);
        if let Some(image) = self.shared.arena.crash_image() {
            // What was reported as lost must not come back, even if the process dies while a worker hangs.
            image.close();
        }
        self.ledgers.iter().for_each(|ledger| ledger.revoke_claims());
        self.wake_all();
    }

    /// Whether all workers have published everything and ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.control.is_finished()
    }

    fn finish(&self, deadline: Option<Instant>) -> Result<CloseReport, CloseError> {
        let finished = self.is_finished();
        if self.control.wait_ended(Some(Instant::now())) {
            // They have ended, or are about to, with nothing in between that could hang.
            for thread in std::mem::take(&mut *lock(&self.threads)) {
                // A worker never panics; if it did, the accounts tell what it left.
                let _ = thread.join();
            }
            self.remove_state(deadline);
        }
        let report = self.report();
        if finished {
            Ok(report)
        } else {
            let reason = Reason::Deadline(self.last_error().or_else(|| self.hung()));
            Err(CloseError { report: Box::new(report), reason })
        }
    }

    /// On a thread of its own, since a disk may hang in this call too. A state file that stays says that
    /// there is nothing to recover.
    fn remove_state(&self, deadline: Option<Instant>) {
        let (state, target, shared) =
            (self.state.clone(), self.target.clone(), self.shared.clone());
        let done = Arc::new(Latch::default());
        let is_done = done.clone();
        let remove = move || {
            if let Some(image) = shared.arena.crash_image() {
                let _ = image.remove();
            }
            let _ = state.remove(&*target.fs);
            done.set();
        };
        // Without a thread it is not tried: there may be no descriptor and no memory for anything.
        let Ok(thread) = thread::Builder::new().name("bw-close".into()).spawn(remove) else {
            return;
        };
        let soon = Instant::now().checked_add(LAST_GRACE);
        if is_done.wait(deadline.map(|at| soon.map_or(at, |soon| at.max(soon)))) {
            // It has nothing left to do.
            let _ = thread.join();
        }
    }

    /// Without an error it is a call that does not return: the file that it is for says where.
    fn hung(&self) -> Option<Error> {
        let path = self.ledgers.iter().find_map(|ledger| ledger.temp_file())?;
        Some(Error::io("finish", &path, std::io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.is_own_worker() {
            self.close_elsewhere();
        } else {
            // The report has no reader; who wants it calls `close`.
            let _ = self.close(self.drop_timeout);
        }
    }
}
