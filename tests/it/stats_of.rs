//! What does a writer tell other processes of itself, and what does that cost it?

#[cfg(target_os = "linux")]
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, Config, InstanceStats, stats_of};
use bufferedwriter_testkit::dir::TestDir;
#[cfg(target_os = "linux")]
use bufferedwriter_testkit::process;

use crate::support::{BOUND, Op, WriterDir, close, fails_while_broken, until};

fn only(temp: &Path) -> InstanceStats {
    let mut found = stats_of(temp).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.pop().unwrap()
}

fn config(dir: &TestDir) -> Config {
    Config::default().path(dir.path()).temp(dir.path()).workers(2).drop_timeout(Duration::ZERO)
}

#[test]
fn records_in_memory_and_in_files_are_told_within_seconds() {
    let dir = TestDir::new();
    let writer = BufferedWriter::new(
        config(&dir).prefix("app_").file_age(Duration::ZERO).forced(Duration::ZERO),
    )
    .unwrap();
    let told = |temp: &Path| only(temp).last_refresh.unwrap().stats;
    assert!(told(dir.path()).accepted.is_zero());
    writer.write(b"one\n").unwrap();
    until("the record in memory is told", || told(dir.path()).accepted.records == 1);
    let it = only(dir.path());
    let stats = it.last_refresh.as_ref().unwrap().stats.clone();
    assert_eq!((stats.pending.records, stats.written.records, stats.workers.len()), (1, 0, 2));
    assert_eq!((stats.temp_dir.as_path(), it.path.as_path()), (dir.path(), dir.path()));
    assert_eq!((it.prefix.to_str(), it.pid, it.is_alive), (Some("app_"), std::process::id(), true));
    writer.flush(Duration::from_secs(30)).unwrap();
    until("the record in a file is told", || told(dir.path()).written.records == 1);
    let it = only(dir.path()).last_refresh.unwrap();
    let own = writer.stats();
    assert_eq!((it.stats.pending.records, it.stats.files), (0, 1));
    assert_eq!((it.stats.files_bytes, it.stats.written), (own.files_bytes, own.written));
    assert_eq!(it.stats.memory_bound_bytes, own.memory_bound_bytes);
    assert!(it.started <= it.refreshed && it.health.is_ok());
    writer.close(Duration::from_secs(30)).unwrap();
    assert!(stats_of(dir.path()).unwrap().is_empty());
}

/// The thread that tells them.
#[cfg(target_os = "linux")]
fn teller(of: &str) -> String {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let ids = threads.map(|thread| format!("self/task/{}", thread.unwrap().file_name().display()));
    let is_it = |id: &String| {
        fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == of)
    };
    let found: Vec<String> = ids.filter(is_it).collect();
    found.first().expect("a thread").clone()
}

/// In a process of its own, where no other test has a writer.
#[cfg(target_os = "linux")]
#[test]
fn an_idle_writer_neither_wakes_up_nor_writes() {
    if std::env::var_os("BUFFEREDWRITER_TOLD_CHILD").is_none() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "stats_of::an_idle_writer_neither_wakes_up_nor_writes",
            "--nocapture",
        ]);
        let status = child.env("BUFFEREDWRITER_TOLD_CHILD", "1").status().unwrap();
        return assert!(status.success());
    }
    let dir = TestDir::new();
    let writer = BufferedWriter::new(config(&dir)).unwrap();
    writer.write(b"one\n").unwrap();
    writer.flush(Duration::from_secs(30)).unwrap();
    until("the record is told", || {
        only(dir.path()).last_refresh.is_some_and(|told| told.stats.written.records == 1)
    });
    let thread = teller("bw-stats");
    let switches = || process::number(&thread, "voluntary_ctxt_switches:");
    let state = only(dir.path()).state_file;
    // Three looks a second apart, at most, see nothing new; then it rests without a limit.
    let waits = || fs::read_to_string(format!("/proc/{thread}/syscall")).unwrap_or_default();
    let rests = || {
        // futex(2) with a timeout has a pointer to it, and the fourth argument is 0 without.
        let waits = waits();
        let arguments: Vec<&str> = waits.split(' ').collect();
        arguments.len() > 4 && arguments[4] == "0x0"
    };
    if waits().split(' ').count() > 4 {
        until("it waits without a limit", rests);
    } else {
        let mut last = switches();
        until("it wakes up no more", || {
            std::thread::sleep(Duration::from_millis(2500));
            std::mem::replace(&mut last, switches()) == last
        });
    }
    let before = (switches(), fs::metadata(&state).unwrap().modified().unwrap());
    assert!(!bufferedwriter_testkit::wait::holds_within(Duration::from_millis(2500), || {
        (switches(), fs::metadata(&state).unwrap().modified().unwrap()) != before
    }));
    // And wakes up again.
    writer.write(b"two\n").unwrap();
    until("the next one is told", || {
        only(dir.path()).last_refresh.is_some_and(|told| told.stats.accepted.records == 2)
    });
}

#[test]
fn a_stall_is_told_with_its_error() {
    let dir = WriterDir::new();
    let (broken, fs) =
        fails_while_broken(Errno::NOSPC, |call| call.op == Op::Create && call.worker() == Some(0));
    let writer = BufferedWriter::new(dir.config().workers(1).fs(fs)).unwrap();
    writer.write(b"one\n").unwrap();
    writer.flush(Duration::ZERO).unwrap_err();
    let stall =
        || only(&dir.temp).last_refresh.and_then(|told| told.health.stalls.first().cloned());
    until("the stall is told", || stall().is_some_and(|stall| stall.attempts > 1));
    let stall = stall().unwrap();
    let said = std::io::Error::from(Errno::NOSPC).to_string();
    assert!(stall.error.to_string().contains(said.split(" (").next().unwrap()), "{stall}");
    assert_eq!((stall.worker, stall.error.operation()), (0, "told"));
    broken.store(false, Ordering::SeqCst);
    writer.flush(BOUND).unwrap();
    until("its end is told", || {
        only(&dir.temp)
            .last_refresh
            .is_some_and(|told| told.health.is_ok() && told.stats.files == 1)
    });
    close(&writer);
}
