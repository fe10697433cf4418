//! Does a wall clock that is set forth and back change anything but names? Uses Debian's faketime.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use bufferedwriter_testkit::name::Name;

use crate::help::{Place, wait_until};

/// The library that `faketime` loads into a program; the monotonic clock stays as it is.
fn faketime() -> Option<PathBuf> {
    let places = ["x86_64-linux-gnu", "aarch64-linux-gnu", ""];
    let library =
        |place: &&str| PathBuf::from("/usr/lib").join(place).join("faketime/libfaketimeMT.so.1");
    places.iter().map(library).find(|library| library.exists())
}

#[test]
fn deadlines_are_monotonic_and_names_ascend() {
    let Some(library) = faketime() else {
        println!("skipped: no libfaketimeMT.so.1 here (Debian: faketime)");
        return;
    };
    let place = Place::new();
    let clock = place.file("clock", "@2030-01-01 00:00:00");
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
    let years = [2030, 2040, 2001, 2039, 1999, 2041, 1980];
    for (i, year) in years.iter().enumerate() {
        // In one step, as a clock is set.
        let next = place.file("next", format!("@{year}-01-01 00:00:00"));
        fs::rename(next, &clock).unwrap();
        stdin.write_all(format!("line {i}\n").as_bytes()).unwrap();
        // A deadline of the wall clock would be years away, or have passed: the bound is short.
        wait_until("the line is visible", || place.visible().len() == i + 1);
    }
    drop(stdin);
    wait_until("it ends", || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
    // In the order of their names, which is that of their making, however the clock was set.
    let expected: String = (0..years.len()).map(|i| format!("line {i}\n")).collect();
    assert_eq!(String::from_utf8(place.written()).unwrap(), expected);
    let stamp = |file: &PathBuf| Name::parse(file.file_name().unwrap(), b"", b"log").unwrap().stamp;
    let stamps: Vec<_> = place.visible().iter().map(stamp).collect();
    assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
    let years: Vec<_> = stamps.iter().map(|stamp| &stamp[..4]).collect();
    assert_eq!(years, ["2030", "2040", "2040", "2040", "2040", "2041", "2041"]);
}
