//! Does a stop lose or tear lines that other programs still write, or that another process reads on?

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Seek, Write, pipe};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::help::{PLAIN, Place, numbered, sorted, wait_until};

/// A time that never passes in a test: only the end of the input ends it.
const LONG: &str = "--grace=1h";

/// The terminal's Ctrl-C goes to all programs of a pipeline, and so may a SIGTERM.
#[test]
fn last_words_after_the_signal_are_read_to_the_end_of_the_input() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let place = Place::new();
        let mut program = place.started(&[LONG]);
        program.signal(signal);
        program.wait_until_heard();
        program.feed(numbered(1000));
        program.wait_until_read();
        program.feed("last words");
        let ended = program.end();
        assert_eq!((ended.code, &ended.json["stopped_by"]), (0, &name.into()), "{ended:?}");
        assert_eq!(ended.stderr, "");
        let expected = format!("first\n{}last words\n", numbered(1000));
        assert_eq!(sorted(&place.written()), sorted(expected.as_bytes()));
    }
}

/// Apache's graceful restart: the logger gets its SIGTERM while old children answer their last
/// requests. Each child of the server writes its lines into the same pipe.
#[test]
fn children_of_a_server_that_write_on_lose_no_line() {
    const CHILDREN: usize = 4;
    const LINES: usize = 2000;
    let place = Place::new();
    let (reader, writer) = pipe().unwrap();
    let mut program = place.start_with([LONG], |command| _ = command.stdin(reader));
    program.wait_until_caught();
    let heard = AtomicBool::new(false);
    let write = |child: usize, mut pipe: PipeWriter| {
        let mut after = 0;
        for line in 0.. {
            after += usize::from(heard.load(Relaxed));
            pipe.write_all(format!("child {child}, line {line}\n").as_bytes()).unwrap();
            if after == LINES {
                return line + 1;
            }
        }
        unreachable!("it returns")
    };
    let counts: Vec<usize> = thread::scope(|scope| {
        let children: Vec<_> = (0..CHILDREN)
            .map(|child| {
                let (pipe, write) = (writer.try_clone().unwrap(), &write);
                scope.spawn(move || write(child, pipe))
            })
            .collect();
        drop(writer);
        wait_until("lines are read", || !place.visible().is_empty());
        program.signal(Signal::TERM);
        wait_until("the signal is delivered", || !program.has_signals("ShdPnd:", &[Signal::TERM]));
        heard.store(true, Relaxed);
        children.into_iter().map(|child| child.join().unwrap()).collect()
    });
    let ended = program.wait();
    assert_eq!((ended.code, &ended.json["stopped_by"]), (0, &"SIGTERM".into()), "{ended:?}");
    let line = |child, line| format!("child {child}, line {line}\n");
    let lines = |(child, &count)| (0..count).map(move |number| line(child, number));
    let expected: String = counts.iter().enumerate().flat_map(lines).collect();
    assert!(sorted(&place.written()) == sorted(expected.as_bytes()), "{counts:?}");
}

/// runit, s6 and daemontools hold the pipe of a logger while they start it again.
#[test]
fn the_next_process_on_the_same_pipe_begins_with_a_whole_line() {
    const LIVES: usize = 6;
    let place = Place::new();
    let (reader, mut writer) = pipe().unwrap();
    let done = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let done = &done;
        // If an assertion fails, the feeder ends with the pipe.
        let reader = reader;
        // Each line comes in two writes, as from a program with an unbuffered output.
        let feeder = scope.spawn(move || {
            let mut line = 0;
            while !done.load(Relaxed) {
                writer.write_all(format!("line {line}, ").as_bytes()).unwrap();
                thread::yield_now();
                writer.write_all(format!("all of line {line}\n").as_bytes()).unwrap();
                line += 1;
            }
            line
        });
        for life in 0..LIVES {
            let stdin = reader.try_clone().unwrap();
            let grace = ["--grace=0", "--grace=20ms"][life % 2];
            let args = ["--forced=5ms", grace];
            let before = place.visible().len();
            let mut program = place.start_with(args, |command| _ = command.stdin(stdin));
            program.wait_until_caught();
            wait_until("it reads", || place.visible().len() > before);
            if life + 1 < LIVES {
                program.signal(Signal::TERM);
            } else {
                done.store(true, Relaxed);
            }
            let ended = program.wait();
            assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
        }
        feeder.join().unwrap()
    });
    let expected: String = (0..written).map(|n| format!("line {n}, all of line {n}\n")).collect();
    assert!(sorted(&place.written()) == sorted(expected.as_bytes()), "of {written} lines");
}

/// What a pipe holds that nobody writes to any more.
fn rest(mut reader: PipeReader, writer: PipeWriter) -> String {
    drop(writer);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    rest
}

#[test]
fn no_byte_beyond_the_end_of_the_line_is_read() {
    // The end of the line comes within a second, or another round is needed.
    for _ in 0..10 {
        let place = Place::new();
        let (reader, mut writer) = pipe().unwrap();
        let stdin = reader.try_clone().unwrap();
        let mut program = place.start_with(["--grace=0"], |command| _ = command.stdin(stdin));
        program.wait_until_caught();
        writer.write_all(b"whole\nin two").unwrap();
        wait_until("it is read", || rustix::io::ioctl_fionread(&reader).unwrap() == 0);
        program.signal(Signal::TERM);
        program.wait_until_heard();
        writer.write_all(b" parts\nfor the next one\n").unwrap();
        let ended = program.wait();
        if ended.stderr.contains("stopped after") {
            continue;
        }
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
        assert_eq!(sorted(&place.written()), [&b"in two parts\n"[..], b"whole\n"]);
        assert_eq!(rest(reader, writer), "for the next one\n");
        return;
    }
    panic!("the end of the line came too late each time");
}

#[test]
fn a_line_that_does_not_end_within_the_grace_time_is_published_and_told() {
    let place = Place::new();
    let mut program = place.started(&["--grace=50ms"]);
    program.feed("half a line");
    program.signal(Signal::TERM);
    let ended = program.wait();
    assert_eq!((ended.code, ended.records("written")), (0, 2), "{ended:?}");
    assert_eq!(sorted(&place.written()), [&b"first\n"[..], b"half a line\n"]);
    assert!(ended.stderr.contains("line 2: stopped after 11 bytes"), "{ended:?}");
}

#[test]
fn a_second_signal_ends_the_grace_time() {
    let place = Place::new();
    let mut program = place.started(&[LONG, "--forced=5ms"]);
    wait_until("the line is visible", || place.written() == b"first\n");
    // More than twice, since signals that come together are one.
    wait_until("the program ends", || {
        program.signal(Signal::TERM);
        program.has_ended()
    });
    // Giving up leaves the workers no time to end, which may be told as an error.
    assert_eq!(program.wait().json["stopped_by"], "SIGTERM");
    assert_eq!(place.written(), b"first\n");
}

/// The end of a file does not follow from a signal. `< file` may be shared, too.
#[test]
fn a_file_is_left_at_the_end_of_a_line() {
    let place = Place::new();
    let log = place.file("log", numbered(1_000_000));
    let mut file = File::open(&log).unwrap();
    let args = ["--queue-size=0", "--workers=1", "--size=64", "--file-size=1KiB", LONG];
    let stdin = file.try_clone().unwrap();
    let mut program = place.start_with(args, |command| _ = command.stdin(stdin));
    program.wait_until_caught();
    wait_until("it reads", || !place.visible().is_empty());
    program.signal(Signal::TERM);
    let ended = program.wait();
    assert_eq!((ended.code, &ended.json["stopped_by"]), (0, &"SIGTERM".into()), "{ended:?}");
    assert_eq!(ended.stderr, "");
    let read = ended.json["read"]["bytes"].as_u64().unwrap();
    assert_eq!(file.stream_position().unwrap(), read);
    assert!(read < log.metadata().unwrap().len());
    assert!(place.written().ends_with(b"\n"));
}

/// No program has opened it yet, so no last words can come.
#[test]
fn a_named_pipe_without_a_writer_has_no_grace_time() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let place = Place::new();
    let pipe = place.join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let mut program = place.start([LONG.as_ref(), pipe.as_os_str()]);
    program.wait_until_caught();
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code, 0);
}

/// Whoever writes on learns that nobody reads, even while the program still publishes.
#[test]
fn the_pipe_is_closed_as_soon_as_the_reading_ends() {
    let place = Place::new();
    let args = ["--forced=0", "--file-age=0", "--grace=0", "--deadline=1h"];
    let mut program = place.started(&args);
    for dir in [place.out(), place.tmp()] {
        std::fs::rename(&dir, dir.with_extension("away")).unwrap();
    }
    program.signal(Signal::TERM);
    let mut pipe = program.take_stdin();
    wait_until("the pipe is closed", || pipe.write_all(b"\n").is_err());
    assert!(!program.has_ended());
    for dir in [place.out(), place.tmp()] {
        std::fs::rename(dir.with_extension("away"), &dir).unwrap();
    }
    assert_eq!(program.wait().code, 0);
}

#[test]
fn interrupts_are_ignored_on_request() {
    let place = Place::new();
    let mut program = place.start(["-i", "--forced=5ms", "--grace=0"]);
    wait_until("it is caught", || program.has_signals("SigCgt:", &[Signal::TERM, Signal::HUP]));
    for line in ["one\n", "two\n", "three\n"] {
        program.signal(Signal::INT);
        program.feed(line);
        program.wait_until_read();
    }
    let ended = program.end();
    assert_eq!((ended.code, ended.records("written")), (0, 3), "{ended:?}");
    assert!(ended.json["stopped_by"].is_null(), "{ended:?}");
}

/// A pipeline in a process group of its own, as a shell makes it for a terminal, and Ctrl-C.
#[test]
fn an_application_says_its_last_words_after_ctrl_c() {
    for args in [&PLAIN[..], &["--ignore-interrupts", "--grace=0"]] {
        let place = Place::new();
        let application =
            "trap 'echo last words; exit' INT; echo first; while :; do sleep 0.1; done";
        let write = place.write_command(["--forced=5ms", "--quiet"]);
        let mut shell = Command::new("sh");
        // The shell itself must not die of the signal before its programs.
        shell.args(["-c", "trap : INT; sh -c \"$0\" | \"$@\"", application]);
        shell.arg(write.get_program()).args(write.get_args()).args(args);
        crate::help::inherit(&mut shell, libc::SIG_DFL, &crate::help::SPOKEN);
        let mut shell = shell.stdin(Stdio::null()).process_group(0).spawn().unwrap();
        wait_until("the application has started", || place.written() == b"first\n");
        kill_process_group(Pid::from_child(&shell), Signal::INT).unwrap();
        wait_until("all have ended", || shell.try_wait().unwrap().is_some());
        assert_eq!(place.written(), b"first\nlast words\n", "{args:?}");
    }
}
