//! The loop: takes news of files, starts attempts, deals with their ends.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::future::{LocalBoxFuture, OptionFuture};
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep_until;

use crate::join::Plan;
use crate::join::assemble::Recipe;
use crate::join::pen::Pens;
use crate::pace::{Gate, Rate, Window};
use crate::report::{Left, Report, Stats};
use crate::shipper::known::{Known, State};
use crate::shipper::one::{Outcome, Shared, attempt, deletes};
use crate::shipper::queue::{Queue, Waiting};
use crate::shipper::running::Request;
use crate::shipper::{Shipper, Until};
use crate::source::Candidate;
use crate::source::manifest::Manifest;
use crate::source::watch::Watch;
use crate::store::Abandoned;

/// Entries of each list of a report.
pub(super) const TOLD_MAX: usize = 1000;

pub(super) type Waiter = (u64, SyncSender<Result<(), String>>);

pub(crate) struct Round {
    pub(super) shared: Rc<Shared>,
    pub(super) until: Until,
    pub(super) only: Option<Vec<PathBuf>>,
    requests: UnboundedReceiver<Request>,
    told: Arc<Mutex<Stats>>,
    pub(super) stats: Stats,
    pub(super) known: Known,
    pub(super) queue: Queue,
    pub(super) window: Window,
    pub(super) gate: Gate,
    /// Small files that wait for others.
    pub(super) pens: Option<Pens>,
    /// Files that went alone, or may have, before this shipper.
    pub(super) alone: HashSet<PathBuf>,
    /// Files of groups of earlier shippers, until they are found.
    pub(super) planned: HashMap<PathBuf, Rc<Plan>>,
    /// Files of earlier groups on their way.
    pub(super) bound: HashSet<PathBuf>,
    pub(super) asks_in_flight: usize,
    /// Directories from which files were deleted.
    pub(super) emptied: BTreeSet<PathBuf>,
    pub(super) watch: Watch,
    pub(super) manifest: Option<Manifest>,
    pub(super) manifest_read: Option<Instant>,
    pub(super) waiters: HashMap<PathBuf, Vec<Waiter>>,
    abandoned: Vec<Abandoned>,
    in_flight: FuturesUnordered<LocalBoxFuture<'static, Outcome>>,
    /// With the files of each.
    pub(super) in_flight_files: HashMap<PathBuf, Vec<PathBuf>>,
    /// Questions about files that somebody took.
    pub(super) questions: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    /// A file that is held in memory as a whole is on its way.
    pub(super) is_large_in_flight: bool,
    /// The list did not fit: list again when there is room.
    pub(super) has_more: bool,
    /// Nothing has happened since the last list.
    pub(super) is_fresh: bool,
    pub(super) is_first_list: bool,
    pub(super) rescan_at: Instant,
    pub(super) deadline: Option<Instant>,
    pub(super) report: Report,
}

impl Round {
    pub(crate) fn new(
        shipper: Shipper,
        until: Until,
        requests: UnboundedReceiver<Request>,
        told: Arc<Mutex<Stats>>,
    ) -> Self {
        let Shipper { config, destination, only, lock, journal, past } = shipper;
        let mut known = Known::default();
        for file in past.done.keys() {
            known.set(file, State::Done);
        }
        let deadline = match until {
            Until::Drained(time) => Some(Instant::now() + time),
            Until::Once | Until::Stopped => None,
        };
        let plans = past.plans.into_iter().map(Rc::new);
        let planned = plans.flat_map(|plan| {
            let of = |nth: usize| (PathBuf::from(&plan.members[nth].path), Rc::clone(&plan));
            (0..plan.members.len()).map(of).collect::<Vec<_>>()
        });
        let shared = Shared {
            recipe: Recipe {
                scratch: journal.scratch(),
                header: config.header.clone(),
                footer: config.footer.clone(),
            },
            lookup: RefCell::default(),
            _lock: lock,
            rate: RefCell::new(Rate::new(config.rate)),
            journal: RefCell::new(journal),
            destination,
            config,
        };
        Round {
            window: Window::new(shared.config.concurrency),
            gate: Gate::default(),
            pens: shared.config.compact.map(|min| Pens::new(min, shared.config.compact_age)),
            alone: past.alone,
            planned: planned.collect(),
            bound: HashSet::new(),
            asks_in_flight: 0,
            emptied: BTreeSet::new(),
            manifest: shared.config.manifest.clone().map(Manifest::new),
            manifest_read: None,
            shared: Rc::new(shared),
            until,
            only,
            requests,
            told,
            stats: Stats::default(),
            known,
            queue: Queue::default(),
            watch: Watch::new(),
            waiters: HashMap::new(),
            abandoned: past.abandoned,
            in_flight: FuturesUnordered::new(),
            in_flight_files: HashMap::new(),
            questions: FuturesUnordered::new(),
            is_large_in_flight: false,
            has_more: false,
            is_fresh: false,
            is_first_list: true,
            rescan_at: Instant::now(),
            deadline,
            report: Report::default(),
        }
    }

    pub(crate) async fn run(mut self) -> Report {
        self.abort_abandoned().await;
        self.list();
        loop {
            self.fill();
            self.tell();
            if self.is_over() {
                return self.finish();
            }
            if self.is_idle() && self.ends_when_idle() {
                // What came meanwhile.
                self.list();
                continue;
            }
            self.wait().await;
        }
    }

    /// Waits for the next thing, and deals with it.
    async fn wait(&mut self) {
        let now = Instant::now();
        let due = self.queue.due().filter(|_| self.has_room());
        let pens = self.pens.as_mut().and_then(Pens::due);
        let pause = self.gate.until().filter(|&until| until > now && !self.queue.is_empty());
        let due = due
            .into_iter()
            .chain(pause)
            .chain(pens)
            .chain(self.deadline)
            .chain([self.rescan_at])
            .min();
        let timer: OptionFuture<_> = due.map(|due| sleep_until(due.into())).into();
        tokio::select! {
            Some(outcome) = self.in_flight.next() => self.ended(outcome),
            Some(()) = self.questions.next() => {}
            news = self.watch.next() => self.hear(news),
            Some(request) = self.requests.recv() => self.asked(request),
            _ = timer => {
                if Instant::now() >= self.rescan_at {
                    self.list();
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return true;
        }
        let is_done = self.until == Until::Once && !self.has_more || self.is_fresh;
        self.is_idle() && self.ends_when_idle() && is_done
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.in_flight.is_empty()
            && self.questions.is_empty()
            && self.pens.as_ref().is_none_or(Pens::is_empty)
    }

    pub(super) fn ends_when_idle(&self) -> bool {
        self.until != Until::Stopped || self.deadline.is_some()
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.gate.files(&self.window, Instant::now())
    }

    /// Starts as many attempts as may run.
    fn fill(&mut self) {
        self.close_pens();
        while self.has_room() && !self.is_large_in_flight {
            let Some(waiting) = self.queue.pop(Instant::now()) else { break };
            let shared = Rc::clone(&self.shared);
            let is_large = waiting.file.bytes > shared.config.multipart;
            self.is_large_in_flight = is_large && shared.destination.holds_whole();
            let line = |file: &Candidate| self.manifest.as_ref().and_then(|all| all.of(&file.path));
            let lines = waiting.files().iter().map(line).collect();
            let files = waiting.files().iter().map(|file| file.path.clone()).collect();
            self.in_flight_files.insert(waiting.file.path.clone(), files);
            self.asks_in_flight += usize::from(waiting.may_join);
            self.in_flight.push(Box::pin(attempt(shared, waiting, lines)));
        }
        if self.has_more && self.queue.is_empty() {
            self.list();
        }
    }

    pub(super) fn deletes(&self, file: &Candidate) -> bool {
        deletes(self.shared.config.after, file)
    }

    fn asked(&mut self, request: Request) {
        match request {
            Request::Stop { deadline } => {
                let earlier = self.deadline.map_or(deadline, |at| at.min(deadline));
                self.deadline = Some(earlier);
                self.list();
            }
            Request::Tell { file, bytes, answer } => {
                if self.known.get(&file) == Some(State::Done) {
                    let _ = answer.send(Ok(()));
                    return;
                }
                self.waiters.entry(file.clone()).or_default().push((bytes, answer));
                match Candidate::look(&self.shared.config.from, file.clone()) {
                    Some(found) => {
                        if self.known.get(&file) == Some(State::GivenUp) {
                            self.known.forget(&file);
                        }
                        self.found(found, true);
                    }
                    None => self.answer_gone(&file),
                }
            }
        }
    }

    /// What an earlier shipper has begun.
    async fn abort_abandoned(&mut self) {
        for abandoned in std::mem::take(&mut self.abandoned) {
            match self.shared.destination.abort(&abandoned).await {
                Ok(count) => {
                    self.stats.aborted += count;
                    self.shared.journal.borrow_mut().ended(&abandoned);
                }
                Err(trouble) => {
                    let text = format!("{}: {trouble}; the next start tries again", abandoned.key);
                    self.warn(text);
                }
            }
        }
    }

    pub(super) fn count(&mut self, bytes: u64) {
        self.stats.waiting += 1;
        self.stats.waiting_bytes += bytes;
    }

    pub(super) fn uncount(&mut self, bytes: u64) {
        self.stats.waiting -= 1;
        self.stats.waiting_bytes -= bytes;
    }

    pub(super) fn warn(&mut self, text: String) {
        if self.report.warnings.len() < TOLD_MAX && !self.report.warnings.contains(&text) {
            self.report.warnings.push(text);
        }
    }

    pub(super) fn leave(&mut self, file: PathBuf, reason: &str) {
        if self.report.left.len() < TOLD_MAX {
            self.report.left.push(Left { file, reason: reason.to_owned() });
        }
    }

    fn tell(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = self.stats;
    }

    /// What is under way is given up: its requests end, and the next start compares.
    fn finish(mut self) -> Report {
        self.remove_emptied();
        let of = |one: &Waiting| {
            let files = one.files().iter();
            files.map(|file| (file.path.clone(), one.reason.clone())).collect::<Vec<_>>()
        };
        let mut left: Vec<_> = self.queue.iter().flat_map(of).collect();
        let pens = self.pens.iter().flat_map(Pens::files);
        left.extend(pens.map(|file| (file.path.clone(), "it waits for others".to_owned())));
        for (file, reason) in left {
            self.leave(file, &reason);
        }
        for file in std::mem::take(&mut self.in_flight_files).into_values().flatten() {
            self.leave(file, "under way at the deadline");
        }
        self.tell();
        self.report.stats = self.stats;
        self.report
    }
}
