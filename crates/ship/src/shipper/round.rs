//! The loop: takes news of files, starts attempts, deals with their ends.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use futures_util::future::{LocalBoxFuture, OptionFuture};
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep_until;

use crate::config::After;
use crate::pace::{Gate, Rate, Window};
use crate::report::{Left, Report, Stats};
use crate::shipper::known::{Known, State};
use crate::shipper::one::{Outcome, Shared, Task, attempt};
use crate::shipper::queue::{Queue, Waiting};
use crate::shipper::running::Request;
use crate::shipper::{Shipper, Until};
use crate::source::manifest::Manifest;
use crate::source::watch::{News, Watch};
use crate::source::{Candidate, scan};
use crate::store::Abandoned;

/// Entries of each list of a report.
pub(super) const TOLD_MAX: usize = 1000;
/// Where some directory can't be watched, they are listed as often as this.
const RESCAN_UNWATCHED: Duration = Duration::from_secs(1);
/// How often the manifest is read on, at most.
const MANIFEST_EVERY: Duration = Duration::from_secs(1);

pub(super) type Waiter = (u64, SyncSender<Result<(), String>>);

pub(crate) struct Round {
    pub(super) shared: Rc<Shared>,
    until: Until,
    only: Option<Vec<PathBuf>>,
    requests: UnboundedReceiver<Request>,
    told: Arc<Mutex<Stats>>,
    pub(super) stats: Stats,
    pub(super) known: Known,
    pub(super) queue: Queue,
    pub(super) window: Window,
    pub(super) gate: Gate,
    watch: Watch,
    pub(super) manifest: Option<Manifest>,
    manifest_read: Option<Instant>,
    pub(super) waiters: HashMap<PathBuf, Vec<Waiter>>,
    abandoned: Vec<Abandoned>,
    in_flight: FuturesUnordered<LocalBoxFuture<'static, Outcome>>,
    pub(super) in_flight_files: HashSet<PathBuf>,
    /// Questions about files that somebody took.
    pub(super) questions: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    /// A file that is held in memory as a whole is on its way.
    pub(super) is_large_in_flight: bool,
    /// The list did not fit: list again when there is room.
    has_more: bool,
    /// Nothing has happened since the last list.
    is_fresh: bool,
    is_first_list: bool,
    rescan_at: Instant,
    deadline: Option<Instant>,
    pub(super) report: Report,
}

impl Round {
    pub(crate) fn new(
        shipper: Shipper,
        until: Until,
        requests: UnboundedReceiver<Request>,
        told: Arc<Mutex<Stats>>,
    ) -> Self {
        let Shipper { config, destination, only, journal, past } = shipper;
        let mut known = Known::default();
        for file in past.done.keys() {
            known.set(file, State::Done);
        }
        let deadline = match until {
            Until::Drained(time) => Some(Instant::now() + time),
            Until::Once | Until::Stopped => None,
        };
        let shared = Shared {
            rate: RefCell::new(Rate::new(config.rate)),
            journal: RefCell::new(journal),
            destination,
            config,
        };
        Round {
            window: Window::new(shared.config.concurrency),
            gate: Gate::default(),
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
            in_flight_files: HashSet::new(),
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
        let pause = self.gate.until().filter(|&until| until > now && !self.queue.is_empty());
        let due = due.into_iter().chain(pause).chain(self.deadline).chain([self.rescan_at]).min();
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
        self.queue.is_empty() && self.in_flight.is_empty() && self.questions.is_empty()
    }

    fn ends_when_idle(&self) -> bool {
        self.until != Until::Stopped || self.deadline.is_some()
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.gate.files(&self.window, Instant::now())
    }

    /// Starts as many attempts as may run.
    fn fill(&mut self) {
        while self.has_room() && !self.is_large_in_flight {
            let Some(waiting) = self.queue.pop(Instant::now()) else { break };
            let shared = Rc::clone(&self.shared);
            let is_large = waiting.file.bytes > shared.config.multipart;
            self.is_large_in_flight = is_large && shared.destination.holds_whole();
            let line = self.manifest.as_ref().and_then(|lines| lines.of(&waiting.file.path));
            let task = Task { line, deletes: self.deletes(&waiting.file) };
            self.in_flight_files.insert(waiting.file.path.clone());
            self.in_flight.push(Box::pin(attempt(shared, waiting, task)));
        }
        if self.has_more && self.queue.is_empty() {
            self.list();
        }
    }

    fn deletes(&self, file: &Candidate) -> bool {
        match self.shared.config.after {
            After::Keep => false,
            After::Delete => true,
            After::KeepFor(time) => {
                SystemTime::now().duration_since(file.modified).is_ok_and(|age| age >= time)
            }
        }
    }

    /// Lists everything, or the files that were named.
    fn list(&mut self) {
        let config = &self.shared.config;
        let every = if self.watch.is_partial() { RESCAN_UNWATCHED } else { config.rescan };
        self.rescan_at = Instant::now() + every.min(config.rescan);
        if self.until == Until::Once && self.deadline.is_none() {
            // Only what was there at the start. An hour is for ever here.
            self.rescan_at += Duration::from_secs(3600);
        }
        self.has_more = false;
        self.is_fresh = true;
        if let Some(only) = self.only.take() {
            for path in only {
                match Candidate::look(&self.shared.config.from, path.clone()) {
                    Some(file) => self.found(file, true),
                    None => self.leave(path, "it is not there"),
                }
            }
            self.only = Some(Vec::new());
            self.read_manifest();
            return;
        }
        self.known.begin();
        self.report.error = None;
        if self.list_below(Path::new("")) {
            self.known.end();
        }
        self.is_first_list = false;
        self.read_manifest();
    }

    /// Whether the list is complete.
    fn list_below(&mut self, below: &Path) -> bool {
        let shared = Rc::clone(&self.shared);
        let follows = self.until == Until::Stopped;
        let mut watch = std::mem::take(&mut self.watch);
        let mut on_dir = |dir: &Path| {
            if follows {
                watch.add(&shared.config.from, dir);
            }
        };
        let result =
            scan::walk(&shared.config.from, below, &mut on_dir, &mut |file| self.found(file, true));
        self.watch = watch;
        let is_complete = result.is_ok();
        if let Err(error) = result {
            self.report.error = Some(error);
        }
        is_complete
    }

    /// A file is there.
    fn found(&mut self, file: Candidate, asks_first: bool) {
        let is_wanted = match self.known.see(&file.path) {
            None => true,
            Some(State::Done) => {
                self.stats.remembered += u64::from(self.is_first_list);
                self.deletes(&file)
            }
            Some(State::Waits | State::GivenUp) => false,
        };
        if !is_wanted {
            return;
        }
        let is_again = self.known.get(&file.path) == Some(State::Done);
        self.is_fresh = false;
        self.known.set(&file.path, State::Waits);
        self.stats.waiting += 1;
        self.stats.waiting_bytes += file.bytes;
        let waiting = Waiting { file, attempts: 0, asks_first, is_again, reason: String::new() };
        if let Some(newest) = self.queue.push(waiting) {
            self.has_more = true;
            self.known.forget(&newest.file.path);
            self.uncount(newest.file.bytes);
        }
    }

    fn hear(&mut self, news: Vec<News>) {
        for one in news {
            let path = match one {
                News::Name(path) => path,
                News::Missed => {
                    self.rescan_at = Instant::now();
                    continue;
                }
            };
            let from = &self.shared.config.from;
            let name = path.file_name().unwrap_or_default();
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            if let Some(file) = Candidate::look(from, path.clone()) {
                self.found(file, false);
            } else if !is_hidden
                && from.join(&path).symlink_metadata().is_ok_and(|facts| facts.is_dir())
            {
                self.list_below(&path);
            }
        }
        self.read_manifest();
    }

    /// New lines of the manifest, once a second at most.
    fn read_manifest(&mut self) {
        let Some(manifest) = &mut self.manifest else { return };
        let now = Instant::now();
        if self.manifest_read.is_some_and(|read| now.duration_since(read) < MANIFEST_EVERY) {
            return;
        }
        self.manifest_read = Some(now);
        let known = &self.known;
        let result = manifest.refresh(|file| known.get(file) == Some(State::Waits));
        if let Err(error) = result {
            self.warn(format!("read the manifest: {error}"));
        }
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
        let left: Vec<_> =
            self.queue.iter().map(|one| (one.file.path.clone(), one.reason.clone())).collect();
        for (file, reason) in left {
            self.leave(file, &reason);
        }
        for file in std::mem::take(&mut self.in_flight_files) {
            self.leave(file, "under way at the deadline");
        }
        self.tell();
        self.report.stats = self.stats;
        self.report
    }
}
