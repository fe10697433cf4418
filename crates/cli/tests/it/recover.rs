//! Is what a killed program left published by hand, or by the next one, and is it told?

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use bufferedwriter_testkit::dir::paths;
use rustix::process::Signal;
use serde_json::Value;

use crate::help::{PLAIN, Place, exit_code, numbered, wait_until};

fn recover(place: &Place, args: &[&str]) -> (i32, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    command.arg("recover").arg("--path").arg(place.out()).arg("--temp").arg(place.tmp());
    let output = command.args(args).output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (exit_code(output.status), json, String::from_utf8(output.stderr).unwrap())
}

fn left(place: &Place) -> Vec<PathBuf> {
    paths(&place.tmp())
}

/// A program that wrote into temp files only, and was killed.
fn die(place: &Place) {
    let args = ["--forced=0", "--file-age=0", "--workers=1", "--size=64", "--prefix=p_"];
    let mut program = place.start(args);
    let mut feed = |more: &str| {
        let before = place.temp_bytes();
        program.feed(more);
        wait_until("the file grows", || place.temp_bytes() > before + 100);
    };
    // The second time, the state file tells of the first.
    feed(&numbered(100));
    feed(&numbered(100));
    program.signal(Signal::KILL);
}

#[test]
fn by_hand() {
    let place = Place::new();
    die(&place);
    assert!(place.visible().is_empty());
    let (code, json, stderr) = recover(&place, &["--prefix=other", "--json"]);
    assert_eq!((code, &json["instances"], stderr.as_str()), (0, &0.into(), ""));
    let (code, json, _) = recover(&place, &["--dry-run", "--json"]);
    assert_eq!((code, &json["instances"], &json["dry_run"]), (0, &1.into(), &true.into()));
    let files = json["published"].as_array().unwrap().len();
    assert!(files == 1 && place.visible().is_empty() && left(&place).len() == 2);
    let (code, _, stderr) = recover(&place, &["--prefix=p_"]);
    assert_eq!(code, 0, "{stderr}");
    let file = place.visible().remove(0);
    assert!(stderr.contains(&format!("published: {}", file.display())), "{stderr}");
    assert!(left(&place).is_empty());
    let written = place.written();
    assert!(written.len() > 100 && numbered(100).repeat(2).into_bytes().starts_with(&written));
    let (code, _, stderr) = recover(&place, &[]);
    assert!(code == 0 && stderr.contains("0 dead instances"), "{stderr}");
}

#[test]
fn by_the_next_one() {
    let place = Place::new();
    die(&place);
    let ended = place.run(["--prefix=p_"], "another\n");
    assert!(ended.code == 0 && ended.stderr.contains("1 dead instances"), "{ended:?}");
    assert_eq!(place.visible().len(), 2);
    assert!(left(&place).is_empty());
    let ended = place.run(PLAIN, "another\n");
    assert!(!ended.stderr.contains("dead instances"), "{ended:?}");
}

#[test]
fn what_fails_is_1_and_told() {
    let place = Place::new();
    die(&place);
    fs::remove_dir(place.out()).unwrap();
    let (code, _, stderr) = recover(&place, &[]);
    assert!(code == 1 && stderr.contains("open directory"), "{stderr}");
}

#[test]
fn what_was_moved() {
    let (place, other) = (Place::new(), Place::new());
    die(&place);
    let old = place.out().canonicalize().unwrap();
    for (from, to) in [(place.out(), other.out()), (place.tmp(), other.tmp())] {
        fs::remove_dir(&to).unwrap();
        fs::rename(from, to).unwrap();
    }
    let (code, json, stderr) = recover(&other, &["--json"]);
    let skipped = &json["skipped"][0];
    assert_eq!((code, &skipped["directory"]), (0, &old.to_str().unwrap().into()), "{stderr}");
    let (_, _, stderr) = recover(&other, &[]);
    let hint = format!("if it is this one now: recover --from {}", old.display());
    assert!(stderr.contains(&hint), "{stderr}");
    let (code, _, stderr) = recover(&other, &["--from=out"]);
    assert!(code == 2 && stderr.contains("option from is out"), "{stderr}");
    let (code, json, _) = recover(&other, &["--json", "--from", old.to_str().unwrap()]);
    assert_eq!((code, &json["instances"]), (0, &1.into()), "{json}");
    assert_eq!((left(&other), other.visible().len()), (vec![], 1), "{json}");
}

/// A logger may run for months, and be killed: what it recovered is told when it has.
#[test]
fn what_was_recovered_is_told_while_the_program_runs() {
    let place = Place::new();
    die(&place);
    let next = place.start(["--prefix=p_"]);
    wait_until("it is told", || next.stderr().contains("recovered: 1 dead instances"));
    let ended = next.end();
    assert_eq!((ended.code, ended.stderr.matches("recovered: ").count()), (0, 1), "{ended:?}");
}
