//! Promise: with `CrashProof`, a process may die at any instruction. Each record whose write returned `Ok` is in
//! exactly one file after the next recovery, whole, and in the order of its thread. That holds also if recoveries
//! are killed, one after the other.
//!
//! The test program runs itself as the processes that die. They get `kill -9` at the n-th step of the protocol, for
//! each n until a process survives, and at random moments. `BUFFEREDWRITER_KILLS=N` kills N times at random
//! (default 100).

mod order;
mod process;
mod recorder;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::Duration;

use bufferedwriter_testkit::dir::{TestDir, is_hidden, paths};
use bufferedwriter_testkit::emulated;
use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::record_set::RecordSet;
use bufferedwriter_testkit::shm;
use bufferedwriter_testkit::wait::until;

use crate::config::Compression;
use crate::tests::codec::{CODECS, envelope, records};
use crate::{Durability, Io};
pub(crate) use process::step;
use process::{Case, Page, Recording, THREADS, observe_steps};

/// Records of each thread of a process that is to come to each step.
const FEW: u32 = 25;

/// One worker, and a process for each step that it comes to.
#[test]
fn killed_at_each_step_of_the_protocol() {
    for (durability, io, codec, enclosed) in [
        (Durability::None, Io::Buffered, Compression::None, false),
        (Durability::File, Io::Direct, Compression::None, true),
        (Durability::None, Io::Direct, Compression::Doubled, false),
        (Durability::None, Io::Buffered, Compression::Gzip(1), true),
        (Durability::File, Io::Buffered, Compression::Zstd(1), true),
    ] {
        let Some(dirs) = Dirs::new() else { return };
        let mut tally = Tally::default();
        let mut random = Random::new(7);
        // In the long mode each of them. An emulator takes long to start a process.
        let stride = match std::env::var_os("BUFFEREDWRITER_KILLS") {
            Some(_) => 1,
            None if emulated::is_on() => 100,
            None => 2,
        };
        for step in (1..).step_by(stride) {
            let case = dirs.case(step as u32, step, FEW, 1, (durability, io, codec, enclosed));
            let status = wait(case.spawn("write"));
            let killed = status.signal() == Some(9);
            assert!(killed || status.code() == Some(0), "{status}");
            recover_and_check(&dirs, &case, &mut random, &mut tally);
            if !killed {
                assert!(step > 200, "only {step} steps: were they counted?");
                break;
            }
            tally.kills += 1;
        }
        println!("each step, {durability:?}, {io:?}, {codec:?}, {enclosed}: {tally:?}");
    }
}

/// Several workers, at any instruction.
#[test]
fn killed_at_random_moments() {
    let kills = std::env::var("BUFFEREDWRITER_KILLS").ok().and_then(|text| text.parse().ok());
    let Some(dirs) = Dirs::new() else { return };
    let mut tally = Tally::default();
    let mut random = Random::new(8);
    // An emulator is slow, above all to start a process.
    let (least, slower) = if emulated::is_on() { (20, 20) } else { (100, 1) };
    for kill in 0..kills.unwrap_or(least) {
        let durability = if random.below(2) == 0 { Durability::None } else { Durability::File };
        let io = if random.below(2) == 0 { Io::Buffered } else { Io::Direct };
        let codec = if random.one_in(3) { Compression::None } else { random.pick(&CODECS) };
        let (workers, enclosed) = (1 + random.below(4), random.one_in(2));
        let case = dirs.case(kill, 0, u32::MAX, workers, (durability, io, codec, enclosed));
        let mut child = case.spawn("write");
        thread::sleep(slower * Duration::from_micros(random.below(60_000)));
        child.kill().unwrap();
        assert_eq!(wait(child).signal(), Some(9));
        recover_and_check(&dirs, &case, &mut random, &mut tally);
        tally.kills += 1;
    }
    println!("random moments: {tally:?}");
}

/// What was tried.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    killed_recoveries: u64,
    acknowledged: u64,
    in_flight: u64,
}

/// Recoveries that are killed, then one that is not, then a look at everything.
fn recover_and_check(dirs: &Dirs, case: &Case, random: &mut Random, tally: &mut Tally) {
    let most = if random.below(20) == 0 { 10 } else { 2 };
    for _ in 0..random.below(most) {
        let step = 1 + random.below(8);
        let status = wait(Case { step, ..case.clone() }.spawn("recover"));
        tally.killed_recoveries += u64::from(status.signal() == Some(9));
    }
    let status = wait(Case { step: 0, ..case.clone() }.spawn("recover"));
    assert_eq!(status.code(), Some(0), "{case:?}");

    let mut seen = RecordSet::default();
    for file in dirs.visible() {
        let contents = fs::read(&file).unwrap();
        let records = records(case.codec, &envelope(case.enclosed), contents);
        seen.add(&records).unwrap_or_else(|wrong| panic!("{}: {wrong}", file.display()));
        fs::remove_file(&file).unwrap();
    }
    let accepted = Page::read(&case.page());
    for (thread, accepted) in accepted.into_iter().enumerate() {
        let found = count(&seen, case.producer(thread as u32));
        // One more may have been accepted, of which nobody was told.
        let right = found == accepted || found == accepted + 1;
        assert!(right, "thread {thread}: {accepted} accepted, {found} found; {case:?}");
        tally.acknowledged += accepted;
        tally.in_flight += found - accepted;
    }
    let producers = case.producer(0)..case.producer(THREADS);
    assert!(seen.ids().all(|id| producers.contains(&id.producer)), "a record of another process");
    let _ = fs::remove_file(case.page());
    dirs.assert_clean();
}

/// How many records of a producer there are: its first ones, since each is there once.
fn count(seen: &RecordSet, producer: u32) -> u64 {
    let count = seen.count(producer, 0..=u64::MAX);
    let first = if count == 0 { 0 } else { seen.count(producer, 0..=count - 1) };
    assert_eq!(first, count, "records of {producer} are missing");
    count
}

fn wait(mut child: Child) -> ExitStatus {
    let mut status = None;
    until("the process ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// Directories of some processes, removed at the end.
struct Dirs {
    root: TestDir,
    memory: TestDir,
}

impl Dirs {
    /// None where there is no memory to be had.
    fn new() -> Option<Self> {
        let memory = TestDir::within(shm::dir()?).kept_on_failure();
        let root = TestDir::new().kept_on_failure();
        root.dir("ready");
        root.dir("unfinished");
        Some(Dirs { root, memory })
    }

    fn case(
        &self,
        process: u32,
        step: u64,
        records: u32,
        workers: usize,
        (durability, io, codec, enclosed): (Durability, Io, Compression, bool),
    ) -> Case {
        let (root, memory) = (self.root.path().to_owned(), self.memory.path().to_owned());
        let recording = Recording::No;
        Case {
            root,
            memory,
            process,
            step,
            records,
            workers,
            durability,
            io,
            codec,
            enclosed,
            recording,
        }
    }

    fn visible(&self) -> Vec<PathBuf> {
        paths(&self.root.join("ready")).into_iter().filter(|file| !is_hidden(file)).collect()
    }

    fn assert_clean(&self) {
        let dirs = [self.root.join("ready"), self.root.join("unfinished"), self.memory.join("")];
        let left: Vec<_> = dirs.iter().flat_map(|dir| paths(dir)).collect();
        assert!(left.is_empty(), "left over: {left:?}");
    }
}
