//! Does nothing that was read get lost with `--crash-proof` when the program is killed, and is nothing left over?

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use bufferedwriter_testkit::dir::{TestDir, list};
use bufferedwriter_testkit::shm;
use rustix::process::Signal;

use crate::help::{Place, exit_code, numbered, wait_until};

/// A directory in memory; none where there is no such file system.
fn memory() -> Option<TestDir> {
    shm::dir().map(TestDir::within)
}

fn option(memory: &TestDir) -> String {
    format!("--crash-proof={}", memory.path().display())
}

fn recover(place: &Place, memory: &TestDir) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    command.arg("recover").arg("--path").arg(place.out()).arg("--temp").arg(place.tmp());
    let output = command.arg("--memory").arg(memory.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(exit_code(output.status), 0, "{stderr}");
    stderr
}

/// Killed when it has nothing in its pipe any more and is asleep: all that it was fed is there.
#[test]
fn nothing_that_was_read_is_lost() {
    let Some(memory) = memory() else { return };
    let place = Place::new();
    let args =
        [&option(&memory), "--forced=0", "--file-age=0", "--size=64", "--prefix=p_", "--workers=2"];
    let mut program = place.start(args);
    let lines = numbered(500);
    program.feed(&lines);
    // What it has read it hands over before it reads again, and then it waits in read(2).
    program.wait_until_read();
    wait_until("it has handed over what it has read", || program.is_asleep());
    program.signal(Signal::KILL);
    drop(program);
    assert!(!memory.list().is_empty());
    let told = recover(&place, &memory);
    assert!(told.contains("1 dead instances"), "{told}");
    let mut found: Vec<Vec<u8>> = Vec::new();
    for file in place.visible() {
        let bytes = fs::read(file).unwrap();
        found.extend(bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec));
    }
    found.sort();
    let mut wanted: Vec<Vec<u8>> = lines.split_inclusive('\n').map(|line| line.into()).collect();
    wanted.sort();
    assert!(found == wanted, "{} of {} lines", found.len(), wanted.len());
    assert!(list(&place.tmp()).is_empty() && memory.list().is_empty());
}

/// Killed at any moment: what is visible is the beginning of the input, each line whole and once.
#[test]
fn what_is_visible_is_the_beginning_of_the_input() {
    let Some(memory) = memory() else { return };
    for round in 0..10_u64 {
        let place = Place::new();
        let args = [&option(&memory), "--forced=5ms", "--size=128", "--file-size=2000"];
        let mut program = place.start(args);
        let mut stdin = program.take_stdin();
        let feeder = thread::spawn(move || {
            for number in 0.. {
                use std::io::Write;
                if writeln!(stdin, "line {number} of {round}").is_err() {
                    break;
                }
            }
        });
        wait_until("something is visible", || !place.visible().is_empty());
        thread::sleep(Duration::from_micros(3_700 * round));
        program.signal(Signal::KILL);
        drop(program);
        feeder.join().unwrap();
        recover(&place, &memory);
        let mut numbers: Vec<u64> = Vec::new();
        for file in place.visible() {
            let text = fs::read_to_string(file).unwrap();
            assert!(text.ends_with('\n'));
            for line in text.lines() {
                let number = line
                    .strip_prefix("line ")
                    .and_then(|rest| rest.strip_suffix(&format!(" of {round}"))?.parse().ok());
                numbers.push(number.unwrap_or_else(|| panic!("torn: {line:?}")));
            }
        }
        numbers.sort_unstable();
        let whole = (0..numbers.len() as u64).eq(numbers.iter().copied());
        assert!(whole && !numbers.is_empty(), "round {round}: missing or twice");
        assert!(list(&place.tmp()).is_empty() && memory.list().is_empty());
    }
}

#[test]
fn what_is_not_memory_is_refused_by_name() {
    let place = Place::new();
    let dir = place.join("disk");
    fs::create_dir(&dir).unwrap();
    let ended = place.start([format!("--crash-proof={}", dir.display())]).end();
    // Where the directory for temporary files is in memory itself, there is nothing to refuse.
    if ended.code != 0 {
        assert!(ended.code == 1 && ended.stderr.contains("create memory in"), "{ended:?}");
        assert!(list(&place.tmp()).is_empty() && list(&place.out()).is_empty());
    }
}
