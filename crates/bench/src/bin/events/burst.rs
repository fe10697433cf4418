//! Bursts of events, and what they cost.

use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter_bench::stats::median;
use bufferedwriter_bench::traced::{enter_spans, leave};

const BURSTS: usize = 40;
const EVENTS: u32 = 5_000;
/// In which a subject's threads write a burst.
const PAUSE: Duration = Duration::from_millis(25);

/// In nanoseconds, for one event.
pub struct Cost {
    /// The median of the bursts' means.
    pub median: f64,
    /// Of events that are timed one by one, which adds the price of reading the clock.
    pub p999: f64,
}

pub fn measure(log: fn(u32), in_spans: bool) -> Cost {
    let spans = enter_spans(in_spans);
    // Call sites and queues become warm.
    (0..EVENTS).for_each(log);
    thread::sleep(PAUSE);
    let bursts = (0..BURSTS).map(|_| {
        let began = Instant::now();
        (0..EVENTS).for_each(log);
        let mean = began.elapsed().as_nanos() as f64 / f64::from(EVENTS);
        thread::sleep(PAUSE);
        mean
    });
    let median = median(bursts.collect()).unwrap_or_default();
    let mut single: Vec<_> = (0..BURSTS)
        .flat_map(|_| {
            let times: Vec<_> = (0..EVENTS)
                .map(|number| {
                    let began = Instant::now();
                    log(number);
                    began.elapsed().as_nanos() as u64
                })
                .collect();
            thread::sleep(PAUSE);
            times
        })
        .collect();
    single.sort_unstable();
    let p999 = single[single.len() * 999 / 1000] as f64;
    leave(spans);
    Cost { median, p999 }
}
