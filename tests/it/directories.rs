//! Promise: whatever somebody does to the directories of a writer, the error is told and nothing is counted
//! wrongly. Once they are there again, all that the disk still has lands. What was planted is never followed, and
//! what is not ours never touched.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, Config, Durability};
use bufferedwriter_testkit::dir::paths;
use bufferedwriter_testkit::os::OsStrExt;

use crate::support::{
    Answer, BOUND, Op, Tally, TestFs, Traces, Traffic, WriterDir, close, flush_error, links,
    makes_links, moves_used_dirs, record, removes_open_files, stats, tells_path, traces,
};

/// Where files appear is gone, or something else, or takes nothing, while the writer runs.
#[test]
fn path_is_away_for_a_while() {
    type Refuse = fn(&Path);
    let refuse: [(&str, Refuse); 3] = [
        ("removed", |path| fs::remove_dir(path).unwrap()),
        ("a file", |path| {
            fs::remove_dir(path).unwrap();
            fs::write(path, "somebody's").unwrap();
        }),
        ("a link to nowhere", |path| {
            fs::remove_dir(path).unwrap();
            // Where there are none, it is only removed.
            let _ = links("/nonexistent/nowhere", path);
        }),
    ];
    for durability in [Durability::None, Durability::File] {
        for (name, refuse) in refuse {
            let dir = WriterDir::new();
            let mut traffic = Traffic::new(dir.config().durability(durability));
            traffic.write(10);
            traffic.settle();
            refuse(&dir.path);
            traffic.write(10);
            assert_eq!(flush_error(&traffic.writer).operation(), "rename", "{name}");
            let now = stats(&traffic.writer);
            assert_eq!((now.pending.records, now.lost.total().records), (20, 0), "{name}");
            if name != "removed" {
                assert!(name != "a file" || fs::read(&dir.path).unwrap() == b"somebody's");
                let put = fs::remove_file(&dir.path);
                assert!(put.is_ok() || name == "a link to nowhere" && !makes_links(), "{put:?}");
            }
            fs::create_dir(&dir.path).unwrap();
            traffic.end(&dir);
        }
    }
}

/// Where files are written is gone, with the file in it: that one is counted, all others land.
#[test]
fn temp_is_removed_and_made_again() {
    if !removes_open_files() {
        return;
    }
    for is_file in [false, true] {
        let dir = WriterDir::new();
        let mut traffic = Traffic::new(dir.config());
        traffic.write(10);
        traffic.settle();
        fs::remove_dir_all(&dir.temp).unwrap();
        if is_file {
            fs::write(&dir.temp, "somebody's").unwrap();
        }
        // In memory by then; it is lost with the file that it goes to.
        traffic.write(1);
        let writer = &traffic.writer;
        assert_eq!(flush_error(writer).operation(), "rename");
        // Nobody can move it back: its last name is gone.
        assert_eq!(stats(writer).lost.temp_file_removed.records, 11);
        if is_file {
            fs::remove_file(&dir.temp).unwrap();
        }
        fs::create_dir(&dir.temp).unwrap();
        traffic.write(10);
        traffic.writer.flush(BOUND).unwrap();
        let report = traffic.writer.close(BOUND).unwrap();
        assert_eq!((report.accepted.records, report.written.records), (21, 10));
        assert_eq!(report.lost.total().records, 11);
        Tally::of(&dir).assert_all([(1, (11..21).collect())]);
        dir.assert_clean();
    }
}

/// A whole directory is moved away with the file in it. The worker still has the file open, so all of
/// it becomes visible all the same; what comes back with the directory is empty.
#[test]
fn temp_is_moved_away_and_back() {
    if !moves_used_dirs() {
        return;
    }
    for durability in [Durability::None, Durability::File] {
        let dir = WriterDir::new();
        let mut traffic = Traffic::new(dir.config().durability(durability));
        traffic.write(10);
        traffic.settle();
        let aside = dir.root().join("aside");
        fs::rename(&dir.temp, &aside).unwrap();
        fs::write(&dir.temp, "somebody's").unwrap();
        traffic.write(10);
        traffic.writer.flush(BOUND).unwrap();
        Tally::of(&dir).assert_ranges(&[(1, 20)]);
        fs::remove_file(&dir.temp).unwrap();
        fs::rename(&aside, &dir.temp).unwrap();
        traffic.write(10);
        for temp in dir.temps() {
            assert_eq!(fs::metadata(&temp).unwrap().len(), 0);
            fs::remove_file(temp).unwrap();
        }
        traffic.end(&dir);
    }
}

/// All calls that change a directory are refused for a while.
#[test]
fn directories_are_read_only_for_a_while() {
    for errno in [Errno::ROFS, Errno::ACCESS, Errno::PERM] {
        for durability in [Durability::None, Durability::File] {
            let dir = WriterDir::new();
            let read_only = Arc::new(AtomicBool::new(false));
            let is_read_only = read_only.clone();
            let fs = TestFs::new(move |call| match call.op {
                Op::Create | Op::Rename | Op::Remove if is_read_only.load(Ordering::SeqCst) => {
                    Answer::Error(errno)
                }
                _ => Answer::Go,
            });
            let mut traffic =
                Traffic::new(dir.config().file_size(300).durability(durability).fs(fs.clone()));
            traffic.write(20);
            traffic.writer.flush(BOUND).unwrap();
            read_only.store(true, Ordering::SeqCst);
            traffic.write(20);
            let error = flush_error(&traffic.writer);
            assert!(["create", "rename"].contains(&error.operation()), "{error}");
            assert_eq!(stats(&traffic.writer).pending.records, 20);
            read_only.store(false, Ordering::SeqCst);
            traffic.end(&dir);
            fs.assert_sound();
        }
    }
}

/// The same by an attribute that stops even root.
#[test]
fn directories_are_immutable_for_a_while() {
    struct Immutable<'a>(&'a Path);
    fn chattr(flag: &str, path: &Path) -> bool {
        let ran = Command::new("chattr").arg(flag).arg(path).output();
        ran.is_ok_and(|output| output.status.success())
    }
    impl Drop for Immutable<'_> {
        fn drop(&mut self) {
            chattr("-i", self.0);
        }
    }
    for both in [false, true] {
        let dir = WriterDir::new();
        let mut traffic = Traffic::new(dir.config());
        traffic.write(10);
        traffic.settle();
        let guards = (Immutable(&dir.path), Immutable(&dir.temp));
        if !chattr("+i", &dir.path) || (both && !chattr("+i", &dir.temp)) {
            println!("skipped: no chattr +i here (it needs root and ext4, xfs or btrfs)");
            return;
        }
        traffic.write(10);
        assert_eq!(flush_error(&traffic.writer).operation(), "rename");
        drop(guards);
        traffic.end(&dir);
    }
}

/// The first few names exist already: another one is taken, or the same is tried again.
#[test]
fn names_that_exist() {
    let dir = WriterDir::new();
    let (left, calls) = (AtomicU64::new(8), Arc::new(AtomicU64::new(0)));
    let met = calls.clone();
    let fs = TestFs::new(move |call| {
        let taken = call.is_temp() && matches!(call.op, Op::Create | Op::Rename);
        let less = |left: u64| left.checked_sub(1);
        if taken && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            met.fetch_add(1, Ordering::SeqCst);
            return Answer::Error(Errno::EXIST);
        }
        Answer::Go
    });
    let mut traffic = Traffic::new(dir.config().file_size(300).fs(fs));
    traffic.write(30);
    traffic.end(&dir);
    assert_eq!(calls.load(Ordering::SeqCst), 8);
}

#[test]
fn paths_that_are_not_utf8_and_long_ones() {
    // On Windows names are text, without control characters.
    let odd: &[u8] =
        if cfg!(windows) { "\u{e9} not ASCII".as_bytes() } else { b"\xff\xfe not UTF-8 \n" };
    let odd = OsStr::from_bytes(odd);
    let long = "d".repeat(255);
    for names in [vec![odd], vec![OsStr::new(&long); 3]] {
        let dir = WriterDir::new();
        let mut path = dir.path.clone();
        path.extend(names);
        fs::create_dir_all(&path).unwrap();
        if !tells_path(&path) {
            continue;
        }
        // Of the greatest length that is taken, and with all that a name may hold.
        let prefix = OsStr::from_bytes(b"\xff-w1-.").to_owned();
        let mut prefix = prefix.into_encoded_bytes();
        prefix.resize(150, b'p');
        let prefix = OsStr::from_bytes(&prefix);
        let config = dir.config().path(&path).temp(&path).prefix(prefix);
        let writer = BufferedWriter::new(config).unwrap();
        writer.write(b"record\n").unwrap();
        close(&writer);
        let names = paths(&path);
        assert_eq!(names.len(), 1);
        assert_eq!(fs::read(&names[0]).unwrap(), b"record\n");
        assert!(names[0].file_name().unwrap().as_bytes().starts_with(prefix.as_bytes()));
    }
}

/// A path beyond what the system takes is refused, with its reason, and leaves nothing.
#[test]
fn a_path_that_is_too_long_is_refused() {
    let dir = WriterDir::new();
    let mut path = dir.path.clone();
    (0..20).for_each(|_| path.push("d".repeat(250)));
    let error = BufferedWriter::new(dir.config().path(&path)).unwrap_err();
    assert_eq!(error.operation(), "open directory", "{error}");
    dir.assert_clean();
}

/// Relative paths are where they were when the writer was made. In a process of its own, since the
/// working directory is the whole process's.
#[test]
fn relative_paths_and_a_later_chdir() {
    if let Some(root) = std::env::var_os("BUFFEREDWRITER_TEST_CHDIR") {
        std::env::set_current_dir(&root).unwrap();
        let config = Config::default().path("path").temp("./temp").file_age(BOUND);
        let writer = BufferedWriter::new(config).unwrap();
        std::env::set_current_dir("/").unwrap();
        writer.write(b"record\n").unwrap();
        close(&writer);
        return;
    }
    let dir = WriterDir::new();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "directories::relative_paths_and_a_later_chdir"])
        .env("BUFFEREDWRITER_TEST_CHDIR", dir.root())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert_eq!(dir.contents(), [b"record\n"]);
    dir.assert_clean();
}

/// Links in `path` and `temp` lead where they led when the writer was made.
#[test]
fn a_link_that_leads_elsewhere_later_changes_nothing() {
    let (dir, other) = (WriterDir::new(), WriterDir::new());
    let link = |name: &str, to: &Path| {
        let link = dir.root().join(name);
        let _ = fs::remove_file(&link);
        links(to, &link).then_some(link)
    };
    let made = link("to_path", &dir.path).zip(link("to_temp", &dir.temp));
    let Some((path, temp)) = made else { return };
    let writer = BufferedWriter::new(dir.config().path(path).temp(temp)).unwrap();
    link("to_path", &other.path).unwrap();
    link("to_temp", &other.temp).unwrap();
    writer.write(b"record\n").unwrap();
    close(&writer);
    assert_eq!(dir.contents(), [b"record\n"]);
    assert!(paths(&other.path).is_empty());
    dir.assert_clean();
    other.assert_clean();
}

/// In a shared directory somebody guesses each name and plants a link there just before. None is followed, whether
/// it leads to a file or to where none is yet.
#[test]
fn planted_links_are_not_followed() {
    if !makes_links() {
        return;
    }
    for leads_to_a_file in [false, true] {
        for end in ["tmp", "state", "pb1", "pb2"] {
            let (dir, shared) = (WriterDir::new(), WriterDir::new());
            let victim = shared.root().join("victim");
            if leads_to_a_file {
                fs::write(&victim, "precious").unwrap();
            }
            let planted = Arc::new(AtomicU64::new(0));
            let (count, target) = (planted.clone(), victim.clone());
            let fs = TestFs::new(move |call| {
                let wanted = match call.op {
                    Op::Create => Some(call.path.to_owned()),
                    // Of a rename the hook knows the old name; the probe's new one follows from it.
                    Op::Rename => Some(call.path.with_extension("pb2")).filter(|_| end == "pb2"),
                    _ => None,
                };
                if let Some(path) = wanted
                    && path.extension() == Some(OsStr::new(end))
                    && count.load(Ordering::SeqCst) < 3
                {
                    count.fetch_add(1, Ordering::SeqCst);
                    // In the directory that it is moved to, which is the same.
                    assert!(links(&target, &path));
                }
                Answer::Go
            });
            let config = dir.config().temp(&dir.path).file_size(300).fs(fs);
            match BufferedWriter::new(config) {
                Ok(writer) => {
                    assert_eq!(end, "tmp", "made in spite of a name that is taken");
                    let mut buffer = Vec::new();
                    for seq in 0..30 {
                        record(&mut buffer, 1, seq, 100);
                        writer.write_timeout(&buffer, BOUND).unwrap();
                    }
                    writer.flush(BOUND).unwrap();
                    close(&writer);
                    Tally::of(&dir).assert_ranges(&[(1, 30)]);
                }
                Err(error) => assert_ne!(end, "tmp", "{error}"),
            }
            assert!(planted.load(Ordering::SeqCst) > 0, "{end}: nothing was planted");
            if leads_to_a_file {
                assert_eq!(fs::read(&victim).unwrap(), b"precious", "{end}");
            } else {
                assert!(!victim.exists(), "{end}: created through a link");
            }
        }
    }
}

/// Bytes, identity, owner's rights and the moments of the last change.
type State = (Vec<u8>, Traces);

fn states(files: &[PathBuf]) -> BTreeMap<PathBuf, State> {
    let state = |path: &PathBuf| {
        let found = traces(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let is_file = fs::symlink_metadata(path).unwrap().is_file();
        let bytes = if is_file { fs::read(path).unwrap() } else { Vec::new() };
        (path.clone(), (bytes, found))
    };
    files.iter().map(state).collect()
}

/// What others have in the same directories, however alike, is as it was after a life with faults.
#[test]
fn files_of_others_are_not_touched() {
    for temp_is_path in [false, true] {
        let dir = WriterDir::new();
        let temp = if temp_is_path { dir.path.clone() } else { dir.temp.clone() };
        let stem = "20261122T194030.123456789Z-0123456789abcdef-1-w0-0";
        let mut files = Vec::new();
        for place in [&dir.path, &temp] {
            for name in [
                // Another program's under another prefix, and what only looks so.
                format!(".other_{stem}.log.tmp"),
                ".other_0123456789abcdef-1.state".to_owned(),
                format!(".other_{stem}.log.pb1"),
                format!("other_{stem}.log"),
                // Complete files of an earlier instance.
                format!("own_{stem}.log"),
                "own_.log".to_owned(),
                ".own_.swp".to_owned(),
                "tmp".to_owned(),
                "state".to_owned(),
            ] {
                let file = place.join(name);
                if !file.exists() {
                    fs::write(&file, format!("of others: {}", file.display())).unwrap();
                    files.push(file);
                }
            }
            let link = place.join(format!(".other_link_{stem}.log.tmp"));
            if !link.is_symlink() && links(dir.root().join("elsewhere"), &link) {
                files.push(link);
            }
        }
        // A writer that lives, with the same prefix: its temp file.
        let config = || dir.config().temp(&temp).prefix("own_").size(128).workers(1);
        let mut neighbour = Traffic::new(config());
        neighbour.write(5);
        neighbour.settle();
        files.extend(stats(&neighbour.writer).workers[0].temp_file.clone());
        let before = states(&files);
        assert!(before.len() >= if makes_links() { 11 } else { 10 }, "{before:?}");

        let count = AtomicU64::new(0);
        let fs = TestFs::new(move |_| {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            // Beyond the start, so often that each kind of call meets it.
            if nth > 40 && nth < 140 && nth.is_multiple_of(5) {
                Answer::Error(Errno::IO)
            } else {
                Answer::Go
            }
        });
        let config = config().file_size(400).durability(Durability::File);
        let mut own = Traffic::new(config.fs(fs.clone()));
        for _ in 0..20 {
            own.write(5);
            let _ = own.writer.flush(BOUND);
        }
        own.writer.flush(BOUND).unwrap();
        close(&own.writer);
        fs.assert_sound();
        assert_eq!(states(&files), before);
        close(&neighbour.writer);
    }
}
