//! What becomes of inputs that can't be read?

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::help::{Place, wait_until};

#[test]
fn a_missing_file_is_named_and_the_others_go_on() {
    let place = Place::new();
    let (missing, there) = (place.join("missing.log"), place.file("there.log", "line\n"));
    let ended = place.run([&missing, &there], "");
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains(&format!("open {}", missing.display())), "{ended:?}");
    assert_eq!(place.written(), b"line\n");
}

#[test]
fn a_directory_is_named_and_the_others_go_on() {
    let place = Place::new();
    let there = place.file("there.log", "line\n");
    let ended = place.run([&place.tmp(), &there], "");
    assert_eq!(ended.code, 1, "{ended:?}");
    let message = format!("read {}: Is a directory", place.tmp().display());
    assert!(ended.stderr.contains(&message), "{ended:?}");
    assert_eq!(place.written(), b"line\n");
}

#[test]
fn a_named_pipe_is_read_from_its_first_writer_to_its_last() {
    let place = Place::new();
    let pipe = place.join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let mut program = place.start([&pipe]);
    std::fs::write(&pipe, "one\ntwo\n").unwrap();
    let ended = program.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(place.written(), b"one\ntwo\n");
}

#[test]
fn a_named_pipe_without_a_writer_does_not_delay_a_signal() {
    let place = Place::new();
    let pipe = place.join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let args = ["--forced=1s".into(), place.file("log", "line\n"), pipe];
    let mut program = place.start(args.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    wait_until("the file before the pipe is visible", || !place.written().is_empty());
    program.signal(Signal::TERM);
    let ended = program.wait();
    assert_eq!((ended.code, &ended.json["stopped_by"]), (0, &"SIGTERM".into()), "{ended:?}");
}

/// Writers come and go; a signal ends it.
#[test]
fn a_named_pipe_that_is_kept_open_has_no_end() {
    let place = Place::new();
    let pipe = place.join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let args: [std::ffi::OsString; 4] =
        ["--keep-open".into(), "--forced=100ms".into(), "--grace=0".into(), pipe.clone().into()];
    let mut program = place.start(args);
    for text in ["one\n", "two\n", "three\n"] {
        std::fs::write(&pipe, text).unwrap();
        wait_until("it is visible", || place.written().ends_with(text.as_bytes()));
    }
    program.signal(Signal::TERM);
    let ended = program.wait();
    assert_eq!((ended.code, &ended.json["stopped_by"]), (0, &"SIGTERM".into()), "{ended:?}");
    assert_eq!(place.written(), b"one\ntwo\nthree\n");
}
