//! What becomes of lines when --max-total or --min-free is reached. They wait, or are dropped and
//! counted by cause. Once files are taken away, it goes on.

use std::fs;

use rustix::process::Signal;

use crate::help::{Place, numbered, wait_until};

/// The files may take half of what the test has.
const ARGS: [&str; 4] = ["--max-total=200KB", "--file-size=64KiB", "--workers=2", "--queue-size=6"];

/// A reader that takes the visible files away, and what was in them.
fn ship(place: &Place, shipped: &mut Vec<Vec<u8>>) {
    for file in place.visible() {
        shipped
            .extend(fs::read(&file).unwrap().split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec));
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn lines_wait_until_somebody_makes_room_and_all_land() {
    let place = Place::new();
    let log = place.file("log", numbered(20_000));
    let mut program = place.start(ARGS.iter().map(AsRef::as_ref).chain([log.as_os_str()]));
    wait_until("the operator is told", || program.stderr().contains("disk guard: the files take"));
    let taken: u64 = place.visible().iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(taken < 400_000, "{taken}");
    let mut shipped = Vec::new();
    wait_until("all of it comes", || {
        ship(&place, &mut shipped);
        program.has_ended()
    });
    ship(&place, &mut shipped);
    let ended = program.wait();
    assert_eq!((ended.code, ended.records("refused")), (0, 0), "{ended:?}");
    let mut expected: Vec<_> =
        fs::read(log).unwrap().split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
    expected.sort();
    shipped.sort();
    assert!(shipped == expected, "{} lines of {}", shipped.len(), expected.len());
}

#[test]
fn what_is_dropped_is_counted_by_cause() {
    let place = Place::new();
    let log = place.file("log", numbered(1000));
    let args = ["--min-free=8EiB", "--when-full=drop"].map(AsRef::as_ref);
    let ended = place.start(args.into_iter().chain([log.as_os_str()])).end();
    let counts = ["refused", "refused_by_disk_guard", "written"].map(|count| ended.records(count));
    assert_eq!((ended.code, counts), (3, [1000, 1000, 0]), "{ended:?}");
}

/// Nothing was taken, and nothing is waited for longer than the operator permits.
#[test]
fn a_signal_ends_the_wait_at_the_deadline() {
    let place = Place::new();
    let mut program = place.start(["--min-free=8EiB", "--deadline=200ms", "--grace=0"]);
    program.feed("one\ntwo\n");
    wait_until("the operator is told", || program.stderr().contains("disk guard: "));
    program.signal(Signal::TERM);
    let ended = program.wait();
    let counts = ["read", "refused_by_disk_guard", "written"].map(|count| ended.records(count));
    assert_eq!((ended.code, counts), (3, [2, 2, 0]), "{ended:?}");
    assert!(place.visible().is_empty());
}
