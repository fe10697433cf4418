//! What all handles of one writer share: its memory, its workers, and the end of both.
//!
//! Guarantees: the drop of the last handle closes the writer. Nothing here is on the hot path.

use std::cell::Cell;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::base::latch::Latch;
use crate::base::sync::{Arc, AtomicU64, Mutex, Relaxed, lock};
use crate::config::{Config, Durability};
use crate::file::aligned::Staging;
use crate::file::publish;
use crate::file::state_file::StateFile;
use crate::memory::Shared;
use crate::memory::slot::Slot;
use crate::naming::Names;
use crate::recovery::background::{Background, Task};
use crate::report::close::{CloseError, CloseReport, Reason};
use crate::report::error::{Error, FlushError};
use crate::report::health::Health;
use crate::report::recovery::Recovery;
use crate::report::stats::{Count, Refused, Stats};
use crate::worker::checkpoint::Checkpoint;
use crate::worker::control::{Control, Phase};
use crate::worker::ledger::{Ledger, Totals};
use crate::worker::output::{Output, Target};
use crate::worker::quota::{Limits, Quota};
use crate::worker::round::{Policy, Worker};
use crate::writer::open::{self, Ground};

/// Numbers of writers, never used twice, so that nothing cached by a thread fits a later writer.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// How much longer than its deadline a close may take, for workers that were given up to clean up.
const GRACE: Duration = Duration::from_millis(10);

/// The same for the removal of the state file, the last call of all.
const LAST_GRACE: Duration = Duration::from_millis(250);

thread_local! {
    /// The writer whose worker this thread is; zero for all others.
    static WORKS_FOR: Cell<u64> = const { Cell::new(0) };
}

/// A flush that was asked for.
pub(crate) struct Flush {
    number: u64,
    lost_before: Vec<Count>,
}

/// A writer, as its handles see it.
pub(crate) struct Handle {
    pub(crate) id: u64,
    pub(crate) shared: Arc<Shared>,
    control: Arc<Control>,
    ledgers: Vec<Arc<Ledger>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    target: Arc<Target>,
    state: Arc<StateFile>,
    recovery: Arc<Background>,
    drop_timeout: Duration,
    memory_bound: usize,
    /// Another thread closes, or nobody.
    is_handed_on: bool,
}

impl Handle {
    /// Checks the options, finds the directories, maps the memory and starts the workers.
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let recovers = config.recover;
        let (handle, workers) = Self::assemble(config, Instant::now())?;
        // An error from here on drops the handle, which ends the workers that run already.
        handle.start(workers).inspect_err(|_| handle.excuse_missing())?;
        if recovers {
            handle.start_recovery();
        }
        Ok(handle)
    }

    /// All of a writer, and its workers, which do not run yet.
    pub(crate) fn assemble(config: Config, now: Instant) -> Result<(Self, Vec<Worker>), Error> {
        config.check()?;
        let memory_bound = config.memory_bound();
        let layout = config.layout();
        let (age_max, give_up_after) = (config.age_max(), config.give_up_after);
        let policy = Policy { age_max, give_up_after, on_error: config.on_error.clone() };
        let staging_bytes = config.staging_bytes();
        let names = Names::new(&config.prefix, &config.extension)?;
        let fs = config.fs.0.clone();
        let memory = config.memory_dir().map(|dir| publish::directory(&*fs, dir)).transpose()?;
        let wanted = publish::directories(&*fs, &config.path, &config.temp, config.create_dirs)?;
        let ground = Ground { fs: &*fs, memory: memory.as_deref(), names: &names, layout };
        let (places, state) = ground.settle(wanted)?;
        let unsettle = |_: &Error| drop(state.remove(&*fs));
        if config.durability == Durability::File {
            // Noticed now rather than at the first file.
            publish::sync_dir(&*fs, &places.path).inspect_err(unsettle)?;
        }
        let shared = ground.memory(&places.path).inspect_err(unsettle)?;
        let shared = Arc::new(shared);
        let limits = Limits { min_free: config.min_free, max_total: config.max_total };
        let guard = open::guard(limits, &fs, &places, &names, &shared, now);
        let target = Target {
            fs,
            path: places.path,
            temp: places.temp,
            names,
            mode: config.mode,
            file_size: config.file_size,
            durability: config.durability,
            staging_bytes,
            guard,
            memory,
        };
        let handle = Handle {
            id: NEXT_ID.fetch_add(1, Relaxed),
            shared,
            control: Arc::new(Control::new(config.workers)),
            ledgers: (0..config.workers).map(|_| Arc::default()).collect(),
            threads: Mutex::new(Vec::with_capacity(config.workers)),
            target: Arc::new(target),
            state: Arc::new(state),
            recovery: Arc::default(),
            drop_timeout: config.drop_timeout,
            memory_bound,
            is_handed_on: false,
        };
        let workers = handle.workers(&policy, now).inspect_err(|_| handle.excuse_missing())?;
        Ok((handle, workers))
    }

    fn workers(&self, policy: &Policy, now: Instant) -> Result<Vec<Worker>, Error> {
        let states = StateFile::slots(&self.state)?;
        let stagings = Staging::for_workers(self.ledgers.len(), self.target.staging_bytes)
            .map_err(|e| Error::io("map memory for", &self.target.path, e))?;
        let worker = |(me, ((ledger, state), staging)): (usize, ((&Arc<Ledger>, _), _))| {
            let (shared, target) = (self.shared.clone(), self.target.clone());
            let checkpoint = Checkpoint::new(me, shared.clone(), state);
            let output =
                Output::new(me, shared.clone(), target, ledger.clone(), checkpoint, staging);
            let (control, ledger) = (self.control.clone(), ledger.clone());
            Worker::new(me, shared, control, ledger, output, policy.clone(), now)
        };
        Ok(self.ledgers.iter().zip(states).zip(stagings).enumerate().map(worker).collect())
    }

    fn start(&self, workers: Vec<Worker>) -> Result<(), Error> {
        let (id, mut threads) = (self.id, lock(&self.threads));
        for (me, worker) in workers.into_iter().enumerate() {
            let thread = thread::Builder::new()
                .name(format!("bw-{me}"))
                .spawn(move || {
                    WORKS_FOR.set(id);
                    worker.run();
                })
                .map_err(|e| Error::io("start a worker for", &self.target.path, e))?;
            self.shared.mailboxes[me].parker.register(thread.thread().clone());
            threads.push(thread);
        }
        Ok(())
    }

    /// Left-overs of writers that died are looked for while this one works already.
    fn start_recovery(&self) {
        let Target { fs, path, temp, names, memory, .. } = &*self.target;
        let own = memory.iter().cloned();
        let memory = own.chain([PathBuf::from("/dev/shm")]).collect();
        let (fs, path, temp) = (fs.clone(), path.clone(), temp.clone());
        Background::start(&self.recovery, Task { fs, path, temp, memory, names: names.clone() });
    }

    /// What became of left-overs; none while that is not known.
    pub(crate) fn recovery(&self) -> Option<Recovery> {
        if self.is_forked() { None } else { self.recovery.result() }
    }

    /// Workers that could not be started have nothing to finish: the close does not wait for them.
    fn excuse_missing(&self) {
        let started = lock(&self.threads).len();
        (started..self.ledgers.len()).for_each(|me| self.control.answer_ended(me, true));
    }

    /// Where files are written.
    pub(crate) fn temp_dir(&self) -> PathBuf {
        self.target.temp.clone()
    }

    /// Whether this is a child that was forked from the writer's process: it must take no lock, since a
    /// thread that the child does not have may have held it.
    pub(crate) fn is_forked(&self) -> bool {
        self.shared.slots.is_forked()
    }

    /// Whether this is a thread of the writer's own, which must not wait for the workers.
    fn is_own_worker(&self) -> bool {
        WORKS_FOR.get() == self.id
    }

    /// How long a caller on this thread may wait for memory.
    pub(crate) fn patience(&self, timeout: Duration) -> Duration {
        if self.is_own_worker() { Duration::ZERO } else { timeout }
    }

    /// Publishes what was accepted before.
    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        if self.is_own_worker() {
            return Err(FlushError::OnWorker);
        }
        let deadline = Instant::now().checked_add(timeout);
        let flush = self.ask_flush()?;
        self.wait_flushed(&flush, deadline)
    }

    /// Asks the workers to publish what was accepted before.
    pub(crate) fn ask_flush(&self) -> Result<Flush, FlushError> {
        if self.is_forked() {
            return Err(FlushError::Forked);
        }
        if self.shared.slots.is_closed() {
            return Err(FlushError::Closed);
        }
        let lost_before = self.ledgers.iter().map(|ledger| ledger.lost()).collect();
        let number = self.control.ask_flush();
        self.wake_all();
        Ok(Flush { number, lost_before })
    }

    /// Waits until the workers have answered; without a deadline: for ever.
    pub(crate) fn wait_flushed(
        &self,
        flush: &Flush,
        deadline: Option<Instant>,
    ) -> Result<(), FlushError> {
        if self.control.wait_flushed(flush.number, deadline) {
            // Everything is dealt with, but what was lost meanwhile is in no file.
            let mut workers = self.ledgers.iter().zip(&flush.lost_before);
            let loss = workers.find(|(ledger, before)| ledger.lost() != **before);
            let error = loss.and_then(|(ledger, _)| ledger.last_loss());
            return error.map_or(Ok(()), |error| Err(FlushError::Io(error)));
        }
        if self.control.phase() == Phase::Abandoned {
            return Err(FlushError::Closed);
        }
        Err(self.last_error().map_or(FlushError::TimedOut, FlushError::Io))
    }

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
            self.give_up();
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
        let successor = Handle {
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
    pub(crate) fn give_up(&self) {
        self.control.advance(Phase::Abandoned);
        if let Some(image) = self.shared.arena.crash_image() {
            // What was reported as lost must not come back, even if the process dies while a worker hangs.
            image.close();
        }
        self.ledgers.iter().for_each(|ledger| ledger.give_up());
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

    fn last_error(&self) -> Option<Error> {
        self.ledgers.iter().find_map(|ledger| ledger.last_error())
    }

    /// Without an error it is a call that does not return: the file that it is for says where.
    fn hung(&self) -> Option<Error> {
        let path = self.ledgers.iter().find_map(|ledger| ledger.temp_file())?;
        Some(Error::io("finish", &path, std::io::ErrorKind::TimedOut.into()))
    }

    fn wake_all(&self) {
        self.shared.mailboxes.iter().for_each(|mailbox| mailbox.parker.wake());
    }

    fn report(&self) -> CloseReport {
        let stats = self.stats();
        CloseReport {
            accepted: stats.accepted,
            written: stats.written,
            lost: stats.lost,
            unresolved: stats.pending,
            refused: stats.refused,
            files: stats.files,
        }
    }

    /// The accounts. What was written is read first, what was accepted after it, so that nothing
    /// seems to be written before it was accepted.
    pub(crate) fn stats(&self) -> Stats {
        if self.is_forked() {
            let (memory_bound_bytes, temp_dir) = (self.memory_bound, self.temp_dir());
            return Stats { memory_bound_bytes, temp_dir, ..Stats::default() };
        }
        // If nobody will write what is pending, it is lost, but for what is being renamed.
        let abandoned = self.control.phase() == Phase::Abandoned && !self.control.is_finished();
        let mut totals = Totals::default();
        self.ledgers.iter().for_each(|ledger| ledger.add_to(&mut totals));
        let (now, temp) = (Instant::now(), &self.target.temp);
        let worker = |(ledger, held): (&Ledger, usize)| ledger.worker_stats(held, now, temp);
        let workers = self.held().map(worker).collect();
        let free_before = self.chunks_freed();
        let accepted: Count = self.shared.slots.iter().map(|slot| self.accepted(slot)).sum();
        let mut pending = accepted.saturating_sub(totals.written + totals.lost.total());
        if abandoned {
            totals.lost.shutdown = pending.saturating_sub(totals.in_flight);
            pending = totals.in_flight;
        }
        let mut refused = Refused::default();
        self.shared.slots.iter().for_each(|slot| refused += slot.refused());
        let leased: u64 = self.shared.slots.iter().map(Slot::leased).sum();
        let chunks_in_use = leased.saturating_sub(free_before).min(self.shared.arena.none().into());
        Stats {
            accepted,
            written: totals.written,
            pending,
            lost: totals.lost,
            refused,
            files: totals.files,
            memory_bytes: chunks_in_use as usize * self.shared.arena.size(),
            memory_bound_bytes: self.memory_bound,
            temp_dir: self.temp_dir(),
            workers,
            disk_guard: self.target.guard.as_ref().map(Quota::stats),
        }
    }

    /// What holds workers up.
    pub(crate) fn health(&self) -> Health {
        if self.is_forked() {
            return Health::default();
        }
        let (now, temp) = (Instant::now(), &self.target.temp);
        let workers = self.held().enumerate();
        let stall =
            |(me, (ledger, held)): (usize, (&Ledger, usize))| ledger.stall(me, now, temp, held);
        Health { stalls: workers.filter_map(stall).collect() }
    }

    /// Of each worker, its ledger and the chunks that it holds.
    fn held(&self) -> impl Iterator<Item = (&Ledger, usize)> {
        let workers = self.ledgers.iter().zip(&self.shared.mailboxes);
        workers.map(|(ledger, mailbox)| (&**ledger, mailbox.held() as usize))
    }

    fn chunks_freed(&self) -> u64 {
        self.shared.mailboxes.iter().map(crate::memory::Mailbox::freed).sum()
    }

    /// A swap takes no time, unless the producer is preempted in it.
    fn accepted(&self, slot: &Slot) -> Count {
        loop {
            if let Some(count) = slot.accepted(&self.shared.arena) {
                return count;
            }
            thread::yield_now();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.is_own_worker() {
            self.close_elsewhere();
        } else {
            // The report has no reader; who wants it calls `close`.
            let _ = self.close(self.drop_timeout);
        }
    }
}
