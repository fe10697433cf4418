//! Does a wall clock that is set forth and back change anything but names? Uses Debian's faketime, or the library
//! that BUFFEREDWRITER_TEST_FAKETIME names.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use bufferedwriter_testkit::name::Name;

use crate::help::{Place, wait_until};

/// The library that `faketime` loads into a program; the monotonic clock stays as it is.
fn faketime() -> Option<PathBuf> {
    if let Some(library) = std::env::var_os("BUFFEREDWRITER_TEST_FAKETIME") {
        return Some(library.into());
    }
    let places = ["x86_64-linux-gnu", "aarch64-linux-gnu", ""];
    let library =
        |place: &&str| PathBuf::from("/usr/lib").join(place).join("faketime/libfaketimeMT.so.1");
    places.iter().map(library).find(|library| library.exists())
}

/// What the program makes of lines that come at these settings of the clock, each in a file of its own. The names, in the
/// order in which the lines came.
fn names_at(settings: &[&str]) -> Option<Vec<Name>> {
    let Some(library) = faketime() else {
        println!("skipped: no libfaketimeMT.so.1 here (Debian: faketime)");
        return None;
    };
    let place = Place::new();
    let clock = place.file("clock", format!("@{}", settings[0]));
    let mut command = place.write_command(["--workers=1", "--forced=200ms", "--deadline=5s"]);
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for (i, setting) in settings.iter().enumerate() {
        // In one step, as a clock is set.
        let next = place.file("next", format!("@{setting}"));
        fs::rename(next, &clock).unwrap();
        stdin.write_all(format!("line {i}\n").as_bytes()).unwrap();
        // A deadline of the wall clock would be years away, or have passed: the bound is short.
        wait_until("the line is visible", || place.visible().len() == i + 1);
    }
    drop(stdin);
    wait_until("it ends", || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
    let mut files: Vec<(String, Name)> = place
        .visible()
        .iter()
        .map(|file| {
            let name = Name::parse(file.file_name().unwrap(), b"", b"log").unwrap();
            (fs::read_to_string(file).unwrap(), name)
        })
        .collect();
    files.sort_by(|(line, _), (other, _)| line.cmp(other));
    for (i, (line, _)) in files.iter().enumerate() {
        assert_eq!(*line, format!("line {i}\n"));
    }
    let names: Vec<Name> = files.into_iter().map(|(_, name)| name).collect();
    assert!(names.is_sorted_by(|a, b| a.seq < b.seq), "{names:?}");
    Some(names)
}

#[test]
fn deadlines_are_monotonic_and_a_clock_that_was_wrong_is_followed() {
    let years = ["2030", "2040", "2001", "2039", "1999", "2041", "1980"];
    let settings = years.map(|year| format!("{year}-01-01 00:00:00"));
    let Some(names) = names_at(&settings.each_ref().map(|setting| &**setting)) else { return };
    let named: Vec<_> = names.iter().map(|name| &name.stamp[..4]).collect();
    assert_eq!(named, years);
}

#[test]
fn names_ascend_while_the_clock_is_corrected() {
    let times =
        ["00:20:00", "00:19:59", "00:05:00", "00:25:00", "00:09:30", "00:09:31", "00:24:59"];
    let settings = times.map(|time| format!("2030-01-01 {time}"));
    let Some(names) = names_at(&settings.each_ref().map(|setting| &**setting)) else { return };
    assert!(names.is_sorted_by(|a, b| a.stamp < b.stamp), "{names:?}");
    assert!(names.iter().all(|name| name.stamp.starts_with("20300101T002")), "{names:?}");
}
