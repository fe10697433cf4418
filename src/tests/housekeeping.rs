//! Which files retention deletes, and which it does not, whatever fails and whoever moves things meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::sys::Errno;
use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::emulated::fewer;
use bufferedwriter_testkit::os::{chown, makes_links, symlink};

use crate::config::{Retain, WallClock};
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::housekeeping::journal::waiting::Waiting;
use crate::housekeeping::retention::{Outcome, Protection, Retention};
use crate::naming::{Names, Stamp};
use crate::report::error::Error;
use crate::tests::fs::faulty::{Answer, Faulty, Op};
use crate::tests::fs::hooked::{Call, HookedFs};
use crate::tests::fs::{fifo, is_root};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_795_376_430 * SECOND;

fn names(prefix: &str) -> Names {
    Names { prefix: prefix.into(), extension: "log".into(), instance: 0xfeed, pid: 1 }
}

/// The file of this age in seconds.
fn file(dir: &Path, age: u64) -> PathBuf {
    dir.join(names("p_").visible(Stamp(NOW - age * SECOND), 0, age))
}

fn put(dir: &Path, age: u64) -> PathBuf {
    let file = file(dir, age);
    fs::write(&file, "x").unwrap();
    file
}

/// Directories of two levels below a directory, with a file of each age from 1 to 9 in one of them.
struct Tree {
    dir: TestDir,
    path: PathBuf,
}

impl Tree {
    fn new() -> Self {
        let dir = TestDir::new();
        let path = dir.dir("path");
        for below in ["dt=1/h=1", "dt=1/h=2", "dt=2/h=1"] {
            fs::create_dir_all(path.join(below)).unwrap();
        }
        let tree = Tree { dir, path };
        (1..=9).for_each(|age| drop(put(&tree.place(age), age)));
        tree
    }

    /// The directory of the file of this age.
    fn place(&self, age: u64) -> PathBuf {
        let below = match age {
            7..=9 => "dt=1/h=1",
            5..=6 => "dt=1/h=2",
            4 => "",
            _ => "dt=2/h=1",
        };
        self.path.join(below)
    }

    /// The ages of the files that are there.
    fn ages(&self) -> Vec<u64> {
        (1..=9).filter(|&age| file(&self.place(age), age).exists()).collect()
    }

    fn retention(&self, fs: Arc<dyn Fs>, files: u64) -> Retention {
        let clock = WallClock(Some(Arc::new(|| Duration::from_nanos(NOW))));
        Retention {
            fs,
            path: self.path.clone(),
            depth: 2,
            names: Names { instance: 1, ..names("p_") },
            by_len: false,
            rules: Retain { files, ..Retain::default() },
            clock,
            protection: Box::new(|| Ok(None)),
        }
    }
}

/// A pass, and the number of files that it deleted.
fn pass(retention: &Retention) -> (Outcome, u64) {
    let mut count = 0;
    let outcome = retention.pass(&|| false, &mut |_| count += 1);
    (outcome, count)
}

fn clean_pass(retention: &Retention) -> u64 {
    let (outcome, count) = pass(retention);
    assert!(outcome.error.is_none(), "{outcome:?}");
    count
}

#[test]
fn the_oldest_go_first_over_all_directories() {
    let second = Duration::from_secs(1);
    let block = || {
        let tree = Tree::new();
        RealFs.facts(&file(&tree.place(1), 1)).unwrap().unwrap().allocated
    };
    let block = block();
    for (rules, left) in [
        (Retain { files: 9, ..Retain::default() }, 9),
        (Retain { files: 4, ..Retain::default() }, 4),
        (Retain { files: 1, ..Retain::default() }, 1),
        (Retain { bytes: block * 3, ..Retain::default() }, 3),
        (Retain { bytes: block * 3 - 1, ..Retain::default() }, 2),
        // The newest file stays, however large it is; but not if it is too old.
        (Retain { bytes: 1, ..Retain::default() }, 1),
        (Retain { age: second * 6, ..Retain::default() }, 5),
        (Retain { age: second, ..Retain::default() }, 0),
        (Retain { files: 5, bytes: block * 7, age: second * 7, ..Retain::default() }, 5),
        (Retain { files: 7, bytes: block * 5, age: second * 7, ..Retain::default() }, 5),
        (Retain { files: 7, bytes: block * 7, age: second * 6, ..Retain::default() }, 5),
    ] {
        let tree = Tree::new();
        let retention = Retention { rules, ..tree.retention(Arc::new(RealFs), 0) };
        assert_eq!(clean_pass(&retention), 9 - left, "{rules:?}");
        assert_eq!(tree.ages(), (1..=left).collect::<Vec<_>>(), "{rules:?}");
        assert_eq!(clean_pass(&retention), 0);
    }
    // Where the file system reports no blocks, lengths are all there is.
    let tree = Tree::new();
    let rules = Retain { bytes: 3, ..Retain::default() };
    let retention = Retention { rules, by_len: true, ..tree.retention(Arc::new(RealFs), 0) };
    assert_eq!((clean_pass(&retention), tree.ages().len()), (6, 3));
}

#[test]
fn directories_that_became_empty_go_and_no_others() {
    let tree = Tree::new();
    tree.dir.dir("path/empty");
    fs::write(tree.path.join("dt=1/h=2/note"), "mine").unwrap();
    assert_eq!(clean_pass(&tree.retention(Arc::new(RealFs), 4)), 5);
    let there = |below: &str| tree.path.join(below).exists();
    assert!(!there("dt=1/h=1") && there("dt=1/h=2/note") && there("empty"));
    fs::remove_file(tree.path.join("dt=1/h=2/note")).unwrap();
    put(&tree.path.join("dt=1/h=2"), 10);
    assert_eq!(clean_pass(&tree.retention(Arc::new(RealFs), 4)), 1);
    assert!(!there("dt=1") && there("dt=2/h=1"));
    let rules = Retain { age: Duration::from_secs(1), ..Retain::default() };
    clean_pass(&Retention { rules, ..tree.retention(Arc::new(RealFs), 0) });
    assert_eq!(fs::read_dir(&tree.path).unwrap().count(), 1, "the empty one of somebody else");
}

/// All that is not a file of ours stays, and neither is anything outside looked at.
#[test]
fn nothing_else_is_touched() {
    let tree = Tree::new();
    let (path, outside) = (&tree.path, tree.dir.dir("outside"));
    let age = 1000;
    let mut stay = vec![put(&outside, age), put(&outside, age + 1)];
    let stamp = Stamp(SECOND);
    for (dir, name) in [
        (path, names("p_").temp(stamp, 0, 1)),
        (path, names("p_").state()),
        (path, names("q_").visible(stamp, 0, 1)),
        (path, names("").visible(stamp, 0, 1)),
        (path, Names { extension: "gz".into(), ..names("p_") }.visible(stamp, 0, 1)),
        (path, "p_.log".into()),
    ] {
        stay.push(dir.join(name));
        fs::write(stay.last().unwrap(), "mine").unwrap();
    }
    // One level deeper than files are.
    let deep = path.join("dt=1/h=1/m=1");
    fs::create_dir(&deep).unwrap();
    stay.push(put(&deep, age));
    // Where no partition is.
    for other in [".hidden", "_other", "dt=1/.hidden"] {
        fs::create_dir(path.join(other)).unwrap();
        stay.push(put(&path.join(other), age));
    }
    // Names of ours that are no files.
    let odd = [path.join("dt=2"), path.clone(), path.join("dt=2/h=1")].map(|dir| file(&dir, age));
    fifo(&odd[1]);
    fs::create_dir(&odd[2]).unwrap();
    stay.extend_from_slice(&odd[1..]);
    if makes_links() {
        symlink(&stay[0], &odd[0]).unwrap();
        symlink(&outside, path.join("dt=0")).unwrap();
        stay.extend([odd[0].clone(), path.join("dt=0")]);
    }
    if is_root() {
        let foreign = put(path, age + 2);
        chown(&foreign, Some(1), None).unwrap();
        stay.push(foreign);
    }
    assert_eq!(clean_pass(&tree.retention(Arc::new(RealFs), 1)), 8);
    assert_eq!(tree.ages(), [1]);
    for path in stay {
        assert!(fs::symlink_metadata(&path).is_ok(), "{}", path.display());
    }
}

/// Somebody puts a link to another directory in the place of one, at each moment after it was listed.
#[test]
fn a_directory_that_is_swapped_for_a_link_leads_nowhere_else() {
    for (op, nth) in [(Op::OpenDir, 2), (Op::OpenDir, 3), (Op::Facts, 2), (Op::Remove, 1)] {
        for swapped in ["dt=1", "dt=1/h=1"] {
            let tree = Tree::new();
            let outside = tree.dir.dir("outside");
            fs::create_dir(outside.join("h=1")).unwrap();
            let theirs = [&outside, &outside.join("h=1")].map(|dir| put(dir, 9));
            let (place, aside) = (tree.path.join(swapped), tree.dir.join("aside"));
            let (victim, count) = (file(&tree.place(9), 9), AtomicU64::new(0));
            let at = if op == Op::OpenDir { place.clone() } else { victim };
            let link = outside.clone();
            let fs = HookedFs::with(move |call: &Call<'_>| {
                if call.op == op
                    && call.path == at
                    && count.fetch_add(1, Ordering::SeqCst) + 1 == nth
                {
                    // On Windows an open directory can't be renamed.
                    match fs::rename(&place, &aside) {
                        Ok(()) => symlink(&link, &place).unwrap(),
                        Err(_) if cfg!(windows) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                Answer::Go
            });
            let outcome = pass(&tree.retention(Arc::new(fs), 8)).0;
            assert!(outcome.error.is_none(), "{op:?} {outcome:?}");
            assert!(theirs.iter().all(|file| file.exists()), "{swapped} at {op:?}");
        }
    }
}

/// Each call fails once, or its answer is lost. The error names it, nothing goes that should stay, and the next pass
/// makes up for it.
#[test]
fn whichever_call_fails_nothing_newer_goes_and_the_next_pass_makes_up_for_it() {
    let calls = {
        let (tree, fs) = (Tree::new(), Faulty::default());
        clean_pass(&tree.retention(Arc::new(fs.clone()), 4));
        fs.all_calls()
    };
    for op in [Op::OpenDir, Op::List, Op::Facts, Op::Remove, Op::RemoveDir] {
        assert!(calls.contains(&op), "{op:?}");
    }
    for (at, op) in calls.iter().enumerate() {
        for fault in [Answer::Error(Errno::IO), Answer::DoneBut(Errno::IO)] {
            let (tree, fs) = (Tree::new(), Faulty::default());
            let retention = tree.retention(Arc::new(fs.clone()), 4);
            fs.plan_any(at + 1, false, fault);
            let error = pass(&retention).0.error.expect("an error");
            assert!(error.path().is_some_and(|path| path.starts_with(&tree.path)), "{error}");
            assert!(tree.ages().starts_with(&[1, 2, 3, 4]), "{op:?} {error}: {:?}", tree.ages());
            clean_pass(&retention);
            assert_eq!(tree.ages(), [1, 2, 3, 4], "{op:?} {error}");
        }
    }
}

#[test]
fn what_another_process_deletes_at_any_moment_is_no_error() {
    let calls = {
        let (tree, fs) = (Tree::new(), Faulty::default());
        clean_pass(&tree.retention(Arc::new(fs.clone()), 4));
        fs.all_calls().len() as u64
    };
    for nth in 1..=calls {
        let tree = Tree::new();
        let other = tree.retention(Arc::new(RealFs), 4);
        let (theirs, told) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let seen = theirs.clone();
        let fs = HookedFs::with(move |call: &Call<'_>| {
            if call.nth == nth {
                told.fetch_add(1, Ordering::SeqCst);
                seen.fetch_add(clean_pass(&other), Ordering::SeqCst);
            }
            Answer::Go
        });
        let ours = clean_pass(&tree.retention(Arc::new(fs), 4));
        assert_eq!(ours + theirs.load(Ordering::SeqCst), 5, "each is deleted once, at {nth}");
        assert_eq!(tree.ages(), [1, 2, 3, 4]);
        // On Windows it stays if the other process looked at it.
        assert!(cfg!(windows) || !tree.path.join("dt=1").exists());
    }
}

#[test]
fn a_file_that_can_not_be_deleted_costs_no_newer_one() {
    let tree = Tree::new();
    let stuck = file(&tree.place(9), 9);
    let fs = HookedFs::with(move |call: &Call<'_>| match call.op {
        Op::Remove if call.path == stuck => Answer::Error(Errno::PERM),
        _ => Answer::Go,
    });
    let retention = tree.retention(Arc::new(fs), 4);
    for _ in 0..3 {
        let error = pass(&retention).0.error.unwrap();
        assert_eq!((error.operation(), error.path()), ("unlink", Some(&*file(&tree.place(9), 9))));
        assert_eq!(tree.ages(), [1, 2, 3, 4, 9]);
    }
}

#[test]
fn protected_files_stay_and_all_that_are_newer() {
    let tree = Tree::new();
    let protection = || {
        let (from, journal) = (Stamp(NOW - 6 * SECOND), PathBuf::from("/j"));
        Ok(Some(Waiting { from, journal }))
    };
    let with = |files, protection: Protection| Retention {
        protection,
        ..tree.retention(Arc::new(RealFs), files)
    };
    let (outcome, count) = pass(&with(7, Box::new(protection)));
    assert_eq!((outcome.held_by, count), (None, 2));
    let (outcome, count) = pass(&with(1, Box::new(protection)));
    assert_eq!((outcome.held_by.as_deref(), count), (Some(Path::new("/j")), 1));
    assert_eq!(tree.ages(), [1, 2, 3, 4, 5, 6]);
    // While nobody knows which they are, all stay.
    let unknown = || Err(Error::io("read", "/j".as_ref(), Errno::IO.into()));
    let (outcome, count) = pass(&with(1, Box::new(unknown)));
    assert_eq!((outcome.error.unwrap().operation(), count), ("read", 0));
}

#[test]
fn a_clock_that_is_set_back_deletes_nothing_early() {
    let tree = Tree::new();
    let rules = Retain { age: Duration::from_secs(6), ..Retain::default() };
    let clock = Arc::new(AtomicU64::new(NOW));
    let shown = clock.clone();
    let wall =
        WallClock(Some(Arc::new(move || Duration::from_nanos(shown.load(Ordering::SeqCst)))));
    let retention = Retention { rules, clock: wall, ..tree.retention(Arc::new(RealFs), 0) };
    for (now, left, due) in [
        // Before all files were published.
        (NOW - 3600 * SECOND, 9, 6),
        (1, 9, 6),
        (NOW - 4 * SECOND, 9, 1),
        (NOW - 3 * SECOND, 8, 1),
        (NOW, 5, 1),
        (NOW + 3 * SECOND + SECOND / 2, 2, 0),
        (NOW - 3600 * SECOND, 2, 6),
        (NOW + 3600 * SECOND, 0, 6),
    ] {
        clock.store(now, Ordering::SeqCst);
        let (outcome, _) = pass(&retention);
        assert_eq!(tree.ages().len(), left, "at {now}");
        let expected = (left > 0).then_some(due);
        assert_eq!(retention.due_in(outcome.oldest).map(|due| due.as_secs()), expected, "{now}");
    }
}

#[test]
fn a_pass_ends_when_the_writer_does() {
    let tree = Tree::new();
    let retention = tree.retention(Arc::new(RealFs), 1);
    // Some of these are in the look, after which nothing is deleted any more.
    let mut all = BTreeSet::new();
    for steps in 0..40 {
        let (left, mut count) = (std::cell::Cell::new(steps), 0);
        let ended = || left.replace(left.get().max(1) - 1) == 0;
        let before = tree.ages().len();
        let outcome = retention.pass(&ended, &mut |_| count += 1);
        assert!(outcome.error.is_none());
        assert_eq!(before - tree.ages().len(), count);
        all.insert(count);
    }
    assert!(all.len() > 1 && tree.ages() == [1], "{all:?}");
}

/// More than are remembered at once.
#[test]
fn a_hundred_thousand_files_go() {
    let dir = bufferedwriter_testkit::shm::dir().map_or_else(TestDir::new, TestDir::within);
    let tree = Tree { path: dir.dir("path"), dir };
    let count = 100_000 / fewer() as u64;
    (1..=count).for_each(|age| drop(fs::File::create(file(&tree.path, age)).unwrap()));
    let lists = Arc::new(AtomicU64::new(0));
    let counted = lists.clone();
    let fs = Arc::new(HookedFs::with(move |call: &Call<'_>| {
        counted.fetch_add(u64::from(call.op == Op::List), Ordering::SeqCst);
        Answer::Go
    }));
    assert_eq!(clean_pass(&tree.retention(fs.clone(), count)), 0);
    assert_eq!(lists.load(Ordering::SeqCst), 1);
    assert_eq!(clean_pass(&tree.retention(fs, 3)), count - 3);
    // A look remembers 65,536 of them.
    assert_eq!(lists.load(Ordering::SeqCst), 2 + u64::from(count > 1 << 16));
    let left = [1, 2, 3].map(|age| file(&tree.path, age));
    assert!(left.iter().all(|file| file.exists()));
    assert_eq!(fs::read_dir(&tree.path).unwrap().count(), 3);
}

#[test]
fn errors_name_the_operation_and_the_path() {
    let tree = Tree::new();
    let error = |op, nth| {
        let fs = Faulty::default();
        fs.plan(op, nth, Answer::Error(Errno::ACCESS));
        pass(&tree.retention(Arc::new(fs), 8)).0.error.unwrap()
    };
    let told = |error: &Error| (error.operation(), error.path().unwrap().to_owned());
    let victim = file(&tree.place(9), 9);
    assert_eq!(told(&error(Op::OpenDir, 1)), ("open directory", tree.path.clone()));
    assert_eq!(told(&error(Op::List, 1)), ("list", tree.path.clone()));
    assert_eq!(told(&error(Op::Facts, 1)).0, "look up");
    assert_eq!(told(&error(Op::Remove, 1)), ("unlink", victim));
}
