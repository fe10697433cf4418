//! Promise: visible names have the documented form and sort by their moments, strictly ascending per worker. No two
//! files have the same stamp. The mode is exact.

use bufferedwriter_testkit::os::{OsStrExt, OsStringExt};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::thread;

use bufferedwriter::BufferedWriter;
use bufferedwriter_testkit::dir::paths;

use crate::support::{BOUND, Name, Random, WriterDir, assert_mode, close, record};

#[test]
fn parse_sort_and_are_unique() {
    let dir = WriterDir::new();
    let config = dir.config().size(64).queue_size(60).workers(8).file_size(0);
    let writer = BufferedWriter::new(config).unwrap();
    thread::scope(|scope| {
        for producer in 0..6_u32 {
            let writer = &writer;
            scope.spawn(move || {
                let (mut random, mut buffer) = (Random::new(producer.into()), Vec::new());
                for seq in 0..100 {
                    record(&mut buffer, producer, seq, random.within(12, 100));
                    writer.write_timeout(&buffer, BOUND).unwrap();
                }
            });
        }
    });
    let report = close(&writer);
    // In the order of their names, which is that of their stamps.
    let names: Vec<Name> = dir.files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len() as u64, report.files);
    assert!(names.is_sorted_by(|a, b| a.stamp < b.stamp), "equal or unsorted stamps");
    let instances: BTreeSet<_> = names.iter().map(|name| &name.instance).collect();
    assert_eq!(instances.len(), 1);
    for worker in 0..8 {
        let seqs: Vec<u64> = names.iter().filter(|n| n.worker == worker).map(|n| n.seq).collect();
        assert!(seqs.is_sorted_by(|a, b| a < b), "worker {worker}: {seqs:?}");
    }
    for name in &names {
        assert!(name.worker < 8 && name.pid == std::process::id());
        assert!(name.stamp.as_str() > "20200101T000000.000000000Z");
    }
    dir.assert_clean();
}

#[test]
fn affixes_and_modes_are_as_asked_for() {
    // On Windows names are text, without control characters and a dot at the end.
    let odd: &[u8] = if cfg!(windows) { "\u{e9} odd.-w1-".as_bytes() } else { b"\xff odd-w1-.\n" };
    let odd = OsString::from_vec(odd.to_vec());
    let long = OsString::from("p".repeat(150));
    for (prefix, extension, mode) in [
        (OsString::from("access_"), OsString::from("log"), 0o600),
        (OsString::new(), OsString::new(), 0o666),
        (odd.clone(), OsString::from("tar.gz"), 0o640),
        (long, OsString::from("0123456789"), 0o777),
        (OsString::from("."), odd, 0o444),
        (OsString::from("-"), OsString::from("tmp"), 0),
    ] {
        let dir = WriterDir::new();
        let config = dir.config().prefix(&prefix).extension(&extension).mode(mode);
        let writer = BufferedWriter::new(config).unwrap();
        writer.write(b"a\n").unwrap();
        close(&writer);
        let [file] = &paths(&dir.path)[..] else { panic!("{:?}", paths(&dir.path)) };
        let name = file.file_name().unwrap();
        assert!(Name::parse(name, prefix.as_bytes(), extension.as_bytes()).is_some(), "{name:?}");
        assert_mode(file, mode);
        assert!(paths(&dir.temp).is_empty());
    }
}
