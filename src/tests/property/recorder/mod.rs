//! Random cases for a flight recorder, against a list of records.
//!
//! A case is a recorder whose worker is stepped by hand, on a file system in memory. Its steps are records of all
//! sizes, threads that end, dumps with and without `keep` and a deadline, faults of the disk, and writes in the
//! middle of calls. Promises, checked after each step: the accounts balance. A record is in one file, whole, or in
//! copies while it is pending. A dump that succeeds has all that was pending when it was asked for, except what was
//! overwritten by then, which is the oldest of each thread. One that fails loses nothing, and its deadline is over.
//! Nothing is overwritten before the permitted memory is used, and `Full` comes only if others lease all chunks or
//! a dump has them. A worker of whom nothing is asked sleeps.

mod callers;
mod plan;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bufferedwriter_testkit::message::Drops;
use bufferedwriter_testkit::wait::BOUND;

use super::callers::ensure;
use super::plan::{Call, THREADS, Way};
use crate::base::sync::lock;
use crate::config::{Config, Durability, Recorder};
use crate::report::dump::DumpOptions;
use crate::report::stats::Count;
use crate::tests::clock::Clock;
use crate::tests::codec::envelope;
use crate::tests::driven::Driven;
use crate::tests::fs::memory::MemoryFs;
use crate::worker::dumps::Dump;
use crate::writer::inner::Inner;
use crate::writer::open;
use callers::{Callers, Fate, leased};
pub(super) use plan::plans;
use plan::{Plan, Setup, Step};

/// Steps of the worker in one stretch of time: beyond it, it does not rest.
const STEPS_MAX: usize = 20_000;
/// Longer than the longest pause after an error.
const HEALED: Duration = Duration::from_millis(2100);

/// What a case met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Met {
    pub(super) dumps: u64,
    pub(super) copies: u64,
    pub(super) failed: u64,
    pub(super) overwritten: u64,
    pub(super) full: u64,
    pub(super) chains: u64,
    pub(super) amid: u64,
}

impl Met {
    pub(super) fn and(self, other: Met) -> Met {
        let Met { dumps, copies, failed, overwritten, full, chains, amid } = other;
        Met {
            dumps: self.dumps + dumps,
            copies: self.copies + copies,
            failed: self.failed + failed,
            overwritten: self.overwritten + overwritten,
            full: self.full + full,
            chains: self.chains + chains,
            amid: self.amid + amid,
        }
    }

    /// Whether each was met: a test that tests nothing would show here.
    pub(super) fn is_complete(&self) -> bool {
        let Met { dumps, copies, failed, overwritten, full, chains, amid } = *self;
        [dumps, copies, failed, overwritten, full, chains, amid].iter().all(|&count| count > 0)
    }
}

/// A dump without an answer.
struct Asked {
    dump: Arc<Dump>,
    /// What was pending when it was asked for.
    pending: Vec<usize>,
    /// And how many were overwritten.
    overwritten: u64,
}

struct Run {
    handle: Arc<Inner>,
    fs: MemoryFs,
    clock: Clock,
    callers: Arc<Mutex<Callers>>,
    worker: Driven,
    asked: Vec<Asked>,
    /// What copies had since the last answer.
    copied: Vec<usize>,
    visible: Count,
    /// Those that the model knows.
    overwritten: Count,
    /// A dump had older records than what was written over meanwhile, and some of them stayed: it failed, it kept
    /// them, or they came to a chunk of its.
    is_mixed: bool,
    is_forced: bool,
}

/// What the case met, or what went wrong.
pub(super) fn run(plan: &Plan) -> Result<Met, String> {
    let mut run = Run::new(&plan.setup)?;
    plan.steps.iter().try_for_each(|step| run.step(step))?;
    run.dump_all()?;
    run.end(plan)?;
    drop(run.fs.take_hook());
    let (met, messages) = {
        let callers = lock(&run.callers);
        (callers.met, callers.messages)
    };
    drop(run);
    let (made, dropped) = (messages.made(), messages.dropped());
    ensure(made == dropped, || format!("{made} messages were sent, {dropped} dropped"))?;
    Ok(met)
}

impl Run {
    fn new(setup: &Setup) -> Result<Self, String> {
        let clock = Clock::new();
        let is_durable = setup.durability == Durability::File;
        let fs = MemoryFs::new(clock.clone(), "/ready", false, is_durable);
        let envelope = envelope(setup.enclosed);
        fs.set_format(setup.codec, envelope.clone());
        let config = Config::default()
            .size(setup.size)
            .queue_size(setup.reserve)
            .recorder(Recorder::Last(setup.kept * setup.size))
            .dump_on_close(setup.dump_on_close)
            .path("/ready")
            .temp("/unfinished")
            .forced(setup.forced)
            .file_size(setup.file_size)
            .wall_clock(clock.wall_clock())
            .durability(setup.durability)
            .compression(setup.codec)
            .header(&*envelope.header)
            .footer(&*envelope.footer)
            .drop_timeout(Duration::ZERO)
            .fs(Arc::new(fs.clone()));
        let (handle, mut workers) =
            open::assemble(config, clock.now()).map_err(|error| error.to_string())?;
        ensure(workers.len() == 1, || format!("{} workers", workers.len()))?;
        let handle = Arc::new(handle);
        let callers = Callers {
            handle: handle.clone(),
            threads: [None; THREADS],
            records: Vec::new(),
            accepted: Count::ZERO,
            messages: Drops::leaked(),
            dumps: false,
            failure: None,
            met: Met::default(),
        };
        Ok(Run {
            handle,
            fs,
            callers: Arc::new(Mutex::new(callers)),
            worker: Driven::new(workers.remove(0), &clock),
            asked: Vec::new(),
            copied: Vec::new(),
            visible: Count::ZERO,
            overwritten: Count::ZERO,
            is_mixed: false,
            is_forced: !setup.forced.is_zero(),
            clock,
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Call(call) => lock(&self.callers).call(call)?,
            Step::Amid(after, calls) => self.amid(*after, calls),
            Step::Dump { keep, timeout } => self.ask(*keep, *timeout),
            Step::Tick(time) => self.tick(*time)?,
            Step::Round => self.drive()?,
            Step::Faults(plan) => self.fs.fail(Some(plan.clone())),
            Step::Heal => self.fs.fail(None),
        }
        self.balance()
    }

    fn amid(&self, after: bool, calls: &[Call]) {
        let (callers, calls) = (self.callers.clone(), calls.to_vec());
        let hook = move || {
            let mut callers = lock(&callers);
            callers.met.amid += 1;
            let result = calls.iter().try_for_each(|call| callers.call(call));
            callers.failure = callers.failure.take().or(result.err());
        };
        self.fs.amid(after, Box::new(hook));
    }

    fn ask(&mut self, keep: bool, timeout: Option<Duration>) {
        let deadline = timeout.map(|time| self.clock.now() + time);
        let (dump, _) = self.handle.ask_dump(DumpOptions::default().keep(keep), deadline);
        let mut callers = lock(&self.callers);
        callers.dumps = true;
        let overwritten = self.handle.stats().overwritten.records;
        self.asked.push(Asked { dump, pending: callers.pending(), overwritten });
    }

    fn tick(&mut self, time: Duration) -> Result<(), String> {
        let end = self.clock.now() + time;
        self.run_until(end)?;
        let Some(left) = end.checked_duration_since(self.clock.now()) else {
            // A slow call took longer, and the worker has not run since.
            return Ok(());
        };
        self.clock.advance(left);
        let is_late = |asked: &Asked| asked.dump.deadline.is_some_and(|at| at < end);
        ensure(!self.asked.first().is_some_and(is_late), || "a dump outlives its time".to_owned())?;
        let is_asked = !self.asked.is_empty() || self.is_forced || self.handle.shared.has_demand();
        ensure(is_asked || self.worker.is_idle(), || "an idle worker wakes up".to_owned())
    }

    fn run_until(&mut self, end: Instant) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            let parker = &self.handle.shared.mailboxes[0].parker;
            let due = self.worker.due(parker, self.clock.now());
            let Some(at) = due.filter(|&at| at <= end) else { return Ok(()) };
            if let Some(time) = at.checked_duration_since(self.clock.now()) {
                self.clock.advance(time);
            }
            self.drive()?;
        }
        Err("the worker does not rest".to_owned())
    }

    fn drive(&mut self) -> Result<(), String> {
        self.worker.step(&self.handle.shared.mailboxes[0].parker, &self.clock);
        let failure = lock(&self.callers).failure.take();
        failure.map_or(Ok(()), Err)?;
        self.look()?;
        self.hear()
    }

    /// Files that became visible: those with records first, then those with copies.
    fn look(&mut self) -> Result<(), String> {
        let mut left = self.handle.stats().written.saturating_sub(self.visible);
        let mut callers = lock(&self.callers);
        for content in self.fs.appeared() {
            let found = callers.parse(&content)?;
            if left.is_zero() {
                self.copied.extend(found);
                continue;
            }
            let count = Count::new(found.len() as u64, content.len() as u64);
            found.iter().for_each(|&number| callers.records[number].fate = Fate::Visible);
            left = left.saturating_sub(count);
            self.visible += count;
        }
        let breaches = self.fs.breaches();
        ensure(breaches.is_empty(), || format!("{breaches:?}"))?;
        let written = self.handle.stats().written;
        ensure(written == self.visible, || format!("{written:?}, {:?} visible", self.visible))
    }

    /// Answers to dumps.
    fn hear(&mut self) -> Result<(), String> {
        while let Some(outcome) = self.asked.first().and_then(|asked| asked.dump.peek()) {
            let asked = self.asked.remove(0);
            let mut callers = lock(&self.callers);
            callers.dumps = !self.asked.is_empty();
            let copied = std::mem::take(&mut self.copied);
            let Ok(dumped) = outcome else {
                callers.met.failed += 1;
                self.is_mixed = true;
                let is_over = asked.dump.deadline.is_some_and(|at| at <= self.clock.now());
                ensure(is_over, || format!("a dump fails before its time: {outcome:?}"))?;
                continue;
            };
            let (keeps, Callers { records, met, .. }) = (asked.dump.options.keep, &mut *callers);
            let is_missing = |&&number: &&usize| {
                records[number].fate == Fate::Pending && !(keeps && copied.contains(&number))
            };
            let missing: Vec<usize> = asked.pending.iter().filter(is_missing).copied().collect();
            let overwritten = self.handle.stats().overwritten.records;
            let told = || format!("{dumped:?}, {missing:?} missing, {overwritten} overwritten");
            let unknown = overwritten - self.overwritten.records;
            ensure(missing.len() as u64 <= unknown, told)?;
            let since = overwritten - asked.overwritten;
            met.overwritten += since;
            if keeps {
                met.copies += 1;
                self.is_mixed = true;
                ensure(dumped.records.records == copied.len() as u64, told)?;
                continue;
            }
            met.dumps += 1;
            ensure(copied.is_empty(), told)?;
            // Of each thread the oldest are overwritten.
            let is_newer = |&number: &usize| {
                let older = asked.pending.iter().filter(|&&other| other < number);
                let mut same = older.filter(|&&other| records[other].slot == records[number].slot);
                same.any(|&other| records[other].fate == Fate::Visible)
            };
            ensure(self.is_mixed || !missing.iter().any(is_newer), told)?;
            for &number in &missing {
                records[number].fate = Fate::Overwritten;
                self.overwritten += Count::new(1, records[number].len as u64);
            }
            self.is_mixed = since > 0;
            let is_pending = |&number: &usize| records[number].fate == Fate::Pending;
            self.asked.iter_mut().for_each(|other| other.pending.retain(is_pending));
        }
        Ok(())
    }

    fn balance(&mut self) -> Result<(), String> {
        let (stats, callers) = (self.handle.stats(), lock(&self.callers));
        let sum = stats.written + stats.pending + stats.overwritten;
        let told = || format!("{stats:?}, {:?} accepted", callers.accepted);
        ensure(stats.accepted == callers.accepted && sum == stats.accepted, told)?;
        ensure(stats.lost.total().is_zero() && stats.written == self.visible, told)
    }

    /// On a healthy disk a dump succeeds, and all memory comes back but for what threads lease.
    fn dump_all(&mut self) -> Result<(), String> {
        self.fs.fail(None);
        drop(self.fs.take_hook());
        self.tick(HEALED)?;
        self.ask(false, None);
        self.tick(HEALED)?;
        ensure(self.asked.is_empty(), || "a dump is not answered".to_owned())?;
        self.balance()?;
        let told = || format!("after a dump of everything: {:?}", self.handle.stats());
        ensure(self.handle.stats().pending.is_zero(), told)?;
        let left = lock(&self.callers).pending();
        ensure(left.is_empty(), || format!("neither visible nor overwritten: {left:?}"))?;
        let shared = &self.handle.shared;
        let used = leased(&self.handle).count() as u32;
        let ring = shared.ring.as_ref().expect("a recorder");
        let free = (1..=shared.arena.none())
            .take_while(|&count| shared.pool.holds(&shared.arena, count) == Some(true));
        let is_back = free.count() as u32 + used == shared.arena.none() && ring.used() == used;
        ensure(is_back && ring.is_empty(), || format!("{used} leased, {} used", ring.used()))
    }

    /// A close dumps what is in memory, forgets it, or gives up.
    fn end(&mut self, plan: &Plan) -> Result<(), String> {
        for &(thread, len) in &plan.last {
            lock(&self.callers).write(thread, Way::Write, len)?;
        }
        self.balance()?;
        let before = self.handle.stats();
        self.handle.begin_close(None);
        if plan.gives_up {
            self.handle.abandon();
        }
        let far = self.clock.now() + HEALED;
        self.run_until(far)?;
        ensure(self.worker.has_ended(), || "the worker sleeps on".to_owned())?;
        let closed = self.handle.close(BOUND);
        let report = match &closed {
            Ok(report) => report,
            Err(error) => error.report(),
        };
        let told = || format!("{closed:?} after {before:?}");
        let gone = report.written + report.lost.total() + report.overwritten;
        ensure(gone == report.accepted && report.unresolved.is_zero(), told)?;
        ensure(closed.is_ok() != plan.gives_up, told)?;
        if plan.gives_up {
            return ensure(report.lost.shutdown == before.pending, told);
        }
        ensure(report.lost.total().is_zero(), told)?;
        if !plan.setup.dump_on_close {
            return ensure(report.written == before.written, told);
        }
        ensure(report.overwritten == before.overwritten, told)?;
        self.look()?;
        let (left, leftovers) = (lock(&self.callers).pending(), self.fs.leftovers());
        ensure(self.fs.calls().1 > 0 || leftovers.is_empty(), || format!("left: {leftovers:?}"))?;
        // Overwritten after the last dump, before the close.
        let unknown = report.overwritten.records - self.overwritten.records;
        ensure(left.len() as u64 == unknown, || format!("neither visible nor counted: {left:?}"))
    }
}
