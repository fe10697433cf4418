//! Does a wall clock that is set forth and back change anything but names?

use std::fs;
use std::io::Write;
use std::process::Stdio;

use bufferedwriter_testkit::clock::Clock;
use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::name::Name;
use bufferedwriter_testkit::shm;
use rustix::process::Signal;

use crate::help::{Place, wait_until};

/// What the program makes of lines that come at these settings of the clock, each in a file of its own. The names, in the
/// order in which the lines came.
fn names_at(settings: &[&str]) -> Option<Vec<Name>> {
    let place = Place::new();
    let clock = Clock::new(&place.join(""))?;
    clock.set(&format!("@{}", settings[0]));
    let mut command = place.write_command(["--workers=1", "--forced=200ms", "--deadline=5s"]);
    clock.give(&mut command);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for (i, setting) in settings.iter().enumerate() {
        clock.set(&format!("@{setting}"));
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

/// The program is killed while a line is only in its memory, and the next one starts years later. The line is in the
/// partition of the hour in which it came.
#[test]
fn what_was_in_memory_appears_in_the_partition_of_its_hour() {
    let place = Place::new();
    let Some(clock) = Clock::new(&place.join("")) else { return };
    let Some(memory) = shm::dir().map(TestDir::within) else {
        println!("skipped: no file system in memory");
        return;
    };
    let options = [
        format!("--crash-proof={}", memory.path().display()),
        format!("--manifest={}", place.join("manifest").display()),
        "--partition=at=%H".to_owned(),
        "--forced=0".to_owned(),
        "--file-age=0".to_owned(),
        "--workers=1".to_owned(),
    ];
    let hours = [10, 13];
    for hour in hours {
        clock.set(&format!("@2020-01-01 {hour}:20:00"));
        let mut program = place.start_with(&options, |command| clock.give(command));
        program.feed(format!("{hour}\n"));
        program.wait_until_read();
        wait_until("it waits for more", || program.is_asleep());
        program.signal(Signal::KILL);
        drop(program);
        let ended = place.run(&options, "");
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    for file in place.visible() {
        let text = fs::read_to_string(&file).unwrap();
        let dir = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
        assert_eq!(dir, format!("at={}", text.trim_end()));
    }
    let manifest = fs::read_to_string(place.join("manifest")).unwrap();
    for hour in hours {
        assert!(manifest.contains(&format!("\"first\":\"2020-01-01T{hour}:")), "{manifest}");
    }
    assert!(memory.list().is_empty());
}
