//! What does the operator learn, and what becomes of lines, while the disk fails? It fails here by
//! the loss of both directories.

use std::fs;
use std::path::PathBuf;

use bufferedwriter_testkit::dir::paths;
use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::unpacked::unpacked;
use rustix::process::Signal;

use crate::help::{Place, Program, exit_code, wait_until};

/// Started and one line written; then the directories go, a line more is read, and the operator
/// knows.
fn failing<'a>(place: &'a Place, args: &[&str]) -> Program<'a> {
    let mut program = place.start(args.iter().chain(&["--forced=100ms"]));
    program.feed("before\n");
    wait_until("the line is visible", || place.written() == b"before\n");
    move_away(place);
    program.feed("meanwhile\n");
    wait_until("the operator is told", || program.stderr().contains("retrying"));
    program
}

fn move_away(place: &Place) {
    for dir in [place.out(), place.tmp()] {
        fs::rename(&dir, dir.with_extension("away")).unwrap();
    }
}

fn move_back(place: &Place) {
    for dir in [place.out(), place.tmp()] {
        fs::rename(dir.with_extension("away"), &dir).unwrap();
    }
}

#[test]
fn it_is_told_that_it_fails_and_that_it_recovered_and_nothing_is_lost() {
    let place = Place::new();
    let program = failing(&place, &[]);
    move_back(&place);
    wait_until("the operator is told", || program.stderr().contains("answers again"));
    let ended = program.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(place.written(), b"before\nmeanwhile\n");
}

#[test]
fn the_end_waits_for_it_until_the_deadline_only() {
    let place = Place::new();
    let program = failing(&place, &["--deadline=200ms"]);
    let ended = program.end();
    assert_eq!((ended.code, ended.records("lost")), (3, 1), "{ended:?}");
    move_back(&place);
}

#[test]
fn a_second_signal_gives_up_at_once() {
    let place = Place::new();
    let mut program = failing(&place, &["--deadline=1h"]);
    // More than twice, since the system may deliver two as one.
    wait_until("the program ends", || {
        program.signal(Signal::TERM);
        program.has_ended()
    });
    let ended = program.wait();
    assert_eq!((ended.code, ended.records("lost")), (3, 1), "{ended:?}");
    move_back(&place);
}

#[test]
fn lines_that_no_file_takes_for_too_long_are_given_up_and_the_reading_goes_on() {
    let place = Place::new();
    let args = ["--give-up-after=300ms", "--size=64", "--queue-size=8", "--forced=100ms"];
    let mut program = place.start(args);
    program.feed("before\n");
    wait_until("the line is visible", || place.written() == b"before\n");
    move_away(&place);
    // More than memory holds: it would wait for ever.
    (0..100).for_each(|n| program.feed(format!("line {n}, which is as long as a line may be\n")));
    wait_until("the operator is told", || program.stderr().contains("gave up on the disk: "));
    move_back(&place);
    wait_until("a line is visible again", || {
        program.feed("afterwards\n");
        place.written().ends_with(b"afterwards\n")
    });
    let ended = program.end();
    let lost = ended.records("lost");
    assert!(ended.code == 3 && lost > 0, "{ended:?}");
    let last = format!("gave up on the disk: {lost} lines lost\n");
    assert!(ended.stderr.ends_with(&last), "{ended:?}");
}

/// Somebody cleans up the directory of temp files.
#[test]
fn lines_whose_temp_file_was_removed_are_told_of_meanwhile_and_in_the_end() {
    let place = Place::new();
    // A line goes to the temp file at once, which stays until SIGHUP publishes it.
    let mut program = place.started(&["--forced=0", "--file-age=0", "--size=8", "--workers=1"]);
    program.signal(Signal::HUP);
    wait_until("the line is visible", || place.written() == b"first\n");
    program.feed("removed\nremoved\n");
    let temp_file = || {
        let is_temp = |path: &PathBuf| path.extension().is_some_and(|end| end == "tmp");
        let has_bytes = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.len() > 0);
        paths(&place.tmp()).into_iter().find(|path| is_temp(path) && has_bytes(path))
    };
    wait_until("a line is in a file", || temp_file().is_some());
    fs::remove_file(temp_file().unwrap()).unwrap();
    // The rename finds out.
    program.signal(Signal::HUP);
    let expected = format!("temp files in {} were removed or truncated: ", place.tmp().display());
    wait_until("the operator is told", || program.stderr().contains(&expected));
    let ended = program.end();
    let lost = ended.records("lost");
    assert!(ended.code == 3 && lost > 0, "{ended:?}");
    // Another message may tell that the disk answers again.
    let told = ended.stderr.lines().rev().find_map(|line| line.split_once(&expected));
    assert_eq!(told.map(|(_, told)| told), Some(&*format!("{lost} lines lost")), "{ended:?}");
}

#[test]
fn a_limit_of_the_file_size_makes_more_files_instead_of_ending_the_program() {
    for codec in ["none", "gzip:1", "zstd:1"] {
        let place = Place::new();
        // Digits in no order, or they would fit one compressed file.
        let mut random = Random::new(3);
        let lines: String = (0..20_000).map(|_| format!("{:016x}\n", random.next())).collect();
        let log = place.file("log", &lines);
        // In units of 512 bytes or 1 KiB, as the shell likes: a fraction of the input either way.
        let mut command = std::process::Command::new("sh");
        command.args([
            "-c",
            "ulimit -f 60 && exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_bufferedwriter"),
        ]);
        command.args(["write", "--workers=1", "--compress", codec, "--path"]).arg(place.out());
        let status = command.arg("--temp").arg(place.tmp()).arg(&log).status().unwrap();
        assert_eq!(exit_code(status), 0, "{codec}");
        let sizes: Vec<_> =
            place.visible().iter().map(|p| fs::metadata(p).unwrap().len()).collect();
        assert!(
            sizes.len() > 2 && sizes.iter().all(|&size| size <= 60 << 10),
            "{codec}: {sizes:?}"
        );
        let found: Option<Vec<_>> = place.visible().iter().map(|file| unpacked(file)).collect();
        let Some(found) = found else { continue };
        assert!(found.concat() == lines.as_bytes(), "{codec}");
    }
}
