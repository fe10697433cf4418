//! Where one thread after the other sits and writes, to the newest writer mostly, to older ones too.
//!
//! Guarantees: a thread hands what it holds to the next one: producers outlive the threads that made
//! them and the writers that they write to.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::AddAssign;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use bufferedwriter::WriteError;

use crate::failure::{expect, fail};
use crate::held::Held;
use crate::mailbox::{END, Mail, Mailbox};
use crate::random::Random;

/// Ways into writers that a thread holds at most; of a writer, one to three.
const HELD_MAX: usize = 8;

/// Rest of a thread that met a closed writer: the next one is on its way.
const PAUSE: Duration = Duration::from_micros(50);

/// What threads were told, and how many there were.
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

/// What is handed from thread to thread.
pub(crate) struct Seat {
    mailbox: &'static Mailbox,
    random: Random,
    buffer: Vec<u8>,
    /// Oldest first.
    held: VecDeque<Held>,
    next_id: u64,
    counts: Counts,
}

/// Seats one thread after the other, until the end.
pub(crate) fn keep(mut seat: Seat) -> Counts {
    while !END.load(Relaxed) {
        let spawned = thread::Builder::new().spawn(move || seat.sit());
        let joined = expect("start a thread", spawned).join();
        seat = joined.unwrap_or_else(|_| fail("a thread panicked"));
        seat.counts.threads += 1;
    }
    seat.counts
}

impl Seat {
    pub(crate) fn new(number: u64, mailbox: &'static Mailbox) -> Self {
        Seat {
            mailbox,
            random: Random::new(number),
            buffer: Vec::new(),
            held: VecDeque::new(),
            // Ids are unique in the whole program.
            next_id: number << 48,
            counts: Counts::default(),
        }
    }

    /// One thread's life: a few writers long.
    fn sit(mut self) -> Self {
        if self.random.once_in(2) {
            // Destructors run in the order of the first uses, or the other way round.
            FAREWELL.set(None);
        }
        let mut writers = 1 + self.random.below(8);
        while !END.load(Relaxed) {
            if let Some(mail) = self.mailbox.fetch() {
                self.hold(&mail);
                writers -= 1;
                if writers == 0 {
                    self.leave(&mail);
                    break;
                }
            }
            self.write();
        }
        self
    }

    fn hold(&mut self, mail: &Mail) {
        let (writer, producers) = self.random.pick(&[(1, 0), (0, 1), (1, 1), (1, 2)]);
        for _ in 0..producers {
            self.held.push_back(Held::producer(mail));
            // Of two, the first one gets a buffer and is left idle then, for others to miss it.
            self.write_to(self.held.len() - 1);
        }
        for _ in 0..writer {
            self.held.push_back(Held::writer(mail));
        }
        let surplus = self.held.len().saturating_sub(HELD_MAX);
        self.held.drain(..surplus);
    }

    /// Writes to one of the newest two mostly.
    fn write(&mut self) {
        let Some(newest) = self.held.len().checked_sub(1) else { return thread::yield_now() };
        let at = match self.random.below(16) {
            0 => self.random.below(newest + 1),
            1..7 => newest.saturating_sub(1),
            _ => newest,
        };
        self.write_to(at);
    }

    fn write_to(&mut self, at: usize) {
        self.next_id += 1;
        match self.held[at].write(self.next_id, &mut self.random, &mut self.buffer) {
            Ok(()) => {}
            Err(WriteError::TooLarge) => self.counts.too_large += 1,
            // Who could make it better may need the processor.
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

    /// Leaves records to a destructor of the thread that ends.
    fn leave(&mut self, mail: &Mail) {
        let ids = self.next_id + 1..self.next_id + 4;
        self.next_id = ids.end;
        FAREWELL.set(Some(Farewell { held: Held::writer(mail), ids }));
    }
}

thread_local! {
    static FAREWELL: RefCell<Option<Farewell>> = const { RefCell::new(None) };
}

/// Writes when its thread is almost gone.
struct Farewell {
    held: Held,
    ids: std::ops::Range<u64>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let mut buffer = Vec::new();
        for id in self.ids.clone() {
            // The answer is checked there.
            let _ = self.held.write(id, &mut Random::new(id), &mut buffer);
        }
    }
}
