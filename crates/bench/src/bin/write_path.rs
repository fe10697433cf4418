//! What the steps of a write cost by themselves: a loop over the same loads and stores as the library's
//! hot path, on memory that no other thread ever touches, against the memcpy that it contains. It is how
//! near to a memcpy a write can come; whatever the library costs beyond it is what other threads, swaps of
//! the buffer and cold caches add.
//!
//! Usage: write_path [BYTES [CHUNKS]]   (default 128; 1 chunk of 64 KiB, or several in turn)

use std::hint::black_box;
use std::ptr::copy_nonoverlapping;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, compiler_fence};
use std::time::Instant;

const CHUNK_BYTES: usize = 64 << 10;
const ROUNDS: usize = 400;
const ROUND_BYTES: usize = 2 << 20;
const OPEN: u64 = 1;

/// The words of a slot that a write looks at.
#[repr(C, align(128))]
struct Slot {
    busy: AtomicU32,
    gate: AtomicU64,
    base: *mut u8,
    end: usize,
    commit: *const AtomicU64,
}

/// Chunks that are written in turn, with a line for each one's commit word.
struct Path {
    slot: Box<Slot>,
    bytes: Vec<u8>,
    words: Vec<[AtomicU64; 8]>,
    chunk: usize,
}

impl Path {
    fn new(chunks: usize) -> Self {
        let (busy, gate) = (AtomicU32::new(0), AtomicU64::new(OPEN));
        let (base, commit) = (std::ptr::null_mut(), std::ptr::null());
        let slot = Box::new(Slot { busy, gate, base, end: CHUNK_BYTES, commit });
        let bytes = vec![1; (chunks + 1) * CHUNK_BYTES];
        let words = (0..chunks).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect();
        let mut path = Path { slot, bytes, words, chunk: 0 };
        path.next_chunk();
        path
    }

    #[inline(always)]
    fn write(&mut self, record: &[u8]) -> bool {
        let slot = &*self.slot;
        slot.busy.store(1, Relaxed);
        compiler_fence(SeqCst);
        // SAFETY: the word lives as long as `self`.
        let commit = unsafe { &*slot.commit };
        let extent = commit.load(Relaxed);
        let at = extent as u32 as usize;
        if slot.gate.load(Relaxed) & 0xff == OPEN && record.len().wrapping_sub(1) < slot.end - at {
            // SAFETY: the chunk has room for it.
            unsafe { copy_nonoverlapping(record.as_ptr(), slot.base.add(at), record.len()) };
            commit.store(extent + (1 << 32) + record.len() as u64, Release);
            slot.busy.store(0, Release);
            return true;
        }
        self.next_chunk();
        false
    }

    #[cold]
    #[inline(never)]
    fn next_chunk(&mut self) {
        self.chunk = (self.chunk + 1) % self.words.len();
        let begin = self.bytes.as_ptr().align_offset(4096) + self.chunk * CHUNK_BYTES;
        self.words[self.chunk][0].store(0, Release);
        self.slot.commit = &raw const self.words[self.chunk][0];
        self.slot.base = self.bytes[begin..].as_mut_ptr();
    }
}

/// The bytes into a ring, and nothing else.
struct Ring {
    bytes: Vec<u8>,
    at: usize,
}

impl Ring {
    #[inline(always)]
    fn write(&mut self, record: &[u8]) -> bool {
        if self.at + record.len() > CHUNK_BYTES {
            self.at = 0;
        }
        let begin = self.bytes.as_ptr().align_offset(4096) + self.at;
        // SAFETY: a page more than the ring was allocated, so there is room behind `begin`.
        unsafe {
            copy_nonoverlapping(record.as_ptr(), self.bytes.as_mut_ptr().add(begin), record.len())
        };
        black_box(&mut self.bytes);
        self.at += record.len();
        true
    }
}

/// Nanoseconds of a write: the median of the rounds.
fn measure(writes: usize, record: &[u8], mut write: impl FnMut(&[u8]) -> bool) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            let taken: usize = (0..writes).map(|_| usize::from(write(black_box(record)))).sum();
            black_box(taken);
            began.elapsed().as_nanos() as f64 / writes as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize, default| args.get(i).map_or(Some(default), |text| text.parse().ok());
    let (Some(bytes @ 1..CHUNK_BYTES), Some(chunks @ 1..=1024)) = (number(1, 128), number(2, 1))
    else {
        eprintln!("usage: write_path [BYTES [CHUNKS]]");
        std::process::exit(2)
    };
    let (record, writes) = (vec![b'a'; bytes], (ROUND_BYTES / bytes).max(1));
    let mut ring = Ring { bytes: vec![0; CHUNK_BYTES + 4096], at: 0 };
    let mut path = Path::new(chunks);
    // In turn, so that whatever else the machine does hits both.
    for _ in 0..3 {
        let copy = measure(writes, &record, |record| ring.write(record));
        let write = measure(writes, &record, |record| path.write(record));
        println!("{bytes} bytes: memcpy {copy:.2} ns, write {write:.2} ns, {:.2} x", write / copy);
    }
}
