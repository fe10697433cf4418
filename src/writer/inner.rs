//! The part of a writer that all its handles share: its memory, its workers, its target on the
//! disk.
//!
//! Nothing here is on the hot path.

use std::cell::Cell;
use std::future::poll_fn;
use std::ops::Deref;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::latch::Latch;
use crate::base::sync::{Arc, AtomicU32, AtomicU64, Mutex, Relaxed, lock};
use crate::base::thread::spawn;
use crate::config::SHM;
use crate::file::aligned::Staging;
use crate::file::state_file::live::StateFile;
use crate::file::state_file::worker_state::WorkerState;
use crate::housekeeping::announcer::Announcer;
use crate::housekeeping::background::Housekeeper;
use crate::housekeeping::publications::Publications;
use crate::memory::Shared;
use crate::recovery::audience::Audience;
use crate::recovery::background::{Background, Task};
use crate::report::dump::{DumpError, DumpOptions};
use crate::report::error::{Error, FlushError};
use crate::report::recovery::Recovery;
use crate::report::stats::Count;
use crate::worker::checkpoint::Checkpoint;
use crate::worker::control::{Control, FlushTask, Phase};
use crate::worker::dumps::{Dump, Dumps};
use crate::worker::ledger::Ledger;
use crate::worker::output::{Output, Target};
use crate::worker::round::{Policy, Worker};

/// Numbers of writers. No number is used twice, so a thread's cached slot never matches a later
/// writer.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The writer whose worker this thread is; 0 for all other threads.
    static WORKS_FOR: Cell<u64> = const { Cell::new(0) };
}

/// A flush that was requested.
pub(crate) struct Flush {
    number: u64,
    /// In a flight recorder.
    dump: Option<Arc<Dump>>,
    lost_before: Vec<Count>,
}

/// Ends the dump if its future is dropped.
pub(super) struct Abandon<'a>(pub(super) &'a Core, pub(super) Arc<Dump>);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if !self.0.is_forked() && self.1.result().is_none() {
            self.0.wake_all();
        }
    }
}

/// A writer, as its handles see it. Its drop closes the writer.
pub(crate) struct Inner {
    pub(crate) id: u64,
    /// A copy of the core's, to save a load.
    pub(crate) shared: Arc<Shared>,
    pub(super) core: Arc<Core>,
}

/// The parts of a writer. A thread that closes the writer has them too, and keeps no writer open.
pub(crate) struct Core {
    pub(super) id: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) control: Arc<Control>,
    pub(super) ledgers: Vec<Arc<Ledger>>,
    /// Of a flight recorder.
    pub(super) dumps: Arc<Dumps>,
    pub(super) threads: Mutex<Vec<JoinHandle<()>>>,
    pub(super) target: Arc<Target>,
    /// `None` once a close is removing the file.
    pub(super) state: Mutex<Option<Arc<StateFile>>>,
    /// Set once the files of the writer are closed, after the workers have ended.
    pub(super) is_clean: Arc<Latch>,
    pub(super) recovery: Arc<Background>,
    pub(super) housekeeper: Arc<Housekeeper>,
    pub(super) drop_timeout: Duration,
    pub(super) memory_bound: usize,
    /// Held by who changes options.
    pub(super) turn: Mutex<()>,
    /// One once a close has come to its end.
    pub(super) is_over: AtomicU32,
}

/// The opened parts of a new writer.
pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    pub(super) workers: usize,
    pub(super) dumps: Arc<Dumps>,
    pub(super) target: Arc<Target>,
    pub(super) housekeeper: Arc<Housekeeper>,
    pub(super) recovery: Arc<Background>,
    pub(super) state: Arc<StateFile>,
    pub(super) drop_timeout: Duration,
    pub(super) memory_bound: usize,
}

impl Deref for Inner {
    type Target = Core;
    fn deref(&self) -> &Core {
        &self.core
    }
}

impl Inner {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            shared,
            workers,
            dumps,
            target,
            housekeeper,
            recovery,
            state,
            drop_timeout,
            memory_bound,
        } = parts;
        let (id, copy) = (NEXT_ID.fetch_add(1, Relaxed), shared.clone());
        let core = Core {
            id,
            shared,
            control: Arc::new(Control::new(workers)),
            ledgers: (0..workers).map(|_| Arc::default()).collect(),
            dumps,
            threads: Mutex::new(Vec::with_capacity(workers)),
            target,
            state: Mutex::new(Some(state)),
            is_clean: Arc::default(),
            recovery,
            housekeeper,
            drop_timeout,
            memory_bound,
            turn: Mutex::default(),
            is_over: AtomicU32::new(0),
        };
        Inner { id, shared: copy, core: Arc::new(core) }
    }
}

impl Core {
    pub(super) fn workers(
        &self,
        policy: &Policy,
        populate: bool,
        now: Instant,
    ) -> Result<Vec<Worker>, Error> {
        let states = lock(&self.state).as_ref().map_or_else(|| Ok(Vec::new()), WorkerState::all)?;
        let failed = |operation, error| Error::io(operation, &self.target.files.path, error);
        let stagings = Staging::for_workers(self.ledgers.len(), self.target.staging_bytes)
            .map_err(|e| failed("map memory for", e))?;
        if populate {
            // All workers' staging memory is one mapping.
            let staging = stagings.first().map_or(Ok(()), Staging::lock);
            staging
                .and_then(|()| self.shared.lock_memory())
                .map_err(|e| failed("mlock memory for", e))?;
        }
        let worker = |(me, ((ledger, state), staging)): (usize, ((&Arc<Ledger>, _), _))| {
            let (shared, target) = (self.shared.clone(), self.target.clone());
            let checkpoint = Checkpoint::new(me, shared.clone(), target.fs.clone(), state);
            let output =
                Output::new(me, shared.clone(), target, ledger.clone(), checkpoint, staging);
            let (control, ledger) = (self.control.clone(), ledger.clone());
            Worker::new(me, shared, control, ledger, output, policy.clone(), now)
        };
        Ok(self.ledgers.iter().zip(states).zip(stagings).enumerate().map(worker).collect())
    }

    pub(super) fn start(&self, workers: Vec<Worker>) -> Result<(), Error> {
        if let Some(publications) = self.publications() {
            Publications::start(publications, |id| WORKS_FOR.set(id), self.id)?;
        }
        let (id, mut threads) = (self.id, lock(&self.threads));
        for (me, worker) in workers.into_iter().enumerate() {
            let thread = spawn(format!("bw-{me}"), move || {
                WORKS_FOR.set(id);
                worker.run();
            })
            .map_err(|e| Error::io("start a worker for", &self.target.files.path, e))?;
            self.shared.mailboxes[me].parker.register(thread.thread().clone());
            threads.push(thread);
        }
        let path = &self.target.files.path;
        if !self.housekeeper.is_wanted() {
            return Ok(());
        }
        Housekeeper::start(&self.housekeeper, path)
    }

    /// Starts the recovery of dead writers. It runs while this writer already accepts records.
    pub(super) fn start_recovery(&self, so_far: Recovery) {
        let Target { fs, files, names, memory_dir, notices, .. } = &*self.target;
        let own = memory_dir.iter().cloned();
        let memory = own.chain([PathBuf::from(SHM)]).collect();
        let task = Task {
            fs: fs.clone(),
            path: files.path.clone(),
            temps: vec![files.temp.clone()],
            memory,
            names: names.clone(),
            notices: Some(notices.clone()),
            audience: self.publications().cloned().map_or_else(Audience::default, |publications| {
                // The ring after those of the workers.
                Audience::Announcer(Announcer::new(publications, self.ledgers.len()))
            }),
            so_far,
        };
        Background::start(&self.recovery, task);
    }

    /// Takes over the result of a recovery that is over.
    pub(super) fn end_recovery(&self, recovery: Recovery) {
        let Target { names, notices, .. } = &*self.target;
        for file in &recovery.published {
            notices.publish(file, names);
        }
        self.recovery.end(recovery);
    }

    /// `None` if nobody hears of published files.
    pub(crate) fn publications(&self) -> Option<&Arc<Publications>> {
        self.target.publications.as_ref()
    }

    /// The result of the recovery; `None` while it is not known.
    pub(crate) fn recovery(&self) -> Option<Recovery> {
        if self.is_forked() { None } else { self.recovery.result() }
    }

    /// Marks workers that could not be started as ended, so that the close does not wait for them.
    pub(super) fn excuse_missing(&self) {
        let started = lock(&self.threads).len();
        (started..self.ledgers.len()).for_each(|me| self.control.answer_ended(me, true));
    }

    /// Removes what a start that failed has made, before its drop ends the workers that run. There
    /// may be no thread to be had for it, and who starts waits for the disk anyway.
    pub(super) fn undo_start(&self) {
        self.excuse_missing();
        if let Some(image) = self.shared.arena.crash_image() {
            let _ = image.remove();
        }
        if let Some(state) = &*lock(&self.state) {
            let _ = state.remove(&*self.target.fs);
        }
        if let Some(publications) = self.publications() {
            publications.undo();
        }
    }

    /// Where files are written.
    pub(crate) fn temp_dir(&self) -> PathBuf {
        self.target.files.temp.clone()
    }

    /// Whether this process is a forked child. A child must take no lock: a thread that exists only
    /// in the parent may have held it at the fork.
    pub(crate) fn is_forked(&self) -> bool {
        self.shared.slots.is_forked()
    }

    /// Whether the caller is one of the writer's own threads, which must not wait for the workers.
    pub(super) fn is_own_worker(&self) -> bool {
        WORKS_FOR.get() == self.id
    }

    /// How long a caller on this thread may wait for memory.
    pub(crate) fn patience(&self, timeout: Duration) -> Duration {
        if self.is_own_worker() { Duration::ZERO } else { timeout }
    }

    /// Publishes the records that were accepted before.
    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        if self.is_own_worker() {
            return Err(FlushError::OnWorker);
        }
        let deadline = Instant::now().checked_add(timeout);
        let flush = self.ask_flush(deadline)?;
        self.wait_flushed(&flush, deadline)
    }

    /// Asks the workers to publish the records that were accepted before. A flight recorder gives up
    /// at the deadline.
    pub(crate) fn ask_flush(&self, deadline: Option<Instant>) -> Result<Flush, FlushError> {
        if self.is_forked() {
            return Err(FlushError::Forked);
        }
        if self.shared.slots.is_closed() {
            return Err(FlushError::Closed);
        }
        let lost_before = self.ledgers.iter().map(|ledger| ledger.lost()).collect();
        let dump = self.shared.ring.is_some();
        let dump = dump.then(|| Dump::new(DumpOptions::default(), deadline));
        let number = match &dump {
            Some(dump) => self.dumps.ask(dump.clone(), || self.control.ask_flush()),
            None => self.control.ask_flush(),
        };
        self.wake_all();
        Ok(Flush { number, dump, lost_before })
    }

    /// Waits until the workers have answered. No deadline = without limit.
    pub(crate) fn wait_flushed(
        &self,
        flush: &Flush,
        deadline: Option<Instant>,
    ) -> Result<(), FlushError> {
        if self.control.wait_flushed(flush.number, deadline) {
            return self.flushed(flush);
        }
        if self.control.phase() == Phase::Abandoned {
            return Err(FlushError::Closed);
        }
        Err(self.last_error().map_or(FlushError::TimedOut, FlushError::Io))
    }

    /// A task's flush: waits without a limit.
    pub(super) async fn flush_async(&self) -> Result<(), FlushError> {
        if self.is_own_worker() {
            return Err(FlushError::OnWorker);
        }
        let flush = self.ask_flush(None)?;
        let _abandon = flush.dump.clone().map(|dump| Abandon(self, dump));
        if self.wait_flushed_async(flush.number).await {
            self.flushed(&flush)
        } else if self.is_forked() {
            Err(FlushError::Forked)
        } else {
            Err(FlushError::Closed)
        }
    }

    /// A task's wait for a flush with this number.
    pub(super) async fn wait_flushed_async(&self, number: u64) -> bool {
        let task = FlushTask::new(&self.control, &self.shared.slots, number);
        poll_fn(|context| task.poll(context)).await
    }

    /// All records are published or lost. If some were lost meanwhile, the flush failed.
    fn flushed(&self, flush: &Flush) -> Result<(), FlushError> {
        match flush.dump.as_ref().and_then(|dump| dump.result()) {
            Some(Err(DumpError::Io(error))) => return Err(FlushError::Io(error)),
            Some(Err(_)) => return Err(FlushError::TimedOut),
            _ => {}
        }
        let mut workers = self.ledgers.iter().zip(&flush.lost_before);
        let loss = workers.find(|(ledger, before)| ledger.lost() != **before);
        let error = loss.and_then(|(ledger, _)| ledger.last_loss());
        error.map_or(Ok(()), |error| Err(FlushError::Io(error)))
    }

    pub(super) fn last_error(&self) -> Option<Error> {
        self.ledgers.iter().find_map(|ledger| ledger.last_error())
    }

    pub(super) fn wake_all(&self) {
        self.shared.mailboxes.iter().for_each(|mailbox| mailbox.parker.wake());
    }
}
