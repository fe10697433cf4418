//! Is memory bounded, whatever comes in?

use crate::help::{PLAIN, Place};

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
