//! Time, as fine as the processor measures it, and what reading it costs.

use std::time::{Duration, Instant};

/// The processor's time-stamp counter, ordered against the code around it; where there is none, the
/// monotonic clock in nanoseconds.
#[inline(always)]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: each x86_64 processor has both instructions.
    unsafe {
        core::arch::x86_64::_mm_lfence();
        let ticks = core::arch::x86_64::_rdtsc();
        core::arch::x86_64::_mm_lfence();
        ticks
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let mut now = std::mem::MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: the call fills in what it is given.
        let now = unsafe {
            libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr());
            now.assume_init()
        };
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }
}

/// The length of a tick, and the cost of reading the clock twice with nothing in between.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    pub ns_per_tick: f64,
    /// Median, in ticks.
    pub overhead_ticks: u64,
    /// The smallest difference of two readings that differ: some virtual machines' clocks advance in steps.
    pub step_ticks: u64,
}

impl Calibration {
    /// Takes a tenth of a second.
    pub fn measure() -> Self {
        let (began, first) = (Instant::now(), ticks());
        let mut empty: Vec<u64> = (0..100_000)
            .map(|_| {
                let before = ticks();
                ticks() - before
            })
            .collect();
        while began.elapsed() < Duration::from_millis(100) {
            std::hint::spin_loop();
        }
        let ns_per_tick = began.elapsed().as_nanos() as f64 / (ticks() - first) as f64;
        empty.sort_unstable();
        // Nearly all readings are multiples of a step, so their smallest difference is one.
        let steps = empty.windows(2).map(|pair| pair[1] - pair[0]).chain(empty.first().copied());
        let step_ticks = steps.filter(|step| *step > 0).min().unwrap_or(1);
        Calibration { ns_per_tick, overhead_ticks: empty[empty.len() / 2], step_ticks }
    }

    /// Converts measured ticks to nanoseconds, without the cost of reading the clock.
    pub fn ns(&self, ticks: u64) -> f64 {
        ticks.saturating_sub(self.overhead_ticks) as f64 * self.ns_per_tick
    }
}
