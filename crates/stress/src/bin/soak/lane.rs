//! One writer after the other, each with its options, its threads, its weather and its end.
//!
//! Guarantees: of each writer every accepted record was in exactly one visible file, whole, or is
//! counted as lost, and the counts of the writer, of its callers and of its files agree.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Config, Count, FlushError, Io, Stats, Sync};
use bufferedwriter_stress::failure::{expect, fail};
use bufferedwriter_stress::random::Random;
use bufferedwriter_stress::seen::{Seen, list};
use bufferedwriter_stress::way::Way;

use crate::faults::{Outdoors, Sky, Weather};
use crate::seat::{Seat, Told};

/// Longer than anything takes in clear weather; only a fault of the library reaches it.
const BOUND: Duration = Duration::from_secs(60);
/// Calls of one thread at most, so that what is noted of its records stays small.
const CALLS_MAX: usize = 20_000;

/// What is seen of a lane from outside, and its weather.
pub(crate) struct Lane {
    pub(crate) weather: Weather,
    end: AtomicBool,
    pub(crate) totals: Totals,
}

/// Sums over all writers of a lane.
pub(crate) struct Totals(pub(crate) [AtomicU64; 10]);

/// Which is which.
pub(crate) const NAMES: [&str; 10] = [
    "writers", "threads", "accepted", "files", "lost", "refused", "flushed", "gave up", "removed",
    "unmade",
];
const WRITERS: usize = 0;
const THREADS: usize = 1;
const ACCEPTED: usize = 2;
const FILES: usize = 3;
const LOST: usize = 4;
const REFUSED: usize = 5;
const FLUSHED: usize = 6;
const GAVE_UP: usize = 7;
const REMOVED: usize = 8;
const UNMADE: usize = 9;

impl Totals {
    fn add(&self, which: usize, count: u64) {
        self.0[which].fetch_add(count, Relaxed);
    }
}

impl Lane {
    pub(crate) const fn new() -> Self {
        let totals = Totals([const { AtomicU64::new(0) }; 10]);
        Lane { weather: Weather::new(), end: AtomicBool::new(false), totals }
    }
}

/// Runs writers of the numbers `first`, `first + step`, ... until the time is over.
pub(crate) fn run(
    lane: &'static Lane,
    dir: &Path,
    seed: u64,
    (first, step): (u32, u32),
    until: Instant,
) {
    let mut random = Random::new(seed);
    lane.weather.seed(random.next());
    let fs = Arc::new(Outdoors(&lane.weather));
    let mut number = first;
    while Instant::now() < until {
        let mut life = Life::new(lane, dir.join(format!("writer-{number}")), number, random.next());
        let writer = life.make(fs.clone());
        life.live(&writer, until);
        number += step;
    }
}

/// One writer's life.
struct Life {
    lane: &'static Lane,
    root: PathBuf,
    path: PathBuf,
    temp: PathBuf,
    number: u32,
    random: Random,
    seen: Seen,
    seats: Vec<JoinHandle<Told>>,
    size: usize,
    told: Vec<Told>,
    producers: u32,
    temp_was_removed: bool,
    /// A writer that was closed in a hurry, maybe in bad weather.
    was_hurried: bool,
    /// When it was made, a file could not be removed: one of a probe of the directories stays.
    probe_is_left: bool,
}

impl Life {
    fn new(lane: &'static Lane, root: PathBuf, number: u32, seed: u64) -> Self {
        let (path, temp) = (root.join("ready"), root.join("unfinished"));
        for dir in [&path, &temp] {
            expect("create a directory", fs::create_dir_all(dir));
        }
        let mut random = Random::new(seed);
        let size = random.pick(&[64, 200, 1000, 4096, 8192, 65536]);
        Life {
            lane,
            root,
            path,
            temp,
            number,
            random,
            seen: Seen::default(),
            seats: Vec::new(),
            size,
            told: Vec::new(),
            producers: 0,
            temp_was_removed: false,
            was_hurried: false,
            probe_is_left: false,
        }
    }

    /// A writer that can't be made in bad weather says so, names a path, and can be made in good one.
    fn make(&mut self, fs: Arc<Outdoors>) -> BufferedWriter {
        let random = &mut self.random;
        let ages = [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(300)];
        let config = Config::default()
            .path(&self.path)
            .temp(&self.temp)
            .size(self.size)
            .queue_size(random.pick(&[1, 8, 64, 500]))
            .workers(random.pick(&[1, 2, 3, 8]))
            .file_size(random.pick(&[0, 3000, 100_000, 2 << 20]))
            .file_age(random.pick(&[Duration::ZERO, Duration::from_secs(1)]))
            .forced(random.pick(&ages))
            .sync(random.pick(&[Sync::None, Sync::None, Sync::File]))
            .io(random.pick(&[Io::Auto, Io::Direct, Io::Buffered]))
            .fs(fs);
        if random.once_in(4) {
            self.lane.weather.set(Sky::Showers(8));
            let unlinks = self.lane.weather.unlinks.load(Relaxed);
            let made = BufferedWriter::new(config.clone());
            self.probe_is_left = unlinks != self.lane.weather.unlinks.load(Relaxed);
            match made {
                Ok(writer) => return writer,
                Err(error) if error.path().is_none() => fail(&format!("no path in: {error}")),
                Err(_) => self.lane.totals.add(UNMADE, 1),
            }
        }
        self.lane.weather.set(Sky::Clear);
        expect("make a writer", BufferedWriter::new(config))
    }

    fn live(mut self, writer: &BufferedWriter, until: Instant) {
        self.lane.end.store(false, Relaxed);
        let life = Duration::from_millis(100 + self.random.below(3000) as u64);
        let end = until.min(Instant::now() + life);
        let seats = 1 + self.random.below(4);
        while Instant::now() < end {
            while self.seats.len() < seats {
                self.seat(writer);
            }
            self.act(writer);
            self.seen.take(&self.path, self.number, true);
            balance(&writer.stats());
            self.join(false);
        }
        // A writer may be closed while others write to it.
        if self.random.once_in(2) {
            self.lane.end.store(true, Relaxed);
            self.join(true);
        }
        self.close(writer);
        self.lane.end.store(true, Relaxed);
        self.join(true);
        self.compare(writer);
    }

    fn seat(&mut self, writer: &BufferedWriter) {
        let way = match self.random.once_in(2) {
            true => Way::Writer(writer.clone()),
            false => Way::Producer(writer.producer()),
        };
        let seat = Seat {
            way,
            writer: self.number,
            producer: self.producers,
            size: self.size,
            random: Random::new(self.random.next()),
            calls: 1 + self.random.below(CALLS_MAX),
        };
        self.producers += 1;
        let end = &self.lane.end;
        let spawned = thread::Builder::new().stack_size(256 << 10).spawn(move || seat.sit(end));
        self.seats.push(expect("start a thread", spawned));
        self.lane.totals.add(THREADS, 1);
    }

    /// Hears of threads that ended; of all, once they are told to end.
    fn join(&mut self, all: bool) {
        let (over, on): (Vec<_>, Vec<_>) =
            self.seats.drain(..).partition(|seat| all || seat.is_finished());
        self.seats = on;
        for seat in over {
            self.told.push(seat.join().unwrap_or_else(|_| fail("a thread panicked")));
        }
    }

    /// Something happens to the writer, or it is left alone.
    fn act(&mut self, writer: &BufferedWriter) {
        let error = self.random.below(16);
        let weather = &self.lane.weather;
        match self.random.below(64) {
            0..4 => weather.set(Sky::Showers(self.random.pick(&[4, 16, 64]))),
            4..6 => weather.set(Sky::Storm(error)),
            6..16 => weather.set(Sky::Clear),
            16..20 => self.flush(writer),
            20 if self.random.once_in(4) => self.remove_temp(),
            _ => thread::sleep(Duration::from_millis(self.random.below(20) as u64)),
        }
    }

    /// What was accepted before is visible, or counted as lost, if the flush says so.
    fn flush(&mut self, writer: &BufferedWriter) {
        let before = writer.stats().accepted;
        match writer.flush(Duration::from_millis(self.random.below(200) as u64)) {
            Ok(()) => {
                let now = writer.stats();
                if now.written.records + now.lost.total().records < before.records {
                    fail(&format!("flush after {before:?}: {now:?}"));
                }
                self.lane.totals.add(FLUSHED, 1);
            }
            Err(FlushError::TimedOut | FlushError::Io(_)) => {}
            Err(other) => fail(&format!("a flush says {other}")),
        }
    }

    /// Somebody takes the temp directory away, and puts it there again.
    fn remove_temp(&mut self) {
        self.temp_was_removed = true;
        // A file that comes just then keeps the directory; what was in it is gone all the same.
        let _ = fs::remove_dir_all(&self.temp);
        thread::sleep(Duration::from_millis(self.random.below(50) as u64));
        expect("create a directory", fs::create_dir_all(&self.temp));
        self.lane.totals.add(REMOVED, 1);
    }

    /// With all the time that it needs in good weather, or with little in any.
    fn close(&mut self, writer: &BufferedWriter) {
        let patient = !self.random.once_in(3);
        if patient {
            self.lane.weather.set(Sky::Clear);
        }
        let timeout =
            if patient { BOUND } else { Duration::from_millis(self.random.below(60) as u64) };
        self.was_hurried |= !patient;
        let began = Instant::now();
        match writer.close(timeout) {
            Ok(report) if report.accepted == report.written + report.lost.total() => {}
            Ok(report) => fail(&format!("closed, and the accounts do not balance: {report:?}")),
            Err(error) if patient => fail(&format!("{error}: {:?}", error.report())),
            Err(error) => {
                let report = error.report();
                let sum = report.written + report.lost.total() + report.unresolved;
                if report.accepted != sum {
                    fail(&format!("gave up, and the accounts do not balance: {report:?}"));
                }
                self.lane.totals.add(GAVE_UP, 1);
            }
        }
        if !patient && began.elapsed() > timeout + Duration::from_secs(10) {
            fail(&format!("a close within {timeout:?} took {:?}", began.elapsed()));
        }
        self.lane.weather.set(Sky::Clear);
    }

    /// Callers, counts and files agree.
    fn compare(&mut self, writer: &BufferedWriter) {
        let deadline = Instant::now() + BOUND;
        let mut stats = writer.stats();
        while !stats.pending.is_zero() {
            // A rename that was under way when the close gave up.
            if Instant::now() > deadline {
                fail(&format!("pending for ever after a close: {stats:?}"));
            }
            thread::sleep(Duration::from_millis(1));
            stats = writer.stats();
        }
        balance(&stats);
        self.seen.take(&self.path, self.number, true);
        let told = self.told.iter().fold(Count::default(), |mut sum, told| {
            sum.records += u64::from(told.records);
            sum.bytes += told.bytes;
            sum
        });
        let visible = (self.seen.records, self.seen.bytes);
        if told != stats.accepted || visible != (stats.written.records, stats.written.bytes) {
            let writer = self.number;
            fail(&format!("writer {writer}: callers {told:?}, files {visible:?}, {stats:?}"));
        }
        for told in &self.told {
            if self.seen.count_from(told.producer, told.records) > 0 {
                fail(&format!("more is visible than was accepted: {told:?}"));
            }
        }
        if !self.temp_was_removed && !stats.lost.temp_file_removed.is_zero() {
            fail(&format!("nobody removed a temp file: {stats:?}"));
        }
        let may_be_left = self.was_hurried || self.temp_was_removed || self.probe_is_left;
        if let (false, Some(left)) = (may_be_left, list(&self.temp).first()) {
            fail(&format!("left by writer {}: {}", self.number, left.display()));
        }
        let totals = &self.lane.totals;
        totals.add(WRITERS, 1);
        totals.add(ACCEPTED, stats.accepted.records);
        totals.add(FILES, self.seen.files);
        totals.add(LOST, stats.lost.total().records);
        totals.add(REFUSED, self.told.iter().map(|told| told.refused).sum());
        // A worker that gave up may still be cleaning up after itself in there.
        while let Err(error) = fs::remove_dir_all(&self.root) {
            if Instant::now() > deadline {
                fail(&format!("remove {}: {error}", self.root.display()));
            }
        }
    }
}

fn balance(stats: &Stats) {
    if stats.accepted != stats.written + stats.pending + stats.lost.total() {
        fail(&format!("the accounts do not balance: {stats:?}"));
    }
}
