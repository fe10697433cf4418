//! Promise: what a writer that died had written whole is published by the next one, in the background. No record is
//! torn or there twice, and there is no left-over. Nobody waits for it, and no error of it shows anywhere else.
//!
//! Writers that die are processes: this test binary, run again with an environment variable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, Config, Recovery, recover};
use bufferedwriter_testkit::dir::paths;

use crate::support::{
    Answer, BOUND, Gate, Op, Tally, TestFs, WriterDir, close, links, moves_used_dirs, of_this_boot,
    record, recovery_of, until,
};

const CHILD: &str = "BUFFEREDWRITER_RECOVERY_CHILD";
const FILE_SIZE: &str = "BUFFEREDWRITER_RECOVERY_FILE_SIZE";
/// More than a child writes: all is in temp files.
const NEVER: &str = "1000000000";

pub(crate) fn config(dir: &Path) -> Config {
    let config = Config::default().path(dir.join("path")).temp(dir.join("temp")).size(100);
    of_this_boot(config.workers(3).queue_size(100).file_age(Duration::ZERO))
}

/// Not a test of its own: what the other process does.
#[test]
fn child() {
    let Some(dir) = env::var_os(CHILD) else { return };
    let dir = Path::new(&dir);
    let file_size = env::var(FILE_SIZE).unwrap().parse().unwrap();
    let writer = BufferedWriter::new(config(dir).file_size(file_size)).unwrap();
    thread::scope(|scope| {
        for producer in 0..3 {
            let writer = &writer;
            scope.spawn(move || {
                let mut buffer = Vec::new();
                for seq in 0.. {
                    record(&mut buffer, producer, seq, 30 + seq as usize % 50);
                    if writer.write_timeout(&buffer, BOUND).is_err() {
                        return;
                    }
                    if seq > 300 {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
    });
}

/// Another process, killed at the latest when this goes.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(dir: &WriterDir, file_size: &str) -> Process {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "recovery::child", "--nocapture"]).env(CHILD, dir.root());
    command.env(FILE_SIZE, file_size);
    Process(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// Waits until some temp file has grown twice: then its first bytes are noted in the state file. Where a batch is
/// several writes, it may have grown by one batch, so the state file is asked as well.
fn wait_noted(dir: &WriterDir) {
    let len = |temp: &PathBuf| temp.metadata().map_or(0, |found| found.len());
    let mut seen = BTreeMap::new();
    until("a temp file grows twice", || {
        dir.temps().into_iter().any(|temp| {
            let now = len(&temp);
            now > 0 && now > *seen.entry(temp).or_insert(now)
        })
    });
    // The number of whole records in each worker's entry of 128 bytes, behind a header of 16 KiB.
    until("records are noted", || {
        let bytes = fs::read(dir.states().pop().unwrap()).unwrap();
        let has_records = |worker: usize| bytes[16_384 + worker * 128 + 32..][..8] != [0; 8];
        (0..3).any(has_records)
    });
}

/// A process that had written something, and was killed.
pub(crate) fn die(dir: &WriterDir) {
    let child = spawn(dir, NEVER);
    wait_noted(dir);
    drop(child);
}

pub(crate) fn recovered(writer: &BufferedWriter) -> Recovery {
    until("the recovery is over", || writer.recovery().is_some());
    writer.recovery().unwrap()
}

#[test]
fn the_next_writer_publishes_what_a_killed_one_had_written() {
    let dir = WriterDir::new();
    die(&dir);
    assert!(dir.files().is_empty());
    let writer = BufferedWriter::new(config(dir.root())).unwrap();
    let recovery = recovered(&writer);
    assert_eq!((recovery.instances, recovery.alive), (1, 0), "{recovery:?}");
    assert!(recovery.errors.is_empty() && recovery.set_aside.is_empty(), "{recovery:?}");
    assert!(!recovery.published.is_empty());
    let tally = Tally::of(&dir);
    assert_eq!(
        (tally.found.files, tally.found.bytes),
        (recovery.published.len() as u64, recovery.bytes)
    );
    assert!(tally.found.records > 0);
    close(&writer);
    dir.assert_clean();
}

#[test]
fn who_lives_is_not_recovered() {
    let dir = WriterDir::new();
    let child = spawn(&dir, NEVER);
    wait_noted(&dir);
    let writer = BufferedWriter::new(config(dir.root())).unwrap();
    let recovery = recovered(&writer);
    assert_eq!((recovery.instances, recovery.alive, recovery.published.len()), (0, 1, 0));
    let by_hand = recover(&recovery_of(&dir.path, &dir.temp)).unwrap();
    assert_eq!((by_hand.instances, by_hand.alive), (0, 2));
    drop(child);
    close(&writer);
    let options = recovery_of(&dir.path, &dir.temp).prefix("");
    let dry = recover(&options.clone().dry_run(true)).unwrap();
    assert!(dir.files().is_empty() && !dry.published.is_empty());
    let done = recover(&options).unwrap();
    assert_eq!((dry.published.len(), dry.bytes), (done.published.len(), done.bytes));
    Tally::of(&dir);
    dir.assert_clean();
    assert!(recover(&options).unwrap().is_empty());
}

#[test]
fn what_was_written_after_the_temp_directory_came_back_is_recovered_too() {
    if !moves_used_dirs() {
        return;
    }
    let dir = WriterDir::new();
    let child = spawn(&dir, "2000");
    until("the child publishes", || dir.files().len() > 5);
    let gone = dir.root().join("gone");
    fs::rename(&dir.temp, &gone).unwrap();
    fs::create_dir(&dir.temp).unwrap();
    // Whichever worker has a file has a record in the new state file, of 128 bytes behind a header of 16 KiB and before the counters.
    // With little traffic only one of them has a file.
    until("all workers that write know the new state file", || {
        let state = dir.states().pop();
        let bytes = state.map(|state| fs::read(state).unwrap()).unwrap_or_default();
        let records = bytes.get(16_384..).unwrap_or_default();
        let knows = |worker: &usize| records[worker * 128..][..128].iter().any(|&byte| byte > 0);
        let has_file = |worker: &usize| {
            let of = format!("-w{worker}-");
            let temps = paths(&dir.temp).into_iter().chain(paths(&dir.path));
            let names = temps.map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
            names.filter(|name| name.ends_with(".tmp")).any(|name| name.contains(&of))
        };
        let is_known = |worker: usize| knows(&worker) || !has_file(&worker);
        records.len() >= 3 * 128 && (0..3).any(|worker| knows(&worker)) && (0..3).all(is_known)
    });
    drop(child);
    let writer = BufferedWriter::new(config(dir.root())).unwrap();
    let recovery = recovered(&writer);
    assert_eq!((recovery.instances, recovery.alive), (1, 0), "{recovery:?}");
    // The files that were moved are copied when their worker comes to them. One copy may be cut short by the death.
    let worker_and_seq = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let end = name.find(".log").unwrap();
        name[name.rfind("-w").unwrap()..end].to_owned()
    };
    let moved = paths(&gone);
    let temps = moved.iter().filter(|path| path.extension().is_some_and(|end| end == "tmp"));
    let originals: Vec<_> = temps.map(|path| worker_and_seq(path)).collect();
    for aside in &recovery.set_aside {
        assert!(originals.contains(&worker_and_seq(aside)), "{recovery:?}, {moved:?}");
        fs::remove_file(aside).unwrap();
    }
    Tally::of(&dir);
    close(&writer);
    dir.assert_clean();
}

/// A child of the dead process holds its locks until it has become another program.
#[test]
fn a_lock_that_is_held_for_a_moment_belongs_to_no_living_writer() {
    let dir = WriterDir::new();
    die(&dir);
    let tries = AtomicU64::new(0);
    let fs = TestFs::new(move |call| {
        let is_dead = call.op == Op::Lock && tries.fetch_add(1, Ordering::Relaxed) < 3;
        if is_dead { Answer::Error(Errno::WOULDBLOCK) } else { Answer::Go }
    });
    let options = recovery_of(&dir.path, &dir.temp).fs(fs);
    let recovery = recover(&options).unwrap();
    assert_eq!((recovery.instances, recovery.alive), (1, 0), "{recovery:?}");
    Tally::of(&dir);
    dir.assert_clean();
}

#[test]
fn errors_are_told_and_harm_nobody() {
    let dir = WriterDir::new();
    die(&dir);
    let fs = TestFs::new(|call| match call.op {
        Op::List => Answer::Error(Errno::IO),
        _ => Answer::Go,
    });
    let writer = BufferedWriter::new(config(dir.root()).fs(fs)).unwrap();
    writer.write(b"record").unwrap();
    let recovery = recovered(&writer);
    assert_eq!((recovery.errors.len(), recovery.errors[0].operation()), (1, "list"));
    assert_eq!(close(&writer).files, 1);
}

#[test]
fn a_recovery_that_hangs_holds_up_nobody() {
    let (dir, (gate, pass)) = (WriterDir::new(), Gate::open());
    let fs = TestFs::new(move |call| {
        if call.op == Op::List {
            pass.through();
        }
        Answer::Go
    });
    gate.set_shut(true);
    let writer = BufferedWriter::new(config(dir.root()).fs(fs.clone())).unwrap();
    until("it hangs", || gate.waiting() == 1);
    assert!(writer.recovery().is_none());
    writer.write(b"record").unwrap();
    writer.flush(BOUND).unwrap();
    let began = Instant::now();
    let report = writer.close(Duration::from_millis(50)).unwrap();
    assert!(began.elapsed() < BOUND / 2 && report.files == 1);
    gate.set_shut(false);
    recovered(&writer);

    // After a close the drop of the last handle waits for nothing, whatever `drop_timeout` says.
    gate.set_shut(true);
    let slow = config(dir.root()).fs(fs).drop_timeout(BOUND * 2);
    let writer = BufferedWriter::new(slow).unwrap();
    until("it hangs again", || gate.waiting() == 1);
    writer.close(Duration::from_millis(50)).unwrap();
    let began = Instant::now();
    drop(writer);
    assert!(began.elapsed() < BOUND / 2, "{:?}", began.elapsed());
    gate.set_shut(false);

    let off = BufferedWriter::new(config(dir.root()).recover(false)).unwrap();
    close(&off);
    assert!(off.recovery().is_none());
}

#[test]
fn a_close_waits_for_the_recovery() {
    let dir = WriterDir::new();
    die(&dir);
    let fs = TestFs::new(|_| Answer::Go);
    let writer = BufferedWriter::new(config(dir.root()).fs(fs)).unwrap();
    close(&writer);
    assert_eq!(writer.recovery().unwrap().instances, 1);
    dir.assert_clean();
}

#[test]
fn missing_directories_are_told() {
    let dir = WriterDir::new();
    let missing = dir.root().join("missing");
    let error = recover(&recovery_of(&dir.path, &missing)).unwrap_err();
    assert_eq!((error.operation(), error.path()), ("open directory", Some(&*missing)));
    // Through links, the directories are those that they stand for.
    die(&dir);
    let link = dir.root().join("link");
    if !links(&dir.path, &link) {
        return;
    }
    assert_eq!(recover(&recovery_of(link, &dir.temp)).unwrap().instances, 1);
}

/// A recovery takes the state file of a writer that is just starting for a left-over, and has its lock for long.
/// The writer waits rather than make another one of that name. The recovery would remove that one, with the probes.
#[test]
fn who_starts_while_a_recovery_has_its_state_file_starts() {
    let dir = WriterDir::new();
    let options = recovery_of(&dir.path, &dir.temp);
    let (gate, pass) = Gate::open();
    gate.set_shut(true);
    // The second list: with the lock.
    let lists = AtomicU64::new(0);
    let slow = TestFs::new(move |call| {
        if call.op == Op::List && lists.fetch_add(1, Ordering::SeqCst) == 1 {
            pass.through();
        }
        Answer::Go
    });
    let (gate, recovery) = (Mutex::new(Some(gate)), Mutex::new(None));
    let locks = AtomicU64::new(0);
    let disk = TestFs::new(move |call| {
        if call.op == Op::Lock && locks.fetch_add(1, Ordering::SeqCst) == 0 {
            let options = options.clone().fs(slow.clone());
            *recovery.lock().unwrap() = Some(thread::spawn(move || recover(&options).unwrap()));
            until("it has the lock", || gate.lock().unwrap().as_ref().unwrap().waiting() == 1);
        }
        // The writer waits, or it does not and tries its directories.
        if locks.load(Ordering::SeqCst) == 5 || call.op == Op::Rename {
            drop(gate.lock().unwrap().take());
            if let Some(recovery) = recovery.lock().unwrap().take() {
                let recovery = recovery.join().unwrap();
                assert!(recovery.errors.is_empty(), "{recovery:?}");
            }
        }
        Answer::Go
    });
    let writer = BufferedWriter::new(dir.config().workers(1).recover(false).fs(disk)).unwrap();
    assert_eq!(dir.states().len(), 1);
    close(&writer);
    dir.assert_clean();
}
