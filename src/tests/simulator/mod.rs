//! The simulator: the shipped writer and recovery over a disk that crashes, in one thread, by a seed.
//!
//! Each seed is a disk and some lives on it. In a life a writer, a flight recorder now and then, is written to, flushed, closed or killed in the
//! middle of any call, or cut off from power. Then come recoveries, which may be killed as well, until one is not.
//! Promises, checked after each: what is visible are whole records, each once, and never empty (after a power cut:
//! with `Durability::File`). What a flush or a close said to be visible is. What was in a temp file is not lost by
//! a kill. Nothing is left over, and nothing is set aside that could be trusted. A second recovery finds nothing to
//! do.
//!
//! `BUFFEREDWRITER_SEEDS=N` tries other numbers of seeds, `BUFFEREDWRITER_SEED=S` that one alone.

mod disk;
mod files;
mod life;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use bufferedwriter_testkit::dir::is_hidden;
use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::record::Id;
use bufferedwriter_testkit::record_set::RecordSet;

use crate::config::{Compression, Durability, Envelope};
use crate::recovery::scan::Scan;
use crate::report::recovery::Recovery;
use crate::tests::clock::Clock;
use crate::tests::codec::{CODECS, envelope, records};
use crate::tests::forks;
use disk::{Crash, SimFs};
use life::{Life, Promised};

/// Worlds at a time.
const THREADS: u64 = 4;
const SEEDS: u64 = if cfg!(debug_assertions) { 1_000 } else { 10_000 };

#[test]
fn crashes_leave_whole_files_and_lose_nothing_that_was_promised() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("BUFFEREDWRITER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BUFFEREDWRITER_SEEDS").unwrap_or(SEEDS),
    };
    // Each seed is a world of its own; most of the time goes by in system calls that wait (membarrier).
    let all: Vec<Tally> = thread::scope(|scope| {
        let share = |first: u64| {
            let mine = seeds.clone().skip(first as usize).step_by(THREADS as usize);
            let is_alone = seeds.end - seeds.start == 1;
            scope.spawn(move || try_all(mine, is_alone))
        };
        let threads: Vec<_> = (0..THREADS).map(share).collect();
        threads.into_iter().map(|thread| thread.join().expect("a seed fails, see above")).collect()
    });
    let tally = all.into_iter().fold(Tally::default(), Tally::and);
    println!("{} seeds: {tally:?}", seeds.end - seeds.start);
    if seeds.end - seeds.start >= 1_000 {
        assert!(tally.is_complete());
    }
}

/// The tally of some seeds.
fn try_all(seeds: impl Iterator<Item = u64>, is_logged: bool) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        let world = World::new(seed, is_logged);
        let fs = world.fs.clone();
        if let Err(wrong) = world.run(&mut tally) {
            panic!("{}\nseed {seed}: {wrong}", fs.log());
        }
    }
    tally
}

/// What was tried.
#[derive(Debug, Default)]
struct Tally {
    lives: u64,
    kills: u64,
    power_cuts: u64,
    calls: u64,
    faults: u64,
    recoveries: u64,
    killed_recoveries: u64,
    /// Files that recoveries published.
    recovered: u64,
    acknowledged: u64,
    /// Dumps of flight recorders, and what those wrote over.
    dumps: u64,
    overwritten: u64,
}

impl Tally {
    fn and(mut self, other: Tally) -> Self {
        self.lives += other.lives;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.calls += other.calls;
        self.faults += other.faults;
        self.recoveries += other.recoveries;
        self.killed_recoveries += other.killed_recoveries;
        self.recovered += other.recovered;
        self.acknowledged += other.acknowledged;
        self.dumps += other.dumps;
        self.overwritten += other.overwritten;
        self
    }

    fn is_complete(&self) -> bool {
        let Tally { kills, power_cuts, faults, killed_recoveries, recovered, .. } = self;
        let Tally { acknowledged, dumps, overwritten, .. } = self;
        [kills, power_cuts, faults, killed_recoveries, recovered, acknowledged, dumps, overwritten]
            .iter()
            .all(|count| **count > 50)
    }
}

struct World {
    random: Random,
    clock: Clock,
    fs: SimFs,
    durability: Durability,
    codec: Compression,
    envelope: Arc<Envelope>,
    has_faults: bool,
    /// Some crash was a power cut.
    was_cut: bool,
    /// Records of all lives that were accepted, or said to be visible.
    accepted: BTreeSet<Id>,
    acknowledged: BTreeSet<Id>,
    /// Bytes that were visible or in temp files when their process died.
    noted_bytes: u64,
}

impl World {
    fn new(seed: u64, is_logged: bool) -> Self {
        let (mut random, clock) = (Random::new(seed), Clock::new());
        World {
            fs: SimFs::new(random.next(), clock.clone(), is_logged),
            clock,
            durability: random.pick(&[Durability::None, Durability::File]),
            codec: if random.one_in(2) { Compression::None } else { random.pick(&CODECS) },
            envelope: envelope(random.one_in(2)),
            has_faults: random.one_in(2),
            was_cut: false,
            accepted: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            noted_bytes: 0,
            random,
        }
    }

    fn run(mut self, tally: &mut Tally) -> Result<(), String> {
        for life in 0..1 + self.random.below(3) {
            let promised = self.live(life)?;
            tally.lives += 1;
            tally.dumps += promised.dumps;
            tally.overwritten += promised.overwritten;
            self.acknowledged.extend(&promised.acknowledged);
            self.accepted.extend(&promised.accepted);
            let crash = self.crash(tally);
            self.noted_bytes += promised.noted_bytes;
            self.look()?;
            self.recover(tally)?;
            self.check(crash)?;
        }
        tally.acknowledged += self.acknowledged.len() as u64;
        let (calls, faults) = self.fs.calls();
        (tally.calls, tally.faults) = (tally.calls + calls, tally.faults + faults);
        Ok(())
    }

    fn live(&mut self, number: u32) -> Result<Promised, String> {
        let fault_every = self.has_faults.then(|| self.random.pick(&[5, 20, 100]));
        let crash_in = self.random.pick(&[30, 100, 400]);
        let crash_in = (!self.random.one_in(8)).then(|| 1 + self.random.below(crash_in));
        self.fs.plan(fault_every, crash_in);
        let Self { durability, codec, envelope, fs, clock, random, .. } = self;
        match Life::begin(number, *durability, (*codec, envelope), fs, clock, random) {
            Some(life) => life.live(&mut self.random),
            None => Ok(Promised::default()),
        }
    }

    /// The process is gone. Only what is forced to the disk survives the loss of power.
    fn crash(&mut self, tally: &mut Tally) -> Option<Crash> {
        let is_dead = self.fs.is_dead();
        let cut = self.durability == Durability::File && self.random.one_in(2);
        let crash = if cut { Crash::PowerCut } else { Crash::Kill };
        self.fs.restart(crash);
        self.was_cut |= cut;
        tally.kills += u64::from(!cut && is_dead);
        tally.power_cuts += u64::from(cut);
        (cut || is_dead).then_some(crash)
    }

    /// Recoveries that are killed, and one that is not.
    fn recover(&mut self, tally: &mut Tally) -> Result<(), String> {
        for _ in 0..self.random.below(3) {
            let fault_every = self.has_faults.then_some(20);
            let crash_in = 1 + self.random.below(30);
            self.fs.plan(fault_every, Some(crash_in));
            self.recover_once();
            tally.killed_recoveries += u64::from(self.fs.is_dead());
            let cut = self.durability == Durability::File && self.random.one_in(4);
            self.was_cut |= cut;
            self.fs.restart(if cut { Crash::PowerCut } else { Crash::Kill });
            self.look()?;
        }
        let recovery = self.recover_once();
        tally.recoveries += 1;
        tally.recovered += recovery.published.len() as u64;
        ensure(recovery.errors.is_empty() && recovery.skipped.is_empty(), || {
            format!("a recovery on a sound disk: {recovery:?}")
        })?;
        let trusted = self.was_cut || self.has_faults || recovery.set_aside.is_empty();
        ensure(trusted, || format!("set aside for no reason: {recovery:?}"))?;
        let again = self.recover_once();
        ensure(again.is_empty() && again.alive == 0, || format!("a second recovery: {again:?}"))
    }

    fn recover_once(&self) -> Recovery {
        let scan = Scan {
            fs: &self.fs,
            path: Path::new("/ready"),
            temp: Path::new("/unfinished"),
            from: None,
            prefix: Some("".as_ref()),
            memory: &[],
            without_memory: false,
            dry_run: false,
        };
        let mut recovery = Recovery::default();
        if let Err(error) = forks::recover(scan, None, &mut recovery) {
            recovery.errors.push(error);
        }
        recovery
    }

    /// What is visible are whole records, each once, and in the order of their slot in each file.
    fn look(&self) -> Result<BTreeSet<Id>, String> {
        let mut seen = RecordSet::default();
        for (name, bytes) in self.fs.contents("/ready") {
            if !is_hidden(&name) {
                seen.add(&records(self.codec, &self.envelope, bytes))
                    .map_err(|wrong| format!("{name:?}: {wrong}"))?;
            }
        }
        let breaches = self.fs.breaches();
        ensure(breaches.is_empty(), || format!("{breaches:?}"))?;
        Ok(seen.ids().collect())
    }

    /// After a recovery.
    fn check(&self, crash: Option<Crash>) -> Result<(), String> {
        let seen = self.look()?;
        let strange: Vec<_> = seen.difference(&self.accepted).collect();
        ensure(strange.is_empty(), || format!("visible, and never accepted: {strange:?}"))?;
        let missing: Vec<_> = self.acknowledged.difference(&seen).collect();
        ensure(missing.is_empty(), || format!("said to be visible, and is not: {missing:?}"))?;
        if !self.was_cut && !self.has_faults {
            let files = self.fs.contents("/ready");
            let bytes: u64 = files.values().map(|bytes| bytes.len() as u64).sum();
            ensure(bytes >= self.noted_bytes, || {
                format!("{} bytes were in files, {bytes} are visible", self.noted_bytes)
            })?;
        }
        let left = self.fs.contents("/unfinished");
        // A probe that could not be removed, at a start that failed, is the one thing that may stay.
        let may_stay = |name: &PathBuf| {
            let ends = |end: &str| name.as_os_str().as_encoded_bytes().ends_with(end.as_bytes());
            ends(".aside") || self.has_faults && (ends(".pb1") || ends(".pb2"))
        };
        let left: Vec<_> = left.keys().filter(|name| !may_stay(name)).collect();
        ensure(left.is_empty(), || format!("left over after {crash:?}: {left:?}"))
    }
}

fn ensure(condition: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(wrong()) }
}
