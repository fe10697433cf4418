//! The machine's file system with injected faults: calls that fail, write less than asked, are slow or hang.
//!
//! Guarantees: a call without a fault does what it is asked for; each fault is counted by its kind.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use bufferedwriter_testkit::random::mix;
use rustix::io::Errno;

use crate::hooked::{Answer, Call, Hook, HookedFs, Op};

const ERRORS: [Errno; 7] =
    [Errno::IO, Errno::ACCESS, Errno::MFILE, Errno::NOSPC, Errno::ROFS, Errno::DQUOT, Errno::INTR];
/// Errors with which every call may fail: all but EINTR, after which a caller tries again at once, for ever.
const LASTING: usize = 6;

/// How often a call meets a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FaultRate {
    Never,
    /// One call in this many, with a random fault.
    OneIn(u64),
    /// Every call, with this index (modulo their number) of the lasting errors.
    Always(usize),
}

/// What happens to a call.
enum Fault {
    None,
    Error(Errno),
    Short,
    Slow(Duration),
}

/// Decides which calls meet a fault, and counts the faults by kind.
pub(crate) struct FaultInjector {
    seed: AtomicU64,
    /// A [`FaultRate`] as a number: the `n` of `OneIn(n)`, 0 for `Never`, from [`ALWAYS`] on `Always`.
    rate: AtomicU64,
    calls: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) shorts: AtomicU64,
    pub(crate) slow: AtomicU64,
    pub(crate) hangs: AtomicU64,
    /// Removals of files that failed.
    pub(crate) failed_removals: AtomicU64,
}

const ALWAYS: u64 = 1 << 32;

impl FaultInjector {
    pub(crate) const fn new() -> Self {
        FaultInjector {
            seed: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            shorts: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            hangs: AtomicU64::new(0),
            failed_removals: AtomicU64::new(0),
        }
    }

    pub(crate) fn seed(&self, seed: u64) {
        self.seed.store(seed, Relaxed);
    }

    pub(crate) fn set(&self, rate: FaultRate) {
        let word = match rate {
            FaultRate::Never => 0,
            FaultRate::OneIn(calls) => calls,
            FaultRate::Always(error) => ALWAYS + error as u64,
        };
        self.rate.store(word, Relaxed);
    }

    fn next_fault(&self) -> Fault {
        let rate = self.rate.load(Relaxed);
        let chance = mix(self.seed.load(Relaxed) ^ mix(self.calls.fetch_add(1, Relaxed)));
        if rate >= ALWAYS {
            return Fault::Error(ERRORS[(rate - ALWAYS) as usize % LASTING]);
        }
        if rate == 0 || chance % rate != 0 {
            return Fault::None;
        }
        let (kind, how) = (chance >> 20 & 15, chance >> 32);
        match kind {
            0..8 => Fault::Error(ERRORS[how as usize % ERRORS.len()]),
            8..12 => Fault::Short,
            12..15 => Fault::Slow(Duration::from_millis(how % 20)),
            _ => Fault::Slow(Duration::from_millis(100 + how % 300)),
        }
    }
}

impl Hook for &'static FaultInjector {
    fn answer(&self, call: &Call<'_>) -> Answer {
        match self.next_fault() {
            Fault::None => Answer::Go,
            Fault::Error(errno) => {
                self.errors.fetch_add(1, Relaxed);
                self.failed_removals.fetch_add(u64::from(call.op == Op::Remove), Relaxed);
                Answer::Error(errno)
            }
            Fault::Short if call.op == Op::Write => {
                self.shorts.fetch_add(1, Relaxed);
                // A half, which may end within a record.
                Answer::Short((call.bytes / 2).next_multiple_of(call.block).min(call.bytes))
            }
            Fault::Short => Answer::Go,
            Fault::Slow(time) => {
                let long = time >= Duration::from_millis(100);
                if long { &self.hangs } else { &self.slow }.fetch_add(1, Relaxed);
                thread::sleep(time);
                Answer::Go
            }
        }
    }
}

/// The machine's file system behind an injector.
pub(crate) type FaultyFs = HookedFs<&'static FaultInjector>;
