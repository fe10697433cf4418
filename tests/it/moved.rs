//! Promise: left-overs of directories that were moved, or are mounted elsewhere now, are recovered by who says what
//! they were called. Nobody else takes them, and who lives keeps what is its own.

use std::fs;
use std::path::{Path, PathBuf};

use bufferedwriter::{BufferedWriter, RecoverOptions, Recovery, SkipReason, recover};
use bufferedwriter_testkit::dir::list;

use crate::recovery::{config, die, recovered};
use crate::support::{BOUND, Tally, WriterDir, close, moves_used_dirs, recovery_of};

/// Moves both directories. Returns what `path` was called.
fn move_away(dir: &mut WriterDir) -> PathBuf {
    let (old, moved) = (dir.path.canonicalize().unwrap(), dir.root().join("moved"));
    fs::create_dir(&moved).unwrap();
    for (from, name) in [(&mut dir.path, "path"), (&mut dir.temp, "temp")] {
        let to = moved.join(name);
        fs::rename(&*from, &to).unwrap();
        *from = to;
    }
    old
}

fn options(dir: &WriterDir) -> RecoverOptions {
    recovery_of(&dir.path, &dir.temp)
}

fn skipped(recovery: &Recovery) -> (SkipReason, &Path) {
    let [skipped] = &*recovery.skipped else { panic!("one is skipped: {recovery:?}") };
    assert!(recovery.instances == 0 && recovery.published.is_empty(), "{recovery:?}");
    (skipped.reason, skipped.directory.as_deref().unwrap())
}

#[test]
fn what_was_moved_is_recovered_by_who_says_its_old_name() {
    let mut dir = WriterDir::new();
    die(&dir);
    let old = move_away(&mut dir);
    let before = list(&dir.temp);
    // The next writer, and a recovery that has another name.
    let writer = BufferedWriter::new(config(&dir.root().join("moved"))).unwrap();
    assert_eq!(skipped(&recovered(&writer)), (SkipReason::OtherPath, &*old));
    close(&writer);
    for other in
        [old.join("x"), old.parent().unwrap().to_owned(), dir.root().join("elsewhere/path")]
    {
        let recovery = recover(&options(&dir).from(other)).unwrap();
        assert_eq!(skipped(&recovery), (SkipReason::OtherPath, &*old));
    }
    assert_eq!(list(&dir.temp), before);
    let would = recover(&options(&dir).from(&old).dry_run(true)).unwrap();
    assert_eq!((would.instances, list(&dir.temp)), (1, before));
    let recovery = recover(&options(&dir).from(&old)).unwrap();
    assert_eq!((recovery.instances, recovery.records), (1, would.records), "{recovery:?}");
    assert!(recovery.skipped.is_empty() && recovery.errors.is_empty(), "{recovery:?}");
    let found = Tally::of(&dir).found;
    assert!(found.records > 0 && found.bytes == recovery.bytes);
    dir.assert_clean();
}

/// Those that have the directories as they are called now are recovered as well.
#[test]
fn an_old_name_adds_to_the_new_one() {
    let dir = WriterDir::new();
    die(&dir);
    let recovery = recover(&options(&dir).from(dir.root().join("old"))).unwrap();
    assert_eq!((recovery.instances, recovery.skipped.len()), (1, 0), "{recovery:?}");
    dir.assert_clean();
}

/// Its lock tells, under whatever name its state file is found.
#[test]
fn who_lives_under_the_old_name_is_left_alone() {
    if !moves_used_dirs() {
        return;
    }
    let mut dir = WriterDir::new();
    let writer = BufferedWriter::new(config(dir.root())).unwrap();
    writer.write(b"record\n").unwrap();
    let (path, temp) = (dir.path.clone(), dir.temp.clone());
    let old = move_away(&mut dir);
    let before = list(&dir.temp);
    let recovery = recover(&options(&dir).from(&old)).unwrap();
    assert_eq!((recovery.instances, recovery.alive), (0, 1), "{recovery:?}");
    assert_eq!(list(&dir.temp), before);
    for (now, before) in [(&mut dir.path, path), (&mut dir.temp, temp)] {
        fs::rename(&*now, &before).unwrap();
        *now = before;
    }
    writer.close(BOUND).unwrap();
    assert_eq!(dir.contents(), [b"record\n"]);
    dir.assert_clean();
}

// Such memory is of Linux alone.
#[cfg(target_os = "linux")]
#[test]
fn crash_proof_memory_may_move_too() {
    use bufferedwriter_testkit::dir::TestDir;
    let Some(shm) = bufferedwriter_testkit::shm::dir() else { return };
    let (mut dir, memory) = (WriterDir::new(), TestDir::within(shm));
    let (there, here) = (memory.dir("there"), memory.path().join("here"));
    crate::dead_memory::die_with_memory(dir.root(), &there);
    let old = move_away(&mut dir);
    fs::rename(&there, &here).unwrap();
    // Nobody says where it is now.
    let there = memory.path().canonicalize().unwrap().join("there");
    let recovery = recover(&options(&dir).from(&old)).unwrap();
    assert_eq!(skipped(&recovery), (SkipReason::OtherMemory, &*there));
    let recovery = recover(&options(&dir).from(&old).memory(&here)).unwrap();
    assert_eq!((recovery.instances, recovery.records.records), (1, 10), "{recovery:?}");
    assert_eq!(fs::read_dir(&here).unwrap().count(), 0);
    dir.assert_clean();
}

#[test]
fn a_relative_name_was_never_a_path() {
    let dir = WriterDir::new();
    let error = recover(&options(&dir).from("old")).unwrap_err();
    assert!(error.to_string().contains("option from is old"), "{error}");
}
