//! The order in which a recovery finds the records of one producer in crash-proof memory.

use std::fmt;
use std::path::Path;

use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::shm;

use crate::accept;
use crate::base::sync::Barrier;
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::memory::Shared;
use crate::memory::arena::Arena;
use crate::memory::crash_image::{CrashImage, Layout};
use crate::memory::slot::owned::Borrowed;
use crate::naming::Names;
use crate::recovery::memory_image;
use crate::tests::recovery::fuzz;

const SIZE: usize = 16;

/// The bytes that are in no file yet, as a recovery would write them.
fn found(memory: &Path, names: &Names, layout: Layout) -> Vec<u8> {
    let mut file = RealFs.open(memory).unwrap();
    let image = memory_image::read(&mut *file, names).unwrap().unwrap();
    let mut all = Vec::new();
    for part in &image.unfiled {
        let mut bytes = vec![0; part.to - part.from];
        let at = layout.byte_at(part.chunk, part.from) as u64;
        assert_eq!(crate::fs::read_full(&mut *file, &mut bytes, at).unwrap(), bytes.len());
        all.extend(bytes);
    }
    all
}

/// A large record passes a chunk with room: an empty one stays its producer's, and holds what comes later.
#[test]
fn records_come_as_they_were_written_whatever_is_large() {
    let Some(dir) = shm::dir() else { return };
    let large = [b'L'; 2 * SIZE + 1];
    // What the producer's chunk holds when the large record comes: nothing yet, nothing any more, or a record.
    for begin in ["", "failed", "small"] {
        let (dir, names) = (TestDir::within(dir), fuzz::names());
        let layout =
            Layout { chunks: 16, size: SIZE, workers: 1, mode: 0o600, codec: 0, records: false };
        let image = CrashImage::create(dir.path(), layout, names.instance, names.pid).unwrap();
        image.link(dir.join(names.memory())).unwrap();
        let arena = Arena::in_crash_image(layout.chunks, SIZE, image);
        let shared = Shared::with(arena, 1, Barrier::detect()).unwrap();
        let mut slot = Borrowed::new(&shared).unwrap();
        let mut expected = Vec::new();
        match begin {
            "failed" => {
                let failed = accept::record(slot.owned(), |_| Err(fmt::Error));
                assert!(failed.is_err());
            }
            _ => expected.extend(begin.bytes()),
        }
        accept::write(&mut slot.owned(), &expected.clone()).unwrap();
        for after in [b"first", b"other"] {
            accept::write(&mut slot.owned(), &large).unwrap();
            accept::write(&mut slot.owned(), after).unwrap();
            expected.extend(large.iter().chain(after));
        }
        assert_eq!(found(&dir.join(names.memory()), &names, layout), expected, "{begin}");
    }
}
