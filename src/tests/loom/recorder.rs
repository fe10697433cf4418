//! The flight recorder: a chunk is taken over as a whole or not at all, whatever reads it at the same
//! time. Each record is dumped, overwritten or still there, and counted as that.

use super::*;
use crate::memory::arena::Arena;
use crate::memory::fifo::Fifo;
use crate::memory::ring::Ring;
use crate::worker::recall::{self, Recall, Wanted};

/// Chunks of one byte, so that each write but a producer's first one seals a chunk.
fn recorder(barrier: Barrier, chunks: u32, keeps: u32) -> Arc<Shared> {
    let arena = Arena::new(chunks, 1).unwrap();
    Arc::new(Shared::recorder(arena, keeps, barrier).unwrap())
}

fn ring(shared: &Shared) -> &Ring {
    shared.ring.as_ref().unwrap()
}

fn overwritten(shared: &Shared) -> u64 {
    shared.slots.iter().map(|slot| slot.overwritten().records).sum()
}

fn overwritten_bytes(shared: &Shared) -> u64 {
    shared.slots.iter().map(|slot| slot.overwritten().bytes).sum()
}

/// What becomes of the memory of a dump.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Released,
    Kept,
    Failed,
}

/// Dumps everything; returns the bytes in their order.
fn dump(shared: &Shared, end: End) -> Vec<u8> {
    let (ring, mut pieces, mut out) = (ring(shared), Vec::new(), Vec::new());
    let wanted = Wanted { since: 0, keeps: end == End::Kept };
    let (recall, count, _) = Recall::take(shared, ring, wanted, |piece| pieces.push(piece));
    for piece in &pieces {
        // SAFETY: a piece is committed, and what is recalled is not reused; loom checks both.
        unsafe {
            shared.arena.each_slice(piece.chunk, piece.range(), |run| out.extend_from_slice(&run));
        }
    }
    assert_eq!(count.bytes, out.len() as u64);
    let left = if end == End::Failed { pieces.as_slice() } else { &[] };
    if end == End::Released {
        let last = pieces.iter().filter(|piece| piece.last).map(|piece| piece.chunk);
        collect::free(shared, 0, last);
    }
    recall.give_back(shared, ring, left);
    if end == End::Failed { Vec::new() } else { out }
}

fn producer(shared: &Arc<Shared>, owner: Owner, records: &'static [u8]) -> thread::JoinHandle<()> {
    let shared = shared.clone();
    thread::spawn(move || {
        records.iter().for_each(|record| assert_eq!(owner.write(&shared, &[*record]), Ok(())));
    })
}

/// A producer's records ascend, without a gap up to the last one.
fn is_end_of(records: &[u8], out: &[u8]) -> bool {
    let mine: Vec<u8> = out.iter().copied().filter(|byte| records.contains(byte)).collect();
    records.ends_with(&mine)
}

#[test]
fn the_ring_is_a_queue() {
    explore("the_ring_is_a_queue", || {
        let fifo = Arc::new(Fifo::new(3));
        let put = |chunks: &'static [u32]| {
            let fifo = fifo.clone();
            thread::spawn(move || chunks.iter().for_each(|&chunk| fifo.put(chunk)))
        };
        let (one, two) = (put(&[0, 1]), put(&[2]));
        let mut out: Vec<u32> = fifo.take().into_iter().collect();
        // The place is used again.
        out.iter().for_each(|&chunk| fifo.put(chunk));
        one.join().unwrap();
        two.join().unwrap();
        let first = out.first().copied();
        out = std::iter::from_fn(|| fifo.take()).collect();
        let in_order = |chunk| out.iter().position(|&found| found == chunk).unwrap();
        assert!(first == Some(0) || in_order(0) < in_order(1), "{out:?}");
        out.sort_unstable();
        assert_eq!(out, [0, 1, 2]);
    });
}

/// Two producers take over at the same time, with less memory than they fill.
#[test]
fn take_over_against_a_second_one() {
    explore("take_over_against_a_second_one", || {
        let shared = recorder(Barrier::Model, 5, 3);
        let owners = [Owner::new(&shared), Owner::new(&shared)];
        b"ab".iter().for_each(|byte| owners[0].write(&shared, &[*byte]).unwrap());
        owners[1].write(&shared, b"x").unwrap();
        let one = producer(&shared, owners[0], b"c");
        let two = producer(&shared, owners[1], b"yz");
        one.join().unwrap();
        two.join().unwrap();
        let out = dump(&shared, End::Released);
        assert!(is_end_of(b"abc", &out) && is_end_of(b"xyz", &out), "{out:?}");
        assert!(out.contains(&b'c') && out.contains(&b'z'), "{out:?}");
        assert_eq!(out.len() as u64 + overwritten(&shared), 6);
    });
}

/// A chain is taken over as a whole, while another producer seals what comes after it.
#[test]
fn take_over_of_a_chain() {
    explore("take_over_of_a_chain", || {
        let shared = recorder(Barrier::Model, 5, 3);
        let owners = [Owner::new(&shared), Owner::new(&shared)];
        owners[0].write(&shared, b"ABC").unwrap();
        let one = producer(&shared, owners[0], b"ab");
        let two = producer(&shared, owners[1], b"x");
        one.join().unwrap();
        two.join().unwrap();
        let out = dump(&shared, End::Released);
        let has_chain = out.windows(3).any(|bytes| bytes == b"ABC");
        assert!(has_chain || !out.iter().any(u8::is_ascii_uppercase), "{out:?}");
        assert!(is_end_of(b"ab", &out) && out.contains(&b'b') && out.contains(&b'x'), "{out:?}");
        let records = out.iter().filter(|byte| byte.is_ascii_lowercase()).count();
        assert_eq!(records as u64 + u64::from(has_chain) + overwritten(&shared), 4);
        assert_eq!(out.len() as u64 + overwritten_bytes(&shared), 6);
    });
}

/// A dump against commits and take-overs: what was accepted before is in it, and it reads no chunk
/// that is reused. Whatever becomes of the dump, each record is found once in the end.
fn dump_against_writes(end: End) {
    let shared = recorder(Barrier::Model, 4, 2);
    let owners = [Owner::new(&shared), Owner::new(&shared)];
    // One in the ring and one leased. The next write of the other producer takes over the first.
    b"ab".iter().for_each(|byte| owners[0].write(&shared, &[*byte]).unwrap());
    let other = producer(&shared, owners[1], b"xy");
    let first = dump(&shared, end);
    other.join().unwrap();
    let second = dump(&shared, End::Released);
    let out: Vec<u8> = match end {
        End::Kept => second.clone(),
        _ => first.iter().chain(&second).copied().collect(),
    };
    for records in [b"ab", b"xy"] {
        let found: Vec<u8> = out.iter().copied().filter(|byte| records.contains(byte)).collect();
        assert!(records.ends_with(&found), "once, in order, the newest: {out:?}");
    }
    assert!(out.contains(&b'b') && out.contains(&b'y'), "{out:?}");
    assert!(first.contains(&b'b') || end == End::Failed, "accepted before: {first:?}");
    assert_eq!(out.len() as u64 + overwritten(&shared), 4, "{first:?} {second:?}");
}

#[test]
fn take_over_against_a_dump() {
    explore("take_over_against_a_dump", || dump_against_writes(End::Released));
}

#[test]
fn take_over_against_a_dump_that_keeps() {
    explore("take_over_against_a_dump_that_keeps", || {
        dump_against_writes(End::Kept);
    });
}

#[test]
fn take_over_against_a_dump_that_fails() {
    explore("take_over_against_a_dump_that_fails", || {
        dump_against_writes(End::Failed);
    });
}

/// A leased chunk of two bytes, of which a dump has the first one: the rest is written by its
/// producer, sealed, and met by another one.
#[test]
fn a_pinned_chunk_is_not_taken_over() {
    explore("a_pinned_chunk_is_not_taken_over", || {
        let arena = Arena::new(3, 2).unwrap();
        let shared = Arc::new(Shared::recorder(arena, 1, Barrier::Model).unwrap());
        let owner = Owner::new(&shared);
        owner.write(&shared, b"a").unwrap();
        let one = producer(&shared, owner, b"bcde");
        let first = dump(&shared, End::Released);
        one.join().unwrap();
        let second = dump(&shared, End::Released);
        let out = [first.clone(), second].concat();
        assert!(out.is_sorted() && out.contains(&b'e'), "{out:?}");
        assert!(first.contains(&b'a') || overwritten(&shared) > 0, "{first:?}");
        assert_eq!(out.len() as u64 + overwritten(&shared), 5, "{first:?}");
    });
}

/// A chunk that is sealed just before its pin may be another producer's by then, and goes on as that one's.
#[test]
fn take_over_of_a_chunk_that_is_being_pinned() {
    explore("take_over_of_a_chunk_that_is_being_pinned", || {
        let shared = recorder(Barrier::Model, 3, 2);
        let owners = [Owner::new(&shared), Owner::new(&shared)];
        // The worker looks at the last slot first.
        owners[1].write(&shared, b"a").unwrap();
        let writer = {
            let shared = shared.clone();
            thread::spawn(move || {
                owners[1].write(&shared, b"b").unwrap();
                owners[0].write(&shared, b"x").unwrap();
            })
        };
        let first = dump(&shared, End::Released);
        writer.join().unwrap();
        let out = [first, dump(&shared, End::Released)].concat();
        assert!(is_end_of(b"ab", &out) && out.contains(&b'b') && out.contains(&b'x'), "{out:?}");
        assert_eq!(out.len() as u64 + overwritten(&shared), 3, "{out:?}");
    });
}

/// A dump has seen a chunk as leased, and pins it only once it is sealed: either a producer takes it over
/// all the same, or the dump knows that it will get it. Otherwise it would miss what was accepted before.
#[test]
fn a_chunk_that_is_pinned_in_vain_is_met_or_taken_over() {
    explore("a_chunk_that_is_pinned_in_vain_is_met_or_taken_over", || {
        let shared = recorder(Barrier::Model, 4, 1);
        let owners = [Owner::new(&shared), Owner::new(&shared)];
        owners[0].write(&shared, b"a").unwrap();
        let chunk = owners[0].slot(&shared).slot.current().chunk();
        owners[0].write(&shared, b"b").unwrap();
        let other = producer(&shared, owners[1], b"xy");
        let mut met = Vec::new();
        if shared.arena.pin(chunk) {
            recall::unpin(&shared.arena, chunk, &mut met);
        }
        let mut handed = Vec::new();
        while handed.len() < met.len() {
            ring(&shared).take_handed(|chunk| handed.push(chunk));
            thread::yield_now();
        }
        assert_eq!(handed, met);
        handed.into_iter().for_each(|chunk| ring(&shared).put_back(&shared.arena, chunk));
        other.join().unwrap();
        let out = dump(&shared, End::Released);
        assert!(is_end_of(b"ab", &out) && out.contains(&b'b') && out.contains(&b'y'), "{out:?}");
        assert_eq!(out.len() as u64 + overwritten(&shared), 4, "{met:?} {out:?}");
    });
}

/// The worker takes the chunk of an idle producer for the ring, while that one writes again and
/// another one looks for memory.
#[test]
fn take_over_against_revocation() {
    explore_both("take_over_against_revocation", |barrier| {
        let shared = recorder(barrier, 3, 1);
        let owners = [Owner::new(&shared), Owner::new(&shared)];
        owners[0].write(&shared, b"a").unwrap();
        let one = {
            let shared = shared.clone();
            thread::spawn(move || owners[0].write(&shared, b"b").is_ok())
        };
        let mut collector = Collector::new(0);
        recall::revoke(&mut collector, &shared, ring(&shared));
        recall::revoke(&mut collector, &shared, ring(&shared));
        owners[1].write(&shared, b"x").unwrap();
        let accepted = 2 + u64::from(one.join().unwrap());
        let out = dump(&shared, End::Released);
        let of_one: Vec<u8> = out.iter().copied().filter(|byte| *byte != b'x').collect();
        assert!(b"ab".ends_with(&of_one) || b"a".ends_with(&of_one), "{out:?}");
        assert_eq!(out.len() as u64 + overwritten(&shared), accepted);
    });
}

/// A snapshot balances while chunks are taken over: what is overwritten was accepted before.
#[test]
fn take_over_against_a_snapshot() {
    explore("take_over_against_a_snapshot", || {
        let shared = recorder(Barrier::Model, 4, 1);
        let owners = [Owner::new(&shared), Owner::new(&shared)];
        owners[0].write(&shared, b"a").unwrap();
        let other = producer(&shared, owners[1], b"xy");
        let before = overwritten(&shared);
        let accepted: u64 = owners
            .iter()
            .map(|owner| {
                loop {
                    if let Some(count) = owner.accepted(&shared) {
                        break count.records;
                    }
                    thread::yield_now();
                }
            })
            .sum();
        assert!(before <= accepted, "{before} of {accepted}");
        other.join().unwrap();
    });
}

/// The close forgets what is in memory: nobody writes any more, and each record counts once.
#[test]
fn take_over_against_close() {
    explore_both("take_over_against_close", |barrier| {
        let shared = recorder(barrier, 3, 1);
        let owner = Owner::new(&shared);
        let writer = {
            let shared = shared.clone();
            thread::spawn(move || {
                b"ab".iter().filter(|byte| owner.write(&shared, &[**byte]).is_ok()).count() as u64
            })
        };
        shared.slots.close();
        shared.slots.heavy_barrier();
        while shared.slots.iter().any(Slot::is_busy) {
            thread::yield_now();
        }
        let forgotten = recall::discard(&shared, ring(&shared)).records;
        let accepted = writer.join().unwrap();
        assert_eq!(forgotten + overwritten(&shared), accepted);
    });
}
