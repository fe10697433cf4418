//! loom models of the shipped types: each explores the interleavings of a few operations and
//! checks a promise, not only that it runs. `docs/invariants.md` lists them.
//!
//! Threads are few and chunks tiny, so that all interleavings with a bounded number of preemptions
//! are tried: two, or what LOOM_MAX_PREEMPTIONS says. A deadlock aborts the process: that is how a
//! missed wake-up shows.

mod accounts;
mod close;
mod control;
mod memory;
mod messages;
mod recorder;
mod recording;
mod revocation;
mod sleep;
mod tasks;

use std::io::{self, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicU64 as Tally, Ordering::Relaxed as Plain};
use std::{panic, process};

use loom::thread;

use crate::accept::append;
use crate::base::sync::{Acquire, Arc, AtomicU32, Barrier, Relaxed, Release};
use crate::memory::Shared;
use crate::memory::arena::{Bytes, Extent};
use crate::memory::slot::Slot;
use crate::memory::slot::owned::OwnedSlot;
use crate::report::error::WriteError;
use crate::report::stats::Count;
use crate::worker::collect::{self, Collector, Piece};

/// Explores a model with each barrier: with membarrier's stand-in, and with fences where the kernel refuses membarrier.
fn explore_both(name: &str, model: fn(Barrier)) {
    explore(name, move || model(Barrier::Model));
    explore(&format!("{name}, fenced"), move || model(Barrier::Fence));
}

/// Runs a model and says how many interleavings it had.
fn explore(name: &str, model: impl Fn() + Sync + Send + 'static) {
    static RUNS: Tally = Tally::new(0);
    if std::env::var_os("BUFFEREDWRITER_FIRST_FAILURE").is_some() {
        end_with_first_failure();
    }
    let mut builder = loom::model::Builder::new();
    // Of one execution; loom's 1,000 are a little short for a record that grows.
    builder.max_branches = 5_000;
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    let tally: &'static Tally = Box::leak(Box::new(Tally::new(0)));
    builder.check(move || {
        tally.fetch_add(1, Plain);
        model();
    });
    let all = RUNS.fetch_add(tally.load(Plain), Plain) + tally.load(Plain);
    println!("model {name}: {} interleavings ({all} so far)", tally.load(Plain));
}

/// From now on a failed model ends the process at once. It says so as the test harness would, which could
/// not if somebody ended it for its time.
fn end_with_first_failure() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|failure| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or_default();
            let _ = writeln!(io::stderr(), "\n---- {name} stdout ----\n{failure}");
            process::abort();
        }));
    });
}

fn shared(chunks: u32, size: usize, workers: usize) -> Arc<Shared> {
    shared_with(Barrier::Model, chunks, size, workers)
}

fn shared_with(barrier: Barrier, chunks: u32, size: usize, workers: usize) -> Arc<Shared> {
    Arc::new(Shared::new(chunks, size, workers, barrier).unwrap())
}

/// A slot and the right to write through it.
#[derive(Clone, Copy)]
struct Owner(*const Slot);

// SAFETY: each model moves an owner to one thread at a time.
unsafe impl Send for Owner {}

impl Owner {
    fn new(shared: &Shared) -> Self {
        Owner(shared.slots.acquire().unwrap())
    }

    fn slot(self, shared: &Shared) -> OwnedSlot<'_> {
        // SAFETY: the slot lives as long as `shared`, and this thread owns it.
        unsafe { OwnedSlot::new(shared, &*self.0) }
    }

    fn write(self, shared: &Arc<Shared>, record: &[u8]) -> Result<(), WriteError> {
        append::write(&mut self.slot(shared), record)
    }

    /// Writes when the pool has a chunk for it.
    fn write_soon(self, shared: &Arc<Shared>, record: &[u8]) {
        while let Err(error) = self.write(shared, record) {
            assert_eq!(error, WriteError::Full);
            thread::yield_now();
        }
    }

    fn accepted(self, shared: &Shared) -> Option<Count> {
        self.slot(shared).slot.accepted(&shared.arena)
    }
}

/// A worker that "writes" to a vector.
struct Worker {
    me: usize,
    collector: Collector,
    out: Vec<u8>,
    records: u32,
}

impl Worker {
    fn new(me: usize) -> Self {
        Worker { me, collector: Collector::new(me), out: Vec::new(), records: 0 }
    }

    fn take(&mut self, shared: &Shared) {
        let mut pieces = Vec::new();
        self.collector.take(shared, |piece| pieces.push(piece));
        self.put(shared, pieces);
    }

    fn scrape(&mut self, shared: &Shared) -> bool {
        let mut pieces = Vec::new();
        let complete = self.collector.scrape(shared, |piece| pieces.push(piece));
        self.put(shared, pieces);
        complete
    }

    fn close(&mut self, shared: &Shared) -> bool {
        let mut pieces = Vec::new();
        let complete = self.collector.close(shared, |piece| pieces.push(piece));
        self.put(shared, pieces);
        complete
    }

    fn revoke(&mut self, shared: &Shared) {
        let mut pieces = Vec::new();
        self.collector.revoke(shared, |piece| pieces.push(piece));
        self.put(shared, pieces);
    }

    /// Whether it dismissed somebody.
    fn dismiss(&mut self, shared: &Shared) -> bool {
        let mut pieces = Vec::new();
        self.collector.dismiss(shared, |piece| pieces.push(piece));
        let is_any = !pieces.is_empty();
        self.put(shared, pieces);
        is_any
    }

    fn put(&mut self, shared: &Shared, pieces: Vec<Piece>) {
        for piece in &pieces {
            let out = |run: Bytes<'_>| self.out.extend_from_slice(&run);
            // SAFETY: a piece is committed and its chunk not freed yet; loom checks it.
            unsafe { shared.arena.each_slice(piece.chunk, piece.range(), out) };
            shared.arena.drop_messages(piece.chunk, piece.range());
            self.records += piece.records;
        }
        let last = pieces.iter().filter(|piece| piece.last).map(|piece| piece.chunk);
        collect::free(shared, self.me, last);
    }
}
