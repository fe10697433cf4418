//! Does a wall clock that is set a year forth and back lose anything, send it twice, or hold it up?

use std::fs;
use std::process::{Child, Command, Stdio};

use bufferedwriter_testkit::clock::Clock;
use bufferedwriter_testkit::wait;

use crate::help::{Cloud, Host, name};
use crate::kills::ship;

/// Files have their times in their names. The store's lists of joined files are looked for by these times.
#[test]
fn names_of_a_clock_that_jumps_are_found_again_without_the_journal() {
    let (host, cloud) = (Host::empty(), Cloud::new());
    let mut nth = 0;
    let rounds = [["2026"; 3], ["2027"; 3], ["2025"; 3], ["2025", "2027", "2026"], ["2026"; 3]];
    for years in rounds {
        for year in years {
            nth += 1;
            let path = host.publish("p=1", nth, 100);
            fs::rename(&path, path.with_file_name(name(nth).replacen("2026", year, 1))).unwrap();
        }
        let report = cloud.once(host.joining());
        assert_eq!((report.stats.shipped, report.stats.joined_objects), (3, 1), "{report:?}");
    }
    for shipped_by in [host.joining(), host.config()] {
        crate::joins::forget(&host);
        let again = cloud.once(shipped_by);
        assert_eq!((again.stats.already, again.stats.shipped), (15, 0), "{again:?}");
    }
    cloud.assert_joined(&host.files(), "times that jump");
}

/// Follows the directory, with this clock.
fn follow(host: &Host, cloud: &Cloud, clock: &Clock, arguments: &[&str]) -> Child {
    let told: Vec<_> = ship(host, cloud, arguments).get_args().map(ToOwned::to_owned).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter-ship"));
    command.args(told.iter().filter(|argument| *argument != "--once")).args(["--rescan", "50ms"]);
    clock.give(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn end(child: &mut Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// If the clock is set back, files stay. If it is set forth, they go, and each has its object.
#[test]
fn an_age_is_that_of_the_clock_and_what_goes_was_compared() {
    let (host, cloud) = (Host::new(), Cloud::new());
    let Some(clock) = Clock::new(host.dir.path()) else { return };
    let mut files = host.files();
    clock.set("-365d");
    let mut child = follow(&host, &cloud, &clock, &["--after", "1day"]);
    wait::until("the first files", || cloud.s3.objects().len() == 3);
    clock.set("+0d");
    host.publish("p=1", 4, 10);
    files.extend(host.files());
    wait::until("a file when the clock is right", || cloud.s3.objects().len() == 4);
    assert_eq!(host.files(), files);
    clock.set("+365d");
    wait::until("they are old", || host.files().is_empty());
    cloud.assert_has(&files, "a year later");
    // The same file, which nobody ships.
    let other = Host::empty();
    [&other, &host].into_iter().for_each(|host| drop(host.publish("p=2", 5, 10)));
    files.extend(other.files());
    wait::until("one that is new is old at once", || {
        cloud.s3.objects().len() == 5 && host.files().is_empty()
    });
    clock.set("-365d");
    host.publish("p=3", 6, 10);
    files.extend(host.files());
    wait::until("a file before its time", || cloud.s3.objects().len() == 6);
    end(&mut child);
    assert_eq!(host.files().len(), 1);
    cloud.assert_has(&files, "a clock that jumps");
}

#[test]
fn small_files_wait_by_a_clock_that_nobody_sets() {
    let (host, cloud) = (Host::empty(), Cloud::new());
    let Some(clock) = Clock::new(host.dir.path()) else { return };
    clock.set("+0d");
    let compact = ["--compact", "100000B", "--compact-age", "100ms"];
    let mut child = follow(&host, &cloud, &clock, &compact);
    let mut nth = 0;
    for setting in ["+365d", "-365d", "+0d", "-365d", "+365d"] {
        for _ in 0..3 {
            nth += 1;
            host.publish("p=1", nth, 100);
        }
        clock.set(setting);
        let holds =
            |object: &Vec<u8>| String::from_utf8_lossy(object).contains(&format!("{nth} p=1"));
        wait::until("the last file's object", || cloud.visible().values().any(holds));
    }
    end(&mut child);
    cloud.assert_joined(&host.files(), "a clock that jumps");
}
