//! Runs a case: real workers, stepped by hand, by a clock that goes when it is told to.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bufferedwriter_testkit::wait::BOUND;

use super::callers::{Callers, ensure};
use super::plan::{Call, End, Limit, Plan, Setup, Step, Way};
use super::tally::Seen;
use crate::base::sync::lock;
use crate::config::{Boundary, Config, Durability};
use crate::memory::parker::Parker;
use crate::memory::slot::gate;
use crate::tests::clock::Clock;
use crate::tests::codec::envelope;
use crate::tests::driven::Driven;
use crate::tests::fs::memory::MemoryFs;
use crate::worker::period::SKEW_MAX;
use crate::writer::inner::Inner;
use crate::writer::open;

/// Steps of workers in one stretch of time: beyond it they don't rest.
const STEPS_MAX: usize = 20_000;
/// A worker that had nothing to do for this time sleeps without a limit.
const QUIET: Duration = Duration::from_millis(350);

struct Run {
    handle: Arc<Inner>,
    fs: MemoryFs,
    clock: Clock,
    callers: Arc<Mutex<Callers>>,
    workers: Vec<Driven>,
    age_max: Option<Duration>,
    /// Nanoseconds of a period, if there are any.
    period: Option<u64>,
    /// When the last period began, if one has ended.
    boundary: Option<Instant>,
    /// When periods began.
    boundaries: Vec<Instant>,
    partition: &'static str,
    file_size: u64,
    quota: Limit,
    /// Somebody removed a temp file.
    theft: bool,
    /// Who is first among those that want to run at the same time.
    turn: usize,
    /// Calls to the file system at the last look.
    calls: u64,
    /// A fault, a stall or a theft is not made up for yet: ages are not promised.
    disturbed: bool,
    faults: u64,
}

/// What the case saw, or what went wrong.
pub(super) fn run(plan: &Plan) -> Result<Seen, String> {
    let mut run = Run::new(&plan.setup)?;
    plan.steps.iter().try_for_each(|step| run.step(step))?;
    run.end(&plan.end)?;
    run.accounts()?;
    let (mut seen, messages) = {
        let callers = lock(&run.callers);
        (callers.seen, callers.messages)
    };
    seen.fault = run.faults > 0;
    drop(run);
    let (made, dropped) = (messages.made(), messages.dropped());
    ensure(made == dropped, || format!("{made} messages were sent, {dropped} dropped"))?;
    Ok(seen)
}

impl Run {
    fn new(setup: &Setup) -> Result<Self, String> {
        let clock = Clock::new();
        let durable = setup.durability == Durability::File;
        let fs = MemoryFs::new(clock.clone(), "/ready", setup.crossing, durable);
        let envelope = envelope(setup.enclosed);
        fs.set_format(setup.codec, envelope.clone());
        let config = Config::default()
            .size(setup.size)
            .queue_size(setup.queue_size)
            .workers(setup.workers)
            .path("/ready")
            .temp("/unfinished")
            .forced(setup.forced)
            .file_size(setup.file_size)
            .file_age(setup.file_age)
            .rotate_at(setup.rotate_at)
            .wall_clock(clock.wall_clock())
            .durability(setup.durability)
            .io(setup.io)
            .compression(setup.codec)
            .header(&*envelope.header)
            .footer(&*envelope.footer)
            .drop_timeout(Duration::ZERO)
            .give_up_after(setup.give_up_after)
            .partition(setup.partition)
            .fs(Arc::new(fs.clone()));
        let config = match setup.quota {
            Limit::None => config,
            Limit::Free => config.min_free(1),
            Limit::Total(bytes) => config.max_total(bytes),
        };
        let age_max = config.files.age_max();
        let period = setup.rotate_at.finer(match setup.partition {
            "m=%H%M" => Boundary::Minutes(1),
            "dt=%F/h=%H" => Boundary::Hours(1),
            _ => Boundary::Never,
        });
        let (handle, workers) =
            open::assemble(config, clock.now()).map_err(|error| error.to_string())?;
        let handle = Arc::new(handle);
        let callers = Callers::new(handle.clone(), fs.clone(), clock.clone(), setup.give_up_after);
        let driven = |worker| Driven::new(worker, &clock);
        Ok(Run {
            handle,
            fs,
            callers: Arc::new(Mutex::new(callers)),
            workers: workers.into_iter().map(driven).collect(),
            age_max,
            period: period.seconds().map(|seconds| seconds * 1_000_000_000),
            boundary: None,
            boundaries: Vec::new(),
            partition: setup.partition,
            file_size: setup.file_size.max(1),
            quota: setup.quota,
            theft: false,
            turn: 0,
            calls: 0,
            disturbed: false,
            faults: 0,
            clock,
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Call(call) => lock(&self.callers).call(call, false),
            Step::Amid(after, calls) => {
                self.amid(*after, calls);
                Ok(())
            }
            Step::Tick(time) => self.tick(*time),
            Step::Stall(time) => {
                self.disturbed |= !time.is_zero();
                self.clock.advance(*time);
                Ok(())
            }
            Step::SetClock(ms) => {
                let before = self.periods();
                self.clock.shift_wall(ms * 1_000_000);
                if self.periods() != before {
                    self.begin_period(self.clock.now());
                }
                Ok(())
            }
            Step::Round(worker) => self.drive(worker % self.workers.len()),
            Step::Faults(plan) => {
                self.fs.fail(Some(plan.clone()));
                Ok(())
            }
            Step::Heal => {
                self.fs.fail(None);
                Ok(())
            }
            Step::Space { short, time } => {
                self.fs.set_short(*short);
                self.tick(*time)
            }
            Step::Steal(worker) => {
                let stats = self.handle.stats();
                if let Some(temp) = &stats.workers[worker % self.workers.len()].temp_file {
                    self.fs.steal(temp);
                    self.disturbed = true;
                    self.theft = true;
                    lock(&self.callers).seen.theft = true;
                }
                Ok(())
            }
        }
    }

    fn amid(&self, after: bool, calls: &[Call]) {
        let (callers, calls) = (self.callers.clone(), calls.to_vec());
        let hook = move || {
            let mut callers = lock(&callers);
            callers.seen.amid = true;
            let result = calls.iter().try_for_each(|call| callers.call(call, true));
            callers.failure = callers.failure.take().or(result.err());
        };
        self.fs.amid(after, Box::new(hook));
    }

    /// Lets each worker run when it wants to, or was woken, until `time` has passed.
    fn tick(&mut self, time: Duration) -> Result<(), String> {
        let end = self.clock.now() + time;
        let quiet = time >= QUIET && !self.disturbed && lock(&self.callers).is_calm();
        self.run_until(Some(end))?;
        self.go_on_to(end)?;
        let mut callers = lock(&self.callers);
        if self.disturbed {
            callers.look(false)?;
            self.disturbed = !(self.fs.is_healthy() && callers.is_calm());
        } else {
            // What was taken before the disk was healed makes a second round necessary, after a nap.
            if time >= Duration::from_millis(1) {
                callers.expect_answers()?;
            }
            let rests = self.workers.iter().all(Driven::is_idle);
            let over_quota = self.handle.shared.is_over_quota();
            // A record that came in the middle of a call waits for the boundary of its period.
            let quiet = quiet && callers.is_calm();
            ensure(!quiet || over_quota || rests, || "an idle worker wakes up".to_owned())?;
        }
        Ok(())
    }

    /// Until then, or until all workers have ended.
    fn run_until(&mut self, end: Option<Instant>) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            let now = self.clock.now();
            let next = (0..self.workers.len())
                .map(|i| (i + self.turn) % self.workers.len())
                .filter_map(|i| Some((self.workers[i].due(self.parker(i), now)?.max(now), i)))
                .min_by_key(|&(at, _)| at);
            match next {
                Some((at, worker)) if end.is_none_or(|end| at <= end) => {
                    self.go_on_to(at)?;
                    self.drive(worker)?;
                    self.turn += 1;
                }
                None if end.is_none() => {
                    let ended = self.workers.iter().all(Driven::has_ended);
                    return ensure(ended, || "a worker sleeps on although all is over".to_owned());
                }
                _ => return Ok(()),
            }
        }
        Err("the workers don't rest".to_owned())
    }

    fn parker(&self, worker: usize) -> &Parker {
        &self.handle.shared.mailboxes[worker].parker
    }

    fn go_on_to(&mut self, at: Instant) -> Result<(), String> {
        let Some(time) = at.checked_duration_since(self.clock.now()) else { return Ok(()) };
        if !self.disturbed
            && let Some(age_max) = self.age_max
        {
            lock(&self.callers).model.expect_young(at, age_max)?;
        }
        self.cross(time)?;
        self.clock.advance(time);
        Ok(())
    }

    /// Periods of the wall clock so far.
    fn periods(&self) -> u64 {
        self.period.map_or(0, |period| self.clock.wall() / period)
    }

    fn begin_period(&mut self, at: Instant) {
        // To another period and back before anybody has looked is no boundary.
        self.disturbed |= self.boundary.is_some_and(|last| at <= last + SKEW_MAX);
        self.boundary = Some(at);
        self.boundaries.push(at);
        lock(&self.callers).seen.boundary = true;
    }

    /// Periods may end while this time passes. What was accepted before one ended is visible soon.
    fn cross(&mut self, time: Duration) -> Result<(), String> {
        let Some(period) = self.period else { return Ok(()) };
        let end = self.clock.now() + time;
        let expect = |run: &Self| {
            let over = run.boundary.filter(|&boundary| end > boundary + SKEW_MAX);
            match over.filter(|_| !run.disturbed) {
                Some(boundary) => lock(&run.callers).model.expect_visible_since(boundary),
                None => Ok(()),
            }
        };
        expect(self)?;
        let into = self.clock.wall() % period;
        let last = (into + time.as_nanos() as u64) / period * period;
        if last > 0 {
            self.begin_period(self.clock.now() + Duration::from_nanos(last - into));
        }
        expect(self)
    }

    fn drive(&mut self, worker: usize) -> Result<(), String> {
        let parker = &self.handle.shared.mailboxes[worker].parker;
        self.workers[worker].step(parker, &self.clock);
        self.look()
    }

    /// After each step of a worker.
    fn look(&mut self) -> Result<(), String> {
        let (calls, faults) = self.fs.calls();
        self.disturbed |= faults != self.faults;
        self.faults = faults;
        let mut callers = lock(&self.callers);
        if let Some(failure) = callers.failure.take() {
            return Err(failure);
        }
        for slot in self.handle.shared.slots.iter() {
            callers.seen.revocation |= slot.gate() & gate::STATE == gate::TAKEN;
            callers.seen.dismissal |= slot.gate() & gate::STATE == gate::DISMISSED;
        }
        callers.hear()?;
        if calls != self.calls {
            self.calls = calls;
            callers.look(false)?;
            let is_near = |at: Instant| {
                let distance = |boundary: &Instant| at.max(*boundary) - at.min(*boundary);
                self.boundaries.iter().any(|boundary| distance(boundary) <= SKEW_MAX)
            };
            let model = &mut callers.model;
            let before = model.compared();
            model.expect_placed(self.partition, |at| self.disturbed || is_near(at))?;
            let is_new = model.compared() > before && !self.partition.is_empty();
            callers.seen.partition |= is_new && !self.disturbed;
            let stats = self.handle.stats();
            let full = stats.workers.iter().any(|worker| worker.temp_file_bytes >= self.file_size);
            self.expect_within(stats.accepted.saturating_sub(stats.lost.total()).bytes)?;
            ensure(self.disturbed || !full, || format!("a full file is kept: {stats:?}"))?;
        }
        Ok(())
    }

    /// The files exceed what they may take by no more than memory holds. Stolen ones are not counted.
    fn expect_within(&self, bytes: u64) -> Result<(), String> {
        let Limit::Total(max) = self.quota else { return Ok(()) };
        let arena = &self.handle.shared.arena;
        let held = u64::from(arena.none()) * arena.size() as u64;
        let theft = self.theft;
        ensure(theft || bytes <= max + held, || format!("{bytes} bytes accepted, {max} permitted"))
    }

    fn end(&mut self, end: &End) -> Result<(), String> {
        match end {
            End::Drain { flush, patient, ill } => {
                if *flush {
                    self.fs.fail(None);
                    lock(&self.callers).call(&Call::Flush, false)?;
                    self.tick(Duration::from_millis(1))?;
                    lock(&self.callers).expect_answers()?;
                }
                if let Some(len) = patient {
                    self.fs.fail(None);
                    self.be_patient(*len)?;
                }
                self.handle.begin_close(None);
                self.run_until(Some(self.clock.now() + *ill))?;
                self.fs.fail(None);
                self.run_until(None)?;
                self.drained()
            }
            End::GiveUp { after, amid } => {
                self.handle.begin_close(None);
                if let Some(time) = after {
                    self.run_until(Some(self.clock.now() + *time))?;
                }
                self.give_up(*amid)
            }
        }
    }

    /// On a healthy disk a caller that tries again and again gets its record in soon.
    fn be_patient(&mut self, len: usize) -> Result<(), String> {
        let all = self.handle.shared.arena.none() as usize * self.handle.shared.arena.size();
        let attempts = 5;
        if !lock(&self.callers).has_room(attempts) {
            return Ok(());
        }
        self.fs.set_short(false);
        // Beyond the longest pause after an error; a temp file that is gone is one more.
        self.tick(Duration::from_millis(2100))?;
        let stats = self.handle.stats();
        let recovered = stats.workers.iter().all(|worker| worker.last_error.is_none());
        ensure(recovered, || format!("an error stays: {stats:?}"))?;
        for _ in 0..attempts {
            if lock(&self.callers).write(0, Way::Write, len.min(all))?.is_none() {
                return Ok(());
            }
            self.tick(Duration::from_millis(10))?;
        }
        if matches!(self.quota, Limit::Total(_)) && self.handle.shared.is_over_quota() {
            // Nobody takes files away here.
            return Ok(());
        }
        Err(format!(
            "no memory for a record of {len} bytes in all the time: {:?}",
            self.handle.stats()
        ))
    }

    /// Close had all the time that it needed.
    fn drained(&mut self) -> Result<(), String> {
        let report = self.handle.close(BOUND).map_err(|error| error.to_string())?;
        let mut callers = lock(&self.callers);
        callers.seen.drained = true;
        callers.look(false)?;
        callers.hear()?;
        callers.expect_answers()?;
        let dealt_with = report.written + report.lost.total() == report.accepted;
        ensure(dealt_with && report.unresolved.is_zero(), || format!("{report:?}"))?;
        ensure(report.lost.shutdown.is_zero(), || format!("{report:?}"))?;
        let settled = self.fs.settled() == report.files;
        ensure(settled, || "the directory is not synced".to_owned())?;
        let pending = callers.model.pending();
        ensure(pending.is_empty(), || format!("neither visible nor lost: {pending:?}"))
    }

    fn give_up(&mut self, amid: Option<bool>) -> Result<(), String> {
        self.disturbed = true;
        if let Some(after) = amid {
            let callers = self.callers.clone();
            self.fs.amid(after, Box::new(move || lock(&callers).give_up()));
            self.run_until(Some(self.clock.now()))?;
        }
        let finished = self.handle.is_finished();
        // No call came, or none was wanted.
        if let Some(hook) = self.fs.take_hook() {
            drop(hook);
            lock(&self.callers).give_up();
        } else if amid.is_none() {
            lock(&self.callers).give_up();
        }
        self.run_until(None)?;
        let closed = self.handle.close(BOUND);
        let mut callers = lock(&self.callers);
        callers.hear()?;
        match closed {
            Ok(report) => {
                ensure(finished, || format!("was given up, but says {report:?}"))?;
                callers.seen.drained = true;
            }
            Err(error) => {
                let told = || format!("{error}: {:?}", error.report());
                ensure(!finished && error.report().unresolved.is_zero(), told)?;
                callers.seen.given_up = true;
            }
        }
        Ok(())
    }

    /// When all is over.
    fn accounts(&mut self) -> Result<(), String> {
        // A hook that no call came for holds the callers.
        drop(self.fs.take_hook());
        let mut callers = lock(&self.callers);
        callers.call(&Call::Write { thread: 1, way: Way::Write, len: 3 }, false)?;
        callers.look(false)?;
        let shared = &self.handle.shared;
        let mut chunks = callers.leased();
        chunks.extend(std::iter::from_fn(|| shared.pool.pop(&shared.arena, 0)).take(100));
        chunks.sort_unstable();
        let all = chunks.iter().copied().eq(0..shared.arena.none());
        let distinct = chunks.windows(2).all(|pair| pair[0] < pair[1]);
        let complete = !callers.seen.drained || all;
        ensure(distinct && complete, || format!("chunks that came back: {chunks:?}"))?;
        let leftovers = self.fs.leftovers();
        ensure(self.fs.calls().1 > 0 || leftovers.is_empty(), || {
            format!("left behind: {leftovers:?}")
        })
    }
}
