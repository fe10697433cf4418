//! Are files published at the boundaries of the wall clock, in the time zone that was asked for?
//!
//! A zone whose minutes end a moment from now saves the wait for a whole minute.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::help::{Place, exit_code, wait_until};

/// Only boundaries publish files.
const BOUNDARIES_ALONE: [&str; 4] =
    ["--workers=1", "--forced=0", "--file-age=0", "--rotate-at=minute"];

/// The offset, in seconds, of a zone whose next minute begins in two or three seconds.
fn soon() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    (60 + 57 - now % 60) % 60
}

/// A database that knows nothing but `Test/Soon`.
fn database(place: &Place) -> PathBuf {
    // The format is that of tzfile(5), a block of version 1 and one of version 2.
    let counts = [0_u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
    let header = [&b"TZif2"[..], &[0; 15], &counts].concat();
    let offset = [&(soon() as u32).to_be_bytes()[..], &[0, 0], b"TST\0"].concat();
    let block = [header, offset].concat();
    let dir = place.join("zoneinfo");
    fs::create_dir_all(dir.join("Test")).unwrap();
    fs::write(dir.join("Test/Soon"), [&block[..], &block, b"\n\n"].concat()).unwrap();
    dir
}

/// Two lines, one of them after the first is visible: each is in a file of its own.
fn publishes_soon(place: &Place, zone: &str, variable: &str, value: impl AsRef<OsStr>) {
    let zone = format!("--time-zone={zone}");
    let args = BOUNDARIES_ALONE.into_iter().chain([&*zone]);
    let mut program = place.start_with(args, |command| {
        command.env_remove("TZ").env_remove("TZDIR").env(variable, value);
    });
    program.feed("first\n");
    wait_until("a boundary has come", || !place.visible().is_empty() || program.has_ended());
    program.feed("second\n");
    let ended = program.end();
    assert_eq!((ended.code, place.visible().len()), (0, 2), "{ended:?}");
    assert_eq!(place.written(), b"first\nsecond\n");
}

#[test]
fn a_zone_of_the_systems_database() {
    let place = Place::new();
    publishes_soon(&place, "Test/Soon", "TZDIR", database(&place));
}

#[test]
fn the_systems_own_zone() {
    let place = Place::new();
    // What stands there counts for the hours west of Greenwich.
    let zone = format!("TST-00:{:02}:{:02}", soon() / 60, soon() % 60);
    publishes_soon(&place, "local", "TZ", zone);
}

#[test]
fn a_zone_that_the_system_does_not_know_is_bundled() {
    let place = Place::new();
    let database = database(&place);
    for (zone, code) in [("Europe/Berlin", 0), ("Asia/Kathmandu", 0), ("Test/Late", 2)] {
        let args = BOUNDARIES_ALONE.into_iter().map(str::to_owned);
        let args = args.chain([format!("--time-zone={zone}")]);
        let program = place.start_with(args, |command| {
            command.env("TZDIR", &database);
        });
        let ended = program.end();
        assert_eq!(ended.code, code, "{ended:?}");
        if code != 0 {
            let told = "error: --time-zone is \"Test/Late\"; permitted: \"UTC\", \"local\"";
            assert!(ended.stderr.starts_with(told), "{ended:?}");
        }
    }
}

/// As in an image from scratch: an empty directory lies over the database.
#[test]
fn where_the_system_has_no_database_zones_are_bundled() {
    let hide = "[ ! -d /usr/share/zoneinfo ] || mount -t tmpfs none /usr/share/zoneinfo";
    let hidden = |then: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &format!("{hide} && {then}")]);
        command.env_remove("TZDIR");
        command
    };
    if !hidden("true").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no mount namespaces here");
        return;
    }
    for (zone, variable, code) in [
        ("Europe/Berlin", "", 0),
        ("local", "Asia/Kathmandu", 0),
        ("UTC", "", 0),
        ("Europe/Atlantis", "", 2),
    ] {
        let place = Place::new();
        let mut command = hidden("exec \"$0\" write --rotate-at=hour \"$@\"");
        command.arg(env!("CARGO_BIN_EXE_bufferedwriter")).arg(format!("--time-zone={zone}"));
        command.arg("--path").arg(place.out()).arg("--temp").arg(place.tmp());
        let log = place.file("log", "line\n");
        let Output { status, stderr, .. } = command.arg(log).env("TZ", variable).output().unwrap();
        let told = String::from_utf8_lossy(&stderr);
        assert_eq!(exit_code(status), code, "{zone}: {told}");
        assert_eq!(place.visible().len(), usize::from(code == 0), "{zone}: {told}");
    }
}

#[test]
fn each_way_to_name_a_boundary_works() {
    for boundary in ["minute", "15m", "hour", "6h", "day", "60m", "24h"] {
        let place = Place::new();
        let ended = place.run([format!("--rotate-at={boundary}")], "line\n");
        assert_eq!((ended.code, ended.records("written")), (0, 1), "{boundary}: {ended:?}");
        assert_eq!(place.visible().len(), 1);
    }
}
