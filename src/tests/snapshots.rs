//! What a snapshot of the accounts sees when records are accepted and written while it is taken.

use std::thread;

use bufferedwriter_testkit::dir::TestDir;

use crate::accept;
use crate::config::Config;
use crate::memory::slot::owned::Borrowed;
use crate::report::stats::Count;
use crate::tests::threads::{asleep, with_id};
use crate::writer::open;

/// A snapshot waits for a producer in the middle of a swap. Meanwhile a record of a producer that it has already
/// counted is accepted and written. It must not seem to be written without having been accepted.
#[test]
fn what_is_written_meanwhile_was_accepted_before() {
    let (dir, now) = (TestDir::new(), std::time::Instant::now());
    let config = Config::default().path(dir.path()).temp(dir.path()).workers(1).file_size(0);
    let config = config.drop_timeout(std::time::Duration::ZERO);
    let (handle, mut workers) = open::assemble(config, now).unwrap();
    let mut held_up = Borrowed::new(&handle.shared).unwrap();
    let mut held_up = held_up.owned();
    // Slots are counted from the latest one on.
    let mut counted = Borrowed::new(&handle.shared).unwrap();
    let busy = held_up.enter();
    let before = busy.slot.current();
    busy.slot.set_current(before.swapping());
    let stats = thread::scope(|scope| {
        let (id, snapshot) = with_id(scope, || handle.stats());
        asleep("the snapshot waits", &id);
        accept::write(&mut counted.owned(), b"record").unwrap();
        handle.ask_flush(None).unwrap();
        workers[0].step(|| now).unwrap();
        busy.slot.set_current(before);
        drop(busy);
        snapshot.join().unwrap()
    });
    assert_eq!(stats.accepted, stats.written + stats.pending + stats.lost.total(), "{stats:?}");
    assert_eq!(handle.stats().written, Count::new(1, 6));
}
