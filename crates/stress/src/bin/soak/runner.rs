//! Runs one writer after the other, each with its own options, threads, faults and close.
//!
//! Guarantees: checks that each accepted record was in exactly one visible file, whole, or is counted as lost.
//! The counts of the writer, of its callers and of its files must agree.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bufferedwriter::{
    Boundary, BufferedWriter, Config, Count, DumpError, DumpOptions, Durability, FlushError, Io,
    Recorder, Stats,
};
use bufferedwriter_stress::failure::{expect, fail};
use bufferedwriter_stress::handle::Handle;
use bufferedwriter_stress::visible::{Visible, list};
use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::wait::{BOUND, holds_within};

use crate::caller::{Answers, Caller};
use crate::faulty_fs::{FaultInjector, FaultRate, FaultyFs};

/// The most calls of one thread, so that the set of its records stays small.
const CALLS_MAX: usize = 20_000;

/// What a runner shares with its callers, with the file system, and with the reports.
pub(crate) struct Runner {
    pub(crate) faults: FaultInjector,
    /// The present writer's callers end once it is set.
    stop: AtomicBool,
    pub(crate) totals: Totals,
}

/// Sums over all writers of a runner, by the indices below.
pub(crate) struct Totals(pub(crate) [AtomicU64; 12]);

/// What each total is called in reports.
pub(crate) const NAMES: [&str; 12] = [
    "writers",
    "threads",
    "accepted",
    "files",
    "lost",
    "refused",
    "flushes",
    "closes timed out",
    "temp dirs removed",
    "failed starts",
    "dumps",
    "overwritten",
];
const WRITERS: usize = 0;
const THREADS: usize = 1;
const ACCEPTED: usize = 2;
const FILES: usize = 3;
const LOST: usize = 4;
const REFUSED: usize = 5;
const FLUSHES: usize = 6;
const TIMED_OUT: usize = 7;
const REMOVED: usize = 8;
const FAILED_STARTS: usize = 9;
const DUMPS: usize = 10;
const OVERWRITTEN: usize = 11;

impl Totals {
    fn add(&self, which: usize, count: u64) {
        self.0[which].fetch_add(count, Relaxed);
    }
}

impl Runner {
    pub(crate) const fn new() -> Self {
        let totals = Totals([const { AtomicU64::new(0) }; 12]);
        Runner { faults: FaultInjector::new(), stop: AtomicBool::new(false), totals }
    }
}

/// What all writers of a run have in common.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    /// Threads of each writer. `None` = up to four.
    pub(crate) callers: Option<usize>,
    /// All are flight recorders, rather than one in four.
    pub(crate) recorders: bool,
}

/// Runs writers with the numbers `first`, `first + step`, ... until the time is over.
pub(crate) fn run(
    runner: &'static Runner,
    dir: &Path,
    plan: Plan,
    seed: u64,
    (first, step): (u32, u32),
    until: Instant,
) {
    let mut random = Random::new(seed);
    runner.faults.seed(random.next());
    let fs = Arc::new(FaultyFs::with(&runner.faults));
    let mut number = first;
    while Instant::now() < until {
        let root = dir.join(format!("writer-{number}"));
        let mut life = Life::new(runner, root, plan, number, random.next());
        let writer = life.make(fs.clone());
        life.live(&writer, until);
        number += step;
    }
}

/// One writer's life.
struct Life {
    runner: &'static Runner,
    root: PathBuf,
    path: PathBuf,
    temp: PathBuf,
    number: u32,
    random: Random,
    visible: Visible,
    callers: Vec<JoinHandle<Answers>>,
    size: usize,
    /// Of callers that have ended.
    answers: Vec<Answers>,
    producers: u32,
    temp_was_removed: bool,
    /// The close had a short timeout, and may have met injected faults.
    was_hurried: bool,
    /// Whether there is a manifest and a hook, which hears of this many files.
    is_listed: bool,
    heard: Arc<AtomicU64>,
    /// A removal failed while the writer was made, so a file of the probe of the directories stays.
    probe_is_left: bool,
    is_recorder: bool,
    plan: Plan,
}

impl Life {
    fn new(runner: &'static Runner, root: PathBuf, plan: Plan, number: u32, seed: u64) -> Self {
        let (path, temp) = (root.join("ready"), root.join("unfinished"));
        for dir in [&path, &temp] {
            expect("create a directory", fs::create_dir_all(dir));
        }
        let mut random = Random::new(seed);
        let size = random.pick(&[64, 200, 1000, 4096, 8192, 65536]);
        let is_listed = random.one_in(2);
        let is_recorder = random.one_in(4) || plan.recorders;
        Life {
            runner,
            root,
            path,
            temp,
            number,
            random,
            visible: Visible::new(number),
            callers: Vec::new(),
            size,
            answers: Vec::new(),
            producers: 0,
            temp_was_removed: false,
            was_hurried: false,
            is_listed,
            heard: Arc::default(),
            probe_is_left: false,
            is_recorder,
            plan,
        }
    }

    /// Makes the writer. If faults prevent that, the error must name a path, and a try without faults must
    /// succeed.
    fn make(&mut self, fs: Arc<FaultyFs>) -> BufferedWriter {
        let random = &mut self.random;
        let ages = [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(300)];
        let mut config = Config::default()
            .path(&self.path)
            .temp(&self.temp)
            .size(self.size)
            .queue_size(random.pick(&[1, 8, 64, 500]))
            .workers(random.pick(&[1, 2, 3, 8]))
            .file_size(random.pick(&[0, 3000, 100_000, 2 << 20]))
            .file_age(random.pick(&[Duration::ZERO, Duration::from_secs(1)]))
            .forced(random.pick(&ages))
            .rotate_at(random.pick(&[Boundary::Never, Boundary::Minutes(1)]))
            .durability(random.pick(&[Durability::None, Durability::None, Durability::File]))
            .io(random.pick(&[Io::Auto, Io::Direct, Io::Buffered]))
            .partition(random.pick(&["", "s=%M/h=%H"]))
            .fs(fs);
        if self.is_recorder {
            let kept = self.size * random.pick(&[1, 8, 64, 500]);
            let recorder = random.pick(&[Recorder::Last(kept), Recorder::Whole]);
            config = config.recorder(recorder).dump_on_close(random.one_in(2));
        }
        if self.is_listed {
            let heard = self.heard.clone();
            config = config.manifest(self.root.join("manifest")).latest(self.root.join("latest"));
            config = config.on_publish(move |file| {
                // Some files are refused at first, and few enough for a close: each waits 0.1 s for its next call.
                if file.bytes % 101 == 3 && heard.fetch_xor(FAILED, Relaxed) & FAILED == 0 {
                    return Err("not this time".into());
                }
                heard.fetch_add(1, Relaxed);
                Ok(())
            });
        }
        if random.one_in(4) {
            self.runner.faults.set(FaultRate::OneIn(8));
            let removals = self.runner.faults.failed_removals.load(Relaxed);
            let made = BufferedWriter::new(config.clone());
            self.probe_is_left = removals != self.runner.faults.failed_removals.load(Relaxed);
            match made {
                Ok(writer) => return writer,
                Err(error) if error.path().is_none() => fail(&format!("no path in: {error}")),
                Err(_) => self.runner.totals.add(FAILED_STARTS, 1),
            }
        }
        self.runner.faults.set(FaultRate::Never);
        expect("make a writer", BufferedWriter::new(config))
    }

    fn live(mut self, writer: &BufferedWriter, until: Instant) {
        self.runner.stop.store(false, Relaxed);
        let life = Duration::from_millis(100 + self.random.below(3000) as u64);
        let end = until.min(Instant::now() + life);
        let callers = self.plan.callers.unwrap_or(1 + self.random.below(4));
        while Instant::now() < end {
            while self.callers.len() < callers {
                self.start_caller(writer);
            }
            self.act(writer);
            self.visible.read_dir(&self.path, true);
            balance(&writer.stats());
            self.join(false);
        }
        // The close may come while callers still write.
        if self.random.one_in(2) {
            self.runner.stop.store(true, Relaxed);
            self.join(true);
        }
        self.close(writer);
        self.runner.stop.store(true, Relaxed);
        self.join(true);
        self.compare(writer);
    }

    fn start_caller(&mut self, writer: &BufferedWriter) {
        let handle = match self.random.one_in(2) {
            true => Handle::Writer(writer.clone()),
            false => Handle::Producer(writer.producer()),
        };
        let caller = Caller {
            handle,
            writer: self.number,
            producer: self.producers,
            size: self.size,
            random: Random::new(self.random.next()),
            calls: 1 + self.random.below(CALLS_MAX),
        };
        self.producers += 1;
        let stop = &self.runner.stop;
        let spawned = thread::Builder::new().stack_size(256 << 10).spawn(move || caller.run(stop));
        self.callers.push(expect("start a thread", spawned));
        self.runner.totals.add(THREADS, 1);
    }

    /// Joins the callers that have ended; with `all`, waits for the others too.
    fn join(&mut self, all: bool) {
        let (ended, others): (Vec<_>, Vec<_>) =
            self.callers.drain(..).partition(|caller| all || caller.is_finished());
        self.callers = others;
        for caller in ended {
            self.answers.push(caller.join().unwrap_or_else(|_| fail("a thread panicked")));
        }
    }

    /// Does something to the writer at random: changes the faults, flushes, removes its directory, or waits.
    fn act(&mut self, writer: &BufferedWriter) {
        let error = self.random.below(16);
        let faults = &self.runner.faults;
        match self.random.below(64) {
            0..4 => faults.set(FaultRate::OneIn(self.random.pick(&[4, 16, 64]))),
            4..6 => faults.set(FaultRate::Always(error)),
            6..16 => faults.set(FaultRate::Never),
            16..20 if self.is_recorder => self.dump(writer),
            16..20 => self.flush(writer),
            20 if self.random.one_in(4) => self.remove_temp(),
            _ => thread::sleep(Duration::from_millis(self.random.below(20) as u64)),
        }
    }

    /// After a flush that succeeds, all that was accepted before is visible or counted as lost.
    fn flush(&mut self, writer: &BufferedWriter) {
        let before = writer.stats().accepted;
        match writer.flush(Duration::from_millis(self.random.below(200) as u64)) {
            Ok(()) => {
                let now = writer.stats();
                if now.written.records + now.lost.total().records < before.records {
                    fail(&format!("flush after {before:?}: {now:?}"));
                }
                self.runner.totals.add(FLUSHES, 1);
            }
            Err(FlushError::TimedOut | FlushError::Io(_)) => {}
            Err(other) => fail(&format!("a flush says {other}")),
        }
    }

    /// What a dump published counts as written. One that fails loses nothing.
    fn dump(&mut self, writer: &BufferedWriter) {
        let options = DumpOptions::default();
        let options = match self.random.below(3) {
            0 => options,
            1 => options.last(Duration::from_millis(self.random.below(300) as u64)),
            _ => options.timeout(Duration::from_millis(self.random.below(50) as u64)),
        };
        let before = writer.stats();
        match writer.dump(options) {
            Ok(dumped) => {
                let now = writer.stats();
                if now.written.records < before.written.records + dumped.records.records {
                    fail(&format!("a dump of {dumped:?} after {before:?}: {now:?}"));
                }
                self.runner.totals.add(DUMPS, 1);
            }
            Err(DumpError::TimedOut | DumpError::Io(_)) => {}
            Err(other) => fail(&format!("a dump says {other}")),
        }
    }

    /// Removes the temp directory, as an operator might, and makes it again.
    fn remove_temp(&mut self) {
        self.temp_was_removed = true;
        // Fails if a new file appears meanwhile; the other files are gone then too.
        let _ = fs::remove_dir_all(&self.temp);
        thread::sleep(Duration::from_millis(self.random.below(50) as u64));
        expect("create a directory", fs::create_dir_all(&self.temp));
        self.runner.totals.add(REMOVED, 1);
    }

    /// Closes the writer: either without faults and with enough time, or with little time and maybe faults.
    fn close(&mut self, writer: &BufferedWriter) {
        let patient = !self.random.one_in(3);
        if patient {
            self.runner.faults.set(FaultRate::Never);
        }
        let timeout =
            if patient { BOUND } else { Duration::from_millis(self.random.below(60) as u64) };
        self.was_hurried |= !patient;
        let began = Instant::now();
        match writer.close(timeout) {
            Ok(report)
                if report.accepted == report.written + report.lost.total() + report.overwritten => {
            }
            Ok(report) => fail(&format!("closed, and the accounts do not balance: {report:?}")),
            Err(error) if patient => fail(&format!("{error}: {:?}", error.report())),
            Err(error) => {
                let report = error.report();
                let sum =
                    report.written + report.lost.total() + report.overwritten + report.unresolved;
                if report.accepted != sum {
                    fail(&format!("timed out, and the accounts do not balance: {report:?}"));
                }
                self.runner.totals.add(TIMED_OUT, 1);
            }
        }
        if !patient && began.elapsed() > timeout + Duration::from_secs(10) {
            fail(&format!("a close within {timeout:?} took {:?}", began.elapsed()));
        }
        self.runner.faults.set(FaultRate::Never);
    }

    /// After a close that was in time, the manifest has each file, and the hook has heard of each.
    fn compare_list(&self, stats: &Stats) {
        if !self.is_listed || self.was_hurried || self.temp_was_removed {
            return;
        }
        let text = fs::read_to_string(self.root.join("manifest")).unwrap_or_default();
        let records = text.lines().filter_map(|line| {
            let count = line.split_once("\"records\":")?.1;
            count.split_once(',')?.0.parse::<u64>().ok()
        });
        let (files, heard) = (self.visible.found.files, self.heard.load(Relaxed) & !FAILED);
        let listed = (text.lines().count() as u64, records.sum::<u64>());
        if listed != (files, stats.written.records) || heard < files {
            fail(&format!("listed {listed:?}, heard of {heard}, {files} files: {stats:?}"));
        }
    }

    /// Callers, counts and files must agree.
    fn compare(&mut self, writer: &BufferedWriter) {
        // A rename may have been under way when the close timed out.
        if !holds_within(BOUND, || writer.stats().pending.is_zero()) {
            fail(&format!("pending for ever after a close: {:?}", writer.stats()));
        }
        let stats = writer.stats();
        balance(&stats);
        self.visible.read_dir(&self.path, true);
        self.compare_list(&stats);
        let accepted = self.answers.iter().fold(Count::default(), |mut sum, answers| {
            sum.records += u64::from(answers.records);
            sum.bytes += answers.bytes;
            sum
        });
        let found = &self.visible.found;
        let visible = (found.records, found.bytes);
        if accepted != stats.accepted || visible != (stats.written.records, stats.written.bytes) {
            let writer = self.number;
            fail(&format!("writer {writer}: callers {accepted:?}, files {visible:?}, {stats:?}"));
        }
        for answers in &self.answers {
            if self.visible.count_from(answers.producer, answers.records) > 0 {
                fail(&format!("more is visible than was accepted: {answers:?}"));
            }
        }
        if !self.temp_was_removed && !stats.lost.temp_file_removed.is_zero() {
            fail(&format!("a temp file is counted as removed, but none was: {stats:?}"));
        }
        let may_be_left = self.was_hurried || self.temp_was_removed || self.probe_is_left;
        if let (false, Some(left)) = (may_be_left, list(&self.temp).first()) {
            fail(&format!("left by writer {}: {}", self.number, left.display()));
        }
        let totals = &self.runner.totals;
        totals.add(WRITERS, 1);
        totals.add(ACCEPTED, stats.accepted.records);
        totals.add(FILES, found.files);
        totals.add(LOST, stats.lost.total().records);
        totals.add(OVERWRITTEN, stats.overwritten.records);
        totals.add(REFUSED, self.answers.iter().map(|answers| answers.refused).sum());
        // Workers of a close that timed out may still remove their files.
        let mut removed = Ok(());
        let is_gone = || {
            removed = fs::remove_dir_all(&self.root);
            removed.is_ok()
        };
        holds_within(BOUND, is_gone);
        expect("remove a directory", removed);
    }
}

/// A bit of `heard`: the hook has failed, and succeeds the next time.
const FAILED: u64 = 1 << 63;

fn balance(stats: &Stats) {
    if stats.accepted != stats.written + stats.pending + stats.lost.total() + stats.overwritten {
        fail(&format!("the accounts do not balance: {stats:?}"));
    }
}
