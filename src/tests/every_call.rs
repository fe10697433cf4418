//! Every call fails: the life of a writer, again and again, with the k-th call to the disk failing.
//!
//! Real workers on a file system in memory, stepped by hand by the test's own clock. So the k-th call is the same
//! in each run, and each k is tried with each error, short writes and a call that hangs. The fault happens once, or
//! lasts until the disk is healed. Promises, checked each time: no panic. Nothing torn, empty or twice is visible.
//! The accounts balance. What was accepted lands once the disk is well. Nothing is left over.
//!
//! `BUFFEREDWRITER_FAULT_PAIRS=1` tries all pairs of faults too, which takes minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::base::sys::Errno;
use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::emulated;
use bufferedwriter_testkit::wait::BOUND;

use crate::accept;
use crate::base::sync::lock;
use crate::config::{Compression, Config, Durability, Io};
use crate::housekeeping::publications::Batch;
use crate::memory::message::Message;
use crate::memory::slot::Slot;
use crate::memory::slot::owned::{Borrowed, OwnedSlot};
use crate::report::error::Error;
use crate::tests::clock::Clock;
use crate::tests::codec::envelope;
use crate::tests::driven::Driven;
use crate::tests::fs::faulty::{Faulty, Op};
use crate::tests::fs::memory::{DiskFault, MemoryFs, Planned};
use crate::writer::inner::Inner;
use crate::writer::open;

const SIZE: usize = 64;
const PRODUCERS: usize = 2;
/// Steps of workers in one stretch of time: beyond it they don't rest.
const STEPS_MAX: usize = 20_000;
/// Longer than the longest pause after an error.
const HEALED: Duration = Duration::from_secs(3);

/// What a call may meet. Each with a name for the report.
const FAULTS: [(&str, DiskFault); 10] = [
    ("ENOSPC", DiskFault::Error(Errno::NOSPC, 0)),
    ("EIO", DiskFault::Error(Errno::IO, 5)),
    ("EROFS", DiskFault::Error(Errno::ROFS, 0)),
    ("EACCES", DiskFault::Error(Errno::ACCESS, 0)),
    ("EMFILE", DiskFault::Error(Errno::MFILE, 0)),
    ("EINTR", DiskFault::Error(Errno::INTR, 0)),
    ("EDQUOT", DiskFault::Error(Errno::DQUOT, 3)),
    ("a short write", DiskFault::Short(7)),
    ("a write of nothing", DiskFault::Short(0)),
    ("a call that hangs", DiskFault::Slow(Duration::from_secs(5))),
];

/// How a writer is set up.
#[derive(Clone, Copy, Debug)]
struct Setup {
    durability: Durability,
    io: Io,
    codec: Compression,
    /// Files have a header and a footer.
    enclosed: bool,
    /// `temp` is on another file system.
    crossing: bool,
    /// Each file gets a line in a manifest.
    manifest: bool,
    /// Files appear in directories by the minute.
    partitioned: bool,
}

const MANIFEST: &str = "/lists/.m.ndjson";

const SETUPS: [Setup; 16] = [
    setup(Durability::None, Io::Buffered, Compression::None, false),
    setup(Durability::None, Io::Direct, Compression::None, false),
    setup(Durability::File, Io::Buffered, Compression::None, false),
    setup(Durability::File, Io::Direct, Compression::None, false),
    setup(Durability::None, Io::Buffered, Compression::None, true),
    setup(Durability::File, Io::Buffered, Compression::None, true),
    setup(Durability::File, Io::Direct, Compression::Doubled, false),
    setup(Durability::None, Io::Direct, Compression::Gzip(1), false),
    setup(Durability::File, Io::Buffered, Compression::Zstd(1), false),
    setup(Durability::None, Io::Buffered, Compression::None, true).enclosed(),
    setup(Durability::File, Io::Direct, Compression::None, false).enclosed(),
    setup(Durability::File, Io::Direct, Compression::Gzip(1), false).enclosed(),
    with_manifest(Durability::None),
    with_manifest(Durability::File),
    partitioned(Durability::None, Io::Direct, Compression::None),
    partitioned(Durability::File, Io::Buffered, Compression::Zstd(1)),
];

const fn with_manifest(durability: Durability) -> Setup {
    Setup { manifest: true, ..setup(durability, Io::Buffered, Compression::None, false) }
}

const fn setup(durability: Durability, io: Io, codec: Compression, crossing: bool) -> Setup {
    let enclosed = false;
    Setup { durability, io, codec, enclosed, crossing, manifest: false, partitioned: false }
}

impl Setup {
    const fn enclosed(self) -> Self {
        Setup { enclosed: true, ..self }
    }
}

const fn partitioned(durability: Durability, io: Io, codec: Compression) -> Setup {
    Setup { partitioned: true, ..setup(durability, io, codec, false) }
}

/// A slot and the right to write through it.
struct Owned(*const Slot);

// SAFETY: all runs in one thread; this is only for what the file system does meanwhile.
unsafe impl Send for Owned {}

struct Callers {
    handle: Arc<Inner>,
    slots: [Owned; PRODUCERS],
    /// Which producer's it is, and all that was accepted.
    accepted: BTreeMap<u32, (usize, Vec<u8>)>,
    next: u32,
    refused: u64,
}

impl Callers {
    /// Writes a record of `len` bytes, or gives it away as a message. Returns whether it was accepted.
    fn write(&mut self, producer: usize, len: usize, is_message: bool) -> bool {
        let mut record = format!("{:05}:", self.next).into_bytes();
        record.resize(len - 1, b'a' + (self.next % 26) as u8);
        record.push(b'\n');
        let slot = self.slots[producer].0;
        // SAFETY: slots live as long as the writer; this one is the producer's alone.
        let mut slot = unsafe { OwnedSlot::new(&self.handle.shared, &*slot) };
        let said = if is_message {
            accept::send(&mut slot, Message::new(record.clone())).is_ok()
        } else {
            accept::write(&mut slot, &record).is_ok()
        };
        if said {
            self.accepted.insert(self.next, (producer, record));
        } else {
            self.refused += 1;
        }
        self.next += 1;
        said
    }

    /// Some records of each kind; what finds no memory is refused.
    fn write_some(&mut self) {
        for (producer, len, is_message) in
            [(0, 30, false), (0, 30, false), (1, 50, false), (0, 150, false), (1, 40, true)]
        {
            self.write(producer, len, is_message);
        }
    }

    /// The accounts balance, and say what was really accepted.
    fn look(&self) {
        let stats = self.handle.stats();
        assert_eq!(stats.accepted, stats.written + stats.pending + stats.lost.total());
        assert_eq!(stats.accepted.records, self.accepted.len() as u64);
        assert_eq!(stats.refused.total().records, self.refused);
        assert!(stats.lost.total().is_zero(), "{stats:?}");
    }
}

struct Life {
    handle: Arc<Inner>,
    fs: MemoryFs,
    clock: Clock,
    workers: Vec<Driven>,
    callers: Arc<Mutex<Callers>>,
    /// Calls to the file system at the last look.
    calls: u64,
    /// What is on its way to the manifest.
    batch: Batch,
    /// How often each record was found in a visible file.
    visible: BTreeMap<u32, u32>,
    partitioned: bool,
}

impl Life {
    fn new(setup: Setup, fs: MemoryFs, clock: Clock) -> Result<Self, Error> {
        let config = Config::default()
            .size(SIZE)
            .queue_size(12)
            .workers(2)
            .path("/ready")
            .temp("/unfinished")
            .file_size(200)
            .file_age(Duration::from_secs(1))
            .durability(setup.durability)
            .io(setup.io)
            .compression(setup.codec)
            .header(&*envelope(setup.enclosed).header)
            .footer(&*envelope(setup.enclosed).footer)
            .drop_timeout(Duration::ZERO)
            .fs(Arc::new(fs.clone()));
        let config = if setup.manifest { config.manifest(MANIFEST) } else { config };
        let config = if setup.partitioned {
            // A minute ends in the middle of the life.
            clock.shift_wall(58_500_000_000);
            config.partition("dt=%F/m=%M").wall_clock(clock.wall_clock())
        } else {
            config
        };
        let (handle, workers) = open::assemble(config, clock.now())?;
        let handle = Arc::new(handle);
        let slots = std::array::from_fn(|_| Owned(handle.shared.slots.acquire().unwrap()));
        let accepted = BTreeMap::new();
        let callers = Callers { handle: handle.clone(), slots, accepted, next: 0, refused: 0 };
        let driven = |worker| Driven::new(worker, &clock);
        let callers = Arc::new(Mutex::new(callers));
        let others = callers.clone();
        fs.meanwhile(Some(Box::new(move || lock(&others).write_some())));
        let workers = workers.into_iter().map(driven).collect();
        let (batch, visible, partitioned) = (Batch::default(), BTreeMap::new(), setup.partitioned);
        Ok(Life { handle, fs, clock, workers, callers, calls: 0, batch, visible, partitioned })
    }

    /// Lets each worker run when it wants to, or was woken, until `time` has passed. Without a limit, it returns
    /// once all workers have ended.
    fn run(&mut self, time: Option<Duration>) {
        let end = time.map(|time| self.clock.now() + time);
        for turn in 0..STEPS_MAX {
            let now = self.clock.now();
            let parker = |i: usize| &self.handle.shared.mailboxes[i].parker;
            let due = |i: usize| self.workers[i].due(parker(i), now);
            let count = self.workers.len();
            let next = (0..count).map(|i| (i + turn) % count);
            let next = next.filter_map(|i| Some((due(i)?.max(now), i))).min_by_key(|&(at, _)| at);
            match next {
                Some((at, worker)) if end.is_none_or(|end| at <= end) => {
                    self.clock.advance(at - now);
                    self.drive(worker);
                }
                _ => {
                    let left = end.and_then(|end| end.checked_duration_since(now));
                    self.clock.advance(left.unwrap_or_default());
                    return;
                }
            }
        }
        panic!("the workers don't rest");
    }

    fn drive(&mut self, worker: usize) {
        self.workers[worker].step(&self.handle.shared.mailboxes[worker].parker, &self.clock);
        self.list();
        let calls = self.fs.calls().0;
        if std::mem::replace(&mut self.calls, calls) != calls {
            self.look();
        }
    }

    /// No thread does it here.
    fn list(&mut self) {
        if let Some(publications) = self.handle.publications() {
            publications.step(&mut self.batch);
        }
    }

    /// Each file has one line, with its records.
    fn check_manifest(&self, files: u64) {
        let text = String::from_utf8(self.fs.read(Path::new(MANIFEST))).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<serde_json::Value> = lines.collect();
        let ids: BTreeSet<_> = lines.iter().map(|line| line["id"].to_string()).collect();
        assert_eq!((ids.len() as u64, lines.len() as u64), (files, files), "{text}");
        let records: u64 = lines.iter().map(|line| line["records"].as_u64().unwrap()).sum();
        assert_eq!(records, lock(&self.callers).accepted.len() as u64);
    }

    /// What is visible are whole records, each once, in the order of their producer in each file.
    fn look(&mut self) {
        let callers = lock(&self.callers);
        for (dir, content) in self.fs.appeared_in() {
            let dir = dir.strip_prefix("/ready").expect("it is visible");
            let minute = || dir.strip_prefix("dt=2027-01-01").expect("of this day");
            assert!(!self.partitioned || minute().to_str().unwrap().starts_with("m=0"), "{dir:?}");
            assert_eq!(dir.iter().count(), if self.partitioned { 2 } else { 0 }, "{dir:?}");
            let mut last = [None; PRODUCERS];
            for record in content.split_inclusive(|&byte| byte == b'\n') {
                let number =
                    record.get(..5).and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
                let number: u32 = number.unwrap_or_else(|| panic!("torn: {record:?}"));
                let (producer, expected) = &callers.accepted[&number];
                assert_eq!(record, expected, "torn");
                assert!(last[*producer] < Some(number), "out of order: {number}");
                last[*producer] = Some(number);
                let found = self.visible.entry(number).or_default();
                *found += 1;
                assert_eq!(*found, 1, "found again: {number}");
            }
        }
        assert_eq!(self.fs.breaches(), [""; 0]);
        callers.look();
    }

    fn flush(&mut self) -> bool {
        let flush = self.handle.ask_flush(None).expect("not closed");
        self.run(Some(Duration::from_millis(50)));
        self.handle.wait_flushed(&flush, Some(Instant::now())).is_ok()
    }

    /// All but the start and the end.
    fn go_on(&mut self) {
        for round in 0..5 {
            lock(&self.callers).write_some();
            self.run(Some(Duration::from_millis(2)));
            match round {
                1 => drop(self.flush()),
                // So that a file is due by its age.
                2 => self.run(Some(Duration::from_secs(2))),
                _ => {}
            }
        }
    }

    fn assert_all_visible(&self) {
        let callers = lock(&self.callers);
        assert!(self.visible.keys().eq(callers.accepted.keys()), "not all that was accepted");
    }

    /// From the healed disk to the end.
    fn end(&mut self, is_closing: bool) {
        if !is_closing {
            self.run(Some(HEALED));
            assert!(self.flush(), "{:?}", self.handle.stats());
            self.assert_all_visible();
            let stats = self.handle.stats();
            assert!(stats.workers.iter().all(|worker| worker.last_error.is_none()), "{stats:?}");
            // The memory is back, all but what a producer may hold.
            for producer in 0..PRODUCERS {
                assert!(lock(&self.callers).write(producer, SIZE, false), "no memory");
            }
            self.handle.begin_close(None);
        }
        self.run(None);
        // What failed before, and what came meanwhile.
        (0..2).for_each(|_| self.list());
        let report = self.handle.close(BOUND).expect("a clean close");
        assert_eq!((report.accepted, report.unresolved.is_zero()), (report.written, true));
        self.look();
        self.assert_all_visible();
        assert_eq!(self.fs.settled(), report.files, "the directory is not synced");
        if self.handle.publications().is_some() {
            assert_eq!(report.unacknowledged, 0);
            self.check_manifest(report.files);
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // It holds the callers, who hold the writer, which holds the file system.
        self.fs.meanwhile(None);
    }
}

/// When the disk is healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heal {
    BeforeClose,
    /// While the writer is being closed.
    AmidClose,
}

/// A whole life with these faults. How many calls it made by the close, and how many of them failed.
fn live(setup: Setup, planned: &[Planned], heal: Heal) -> (u64, usize) {
    let clock = Clock::new();
    let durable = setup.durability == Durability::File;
    let fs = MemoryFs::new(clock.clone(), "/ready", setup.crossing, durable);
    fs.set_format(setup.codec, envelope(setup.enclosed));
    fs.plan(planned);
    if let Ok(mut life) = Life::new(setup, fs.clone(), clock) {
        life.go_on();
        if heal == Heal::AmidClose {
            life.handle.begin_close(None);
            life.run(Some(Duration::from_millis(200)));
        }
        fs.plan(&[]);
        life.end(heal == Heal::AmidClose);
    } else {
        assert!(!fs.met().is_empty(), "refused on a disk that is well");
    }
    // What could not be removed may stay, once for each refusal.
    let stays = fs.met().iter().filter(|&&op| op == Op::Remove).count();
    let mut left = fs.leftovers();
    left.retain(|path| path != Path::new(MANIFEST));
    assert!(left.len() <= stays, "left over: {left:?}");
    (fs.calls().0, fs.met().len())
}

/// As `live`; says which faults they were if it panics.
fn try_live(setup: Setup, planned: &[Planned], heal: Heal) -> (u64, usize) {
    let lived = std::panic::catch_unwind(|| live(setup, planned, heal));
    lived.unwrap_or_else(|_| panic!("with {setup:?}, {planned:?}, healed {heal:?}"))
}

#[test]
fn every_call_fails_once_and_for_good() {
    let mut sum = 0;
    let is_long = std::env::var_os("BUFFEREDWRITER_FAULT_PAIRS").is_some();
    for (turn, (name, fault)) in (0_u64..).zip(FAULTS) {
        let (mut cases, mut met, mut calls) = (0, 0, 0);
        for setup in SETUPS {
            let (all, _) = try_live(setup, &[], Heal::BeforeClose);
            calls += all;
            for nth in 1..=all {
                // Without the long mode, each call meets two or three of the nine faults; of these setups, one.
                let is_more = setup.enclosed || setup.manifest || setup.partitioned;
                let step = if is_more { 9 } else { 4 } * emulated::fewer() as u64;
                if !is_long && !(nth + turn).is_multiple_of(step) {
                    continue;
                }
                for (sticky, heal) in
                    [(false, Heal::BeforeClose), (true, Heal::BeforeClose), (true, Heal::AmidClose)]
                {
                    met += try_live(setup, &[Planned { nth, fault, sticky }], heal).1;
                    cases += 1;
                }
            }
        }
        println!("{name}: {cases} cases, {calls} calls in all, the fault was met {met} times");
        let least = if is_long { calls } else { calls / emulated::fewer() as u64 };
        assert!(met as u64 >= least, "{name}: not each call met the fault");
        sum += cases;
    }
    println!("{sum} cases");
}

#[test]
fn pairs_of_calls_fail() {
    let is_long = std::env::var_os("BUFFEREDWRITER_FAULT_PAIRS").is_some();
    let (mut cases, mut met) = (0, 0);
    for setup in SETUPS {
        let (all, _) = try_live(setup, &[], Heal::BeforeClose);
        for first in 1..all {
            for second in first + 1..=all {
                let turn = (first * 31 + second) as usize;
                // Without the long mode a few of them, all over the life.
                let step =
                    if setup.enclosed || setup.manifest || setup.partitioned { 184 } else { 46 };
                let step = step * emulated::fewer();
                if !is_long && !turn.is_multiple_of(step) {
                    continue;
                }
                for i in 0..if is_long { FAULTS.len() } else { 1 } {
                    let fault = |n: usize| FAULTS[n % FAULTS.len()].1;
                    let (one, two) = (fault(turn / 23 + i), fault(turn / 7 + 3 * i));
                    let planned = [
                        Planned { nth: first, fault: one, sticky: turn & 1 == 0 },
                        Planned { nth: second, fault: two, sticky: turn & 2 == 0 },
                    ];
                    met += try_live(setup, &planned, Heal::BeforeClose).1;
                    cases += 1;
                }
            }
        }
    }
    println!("{cases} pairs, {met} faults met");
    assert!(met > cases, "most second faults were never met");
}

/// Seals `chunks` chunks and lets the worker make one round, while nobody waits for memory. Returns how often it
/// synced, and how many chunks are in use.
fn after_one_round(durability: Durability, chunks: usize) -> (usize, usize) {
    let (fs, dir, now) = (Faulty::default(), TestDir::new(), Instant::now());
    // A worker's share is 10 of 40.
    let config = Config::default().size(SIZE).queue_size(36).workers(4).durability(durability);
    let config = config.path(dir.path()).temp(dir.path()).drop_timeout(Duration::ZERO);
    let (handle, mut workers) = open::assemble(config.fs(Arc::new(fs.clone())), now).unwrap();
    let mut slot = Borrowed::new(&handle.shared).unwrap();
    let mut slot = slot.owned();
    accept::write(&mut slot, &[b'x'; SIZE]).unwrap();
    let home = slot.slot.current().home();
    (0..chunks).for_each(|_| accept::write(&mut slot, &[b'x'; SIZE]).unwrap());
    workers[home].step(|| now).unwrap();
    assert_eq!(handle.stats().workers[home].temp_file_bytes, (chunks * SIZE) as u64);
    (fs.calls(Op::Sync), handle.stats().memory_bytes / SIZE - 1)
}

#[test]
fn memory_is_free_only_once_it_is_synced_and_a_worker_syncs_before_its_share_is_used_up() {
    // The file has them, the disk not yet.
    assert_eq!(after_one_round(Durability::File, 5), (0, 5));
    assert_eq!(after_one_round(Durability::None, 5), (0, 0));
    // Nobody asked for memory or for a file: it does it of itself.
    assert_eq!(after_one_round(Durability::File, 10), (1, 0));
    assert_eq!(after_one_round(Durability::None, 10), (0, 0));
}
