//! The disk half of a worker alone: what it writes at once, what it makes visible, and what it says of itself.

use crate::accept;
use crate::base::sys::Errno;
use crate::config::{Config, Durability, Io};
use crate::memory::slot::owned::Borrowed;
use crate::naming;
use crate::report::error::Error;
use crate::report::published::PublishReason;
use crate::tests::clock::Clock;
use crate::tests::fs::WRITES_SLICES;
use crate::tests::fs::faulty::{Answer, Faulty, Op};
use crate::tests::fs::memory::MemoryFs;
use crate::worker::collect::Collector;
use crate::worker::output::Output;
use crate::worker::round::Worker;
use crate::writer::inner::Inner;
use crate::writer::open;
use bufferedwriter_testkit::dir::TestDir;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A writer with two workers. The output of one of them is used by hand; the other one's never is.
struct Rig {
    handle: Inner,
    output: Output,
    collector: Collector,
    fs: Faulty,
    dir: TestDir,
}

impl Rig {
    /// So many calls wrote to files, where one call takes several slices.
    #[track_caller]
    fn expect_appends(&self, count: usize) {
        if WRITES_SLICES {
            assert_eq!(self.fs.appends(), count);
        }
    }

    /// A writer with `chunks` chunks of `size` bytes.
    fn new(size: usize, chunks: usize, config: Config) -> Self {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let config = config.path(dir.path()).temp(dir.path()).fs(Arc::new(fs.clone()));
        let (handle, output, collector) = assemble(size, chunks, config);
        Rig { handle, output, collector, fs, dir }
    }

    /// A record that is pushed to the output at once, together with what its producer had.
    fn put(&mut self, record: &[u8]) {
        let Rig { handle, output, collector, .. } = self;
        accept::write(&mut Borrowed::new(&handle.shared).unwrap().owned(), record).unwrap();
        assert!(collector.scrape(&handle.shared, |piece| output.push(piece)));
    }

    fn write(&mut self) -> Result<(), Error> {
        self.output.write()
    }

    fn publish(&mut self) -> Result<(), Error> {
        self.output.publish(PublishReason::Flush)
    }

    /// Chunks that are not free, but for the one that the producer has.
    fn held(&self) -> u32 {
        self.handle.shared.mailboxes[0].held()
    }

    /// Numbers and contents of the temp files, or of the visible ones, in the order of their names.
    fn files(&self, temp: bool) -> Vec<(u64, Vec<u8>)> {
        let parse = |name: &OsString| naming::parse(name, "".as_ref(), "log".as_ref());
        let names = self.dir.list().into_iter().filter_map(|name| Some((parse(&name)?, name)));
        let names = names.filter(|(parsed, _)| parsed.temp == temp);
        names
            .map(|(parsed, name)| (parsed.seq, std::fs::read(self.dir.join(name)).unwrap()))
            .collect()
    }

    fn visible(&self) -> Vec<Vec<u8>> {
        self.files(false).into_iter().map(|file| file.1).collect()
    }

    fn temp(&self) -> Option<Vec<u8>> {
        self.files(true).pop().map(|file| file.1)
    }
}

fn assemble(size: usize, chunks: usize, config: Config) -> (Inner, Output, Collector) {
    let config = config.size(size).queue_size(chunks - 2).workers(2).drop_timeout(Duration::ZERO);
    let (handle, mut workers) = open::assemble(config, Instant::now()).unwrap();
    let Worker { output, collector, .. } = workers.remove(0);
    (handle, output, collector)
}

fn buffered() -> Config {
    Config::default().io(Io::Buffered)
}

#[test]
fn nothing_is_settled_before_it_is_visible_and_the_directory_synced() {
    let mut rig = Rig::new(4, 8, buffered().durability(Durability::File));
    assert!(rig.output.is_settled() && rig.output.is_clean() && rig.output.is_written());
    rig.put(b"one\n");
    assert!(!rig.output.is_settled() && !rig.output.is_clean() && !rig.output.is_written());
    rig.write().unwrap();
    assert!(!rig.output.is_settled() && !rig.output.is_clean() && rig.output.is_written());
    rig.output.sync().unwrap();
    assert!(!rig.output.is_settled() && !rig.output.is_clean());
    let calls = rig.fs.calls(Op::SyncDir);
    rig.fs.plan(Op::SyncDir, 1, Answer::Error(Errno::IO));
    rig.publish().unwrap_err();
    assert_eq!(rig.visible(), [b"one\n"]);
    assert!(!rig.output.is_settled() && !rig.output.is_clean() && rig.output.is_written());
    assert!(rig.output.held().is_err());
    // Not tried again before somebody says so.
    rig.publish().unwrap_err();
    assert_eq!(rig.fs.calls(Op::SyncDir), calls + 1);
    rig.output.try_again();
    rig.publish().unwrap();
    assert_eq!(rig.fs.calls(Op::SyncDir), calls + 2);
    assert!(rig.output.is_settled() && rig.output.is_clean() && rig.output.held().is_ok());
    // And nothing is synced for nothing.
    rig.publish().unwrap();
    assert_eq!(rig.fs.calls(Op::SyncDir), calls + 2);
}

#[test]
fn what_is_left_over_of_an_empty_file_is_settled_but_not_clean() {
    let mut rig = Rig::new(4, 8, buffered());
    rig.put(b"one\n");
    rig.fs.plan_append(1, Answer::Error(Errno::NOSPC));
    let error = rig.write().unwrap_err();
    assert!(rig.output.lose_memory(&error));
    assert!(rig.output.is_settled() && !rig.output.is_clean());
    assert_eq!((rig.held(), rig.temp()), (0, Some(Vec::new())));
    rig.publish().unwrap();
    assert!(rig.output.is_clean() && rig.visible().is_empty() && rig.temp().is_none());
}

#[test]
fn a_creation_that_failed_but_left_a_file_is_in_nobodys_way() {
    let mut rig = Rig::new(4, 8, buffered());
    rig.put(b"one\n");
    (1..=2).for_each(|nth| rig.fs.plan(Op::Create, nth, Answer::DoneBut(Errno::IO)));
    (0..2).for_each(|_| drop(rig.write().unwrap_err()));
    rig.write().unwrap();
    rig.publish().unwrap();
    assert_eq!(rig.visible(), [b"one\n"]);
}

#[test]
fn files_have_their_size_and_ascending_numbers() {
    let mut rig = Rig::new(10, 64, buffered().file_size(25));
    for record in 0..11 {
        rig.put(format!("record {record:02}\n").as_bytes());
    }
    rig.write().unwrap();
    let lens: Vec<_> = rig.visible().iter().map(Vec::len).collect();
    assert_eq!(lens, [30, 30, 30]);
    assert_eq!(rig.temp().unwrap(), b"record 09\nrecord 10\n");
    rig.expect_appends(4);
    assert_eq!((rig.output.progress().published, rig.output.progress().landed), (3, 11));
    let numbers: Vec<_> = rig.files(false).into_iter().map(|file| file.0).collect();
    assert_eq!(numbers, [0, 1, 2]);
}

#[test]
fn writes_are_of_a_mebibyte() {
    let mut rig = Rig::new(256 << 10, 16, buffered());
    for _ in 0..10 {
        rig.put(&vec![b'x'; 256 << 10]);
    }
    rig.write().unwrap();
    rig.expect_appends(3);
    assert_eq!(rig.temp().unwrap().len(), 10 * (256 << 10));
    assert_eq!(rig.held(), 0);
}

#[test]
fn writes_are_of_as_many_slices_as_the_system_takes() {
    let mut rig = Rig::new(1, 3000, buffered());
    let all: Vec<u8> = (0..2100).map(|i| i as u8).collect();
    for byte in &all {
        rig.put(&[*byte]);
    }
    rig.write().unwrap();
    // 1,024 but for what one more piece may take.
    rig.expect_appends(3);
    assert_eq!(rig.temp().unwrap(), all);
}

#[test]
fn a_large_record_is_written_whole_even_beyond_the_size_of_the_file() {
    let mut rig = Rig::new(4, 16, buffered().file_size(6));
    rig.put(b"0123456789abcdef\n");
    rig.put(b"end\n");
    rig.write().unwrap();
    assert_eq!(rig.visible(), [b"0123456789abcdef\n"]);
    assert_eq!(rig.temp().unwrap(), b"end\n");
    rig.expect_appends(2);
}

#[test]
fn only_whole_records_of_a_short_write_count() {
    let mut rig = Rig::new(4, 16, buffered());
    rig.put(b"one\n");
    rig.put(b"two\n");
    rig.put(b"a large one\n");
    rig.put(b"end\n");
    // One record and a half; then one and a part of the large one.
    rig.fs.plan_append(1, Answer::Short(6));
    rig.fs.plan_append(2, Answer::Error(Errno::NOSPC));
    rig.fs.plan_append(3, Answer::Short(9));
    rig.fs.plan_append(4, Answer::Error(Errno::NOSPC));
    // The last one's chunk is still its producer's.
    for (landed, left) in [(1, 4), (2, 3)] {
        rig.write().unwrap_err();
        assert!(!rig.output.is_written());
        assert_eq!((rig.output.progress().landed, rig.held()), (landed, left));
        assert_eq!(rig.output.chunks(), left as usize);
    }
    rig.write().unwrap();
    rig.publish().unwrap();
    assert_eq!(rig.visible(), [b"one\ntwo\na large one\nend\n"]);
    assert_eq!((rig.output.progress().landed, rig.held()), (6, 0));
}

#[test]
fn synced_memory_is_free_and_nothing_is_synced_twice() {
    let mut rig = Rig::new(4, 16, buffered().durability(Durability::File));
    rig.put(b"one\n");
    rig.write().unwrap();
    rig.put(b"two\n");
    rig.write().unwrap();
    assert_eq!(
        (rig.output.chunks(), rig.output.progress().landed, rig.fs.calls(Op::Sync)),
        (1, 0, 0)
    );
    rig.output.sync().unwrap();
    assert_eq!(
        (rig.output.chunks(), rig.output.progress().landed, rig.fs.calls(Op::Sync)),
        (0, 2, 1)
    );
    rig.output.sync().unwrap();
    rig.publish().unwrap();
    assert_eq!(rig.fs.calls(Op::Sync), 1);
    // Before memory is used up, of which its share is a half. The last chunk is the producer's.
    for record in 0..=8 {
        rig.put(format!("{record}..\n").as_bytes());
        rig.write().unwrap();
        let is_share = record == 8;
        assert_eq!(rig.fs.calls(Op::Sync), 1 + usize::from(is_share), "{record}");
        assert_eq!(rig.output.chunks(), if is_share { 0 } else { record }, "{record}");
    }
}

#[test]
fn a_failed_sync_takes_back_what_was_not_covered() {
    let mut rig = Rig::new(4, 8, buffered().durability(Durability::File));
    rig.put(b"one\n");
    rig.write().unwrap();
    rig.output.sync().unwrap();
    rig.put(b"two\n");
    rig.write().unwrap();
    let creates = rig.fs.calls(Op::Create);
    rig.fs.plan(Op::Sync, 1, Answer::Error(Errno::IO));
    rig.output.sync().unwrap_err();
    assert!(!rig.output.is_written());
    // What was synced becomes visible; the rest goes to another file.
    rig.write().unwrap();
    assert_eq!(rig.visible(), [b"one\n"]);
    assert_eq!(rig.temp().unwrap(), b"two\n");
    rig.publish().unwrap();
    assert_eq!(rig.visible(), [b"one\n", b"two\n"]);
    assert_eq!((rig.fs.calls(Op::Create) - creates, rig.held()), (1, 0));
}

#[test]
fn a_file_that_cannot_become_visible_grows_up_to_a_limit() {
    // The limit is a mebibyte, since four times the size is less.
    let mut rig = Rig::new(64 << 10, 40, buffered().file_size(1));
    (1..50).for_each(|nth| rig.fs.plan(Op::Rename, nth, Answer::Error(Errno::ACCESS)));
    let mut tries = 0;
    for record in 0..16 {
        rig.put(&[b'x'; 64 << 10]);
        rig.write().unwrap();
        if record == 0 {
            tries = rig.fs.calls(Op::Rename);
        }
    }
    assert_eq!((rig.temp().unwrap().len(), rig.held()), (1 << 20, 0));
    rig.put(b"too much\n");
    rig.put(&[b'x'; 64 << 10]);
    rig.write().unwrap_err();
    assert_eq!((rig.temp().unwrap().len(), rig.held()), (1 << 20, 1));
    // Not before somebody says so.
    assert_eq!(rig.fs.calls(Op::Rename), tries);
    rig.output.try_again();
    rig.write().unwrap_err();
    assert!(tries > 0 && rig.fs.calls(Op::Rename) > tries);
}

#[test]
fn past_the_page_cache_pieces_wait_for_a_write_that_is_worth_it() {
    // A page of staging memory and one for the part of a block before it: 8 chunks, and so is half of the share.
    let fs = MemoryFs::new(Clock::new(), "/path", false, false);
    let config = Config::default().path("/path").temp("/path").io(Io::Direct);
    let (handle, mut output, mut collector) = assemble(1024, 32, config.fs(Arc::new(fs.clone())));
    let mut slot = Borrowed::new(&handle.shared).unwrap();
    for record in 0..9 {
        assert!(output.gathers(), "{record}");
        accept::write(&mut slot.owned(), &[record; 1024]).unwrap();
        collector.take(&handle.shared, |piece| output.push(piece));
    }
    assert!(!output.gathers());
    let (calls, _) = fs.calls();
    output.write().unwrap();
    // The file is created, and written in two portions of a page.
    let (now, _) = fs.calls();
    assert!(output.gathers() && output.is_written());
    assert!(now - calls < 8, "{}", now - calls);
    output.publish(PublishReason::Flush).unwrap();
    let expected: Vec<u8> = (0..8).flat_map(|record| [record; 1024]).collect();
    assert_eq!(fs.appeared(), [expected]);
}

#[test]
fn who_is_given_up_leaves_no_file_and_publishes_nothing() {
    let mut rig = Rig::new(4, 8, buffered());
    rig.put(b"one\n");
    rig.write().unwrap();
    assert!(rig.temp().is_some());
    rig.put(b"two\n");
    rig.output.abandon(&mut rig.collector);
    assert!(rig.temp().is_none() && rig.visible().is_empty());
}

#[test]
fn a_temp_file_that_somebody_removed_is_gone() {
    let mut rig = Rig::new(4, 8, buffered());
    rig.put(b"one\n");
    rig.write().unwrap();
    rig.fs.plan(Op::Remove, 1, Answer::Error(Errno::IO));
    rig.output.remove().unwrap_err();
    assert!(!rig.output.is_clean());
    rig.fs.plan(Op::Remove, 1, Answer::Error(Errno::NOENT));
    rig.output.remove().unwrap();
    assert!(rig.output.is_clean());
}
