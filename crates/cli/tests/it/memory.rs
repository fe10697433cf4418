//! Is memory bounded, whatever comes in, and all there from the start with `--populate`?

use std::os::unix::process::CommandExt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use crate::help::{PLAIN, Place, exit_code, wait_until};

#[test]
fn a_line_of_200_mib_without_newline_does_not_grow_it() {
    let place = Place::new();
    let mut program = place.start(PLAIN);
    let block = vec![b'x'; 1 << 20];
    for _ in 0..200 {
        program.feed(&block);
    }
    // All but what the pipe holds was read by now.
    let kib = program.memory_kib_max();
    assert!(kib < 64 << 10, "{kib} KiB");
    program.feed("\nnext\n");
    let ended = program.end();
    assert_eq!(ended.code, 3, "{ended:?}");
    let report = "standard input, line 1: 209715201 bytes";
    assert!(ended.stderr.contains(report), "{ended:?}");
    assert_eq!(place.written(), b"next\n");
}

#[test]
fn many_lines_do_not_grow_it() {
    let place = Place::new();
    let mut program = place.start(PLAIN);
    let block = "a line of a usual length, as logs have them\n".repeat(20_000);
    for _ in 0..200 {
        program.feed(&block);
    }
    let kib = program.memory_kib_max();
    assert!(kib < 64 << 10, "{kib} KiB");
    let ended = program.end();
    assert_eq!((ended.code, ended.records("written")), (0, 4_000_000), "{ended:?}");
}

#[test]
fn it_is_there_from_the_start() {
    let permitted = getrlimit(Resource::Memlock).current;
    if permitted.is_some_and(|bytes| bytes < 8 << 20) {
        eprintln!("skipped: RLIMIT_MEMLOCK permits {permitted:?} bytes");
        return;
    }
    let place = Place::new();
    let mut program = place.start(["--populate", "--size=64KiB", "--queue-size=62", "--workers=2"]);
    // 4 MiB of chunks, and 1 MiB of direct I/O for each worker.
    wait_until("the memory is locked", || (6144..6400).contains(&program.number("VmLck:")));
    program.feed("a line\n");
    let ended = program.end();
    assert_eq!((ended.code, ended.records("written")), (0, 1), "{ended:?}");
}

#[test]
fn more_than_may_be_locked_is_an_error() {
    let place = Place::new();
    let mut command = place.write_command(["--populate"]);
    let limit = Rlimit { current: Some(1 << 20), maximum: Some(1 << 20) };
    // SAFETY: plain system calls.
    unsafe {
        command.pre_exec(move || {
            // Root may lock more than the limit, unless an exec takes this from it.
            let _ = remove_capability_from_bounding_set(CapabilitySet::IPC_LOCK);
            Ok(setrlimit(Resource::Memlock, limit)?)
        });
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(exit_code(output.status), 1, "{stderr}");
    assert!(stderr.contains("mlock memory for"), "{stderr}");
    assert!(stderr.contains("RLIMIT_MEMLOCK permits 1048576 bytes in all"), "{stderr}");
    assert!(place.visible().is_empty());
}
