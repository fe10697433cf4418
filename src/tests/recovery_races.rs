//! Two recoveries at once, each at every point of the other: together they tell of each file once.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bufferedwriter_testkit::dir::{TestDir, paths};
use bufferedwriter_testkit::os::removes_open_files;

use crate::base::sync::Mutex;
use crate::base::sync::lock;
use crate::config::Durability;
use crate::fs::Fs;
use crate::tests::forks;
use crate::tests::fs::hooked::{Answer, Call, HookedFs, Op};
use crate::tests::publishing_crash::{
    Copies, by_hand, check, copy, dying, lives, living, place, recover, start, writer,
};

/// A recovery: that of a writer, or one by hand. Returns what a hook heard.
fn either(is_writer: bool, dir: &Path, fs: Arc<dyn Fs>) -> Vec<String> {
    if !is_writer {
        by_hand(dir, None, fs);
        return Vec::new();
    }
    let (recovery, heard) = writer(dir, fs);
    assert!(recovery.errors.is_empty() && recovery.skipped.is_empty(), "{recovery:?}");
    heard
}

/// Two recoveries, the second of which runs before this call of the first. Returns what hooks heard; `None` if the
/// first one had fewer calls. Calls to the manifest do not count: its lock would only be waited for.
fn two_at_once(dir: &TestDir, nth: usize, are_writers: [bool; 2]) -> Option<Vec<String>> {
    let (place, heard) = (dir.path().to_owned(), Arc::new(Mutex::new(None)));
    let (hears, calls) = (heard.clone(), Mutex::new(0));
    let fs = HookedFs::with(move |call: &Call<'_>| {
        if call.path != place.join("lists/m") {
            *lock(&calls) += 1;
            if *lock(&calls) == nth {
                *lock(&hears) = Some(either(are_writers[1], &place, living()));
            }
        }
        if matches!(call.op, Op::Sync | Op::SyncDir) { Answer::Skip } else { Answer::Go }
    });
    let mut all = forks::without(|| either(are_writers[0], dir.path(), Arc::new(fs)));
    all.extend(lock(&heard).take()?);
    Some(all)
}

/// With `BUFFEREDWRITER_FAULT_PAIRS=1` at each call.
#[test]
fn two_recoveries_at_once_after_a_third_that_was_killed_tell_of_each_file_once() {
    // What was killed has its files open.
    if !removes_open_files() {
        return;
    }
    const WRITERS: [[bool; 2]; 3] = [[true, true], [true, false], [false, true]];
    let step = if std::env::var_os("BUFFEREDWRITER_FAULT_PAIRS").is_some() { 1 } else { 10 };
    let (dir, mut pairs) = (place(), 0);
    for (life, as_it_was) in lives(&dir, Durability::None).iter().enumerate().step_by(37) {
        copy(as_it_was.path(), dir.path());
        let deaths: Copies = Arc::new(Mutex::new(Some(Vec::new())));
        let fs = Arc::new(dying(dir.path().to_owned(), deaths.clone()));
        let (_killed, task, _) = start(dir.path(), fs);
        forks::without(|| task.run());
        let deaths = lock(&deaths).take().unwrap_or_default();
        for (death, as_it_was) in deaths.iter().enumerate().skip(life % step).step_by(step) {
            for nth in (1 + death % step..).step_by(step) {
                copy(as_it_was.path(), dir.path());
                let Some(mut heard) = two_at_once(&dir, nth, WRITERS[(death + nth / step) % 3])
                else {
                    break;
                };
                heard.extend(recover(dir.path(), living()));
                let heard: BTreeSet<_> = heard.into_iter().collect();
                assert_eq!(heard, check(dir.path()), "{life} {death} {nth}");
                pairs += 1;
            }
        }
    }
    println!("{pairs} pairs of recoveries");
    assert!(pairs > 50, "{pairs}");
}

/// One has dealt with the journals of three dead writers. Before it looks for their state files, the other one
/// publishes their temp files, notes them in the journals, and ends.
#[test]
fn no_journal_goes_in_which_another_recovery_has_noted_files() {
    let dir = place();
    let lives = lives(&dir, Durability::None);
    let has_temp = |life: &&TestDir| {
        let mut temps = paths(&life.join("temp")).into_iter();
        temps.any(|file| file.extension() == Some("tmp".as_ref()))
    };
    let mut rounds = 0;
    for as_it_was in lives.iter().filter(has_temp) {
        copy(as_it_was.path(), dir.path());
        let (place, published) = (dir.path().to_owned(), Arc::new(Mutex::new(None)));
        let (to_publish, lists) = (published.clone(), Mutex::new(0));
        let fs = HookedFs::with(move |call: &Call<'_>| {
            if call.op == Op::List && call.path == place.join("temp") {
                *lock(&lists) += 1;
                if *lock(&lists) == 2 {
                    *lock(&to_publish) = Some(by_hand(&place, None, living()));
                }
            }
            if matches!(call.op, Op::Sync | Op::SyncDir) { Answer::Skip } else { Answer::Go }
        });
        let mut heard = forks::without(|| either(true, dir.path(), Arc::new(fs)));
        heard.extend(recover(dir.path(), living()));
        assert_eq!(heard.into_iter().collect::<BTreeSet<_>>(), check(dir.path()));
        rounds += usize::from(lock(&published).expect("it lists twice") > 0);
    }
    println!("{rounds} recoveries between two looks of another one");
    assert!(rounds > 5, "{rounds}");
}
