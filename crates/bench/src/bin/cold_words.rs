//! What it costs to touch a few words that were last used about 20 ms ago. The thread copies 20 records every
//! 0.5 to 1 ms. That is a lower bound for a swap of 64 KiB buffers when records come in bursts. It does not use
//! the library.

use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::AcqRel;
use std::thread::sleep;
use std::time::{Duration, Instant};

const RECORD: [u8; 128] = [b'a'; 128];
const SAMPLES: usize = 1000;
const BURSTS: u32 = 25;
const COUNTS: [usize; 5] = [0, 1, 2, 4, 8];

/// On a page of its own, like words of different structures.
#[derive(Default)]
#[repr(align(4096))]
struct Word(AtomicU64);

fn main() {
    let sets: Vec<Vec<Word>> =
        COUNTS.iter().map(|count| (0..*count).map(|_| Word::default()).collect()).collect();
    let mut ring = vec![1; 64 << 10];
    let mut values = COUNTS.map(|_| Vec::new());
    let mut at = 0;
    for sample in 0..SAMPLES {
        for burst in 0..BURSTS {
            sleep(Duration::from_micros(500 + u64::from(burst * 20)));
            for _ in 0..20 {
                let record: &[u8] = black_box(&RECORD);
                ring[at..at + record.len()].copy_from_slice(record);
                black_box(&mut ring);
                at = (at + record.len()) % ring.len();
            }
        }
        // In turn, so that each is equally often the first after the pause.
        for place in 0..COUNTS.len() {
            let of = (place + sample) % COUNTS.len();
            let began = Instant::now();
            for word in &sets[of] {
                word.0.fetch_add(1, AcqRel);
            }
            values[of].push(began.elapsed().as_nanos() as f64);
        }
    }
    println!(
        "words that were not touched for 20 ms: p50, p99 in ns, two looks at the clock taken off"
    );
    let clock = quantile(&mut values[0], 500);
    for (count, values) in COUNTS.iter().zip(&mut values) {
        let (median, p99) = (quantile(values, 500) - clock, quantile(values, 990) - clock);
        println!("  {count} words  {median:.0}  {p99:.0}");
    }
}

/// The quantile, given in thousandths.
fn quantile(values: &mut [f64], thousandths: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * thousandths / 1000).min(values.len() - 1)]
}
