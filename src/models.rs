//! loom models of the shipped types: each explores the interleavings of a few operations and
//! checks a promise, not only that it runs. `docs/invariants.md` lists them.
//!
//! Threads are few and chunks tiny, so that all interleavings with a bounded number of preemptions
//! are tried: two, or what LOOM_MAX_PREEMPTIONS says. A deadlock aborts the process: that is how a
//! missed wake-up shows.

use std::sync::atomic::{AtomicU64 as Tally, Ordering::Relaxed as Plain};

use loom::thread;

use crate::arena::Extent;
use crate::error::WriteError;
use crate::intake::{Intake, Piece};
use crate::lease;
use crate::shared::Shared;
use crate::slot::Slot;
use crate::stats::Count;
use crate::sync::{Acquire, Arc, AtomicU32, Barrier, Relaxed, Release};

/// Runs a model and says how many interleavings it had.
fn explore(name: &str, model: impl Fn() + Sync + Send + 'static) {
    static RUNS: Tally = Tally::new(0);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    let tally: &'static Tally = Box::leak(Box::new(Tally::new(0)));
    builder.check(move || {
        tally.fetch_add(1, Plain);
        model();
    });
    let all = RUNS.fetch_add(tally.load(Plain), Plain) + tally.load(Plain);
    println!("model {name}: {} interleavings ({all} so far)", tally.load(Plain));
}

fn shared(chunks: u32, size: usize, workers: usize) -> Arc<Shared> {
    Arc::new(Shared::new(chunks, size, workers, Barrier::Model).unwrap())
}

/// A slot and the right to write through it.
#[derive(Clone, Copy)]
struct Owner(*const Slot);

// SAFETY: each model moves an owner to one thread at a time.
unsafe impl Send for Owner {}

impl Owner {
    fn new(shared: &Shared) -> Self {
        Owner(shared.slots.acquire())
    }

    fn write(self, shared: &Shared, record: &[u8]) -> Result<(), WriteError> {
        // SAFETY: the slot lives as long as `shared`, and this thread owns it.
        unsafe { lease::write(shared, &*self.0, record) }
    }

    /// Writes when the pool has a chunk for it.
    fn write_soon(self, shared: &Shared, record: &[u8]) {
        while let Err(error) = self.write(shared, record) {
            assert_eq!(error, WriteError::Full);
            thread::yield_now();
        }
    }

    fn accepted(self, shared: &Shared) -> Option<Count> {
        // SAFETY: as above; this reads atomics only.
        unsafe { &*self.0 }.accepted(&shared.arena)
    }
}

/// A worker that "writes" to a vector.
struct Worker {
    intake: Intake,
    out: Vec<u8>,
    records: u32,
}

impl Worker {
    fn new(me: usize) -> Self {
        Worker { intake: Intake::new(me), out: Vec::new(), records: 0 }
    }

    fn take(&mut self, shared: &Shared) {
        let mut pieces = Vec::new();
        self.intake.take(shared, |piece| pieces.push(piece));
        self.put(shared, pieces);
    }

    fn scrape(&mut self, shared: &Shared) -> bool {
        let mut pieces = Vec::new();
        let complete = self.intake.scrape(shared, |piece| pieces.push(piece));
        self.put(shared, pieces);
        complete
    }

    fn close(&mut self, shared: &Shared) -> bool {
        let mut pieces = Vec::new();
        let complete = self.intake.close(shared, |piece| pieces.push(piece));
        self.put(shared, pieces);
        complete
    }

    fn revoke(&mut self, shared: &Shared) {
        let mut pieces = Vec::new();
        self.intake.revoke(shared, |piece| pieces.push(piece));
        self.put(shared, pieces);
    }

    fn put(&mut self, shared: &Shared, pieces: Vec<Piece>) {
        for piece in &pieces {
            let at = shared.arena.at(piece.chunk, piece.from as usize);
            // SAFETY: a piece is committed and its chunk not freed yet; loom checks it.
            self.out.extend(unsafe { at.get(piece.len as usize) });
            self.records += piece.records;
        }
        let last = pieces.iter().filter(|piece| piece.last).map(|piece| piece.chunk);
        self.intake.free(shared, last);
    }
}

/// The wrapper in `sync` does what it is for: a store that its thread's own load precedes is tried
/// before and after another thread's load.
#[test]
fn loads_are_explored() {
    let seen: &'static [Tally; 2] = Box::leak(Box::default());
    explore("loads_are_explored", move || {
        let word = Arc::new(AtomicU32::new(0));
        let other = word.clone();
        let thread = thread::spawn(move || {
            other.store(other.load(Relaxed) + 1, Relaxed);
        });
        seen[word.load(Relaxed) as usize].fetch_add(1, Plain);
        thread.join().unwrap();
    });
    assert!(seen.iter().all(|count| count.load(Plain) > 0), "{seen:?}");
}

/// Lease, commit and scrape: each committed byte is taken once, in order, while the producer goes
/// on and swaps its chunk.
#[test]
fn lease_commit_scrape() {
    explore("lease_commit_scrape", || {
        let shared = shared(3, 2, 1);
        let owner = Owner::new(&shared);
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || {
                for record in [b"a", b"b", b"c"] {
                    owner.write(&shared, record).unwrap();
                }
            })
        };
        let mut worker = Worker::new(0);
        worker.scrape(&shared);
        worker.scrape(&shared);
        producer.join().unwrap();
        assert!(worker.scrape(&shared));
        assert_eq!((worker.out.as_slice(), worker.records), (b"abc".as_slice(), 3));
    });
}

/// Chunks go round: a chunk that comes back is written by another producer, and nobody reads or
/// writes it twice.
#[test]
fn chunks_go_round() {
    explore("chunks_go_round", || {
        let shared = shared(2, 1, 1);
        let owners = [Owner::new(&shared), Owner::new(&shared)];
        owners[0].write(&shared, b"a").unwrap();
        let producers = [(owners[0], b'b'), (owners[1], b'x')].map(|(owner, record)| {
            let shared = shared.clone();
            thread::spawn(move || owner.write(&shared, &[record]).is_ok())
        });
        let mut worker = Worker::new(0);
        worker.scrape(&shared);
        worker.take(&shared);
        let accepted = producers.map(|producer| producer.join().unwrap());
        worker.scrape(&shared);
        let mut expected = vec![b'a'];
        expected.extend([b'b', b'x'].iter().zip(accepted).filter(|(_, ok)| *ok).map(|(b, _)| b));
        let of_first: Vec<u8> = worker.out.iter().copied().filter(|b| *b != b'x').collect();
        assert!(of_first.is_sorted(), "order: {:?}", worker.out);
        worker.out.sort();
        assert_eq!(worker.out, expected);
    });
}

/// Seal and inbox: two producers push, the worker takes whenever it likes; nothing is lost,
/// nothing comes twice, each producer's chunks come in order.
#[test]
fn seal_and_inbox() {
    explore("seal_and_inbox", || {
        let shared = shared(4, 1, 1);
        let producers = [*b"ab", *b"xy"].map(|records| {
            let (owner, shared) = (Owner::new(&shared), shared.clone());
            thread::spawn(move || {
                // The first one is sealed by its successor.
                records.iter().for_each(|&record| owner.write(&shared, &[record]).unwrap());
            })
        });
        let mut worker = Worker::new(0);
        worker.take(&shared);
        for producer in producers {
            producer.join().unwrap();
        }
        worker.take(&shared);
        assert_eq!(worker.out.len(), 2);
        worker.scrape(&shared);
        let (first, second): (Vec<u8>, Vec<u8>) = worker.out.iter().partition(|&&b| b < b'm');
        assert_eq!((first.as_slice(), second.as_slice()), (b"ab".as_slice(), b"xy".as_slice()));
    });
}

/// Scrape against swap: the records of the old chunk come before those of the new one, wherever
/// the scrape falls.
#[test]
fn scrape_keeps_order() {
    explore("scrape_keeps_order", || {
        let shared = shared(4, 1, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || {
                owner.write(&shared, b"b").unwrap();
                owner.write(&shared, b"c").unwrap();
            })
        };
        let mut worker = Worker::new(0);
        worker.scrape(&shared);
        assert!(b"abc".starts_with(&worker.out), "{:?}", worker.out);
        worker.scrape(&shared);
        producer.join().unwrap();
        worker.scrape(&shared);
        assert_eq!(worker.out, b"abc");
    });
}

/// Flush: what was accepted before a scrape that calls itself complete, is in it, though its
/// producer is in the middle of a swap by now, to another worker.
#[test]
fn complete_scrape_covers_what_came_before() {
    explore("complete_scrape_covers_what_came_before", || {
        let shared = shared(4, 1, 2);
        let owner = Owner::new(&shared);
        let flag = Arc::new(AtomicU32::new(0));
        let producer = {
            let (shared, flag) = (shared.clone(), flag.clone());
            thread::spawn(move || {
                owner.write(&shared, b"a").unwrap();
                flag.store(1, Release);
                owner.write(&shared, b"b").unwrap();
                flag.store(2, Release);
            })
        };
        let mut worker = Worker::new(0);
        let before = flag.load(Acquire) as usize;
        let complete = worker.scrape(&shared);
        assert!(!complete || worker.out.len() >= before, "{before}: {:?}", worker.out);
        producer.join().unwrap();
        assert!(worker.scrape(&shared));
        assert_eq!(worker.out, b"ab");
    });
}

/// Large records: a chain comes whole, between the records before and after it, and its chunks
/// come back.
#[test]
fn chain_is_whole() {
    explore("chain_is_whole", || {
        let shared = shared(4, 2, 1);
        let owner = Owner::new(&shared);
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || {
                owner.write(&shared, b"a").unwrap();
                owner.write(&shared, b"bcd").unwrap();
                owner.write(&shared, b"e").unwrap();
            })
        };
        let mut worker = Worker::new(0);
        worker.scrape(&shared);
        let whole: &[&[u8]] = &[b"", b"a", b"abcd", b"abcde"];
        assert!(whole.contains(&worker.out.as_slice()), "{:?}", worker.out);
        producer.join().unwrap();
        worker.scrape(&shared);
        assert_eq!((worker.out.as_slice(), worker.records), (b"abcde".as_slice(), 3));
        // All but the live one are free again.
        assert!(shared.pool.pop_chain(&shared.arena, 3).is_some());
    });
}

/// Free list: whoever takes a chunk has it alone, also when several are taken at once and others
/// come back meanwhile.
#[test]
fn free_list() {
    explore("free_list", || {
        let shared = shared(3, 1, 1);
        let threads = [1, 2].map(|count| {
            let shared = shared.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    let Some(first) = shared.pool.pop_chain(&shared.arena, count) else { continue };
                    let mut last = first;
                    for step in 0..count {
                        // SAFETY: the chunk is ours; loom reports it if it is not.
                        unsafe { shared.arena.at(last, 0).put(b"!") };
                        if step + 1 < count {
                            last = shared.arena.next(last);
                        }
                    }
                    assert_eq!(shared.arena.next(last), shared.arena.none());
                    shared.pool.push_chain(&shared.arena, first, last);
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(shared.pool.pop_chain(&shared.arena, 3).is_some(), "a chunk was lost");
        assert!(shared.pool.is_empty(&shared.arena));
    });
}

/// A chunk that comes back is as good as new: its next leaseholder's first commit is all there is.
#[test]
fn freed_chunk_is_reset() {
    explore("freed_chunk_is_reset", || {
        let shared = shared(1, 2, 1);
        let (old, new) = (Owner::new(&shared), Owner::new(&shared));
        old.write(&shared, b"ab").unwrap();
        // Seals, and finds no chunk.
        assert_eq!(old.write(&shared, b"c"), Err(WriteError::Full));
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || {
                if new.write(&shared, b"x").is_ok() {
                    // SAFETY: the slot is ours.
                    let current = unsafe { &*new.0 }.current();
                    let word = shared.arena.commit_word(current.chunk()).load(Relaxed);
                    assert_eq!(Extent(word), Extent::new(1, 1));
                    assert_eq!(shared.arena.taken(current.chunk()), Extent::default());
                }
            })
        };
        let mut worker = Worker::new(0);
        worker.take(&shared);
        assert_eq!(worker.out, b"ab");
        producer.join().unwrap();
    });
}

/// A chunk that comes back to another worker: the new one sees nothing of what the old one had.
#[test]
fn chunk_changes_home() {
    explore("chunk_changes_home", || {
        let shared = shared(1, 2, 2);
        let (old, new) = (Owner::new(&shared), Owner::new(&shared));
        // SAFETY: nobody else has the slot yet.
        unsafe { (*(*new.0).lease.get()).home = 1 };
        old.write(&shared, b"ab").unwrap();
        assert_eq!(old.write(&shared, b"c"), Err(WriteError::Full));
        let first = {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut worker = Worker::new(0);
                worker.take(&shared);
                worker.out
            })
        };
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || new.write(&shared, b"x").is_ok())
        };
        let mut worker = Worker::new(1);
        worker.scrape(&shared);
        assert_eq!(first.join().unwrap(), b"ab");
        let accepted = producer.join().unwrap();
        worker.scrape(&shared);
        assert_eq!(worker.out, b"x"[..usize::from(accepted)]);
    });
}

/// Runs a worker until it has seen `records`, sleeping without a limit in between. A missed
/// wake-up is a deadlock.
fn sleeper(shared: &Arc<Shared>, records: u32, deep: bool) -> thread::JoinHandle<Vec<u8>> {
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
                let desk = &shared.desks[0];
                let calm = if deep {
                    worker.intake.lie_down(&shared)
                } else {
                    desk.bell.lie_down();
                    desk.inbox.is_empty(&shared.arena)
                };
                if calm {
                    thread::park();
                } else {
                    thread::yield_now();
                }
                desk.bell.get_up();
            }
        })
    };
    shared.desks[0].bell.hang(worker.thread().clone());
    worker
}

/// Deep sleep: the first record into a chunk that was leased before wakes the worker, though it
/// pushes nothing.
#[test]
fn sleep_and_a_record_into_the_leased_chunk() {
    explore("sleep_and_a_record_into_the_leased_chunk", || {
        let shared = shared(2, 4, 1);
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
    explore("sleep_and_the_first_record_of_a_producer", || {
        let shared = shared(2, 4, 1);
        let owner = Owner::new(&shared);
        let worker = sleeper(&shared, 1, true);
        owner.write(&shared, b"a").unwrap();
        assert_eq!(worker.join().unwrap(), b"a");
    });
}

/// Deep sleep: a swap, and then a record, against two sleeps.
#[test]
fn sleep_and_a_swap() {
    explore("sleep_and_a_swap", || {
        let shared = shared(3, 1, 1);
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
    explore("sleep_and_a_large_record", || {
        let shared = shared(2, 1, 1);
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

/// Waiting for memory: who found the pool empty is woken by the chunk that comes back.
#[test]
fn wait_for_memory() {
    explore("wait_for_memory", || {
        let shared = shared(1, 1, 1);
        let (old, new) = (Owner::new(&shared), Owner::new(&shared));
        old.write(&shared, b"a").unwrap();
        assert_eq!(old.write(&shared, b"b"), Err(WriteError::Full));
        let waiter = {
            let shared = shared.clone();
            thread::spawn(move || {
                let look = || new.write(&shared, b"x").ok();
                shared.pool.wait_until(look, |freed, room| freed.wait(room).ok()).unwrap();
            })
        };
        let mut worker = Worker::new(0);
        worker.take(&shared);
        waiter.join().unwrap();
        worker.scrape(&shared);
        assert_eq!(worker.out, b"ax");
    });
}

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

/// Close: after the gates are shut and nobody is in a write, the last scrape has every record
/// whose write said Ok; and no write says Ok after it.
#[test]
fn close_takes_all() {
    explore("close_takes_all", || {
        let shared = shared(4, 1, 1);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || [b"b", b"c"].map(|record| owner.write(&shared, record).is_ok()))
        };
        shared.slots.close();
        shared.slots.heavy_barrier();
        while shared.slots.iter().any(Slot::is_busy) {
            thread::yield_now();
        }
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
    explore("close_against_registration", || {
        let shared = shared(2, 1, 1);
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || Owner::new(&shared).write(&shared, b"a").is_ok())
        };
        shared.slots.close();
        shared.slots.heavy_barrier();
        while shared.slots.iter().any(Slot::is_busy) {
            thread::yield_now();
        }
        let mut worker = Worker::new(0);
        assert!(worker.close(&shared));
        let accepted = producer.join().unwrap();
        assert_eq!(worker.out.len(), usize::from(accepted));
    });
}

/// Close against a producer that was given up in the middle of a swap: its push is refused, and it
/// does not touch what the worker has.
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

/// Adoption: a slot that its owner gave back is the next one's, with the chunk in it.
#[test]
fn slot_goes_to_the_next_owner() {
    explore("slot_goes_to_the_next_owner", || {
        let shared = shared(2, 2, 1);
        let owner = Owner::new(&shared);
        let first = {
            let shared = shared.clone();
            thread::spawn(move || {
                owner.write(&shared, b"a").unwrap();
                shared.slots.release(owner.0);
            })
        };
        let second = {
            let shared = shared.clone();
            thread::spawn(move || Owner::new(&shared).write(&shared, b"x").unwrap())
        };
        let mut worker = Worker::new(0);
        worker.scrape(&shared);
        first.join().unwrap();
        second.join().unwrap();
        worker.scrape(&shared);
        worker.out.sort();
        assert_eq!(worker.out, b"ax");
    });
}

/// Revocation against a producer in every phase of its writes: what it committed is taken once, in
/// order, and what it writes afterwards is in another lease.
#[test]
fn revocation_against_writes() {
    explore("revocation_against_writes", || {
        let shared = shared(2, 3, 1);
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
    explore("revoked_chunk_is_another_s", || {
        let shared = shared(1, 2, 1);
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
    explore("revocation_against_a_move", || {
        let shared = shared(3, 1, 2);
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let mut worker = Worker::new(0);
        worker.revoke(&shared);
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                // SAFETY: this thread owns the slot.
                unsafe { (*(*owner.0).lease.get()).home = 1 };
                owner.write(&shared, b"b").unwrap();
                Intake::new(1).lie_down(&shared);
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

/// Revocation against the sleep: the next record of a producer whose lease was revoked wakes the
/// worker.
#[test]
fn sleep_after_revocation() {
    explore("sleep_after_revocation", || {
        let shared = shared(2, 2, 1);
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
    explore("close_against_revocation", || {
        let shared = shared(1, 2, 1);
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

/// Starvation: who finds no chunk raises the flag, or finds it raised, as long as the worker that
/// looks at it does not find one either.
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

/// Accounts against the whole way round of a chunk: whoever sees the length of a chunk as reset, or
/// as another's, sees that its slot has another by now.
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
