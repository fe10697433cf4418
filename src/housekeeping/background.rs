//! The thread that deletes old files and sets the link to the newest.
//!
//! Guarantees: it sleeps while there is nothing to do, but looks once a minute, since others make
//! files too and clocks are set. Looking takes at most 2 % of its time, unless the quota asks. What
//! failed is tried again with growing pauses. A close lets it finish what it knows of, until its
//! deadline; then it ends after the call that it is in. Refuses nothing.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::latch::Latch;
use crate::base::sync::{Arc, Mutex, lock};
use crate::base::sys::threads::reap;
use crate::base::thread::spawn;
use crate::housekeeping::latest::Latest;
use crate::housekeeping::notices::{News, Notices, Phase, Published};
use crate::housekeeping::retention::{Outcome, Retention};
use crate::report::error::Error;
use crate::report::stats::RetentionStats;

/// Longest time between two looks for old files.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Shortest time between two looks, and between two tries after an error at first.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// After a look, this multiple of its duration passes without one. So it takes at most 2 % of the
/// thread's time.
const REST_FACTOR: u32 = 50;
/// How late a file of the greatest age may be deleted, and how often to ask for protected ones.
const AGE_PRECISION: Duration = Duration::from_secs(1);
/// How far a close may exceed its deadline for the end of the thread.
const GRACE: Duration = Duration::from_millis(10);

/// What the thread does.
pub(crate) struct Job {
    /// Deletes nothing while its rules are off.
    pub(crate) retention: Retention,
    /// `None` if there is no link.
    pub(crate) latest: Option<Latest>,
}

/// The thread, as the writer sees it.
pub(crate) struct Housekeeper {
    pub(crate) notices: Arc<Notices>,
    thread: Mutex<Thread>,
    over: Latch,
}

enum Thread {
    Idle(Box<Job>),
    Running(JoinHandle<()>),
    /// Not started, or somebody waits for it.
    Gone,
}

impl Housekeeper {
    pub(crate) fn new(job: Job) -> Arc<Self> {
        let notices: Arc<Notices> = Arc::default();
        notices.set_rules(job.retention.rules, job.retention.by_len);
        let (thread, over) = (Mutex::new(Thread::Idle(Box::new(job))), Latch::default());
        Arc::new(Housekeeper { notices, thread, over })
    }

    /// What was deleted. `None` if nothing was, and nothing is to be.
    pub(crate) fn retention(&self) -> Option<RetentionStats> {
        let told = self.notices.retention();
        (self.notices.deletes() || told.files_deleted > 0).then_some(told)
    }

    /// Whether there is anything to do.
    pub(crate) fn is_wanted(&self) -> bool {
        let links = matches!(&*lock(&self.thread), Thread::Idle(job) if job.latest.is_some());
        links || self.notices.deletes()
    }

    /// Starts the thread for the writer of these files, unless it runs.
    pub(crate) fn start(this: &Arc<Self>, path: &Path) -> Result<(), Error> {
        let mut thread = lock(&this.thread);
        if matches!(*thread, Thread::Idle(_)) {
            let Thread::Idle(job) = std::mem::replace(&mut *thread, Thread::Gone) else {
                return Ok(());
            };
            let me = this.clone();
            let run = move || {
                Run::new(*job, &me.notices, Instant::now()).run();
                me.end();
            };
            let started = spawn("bw-housekeep", run).inspect_err(|_| this.end());
            let started = started.map_err(|e| Error::io("start housekeeping for", path, e));
            *thread = Thread::Running(started?);
        }
        Ok(())
    }

    /// Lets the thread finish until the deadline, once no more files are published.
    pub(crate) fn finish(&self, deadline: Option<Instant>) {
        self.notices.advance(Phase::Finishing);
        if matches!(*lock(&self.thread), Thread::Idle(_)) {
            // It was never started.
            return self.stop();
        }
        if !self.over.wait(deadline) {
            self.stop();
            if !self.over.wait(Instant::now().checked_add(GRACE)) {
                return;
            }
        }
        let thread = std::mem::replace(&mut *lock(&self.thread), Thread::Gone);
        if let Thread::Running(thread) = thread {
            reap(thread);
        }
    }

    fn end(&self) {
        self.stop();
        self.over.set();
    }

    /// The thread ends after the call that it is in.
    pub(crate) fn stop(&self) {
        self.notices.advance(Phase::Stopped);
    }
}

/// The thread's state.
struct Run<'a> {
    job: Job,
    notices: &'a Notices,
    /// The file to which the link is to lead.
    newest: Option<Published>,
    /// When the link may be set.
    link: Pauses,
    /// When old files may be looked for.
    pass: Pauses,
    /// Files that have become visible, and how many of them when the last pass began.
    published: u64,
    covered: u64,
    /// When to look for old files though nothing was published.
    next: Instant,
    /// The last pass found files that would have gone, if they were not protected.
    is_held: bool,
}

impl<'a> Run<'a> {
    fn new(job: Job, notices: &'a Notices, now: Instant) -> Self {
        let (link, pass) = (Pauses::new(now), Pauses::new(now));
        let (newest, is_held) = (None, false);
        Run { job, notices, newest, link, pass, published: 0, covered: 0, next: now, is_held }
    }

    fn run(mut self) {
        loop {
            let news = self.notices.wait(self.wake_at());
            let phase = news.phase;
            if phase != Phase::Stopped {
                self.turn(news);
            }
            if phase != Phase::Open {
                return;
            }
        }
    }

    fn turn(&mut self, news: News) {
        let is_last = news.phase == Phase::Finishing;
        self.newest = news.newest.or(self.newest.take());
        self.published = news.published;
        if let Some((rules, by_len)) = news.rules {
            (self.job.retention.rules, self.job.retention.by_len) = (rules, by_len);
            (self.next, self.is_held) = (Instant::now(), false);
        }
        self.set_link(is_last);
        self.delete(news.asked, is_last);
    }

    /// When there is something to do though nobody says so.
    fn wake_at(&self) -> Instant {
        let link = self.newest.as_ref().map(|_| self.link.next);
        let is_new = self.published > self.covered;
        let pass = if is_new { self.pass.next } else { self.next.max(self.pass.next) };
        let pass = self.job.retention.rules.is_on().then_some(pass);
        let idle = || Instant::now() + INTERVAL_MAX;
        link.into_iter().chain(pass).min().unwrap_or_else(idle)
    }

    fn set_link(&mut self, is_last: bool) {
        let (Some(latest), Some(file)) = (&self.job.latest, &self.newest) else {
            self.newest = None;
            return;
        };
        if !is_last && Instant::now() < self.link.next {
            return;
        }
        let error = latest.point_to(&file.path).err();
        self.link.note(Duration::ZERO, error.is_some());
        if error.is_none() {
            self.newest = None;
        }
        self.notices.set_latest_error(error);
    }

    fn delete(&mut self, asked: Option<u64>, is_last: bool) {
        let retention = &self.job.retention;
        if !retention.rules.is_on() {
            return self.notices.answer(asked, None, None);
        }
        let now = Instant::now();
        let is_new = self.published > self.covered || (is_last && self.is_held);
        let is_wanted = asked.is_some() || is_new || now >= self.next;
        let is_early = asked.is_none() && !is_last && now < self.pass.next;
        if !is_wanted || is_early {
            return;
        }
        self.covered = self.published;
        let (notices, mut deleted) = (self.notices, |bytes| self.notices.deleted(bytes));
        let Outcome { error, oldest, held_by, took } =
            retention.pass(&|| notices.is_stopped(), &mut deleted);
        self.pass.note(took.saturating_mul(REST_FACTOR).max(INTERVAL_MIN), error.is_some());
        let due = retention.due_in(oldest).unwrap_or(INTERVAL_MAX);
        self.is_held = held_by.is_some();
        // Hooks return at any time.
        let due = if self.is_held { AGE_PRECISION } else { due.clamp(AGE_PRECISION, INTERVAL_MAX) };
        let due = Instant::now() + due;
        self.next = if error.is_some() { self.pass.next } else { due };
        self.notices.answer(asked, held_by, error);
    }
}

/// When to do something again.
struct Pauses {
    next: Instant,
    /// The pause after the last failure.
    pause: Duration,
}

impl Pauses {
    fn new(now: Instant) -> Self {
        Pauses { next: now, pause: Duration::ZERO }
    }

    /// It was done, and should rest at least that long.
    fn note(&mut self, rest: Duration, failed: bool) {
        let longer = (self.pause * 2).clamp(INTERVAL_MIN, INTERVAL_MAX);
        self.pause = if failed { longer } else { Duration::ZERO };
        self.next = Instant::now() + rest.max(self.pause);
    }
}
