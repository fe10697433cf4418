//! Close: all that was accepted is taken, and nothing after.

use super::*;

/// What `Inner::begin_close` does before it sets the workers to drain.
pub(super) fn close_gates(shared: &Shared) {
    shared.slots.close();
    shared.slots.heavy_barrier();
    while shared.slots.iter().any(Slot::is_busy) {
        thread::yield_now();
    }
}

/// Close: after the gates are shut and nobody is in a write, the last scrape has every record whose write returned
/// `Ok`. No write returns `Ok` after it.
#[test]
fn close_takes_all() {
    explore_both("close_takes_all", |barrier| {
        let shared = shared_with(barrier, 4, 1, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || [b"b", b"c"].map(|record| owner.write(&shared, record).is_ok()))
        };
        close_gates(&shared);
        let mut worker = Worker::new(0);
        assert!(worker.close(&shared));
        let accepted = producer.join().unwrap();
        assert!(accepted[0] || !accepted[1]);
        let count = 1 + accepted.iter().filter(|ok| **ok).count();
        assert_eq!(worker.out, b"abc"[..count]);
        assert_eq!(owner.write(&shared, b"d"), Err(WriteError::Closed));
    });
}

/// Close against a thread's first write: it is refused, or its record is taken.
#[test]
fn close_against_registration() {
    explore_both("close_against_registration", |barrier| {
        let shared = shared_with(barrier, 2, 1, 1);
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || Owner::new(&shared).write(&shared, b"a").is_ok())
        };
        close_gates(&shared);
        let mut worker = Worker::new(0);
        assert!(worker.close(&shared));
        let accepted = producer.join().unwrap();
        assert_eq!(worker.out.len(), usize::from(accepted));
    });
}

/// Close against a producer that was given up in the middle of a swap. Its push is refused, and it does not touch
/// what the worker has.
#[test]
fn late_push_is_refused() {
    explore("late_push_is_refused", || {
        let shared = shared(3, 1, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || owner.write(&shared, b"b"))
        };
        let mut worker = Worker::new(0);
        // Nobody waited for it.
        worker.close(&shared);
        let _ = producer.join().unwrap();
        let taken = worker.out.len();
        worker.take(&shared);
        assert_eq!(worker.out.len(), taken, "the inbox is closed");
        assert!(b"ab".starts_with(&worker.out));
    });
}
