//! Messages that are handed over: each is taken once, in its place, and dropped once.

use super::close::close_gates;
use super::*;
use crate::memory::message::Message;

/// Counts drops; what is read after one is not what was sent.
struct Counted {
    bytes: Vec<u8>,
    drops: std::sync::Arc<Tally>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.bytes.fill(b'!');
        self.drops.fetch_add(1, Plain);
    }
}

#[derive(Clone, Default)]
struct Drops(std::sync::Arc<Tally>);

impl Drops {
    fn count(&self) -> u64 {
        self.0.load(Plain)
    }

    /// Whether the message was accepted.
    fn send(&self, owner: Owner, shared: &Arc<Shared>, bytes: &[u8]) -> bool {
        let message = Counted { bytes: bytes.to_vec(), drops: self.0.clone() };
        append::send(&mut owner.slot(shared), Message::new(message)).is_ok()
    }
}

/// A message between two records, against a worker that scrapes at any moment.
#[test]
fn send_against_scrape() {
    explore("send_against_scrape", || {
        let shared = shared(2, 4, 1);
        let (owner, drops) = (Owner::new(&shared), Drops::default());
        owner.write(&shared, b"a").unwrap();
        let producer = {
            let (shared, drops) = (shared.clone(), drops.clone());
            thread::spawn(move || {
                assert!(drops.send(owner, &shared, b"bb"));
                owner.write(&shared, b"c").unwrap();
            })
        };
        let mut worker = Worker::new(0);
        worker.scrape(&shared);
        assert!(b"abbc".starts_with(&worker.out));
        producer.join().unwrap();
        assert!(worker.scrape(&shared));
        assert_eq!((worker.out.as_slice(), worker.records, drops.count()), (&b"abbc"[..], 3, 1));
        drop(shared);
        assert_eq!(drops.count(), 1);
    });
}

/// A message that is larger than a chunk, against a scrape: its chain is whole, and comes back.
#[test]
fn large_message_against_scrape() {
    explore("large_message_against_scrape", || {
        let shared = shared(3, 2, 1);
        let (owner, drops) = (Owner::new(&shared), Drops::default());
        owner.write(&shared, b"a").unwrap();
        let producer = {
            let (shared, drops) = (shared.clone(), drops.clone());
            thread::spawn(move || assert!(drops.send(owner, &shared, b"bcd")))
        };
        let mut worker = Worker::new(0);
        worker.scrape(&shared);
        producer.join().unwrap();
        assert!(worker.scrape(&shared));
        assert_eq!((worker.out.as_slice(), worker.records, drops.count()), (&b"abcd"[..], 2, 1));
        assert_eq!(owner.accepted(&shared), Some(Count::new(2, 4)));
        assert_eq!(shared.pool.holds(&shared.arena, 3), Some(true));
    });
}

/// Close against `send`: what was accepted is taken, in order; all are dropped once.
#[test]
fn send_against_close() {
    explore_both("send_against_close", |barrier| {
        let shared = shared_with(barrier, 4, 2, 1);
        let (owner, drops) = (Owner::new(&shared), Drops::default());
        assert!(drops.send(owner, &shared, b"a"));
        let producer = {
            let (shared, drops) = (shared.clone(), drops.clone());
            thread::spawn(move || [b"bc", b"de"].map(|bytes| drops.send(owner, &shared, bytes)))
        };
        close_gates(&shared);
        let mut worker = Worker::new(0);
        assert!(worker.close(&shared));
        let accepted = producer.join().unwrap();
        assert!(accepted[0] || !accepted[1]);
        let len = 1 + 2 * accepted.iter().filter(|ok| **ok).count();
        assert_eq!(worker.out, b"abcde"[..len]);
        assert_eq!(drops.count(), 3);
        drop(shared);
        assert_eq!(drops.count(), 3);
    });
}

/// A writer that is given up in the middle of a `send`: what the worker did not see goes with the
/// memory.
#[test]
fn send_against_giving_up() {
    explore("send_against_giving_up", || {
        let shared = shared(3, 2, 1);
        let (owner, drops) = (Owner::new(&shared), Drops::default());
        assert!(drops.send(owner, &shared, b"a"));
        let producer = {
            let (shared, drops) = (shared.clone(), drops.clone());
            thread::spawn(move || {
                drops.send(owner, &shared, b"bc");
            })
        };
        shared.slots.close();
        let mut worker = Worker::new(0);
        // Nobody waited for the producer.
        worker.close(&shared);
        producer.join().unwrap();
        drop(shared);
        assert!(b"abc".starts_with(&worker.out));
        assert_eq!(drops.count(), 2);
    });
}

/// Revocation against `send`.
#[test]
fn send_against_revocation() {
    explore_both("send_against_revocation", |barrier| {
        let shared = shared_with(barrier, 2, 4, 1);
        let (owner, drops) = (Owner::new(&shared), Drops::default());
        assert!(drops.send(owner, &shared, b"a"));
        let mut worker = Worker::new(0);
        worker.revoke(&shared);
        let producer = {
            let (shared, drops) = (shared.clone(), drops.clone());
            thread::spawn(move || assert!(drops.send(owner, &shared, b"bc")))
        };
        worker.revoke(&shared);
        producer.join().unwrap();
        assert!(worker.scrape(&shared));
        assert_eq!((worker.out.as_slice(), drops.count()), (&b"abc"[..], 2));
        assert_eq!(owner.accepted(&shared), Some(Count::new(2, 3)));
    });
}
