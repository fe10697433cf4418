//! Accounts: each snapshot is a moment between two records.

use super::*;

/// Accounts: each snapshot is a moment between two records, whatever swaps come between.
#[test]
fn accepted_is_consistent() {
    explore("accepted_is_consistent", || {
        let shared = shared(3, 2, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let flag = Arc::new(AtomicU32::new(1));
        let producer = {
            let (shared, flag) = (shared.clone(), flag.clone());
            thread::spawn(move || {
                for i in 2..=4 {
                    owner.write_soon(&shared, b"b");
                    flag.store(i, Release);
                }
            })
        };
        let before = u64::from(flag.load(Acquire));
        if let Some(seen) = owner.accepted(&shared) {
            assert_eq!(seen.records, seen.bytes, "half of a swap");
            assert!(seen.records >= before && seen.records <= 4, "{seen:?}");
        }
        let mut worker = Worker::new(0);
        worker.take(&shared);
        producer.join().unwrap();
        assert_eq!(owner.accepted(&shared), Some(Count::new(4, 4)));
    });
}

/// Accounts while a lease is revoked, its chunk reset and leased again: no snapshot counts a
/// record twice, or not at all.
#[test]
fn accepted_is_consistent_under_revocation() {
    explore("accepted_is_consistent_under_revocation", || {
        let shared = shared(1, 3, 1);
        let (old, new) = (Owner::new(&shared), Owner::new(&shared));
        old.write(&shared, b"a").unwrap();
        old.write(&shared, b"b").unwrap();
        let watcher = {
            let shared = shared.clone();
            thread::spawn(move || {
                if let Some(seen) = old.accepted(&shared) {
                    assert_eq!(seen, Count::new(2, 2));
                }
            })
        };
        let mut worker = Worker::new(0);
        worker.revoke(&shared);
        worker.revoke(&shared);
        new.write(&shared, b"x").unwrap();
        assert_eq!(old.write(&shared, b"c"), Err(WriteError::Full));
        watcher.join().unwrap();
        assert_eq!(old.accepted(&shared), Some(Count::new(2, 2)));
        worker.scrape(&shared);
        assert_eq!(worker.out, b"abx");
    });
}

/// Accounts against the whole way round of a chunk. Whoever sees the length of a chunk as reset, or as another's,
/// sees that its slot has another chunk by now.
#[test]
fn accepted_against_reset() {
    explore("accepted_against_reset", || {
        let shared = shared(2, 2, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"ab").unwrap();
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || owner.write(&shared, b"c").unwrap())
        };
        let worker = {
            let shared = shared.clone();
            thread::spawn(move || Worker::new(0).take(&shared))
        };
        if let Some(seen) = owner.accepted(&shared) {
            assert!(seen.records == 1 || seen.records == 2, "{seen:?}");
            assert_eq!(seen.bytes, seen.records + 1, "{seen:?}");
        }
        producer.join().unwrap();
        worker.join().unwrap();
    });
}

/// Accounts while a revoked chunk becomes part of another producer's large record.
#[test]
fn accepted_against_a_chain() {
    explore("accepted_against_a_chain", || {
        let shared = shared(2, 2, 1);
        let (old, new) = (Owner::new(&shared), Owner::new(&shared));
        old.write(&shared, b"a").unwrap();
        let watcher = {
            let shared = shared.clone();
            thread::spawn(move || {
                if let Some(seen) = old.accepted(&shared) {
                    assert_eq!(seen, Count::new(1, 1));
                }
            })
        };
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || new.write(&shared, b"xyz").is_ok())
        };
        let mut worker = Worker::new(0);
        worker.revoke(&shared);
        worker.revoke(&shared);
        watcher.join().unwrap();
        let accepted = producer.join().unwrap();
        worker.take(&shared);
        assert_eq!(worker.out, b"axyz"[..if accepted { 4 } else { 1 }]);
    });
}
