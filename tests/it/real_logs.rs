//! Promise: real logs, written line by line through several threads, come out as they went in. The lines are the
//! same, none torn, none doubled, in whatever order.

use std::fs;
use std::path::PathBuf;
use std::thread;

use bufferedwriter::BufferedWriter;

use crate::support::{BOUND, WriterDir, close, stats};

/// Lines with their ends; a last one without gets one, since nothing else would separate it.
fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = bytes.split_inclusive(|&b| b == b'\n');
    lines
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
        .map(|l| [l, b"\n"].concat())
        .collect()
}

#[test]
fn come_out_as_they_went_in() {
    let default = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"));
    let logs = std::env::var_os("BUFFEREDWRITER_TEST_LOGS").map_or(default, PathBuf::from);
    let Ok(entries) = fs::read_dir(&logs) else {
        eprintln!("skipped: no logs in {}", logs.display());
        return;
    };
    let files = entries.map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "log"));
    let inputs: Vec<Vec<Vec<u8>>> = files.map(|file| lines(&fs::read(file).unwrap())).collect();
    if inputs.is_empty() {
        eprintln!("skipped: no logs in {}", logs.display());
        return;
    }
    let dir = WriterDir::new();
    let config = dir.config().size(4096).queue_size(100).workers(3).file_size(100_000);
    let writer = BufferedWriter::new(config).unwrap();
    thread::scope(|scope| {
        for input in &inputs {
            // Two threads share each file.
            for half in [0, 1] {
                let writer = &writer;
                scope.spawn(move || {
                    for line in input.iter().skip(half).step_by(2) {
                        writer.write_timeout(line, BOUND).unwrap();
                    }
                    stats(writer);
                });
            }
        }
    });
    close(&writer);
    let mut written = inputs.concat();
    let mut found = lines(&dir.contents().concat());
    assert!(dir.contents().iter().all(|file| file.ends_with(b"\n")), "a file ends within a line");
    written.sort();
    found.sort();
    assert_eq!(found.len(), written.len());
    assert!(found == written, "the lines differ");
    dir.assert_clean();
}
