//! What a write can't do without, on memory that no other thread ever touches: a copy whose position is kept
//! where another thread could see it, which is the least that handing over takes; and the same loads and
//! stores as the library's hot path. The bytes land nowhere.

use std::hint::black_box;
use std::ptr::copy_nonoverlapping;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, compiler_fence};
use std::time::Duration;

use super::memcpy::Pages;
use crate::subject::{Running, Setup, Subject, Unavailable, Writer};

const CHUNK_BYTES: usize = 64 << 10;
const OPEN: u64 = 1;

/// The bytes, and how far they go, stored after them.
pub struct Position;

/// The steps of a write.
pub struct Steps;

impl Subject for Position {
    fn name(&self) -> &'static str {
        "memcpy, position"
    }

    fn when_outrun(&self) -> &'static str {
        "-"
    }

    fn lands(&self) -> bool {
        false
    }

    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        let bytes = setup.buffer_bytes;
        Ok(Box::new(AtWork(Box::new(move || {
            Box::new(Seen { pages: Pages::new(bytes), bytes, at: Box::new(AtomicU64::new(0)) })
        }))))
    }
}

impl Subject for Steps {
    fn name(&self) -> &'static str {
        "memcpy, steps of a write"
    }

    fn when_outrun(&self) -> &'static str {
        "-"
    }

    fn lands(&self) -> bool {
        false
    }

    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        let bytes = setup.buffer_bytes;
        Ok(Box::new(AtWork(Box::new(move || Box::new(Chunks::new(bytes))))))
    }
}

/// Makes a writer for each thread.
struct AtWork(Box<dyn Fn() -> Box<dyn Writer> + Send + Sync>);

impl Running for AtWork {
    fn writer(&self) -> Box<dyn Writer + '_> {
        (self.0)()
    }

    fn settle(&self, _: Duration) -> bool {
        true
    }

    fn finish(self: Box<Self>, _: Duration) {}
}

struct Seen {
    pages: Pages,
    bytes: usize,
    at: Box<AtomicU64>,
}

impl Writer for Seen {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        let mut at = self.at.load(Relaxed) as usize;
        if at + record.len() > self.bytes {
            if record.len() > self.bytes {
                return false;
            }
            at = 0;
        }
        // SAFETY: there is room behind `at`.
        unsafe { copy_nonoverlapping(record.as_ptr(), self.pages.begin().add(at), record.len()) };
        black_box(&mut self.pages);
        self.at.store((at + record.len()) as u64, Release);
        true
    }
}

/// The words of a slot that a write looks at.
#[repr(C, align(128))]
struct Slot {
    busy: AtomicU32,
    gate: AtomicU64,
    base: *mut u8,
    end: usize,
    commit: *const AtomicU64,
}

/// A chunk's commit word.
#[repr(align(128))]
struct Word(AtomicU64);

/// Chunks that are written in turn.
struct Chunks {
    slot: Box<Slot>,
    pages: Pages,
    words: Vec<Word>,
    chunk: usize,
}

impl Chunks {
    fn new(bytes: usize) -> Self {
        let chunks = bytes.div_ceil(CHUNK_BYTES);
        let (busy, gate) = (AtomicU32::new(0), AtomicU64::new(OPEN));
        let (base, commit) = (std::ptr::null_mut(), std::ptr::null());
        let slot = Box::new(Slot { busy, gate, base, end: CHUNK_BYTES, commit });
        let words = (0..chunks).map(|_| Word(AtomicU64::new(0))).collect();
        let mut new = Chunks { slot, pages: Pages::new(chunks * CHUNK_BYTES), words, chunk: 0 };
        new.next_chunk();
        new
    }

    #[cold]
    #[inline(never)]
    fn next_chunk(&mut self) {
        self.chunk = (self.chunk + 1) % self.words.len();
        let word = &self.words[self.chunk].0;
        word.store(0, Release);
        self.slot.commit = word;
        // SAFETY: there are as many chunks as words.
        self.slot.base = unsafe { self.pages.begin().add(self.chunk * CHUNK_BYTES) };
    }

    #[inline(always)]
    fn try_write(&self, record: &[u8]) -> bool {
        let slot = &*self.slot;
        slot.busy.store(1, Relaxed);
        compiler_fence(SeqCst);
        // SAFETY: the word lives as long as `self`.
        let commit = unsafe { &*slot.commit };
        let extent = commit.load(Relaxed);
        let at = extent as u32 as usize;
        let fits = record.len().wrapping_sub(1) < slot.end - at;
        if slot.gate.load(Relaxed) & 0xff == OPEN && fits {
            // SAFETY: the chunk has room for it.
            unsafe { copy_nonoverlapping(record.as_ptr(), slot.base.add(at), record.len()) };
            commit.store(extent + (1 << 32) + record.len() as u64, Release);
            slot.busy.store(0, Release);
            return true;
        }
        false
    }
}

impl Writer for Chunks {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        if self.try_write(record) {
            return true;
        }
        self.next_chunk();
        self.try_write(record)
    }
}
