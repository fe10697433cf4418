//! A whole writer whose workers are stepped by hand, by a clock of its own. It shows what they do when the disk
//! fails, and how they rest.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::base::sys::Errno;
use bufferedwriter_testkit::dir::TestDir;

use crate::accept;
use crate::base::sync::lock;
use crate::config::{Config, Durability, Recorder};
use crate::file::state_file::decode;
use crate::fs::Fs;
use crate::memory::slot::owned::Borrowed;
use crate::naming::{Names, Stamp, parse_state};
use crate::report::dump::DumpOptions;
use crate::report::error::WriteError;
use crate::report::health::ErrorEvent;
use crate::report::stats::Stats;
use crate::tests::clock::Clock;
use crate::tests::fs::faulty::{Answer, Faulty, Op};
use crate::tests::fs::memory::{DiskFault, FaultPlan, MemoryFs};
use crate::worker::pace::Rest;
use crate::worker::quota::INTERVAL;
use crate::worker::round::Worker;
use crate::writer::inner::Inner;
use crate::writer::open;

const MS: Duration = Duration::from_millis(1);

/// A writer with one worker, which is stepped by hand.
struct Driven {
    handle: Inner,
    worker: Worker,
    fs: MemoryFs,
    clock: Clock,
    events: Arc<Mutex<Vec<ErrorEvent>>>,
}

impl Driven {
    fn new(config: Config) -> Self {
        let clock = Clock::new();
        let fs = MemoryFs::new(clock.clone(), "/ready", false, false);
        let events: Arc<Mutex<Vec<ErrorEvent>>> = Arc::default();
        let told = events.clone();
        let config = config
            .path("/ready")
            .temp("/unfinished")
            .workers(1)
            .file_age(Duration::ZERO)
            .drop_timeout(Duration::ZERO)
            .on_error(move |event| lock(&told).push(event.clone()))
            .fs(Arc::new(fs.clone()));
        let (handle, mut workers) = open::assemble(config, clock.now()).unwrap();
        Driven { handle, worker: workers.remove(0), fs, clock, events }
    }

    fn write(&self, record: &[u8]) {
        accept::write(&mut Borrowed::new(&self.handle.shared).unwrap().owned(), record).unwrap();
    }

    fn fail(&self, op: Op) {
        let fault = DiskFault::Error(Errno::IO, 0);
        self.fs.fail(Some(FaultPlan { op: Some(op), fault, after: 0, times: None }));
    }

    /// Steps the worker as often as it wants to, until `time` has passed.
    fn run(&mut self, time: Duration) -> Stats {
        let end = self.clock.now() + time;
        loop {
            let clock = self.clock.clone();
            let rest = self.worker.step(|| clock.now()).unwrap();
            let nap = match rest {
                Rest::Again => Duration::ZERO,
                Rest::Nap(time) | Rest::Doze(Some(time)) => time,
                Rest::Doze(None) | Rest::Sleep(_) => Duration::MAX,
            };
            self.worker.rise(rest, || clock.now());
            let left = end.saturating_duration_since(clock.now());
            clock.advance(nap.min(left));
            if nap >= left {
                return self.handle.stats();
            }
        }
    }

    /// Of each event: how long the stall lasted in milliseconds, attempts, records lost.
    fn told(&self) -> Vec<(u128, u64, u64)> {
        let told = |event: &ErrorEvent| {
            let stall = &event.stall;
            (stall.lasting.as_millis(), stall.attempts, event.lost.records)
        };
        std::mem::take(&mut *lock(&self.events)).iter().map(told).collect()
    }
}

#[test]
fn a_worker_tries_again_later_and_later_and_keeps_everything() {
    let mut driven = Driven::new(Config::default().size(4).queue_size(9));
    driven.fail(Op::Create);
    driven.write(b"a record");
    let before = driven.fs.calls().1;
    let stats = driven.run(MS * 5000);
    // After 0, 10, 30, 70, 150, 310, 630 and 1270 ms, and then each second.
    assert_eq!(driven.fs.calls().1 - before, 8 + 3);
    assert_eq!((stats.pending.records, stats.lost.total().records), (1, 0));
    assert_eq!(
        driven.told(),
        [(0, 1, 0), (1270, 8, 0), (2270, 9, 0), (3270, 10, 0), (4270, 11, 0)]
    );
    driven.fs.fail(None);
    driven.handle.ask_flush(None).unwrap();
    let stats = driven.run(MS);
    assert_eq!((stats.written.records, stats.pending.records), (1, 0));
    assert!(stats.workers[0].last_error.is_none() && driven.handle.health().is_ok());
}

#[test]
fn a_worker_gives_up_in_time_and_its_memory_serves_again() {
    let mut driven = Driven::new(Config::default().size(4).queue_size(9).give_up_after(MS * 500));
    driven.fail(Op::Create);
    driven.write(b"a record");
    assert_eq!(driven.run(MS * 499).pending.records, 1);
    let stats = driven.run(MS * 2);
    assert_eq!((stats.pending.records, stats.lost.gave_up.records), (0, 1));
    assert_eq!((stats.lost.gave_up.bytes, stats.memory_bytes), (8, 0));
    assert_eq!(driven.told(), [(0, 1, 0), (500, 7, 1)]);
    // The stall lasts: nobody waits for that time again, but a try comes first.
    let before = driven.fs.calls().1;
    driven.run(MS * 1000);
    driven.write(b"another one");
    let stats = driven.run(MS);
    assert_eq!((stats.lost.gave_up.records, driven.fs.calls().1 - before), (2, 1));
    assert!(driven.told().iter().all(|&(_, _, lost)| lost == 1));
    // It is over: what comes is written, and the next stall starts from zero.
    driven.fs.fail(None);
    driven.run(MS * 1000);
    driven.write(b"a third");
    let stats = driven.run(MS * 1000);
    assert_eq!(stats.workers[0].temp_file_bytes, 7);
    driven.fail(Op::Write);
    driven.write(b"a fourth");
    let stats = driven.run(MS * 499);
    assert_eq!((stats.pending.records, stats.lost.gave_up.records), (2, 2));
    let stats = driven.run(MS * 2);
    assert_eq!((stats.pending.records, stats.lost.gave_up.records), (1, 3));
    assert_eq!(stats.workers[0].temp_file_bytes, 7, "what is in a file stays");
}

#[test]
fn what_no_fsync_covers_does_not_appear_once_it_is_given_up() {
    for io in [crate::config::Io::Direct, crate::config::Io::Buffered] {
        let config = Config::default().size(4).queue_size(19).durability(Durability::File).io(io);
        let mut driven = Driven::new(config.give_up_after(MS * 500));
        driven.write(b"synced, since nothing more comes. ");
        driven.run(MS * 1000);
        // Enough for a write, and not long enough ago for a sync.
        driven.write(b"in the file, with no fsync that covers it. ");
        let stats = driven.run(MS);
        assert_eq!(stats.workers[0].temp_file_bytes, 34 + 43);
        driven.fail(Op::Write);
        driven.write(b"nowhere. ");
        let stats = driven.run(MS * 1000);
        assert_eq!((stats.lost.gave_up.records, stats.pending.records), (2, 1), "{io:?}");
        assert_eq!((stats.workers[0].temp_file_bytes, stats.memory_bytes), (34, 0));
        driven.fs.fail(None);
        driven.write(b"afterwards. ");
        driven.handle.ask_flush(None).unwrap();
        driven.run(MS * 1000);
        let appeared = driven.fs.appeared().concat();
        let expected = "synced, since nothing more comes. afterwards. ";
        assert_eq!(String::from_utf8(appeared).unwrap(), expected, "{io:?}");
    }
}

#[test]
fn a_file_that_can_not_be_renamed_takes_what_comes() {
    let config = Config::default().size(64).queue_size(3).file_size(64).give_up_after(MS);
    let mut driven = Driven::new(config);
    driven.fail(Op::Rename);
    let mut written = 0;
    for _ in 0..200 {
        driven.write(&[b'x'; 100]);
        written += 100;
        let stats = driven.run(MS * 5);
        assert_eq!((stats.workers[0].temp_file_bytes, stats.memory_bytes), (written, 0));
    }
    let stats = driven.handle.stats();
    assert_eq!((stats.lost.total().records, stats.pending.records), (0, 200));
    let stall = driven.handle.health().stalls.remove(0);
    assert_eq!(stall.held_in_file, stats.pending);
    let begin = format!("rename {}", Path::new("/unfinished").join(".").display());
    assert!(stall.error.to_string().starts_with(&begin), "{}", stall.error);
    // A second between two tries.
    assert!(stall.attempts < 10, "{stall}");
    driven.fs.fail(None);
    let stats = driven.run(MS * 1000);
    assert_eq!((stats.written.records, stats.files), (200, 1));
}

/// A writer with one worker, which is stepped by hand.
fn assemble(config: Config, dir: &TestDir, now: Instant) -> (Inner, Worker) {
    let config = config.path(dir.path()).temp(dir.path()).workers(1);
    let config = config.drop_timeout(Duration::ZERO);
    let (handle, mut workers) = open::assemble(config, now).unwrap();
    (handle, workers.remove(0))
}

fn write(handle: &Inner, record: &[u8]) {
    accept::write(&mut Borrowed::new(&handle.shared).unwrap().owned(), record).unwrap();
}

#[test]
fn a_caller_that_was_refused_and_is_gone_keeps_nobody_awake() {
    let mut driven = Driven::new(Config::default().size(4).queue_size(9));
    let shared = driven.handle.shared.clone();
    // Never comes back, so there is never as much as was wanted.
    shared.pool.pop(&shared.arena, 0).unwrap();
    let large = [b'x'; 40];
    let refused = accept::write(&mut Borrowed::new(&shared).unwrap().owned(), &large);
    assert_eq!(refused, Err(WriteError::Full));
    let clock = driven.clock.clone();
    let first = driven.worker.step(|| clock.now()).unwrap();
    assert!(matches!(first, Rest::Nap(_)), "it looks for memory: {first:?}");
    driven.run(MS * 150);
    let rest = driven.worker.step(|| clock.now()).unwrap();
    assert!(matches!(rest, Rest::Sleep(None) | Rest::Doze(None)), "nobody waits: {rest:?}");
    // Whoever comes back is heard again.
    let refused = accept::write(&mut Borrowed::new(&shared).unwrap().owned(), &large);
    assert_eq!(refused, Err(WriteError::Full));
    assert!(shared.mailboxes[0].parker.is_woken() && shared.has_demand());
}

#[test]
fn no_nap_goes_on_beyond_the_age() {
    for (age, wanted) in [(1_100, 0), (8_000, 4)] {
        let (dir, began) = (TestDir::new(), Instant::now());
        let age = Duration::from_micros(age);
        let config = Config::default().size(2).queue_size(3).forced(age);
        let (handle, mut worker) = assemble(config, &dir, began);
        // A large one is pushed at once.
        write(&handle, if wanted == 0 { b"pushed" } else { b"-" });
        handle.shared.starve(wanted);
        let mut now = began;
        while handle.stats().files == 0 {
            let rest = worker.step(|| now).unwrap();
            worker.rise(rest, || now);
            let (Rest::Nap(time) | Rest::Doze(Some(time))) = rest else { panic!("{rest:?}") };
            assert!(now <= began + age, "{:?} of {age:?}", now - began);
            now += time;
        }
    }
}

#[test]
fn who_is_given_up_at_a_file_that_may_not_grow_ends() {
    let (fs, dir, now) = (Faulty::default(), TestDir::new(), Instant::now());
    let config = Config::default().size(1).fs(Arc::new(fs.clone()));
    let (handle, mut worker) = assemble(config, &dir, now);
    write(&handle, b"first");
    worker.step(|| now).unwrap();
    write(&handle, b"second");
    (1..100).for_each(|nth| fs.plan(Op::Write, nth, Answer::Error(Errno::FBIG)));
    let before = fs.calls(Op::Write);
    // Just after it has looked what is asked for.
    worker.ledger.revoke_claims();
    worker.step(|| now).unwrap();
    assert!(fs.calls(Op::Write) < before + 10);
    handle.abandon();
    assert!(worker.step(|| now).is_none());
}

#[test]
fn a_file_without_records_that_is_gone_is_no_error() {
    let (fs, dir, now) = (Faulty::default(), TestDir::new(), Instant::now());
    let config = Config::default().size(1).durability(Durability::File).fs(Arc::new(fs.clone()));
    let (handle, mut worker) = assemble(config, &dir, now);
    fs.plan(Op::Sync, 1, Answer::Error(Errno::IO));
    write(&handle, b"record");
    let flush = handle.ask_flush(None).unwrap();
    worker.step(|| now).unwrap();
    let failed = handle.stats().workers.remove(0);
    assert_eq!(failed.last_error.unwrap().operation(), "fsync");
    std::fs::remove_file(failed.temp_file.unwrap()).unwrap();
    let later = now + crate::worker::retry::RETRY_MIN;
    worker.step(|| later).unwrap();
    assert!(handle.stats().workers[0].last_error.is_none());
    worker.step(|| later).unwrap();
    handle.wait_flushed(&flush, Some(now)).unwrap();
}

#[test]
fn nobody_wakes_up_for_it_unless_records_are_refused() {
    let (dir, now, faulty) = (TestDir::new(), Instant::now(), Faulty::default());
    let config = Config::default().path(dir.path()).temp(dir.path()).workers(2);
    let config = config.drop_timeout(Duration::ZERO).fs(Arc::new(faulty.clone()));
    let config = config.min_free(1).max_total(1000);
    let (handle, mut workers) = open::assemble(config, now).unwrap();
    let mut rests = |at| {
        [0, 1].map(|i: usize| {
            let rest = workers[i].step(|| at).unwrap();
            workers[i].rise(rest, || at);
            rest
        })
    };
    assert_eq!(rests(now + INTERVAL / 2), [Rest::Sleep(None); 2]);
    let names = Names { prefix: "".into(), extension: "log".into(), instance: 1, pid: 1 };
    let path = dir.join(names.visible(Stamp(1), 0, 1));
    fs::write(&path, [b'x'; 1000]).unwrap();
    let hour = now + Duration::from_secs(3600);
    assert_eq!(rests(hour), [Rest::Sleep(Some(INTERVAL)); 2]);
    assert!(handle.shared.is_over_quota());
    let woken_up = |i: usize| handle.shared.mailboxes[i].parker.is_woken();
    assert!(woken_up(0) && woken_up(1), "all see to it that somebody looks again");
    let soon = hour + INTERVAL / 2;
    assert_eq!(rests(soon), [Rest::Sleep(Some(INTERVAL / 2)); 2]);
    fs::remove_file(path).unwrap();
    let lists = faulty.calls(Op::List);
    assert_eq!(rests(hour + INTERVAL), [Rest::Sleep(None); 2]);
    assert_eq!(faulty.calls(Op::List), lists + 1, "one of them looks");
    assert!(!handle.shared.is_over_quota());
}

/// Their chunks would not be free sooner, since no file takes them.
#[test]
fn idle_producers_keep_their_chunks_while_the_disk_fails() {
    let mut driven = Driven::new(Config::default().size(8).queue_size(2));
    let shared = driven.handle.shared.clone();
    let [mut idle, mut busy] = [(); 2].map(|()| Borrowed::new(&shared).unwrap());
    let write = |slot: &mut Borrowed<'_>, record: &[u8]| accept::write(&mut slot.owned(), record);
    write(&mut idle, b"idle").unwrap();
    driven.fail(Op::Create);
    while write(&mut busy, b"12345678").is_ok() {}
    for _ in 0..20 {
        driven.run(MS * 20);
        assert_eq!(write(&mut busy, b"12345678"), Err(WriteError::Full));
    }
    write(&mut idle, b"more").expect("its chunk has room");
}

/// Copies of a flight recorder: a recovery takes the records from memory, or nothing.
#[test]
fn a_recovery_finds_nothing_in_a_file_of_copies() {
    for keep in [true, false] {
        let config = Config::default().size(64).recorder(Recorder::Last(640));
        let mut driven = Driven::new(config);
        driven.write(b"one\n");
        driven.fail(Op::Rename);
        let _ = driven.handle.ask_dump(DumpOptions::default().keep(keep), None);
        driven.run(MS);
        let dir = Path::new("/unfinished");
        let names = driven.fs.list(dir).unwrap();
        let state = names.iter().find(|name| parse_state(name, None).is_some()).unwrap();
        let state = decode::read(&driven.fs.read(&dir.join(state))).unwrap();
        let entry = state.entries[0].unwrap();
        assert!(entry.temp.is_some(), "a file that can't be renamed");
        assert_eq!(entry.good.count.records, u64::from(!keep));
    }
}

/// A chunk whose owner formats a record at the look is sealed soon after it, not at the next age.
#[test]
fn forced_asks_again_soon_for_a_chunk_that_it_had_to_pass_by() {
    let age = MS * 1600;
    let (dir, began) = (TestDir::new(), Instant::now());
    let config = Config::default().size(64).recorder(Recorder::Last(640)).forced(age);
    let (handle, mut worker) = assemble(config, &dir, began);
    let ring = handle.shared.ring.as_ref().unwrap();
    let mut borrowed = Borrowed::new(&handle.shared).unwrap();
    write(&handle, b"of another thread");
    accept::write(&mut borrowed.owned(), b"one").unwrap();
    let mut now = began + age;
    accept::record(borrowed.owned(), |w| {
        let rest = worker.step(|| now).unwrap();
        let Rest::Nap(time) = rest else { panic!("{rest:?}") };
        assert!(time <= age / 16, "{time:?}");
        assert_eq!(ring.depths().iter().sum::<u32>(), 1, "the other's");
        now += time;
        w.write_str("two")
    })
    .unwrap();
    let rest = worker.step(|| now).unwrap();
    assert_eq!(ring.depths().iter().sum::<u32>(), 2);
    assert!(matches!(rest, Rest::Nap(time) if time > age / 2), "{rest:?}");
    drop(borrowed);
}
