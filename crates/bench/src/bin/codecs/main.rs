//! What compression costs, and what it saves.
//!
//! Usage: `codecs DIR LOG [ROUNDS [MIB [SVG]]]` (default 5 rounds, interleaved, of 256 MiB; medians). `LOG` is a
//! file of lines, written as often as it takes. `SVG` gets a plot.
//!
//! The first table has this library with one and with two workers, beside the codec alone on one thread. Alone,
//! a codec gets blocks of 1 MiB and flushes after each, as a worker does, and the output goes nowhere.
//!
//! The second one has the time of a write at a load that each codec can take.

mod paced;
mod plot;
mod speed;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bufferedwriter::Compression;
use bufferedwriter_bench::stats::median;
use bufferedwriter_bench::system::clock::Calibration;

const CODECS: [(&str, Compression); 7] = [
    ("none", Compression::None),
    ("gzip 1", Compression::Gzip(1)),
    ("gzip 6", Compression::Gzip(6)),
    ("zstd -1", Compression::Zstd(-1)),
    ("zstd 1", Compression::Zstd(1)),
    ("zstd 3", Compression::Zstd(3)),
    ("zstd 6", Compression::Zstd(6)),
];

/// One codec's results, a value for each round.
#[derive(Default)]
struct Results {
    alone: Vec<f64>,
    one: Vec<f64>,
    two: Vec<f64>,
    cpu: Vec<f64>,
    ratio: f64,
}

/// A codec in the plot.
struct Cost {
    name: &'static str,
    /// Of the processor, for each GB of records.
    seconds: f64,
    /// How many times smaller the files are.
    ratio: f64,
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize, default| args.get(i).map_or(Some(default), |text| text.parse().ok());
    let (Some(dir), Some(log), Some(rounds), Some(mib)) =
        (args.get(1), args.get(2), number(3, 5), number(4, 256))
    else {
        eprintln!("usage: codecs DIR LOG [ROUNDS [MIB [SVG]]]");
        std::process::exit(2)
    };
    let dir = PathBuf::from(dir).join(format!("codecs-{}", std::process::id()));
    let log = repeated(&fs::read(log)?, mib << 20);
    let costs = speeds(&dir, rounds.max(1), &log)?;
    if let Some(svg) = args.get(5) {
        plot::draw(Path::new(svg), &costs).map_err(io::Error::other)?;
    }
    waits(&dir, rounds.max(1), &log)
}

/// Prints the first table.
fn speeds(dir: &Path, rounds: usize, log: &[u8]) -> io::Result<Vec<Cost>> {
    let mut all: Vec<_> = CODECS.iter().map(|_| Results::default()).collect();
    for _ in 0..rounds {
        for ((_, compression), results) in CODECS.into_iter().zip(&mut all) {
            results.alone.extend(speed::alone(compression, log)?);
            let (one, cpu, ratio) = speed::written(dir, compression, 1, log)?;
            results.one.push(one);
            results.cpu.push(cpu);
            results.ratio = ratio;
            results.two.push(speed::written(dir, compression, 2, log)?.0);
        }
    }
    println!(
        "| codec | alone, MB/s | one worker | of alone | two workers | of one | CPU s/GB | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut costs = Vec::new();
    for ((name, _), results) in CODECS.iter().zip(all) {
        let Results { alone, one, two, cpu, ratio } = results;
        let [one, two, seconds] = [one, two, cpu].map(|values| median(values).unwrap_or(0.0));
        let (alone, of_alone) = match median(alone) {
            Some(alone) => (format!("{alone:.0}"), format!("{:.2}", one / alone)),
            None => (String::from("-"), String::from("-")),
        };
        println!(
            "| {name} | {alone} | {one:.0} | {of_alone} | {two:.0} | {:.2} | {seconds:.2} | {ratio:.1} |",
            two / one,
        );
        costs.push(Cost { name, seconds, ratio });
    }
    Ok(costs)
}

/// Prints the second table.
fn waits(dir: &Path, rounds: usize, log: &[u8]) -> io::Result<()> {
    let clock = Calibration::measure();
    let mut all: Vec<Vec<paced::Waits>> = CODECS.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((_, compression), waits) in CODECS.into_iter().zip(&mut all) {
            waits.push(paced::run(dir, compression, log, &clock)?);
        }
    }
    println!("\nA write at {} MB/s, in ns:\n", paced::MB_PER_S);
    println!("| codec | p50 | p99 | p99.9 | p99.9 of none | refused |");
    println!("|---|---|---|---|---|---|");
    let mut base = None;
    for ((name, _), waits) in CODECS.iter().zip(all) {
        let of = |pick: fn(&paced::Waits) -> f64| {
            median(waits.iter().map(pick).collect()).unwrap_or_default()
        };
        let (p50, p99, p999) = (of(|w| w.p50), of(|w| w.p99), of(|w| w.p999));
        let ratio = p999 / *base.get_or_insert(p999);
        let refused: u64 = waits.iter().map(|waits| waits.refused).sum();
        println!("| {name} | {p50:.0} | {p99:.0} | {p999:.0} | {ratio:.2} | {refused} |");
    }
    Ok(())
}

/// Whole lines, of about this many bytes.
fn repeated(log: &[u8], bytes: usize) -> Vec<u8> {
    let end = log.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    assert!(end > 0, "the log has no line");
    log[..end].repeat(bytes.div_ceil(end))
}
