//! Promise: what other programs, and other parts of this one, do to files and descriptors makes nothing false
//! visible. What is gone is counted by its cause; what has only lost its place becomes visible all the same.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bufferedwriter::testing::Errno;
use bufferedwriter::{Config, Durability, Io, RecoverOptions, recover};
use bufferedwriter_testkit::dir::{is_hidden, paths};

use crate::support::{
    Answer, BOUND, Call, Op, Tally, TestFs, Traffic, WriterDir, close, moves_used_dirs, stats,
    until,
};

fn configs(dir: &WriterDir) -> [Config; 3] {
    let config = || dir.config().queue_size(64);
    [
        config().io(Io::Buffered),
        config().io(Io::Direct),
        config().io(Io::Buffered).durability(Durability::File),
    ]
}

fn is_aside(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "aside")
}

fn asides(dir: &WriterDir) -> Vec<PathBuf> {
    paths(&dir.temp).into_iter().filter(|path| is_aside(path)).collect()
}

/// The loss is counted, and a flush that meets it tells the cause. With fsync, nothing may be lost: what no fsync
/// covered is still in memory, and goes to another file.
fn assert_told(traffic: &Traffic, is_durable: bool) {
    if let Err(error) = traffic.writer.flush(BOUND) {
        assert!(error.to_string().contains("truncated"), "{error}");
    }
    let lost = stats(&traffic.writer).lost;
    assert!(is_durable || !lost.temp_file_damaged.is_zero(), "{lost:?}");
}

/// As by `: > file` on a full disk, or by copytruncate of logrotate.
#[test]
fn a_file_that_is_truncated_is_lost_and_nothing_of_it_visible() {
    for i in 0..3 {
        for keeps in [0, 1003] {
            let dir = WriterDir::new();
            let mut traffic = Traffic::new(configs(&dir)[i].clone());
            let temp = traffic.fill(9000);
            if !cfg!(target_os = "linux") {
                // A write beyond the new end makes a hole, which only Linux tells.
                traffic.settle();
            }
            OpenOptions::new().write(true).open(&temp).unwrap().set_len(keeps).unwrap();
            assert_told(&traffic, i == 2);
            let [aside] = &asides(&dir)[..] else { panic!("{:?}", asides(&dir)) };
            assert_eq!(fs::metadata(aside).unwrap().len(), keeps);
            traffic.fill(5000);
            traffic.writer.flush(BOUND).unwrap();
            let lost = traffic.end_with_losses(&dir);
            assert!(lost >= 80 || i == 2, "{lost}");
            fs::remove_file(aside).unwrap();
            dir.assert_clean();
        }
    }
}

/// Between the check and the write that follows it, so that zeros stand where records were.
// Only Linux tells of holes.
#[cfg(target_os = "linux")]
#[test]
fn a_file_with_a_hole_is_lost_too() {
    for i in 0..3 {
        let dir = WriterDir::new();
        let strike = Arc::new(AtomicBool::new(false));
        let strikes = strike.clone();
        let fs = TestFs::new(move |call: &Call<'_>| {
            if call.op == Op::Write && call.is_temp() && strikes.swap(false, Ordering::SeqCst) {
                OpenOptions::new().write(true).open(call.path).unwrap().set_len(0).unwrap();
            }
            Answer::Go
        });
        let mut traffic = Traffic::new(configs(&dir)[i].clone().fs(fs));
        traffic.fill(9000);
        strike.store(true, Ordering::SeqCst);
        traffic.fill(300);
        assert_told(&traffic, i == 2);
        traffic.fill(5000);
        traffic.writer.flush(BOUND).unwrap();
        assert!(traffic.end_with_losses(&dir) > 0 || i == 2);
        asides(&dir).into_iter().for_each(|aside| fs::remove_file(aside).unwrap());
        dir.assert_clean();
    }
}

#[test]
fn what_somebody_appends_is_cut_off() {
    for i in 0..3 {
        let dir = WriterDir::new();
        let mut traffic = Traffic::new(configs(&dir)[i].clone());
        for _ in 0..3 {
            let temp = traffic.fill(5000);
            let mut file = OpenOptions::new().append(true).open(temp).unwrap();
            file.write_all(&[b'?'; 10_000]).unwrap();
        }
        traffic.writer.flush(BOUND).unwrap();
        assert_eq!(traffic.end_with_losses(&dir), 0);
        dir.assert_clean();
    }
}

/// They are found in /proc.
#[cfg(target_os = "linux")]
mod descriptors {
    use std::fs::{self, File};
    use std::os::fd::{FromRawFd, OwnedFd, RawFd};
    use std::path::Path;

    /// The descriptors of this process that lead to files with this extension in the directory.
    pub fn those_of(dir: &Path, extension: &str) -> Vec<RawFd> {
        let entries = fs::read_dir("/proc/self/fd").unwrap();
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let leads = |fd: &RawFd| {
            let path = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
            path.parent() == Some(dir) && path.extension().is_some_and(|found| found == extension)
        };
        numbers.filter(leads).collect()
    }

    /// Puts another file in the place of a descriptor. That happens to a program that closes all of its descriptors, to
    /// become a daemon, and then opens files of its own.
    pub fn steal(fd: RawFd, file: &File) {
        // SAFETY: the number is in use, and what it stands for changes here, as is the purpose.
        let mut stolen = unsafe { OwnedFd::from_raw_fd(fd) };
        rustix::io::dup2(file, &mut stolen).unwrap();
        std::mem::forget(stolen);
    }
}

// They are found in /proc.
#[cfg(target_os = "linux")]
#[test]
fn descriptors_that_now_are_other_files_are_left_alone() {
    use std::os::fd::{FromRawFd, OwnedFd, RawFd};
    use std::sync::Mutex;

    for i in 0..3 {
        let dir = WriterDir::new();
        let other = dir.root().join("other");
        fs::write(&other, "somebody's").unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&other).unwrap();
        let stolen: Arc<Mutex<Vec<RawFd>>> = Arc::default();
        let strike = Arc::new(AtomicBool::new(false));
        let (strikes, temp, takes) = (strike.clone(), dir.temp.clone(), stolen.clone());
        let fs = TestFs::new(move |call: &Call<'_>| {
            if call.op == Op::Write && call.is_temp() && strikes.swap(false, Ordering::SeqCst) {
                let ours =
                    ["tmp", "state"].map(|extension| descriptors::those_of(&temp, extension));
                assert!(ours.iter().all(|fds| !fds.is_empty()), "{ours:?}");
                for fd in ours.concat() {
                    descriptors::steal(fd, &file);
                    takes.lock().unwrap().push(fd);
                }
            }
            Answer::Go
        });
        // The hook runs on the only worker, so nothing else uses the descriptors meanwhile.
        let mut traffic = Traffic::new(configs(&dir)[i].clone().recover(false).fs(fs));
        for round in 0..3 {
            traffic.fill(5000);
            strike.store(true, Ordering::SeqCst);
            traffic.fill(5000);
            if round == 1 {
                traffic.writer.flush(BOUND).unwrap();
            }
        }
        // The state file says again that the writer lives.
        let options = RecoverOptions::new(&dir.path, &dir.temp);
        assert_eq!(recover(&options).unwrap().alive, 1);
        assert_eq!(traffic.end_with_losses(&dir), 0);
        dir.assert_clean();
        assert!(fs::read(&other).unwrap() == b"somebody's");
        let stolen = std::mem::take(&mut *stolen.lock().unwrap());
        assert!(stolen.len() >= 6, "{stolen:?}");
        for fd in stolen {
            let path = fs::read_link(format!("/proc/self/fd/{fd}"));
            assert_eq!(path.unwrap(), other, "descriptor {fd} is its new owner's");
            // SAFETY: the descriptor is this test's.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
}

/// As when a file system is mounted over one of the directories after the start.
#[test]
fn directories_that_come_to_be_apart_cost_nothing() {
    for i in 0..3 {
        let dir = WriterDir::new();
        let apart = Arc::new(AtomicBool::new(false));
        let (is_apart, temp) = (apart.clone(), dir.temp.clone());
        let crossings = Arc::new(AtomicU32::new(0));
        let crossed = crossings.clone();
        let fs = TestFs::new(move |call: &Call<'_>| {
            let leaves = call.op == Op::Rename && call.path.parent() == Some(&temp);
            if leaves && is_apart.load(Ordering::SeqCst) {
                crossed.fetch_add(1, Ordering::SeqCst);
                return Answer::Error(Errno::XDEV);
            }
            Answer::Go
        });
        let mut traffic = Traffic::new(configs(&dir)[i].clone().fs(fs.clone()));
        traffic.fill(3000);
        traffic.writer.flush(BOUND).unwrap();
        traffic.fill(300_000);
        apart.store(true, Ordering::SeqCst);
        traffic.writer.flush(BOUND).unwrap();
        Tally::of(&dir).assert_ranges(&[(1, traffic.seq)]);
        // The next files are written where they can be renamed.
        let temp = traffic.fill(3000);
        assert_eq!(temp.parent(), Some(&*dir.path));
        traffic.writer.flush(BOUND).unwrap();
        assert_eq!(crossings.load(Ordering::SeqCst), 1);
        close(&traffic.writer);
        Tally::of(&dir).assert_ranges(&[(1, traffic.seq)]);
        dir.assert_clean();
        fs.assert_sound();
    }
}

/// As on a network file system: the rename is done, and its answer is lost.
#[test]
fn a_rename_that_took_effect_is_one() {
    for i in 0..3 {
        let dir = WriterDir::new();
        let strike = Arc::new(AtomicBool::new(false));
        let strikes = strike.clone();
        let fs = TestFs::new(move |call: &Call<'_>| {
            let strikes = call.op == Op::Rename && strikes.swap(false, Ordering::SeqCst);
            if strikes { Answer::DoneBut(Errno::IO) } else { Answer::Go }
        });
        let mut traffic = Traffic::new(configs(&dir)[i].clone().fs(fs));
        for _ in 0..3 {
            traffic.fill(3000);
            strike.store(true, Ordering::SeqCst);
            let _ = traffic.writer.flush(BOUND);
            let visible = dir.contents();
            // What comes next goes to another file.
            traffic.fill(500);
            assert!(dir.contents().starts_with(&visible));
        }
        traffic.writer.flush(BOUND).unwrap();
        assert_eq!(traffic.end_with_losses(&dir), 0);
        dir.assert_clean();
    }
}

/// The same, and a consumer takes the visible file before the writer looks.
#[test]
fn a_rename_that_took_effect_is_one_though_the_file_is_taken_at_once() {
    for i in 0..3 {
        let dir = WriterDir::new();
        let taken = dir.root().join("taken");
        fs::create_dir(&taken).unwrap();
        // 1: the next rename loses its answer; 2: then the consumer comes.
        let next = Arc::new(AtomicU32::new(0));
        let (step, path, to) = (next.clone(), dir.path.clone(), taken.clone());
        let fs = TestFs::new(move |call: &Call<'_>| {
            if call.op == Op::Rename
                && step.compare_exchange(1, 2, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            {
                return Answer::DoneBut(Errno::IO);
            }
            if step.compare_exchange(2, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                for file in visible(&path) {
                    fs::rename(&file, to.join(file.file_name().unwrap())).unwrap();
                }
            }
            Answer::Go
        });
        let mut traffic = Traffic::new(configs(&dir)[i].clone().fs(fs));
        for _ in 0..3 {
            traffic.fill(3000);
            next.store(1, Ordering::SeqCst);
            let _ = traffic.writer.flush(BOUND);
            until("the consumer has come", || next.load(Ordering::SeqCst) == 0);
            traffic.fill(500);
        }
        traffic.writer.flush(BOUND).unwrap();
        let files = visible(&taken);
        assert!(files.len() >= 3);
        for file in files {
            fs::rename(&file, dir.path.join(file.file_name().unwrap())).unwrap();
        }
        assert_eq!(traffic.end_with_losses(&dir), 0);
        dir.assert_clean();
    }
}

fn visible(dir: &Path) -> Vec<PathBuf> {
    paths(dir).into_iter().filter(|path| !is_hidden(path)).collect()
}

/// As by `chmod 0`. The temp file takes what comes, so that callers do not feel it.
#[test]
fn a_directory_that_refuses_even_a_look_holds_no_memory_up() {
    let dir = WriterDir::new();
    let refuses = Arc::new(AtomicBool::new(false));
    let (refusing, path, temp) = (refuses.clone(), dir.path.clone(), dir.temp.clone());
    let fs = TestFs::new(move |call: &Call<'_>| {
        let is_there = call.path.starts_with(&path) && !call.path.starts_with(&temp);
        if refusing.load(Ordering::SeqCst) && (call.op == Op::Rename || is_there) {
            return Answer::Error(Errno::ACCESS);
        }
        Answer::Go
    });
    let mut traffic = Traffic::new(dir.config().queue_size(64).io(Io::Buffered).fs(fs));
    traffic.fill(3000);
    refuses.store(true, Ordering::SeqCst);
    assert!(traffic.writer.flush(std::time::Duration::from_millis(1)).is_err());
    // Several times what memory holds.
    traffic.fill(50_000);
    refuses.store(false, Ordering::SeqCst);
    traffic.writer.flush(BOUND).unwrap();
    assert_eq!(traffic.end_with_losses(&dir), 0);
    dir.assert_clean();
}

/// Its state file was moved with the directory, and another one was made.
#[test]
fn a_writer_lives_in_a_temp_directory_that_was_moved_away() {
    if !moves_used_dirs() {
        return;
    }
    for i in 0..3 {
        let dir = WriterDir::new();
        let mut traffic = Traffic::new(configs(&dir)[i].clone().recover(false));
        traffic.fill(3000);
        let gone = dir.root().join("gone");
        fs::rename(&dir.temp, &gone).unwrap();
        fs::create_dir(&dir.temp).unwrap();
        traffic.writer.flush(BOUND).unwrap();
        traffic.fill(3000);
        assert_eq!(dir.states().len(), 1);
        for temp in [&gone, &dir.temp] {
            let recovery = recover(&RecoverOptions::new(&dir.path, temp)).unwrap();
            assert_eq!((recovery.alive, recovery.instances), (1, 0), "{recovery:?}");
            assert!(recovery.set_aside.is_empty() && recovery.published.is_empty(), "{recovery:?}");
        }
        traffic.writer.flush(BOUND).unwrap();
        assert_eq!(traffic.end_with_losses(&dir), 0);
        // What is left there claims nothing.
        let recovery = recover(&RecoverOptions::new(&dir.path, &gone)).unwrap();
        assert_eq!((recovery.instances, recovery.published.len()), (1, 0), "{recovery:?}");
    }
}
