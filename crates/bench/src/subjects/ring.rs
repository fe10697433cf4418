//! The fastest peer in Rust that was found. It has a byte ring for each thread (rtrb), and a thread that polls
//! all rings, as Quill and NanoLog do in C++.
//!
//! Crates that offer a whole logger of this kind can't be measured in one process with others. Two of them,
//! ticklog 0.1 and insomnilog 0.3, can be started only once. The thread of ticklog spins for ever, and
//! insomnilog makes a system call for each record. A third, ferrilog 0.1, needs a nightly compiler.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use rtrb::{Consumer, Producer, RingBuffer};

use super::sink::{self, Closing, Target};
use crate::subject::{Running, Setup, Subject, Unavailable, Writer};

/// How long the polling thread sleeps after it found nothing, the same as Quill's.
const NAP: Duration = Duration::from_micros(100);

pub struct Ring;

impl Subject for Ring {
    fn name(&self) -> &'static str {
        "rtrb ring"
    }

    fn when_outrun(&self) -> &'static str {
        "refused"
    }

    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        let (out, closing) = sink::open(setup)?;
        let memory = Arc::new(Memory {
            free: Mutex::new(setup.memory_bytes),
            ring_min: setup.buffer_bytes.min(setup.memory_bytes),
        });
        let (rings, new_rings) = crossbeam_channel::unbounded();
        let passes = Arc::new(Passes::default());
        let mut poll = Poll {
            out,
            new_rings,
            rings: Vec::new(),
            passes: Arc::clone(&passes),
            memory: memory.clone(),
        };
        // An error ends the thread; then the rings fill up, and records are refused.
        thread::spawn(move || poll.run());
        Ok(Box::new(AtWork { rings, passes, memory, closing }))
    }
}

struct AtWork {
    rings: Sender<Consumer<u8>>,
    passes: Arc<Passes>,
    memory: Arc<Memory>,
    closing: Closing,
}

impl Running for AtWork {
    fn writer(&self) -> Box<dyn Writer + '_> {
        let (producer, consumer) = self.memory.ring();
        // The channel is closed only after an error of the thread, see above.
        let _ = self.rings.send(consumer);
        Box::new(Handle { producer })
    }

    fn settle(&self, timeout: Duration) -> bool {
        let asked = self.passes.asked.fetch_add(1, Ordering::AcqRel) + 1;
        sink::wait_until(timeout, || self.passes.empty.load(Ordering::Acquire) >= asked)
    }

    fn finish(self: Box<Self>, timeout: Duration) {
        drop(self.rings);
        self.closing.wait(timeout);
    }
}

struct Handle {
    producer: Producer<u8>,
}

impl Writer for Handle {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        self.producer.push_entire_slice(record).is_ok()
    }
}

/// Requests to learn when all rings are empty, and the newest one that is answered.
#[derive(Default)]
struct Passes {
    asked: AtomicU64,
    empty: AtomicU64,
}

/// Bytes for rings. The number of threads is unknown in advance, so each thread gets half of what is left, but at
/// least one buffer's worth.
struct Memory {
    free: Mutex<usize>,
    ring_min: usize,
}

impl Memory {
    fn ring(&self) -> (Producer<u8>, Consumer<u8>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = (*free / 2).max(self.ring_min);
        *free = free.saturating_sub(bytes);
        drop(free);
        let (mut producer, mut consumer) = RingBuffer::new(bytes);
        // Touches all of it once, so that no write meets a page fault.
        producer.push_entire_slice(&vec![0; bytes]).expect("an empty ring has room");
        consumer.read_chunk(bytes).expect("a full ring has all").commit_all();
        (producer, consumer)
    }

    fn give_back(&self, bytes: usize) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += bytes;
    }
}

/// The polling thread.
struct Poll {
    out: BufWriter<Target>,
    new_rings: Receiver<Consumer<u8>>,
    rings: Vec<Consumer<u8>>,
    passes: Arc<Passes>,
    memory: Arc<Memory>,
}

impl Poll {
    /// Runs until no thread can write any more and all is written.
    fn run(&mut self) -> io::Result<()> {
        loop {
            let asked = self.passes.asked.load(Ordering::Acquire);
            let closing = loop {
                match self.new_rings.try_recv() {
                    Ok(ring) => self.rings.push(ring),
                    Err(error) => break error == TryRecvError::Disconnected,
                }
            };
            if self.pass()? {
                continue;
            }
            if closing {
                return self.out.flush();
            }
            self.passes.empty.store(asked, Ordering::Release);
            thread::sleep(NAP);
        }
    }

    /// Writes what all rings hold. Returns whether there was something.
    fn pass(&mut self) -> io::Result<bool> {
        let mut found = false;
        for ring in &mut self.rings {
            let bytes = ring.slots();
            if bytes > 0 {
                let chunk = ring.read_chunk(bytes).expect("as many were there");
                let (first, second) = chunk.as_slices();
                self.out.write_all(first)?;
                self.out.write_all(second)?;
                chunk.commit_all();
                found = true;
            }
        }
        // First whether the producer is gone, then whether the ring is empty: so no late record is missed.
        self.rings.retain(|ring| {
            let over = ring.is_abandoned() && ring.is_empty();
            if over {
                self.memory.give_back(ring.buffer().capacity());
            }
            !over
        });
        Ok(found)
    }
}
