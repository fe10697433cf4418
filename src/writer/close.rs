//! The end of a writer: close, drop, and giving up at a deadline.
//!
//! Guarantees: a close returns by its deadline, whichever call hangs, and reports exactly which
//! records are missing. Records that it gave up never become visible. The drop of the last handle
//! closes the writer.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::sync::{Acquire, Arc, Release, lock};
use crate::base::sys::threads::reap;
use crate::base::thread::{Backoff, spawn};
use crate::file::state_file::live::StateFile;
use crate::memory::slot::Slot;
use crate::report::close::{CloseError, CloseReport, Reason};
use crate::report::error::Error;
use crate::worker::control::Phase;
use crate::writer::inner::{Core, Inner};

/// How far a close may exceed its deadline, so that abandoned workers can clean up.
const GRACE: Duration = Duration::from_millis(10);

/// The same for the removal of the state file and the end of the threads, the last steps of a close.
const LAST_GRACE: Duration = Duration::from_millis(250);

/// The name of threads that help a close.
pub(super) const THREAD: &str = "bw-close";

impl Core {
    /// Ends the writer. Each caller waits until its own deadline. The first deadline that passes
    /// ends the wait of all callers, since no caller wants the writer any more.
    pub(crate) fn close(&self, timeout: Duration) -> Result<CloseReport, CloseError> {
        self.may_close()?;
        self.close_until(Instant::now().checked_add(timeout))
    }

    /// Refuses a close by those who can't wait for the workers.
    pub(super) fn may_close(&self) -> Result<(), CloseError> {
        if self.is_forked() {
            return Err(CloseError { report: Box::default(), reason: Reason::Forked });
        }
        if self.is_own_worker() {
            return Err(CloseError { report: Box::new(self.report()), reason: Reason::OnWorker });
        }
        Ok(())
    }

    /// Ends the writer, on a thread that may wait.
    pub(super) fn close_until(&self, deadline: Option<Instant>) -> Result<CloseReport, CloseError> {
        self.begin_close(deadline);
        if !self.control.wait_finished(deadline) {
            self.abandon();
            // A worker that does not hang removes its temp file at once, so that records that are
            // reported as lost don't stay on the disk.
            self.control.wait_ended(Instant::now().checked_add(GRACE));
        }
        // A recovery that is not over by then is continued by the next start.
        self.recovery.wait(deadline);
        if let Some(publications) = self.publications() {
            publications.wait_settled(deadline);
        }
        // After all that publishes files. Files that were not deleted by then stay.
        self.housekeeper.finish(deadline);
        let result = self.finish(deadline);
        self.is_over.store(1, Release);
        result
    }

    /// Refuses further records and tells the workers to finish, unless the deadline passes first.
    pub(crate) fn begin_close(&self, deadline: Option<Instant>) {
        self.shared.slots.close();
        self.shared.slots.heavy_barrier();
        // Callers and tasks that wait for memory must see the closed gate.
        self.shared.pool.notify_all();
        if self.wait_quiet(deadline) {
            self.control.advance(Phase::Draining);
            self.wake_all();
        }
    }

    /// Waits until no producer is in a write that began before the gates were closed. That takes
    /// the time of a copy, unless a producer is preempted.
    ///
    /// Each slot is watched separately. Once seen at rest, a slot can only be busy with refusals,
    /// and callers that keep trying must not delay the close.
    fn wait_quiet(&self, deadline: Option<Instant>) -> bool {
        let mut busy: Vec<&Slot> = self.shared.slots.iter().collect();
        let mut backoff = Backoff::default();
        loop {
            busy.retain(|slot| slot.is_busy());
            if busy.is_empty() {
                return true;
            }
            if deadline.is_some_and(|at| at <= Instant::now()) {
                return false;
            }
            backoff.pause();
        }
    }

    /// Tells the workers to publish nothing that they have not claimed, and to end.
    pub(crate) fn abandon(&self) {
        self.control.advance(Phase::Abandoned);
        if let Some(image) = self.shared.arena.crash_image() {
            // Records that were reported as lost must not reappear, even if the process dies while
            // a worker hangs.
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
        self.control.activity.end();
        let finished = self.is_finished();
        if self.control.wait_ended(Some(Instant::now())) {
            self.clean_up(deadline);
        } else if let Some(publications) = self.publications() {
            // Workers that hang may come back, but nobody waits for the rest.
            publications.end_threads();
        }
        let report = self.report();
        if finished {
            Ok(report)
        } else {
            let reason = Reason::Deadline(self.last_error().or_else(|| self.hung()));
            Err(CloseError { report: Box::new(report), reason })
        }
    }

    /// Removes the memory and the state file, and closes all files, once the workers have ended. On
    /// another thread, since the disk may hang in unlink(2) and close(2) too. A state file that stays
    /// says that there is nothing to recover.
    fn clean_up(&self, deadline: Option<Instant>) {
        // The first close does it, and the others wait for it.
        let helper = lock(&self.state).take().and_then(|state| self.start_clean_up(state));
        let soon = Instant::now().checked_add(LAST_GRACE);
        let is_clean = self.is_clean.wait(deadline.map(|at| soon.map_or(at, |soon| at.max(soon))));
        if let Some(helper) = helper.filter(|_| is_clean) {
            reap(helper);
        }
    }

    fn start_clean_up(&self, state: Arc<StateFile>) -> Option<JoinHandle<()>> {
        let (target, shared, is_clean) =
            (self.target.clone(), self.shared.clone(), self.is_clean.clone());
        let housekeepers = self.publications().map(|publications| publications.end());
        let threads = std::mem::take(&mut *lock(&self.threads));
        let helper = spawn(THREAD, move || {
            if let Some(image) = shared.arena.crash_image() {
                let _ = image.remove();
            }
            let _ = state.remove(&*target.fs);
            for thread in threads.into_iter().chain(housekeepers.into_iter().flatten()) {
                // The worker closes its files. It never panics. If it did, its records would show in
                // the counts.
                let _ = thread.join();
            }
            drop(state);
            is_clean.set();
        });
        if helper.is_err() {
            // The files stay: descriptors or memory may have run out.
            self.is_clean.set();
        }
        helper.ok()
    }

    /// No handle is left. The report is dropped: callers that want it call `close`. After that the
    /// drop has nothing to wait for.
    fn close_for_good(&self) {
        let is_over = self.is_over.load(Acquire) != 0;
        let _ = self.close(if is_over { Duration::ZERO } else { self.drop_timeout });
        let state = lock(&self.state).take().filter(|_| !self.is_forked());
        if let Some(state) = state {
            // Workers hang. If they come back just now, this is the last handle of the file, and
            // its close(2) may hang as well.
            let _ = spawn(THREAD, move || drop(state));
        }
    }

    /// If no worker reports an error, a call hangs. Its worker's temp file says where.
    fn hung(&self) -> Option<Error> {
        let path = self.ledgers.iter().find_map(|ledger| ledger.temp_file())?;
        Some(Error::io("finish", &path, std::io::ErrorKind::TimedOut.into()))
    }
}

impl Inner {
    /// A worker dropped the last handle, inside a message. A worker can't wait for itself, so
    /// another thread closes the writer. If no thread can be started, the workers end when all is
    /// written.
    fn close_elsewhere(&self) {
        self.shared.slots.close();
        self.shared.slots.heavy_barrier();
        // No handle is left, so no producer is in a write.
        self.control.advance(Phase::Draining);
        self.wake_all();
        let core = self.core.clone();
        if spawn(THREAD, move || core.close_for_good()).is_err() {
            self.housekeeper.stop();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.is_own_worker() {
            self.close_elsewhere();
        } else {
            self.close_for_good();
        }
    }
}
