//! Promise: who watches `path` with inotify(7) is told of each visible file once, when it is complete. That is by
//! IN_MOVED_TO where the file system renames without replacing, else by IN_CREATE.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use bufferedwriter::BufferedWriter;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::support::{BOUND, WriterDir, close};

/// The events of visible names, by name.
fn events(watch: &OwnedFd) -> BTreeMap<Vec<u8>, Vec<ReadFlags>> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(watch, &mut buffer);
    let mut events = BTreeMap::<_, Vec<_>>::new();
    loop {
        match reader.next() {
            Ok(event) => {
                let name = event.file_name().expect("a file in the directory").to_bytes();
                if !name.starts_with(b".") {
                    events.entry(name.to_vec()).or_default().push(event.events());
                }
            }
            Err(Errno::AGAIN) => return events,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn one_event_tells_of_a_file_and_no_change_follows() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().workers(2).file_size(1000)).unwrap();
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    let changes = WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::DELETE;
    let changes = changes | WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
    inotify::add_watch(&watch, &dir.path, changes).unwrap();
    for _ in 0..20 {
        writer.write(&[b'x'; 2000]).unwrap();
        writer.flush(BOUND).unwrap();
    }
    close(&writer);
    let told = events(&watch);
    let files = dir.files();
    assert_eq!(files.len(), 20);
    let portable = cfg!(bufferedwriter_portable);
    let expected = if portable { ReadFlags::CREATE } else { ReadFlags::MOVED_TO };
    for (_, file) in &files {
        let name = file.file_name().unwrap().as_bytes();
        let (first, rest) = told[name].split_first().expect("an event");
        assert_eq!(*first, expected, "{}", file.display());
        // A worker closes its descriptor after the rename.
        assert!(rest.iter().all(|event| *event == ReadFlags::CLOSE_WRITE), "{rest:?}");
    }
    assert_eq!(told.len(), files.len());
}
