//! What compression costs, and what it saves: this library with one and with two workers, beside the codec
//! alone on one thread, over the same log.
//!
//! Usage: `codecs DIR LOG [ROUNDS [MIB]]` (default 5 rounds, interleaved, of 256 MiB; medians). `LOG` is a file of
//! lines; it is written as often as it takes.
//!
//! Alone, a codec gets blocks of 1 MiB and flushes after each, as a worker does, and the output goes nowhere.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Compression, Config};
use bufferedwriter_bench::system::process::cpu_seconds;
use flate2::{Compress, FlushCompress};
use zstd::stream::Encoder;

const BLOCK: usize = 1 << 20;
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

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize, default| args.get(i).map_or(Some(default), |text| text.parse().ok());
    let (Some(dir), Some(log), Some(rounds), Some(mib)) =
        (args.get(1), args.get(2), number(3, 5), number(4, 256))
    else {
        eprintln!("usage: codecs DIR LOG [ROUNDS [MIB]]");
        std::process::exit(2)
    };
    let dir = PathBuf::from(dir).join(format!("codecs-{}", std::process::id()));
    let log = repeated(&fs::read(log)?, mib << 20);
    let mut all: Vec<_> = CODECS.iter().map(|_| Results::default()).collect();
    for _ in 0..rounds.max(1) {
        for ((_, compression), results) in CODECS.into_iter().zip(&mut all) {
            results.alone.extend(alone(compression, &log)?);
            let (speed, cpu, ratio) = written(&dir, compression, 1, &log)?;
            results.one.push(speed);
            results.cpu.push(cpu);
            results.ratio = ratio;
            results.two.push(written(&dir, compression, 2, &log)?.0);
        }
    }
    println!(
        "| codec | alone, MB/s | one worker | of alone | two workers | of one | CPU s/GB | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for ((name, _), results) in CODECS.iter().zip(all) {
        let [alone, one, two, cpu] =
            [results.alone, results.one, results.two, results.cpu].map(median);
        let (alone, of_alone) = match alone {
            Some(alone) => (format!("{alone:.0}"), format!("{:.2}", one.unwrap_or(0.0) / alone)),
            None => (String::from("-"), String::from("-")),
        };
        let (one, two, cpu) = (one.unwrap_or(0.0), two.unwrap_or(0.0), cpu.unwrap_or(0.0));
        println!(
            "| {name} | {alone} | {one:.0} | {of_alone} | {two:.0} | {:.2} | {cpu:.2} | {:.1} |",
            two / one,
            results.ratio
        );
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Whole lines, of about this many bytes.
fn repeated(log: &[u8], bytes: usize) -> Vec<u8> {
    let end = log.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    assert!(end > 0, "the log has no line");
    log[..end].repeat(bytes.div_ceil(end))
}

/// MB per second of the codec alone; `None` without one.
fn alone(compression: Compression, log: &[u8]) -> io::Result<Option<f64>> {
    let begin = Instant::now();
    match compression {
        Compression::Gzip(level) => {
            let mut deflate = Compress::new(flate2::Compression::new(level), false);
            let mut out = Vec::with_capacity(2 * BLOCK);
            for block in log.chunks(BLOCK) {
                out.clear();
                deflate
                    .compress_vec(block, &mut out, FlushCompress::Sync)
                    .map_err(io::Error::other)?;
            }
        }
        Compression::Zstd(level) => {
            let mut encoder = Encoder::new(io::sink(), level)?;
            encoder.include_checksum(true)?;
            for block in log.chunks(BLOCK) {
                encoder.write_all(block)?;
                encoder.flush()?;
            }
        }
        _ => return Ok(None),
    }
    Ok(Some(log.len() as f64 / 1e6 / begin.elapsed().as_secs_f64()))
}

/// MB per second until all is visible, seconds of the processor per GB, and how many times smaller the files are.
fn written(
    dir: &Path,
    compression: Compression,
    workers: usize,
    log: &[u8],
) -> io::Result<(f64, f64, f64)> {
    let config = Config::default()
        .path(dir.join("ready"))
        .temp(dir.join("unfinished"))
        .create_dirs(true)
        .workers(workers)
        .compression(compression);
    let writer = BufferedWriter::new(config).map_err(io::Error::other)?;
    let (begin, cpu_before) = (Instant::now(), cpu_seconds());
    for line in log.split_inclusive(|&byte| byte == b'\n') {
        writer.write_timeout(line, Duration::from_secs(60)).map_err(io::Error::other)?;
    }
    let report = writer.close(Duration::from_secs(60)).map_err(io::Error::other)?;
    let (seconds, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    fs::remove_dir_all(dir)?;
    let bytes = report.written.bytes as f64;
    Ok((bytes / 1e6 / seconds, cpu / (bytes / 1e9), bytes / report.files_bytes as f64))
}
