//! Do old files go, and does the link lead to the newest, as the flags say?

use std::fs;

use crate::help::{Place, numbered, wait_until};

/// Many small files of one worker.
const SMALL_FILES: [&str; 4] = ["--workers=1", "--file-size=4KiB", "--size=4096", "--forced=0"];

#[test]
fn no_more_files_are_left_than_stay_and_the_summary_tells() {
    let place = Place::new();
    let args = SMALL_FILES.into_iter().chain(["--retain-files=5"]);
    let ended = place.run(args, numbered(5000));
    assert_eq!((ended.code, place.visible().len()), (0, 5), "{ended:?}");
    let [files, deleted, bytes] = ["files", "files_deleted", "bytes_deleted"]
        .map(|field| ended.json[field].as_u64().unwrap());
    assert_eq!(files, deleted + 5, "{ended:?}");
    assert!(bytes >= deleted * 4096, "{ended:?}");
    // The newest ones are left: those with the last lines.
    assert!(numbered(5000).as_bytes().ends_with(&place.written()));
}

#[test]
fn bytes_and_age_have_flags_too() {
    let place = Place::new();
    let args = SMALL_FILES.into_iter().chain(["--retain-bytes=64KiB"]);
    let ended = place.run(args, numbered(5000));
    let left =
        fs::read_dir(place.out()).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    assert!((4096..=64 << 10).contains(&left.sum::<u64>()), "{ended:?}");
    assert!(ended.json["files_deleted"].as_u64() > Some(0), "{ended:?}");
    // An hour is not over, a moment is.
    let program = place.start(["--retain-age=1h"]);
    assert_eq!(program.end().json["files_deleted"], 0);
    let mut program = place.start(["--retain-age=10ms"]);
    wait_until("all are too old", || place.visible().is_empty());
    program.feed("last\n");
    assert_eq!(program.end().records("written"), 1);
}

#[test]
fn without_a_flag_nothing_is_deleted() {
    let place = Place::new();
    let ended = place.run(SMALL_FILES, numbered(1000));
    assert_eq!(ended.json["files"].as_u64(), Some(place.visible().len() as u64));
    assert!(ended.json["files_deleted"].is_null(), "{ended:?}");
}

#[test]
fn the_link_leads_to_the_newest_file() {
    let place = Place::new();
    let link = place.join("latest");
    let flag = format!("--latest={}", link.display());
    let mut program = place.start(["--workers=1", "--forced=10ms", &flag]);
    program.feed("one\n");
    wait_until("it is there", || fs::read(&link).is_ok_and(|read| read == b"one\n"));
    program.feed("two\n");
    let ended = program.end();
    assert_eq!((ended.code, fs::read(&link).unwrap()), (0, b"two\n".to_vec()), "{ended:?}");
    assert!(fs::read_link(&link).unwrap().is_relative());
    // Nothing else is ever replaced.
    let file = place.file("file", "mine");
    let ended = place.run([format!("--latest={}", file.display())], "line\n");
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("--latest is"), "{ended:?}");
    assert_eq!(fs::read(file).unwrap(), b"mine");
}

/// A link that can't be set any more costs no line; it is told, and so is the exit code.
#[test]
fn a_link_that_somebody_replaced_is_told() {
    let place = Place::new();
    let link = place.join("latest");
    let mut program = place.started(&["--forced=1s", &format!("--latest={}", link.display())]);
    wait_until("it is there", || link.exists());
    fs::remove_file(&link).unwrap();
    fs::write(&link, "mine").unwrap();
    program.feed("more\n");
    wait_until("it is told", || program.stderr().contains("latest: read link"));
    let ended = program.end();
    assert_eq!((ended.code, ended.records("written")), (1, 2), "{ended:?}");
    assert_eq!(fs::read(link).unwrap(), b"mine");
}
