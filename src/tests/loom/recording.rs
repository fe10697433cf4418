//! Records that are formatted in place: nothing is seen of them before their end, and their chunk is
//! nobody else's until then.

use std::fmt;

use super::close::close_gates;
use super::sleep::sleeper;
use super::*;
use crate::accept::formatted::RecordWriter;

/// Formats each part with others running in between.
fn format(owner: Owner, shared: &Shared, parts: &[&[u8]]) -> Result<(), WriteError> {
    let mut record = RecordWriter::begin(owner.slot(shared))?;
    let formatted = parts.iter().try_for_each(|part| record.write_bytes(part));
    record.end(formatted)
}

/// Revocation against a record that is being formatted, with another producer waiting for memory:
/// the chunk can't be taken meanwhile.
#[test]
fn record_against_revocation() {
    explore_both("record_against_revocation", |barrier| {
        let shared = shared_with(barrier, 1, 4, 1);
        let (owner, other) = (Owner::new(&shared), Owner::new(&shared));
        owner.write(&shared, b"a").unwrap();
        let mut worker = Worker::new(0);
        worker.revoke(&shared);
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || format(owner, &shared, &[b"b", b"c"]).is_ok())
        };
        worker.revoke(&shared);
        let second = other.write(&shared, b"x").is_ok();
        let first = producer.join().unwrap();
        assert!(worker.scrape(&shared));
        let of_owner: Vec<u8> = worker.out.iter().copied().filter(|b| *b != b'x').collect();
        assert_eq!(of_owner, if first { &b"abc"[..] } else { b"a" });
        assert_eq!(worker.out.len() - of_owner.len(), usize::from(second));
        assert_eq!(owner.accepted(&shared).unwrap().records, 1 + u64::from(first));
    });
}

/// A record that moves to another chunk, and one that becomes a chain, against a scrape.
#[test]
fn record_that_grows_against_scrape() {
    explore("record_that_grows_against_scrape", || {
        let shared = shared(3, 2, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || {
                format(owner, &shared, &[b"b", b"c"]).is_ok()
                    && format(owner, &shared, &[b"d", b"ef"]).is_ok()
            })
        };
        let mut worker = Worker::new(0);
        worker.scrape(&shared);
        let accepted = producer.join().unwrap();
        assert!(worker.scrape(&shared));
        assert!(worker.out.starts_with(b"abc"), "{:?}", worker.out);
        assert_eq!(worker.out, b"abcdef"[..if accepted { 6 } else { 3 }]);
        let count = Count::new(worker.records.into(), worker.out.len() as u64);
        assert_eq!(owner.accepted(&shared), Some(count));
    });
}

/// Close against a record that is being formatted: it is taken as a whole, or refused.
#[test]
fn record_against_close() {
    explore_both("record_against_close", |barrier| {
        let shared = shared_with(barrier, 3, 2, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || format(owner, &shared, &[b"b", b"c"]))
        };
        close_gates(&shared);
        let mut worker = Worker::new(0);
        assert!(worker.close(&shared));
        let result = producer.join().unwrap();
        assert_eq!(worker.out, b"abc"[..if result.is_ok() { 3 } else { 1 }]);
        assert!(matches!(result, Ok(()) | Err(WriteError::Closed)));
    });
}

/// A record wakes the worker at its end, though the worker fell asleep in the middle of it.
#[test]
fn sleep_and_a_formatted_record() {
    explore_both("sleep_and_a_formatted_record", |barrier| {
        let shared = shared_with(barrier, 2, 4, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let worker = sleeper(&shared, 2, true);
        format(owner, &shared, &[b"b", b"c"]).unwrap();
        assert_eq!(worker.join().unwrap(), b"abc");
    });
}

/// One that is given up leaves room and chunks as they were.
#[test]
fn record_given_up_against_revocation() {
    explore_both("record_given_up_against_revocation", |barrier| {
        let shared = shared_with(barrier, 3, 2, 1);
        let owner = Owner::new(&shared);
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut record = RecordWriter::begin(owner.slot(&shared)).unwrap();
                let _ = record.write_bytes(b"abc");
                assert_eq!(record.end(Err(fmt::Error)), Err(WriteError::Format));
                owner.write(&shared, b"d").unwrap();
            })
        };
        let mut worker = Worker::new(0);
        worker.revoke(&shared);
        worker.revoke(&shared);
        producer.join().unwrap();
        worker.revoke(&shared);
        worker.revoke(&shared);
        assert_eq!((worker.out.as_slice(), worker.records), (&b"d"[..], 1));
        assert_eq!(shared.pool.holds(&shared.arena, 3), Some(true));
    });
}
