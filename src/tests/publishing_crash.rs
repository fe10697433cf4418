//! A writer with a manifest dies at each of its calls to the disk, and so does the recovery that comes after it. In
//! the end each visible file has one line in the manifest, with its records, and a hook hears of each.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::base::sys::Errno;
use bufferedwriter_testkit::dir::{TestDir, list, paths};
use bufferedwriter_testkit::emulated::fewer;
use bufferedwriter_testkit::os::removes_open_files;
use bufferedwriter_testkit::shm;
use bufferedwriter_testkit::wait::until;

use crate::RecoverOptions;
use crate::accept;
use crate::base::sync::Mutex;
use crate::base::sync::lock;
use crate::config::{Config, Durability, Publishing};
use crate::fs::{Fs, real::RealFs};
use crate::housekeeping::announcer::Announcer;
use crate::housekeeping::journal::Journal;
use crate::housekeeping::journal::dead::{DeadJournal, temp_name};
use crate::housekeeping::publication::tests::publication;
use crate::housekeeping::publications::{Batch, Publications};
use crate::memory::slot::owned::Borrowed;
use crate::naming::{self, Names};
use crate::recovery::audience::Audience;
use crate::recovery::background::{Background, Task};
use crate::report::published::{OnPublish, PublishReason};
use crate::report::recovery::Recovery;
use crate::tests::forks;
use crate::tests::fs::hooked::{Answer, Call, HookedFs, Op};
use crate::worker::round::Worker;
use crate::writer::open;

const DIRS: [&str; 3] = ["path", "temp", "lists"];

/// In memory, where that is to be had: thousands of directories are made.
fn directory() -> TestDir {
    shm::dir().map_or_else(TestDir::new, TestDir::within)
}

/// A directory with those of a writer below it.
pub(crate) fn place() -> TestDir {
    let dir = directory();
    DIRS.iter().for_each(|name| drop(dir.dir(name)));
    dir
}

/// A file system that syncs nothing, since no power is cut, and copies directories before each call.
pub(super) type Dying = HookedFs<Box<dyn Fn(&Call<'_>) -> Answer + Send + Sync>>;

/// Copies of directories; `None` once no more are wanted.
pub(super) type Copies = Arc<Mutex<Option<Vec<TestDir>>>>;

/// Makes the directories in `to` what those in `from` are.
pub(super) fn copy(from: &Path, to: &Path) {
    for name in DIRS {
        let to = to.join(name);
        let _ = fs::remove_dir_all(&to);
        fs::create_dir(&to).unwrap();
        for file in paths(&from.join(name)) {
            fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }
}

pub(super) fn dying(from: PathBuf, copies: Copies) -> Dying {
    HookedFs::with(Box::new(move |call: &Call<'_>| {
        if let Some(copies) = &mut *lock(&copies) {
            let as_it_was = directory();
            copy(&from, as_it_was.path());
            copies.push(as_it_was);
        }
        if matches!(call.op, Op::Sync | Op::SyncDir) { Answer::Skip } else { Answer::Go }
    }))
}

/// One of these that never dies.
pub(crate) fn living() -> Arc<dyn Fs> {
    Arc::new(dying(PathBuf::new(), Arc::default()))
}

/// Three files of one worker, some of them listed. Returns the directories as they were before each call.
pub(super) fn lives(dir: &TestDir, durability: Durability) -> Vec<TestDir> {
    let copies: Copies = Arc::new(Mutex::new(Some(Vec::new())));
    let fs = dying(dir.path().to_owned(), copies.clone());
    let config = Config::default()
        .path(dir.join("path"))
        .temp(dir.join("temp"))
        .manifest(dir.join("lists/m"))
        .on_publish(|_| Ok(()))
        .size(64)
        .workers(1)
        .durability(durability)
        .drop_timeout(Duration::ZERO)
        .fs(Arc::new(fs));
    let (handle, mut workers) = open::assemble(config, Instant::now()).unwrap();
    let Worker { mut output, mut collector, .. } = workers.remove(0);
    let mut slot = Borrowed::new(&handle.shared).unwrap();
    let mut batch = Batch::default();
    for number in 0..4 {
        for record in 0..=number {
            let line = format!("{number} {record}\n");
            accept::write(&mut slot.owned(), line.as_bytes()).unwrap();
        }
        assert!(collector.scrape(&handle.shared, |piece| output.push(piece)));
        output.write().unwrap();
        output.publish(PublishReason::Flush).unwrap();
        if number > 0 {
            handle.publications().unwrap().step(&mut batch);
        }
    }
    with_torn_lines(lock(&copies).take().unwrap_or_default())
}

/// Adds deaths in the middle of each write to the manifest.
fn with_torn_lines(copies: Vec<TestDir>) -> Vec<TestDir> {
    let manifest = |dir: &TestDir| fs::read(dir.join("lists/m")).unwrap_or_default();
    let mut torn = Vec::new();
    for pair in copies.windows(2) {
        let (before, after) = (manifest(&pair[0]).len(), manifest(&pair[1]));
        let more = after.len().saturating_sub(before);
        for part in [1, 9, more / 2, more.saturating_sub(1)] {
            if (1..more).contains(&part) {
                let dir = directory();
                copy(pair[0].path(), dir.path());
                fs::write(dir.join("lists/m"), &after[..before + part]).unwrap();
                torn.push(dir);
            }
        }
    }
    assert!(torn.len() > 8, "{}", torn.len());
    // The last of all stays the last.
    torn.into_iter().chain(copies).collect()
}

/// What a writer does at its start in this copy of directories: it recovers and lists. Returns what the hook heard.
pub(super) fn recover(dir: &Path, fs: Arc<dyn Fs>) -> Vec<String> {
    let (recovery, heard) = restart(dir, fs);
    assert!(recovery.errors.is_empty() && recovery.skipped.is_empty(), "{recovery:?}");
    heard
}

/// The same, whatever comes of it.
pub(crate) fn restart(dir: &Path, fs: Arc<dyn Fs>) -> (Recovery, Vec<String>) {
    forks::without(|| writer(dir, fs))
}

/// The same, while nobody forks.
pub(super) fn writer(dir: &Path, fs: Arc<dyn Fs>) -> (Recovery, Vec<String>) {
    let (publications, task, heard) = start(dir, fs);
    let recovery = task.run();
    publications.step(&mut Batch::default());
    publications.step_hook();
    assert_eq!(publications.wait_settled(Some(Instant::now())), 0);
    publications.end();
    (recovery, std::mem::take(&mut *lock(&heard)))
}

/// A writer's publications, its recovery, and what the hook hears.
pub(super) type Started = (crate::base::sync::Arc<Publications>, Task, Arc<Mutex<Vec<String>>>);

pub(super) fn start(dir: &Path, fs: Arc<dyn Fs>) -> Started {
    let names = Names::new("".as_ref(), "log".as_ref()).unwrap();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let hears = heard.clone();
    let wanted = Publishing {
        on_publish: OnPublish(Some(Arc::new(move |file| {
            lock(&hears).push(file.id.clone());
            Ok(())
        }))),
        manifest: Some(dir.join("lists/m")),
    };
    let path = dir.join("path");
    let publications = Publications::new(&fs, &path, wanted, 0o600, false, 1).unwrap().unwrap();
    let publications = crate::base::sync::Arc::new(publications);
    publications.make(&dir.join("temp"), &names, true).unwrap();
    let audience = Audience::Announcer(Announcer::new(publications.clone(), 1));
    let temps = vec![dir.join("temp")];
    let (memory, notices, so_far) = (Vec::new(), None, Recovery::default());
    (publications, Task { fs, path, temps, memory, names, audience, notices, so_far }, heard)
}

/// Each file has one line, with its records. Returns the ids.
pub(super) fn check(dir: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(dir.join("lists/m")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: BTreeSet<_> =
        lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), lines.len(), "twice: {text}");
    let listed: BTreeSet<_> =
        lines.iter().map(|line| dir.join("path").join(line["path"].as_str().unwrap())).collect();
    let visible: BTreeSet<_> = paths(&dir.join("path")).into_iter().collect();
    assert_eq!(listed, visible);
    for line in &lines {
        let file = fs::read_to_string(dir.join("path").join(line["path"].as_str().unwrap()));
        assert_eq!(line["records"], file.unwrap().lines().count());
    }
    assert!(list(&dir.join("temp")).is_empty(), "{:?}", list(&dir.join("temp")));
    ids
}

#[test]
fn whenever_a_writer_dies_each_of_its_files_has_one_line() {
    let (mut deaths, mut again) = (0, 0);
    for durability in [Durability::None, Durability::File] {
        let dir = place();
        for (nth, as_it_was) in lives(&dir, durability).iter().enumerate().step_by(fewer()) {
            deaths += 1;
            copy(as_it_was.path(), dir.path());
            // The recovery dies as well, now and then.
            let later: Copies = Arc::new(Mutex::new(nth.is_multiple_of(10).then(Vec::new)));
            recover(dir.path(), Arc::new(dying(dir.path().to_owned(), later.clone())));
            check(dir.path());
            for as_it_was in lock(&later).take().unwrap_or_default() {
                again += 1;
                copy(as_it_was.path(), dir.path());
                if again % 2 == 0 {
                    forks::without(|| by_hand(dir.path(), None, living()));
                }
                recover(dir.path(), living());
                check(dir.path());
            }
        }
    }
    println!("{deaths} deaths of a writer, {again} of a recovery after it");
    assert!(deaths > 100 / fewer() && again > 100 / fewer());
}

/// A close reaches its deadline at each call of a recovery. The next start tells the rest.
#[test]
fn a_close_amid_a_recovery_loses_neither_lines_nor_calls() {
    let dir = place();
    let lives = lives(&dir, Durability::None);
    let mut ends = 0;
    for as_it_was in lives.iter().step_by(7 * fewer()) {
        for nth in 1.. {
            copy(as_it_was.path(), dir.path());
            let (ending, calls) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(0)));
            let (to_end, counted) = (ending.clone(), calls.clone());
            let fs = HookedFs::with(move |call: &Call<'_>| {
                let publications: Option<crate::base::sync::Arc<Publications>> =
                    lock(&to_end).clone();
                if let Some(publications) = publications {
                    *lock(&counted) += 1;
                    if *lock(&counted) == nth {
                        *lock(&to_end) = None;
                        publications.end();
                    }
                }
                if matches!(call.op, Op::Sync | Op::SyncDir) { Answer::Skip } else { Answer::Go }
            });
            let (publications, task, heard) = start(dir.path(), Arc::new(fs));
            *lock(&ending) = Some(publications.clone());
            forks::without(|| task.run());
            let is_over = lock(&ending).take().is_some();
            drop(publications);
            let mut heard = std::mem::take(&mut *lock(&heard));
            heard.extend(recover(dir.path(), living()));
            assert_eq!(heard.into_iter().collect::<BTreeSet<_>>(), check(dir.path()), "{nth}");
            if is_over {
                break;
            }
            ends += 1;
        }
    }
    println!("{ends} closes amid a recovery");
    assert!(ends > 50 / fewer(), "{ends}");
}

/// Between the two steps of a rename a file has two names, and is visible.
#[test]
fn a_death_between_the_two_steps_of_a_rename_is_one_after_it() {
    let dir = place();
    let mut cases = 0;
    for as_it_was in &lives(&dir, Durability::None) {
        copy(as_it_was.path(), dir.path());
        let mut temps = paths(&dir.join("temp")).into_iter();
        let journal = temps.find(|file| file.extension() == Some("journal".as_ref()));
        let names = journal.as_ref().map(|journal| journal.file_name().unwrap().to_owned());
        let names = names.and_then(|name| naming::parse_journal(&name, None));
        let (Some(journal), Some(names)) = (journal, names) else { continue };
        let mut file = living().open(&journal).unwrap();
        let Some(dead) = DeadJournal::read(&mut *file, &names).unwrap() else { continue };
        for (_, noted) in &dead.unlisted {
            let temp = temp_name(noted, &dir.join("temp")).unwrap();
            if temp.exists() {
                fs::hard_link(temp, dir.join("path").join(&noted.relative)).unwrap();
                cases += 1;
            }
        }
        drop(file);
        let heard = recover(dir.path(), living());
        assert_eq!(heard.into_iter().collect::<BTreeSet<_>>(), check(dir.path()));
    }
    assert!(cases > 3, "{cases}");
}

/// Recovers without a writer, while nobody forks. Returns the number of files that it published.
pub(super) fn by_hand(dir: &Path, old: Option<&Path>, fs: Arc<dyn Fs>) -> usize {
    let mut options = RecoverOptions::new(dir.join("path"), dir.join("temp")).fs(fs);
    if let Some(old) = old {
        options = options.from(old.join("path"));
    }
    let recovery = crate::recover(&options).unwrap();
    assert!(recovery.errors.is_empty() && recovery.skipped.is_empty(), "{recovery:?}");
    recovery.published.len()
}

/// A recovery without a writer comes first, and dies as well, now and then. The directories may have other names by
/// then.
#[test]
fn what_a_recovery_by_hand_publishes_is_told_by_the_next_writer() {
    let (old, moved) = (place(), place());
    let lives = lives(&old, Durability::None);
    for (dir, from) in [(&old, None), (&moved, Some(old.path()))] {
        let by_hand = |fs| forks::without(|| by_hand(dir.path(), from, fs));
        let (mut deaths, mut published) = (0, 0);
        for (nth, as_it_was) in lives.iter().enumerate() {
            copy(as_it_was.path(), dir.path());
            let copies: Copies = Arc::new(Mutex::new(nth.is_multiple_of(10).then(Vec::new)));
            published += by_hand(Arc::new(dying(dir.path().to_owned(), copies.clone())));
            let heard = recover(dir.path(), living());
            assert_eq!(heard.into_iter().collect::<BTreeSet<_>>(), check(dir.path()));
            for as_it_was in lock(&copies).take().unwrap_or_default() {
                deaths += 1;
                copy(as_it_was.path(), dir.path());
                if from.is_some() || deaths % 2 == 0 {
                    by_hand(living());
                }
                recover(dir.path(), living());
                check(dir.path());
            }
        }
        println!("{published} files published by hand, {deaths} deaths of that");
        assert!(published > 10 && deaths > 100);
    }
}

/// Nobody takes the journal of a directory for that of another one, whatever it was called before.
#[test]
fn a_moved_journal_is_for_the_directory_that_it_was_moved_to() {
    let (old, moved, other) = (place(), place(), place());
    copy(lives(&old, Durability::None).last().unwrap().path(), moved.path());
    forks::without(|| by_hand(moved.path(), Some(old.path()), living()));
    // The first has the name that it had before. The second is moved again, and nobody says so.
    for dir in [&old, &other] {
        copy(moved.path(), dir.path());
        let before = list(&dir.join("temp"));
        assert_eq!(recover(dir.path(), living()), [""; 0]);
        assert_eq!(list(&dir.join("temp")), before);
    }
    forks::without(|| by_hand(other.path(), Some(moved.path()), living()));
    for dir in [&moved, &other] {
        let heard = recover(dir.path(), living());
        assert_eq!(heard.into_iter().collect::<BTreeSet<_>>(), check(dir.path()));
    }
}

/// Here its state file is of another version at first.
#[test]
fn while_a_dead_writer_is_skipped_its_journal_stays_and_the_hook_hears_of_no_file_again() {
    let dir = place();
    let lives = lives(&dir, Durability::None);
    let temp = |dir: &TestDir, end: &str| {
        paths(&dir.join("temp")).into_iter().find(|file| file.extension() == Some(end.as_ref()))
    };
    copy(lives.iter().rfind(|life| temp(life, "tmp").is_some()).unwrap().path(), dir.path());
    let state = temp(&dir, "state").unwrap();
    let good = fs::read(&state).unwrap();
    let mut other = good.clone();
    other[8] ^= 0x40;
    fs::write(&state, other).unwrap();
    let (recovery, mut heard) = restart(dir.path(), living());
    assert!(recovery.skipped.len() == 1 && recovery.errors.is_empty(), "{recovery:?}");
    let (recovery, again) = restart(dir.path(), living());
    assert!(recovery.skipped.len() == 1 && again.is_empty() && !heard.is_empty(), "{again:?}");
    fs::write(&state, good).unwrap();
    assert!(forks::without(|| by_hand(dir.path(), None, living())) > 0);
    heard.extend(recover(dir.path(), living()));
    let ids = check(dir.path());
    assert_eq!((heard.len(), heard.into_iter().collect::<BTreeSet<_>>()), (ids.len(), ids));
}

/// The hook heard of nothing before.
#[test]
fn the_next_hook_hears_of_all_that_nobody_acknowledged() {
    let dir = place();
    let lives = lives(&dir, Durability::None);
    copy(lives.last().unwrap().path(), dir.path());
    let heard = recover(dir.path(), living());
    assert_eq!(heard.into_iter().collect::<BTreeSet<_>>(), check(dir.path()));
}

/// A disk without room for the lines of a dead writer: they are told once there is some, while the next writer lives.
#[test]
fn what_could_not_be_told_for_want_of_room_is_told_without_another_start() {
    // Its journal is still open when it is looked for.
    if !removes_open_files() {
        return;
    }
    let dir = place();
    let lacks_lines = |dir: &TestDir| {
        let lines = fs::read_to_string(dir.join("lists/m")).map_or(0, |text| text.lines().count());
        list(&dir.join("path")).len() > lines
    };
    let mut copies = lives(&dir, Durability::None).into_iter().rev();
    copy(copies.find(lacks_lines).expect("a file without a line").path(), dir.path());
    let full = Arc::new(AtomicBool::new(true));
    let is_full = full.clone();
    let fs = HookedFs::with(move |call: &Call<'_>| {
        let is_line = call.op == Op::Write && call.path.ends_with("m");
        if is_line && is_full.load(SeqCst) { Answer::Error(Errno::NOSPC) } else { Answer::Go }
    });
    forks::without(|| {
        let (publications, task, heard) = start(dir.path(), Arc::new(fs));
        let background = crate::base::sync::Arc::<Background>::default();
        Background::start(&background, task);
        let errors = || background.result().map(|result| result.errors.len());
        until("it lacks room", || errors() == Some(1));
        full.store(false, SeqCst);
        until("it has told", || errors() == Some(0));
        // One that dies later is heard of too.
        let (listed, path, temp) =
            (publications.stats().listed, dir.join("path"), dir.join("temp"));
        let names = Names::new("".as_ref(), "log".as_ref()).unwrap();
        let journal = Journal::create(&RealFs, &temp, &names, &path, 2, true, true);
        let later = publication(0, 1);
        journal.unwrap().append(&[&later], false).unwrap();
        until("it is heard of", || publications.stats().listed == listed + 1);
        background.wait(None);
        publications.step_hook();
        publications.end();
        let ids = check(dir.path());
        let mut heard: BTreeSet<_> = std::mem::take(&mut *lock(&heard)).into_iter().collect();
        assert!(heard.remove(&later.id().unwrap()));
        assert!(heard.is_subset(&ids) && heard.len() >= 2, "{heard:?} of {ids:?}");
    });
}
