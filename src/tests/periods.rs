//! Rotation at the clock: a whole writer whose workers are stepped by hand, by clocks that a test advances and sets.
//!
//! Guarantees: each record that was accepted is in a file at the end, once. How far records are from their period is
//! measured, not only bounded.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::base::sys::Errno;
use bufferedwriter_testkit::random::Random;

use crate::accept;
use crate::config::{Boundary, Config, Durability};
use crate::memory::slot::Slot;
use crate::memory::slot::owned::OwnedSlot;
use crate::tests::clock::Clock;
use crate::tests::driven::Driven;
use crate::tests::fs::hooked::Op;
use crate::tests::fs::memory::{DiskFault, FaultPlan, MemoryFs};
use crate::worker::period::SKEW_MAX;
use crate::writer::inner::Inner;
use crate::writer::open;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const PRODUCERS: usize = 5;

pub(super) struct Scene {
    pub(super) handle: Inner,
    workers: Vec<Driven>,
    pub(super) slots: Vec<*const Slot>,
    pub(super) fs: MemoryFs,
    pub(super) clock: Clock,
    /// When each record was accepted.
    accepted: Vec<Instant>,
    /// When the wall clock came to another minute.
    crossings: Vec<Instant>,
    /// The visible files: the numbers of their records.
    pub(super) files: Vec<Vec<usize>>,
    /// Their directories, from that of visible files on.
    dirs: Vec<PathBuf>,
    /// A worker that never gets the processor.
    pub(super) hung: Option<usize>,
}

impl Scene {
    /// A writer without a limit of age, with small chunks. Its clock begins with a minute.
    fn new(config: Config) -> Self {
        Scene::with(config.size(64), PRODUCERS)
    }

    pub(super) fn with(config: Config, producers: usize) -> Self {
        let clock = Clock::new();
        let fs = MemoryFs::new(clock.clone(), "/ready", false, false);
        let config = config
            .path("/ready")
            .temp("/unfinished")
            .file_age(Duration::ZERO)
            .drop_timeout(Duration::ZERO)
            .wall_clock(clock.wall_clock())
            .fs(Arc::new(fs.clone()));
        let (handle, workers) = open::assemble(config, clock.now()).unwrap();
        let slots = (0..producers).map(|_| handle.shared.slots.acquire().unwrap()).collect();
        let workers = workers.into_iter().map(|worker| Driven::new(worker, &clock)).collect();
        let (accepted, crossings, files, dirs) = Default::default();
        Scene { handle, workers, slots, fs, clock, accepted, crossings, files, dirs, hung: None }
    }

    fn each_minute() -> Self {
        Scene::new(Config::default().workers(1).rotate_at(Boundary::Minutes(1)))
    }

    /// A record by one of the producers. It holds its number.
    pub(super) fn write(&mut self, producer: usize, len: usize) {
        let record = format!("{:07}{}\n", self.accepted.len(), ".".repeat(len));
        // SAFETY: the slot is ours, and lives as long as the writer.
        let mut slot = unsafe { OwnedSlot::new(&self.handle.shared, &*self.slots[producer]) };
        accept::write(&mut slot, record.as_bytes()).unwrap();
        self.accepted.push(self.clock.now());
    }

    /// Sets the wall clock forth or back.
    fn set(&mut self, nanos: i64) {
        let before = self.minute();
        self.clock.shift_wall(nanos);
        if self.minute() != before {
            self.crossings.push(self.clock.now());
        }
    }

    fn minute(&self) -> u64 {
        self.clock.wall() / MINUTE.as_nanos() as u64
    }

    /// Time passes, and no worker gets the processor.
    fn pass(&mut self, time: Duration) {
        let into_minute = Duration::from_nanos(self.clock.wall() % MINUTE.as_nanos() as u64);
        let first = MINUTE - into_minute;
        let minutes = (0..).map(|n| first + MINUTE * n).take_while(|after| *after <= time);
        self.crossings.extend(minutes.map(|after| self.clock.now() + after));
        self.clock.advance(time);
    }

    /// Time passes, and each worker runs when it wants to, or a bit later.
    fn run(&mut self, time: Duration, late: &mut dyn FnMut() -> Duration) {
        let end = self.clock.now() + time;
        loop {
            let now = self.clock.now();
            let due = |i: usize| {
                let parker = &self.handle.shared.mailboxes[i].parker;
                Some((self.workers[i].due(parker, now)?, i))
            };
            let awake = (0..self.workers.len()).filter(|i| Some(*i) != self.hung);
            match awake.filter_map(due).min() {
                Some((at, worker)) if at <= end => {
                    self.pass(at.saturating_duration_since(now) + late());
                    self.workers[worker]
                        .step(&self.handle.shared.mailboxes[worker].parker, &self.clock);
                    self.look();
                }
                _ => return self.pass(end.saturating_duration_since(now)),
            }
        }
    }

    /// The same, at once when it wants to.
    pub(super) fn go_on(&mut self, time: Duration) {
        self.run(time, &mut || Duration::ZERO);
    }

    /// Which workers sleep on until somebody wakes them.
    pub(super) fn idle(&self) -> Vec<bool> {
        self.workers.iter().map(Driven::is_idle).collect()
    }

    fn look(&mut self) {
        for (dir, file) in self.fs.appeared_in() {
            self.dirs.push(dir.strip_prefix("/ready").unwrap().to_owned());
            let text = String::from_utf8(file).unwrap();
            let number = |line: &str| line[..7].parse().unwrap();
            let mut numbers: Vec<usize> = text.lines().map(number).collect();
            numbers.sort_unstable();
            self.files.push(numbers);
        }
    }

    /// Closes the writer. Each record is in a file, once.
    pub(super) fn close(&mut self) {
        self.handle.begin_close(None);
        while !self.handle.is_finished() {
            self.go_on(MS);
        }
        let mut all = self.files.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..self.accepted.len()));
        assert!(self.fs.breaches().is_empty());
    }

    /// By how much a file's records are outside of a period: of the one that fits best.
    fn skew(&self, file: &[usize]) -> Duration {
        let times = || file.iter().map(|&number| self.accepted[number]);
        let (first, last) = (times().min().unwrap(), times().max().unwrap());
        (0..=self.crossings.len())
            .map(|i| {
                let start = i.checked_sub(1).map(|i| self.crossings[i]);
                let early =
                    start.map_or(Duration::ZERO, |start| start.saturating_duration_since(first));
                let end = self.crossings.get(i);
                let late = end.map_or(Duration::ZERO, |end| last.saturating_duration_since(*end));
                early.max(late)
            })
            .min()
            .unwrap()
    }
}

/// Producers that write little and much, and workers that are late by some milliseconds.
fn traffic(scene: &mut Scene, random: &mut Random, time: Duration) {
    let end = scene.clock.now() + time;
    let mut late = Random::new(random.next());
    while scene.clock.now() < end {
        let burst = if random.one_in(10) { 50 } else { 1 };
        for _ in 0..burst {
            let len = random.pick(&[0, 10, 50, 200]);
            scene.write(random.below(PRODUCERS), len);
        }
        let pause = random.pick(&[1, 20, 500, 5000]);
        let pause = MS * random.below(pause as usize) as u32;
        scene.run(pause, &mut || MS * late.below(15_usize) as u32);
    }
}

#[test]
fn no_record_is_outside_of_its_period_by_more_than_the_skew() {
    let (mut records, mut files, mut most) = (0, 0, Duration::ZERO);
    for seed in 0..10 {
        let mut random = Random::new(seed);
        let workers = 1 + random.below(3_usize);
        let config = Config::default().workers(workers).rotate_at(Boundary::Minutes(1));
        let mut scene = Scene::new(config.queue_size(200).file_size(random.pick(&[2000, 1 << 30])));
        for _ in 0..20 {
            traffic(&mut scene, &mut random, SECOND * 70);
            // Half of the time the clock stays as it is.
            let seconds = random.pick(&[0, 0, 0, 1, -1, 61, -61, 3600, -86_400]);
            scene.set(seconds * SECOND.as_nanos() as i64);
        }
        scene.close();
        let minutes = scene.crossings.len();
        assert!(scene.files.len() > minutes / 2, "{} files, {minutes} minutes", scene.files.len());
        let skews = scene.files.iter().map(|file| scene.skew(file));
        most = most.max(skews.max().unwrap());
        (records, files) = (records + scene.accepted.len(), files + scene.files.len());
    }
    println!("{records} records in {files} files; the most that one is outside is {most:?}");
    assert!(most > Duration::ZERO && most <= SKEW_MAX, "{most:?}");
}

#[test]
fn at_a_boundary_all_is_published_and_later_boundaries_stay() {
    let mut scene = Scene::each_minute();
    (0..PRODUCERS).for_each(|producer| scene.write(producer, 1));
    scene.go_on(MINUTE - MS);
    assert!(scene.files.is_empty());
    scene.write(0, 1);
    scene.go_on(MS);
    assert_eq!(scene.files, [vec![0, 1, 2, 3, 4, 5]]);
    // Half a minute late: what waits in memory counts for the next minute.
    scene.write(0, 1);
    scene.go_on(MINUTE - MS);
    scene.pass(SECOND * 30);
    scene.write(0, 1);
    scene.go_on(SECOND * 30);
    assert_eq!(scene.files.len(), 1);
    scene.go_on(MS);
    assert_eq!(scene.files[1..], [vec![6, 7]]);
    scene.close();
}

#[test]
fn what_a_worker_that_hung_had_not_looked_at_counts_for_the_period_in_which_it_comes_back() {
    for hung in [MS * 101, SECOND * 5, MINUTE * 3] {
        let mut scene = Scene::each_minute();
        // More than a chunk: the worker takes the first one.
        scene.write(0, 50);
        scene.write(0, 50);
        scene.go_on(MINUTE - MS * 101);
        assert!(scene.files.is_empty());
        scene.pass(MS);
        scene.write(1, 50);
        scene.pass(MS * 100 + hung);
        scene.write(2, 50);
        scene.go_on(MS * 200);
        assert_eq!(scene.files, [vec![0]], "only this was in its file");
        scene.go_on(MINUTE);
        assert_eq!(scene.files[1..], [vec![1, 2, 3]]);
        scene.close();
    }
}

#[test]
fn a_worker_that_is_late_by_less_than_the_skew_takes_all() {
    let mut scene = Scene::each_minute();
    scene.write(0, 1);
    scene.go_on(MINUTE - SECOND);
    scene.pass(SECOND);
    scene.write(1, 1);
    scene.pass(SKEW_MAX);
    scene.go_on(Duration::ZERO);
    assert_eq!(scene.files, [vec![0, 1]]);
    scene.close();
}

#[test]
fn a_clock_that_is_set_ends_a_period_in_time_and_each_only_once() {
    let mut scene = Scene::each_minute();
    let hour = 3600 * SECOND.as_nanos() as i64;
    for (round, step) in [hour, -hour, 30 * hour, -hour / 2, 1, -1].into_iter().enumerate() {
        scene.write(0, 1);
        scene.go_on(SECOND);
        assert_eq!(scene.files.len(), round.min(4));
        scene.set(step);
        scene.go_on(SKEW_MAX);
        // A nanosecond leads to no other minute.
        assert_eq!(scene.files.len(), (round + 1).min(4));
    }
    scene.close();
    assert_eq!(scene.files.len(), 5);
}

#[test]
fn a_clock_that_goes_to_and_fro_over_a_boundary_makes_no_file_without_a_record() {
    let mut scene = Scene::each_minute();
    scene.go_on(MINUTE);
    for round in 0..100 {
        if round % 10 == 0 {
            scene.write(0, 1);
        }
        scene.set(if round % 2 == 0 { -30 } else { 30 } * SECOND.as_nanos() as i64);
        scene.go_on(MS * 90);
    }
    assert_eq!(scene.files.len(), 10);
    scene.close();
}

#[test]
fn a_disk_that_fails_over_boundaries_frees_memory_and_one_file_takes_it_all() {
    let mut scene = Scene::each_minute();
    scene.write(0, 1);
    scene.go_on(SECOND);
    let fault = DiskFault::Error(Errno::IO, 0);
    scene.fs.fail(Some(FaultPlan { op: Some(Op::Rename), fault, after: 0, times: None }));
    for _ in 0..3000 {
        scene.write(0, 50);
        scene.go_on(SECOND / 10);
    }
    assert!(scene.files.is_empty());
    scene.fs.fail(None);
    scene.go_on(SECOND * 2);
    assert_eq!(scene.files.len(), 1);
    scene.write(0, 1);
    scene.go_on(MINUTE);
    assert_eq!(scene.files.len(), 2);
    scene.close();
}

#[test]
fn a_worker_without_records_sleeps_over_boundaries_and_a_late_record_waits_for_the_next() {
    let mut scene = Scene::each_minute();
    scene.write(0, 1);
    scene.go_on(MINUTE);
    assert_eq!(scene.files.len(), 1);
    scene.go_on(MS * 200);
    assert!(scene.workers[0].is_idle());
    scene.go_on(MINUTE * 5);
    assert!(scene.workers[0].is_idle());
    scene.write(0, 1);
    scene.go_on(MS * 200);
    assert_eq!(scene.files.len(), 1, "its period has just begun");
    assert!(!scene.workers[0].is_idle());
    scene.go_on(MINUTE - MS * 400);
    assert_eq!(scene.files.len(), 2);
    // The same shortly after the next boundary, which might be taken for that of the record.
    scene.go_on(MINUTE + MS * 50);
    assert!(scene.workers[0].is_idle());
    scene.write(0, 1);
    scene.go_on(MS * 200);
    assert_eq!(scene.files.len(), 2);
    scene.close();
}

#[test]
fn size_and_age_hold_too() {
    let age = Config::default().workers(1).rotate_at(Boundary::Minutes(1)).forced(SECOND * 40);
    let mut scene = Scene::new(age);
    scene.write(0, 1);
    scene.go_on(SECOND * 41);
    assert_eq!(scene.files.len(), 1, "40 s old");
    scene.write(0, 1);
    scene.go_on(SECOND * 20);
    assert_eq!(scene.files.len(), 2, "a minute is over");
    scene.close();
    let size = Config::default().workers(1).rotate_at(Boundary::Minutes(1)).file_size(150);
    let mut scene = Scene::new(size);
    (0..4).for_each(|_| scene.write(0, 50));
    scene.go_on(SECOND);
    assert_eq!(scene.files, [vec![0, 1, 2]]);
    scene.go_on(MINUTE);
    assert_eq!(scene.files.len(), 2);
    scene.close();
}

#[test]
fn without_boundaries_the_wall_clock_is_read_for_files_only() {
    for (boundary, each_round) in [(Boundary::Never, false), (Boundary::Day, true)] {
        let read = Arc::new(AtomicU64::new(0));
        let count = read.clone();
        let wall_clock = Arc::new(move || SECOND * count.fetch_add(1, SeqCst) as u32);
        let clock = Clock::new();
        let fs = MemoryFs::new(clock.clone(), "/ready", false, false);
        let config = Config::default().path("/ready").temp("/unfinished").rotate_at(boundary);
        let config = config.wall_clock(wall_clock).workers(1).fs(Arc::new(fs));
        let (handle, mut workers) = open::assemble(config, clock.now()).unwrap();
        let slot = handle.shared.slots.acquire().unwrap();
        for _ in 0..100 {
            // SAFETY: the slot is ours, and lives as long as the writer.
            let mut slot = unsafe { OwnedSlot::new(&handle.shared, &*slot) };
            accept::write(&mut slot, b"record").unwrap();
            let rest = workers[0].step(|| clock.now()).unwrap();
            workers[0].rise(rest, || clock.now());
            clock.advance(SECOND);
        }
        let (read, files) = (read.load(SeqCst), handle.stats().files);
        assert!(files > 0 && files < 20, "{files} files");
        // At the start, when a worker wakes up, and when it has published a file.
        assert_eq!(read > 1 + 2 * files, each_round, "{read} times for {files} files");
        handle.abandon();
    }
}

/// Where records of these moments belong, with `dt=%F/m=%H%M`.
fn minute_of(wall: u64) -> PathBuf {
    let at = jiff::Timestamp::from_nanosecond(wall.into()).unwrap();
    PathBuf::from(at.strftime("dt=%F/m=%H%M").to_string())
}

#[test]
fn a_record_is_in_the_partition_of_its_time_or_within_the_skew_of_the_neighbouring_one() {
    let (mut records, mut files) = (0, 0);
    for (seed, boundary) in (0..).zip([Boundary::Never, Boundary::Minutes(1), Boundary::Day]) {
        let mut random = Random::new(seed);
        let config = Config::default().workers(1 + random.below(3_usize)).rotate_at(boundary);
        let config = config.partition("dt=%F/m=%H%M").durability(Durability::File);
        let mut scene = Scene::new(config.queue_size(200).file_size(random.pick(&[2000, 1 << 30])));
        let mut walls = Vec::new();
        for _ in 0..20 {
            traffic(&mut scene, &mut random, SECOND * 70);
            // The clock as it is set now.
            let shown =
                |at: Instant| scene.clock.wall() - (scene.clock.now() - at).as_nanos() as u64;
            walls.extend(scene.accepted[walls.len()..].iter().map(|at| shown(*at)));
            let seconds = random.pick(&[0, 0, 0, 1, -1, 61, -61, 3600, -86_400]);
            scene.set(seconds * SECOND.as_nanos() as i64);
        }
        scene.close();
        let skew = SKEW_MAX.as_nanos() as u64;
        for (dir, file) in scene.dirs.iter().zip(&scene.files) {
            for &number in file {
                let (wall, at) = (walls[number], scene.accepted[number]);
                let around = [wall, wall - skew, wall + skew].map(minute_of);
                // What the clock shows once it is set is a time of the record, too.
                let set = scene
                    .crossings
                    .iter()
                    .any(|crossing| at.max(*crossing) - at.min(*crossing) <= SKEW_MAX);
                assert!(around.contains(dir) || set, "{around:?}, but it is in {dir:?}");
            }
        }
        (records, files) = (records + scene.accepted.len(), files + scene.files.len());
    }
    println!("{records} records in {files} files");
}

#[test]
fn files_of_a_partition_end_with_it_and_what_a_late_worker_takes_is_in_the_next_one() {
    let mut scene = Scene::new(Config::default().workers(1).partition("m=%H%M"));
    let dirs = |scene: &Scene| -> Vec<String> {
        scene.dirs.iter().map(|dir| dir.to_str().unwrap().to_owned()).collect()
    };
    // Less than the skew late: the file is opened in the next minute, for records of this one.
    scene.write(0, 1);
    scene.go_on(MINUTE - SECOND);
    scene.pass(SECOND + SKEW_MAX);
    scene.go_on(MS);
    assert_eq!(dirs(&scene), ["m=0000"]);
    // Half a minute late: what waits in memory counts for the next minute.
    scene.write(0, 1);
    scene.go_on(MINUTE - SKEW_MAX - MS * 102);
    scene.pass(SECOND * 30);
    scene.write(0, 1);
    scene.go_on(SECOND * 31);
    assert_eq!(
        (dirs(&scene), scene.files[1..].concat()),
        (vec!["m=0000".into(), "m=0002".into()], vec![1, 2])
    );
    scene.close();
}

#[test]
fn while_a_disk_fails_one_file_takes_what_belongs_in_later_partitions() {
    let mut scene = Scene::new(Config::default().workers(1).partition("m=%H%M"));
    let fault = DiskFault::Error(Errno::IO, 0);
    scene.fs.fail(Some(FaultPlan { op: Some(Op::CreateDir), fault, after: 0, times: None }));
    for _ in 0..1500 {
        scene.write(0, 50);
        scene.go_on(SECOND / 10);
    }
    assert!(scene.files.is_empty());
    scene.fs.fail(None);
    scene.go_on(SECOND * 2);
    assert_eq!(scene.dirs, [PathBuf::from("m=0000")]);
    scene.write(0, 1);
    scene.go_on(MINUTE);
    assert_eq!(scene.dirs[1..], [PathBuf::from("m=0002")]);
    scene.close();
}
