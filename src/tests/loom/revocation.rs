//! Revocation: an idle producer's chunk is taken once, and what it writes next is in another.

use super::sleep::sleeper;
use super::*;
use crate::accept::{self, lease};

/// Revocation against a producer in every phase of its writes. What it committed is taken once, in order, and what
/// it writes afterwards is in another lease.
#[test]
fn revocation_against_writes() {
    explore_both("revocation_against_writes", |barrier| {
        let shared = shared_with(barrier, 2, 3, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let mut worker = Worker::new(0);
        worker.revoke(&shared);
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || [b"b", b"c"].map(|record| owner.write(&shared, record).is_ok()))
        };
        // The second call takes what was idle between the two.
        worker.revoke(&shared);
        let accepted = producer.join().unwrap();
        assert_eq!(accepted, [true, true], "a chunk is free, or comes back before the second");
        assert!(worker.scrape(&shared));
        assert_eq!((worker.out.as_slice(), worker.records), (b"abc".as_slice(), 3));
        assert_eq!(owner.accepted(&shared), Some(Count::new(3, 3)));
    });
}

/// A revoked chunk goes to another producer at once, while the old one writes on.
#[test]
fn revoked_chunk_is_another_s() {
    explore_both("revoked_chunk_is_another_s", |barrier| {
        let shared = shared_with(barrier, 1, 2, 1);
        let (old, new) = (Owner::new(&shared), Owner::new(&shared));
        old.write(&shared, b"a").unwrap();
        let mut worker = Worker::new(0);
        worker.revoke(&shared);
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || old.write(&shared, b"b").is_ok())
        };
        worker.revoke(&shared);
        let second = new.write(&shared, b"x").is_ok();
        let first = producer.join().unwrap();
        worker.scrape(&shared);
        let of_old: Vec<u8> = worker.out.iter().copied().filter(|b| *b != b'x').collect();
        assert_eq!(of_old, b"ab"[..1 + usize::from(first)]);
        assert_eq!(worker.out.len() - of_old.len(), usize::from(second));
        for (owner, records) in [(old, of_old.len()), (new, usize::from(second))] {
            assert_eq!(owner.accepted(&shared).unwrap().records, records as u64);
        }
    });
}

/// Revocation against a producer that has moved to another worker, which shuts its gate too: the
/// first worker, late, takes nothing.
#[test]
fn revocation_against_a_move() {
    explore_both("revocation_against_a_move", |barrier| {
        let shared = shared_with(barrier, 3, 1, 2);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let mut worker = Worker::new(0);
        worker.revoke(&shared);
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                owner.slot(&shared).entered().lease.home = 1;
                owner.write(&shared, b"b").unwrap();
                Collector::new(1).prepare_to_park(&shared);
            })
        };
        worker.revoke(&shared);
        other.join().unwrap();
        worker.scrape(&shared);
        assert_eq!(worker.out, b"a");
        assert_eq!(owner.accepted(&shared), Some(Count::new(2, 2)));
        let mut second = Worker::new(1);
        second.scrape(&shared);
        assert_eq!(second.out, b"b");
    });
}

/// Adoption: a thread ends, the next one writes through its slot, and the lease that it finds there
/// is revoked or not.
#[test]
fn adoption_against_revocation() {
    explore_both("adoption_against_revocation", |barrier| {
        let shared = shared_with(barrier, 3, 3, 1);
        let old = Owner::new(&shared);
        old.write(&shared, b"a").unwrap();
        let mut worker = Worker::new(0);
        worker.revoke(&shared);
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || {
                old.write(&shared, b"b").unwrap();
                shared.slots.release(old.0);
            })
        };
        worker.revoke(&shared);
        // Adopts the slot if it was left by now.
        Owner::new(&shared).write(&shared, b"x").unwrap();
        producer.join().unwrap();
        assert!(worker.scrape(&shared));
        let of_old: Vec<u8> = worker.out.iter().copied().filter(|b| *b != b'x').collect();
        assert_eq!((of_old.as_slice(), worker.out.len()), (&b"ab"[..], 3));
        let accepted: Count = shared.slots.iter().filter_map(|s| s.accepted(&shared.arena)).sum();
        assert_eq!(accepted, Count::new(3, 3));
    });
}

/// Revocation against the sleep: the next record of a producer whose lease was revoked wakes the
/// worker.
#[test]
fn sleep_after_revocation() {
    explore_both("sleep_after_revocation", |barrier| {
        let shared = shared_with(barrier, 2, 2, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let mut worker = Worker::new(0);
        worker.revoke(&shared);
        worker.revoke(&shared);
        assert_eq!(worker.out, b"a");
        let sleeper = sleeper(&shared, 1, true);
        owner.write(&shared, b"b").unwrap();
        assert_eq!(sleeper.join().unwrap(), b"b");
    });
}

/// Close against revocation: the chunk is taken once, by the one or the other.
#[test]
fn close_against_revocation() {
    explore_both("close_against_revocation", |barrier| {
        let shared = shared_with(barrier, 1, 2, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let mut worker = Worker::new(0);
        worker.revoke(&shared);
        let closer = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.slots.close();
                shared.slots.heavy_barrier();
            })
        };
        worker.revoke(&shared);
        closer.join().unwrap();
        assert!(worker.close(&shared));
        assert_eq!(worker.out, b"a");
        assert_eq!(owner.accepted(&shared), Some(Count::new(1, 1)));
        assert_eq!(owner.write(&shared, b"b"), Err(WriteError::Closed));
    });
}

/// Dismissal against a producer in every phase of its writes: who is dismissed has nothing left with the worker, and
/// what it writes afterwards goes to the first one. Each record is taken once, in order.
#[test]
fn dismissal_against_writes() {
    explore_both("dismissal_against_writes", |barrier| {
        let shared = shared_with(barrier, 6, 2, 2);
        let owner = Owner::new(&shared);
        owner.slot(&shared).entered().lease.home = 1;
        owner.write(&shared, b"a").unwrap();
        dismiss_meanwhile(&shared, owner, b"abcd", move |shared| {
            [b"b", b"c", b"d"].iter().for_each(|record| owner.write(shared, *record).unwrap());
        });
    });
}

/// The same, while the producer seals a large record and keeps an empty chunk.
#[test]
fn dismissal_against_a_large_record() {
    explore_both("dismissal_against_a_large_record", |barrier| {
        let shared = shared_with(barrier, 6, 1, 2);
        let owner = Owner::new(&shared);
        let mut slot = owner.slot(&shared);
        let mut busy = slot.enter();
        busy.lease.home = 1;
        let chunk = lease::pop(&mut busy).unwrap();
        lease::begin(&mut busy, chunk);
        drop(busy);
        dismiss_meanwhile(&shared, owner, b"xyz", move |shared| {
            accept::write(&mut owner.slot(shared), b"xy").unwrap();
            owner.write(shared, b"z").unwrap();
        });
    });
}

/// The second worker dismisses its producer while that writes, unless it has not yet taken all that it wrote. At the end
/// workers have all.
fn dismiss_meanwhile(
    shared: &Arc<Shared>,
    owner: Owner,
    all: &[u8],
    write: impl FnOnce(&Arc<Shared>) + Send + 'static,
) {
    let producer = {
        let shared = shared.clone();
        thread::spawn(move || write(&shared))
    };
    let mut worker = Worker::new(1);
    worker.scrape(shared);
    let had = worker.out.len();
    let is_dismissed = worker.dismiss(shared);
    producer.join().unwrap();
    assert!(worker.scrape(shared));
    assert!(!is_dismissed || worker.out.len() == had, "it was dismissed too early");
    let mut first = Worker::new(0);
    assert!(first.scrape(shared));
    assert!(is_dismissed || first.out.is_empty(), "it left of itself");
    assert_eq!([worker.out, first.out].concat(), all);
    let records = u64::from(worker.records + first.records);
    assert_eq!(owner.accepted(shared), Some(Count::new(records, all.len() as u64)));
}

/// Dismissal against the sleep of both workers: the next record wakes the one to which it goes.
#[test]
fn sleep_after_dismissal() {
    explore_both("sleep_after_dismissal", |barrier| {
        let shared = shared_with(barrier, 6, 2, 2);
        let owner = Owner::new(&shared);
        owner.slot(&shared).entered().lease.home = 1;
        owner.write(&shared, b"a").unwrap();
        let mut worker = Worker::new(1);
        worker.scrape(&shared);
        assert!(worker.dismiss(&shared));
        let sleeper = sleeper(&shared, 1, true);
        owner.write(&shared, b"b").unwrap();
        assert_eq!(sleeper.join().unwrap(), b"b");
    });
}

/// Starvation: a caller that finds no chunk raises the flag, or finds it raised. That holds as long as the worker
/// that looks at it finds no chunk either.
#[test]
fn starvation_is_noticed() {
    explore("starvation_is_noticed", || {
        let shared = shared(1, 1, 1);
        // Somebody starved before.
        shared.starve(1);
        let owners = [Owner::new(&shared), Owner::new(&shared)];
        let producers = owners.map(|owner| {
            let shared = shared.clone();
            thread::spawn(move || owner.write(&shared, b"a").is_ok())
        });
        shared.is_starving();
        let accepted = producers.map(|producer| producer.join().unwrap());
        assert_eq!(accepted.iter().filter(|ok| **ok).count(), 1);
        assert!(shared.is_starving(), "one was refused and nobody knows");
    });
}

/// Demand expires, but not while a caller waits: the workers would not look for idle producers on
/// its behalf.
#[test]
fn demand_expires_unless_somebody_waits() {
    explore("demand_expires_unless_somebody_waits", || {
        let shared = shared(1, 1, 1);
        let [holder, waiter] = [(); 2].map(|()| Owner::new(&shared));
        holder.write(&shared, b"a").unwrap();
        // Somebody was refused before, and has gone.
        shared.starve(1);
        let mut worker = {
            let shared = shared.clone();
            Some(thread::spawn(move || shared.expire_demand()))
        };
        let mut is_asked = false;
        let look = || waiter.write(&shared, b"b").ok();
        let found = shared.pool.wait_until(look, |_, _| {
            worker.take().unwrap().join().unwrap();
            is_asked = shared.has_demand();
            None
        });
        assert!(found.is_none() && is_asked, "one waits, and nobody knows");
    });
}
