//! Do files appear in partitions, and does no file get lost on its way there?

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bufferedwriter_testkit::dir::{TestDir, list, paths_below};
use bufferedwriter_testkit::shm;
use rustix::process::Signal;

use crate::help::{Place, numbered, wait_until};

/// From the directory of visible files on.
fn dirs(place: &Place) -> Vec<PathBuf> {
    let out = place.out();
    let dir = |file: PathBuf| file.parent().unwrap().strip_prefix(&out).unwrap().to_owned();
    let mut dirs: Vec<_> = place.visible().into_iter().map(dir).collect();
    dirs.dedup();
    dirs
}

#[test]
fn files_appear_in_the_partition_of_their_time() {
    let place = Place::new();
    let args = [
        "--partition=app={app}/dt=%Y-%m-%d/m=%H%M",
        "--partition-value=app=my shop",
        "--mode=0640",
        "--durability=file",
    ];
    let ended = place.run(args, numbered(1000));
    assert_eq!((ended.code, ended.records("written")), (0, 1000), "{ended:?}");
    for dir in dirs(&place) {
        let parts: Vec<_> = dir.iter().map(|part| part.to_str().unwrap()).collect();
        let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
        assert_eq!((parts[0], digits(parts[1]), digits(parts[2])), ("app=my shop", 8, 4));
        assert!(parts[1].starts_with("dt=20") && parts[2].starts_with("m="), "{dir:?}");
        for dir in dir.ancestors().filter(|dir| *dir != Path::new("")) {
            let mode = fs::metadata(place.out().join(dir)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o750, "{dir:?}");
        }
    }
    assert!(list(&place.tmp()).is_empty());
}

/// Two programs with different partitions write into one directory. One is killed twice.
#[test]
fn what_a_killed_program_left_appears_in_its_own_partition() {
    let place = Place::new();
    let killed =
        ["--partition=who=killed/m=%H%M", "--forced=0", "--file-age=0", "--workers=1", "--size=64"];
    for _ in 0..2 {
        let mut program = place.start(killed);
        let visible = place.visible().len();
        program.feed(numbered(100));
        wait_until("lines are in a file", || {
            place.temp_bytes() > 0 || place.visible().len() > visible
        });
        // The second time the first one's file is recovered.
        program.signal(Signal::KILL);
        drop(program);
        let ended = place.run(["--partition=who=next/x/%F"], "last\n");
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    assert!(list(&place.tmp()).is_empty(), "{:?}", list(&place.tmp()));
    let dirs = dirs(&place);
    let of = |who: &str| dirs.iter().filter(|dir| dir.starts_with(who)).count();
    assert!(of("who=killed") > 0 && of("who=next") > 0, "{dirs:?}");
    assert_eq!(of("who=killed") + of("who=next"), dirs.len(), "{dirs:?}");
    let last = b"last\n";
    let next: Vec<u8> = paths_below(&place.out().join("who=next"))
        .iter()
        .flat_map(|f| fs::read(f).unwrap())
        .collect();
    assert_eq!(next, last.repeat(2));
    for file in paths_below(&place.out().join("who=killed")) {
        let text = fs::read_to_string(file).unwrap();
        assert!(numbered(100).starts_with(&text) && !text.is_empty(), "{text}");
    }
}

#[test]
fn what_can_not_be_is_refused_by_the_name_of_the_flag() {
    let place = Place::new();
    for (args, told) in [
        (&["--partition=../%F"][..], "error: --partition is \"../%F\"; permitted: "),
        (&["--partition=%F/{app}"], "error: --partition is {app} in \"%F/{app}\"; permitted: "),
        (&["--partition=%T"], "error: --partition is \"%T\" in \"%T\"; permitted: "),
        (&["--partition-value=a=b"], "error: --partition-value is a; permitted: "),
        (
            &["--partition={a}", "--partition-value=a=b/c"],
            "error: --partition-value is a=\"b/c\"; permitted: ",
        ),
    ] {
        let program = place.start(args);
        let ended = program.end();
        assert!(ended.code == 2 && ended.stderr.starts_with(told), "{args:?}: {ended:?}");
        assert!(place.visible().is_empty());
    }
}

/// All that was fed to a program with crash-proof memory, killed in the middle of a minute.
#[test]
fn what_was_in_memory_appears_in_a_partition_of_the_dead_program_too() {
    let Some(memory) = shm::dir().map(TestDir::within) else { return };
    let place = Place::new();
    let memory_option = format!("--crash-proof={}", memory.path().display());
    let args = [
        &*memory_option,
        "--partition=who=killed/m=%H%M",
        "--forced=0",
        "--file-age=0",
        "--workers=1",
        "--size=64",
        "--durability=file",
    ];
    let mut program = place.start(args);
    program.feed(numbered(500));
    program.wait_until_read();
    wait_until("it has handed over what it has read", || program.is_asleep());
    program.signal(Signal::KILL);
    drop(program);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    command.arg("recover").arg("--path").arg(place.out()).arg("--temp").arg(place.tmp());
    let output = command.arg("--memory").arg(memory.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(dirs(&place).iter().all(|dir| dir.starts_with("who=killed")), "{:?}", dirs(&place));
    let mut lines: Vec<_> =
        String::from_utf8(place.written()).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    let mut fed: Vec<_> = numbered(500).lines().map(str::to_owned).collect();
    fed.sort();
    assert_eq!(lines, fed);
    assert!(list(&place.tmp()).is_empty() && memory.list().is_empty());
}
