//! Sleep: no wake-up is missed. A missed one is a deadlock.

use super::*;

/// Runs a worker until it has seen `records`, sleeping without a limit in between. A missed
/// wake-up is a deadlock.
pub(super) fn sleeper(
    shared: &Arc<Shared>,
    records: u32,
    deep: bool,
) -> thread::JoinHandle<Vec<u8>> {
    let worker = {
        let shared = shared.clone();
        thread::spawn(move || {
            let mut worker = Worker::new(0);
            loop {
                if deep {
                    worker.scrape(&shared);
                } else {
                    worker.take(&shared);
                }
                if worker.records >= records {
                    return worker.out;
                }
                let mailbox = &shared.mailboxes[0];
                let calm = if deep {
                    worker.collector.prepare_to_park(&shared)
                } else {
                    mailbox.parker.prepare_to_park();
                    mailbox.inbox.is_empty(&shared.arena)
                };
                if calm {
                    mailbox.parker.park(None);
                } else {
                    thread::yield_now();
                }
                mailbox.parker.cancel_park();
            }
        })
    };
    shared.mailboxes[0].parker.register(worker.thread().clone());
    worker
}

/// Deep sleep: the first record into a chunk that was leased before wakes the worker, though it
/// pushes nothing.
#[test]
fn sleep_and_a_record_into_the_leased_chunk() {
    explore_both("sleep_and_a_record_into_the_leased_chunk", |barrier| {
        let shared = shared_with(barrier, 2, 4, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let worker = sleeper(&shared, 2, true);
        owner.write(&shared, b"b").unwrap();
        assert_eq!(worker.join().unwrap(), b"ab");
    });
}

/// Deep sleep: a producer that had no chunk yet wakes the worker by its lease.
#[test]
fn sleep_and_the_first_record_of_a_producer() {
    explore_both("sleep_and_the_first_record_of_a_producer", |barrier| {
        let shared = shared_with(barrier, 2, 4, 1);
        let owner = Owner::new(&shared);
        let worker = sleeper(&shared, 1, true);
        owner.write(&shared, b"a").unwrap();
        assert_eq!(worker.join().unwrap(), b"a");
    });
}

/// Deep sleep: a swap, and then a record, against two sleeps.
#[test]
fn sleep_and_a_swap() {
    explore_both("sleep_and_a_swap", |barrier| {
        let shared = shared_with(barrier, 3, 1, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let worker = sleeper(&shared, 2, true);
        owner.write(&shared, b"b").unwrap();
        assert_eq!(worker.join().unwrap(), b"ab");
    });
}

/// Deep sleep: a large record wakes the worker, though its producer has no lease.
#[test]
fn sleep_and_a_large_record() {
    explore_both("sleep_and_a_large_record", |barrier| {
        let shared = shared_with(barrier, 2, 1, 1);
        let owner = Owner::new(&shared);
        let worker = sleeper(&shared, 1, true);
        owner.write(&shared, b"ab").unwrap();
        assert_eq!(worker.join().unwrap(), b"ab");
    });
}

/// Sleep until something is due: pushes wake the worker.
#[test]
fn sleep_and_a_push() {
    explore("sleep_and_a_push", || {
        let shared = shared(4, 1, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let worker = sleeper(&shared, 2, false);
        // Each seals the one before.
        owner.write(&shared, b"b").unwrap();
        owner.write(&shared, b"c").unwrap();
        assert_eq!(worker.join().unwrap(), b"ab");
    });
}

/// Foreign code on the worker's thread, such as the `Drop` of a message, parks too. It takes the thread's own token,
/// but not the worker's: what was asked meanwhile is heard.
#[test]
fn sleep_and_foreign_code_that_parks() {
    explore("sleep_and_foreign_code_that_parks", || {
        let shared = shared(2, 4, 1);
        let asked = Arc::new(AtomicU32::new(0));
        let worker = {
            let (shared, asked) = (shared.clone(), asked.clone());
            thread::spawn(move || {
                let parker = &shared.mailboxes[0].parker;
                let mut seen = asked.load(Relaxed);
                // Its own wake-up does not come: whatever ends this is fine for it.
                thread::park();
                while seen == 0 {
                    parker.prepare_to_park();
                    parker.park(None);
                    parker.cancel_park();
                    seen = asked.load(Relaxed);
                }
            })
        };
        shared.mailboxes[0].parker.register(worker.thread().clone());
        asked.store(1, Relaxed);
        shared.mailboxes[0].parker.wake();
        worker.join().unwrap();
    });
}
