//! Standard error or standard output that is open and that nobody reads: does the program go on, and end?

use std::io::{PipeReader, Read};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::help::{PLAIN, Place, exit_code, full_pipe, numbered, sorted, wait_until};

fn end(mut child: Child) -> i32 {
    let mut status = None;
    wait_until("it ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    exit_code(status.unwrap())
}

/// What is behind the filling of a full pipe.
fn said(reader: PipeReader) -> String {
    let mut said = Vec::new();
    { reader }.read_to_end(&mut said).unwrap();
    String::from_utf8(said).unwrap().trim_start_matches('x').to_owned()
}

#[test]
fn standard_error_that_nobody_reads_holds_up_neither_reading_nor_the_end() {
    let place = Place::new();
    let (_unread, stderr) = full_pipe();
    let args = ["--size=64", "--queue-size=10", "--workers=2"];
    let mut program = place.start_with(args, |command| _ = command.stderr(stderr));
    // The reading thread reports each long line.
    let long = "x".repeat(1000) + "\n";
    let lines = numbered(100);
    let input: String = lines.split_inclusive('\n').map(|line| format!("{line}{long}")).collect();
    program.feed(input.repeat(20));
    let ended = program.end();
    assert_eq!((ended.code, ended.records("refused")), (3, 2000), "{:?}", ended.json);
    assert_eq!(sorted(&place.written()), sorted(lines.repeat(20).as_bytes()));
}

#[test]
fn signals_are_answered_while_nobody_reads_standard_error() {
    let place = Place::new();
    let (_unread, stderr) = full_pipe();
    let args = ["--forced=0", "--file-age=0", "--grace=0"];
    let mut program = place.start_with(args, |command| _ = command.stderr(stderr));
    program.wait_until_caught();
    program.feed("first\n");
    program.wait_until_read();
    // The monitor tells of the failing disk, and then publishes.
    std::fs::rename(place.tmp(), place.join("away")).unwrap();
    program.signal(Signal::HUP);
    program.feed("second\n");
    program.wait_until_read();
    std::fs::rename(place.join("away"), place.tmp()).unwrap();
    wait_until("SIGHUP is answered", || !place.visible().is_empty());
    program.signal(Signal::TERM);
    let ended = program.wait();
    assert_eq!((ended.code, ended.records("written")), (0, 2), "{:?}", ended.json);
}

#[test]
fn what_is_dropped_is_counted_and_told_once_somebody_reads() {
    const MISSING: usize = 3000;
    let place = Place::new();
    let (reader, stderr) = full_pipe();
    let missing = (0..MISSING).map(|n| format!("there-is-no-such-file-{n}").into());
    let args: Vec<std::path::PathBuf> = missing.chain(["-".into()]).collect();
    let mut program = place.start_with(&args, |command| _ = command.stderr(stderr));
    program.wait_until_caught();
    // It gets here only if the messages hold it up nowhere.
    program.feed("first\n");
    program.wait_until_read();
    let said = std::thread::spawn(move || said(reader));
    assert_eq!(program.end().code, 1);
    let said = said.join().unwrap();
    let told = |line: &&str| line.starts_with("bufferedwriter: open there-is-no-such-file-");
    let lines: Vec<&str> = said.lines().collect();
    let count = lines.iter().filter(|line| told(line)).count();
    let dropped =
        format!("bufferedwriter: {} messages dropped: standard error was full", MISSING - count);
    assert!(count > 100 && count < MISSING, "{count}");
    assert!(lines.contains(&dropped.as_str()), "{dropped}");
}

#[test]
fn an_error_of_the_command_line_does_not_wait_for_a_reader() {
    let (_unread, stderr) = full_pipe();
    for args in [&["write", "--no-such-flag"][..], &["write", "--path=/tmp", "--workers=0"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
        command.args(args).stdin(Stdio::null()).stderr(stderr.try_clone().unwrap());
        assert_eq!(end(command.spawn().unwrap()), 2, "{args:?}");
    }
}

#[test]
fn the_summary_for_machines_waits_for_its_reader() {
    let place = Place::new();
    let (reader, stdout) = full_pipe();
    let mut program = place.start_with(PLAIN, |command| _ = command.stdout(stdout));
    program.feed("first\n");
    drop(program.take_stdin());
    wait_until("all is published", || place.written() == b"first\n");
    let said = std::thread::spawn(move || said(reader));
    assert_eq!(program.wait().code, 0);
    let json: serde_json::Value = serde_json::from_str(&said.join().unwrap()).unwrap();
    assert_eq!(json["written"]["records"], 1);
}

#[test]
fn a_summary_that_nobody_reads_is_given_up_at_the_deadline_or_at_a_second_signal() {
    for deadline in ["--deadline=200ms", "--deadline=1h"] {
        let place = Place::new();
        let (_unread, stdout) = full_pipe();
        let mut program = place.start_with([deadline], |command| _ = command.stdout(stdout));
        program.feed("first\n");
        drop(program.take_stdin());
        wait_until("all is published", || place.written() == b"first\n");
        if deadline == "--deadline=1h" {
            wait_until("the program ends", || {
                program.signal(Signal::TERM);
                program.has_ended()
            });
        }
        let ended = program.wait();
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains("standard output: nobody reads it"), "{ended:?}");
    }
}
