//! Lease, commit, scrape, swap, inbox, free list, adoption: nothing lost, nothing twice, in order.

use super::*;

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

/// Flush: what was accepted before a scrape that calls itself complete is in it. That holds though its producer is
/// now in the middle of a swap to another worker.
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
        assert!(shared.pool.pop_chain(&shared.arena, 0, 3).is_some());
    });
}

/// Free lists: whoever takes a chunk has it alone, from whichever list. That holds also when several are taken
/// together and others come back meanwhile. None gets lost.
#[test]
fn free_lists() {
    explore("free_lists", || {
        let shared = shared(3, 1, 1);
        // Two of them in one list, the third one fresh.
        let (first, last) = shared.pool.pop_chain(&shared.arena, 0, 2).unwrap();
        shared.pool.push_chain(&shared.arena, first, last);
        let threads = [(0, 1, 2), (1, 2, 1)].map(|(producer, count, rounds)| {
            let shared = shared.clone();
            thread::spawn(move || {
                for _ in 0..rounds {
                    let popped = shared.pool.pop_chain(&shared.arena, producer, count);
                    let Some((first, last)) = popped else { continue };
                    let mut at = first;
                    for step in 0..count {
                        // SAFETY: the chunk is ours; loom reports it if it is not.
                        unsafe { shared.arena.at(at, 0).put(b"!") };
                        assert_eq!(step + 1 == count, at == last);
                        at = shared.arena.next(at);
                    }
                    assert_eq!(at, shared.arena.none());
                    shared.pool.push_chain(&shared.arena, first, last);
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(shared.pool.pop_chain(&shared.arena, 0, 3).is_some(), "a chunk was lost");
        assert!(shared.pool.is_empty(&shared.arena));
    });
}

/// Free lists: a head that is the same chunk again is not the same list.
#[test]
fn free_list_head_comes_back() {
    explore("free_list_head_comes_back", || {
        let shared = shared(3, 1, 1);
        let (first, last) = shared.pool.pop_chain(&shared.arena, 0, 3).unwrap();
        shared.pool.push_chain(&shared.arena, first, last);
        let pop = |producer| shared.pool.pop(&shared.arena, producer).unwrap();
        let other = {
            let shared = shared.clone();
            thread::spawn(move || shared.pool.pop(&shared.arena, 0).unwrap())
        };
        let (first, held) = (pop(0), pop(0));
        shared.pool.push_chain(&shared.arena, first, first);
        let other = other.join().unwrap();
        let next = pop(0);
        assert!(other != held && next != held && next != other, "{other} {held} {next}");
        assert!(shared.pool.is_empty(&shared.arena));
    });
}

/// Free lists: who finds nothing in its own finds what is in another; of two who want one chunk each, each gets
/// one.
#[test]
fn what_is_free_is_found() {
    explore("what_is_free_is_found", || {
        let shared = shared(2, 1, 1);
        let (first, last) = shared.pool.pop_chain(&shared.arena, 0, 2).unwrap();
        shared.pool.push_chain(&shared.arena, first, last);
        let threads = [0, 1].map(|producer| {
            let shared = shared.clone();
            thread::spawn(move || shared.pool.pop(&shared.arena, producer))
        });
        let mut chunks = threads.map(|thread| thread.join().unwrap().expect("there are two"));
        chunks.sort_unstable();
        assert_eq!(chunks, [0, 1]);
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
        new.slot(&shared).entered().lease.home = 1;
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
                shared.pool.wait_until(look, |called, calls| called.wait(calls).ok()).unwrap();
            })
        };
        let mut worker = Worker::new(0);
        worker.take(&shared);
        waiter.join().unwrap();
        worker.scrape(&shared);
        assert_eq!(worker.out, b"ax");
    });
}

/// Waiting for several chunks: who finds too few, since another had taken some of them for a moment, is called
/// when they come back.
#[test]
fn wait_for_a_chain() {
    explore("wait_for_a_chain", || {
        let shared = shared(2, 1, 1);
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                if let Some((first, last)) = shared.pool.pop_chain(&shared.arena, 0, 2) {
                    shared.pool.push_chain(&shared.arena, first, last);
                }
            })
        };
        let look = || shared.pool.pop_chain(&shared.arena, 1, 2);
        let found = shared.pool.wait_until(look, |called, calls| called.wait(calls).ok());
        assert!(found.is_some() && shared.pool.is_empty(&shared.arena));
        other.join().unwrap();
    });
}

/// Waiting for what another took ahead: a caller may find too few while the rest of a run is on its way. It is
/// called when the rest is there.
#[test]
fn wait_for_the_rest_of_a_run() {
    explore("wait_for_the_rest_of_a_run", || {
        let shared = shared(6, 1, 1);
        assert_eq!(shared.pool.span(), 2);
        assert_eq!(shared.pool.pop_chain(&shared.arena, 0, 2), Some((0, 1)));
        let other = {
            let shared = shared.clone();
            thread::spawn(move || shared.pool.pop(&shared.arena, 0))
        };
        let look = || shared.pool.pop_chain(&shared.arena, 1, 3);
        let found = shared.pool.wait_until(look, |called, calls| called.wait(calls).ok());
        assert!(found.is_some());
        // Who does not wait finds one nevertheless, or would a moment later.
        let one = other.join().unwrap().or_else(|| shared.pool.pop(&shared.arena, 0));
        assert!(one.is_some() && shared.pool.is_empty(&shared.arena));
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
