//! Promise: a close keeps its deadline whatever call hangs, and says exactly what is not in a visible file. The end
//! comes also by unwinding. The recipe for signals and panics works.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Durability};
use bufferedwriter_testkit::dir::paths;

use crate::support::{
    Answer, BOUND, Gate, Op, Tally, TestFs, WriterDir, close, record, stats, until,
};

/// Of a machine that is busy with other things.
const TOLERANCE: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_millis(50);

/// A writer with what is visible (records 0 to 9) and what is not (10 to 29). Every call of one operation, of
/// whatever file, hangs from now on.
fn hung(dir: &WriterDir, op: Op) -> (Gate, BufferedWriter) {
    let (gate, pass) = Gate::open();
    let fs = TestFs::new(move |call| {
        if call.op == op {
            pass.through();
        }
        Answer::Go
    });
    let config =
        dir.config().workers(2).size(64).queue_size(60).file_size(600).durability(Durability::File);
    let writer = BufferedWriter::new(config.fs(fs)).unwrap();
    let mut buffer = Vec::new();
    for seq in 0..30 {
        if seq == 10 {
            writer.flush(BOUND).unwrap();
            gate.set_shut(true);
        }
        record(&mut buffer, 1, seq, 50);
        writer.write(&buffer).unwrap();
    }
    (gate, writer)
}

/// What the final report says is visible, and nothing else ever becomes so.
fn settled(dir: &WriterDir, gate: &Gate, writer: &BufferedWriter) {
    gate.set_shut(false);
    until("the workers have ended", || {
        gate.waiting() == 0 && dir.temps().is_empty() && stats(writer).pending.is_zero()
    });
    let (now, tally) = (stats(writer), Tally::of(dir));
    assert_eq!((tally.found.records, tally.found.bytes), (now.written.records, now.written.bytes));
    assert!((0..10).all(|seq| tally.has(1, seq)));
    dir.assert_nothing_hidden();
}

#[test]
fn at_its_deadline_whatever_hangs() {
    for op in [Op::Create, Op::Write, Op::Sync, Op::Rename, Op::SyncDir] {
        let dir = WriterDir::new();
        let (gate, writer) = hung(&dir, op);
        let began = Instant::now();
        let error = writer.close(WAIT).expect_err("it hangs");
        let took = began.elapsed();
        assert!(took >= WAIT && took < WAIT + TOLERANCE, "{op:?}: {took:?}");
        let report = *error.report();
        assert_eq!(report.accepted.records, 30, "{op:?}");
        assert_eq!(report.accepted, report.written + report.lost.total() + report.unresolved);
        // Again, it takes no time and says the same, but for what was not known yet.
        let began = Instant::now();
        let again = writer.close(BOUND).expect_err("it was given up");
        assert!(began.elapsed() < TOLERANCE);
        assert_eq!((again.report().accepted, again.report().lost), (report.accepted, report.lost));
        settled(&dir, &gate, &writer);
        let now = stats(&writer);
        assert_eq!(now.lost, report.lost, "{op:?}");
        assert_eq!(now.written, report.written + report.unresolved, "{op:?}");
    }
}

/// The last call of all, after everything is visible.
#[test]
fn at_its_deadline_when_the_last_removal_hangs() {
    let dir = WriterDir::new();
    let (gate, writer) = hung(&dir, Op::Remove);
    writer.flush(BOUND).unwrap();
    // The workers need their time to end, on a busy machine.
    let wait = Duration::from_secs(2);
    let began = Instant::now();
    let report = writer.close(wait).unwrap();
    assert!(began.elapsed() < wait + TOLERANCE, "{:?}", began.elapsed());
    assert_eq!((report.written, report.written.records), (report.accepted, 30));
    gate.set_shut(false);
    until("the state file is gone", || dir.is_clean());
    Tally::of(&dir).assert_ranges(&[(1, 30)]);
}

#[test]
fn the_first_deadline_ends_the_wait_of_all() {
    let dir = WriterDir::new();
    let (gate, writer) = hung(&dir, Op::Write);
    let began = Instant::now();
    let reports: Vec<_> = thread::scope(|scope| {
        let close = |i: u32| {
            let wait = if i == 3 { WAIT } else { BOUND * 2 };
            *writer.close(wait).expect_err("it hangs").report()
        };
        let closers: Vec<_> = (0..6).map(|i| scope.spawn(move || close(i))).collect();
        closers.into_iter().map(|closer| closer.join().unwrap()).collect()
    });
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert!(reports.iter().all(|report| report.lost == reports[0].lost), "{reports:?}");
    assert_eq!(reports[0].lost.shutdown.records + reports[0].written.records, 30);
    settled(&dir, &gate, &writer);
}

/// Writers that go on trying, a disk that hangs: what was accepted is exactly what the report says.
#[test]
fn while_others_write_to_a_disk_that_hangs() {
    let dir = WriterDir::new();
    let (gate, writer) = hung(&dir, Op::Write);
    let accepted: u64 = thread::scope(|scope| {
        let write = |producer: u32| {
            let (mut own, mut buffer, mut accepted) = (writer.producer(), Vec::new(), 0);
            loop {
                record(&mut buffer, producer, accepted, 40);
                match own.write(&buffer) {
                    Ok(()) => accepted += 1,
                    Err(bufferedwriter::WriteError::Full) => thread::yield_now(),
                    Err(_) => return u64::from(accepted),
                }
            }
        };
        let others: Vec<_> = (2..8).map(|producer| scope.spawn(move || write(producer))).collect();
        until("the memory is full", || stats(&writer).refused.full.records > 100);
        let report = *writer.close(WAIT).expect_err("it hangs").report();
        let accepted: u64 = others.into_iter().map(|other| other.join().unwrap()).sum();
        assert_eq!(report.accepted.records, 30 + accepted);
        assert_eq!(report.accepted, report.written + report.lost.total());
        accepted
    });
    assert!(accepted > 0);
    settled(&dir, &gate, &writer);
}

/// Closes in the middle of a panic.
struct AtUnwinding<'a>(&'a BufferedWriter);

impl Drop for AtUnwinding<'_> {
    fn drop(&mut self) {
        assert!(thread::panicking());
        self.0.write(b"last words\n").unwrap();
        close(self.0);
    }
}

#[test]
fn while_a_panic_unwinds() {
    for (is_closed, producer_is_last) in [(true, false), (false, false), (false, true)] {
        let dir = WriterDir::new();
        let writer = BufferedWriter::new(dir.config().drop_timeout(BOUND)).unwrap();
        writer.write(b"before\n").unwrap();
        let unwound = if is_closed {
            catch_unwind(AssertUnwindSafe(|| {
                let _closes = AtUnwinding(&writer);
                std::panic::resume_unwind(Box::new("on purpose"));
            }))
        } else {
            unwinding(writer, producer_is_last)
        };
        assert!(unwound.is_err());
        let text = String::from_utf8(dir.contents().concat()).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, if is_closed { ["before", "last words"] } else { ["amid", "before"] });
        dir.assert_clean();
    }
}

fn unwinding(writer: BufferedWriter, producer_is_last: bool) -> thread::Result<()> {
    let mut own = writer.producer();
    catch_unwind(AssertUnwindSafe(move || {
        own.write(b"amid\n").unwrap();
        if producer_is_last {
            drop(writer);
            let _own = own;
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        drop(own);
        let _writer = writer;
        std::panic::resume_unwind(Box::new("on purpose"));
    }))
}

/// `examples/shutdown.rs`, which `cargo test` builds beside the tests.
fn example() -> Option<PathBuf> {
    let tests = std::env::current_exe().unwrap();
    let example = tests.parent()?.parent()?.join("examples/shutdown");
    if !example.exists() {
        println!("skipped: {} is not built (cargo build --examples)", example.display());
        return None;
    }
    Some(example)
}

/// Runs the recipe until it ends in this way, and counts what is visible against what it says that it
/// wrote.
#[test]
fn the_recipe_for_signals_and_panics() {
    let Some(example) = example() else { return };
    for end in ["TERM", "INT", "panic", "exit"] {
        let dir = WriterDir::new();
        let mut child = Command::new(&example)
            .args([dir.root().to_str().unwrap(), end])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if ["TERM", "INT"].contains(&end) {
            // Its own directories, made when it runs.
            let ready = dir.root().join("ready");
            until("it runs", || ready.join("../started").exists());
            let sent = Command::new("kill").args(["-s", end, &child.id().to_string()]).status();
            assert!(sent.unwrap().success());
        }
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < BOUND, "{end}: it does not end");
            thread::yield_now();
        }
        let output = child.wait_with_output().unwrap();
        let code = output.status.code();
        let expected = match end {
            "TERM" => 143,
            "INT" => 130,
            "panic" => 101,
            _ => 0,
        };
        assert_eq!(code, Some(expected), "{end}");
        let said = String::from_utf8(output.stdout).unwrap();
        let accepted: usize = said.trim().parse().unwrap_or_else(|_| panic!("{end}: {said:?}"));
        let files = paths(&dir.root().join("ready"));
        let text = |file| std::fs::read_to_string(file).unwrap();
        let lines: usize = files.iter().map(|file| text(file).lines().count()).sum();
        assert!(lines > 0 && lines == accepted, "{end}: {lines} of {accepted} lines are visible");
        assert!(paths(&dir.root().join("unfinished")).is_empty(), "{end}");
    }
}
