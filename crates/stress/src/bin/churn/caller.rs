//! One caller: a chain of short-lived threads, one after the other, that write to the newest writer mostly and
//! to older ones too.
//!
//! Guarantees: a thread hands its state on to the next one. So producers outlive both the threads that made
//! them and the writers that they write to.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::AddAssign;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use bufferedwriter::WriteError;
use bufferedwriter_stress::failure::{expect, fail};
use bufferedwriter_testkit::random::Random;

use crate::checked_handle::CheckedHandle;
use crate::handoff::{NewWriter, STOP, Slot};

/// The most handles that a caller holds; each writer adds one to three.
const HANDLES_MAX: usize = 8;

/// How long a thread sleeps after a closed writer's refusal: the next writer is on its way.
const PAUSE: Duration = Duration::from_micros(50);

/// Threads that ran, and refusals by reason.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) threads: u64,
    pub(crate) full: u64,
    pub(crate) too_large: u64,
    pub(crate) closed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.threads += other.threads;
        self.full += other.full;
        self.too_large += other.too_large;
        self.closed += other.closed;
    }
}

/// The state that is handed from thread to thread.
pub(crate) struct Caller {
    slot: &'static Slot,
    random: Random,
    buffer: Vec<u8>,
    /// Oldest first.
    handles: VecDeque<CheckedHandle>,
    next_id: u64,
    counts: Counts,
}

/// Starts one thread after the other, until the end.
pub(crate) fn run(mut caller: Caller) -> Counts {
    while !STOP.load(Relaxed) {
        let spawned = thread::Builder::new().spawn(move || caller.one_thread());
        let joined = expect("start a thread", spawned).join();
        caller = joined.unwrap_or_else(|_| fail("a thread panicked"));
        caller.counts.threads += 1;
    }
    caller.counts
}

impl Caller {
    pub(crate) fn new(number: u64, slot: &'static Slot) -> Self {
        Caller {
            slot,
            random: Random::new(number),
            buffer: Vec::new(),
            handles: VecDeque::new(),
            // Ids are unique in the whole program.
            next_id: number << 32,
            counts: Counts::default(),
        }
    }

    /// One thread's life: it ends after a few writers.
    fn one_thread(mut self) -> Self {
        if self.random.one_in(2) {
            // The order of first uses decides whether its destructor runs before or after the library's.
            WRITES_AT_EXIT.set(None);
        }
        let mut writers = 1 + self.random.below(8);
        while !STOP.load(Relaxed) {
            if let Some(new) = self.slot.take() {
                self.add_handles(&new);
                writers -= 1;
                if writers == 0 {
                    self.write_at_exit(&new);
                    break;
                }
            }
            self.write();
        }
        self
    }

    fn add_handles(&mut self, new: &NewWriter) {
        let (writer, producers) = self.random.pick(&[(1, 0), (0, 1), (1, 1), (1, 2)]);
        for _ in 0..producers {
            self.handles.push_back(CheckedHandle::producer(new));
            // Of two producers the first one then idles with a buffer, which others must get back.
            self.write_to(self.handles.len() - 1);
        }
        for _ in 0..writer {
            self.handles.push_back(CheckedHandle::writer(new));
        }
        let surplus = self.handles.len().saturating_sub(HANDLES_MAX);
        self.handles.drain(..surplus);
    }

    /// Writes to one of the two newest handles mostly.
    fn write(&mut self) {
        let Some(newest) = self.handles.len().checked_sub(1) else { return thread::yield_now() };
        let at = match self.random.below(16) {
            0 => self.random.below(newest + 1),
            1..7 => newest.saturating_sub(1),
            _ => newest,
        };
        self.write_to(at);
    }

    fn write_to(&mut self, at: usize) {
        self.next_id += 1;
        match self.handles[at].write(self.next_id, &mut self.random, &mut self.buffer) {
            Ok(()) => {}
            Err(WriteError::TooLarge) => self.counts.too_large += 1,
            // The threads that free memory or close the writer may need the processor.
            Err(WriteError::Closed) => {
                self.counts.closed += 1;
                thread::sleep(PAUSE);
            }
            Err(_) => {
                self.counts.full += 1;
                thread::yield_now();
            }
        }
    }

    /// Leaves a few records to a thread-local destructor of the thread that ends.
    fn write_at_exit(&mut self, new: &NewWriter) {
        let ids = self.next_id + 1..self.next_id + 4;
        self.next_id = ids.end;
        WRITES_AT_EXIT.set(Some(WritesAtExit { handle: CheckedHandle::writer(new), ids }));
    }
}

thread_local! {
    static WRITES_AT_EXIT: RefCell<Option<WritesAtExit>> = const { RefCell::new(None) };
}

/// Writes when it is dropped, while its thread ends.
struct WritesAtExit {
    handle: CheckedHandle,
    ids: std::ops::Range<u64>,
}

impl Drop for WritesAtExit {
    fn drop(&mut self) {
        let mut buffer = Vec::new();
        for id in self.ids.clone() {
            // `write` has checked the answer.
            let _ = self.handle.write(id, &mut Random::new(id), &mut buffer);
        }
    }
}
