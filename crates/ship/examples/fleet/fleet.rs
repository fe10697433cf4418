//! Hosts that finish files and ship them, an event at a time. Pauses and windows are the shipper's own (`pace.rs`).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use bufferedwriter_testkit::random::Random;

use crate::pace::{Gate, Window, backoff};
use crate::store::{Answer, Requests, Store};

/// What a fleet does, and how its shippers are set.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub hosts: usize,
    /// Of records, on each host.
    pub megabytes_per_second: f64,
    /// How many times smaller the files are.
    pub ratio: f64,
    pub file_bytes: u64,
    pub file_age: f64,
    /// All files end at the same time, as with `--rotate-at`.
    pub at_the_clock: bool,
    pub concurrency: usize,
    /// Longer files go in parts of `part` bytes.
    pub multipart: u64,
    pub part: u64,
    pub backoff_max: Duration,
    pub pauses: Pauses,
    /// Partitions below which files go at the same time.
    pub prefixes: usize,
    /// Of one host.
    pub uplink_bytes_per_second: f64,
    /// Seconds that are simulated.
    pub time: f64,
    /// Seconds in which the store is away.
    pub away: std::ops::Range<f64>,
    pub seed: u64,
}

/// Who waits after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pauses {
    /// The file alone; others are tried meanwhile.
    OfFile,
    /// The host, as the shipper does.
    OfHost,
    /// The host, always as long as the bound says.
    WithoutJitter,
}

impl Default for Scenario {
    fn default() -> Self {
        Scenario {
            hosts: 1000,
            megabytes_per_second: 10.0,
            ratio: 8.0,
            file_bytes: 128 << 20,
            file_age: 300.0,
            at_the_clock: false,
            concurrency: 4,
            multipart: 16 << 20,
            part: 16 << 20,
            backoff_max: Duration::from_secs(30),
            pauses: Pauses::OfHost,
            prefixes: 1,
            uplink_bytes_per_second: 125e6,
            time: 1800.0,
            away: 0.0..0.0,
            seed: 1,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub requests: Requests,
    /// Attempts in each second.
    pub attempts: Vec<u32>,
    pub files: u64,
    pub stored: u64,
    pub bytes: u64,
    pub record_bytes: f64,
    /// Seconds from a write until its file is an object, of half the records and of 99 %.
    pub median: f64,
    pub p99: f64,
    /// Most bytes of one host that waited.
    pub waiting_bytes: u64,
    /// Seconds from the return of the store until what had ended before was there.
    pub catch_up: f64,
}

#[derive(Clone, Copy, Debug)]
struct File {
    begin: f64,
    end: f64,
    bytes: u64,
    attempts: u32,
    /// An attempt failed: ask first.
    asks: bool,
    is_stored: bool,
}

struct Host {
    ready: VecDeque<File>,
    in_flight: usize,
    window: Window,
    gate: Gate,
    waiting_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    FileEnds { begin: f64 },
    AttemptEnds(File, Answer),
    PauseEnds(Option<File>),
}

/// In the order of time, then of their making.
struct Due {
    at: f64,
    number: u64,
    host: usize,
    event: Event,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.total_cmp(&other.at).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

pub struct Fleet<'a> {
    scenario: &'a Scenario,
    hosts: Vec<Host>,
    store: Store,
    events: BinaryHeap<Reverse<Due>>,
    number: u64,
    random: Random,
    /// Where the shipper's time begins. Only differences count.
    origin: Instant,
    delays: Vec<f32>,
    outcome: Outcome,
}

impl<'a> Fleet<'a> {
    /// Runs until everything is stored.
    pub fn run(scenario: &'a Scenario) -> Outcome {
        let host = || Host {
            ready: VecDeque::new(),
            in_flight: 0,
            window: Window::new(scenario.concurrency),
            gate: Gate::default(),
            waiting_bytes: 0,
        };
        let requests = Requests::default();
        let mut fleet = Fleet {
            hosts: (0..scenario.hosts).map(|_| host()).collect(),
            store: Store::new(scenario.prefixes, scenario.away.clone(), scenario.seed ^ 1),
            events: BinaryHeap::new(),
            number: 0,
            random: Random::new(scenario.seed),
            origin: Instant::now(),
            delays: Vec::new(),
            outcome: Outcome {
                requests,
                attempts: Vec::new(),
                files: 0,
                stored: 0,
                bytes: 0,
                record_bytes: 0.0,
                median: 0.0,
                p99: 0.0,
                waiting_bytes: 0,
                catch_up: 0.0,
            },
            scenario,
        };
        for host in 0..scenario.hosts {
            // Hosts have started at some time or other.
            let age = if scenario.at_the_clock { 0.0 } else { fleet.share() * fleet.file_time() };
            fleet.at(fleet.file_time() - age, host, Event::FileEnds { begin: -age });
        }
        while let Some(Reverse(due)) = fleet.events.pop() {
            fleet.happens(due);
        }
        fleet.ended()
    }

    fn at(&mut self, at: f64, host: usize, event: Event) {
        self.number += 1;
        self.events.push(Reverse(Due { at, number: self.number, host, event }));
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        (self.random.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Seconds that a host takes for a file.
    fn file_time(&self) -> f64 {
        let Scenario { file_bytes, file_age, .. } = *self.scenario;
        (file_bytes as f64 / self.bytes_per_second()).min(file_age)
    }

    /// On the disk of each host.
    fn bytes_per_second(&self) -> f64 {
        self.scenario.megabytes_per_second * 1e6 / self.scenario.ratio
    }

    fn happens(&mut self, Due { at: now, host, event, .. }: Due) {
        match event {
            Event::FileEnds { begin } => self.file_ends(host, begin, now),
            Event::AttemptEnds(file, answer) => self.attempt_ends(host, file, answer, now),
            Event::PauseEnds(file) => self.hosts[host].ready.extend(file),
        }
        self.fill(host, now);
    }

    fn file_ends(&mut self, host: usize, begin: f64, now: f64) {
        let bytes = ((now - begin) * self.bytes_per_second()) as u64;
        let file = File { begin, end: now, bytes, attempts: 0, asks: false, is_stored: false };
        let waits = &mut self.hosts[host];
        waits.ready.push_back(file);
        waits.waiting_bytes += bytes;
        self.outcome.waiting_bytes = self.outcome.waiting_bytes.max(waits.waiting_bytes);
        self.outcome.files += 1;
        self.outcome.bytes += bytes;
        self.outcome.record_bytes += bytes as f64 * self.scenario.ratio;
        if now + self.file_time() <= self.scenario.time {
            self.at(now + self.file_time(), host, Event::FileEnds { begin: now });
        }
    }

    /// Starts as many attempts as may run.
    fn fill(&mut self, host: usize, now: f64) {
        loop {
            let time = self.time(now);
            let state = &mut self.hosts[host];
            let most = state.gate.files(&state.window, time);
            if state.in_flight >= most {
                return;
            }
            let Some(mut file) = state.ready.pop_front() else { return };
            state.in_flight += 1;
            let (answer, takes) = self.attempt(&mut file, host, now);
            self.at(now + takes.as_secs_f64(), host, Event::AttemptEnds(file, answer));
        }
    }

    fn attempt(&mut self, file: &mut File, host: usize, now: f64) -> (Answer, Duration) {
        let mut asked = Duration::ZERO;
        if file.asks {
            let (answers, takes) = self.store.head(now);
            if !answers {
                return (Answer::Away, takes);
            }
            if file.is_stored {
                return (Answer::Stored, takes);
            }
            asked = takes;
        }
        let Scenario { multipart, part, prefixes, .. } = *self.scenario;
        // One to begin, one to end.
        let writes = if file.bytes > multipart { 2 + file.bytes.div_ceil(part) } else { 1 };
        let share = self.scenario.uplink_bytes_per_second / self.hosts[host].in_flight as f64;
        let transfer = Duration::from_secs_f64(file.bytes as f64 / share);
        let (answer, takes) = self.store.put(now, host % prefixes, writes, transfer);
        if matches!(answer, Answer::Stored | Answer::Lost) {
            file.is_stored = true;
            self.outcome.stored += 1;
        }
        (answer, asked + takes)
    }

    fn attempt_ends(&mut self, host: usize, mut file: File, answer: Answer, now: f64) {
        let (time, random) = (self.time(now), self.random.next());
        let state = &mut self.hosts[host];
        state.in_flight -= 1;
        if answer == Answer::Stored {
            state.window.succeeded();
            state.gate.succeeded();
            state.waiting_bytes -= file.bytes;
            let written = file.begin + (file.end - file.begin) * self.share();
            self.delays.push((now - written) as f32);
            if file.end <= self.scenario.away.end {
                self.outcome.catch_up = self.outcome.catch_up.max(now - self.scenario.away.end);
            }
            return;
        }
        if answer == Answer::Refused {
            state.window.throttled(time);
        }
        file.attempts += 1;
        file.asks = true;
        let max = self.scenario.backoff_max;
        let random = if self.scenario.pauses == Pauses::WithoutJitter { u64::MAX } else { random };
        if self.scenario.pauses == Pauses::OfFile {
            let pause = backoff(file.attempts, max, random).as_secs_f64();
            return self.at(now + pause, host, Event::PauseEnds(Some(file)));
        }
        state.ready.push_front(file);
        let until = state.gate.failed(time, max, random);
        let until = until.duration_since(self.origin).as_secs_f64();
        self.at(until.max(now), host, Event::PauseEnds(None));
    }

    fn time(&self, now: f64) -> Instant {
        self.origin + Duration::from_secs_f64(now.max(0.0))
    }

    fn ended(mut self) -> Outcome {
        self.delays.sort_by(f32::total_cmp);
        let at = |share: f64| {
            let nth = (self.delays.len() as f64 * share) as usize;
            self.delays.get(nth).map_or(0.0, |delay| f64::from(*delay))
        };
        let (median, p99) = (at(0.5), at(0.99));
        let Store { requests, attempts, .. } = self.store;
        Outcome { requests, attempts, median, p99, ..self.outcome }
    }
}
