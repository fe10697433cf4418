//! Does a signal get its answer at once, and the tail its file?

use std::io::Write;
use std::thread;

use rustix::process::Signal;

use crate::help::{PLAIN, Place, numbered, sorted, wait_until};

/// Only a signal or the end publishes. After a signal nothing more is read.
const NEVER: [&str; 3] = ["--forced=0", "--file-age=0", "--grace=0"];

#[test]
fn sigterm_and_sigint_publish_what_was_read_from_a_silent_pipe() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let place = Place::new();
        let mut program = place.started(&NEVER);
        program.signal(signal);
        let ended = program.wait();
        assert_eq!((ended.code, &ended.json["stopped_by"]), (0, &name.into()), "{ended:?}");
        assert_eq!(place.written(), b"first\n");
    }
}

#[test]
fn what_the_pipe_held_at_the_signal_is_written_even_a_line_without_newline() {
    let place = Place::new();
    let mut program = place.started(&NEVER);
    let input = format!("{}the last words", numbered(1000));
    program.feed(&input);
    program.signal(Signal::TERM);
    let ended = program.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
    let expected = format!("first\n{input}\n");
    assert_eq!(sorted(&place.written()), sorted(expected.as_bytes()));
    let told = "standard input, line 1002: stopped after 14 bytes, before the end of the line";
    assert!(ended.stderr.contains(told), "{ended:?}");
}

#[test]
fn a_busy_pipe_does_not_hold_up_the_stop() {
    let place = Place::new();
    let mut program = place.started(&NEVER);
    let mut feed = program.take_stdin();
    // Until the program is gone.
    let feeder = thread::spawn(move || while feed.write_all(b"one more line\n").is_ok() {});
    program.signal(Signal::TERM);
    let ended = program.wait();
    feeder.join().unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn sighup_publishes_and_the_run_goes_on() {
    let place = Place::new();
    let mut program = place.started(&NEVER);
    program.signal(Signal::HUP);
    wait_until("the line is visible", || place.written() == b"first\n");
    program.feed("second\n");
    let ended = program.end();
    assert_eq!((ended.code, ended.records("written")), (0, 2), "{ended:?}");
    assert_eq!(place.visible().len(), 2);
}

#[test]
fn a_line_is_visible_as_soon_as_the_options_say() {
    let place = Place::new();
    // Not because of its age.
    let mut program = place.start(["--forced=1s", "--file-age=0"]);
    program.feed("tail -f\n");
    wait_until("the line is visible", || place.written() == b"tail -f\n");
    assert_eq!(program.end().code, 0);
}

#[test]
fn a_signal_while_memory_is_full_is_answered() {
    let place = Place::new();
    let args = ["--queue-size=0", "--forced=1s", "--size=64", "--deadline=1h", "--grace=100ms"];
    let mut program = place.started(&args);
    let mut feed = program.take_stdin();
    let feeder = thread::spawn(move || while feed.write_all(b"one more line\n").is_ok() {});
    wait_until("the writer is busy", || place.written().len() > 100);
    program.signal(Signal::TERM);
    let ended = program.wait();
    feeder.join().unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn an_end_before_the_first_line_is_an_end() {
    let place = Place::new();
    let ended = place.run(PLAIN, "");
    assert_eq!((ended.code, &ended.json["stopped_by"]), (0, &serde_json::Value::Null));
}

/// The first signal does nothing while somebody may still write into the pipe.
#[test]
fn until_the_end_of_the_input_a_signal_does_nothing() {
    let place = Place::new();
    let mut program = place.started(&["--until-eof", "--grace=0"]);
    program.signal(Signal::TERM);
    program.feed("after the signal\n");
    program.wait_until_read();
    let ended = program.end();
    assert_eq!((ended.code, ended.records("written")), (0, 2), "{ended:?}");
}
