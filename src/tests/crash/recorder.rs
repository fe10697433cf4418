//! Promise: after the death of a flight recorder with `CrashProof`, the newest records come back, each once, in each
//! producer's order, up to the last one whose write returned `Ok`. The overwritten ones are counted, at each step.

use std::cell::RefCell;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use bufferedwriter_testkit::emulated;
use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::record_set::RecordSet;

use super::process::{Case, Page, Recording, THREADS};
use super::{Dirs, observe_steps, wait};
use crate::config::Compression;
use crate::memory::arena::{Arena, Extent};
use crate::memory::ring::Ring;
use crate::report::stats::Count;
use crate::{Durability, Io};

/// Records of each thread: more than the memory holds.
const FEW: u32 = 60;

#[test]
fn a_recorder_killed_at_each_step() {
    for recording in [Recording::Releases, Recording::Keeps] {
        let Some(dirs) = Dirs::new() else { return };
        // In the long mode each of them. An emulator takes long to start a process.
        let (stride, least) = match std::env::var_os("BUFFEREDWRITER_KILLS") {
            Some(_) => (1, 20),
            None if emulated::is_on() => (50, 3),
            None => (9, 20),
        };
        let (mut kills, mut overwritten) = (0, 0);
        for step in (1..).step_by(stride) {
            let how = (Durability::None, Io::Buffered, Compression::None, false);
            let case = Case { recording, ..dirs.case(step as u32, step, FEW, 1, how) };
            let status = wait(case.spawn("write"));
            let killed = status.signal() == Some(9);
            assert!(killed || status.code() == Some(0), "{status}");
            overwritten += recover_and_check(&dirs, &case, true);
            if !killed {
                break;
            }
            kills += 1;
        }
        assert!(kills > least && overwritten > 0, "{kills} kills, {overwritten} overwritten");
        println!("each step, {recording:?}: {kills} kills, {overwritten} overwritten");
    }
}

/// At any instruction, while three threads write over what they wrote before, and some of them dump.
#[test]
fn a_recorder_killed_at_random_moments() {
    let kills = std::env::var("BUFFEREDWRITER_KILLS").ok().and_then(|text| text.parse().ok());
    let Some(dirs) = Dirs::new() else { return };
    let (mut random, mut overwritten) = (Random::new(9), 0);
    let (least, slower) = if emulated::is_on() { (10, 20) } else { (40, 1) };
    let kills = kills.unwrap_or(least);
    for kill in 0..kills {
        let recording = random.pick(&[
            Recording::Never,
            Recording::Never,
            Recording::Releases,
            Recording::Keeps,
        ]);
        let durability = random.pick(&[Durability::None, Durability::File]);
        let how = (durability, Io::Buffered, Compression::None, false);
        let case = Case { recording, ..dirs.case(kill, 0, u32::MAX, 1, how) };
        let mut child = case.spawn("write");
        thread::sleep(slower * Duration::from_micros(random.below(60_000)));
        child.kill().unwrap();
        assert_eq!(wait(child).signal(), Some(9));
        // A recovery that dies after it has removed the memory leaves its counts to nobody.
        let dies = recording != Recording::Keeps && random.one_in(3);
        if dies {
            let step = 1 + random.below(8);
            wait(Case { step, ..case.clone() }.spawn("recover"));
        }
        overwritten += recover_and_check(&dirs, &case, !dies);
    }
    assert!(overwritten > 0 || kills < 20, "nothing was overwritten");
    println!("random moments: {kills} kills, {overwritten} overwritten");
}

/// Returns how many records were overwritten. `is_counted`: no recovery was killed.
fn recover_and_check(dirs: &Dirs, case: &Case, is_counted: bool) -> u64 {
    if case.recording == Recording::Keeps {
        // Copies, of which no recovery may make another file.
        dirs.visible().iter().for_each(|file| fs::remove_file(file).unwrap());
    }
    let status = wait(Case { step: 0, ..case.clone() }.spawn("recover"));
    assert_eq!(status.code(), Some(0), "{case:?}");
    let mut seen = RecordSet::default();
    for file in dirs.visible() {
        let added = seen.add(&fs::read(&file).unwrap());
        added.unwrap_or_else(|wrong| panic!("{}: {wrong}, {case:?}", file.display()));
        fs::remove_file(&file).unwrap();
    }
    let mut accepted = Page::read(&case.page());
    accepted.resize(THREADS as usize, 0);
    let overwritten = Page::overwritten(&case.page());
    for (thread, &accepted) in accepted.iter().enumerate() {
        let producer = case.producer(thread as u32);
        let last = seen.ids().filter(|id| id.producer == producer).map(|id| id.seq).max();
        // One more may have been accepted, of which nobody was told. Other threads may have
        // overwritten a large record that was the last one.
        let end = last.map_or(0, |last| last + 1);
        let is_right = end <= accepted + 1 && (end >= accepted || overwritten > 0 || !is_counted);
        assert!(is_right, "{accepted} accepted, {end}; {case:?}");
    }
    let all: u64 = accepted.iter().sum();
    let counted = seen.records + overwritten;
    let is_all = (all..=all + u64::from(THREADS)).contains(&counted);
    assert!(is_all || !is_counted, "{all}, {counted}: {case:?}");
    assert!(seen.ids().all(|id| id.producer / THREADS == case.process));
    fs::remove_file(case.page()).unwrap();
    dirs.assert_clean();
    overwritten
}

/// Without a death: what a recovery would find at each step.
#[test]
fn a_chunk_that_is_taken_over_counts_once_at_each_step() {
    let (arena, ring) = (Rc::new(Arena::new(1, 64).unwrap()), Ring::new(1, 1));
    let sums: Rc<RefCell<Vec<Count>>> = Rc::default();
    let (seen, of) = (sums.clone(), arena.clone());
    let look = move || {
        seen.borrow_mut().push(of.overwritten_now(0) + of.committed(0).count());
    };
    observe_steps(look, || {
        for _ in 0..3 {
            arena.commit_word(0).store(Extent::new(50, 5).0, Ordering::Release);
            ring.put_back(&arena, 0);
            ring.take_over(&arena).unwrap();
        }
    });
    let expected: Vec<Count> = (1..=3).flat_map(|n| [Count::new(5 * n, 50 * n); 5]).collect();
    assert_eq!(*sums.borrow(), expected);
}
