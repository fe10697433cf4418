//! Does `--recorder` keep the newest lines in memory, and write them when a signal or the end says so?

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bufferedwriter_testkit::process;
use bufferedwriter_testkit::wait::holds_within;
use rustix::process::Signal;
use serde_json::Value;

use crate::help::{Place, Program, numbered, wait_until};
use crate::stats::stats;

/// Four chunks are kept, and more than enough come on top for a dump.
const SMALL: [&str; 3] = ["--recorder=4KiB", "--size=1KiB", "--queue-size=64"];

/// All that it was fed is in memory.
fn wait_until_recorded(program: &Program<'_>) {
    program.wait_until_read();
    wait_until("it has handed over what it has read", || program.is_asleep());
}

/// The lines are the last ones of these, without a gap.
fn assert_newest(found: &[u8], lines: &str) {
    let found = str::from_utf8(found).unwrap();
    assert!(lines.ends_with(found) && found.len() > 2048, "{found}");
    assert!(lines[..lines.len() - found.len()].ends_with('\n'), "a line is torn: {found}");
}

/// What the one writer tells of itself.
fn told(place: &Place) -> Value {
    let text = stats(place, &["--json"]).1;
    let found: Value = serde_json::from_str(&text).unwrap();
    found["writers"][0]["last_refresh"].clone()
}

#[test]
fn nothing_is_written_before_a_signal_and_then_the_newest_lines_are() {
    for signal in [Signal::USR1, Signal::HUP] {
        let place = Place::new();
        let mut program = place.started(&SMALL);
        program.feed(numbered(2000));
        wait_until_recorded(&program);
        assert!(place.visible().is_empty() && place.temp_bytes() == 0);
        program.signal(signal);
        wait_until("a file is there", || !place.visible().is_empty());
        let first = place.written();
        assert_newest(&first, &numbered(2000));
        program.feed("the end\n");
        let ended = program.end();
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(place.written(), [&first[..], b"the end\n"].concat());
        assert_eq!(ended.records("overwritten"), 2002 - ended.records("written"));
    }
}

#[test]
fn the_end_of_the_input_and_sigterm_write_what_is_in_memory() {
    for is_end in [true, false] {
        let place = Place::new();
        let mut program = place.started(&SMALL);
        program.feed(numbered(1000));
        wait_until_recorded(&program);
        let ended = if is_end {
            program.end()
        } else {
            program.signal(Signal::TERM);
            program.wait()
        };
        assert_eq!((ended.code, ended.records("refused")), (0, 0), "{ended:?}");
        assert!(ended.stderr.contains("; overwritten ") || ended.records("overwritten") > 0);
        assert_newest(&place.written(), &numbered(1000));
    }
}

#[test]
fn a_line_longer_than_memory_is_refused_and_the_others_stay() {
    let place = Place::new();
    let long = "x".repeat(5000);
    let ended = place.run(SMALL, format!("before\n{long}\nafter\n"));
    assert_eq!((ended.code, ended.records("refused")), (3, 1), "{ended:?}");
    assert_eq!(place.written(), b"before\nafter\n");
}

#[test]
fn a_dump_that_the_disk_does_not_take_is_reported_and_comes_with_the_end() {
    let place = Place::new();
    let program = place.started(&[&SMALL[..], &["--deadline=300ms"]].concat());
    // The directory of the files is gone for a while.
    let (out, aside) = (place.out(), place.join("aside"));
    fs::rename(&out, &aside).unwrap();
    program.signal(Signal::USR1);
    wait_until("it is told", || program.stderr().contains("not all published yet: dump: "));
    fs::rename(&aside, &out).unwrap();
    let ended = program.end();
    assert_eq!((ended.code, ended.records("written")), (0, 1), "{ended:?}");
    assert_eq!(place.written(), b"first\n");
}

/// Times that threads of the writer went to sleep so far.
fn sleeps(program: &Program<'_>) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", program.id())).unwrap();
    let tasks = tasks.map(|task| task.unwrap().path());
    let is_writers = |task: &PathBuf| {
        fs::read_to_string(task.join("comm")).unwrap_or_default().starts_with("bw-")
    };
    let count = |task: PathBuf| {
        process::number(task.strip_prefix("/proc").unwrap().display(), "voluntary_ctxt_switches:")
    };
    tasks.filter(is_writers).map(count).sum()
}

#[test]
fn nothing_wakes_while_nothing_is_asked() {
    let place = Place::new();
    let mut program = place.started(&SMALL);
    wait_until("the line is told", || told(&place)["accepted"]["records"] == 1);
    // Its thread looks a second later at the soonest.
    let second = Duration::from_millis(1500);
    let mut before = sleeps(&program);
    wait_until("its threads rest", || {
        let last = before;
        let wakes = holds_within(second, || sleeps(&program) != last);
        before = sleeps(&program);
        !wakes
    });
    assert!(before > 0, "the writer's threads have other names");
    let began = Instant::now();
    wait_until("lines are read for a while", || {
        program.feed(numbered(100));
        began.elapsed() > 2 * second
    });
    assert_eq!(sleeps(&program), before);
    assert_eq!(program.end().code, 0);
}

#[test]
fn stats_tell_what_was_overwritten() {
    let place = Place::new();
    let mut program = place.started(&SMALL);
    program.feed(numbered(2000));
    wait_until_recorded(&program);
    program.signal(Signal::USR1);
    wait_until("the dump is told", || told(&place)["written"]["records"].as_u64() > Some(0));
    let told = told(&place);
    let of = |kind: &str| told[kind]["records"].as_u64().unwrap();
    assert_eq!(of("accepted"), of("written") + of("overwritten") + of("pending"));
    let line = format!("\n  overwritten {} records, ", of("overwritten"));
    assert!(stats(&place, &[]).1.contains(&line));
    let metrics = stats(&place, &["--prometheus"]).1;
    let ends = format!(" {}\n", of("overwritten"));
    let name = "bufferedwriter_overwritten_records_total{";
    assert!(metrics.split_inclusive('\n').any(|l| l.starts_with(name) && l.ends_with(&ends)));
    assert_eq!(program.end().code, 0);
}
