//! Promise: where `temp` is on another file system, files are written under hidden names in `path`,
//! and `stats().temp_dir` shows it; nothing is copied.

use std::fs;
use std::path::Path;

use bufferedwriter::BufferedWriter;
use bufferedwriter::testing::Errno;
use bufferedwriter_testkit::shm;

use crate::support::{
    Answer, BOUND, Op, Tally, TestFs, WriterDir, close, links, record, stats, traces, until,
};

/// Writes some, and checks where they are before and after.
fn written_in_path(dir: &WriterDir, writer: &BufferedWriter) {
    let mut buffer = Vec::new();
    for seq in 0..100 {
        record(&mut buffer, 1, seq, 100);
        writer.write_timeout(&buffer, BOUND).unwrap();
    }
    until("the worker has a temp file", || stats(writer).workers[0].temp_file.is_some());
    let now = stats(writer);
    assert_eq!(now.temp_dir, dir.path);
    let temp = now.workers[0].temp_file.clone().unwrap();
    assert_eq!(temp.parent(), Some(&*dir.path));
    assert!(dir.files().is_empty(), "only hidden names");
    close(writer);
    Tally::of(dir).assert_ranges(&[(1, 100)]);
    dir.assert_clean();
}

#[test]
fn on_another_file_system() {
    let dir = WriterDir::new();
    let Some(shm) = shm::dir() else { return };
    let device = |dir: &Path| traces(dir).unwrap().id.0;
    if device(shm) == device(&dir.path) {
        println!("skipped: {} is no file system apart from {}", shm.display(), dir.path.display());
        return;
    }
    let apart = WriterDir::within(shm);
    let config = dir.config().temp(&apart.temp).workers(1).size(512);
    let writer = BufferedWriter::new(config).unwrap();
    written_in_path(&dir, &writer);
    apart.assert_clean();
}

/// The same on any machine.
#[test]
fn on_what_says_it_is_another_file_system() {
    let dir = WriterDir::new();
    let temp = dir.temp.clone();
    let fs = TestFs::new(move |call| {
        let crosses = call.op == Op::Rename && call.path.starts_with(&temp);
        if crosses { Answer::Error(Errno::XDEV) } else { Answer::Go }
    });
    let writer = BufferedWriter::new(dir.config().workers(1).size(512).fs(fs)).unwrap();
    written_in_path(&dir, &writer);
}

#[test]
fn links_are_followed_once() {
    let dir = WriterDir::new();
    let link = dir.root().join("link");
    if !links(&dir.path, &link) {
        return;
    }
    let writer = BufferedWriter::new(dir.config().path(&link)).unwrap();
    // The link may go: the writer knows where it led.
    fs::remove_file(&link).unwrap();
    writer.write(b"a\n").unwrap();
    close(&writer);
    assert_eq!(dir.contents(), [b"a\n"]);
    dir.assert_clean();
}
