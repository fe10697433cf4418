//! The limits: the minimum that a write must do, on memory that no other thread touches. The bytes go to no file.

use std::hint::black_box;
use std::ptr::copy_nonoverlapping;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, compiler_fence};
use std::time::Duration;

use crate::subject::{Running, Setup, Subject, Unavailable, Writer};

const CHUNK_BYTES: usize = 64 << 10;
const OPEN: u64 = 1;

/// Writes to memory of one buffer's size, 64 KiB unless a measure says otherwise, again and again.
#[derive(Clone, Copy)]
pub enum Limit {
    /// Copies the bytes, of a length that is known only at run time, and does nothing else.
    Memcpy,
    /// Copies the bytes and stores the new position for another thread to see: the least that a hand-over needs.
    Position,
    /// Makes the same loads and stores as the library's hot path.
    Steps,
}

impl Subject for Limit {
    fn name(&self) -> &'static str {
        match self {
            Limit::Memcpy => "memcpy",
            Limit::Position => "memcpy, position",
            Limit::Steps => "memcpy, steps of a write",
        }
    }

    fn when_outrun(&self) -> &'static str {
        "-"
    }

    fn lands(&self) -> bool {
        false
    }

    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        Ok(Box::new(AtWork { limit: *self, bytes: setup.buffer_bytes }))
    }
}

struct AtWork {
    limit: Limit,
    bytes: usize,
}

impl Running for AtWork {
    fn writer(&self) -> Box<dyn Writer + '_> {
        let bytes = self.bytes;
        match self.limit {
            Limit::Memcpy => Box::new(Ring { pages: Pages::new(bytes), bytes, at: 0 }),
            Limit::Position => {
                Box::new(Seen { pages: Pages::new(bytes), bytes, at: Box::new(AtomicU64::new(0)) })
            }
            Limit::Steps => Box::new(Chunks::new(bytes)),
        }
    }

    fn settle(&self, _: Duration) -> bool {
        true
    }

    fn finish(self: Box<Self>, _: Duration) {}
}

/// Memory that is aligned to a page, so that its address does not decide how fast a limit is.
struct Pages(Vec<Page>);

#[derive(Clone)]
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "written through a pointer to the first")] [u8; 4096]);

impl Pages {
    fn new(bytes: usize) -> Self {
        Pages(vec![Page([0; 4096]); bytes.div_ceil(4096)])
    }

    /// The first byte; the pages are contiguous.
    #[inline(always)]
    fn begin(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}

struct Ring {
    pages: Pages,
    bytes: usize,
    at: usize,
}

impl Writer for Ring {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        if self.at + record.len() > self.bytes {
            if record.len() > self.bytes {
                return false;
            }
            self.at = 0;
        }
        // SAFETY: `record` fits between `at` and the end of the ring.
        unsafe {
            let to = self.pages.begin().add(self.at);
            copy_nonoverlapping(record.as_ptr(), to, record.len());
        }
        black_box(&mut self.pages);
        self.at += record.len();
        true
    }
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

/// The words of a slot that a write uses.
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
