//! A write in a loop, on memory that no other thread ever touches: a bare copy; one whose position is kept
//! where another thread could see it, which is the least that handing over takes; and the same loads and
//! stores as the library's hot path. Each into one buffer of 64 KiB again and again, which only who makes
//! callers wait can do, and into 16 buffers in turn.

use std::hint::black_box;
use std::ops::Range;
use std::ptr::copy_nonoverlapping;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, compiler_fence};
use std::time::Instant;

use crate::quantile;

const CHUNK_BYTES: usize = 64 << 10;
pub const RECORD_BYTES: Range<usize> = 1..CHUNK_BYTES;
const TURNS: usize = 15;
const ROUNDS: usize = 40;
const ROUND_BYTES: usize = 2 << 20;
const OPEN: u64 = 1;

/// Memory that begins with a page.
struct Pages(Vec<u8>);

impl Pages {
    fn new(bytes: usize) -> Self {
        Pages(vec![1; bytes + 4096])
    }

    #[inline(always)]
    fn begin(&mut self) -> *mut u8 {
        let skip = self.0.as_ptr().align_offset(4096);
        self.0[skip..].as_mut_ptr()
    }
}

/// The bytes, and nothing else.
struct Bare {
    pages: Pages,
    bytes: usize,
    at: usize,
}

impl Bare {
    fn new(bytes: usize) -> Self {
        Bare { pages: Pages::new(bytes), bytes, at: 0 }
    }

    #[inline(always)]
    fn write(&mut self, record: &[u8]) -> bool {
        if self.at + record.len() > self.bytes {
            self.at = 0;
        }
        // SAFETY: there is room behind `at`.
        unsafe {
            let to = self.pages.begin().add(self.at);
            copy_nonoverlapping(record.as_ptr(), to, record.len());
        }
        black_box(&mut self.pages.0);
        self.at += record.len();
        true
    }
}

/// The bytes, and how far they go, stored after them.
struct Seen {
    pages: Pages,
    bytes: usize,
    at: Box<AtomicU64>,
}

impl Seen {
    fn new(bytes: usize) -> Self {
        Seen { pages: Pages::new(bytes), bytes, at: Box::new(AtomicU64::new(0)) }
    }

    #[inline(always)]
    fn write(&mut self, record: &[u8]) -> bool {
        let mut at = self.at.load(Relaxed) as usize;
        if at + record.len() > self.bytes {
            at = 0;
        }
        // SAFETY: there is room behind `at`.
        unsafe {
            copy_nonoverlapping(record.as_ptr(), self.pages.begin().add(at), record.len());
        }
        black_box(&mut self.pages.0);
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

/// The steps of a write: chunks that are written in turn, with a line for each one's commit word.
struct Steps {
    slot: Box<Slot>,
    pages: Pages,
    words: Vec<[AtomicU64; 8]>,
    chunk: usize,
}

impl Steps {
    fn new(bytes: usize) -> Self {
        let chunks = bytes / CHUNK_BYTES;
        let (busy, gate) = (AtomicU32::new(0), AtomicU64::new(OPEN));
        let (base, commit) = (std::ptr::null_mut(), std::ptr::null());
        let slot = Box::new(Slot { busy, gate, base, end: CHUNK_BYTES, commit });
        let words = (0..chunks).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect();
        let mut steps = Steps { slot, pages: Pages::new(bytes), words, chunk: 0 };
        steps.next_chunk();
        steps
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
        self.words[self.chunk][0].store(0, Release);
        self.slot.commit = &raw const self.words[self.chunk][0];
        // SAFETY: there are as many chunks as words.
        self.slot.base = unsafe { self.pages.begin().add(self.chunk * CHUNK_BYTES) };
    }
}

/// Nanoseconds of a write: the median of some rounds.
fn measure(record: &[u8], mut write: impl FnMut(&[u8]) -> bool) -> f64 {
    let writes = (ROUND_BYTES / record.len()).max(1);
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            let taken: usize = (0..writes).map(|_| usize::from(write(black_box(record)))).sum();
            black_box(taken);
            began.elapsed().as_nanos() as f64 / writes as f64
        })
        .collect();
    quantile(&mut rounds, 500)
}

/// Medians of some turns; ratios are taken within a turn.
pub fn run(record_bytes: usize) {
    // Where the allocator puts it must not decide what a copy of it costs.
    let record = Pages::new(record_bytes);
    let record = &record.0[record.0.as_ptr().align_offset(4096)..][..record_bytes];
    let wide = 16 * CHUNK_BYTES;
    let (mut bare, mut bare_wide) = (Bare::new(CHUNK_BYTES), Bare::new(wide));
    let (mut seen, mut seen_wide) = (Seen::new(CHUNK_BYTES), Seen::new(wide));
    let (mut steps, mut steps_wide) = (Steps::new(CHUNK_BYTES), Steps::new(wide));
    let turns: Vec<[f64; 6]> = (0..TURNS)
        .map(|_| {
            [
                measure(record, |record| bare.write(record)),
                measure(record, |record| bare_wide.write(record)),
                measure(record, |record| seen.write(record)),
                measure(record, |record| seen_wide.write(record)),
                measure(record, |record| steps.write(record)),
                measure(record, |record| steps_wide.write(record)),
            ]
        })
        .collect();
    let names = [
        "copy, 64 KiB",
        "copy, 1 MiB",
        "copy and position, 64 KiB",
        "copy and position, 1 MiB",
        "steps of a write, 64 KiB",
        "steps of a write, 1 MiB",
    ];
    println!("records of {record_bytes} bytes");
    for (of, name) in names.iter().enumerate() {
        let mut ns: Vec<f64> = turns.iter().map(|turn| turn[of]).collect();
        let mut ratios: Vec<f64> = turns.iter().map(|turn| turn[of] / turn[0]).collect();
        let (ns, ratio) = (quantile(&mut ns, 500), quantile(&mut ratios, 500));
        println!("  {name:<26} {ns:>6.2} ns  {ratio:.2} x");
    }
}
