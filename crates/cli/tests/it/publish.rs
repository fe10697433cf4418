//! Is the manifest right whatever happens to the program, and does `--on-publish` run for each file?

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use bufferedwriter_testkit::dir::list;
use bufferedwriter_testkit::unpacked::unpacked;
use rustix::process::Signal;
use serde_json::Value;

use crate::help::{Place, Program, numbered, wait_until};

fn lines(manifest: &Path) -> Vec<Value> {
    let text = fs::read_to_string(manifest).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn records(lines: &[Value]) -> u64 {
    lines.iter().map(|line| line["records"].as_u64().unwrap()).sum()
}

/// Killed at any moment, again and again: in the end each file has one line, with its records.
#[test]
fn after_kills_each_file_has_one_line() {
    let place = Place::new();
    let manifest = place.join("m.ndjson");
    let option = format!("--manifest={}", manifest.display());
    let args = [&option, "--forced=3ms", "--size=64", "--file-size=300", "--on-publish=true"];
    for round in 0..8_u64 {
        let before = place.visible().len();
        let mut program = place.start(args);
        let feeder = feed_for_ever(&mut program, round);
        wait_until("more is visible", || place.visible().len() > before + 20);
        thread::sleep(Duration::from_micros(1_700 * round));
        program.signal(Signal::KILL);
        drop(program);
        feeder.join().unwrap();
    }
    // The last time with something in a temp file, whose name no line has yet.
    let before = place.temp_bytes();
    let mut program = place.start([&option, "--forced=0", "--file-age=0", "--size=64"]);
    program.feed(numbered(100));
    wait_until("lines are in a file", || place.temp_bytes() > before);
    program.signal(Signal::KILL);
    drop(program);
    let ended = place.start(args).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    let lines = lines(&manifest);
    let ids: BTreeSet<_> = lines.iter().map(|line| line["id"].to_string()).collect();
    assert_eq!(ids.len(), lines.len(), "a file is listed twice");
    let mut listed: Vec<_> =
        lines.iter().map(|l| place.out().join(l["path"].as_str().unwrap())).collect();
    listed.sort();
    let mut visible = place.visible();
    visible.sort();
    assert_eq!(listed, visible);
    let all: u64 =
        visible.iter().map(|f| fs::read_to_string(f).unwrap().lines().count() as u64).sum();
    assert_eq!(records(&lines), all);
    assert!(lines.iter().any(|line| line["reason"] == "recovered"));
    assert!(list(&place.tmp()).is_empty(), "{:?}", list(&place.tmp()));
}

/// Feeds lines until the program is gone.
fn feed_for_ever(program: &mut Program<'_>, round: u64) -> thread::JoinHandle<()> {
    let mut stdin = program.take_stdin();
    thread::spawn(move || {
        for number in 0.. {
            use std::io::Write;
            if writeln!(stdin, "line {number} of {round}").is_err() {
                break;
            }
        }
    })
}

/// Killed twice with all options at once: each line says what its file is, old files go, and the lines sum up to the
/// accounts.
#[test]
fn killed_twice_with_all_options_the_lines_are_the_accounts() {
    let place = Place::new();
    let manifest = place.join("m.ndjson");
    let option = format!("--manifest={}", manifest.display());
    let args = [
        option.as_str(),
        "--compress=zstd",
        "--rotate-at=minute",
        "--partition=dt=%Y-%m-%d/m=%H%M",
        "--retain-files=20",
        "--on-publish=true",
        "--file-size=2KiB",
        "--size=4KiB",
    ];
    let count = || fs::read(&manifest).map_or(0, |text| text.split(|byte| *byte == b'\n').count());
    for round in 0..2 {
        let before = count();
        let mut program = place.start(args);
        let feeder = feed_for_ever(&mut program, round);
        wait_until("more files are listed", || count() > before + 30);
        program.signal(Signal::KILL);
        drop(program);
        feeder.join().unwrap();
    }
    let ended = place.run(args, numbered(100_000));
    assert_eq!((ended.code, ended.records("written")), (0, 100_000), "{ended:?}");
    let lines = lines(&manifest);
    let ids: BTreeSet<_> = lines.iter().map(|line| line["id"].to_string()).collect();
    assert_eq!(ids.len(), lines.len(), "a file is listed twice");
    let last = |line: &Value| line["instance"] == lines.last().unwrap()["instance"];
    let of_last: Vec<_> =
        lines.iter().filter(|line| last(line) && line["reason"] != "recovered").cloned().collect();
    assert_eq!(records(&of_last), 100_000);
    // The newest are left, and their lines are right.
    let visible = place.visible();
    assert_eq!(visible.len(), 20, "{ended:?}");
    let listed: BTreeMap<_, _> =
        lines.iter().map(|line| (place.out().join(line["path"].as_str().unwrap()), line)).collect();
    for file in &visible {
        let line = listed[file];
        assert_eq!(line["bytes"], fs::metadata(file).unwrap().len());
        let Some(text) = unpacked(file) else { continue };
        assert_eq!(line["records"], text.iter().filter(|byte| **byte == b'\n').count());
        assert_eq!(line["record_bytes"], text.len());
    }
    assert!(list(&place.tmp()).is_empty(), "{:?}", list(&place.tmp()));
}

#[test]
fn the_command_gets_the_file_as_an_argument_and_in_the_environment() {
    let place = Place::new();
    let (told, script) = (place.join("told"), place.join("hook"));
    fs::create_dir(&told).unwrap();
    let text =
        "#!/bin/sh\ncp \"$1\" \"$2\"/\nenv | grep ^BUFFEREDWRITER_ > \"$2\"/env\necho heard\n";
    fs::write(&script, text).unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let option = format!("--on-publish={} {{}} '{}'", script.display(), told.display());
    let mut program = place.start([option.as_str(), "--workers=1", "--prefix=a b'"]);
    program.feed(numbered(10));
    let ended = program.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("heard"));
    let visible = place.visible();
    let copy = told.join(visible[0].file_name().unwrap());
    assert_eq!(fs::read(copy).unwrap(), fs::read(&visible[0]).unwrap());
    let env = fs::read_to_string(told.join("env")).unwrap();
    let file = fs::canonicalize(&visible[0]).unwrap();
    assert!(env.contains(&format!("BUFFEREDWRITER_FILE={}\n", file.display())), "{env}");
    assert!(env.contains("BUFFEREDWRITER_RECORDS=10\n"), "{env}");
    for name in ["ID", "BYTES", "FIRST", "LAST", "REASON"] {
        assert!(env.contains(&format!("BUFFEREDWRITER_{name}=")), "{env}");
    }
}

/// The lines are safe, the run says what is left, and the next one goes on with it.
#[test]
fn a_command_that_fails_is_told_of_and_run_again_by_the_next_run() {
    let place = Place::new();
    let mark = place.join("mark");
    let mut program = place.start(["--on-publish=/no/such/program {}", "--deadline=3s"]);
    program.feed(numbered(10));
    let ended = program.end();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("--on-publish: /no/such/program: No such file"), "{ended:?}");
    assert!(ended.stderr.contains("the next run goes on with them"), "{ended:?}");
    assert_eq!(place.visible().len(), 1);
    let option = format!("--on-publish=cp {{}} {}", mark.display());
    let ended = place.start([option.as_str()]).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(fs::read(mark).unwrap(), numbered(10).as_bytes());
    assert!(list(&place.tmp()).is_empty());
    let ended = place.start(["--on-publish=cp '{}"]).end();
    assert!(ended.code == 2 && ended.stderr.contains("a quote is not closed"), "{ended:?}");
}
