//! How fast a codec is: alone on one thread, and in a writer.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Compression, Config};
use bufferedwriter_bench::system::process::cpu_seconds;
use flate2::{Compress, Crc, FlushCompress};
use zstd::stream::Encoder;

const BLOCK: usize = 1 << 20;

/// MB per second of the codec alone; `None` without one.
pub fn alone(compression: Compression, log: &[u8]) -> io::Result<Option<f64>> {
    let begin = Instant::now();
    match compression {
        Compression::Gzip(level) => {
            let mut deflate = Compress::new(flate2::Compression::new(level), false);
            let mut out = Vec::with_capacity(2 * BLOCK);
            // A gzip file ends with a checksum, as the frames of zstd below do.
            let mut crc = Crc::new();
            for block in log.chunks(BLOCK) {
                out.clear();
                crc.update(block);
                deflate
                    .compress_vec(block, &mut out, FlushCompress::Sync)
                    .map_err(io::Error::other)?;
            }
            std::hint::black_box(crc.sum());
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
pub fn written(
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
    // Finding the lines is no work of the writer.
    let lines: Vec<&[u8]> = log.split_inclusive(|&byte| byte == b'\n').collect();
    let (begin, cpu_before) = (Instant::now(), cpu_seconds());
    for line in lines {
        writer.write_timeout(line, Duration::from_secs(60)).map_err(io::Error::other)?;
    }
    let report = writer.close(Duration::from_secs(60)).map_err(io::Error::other)?;
    let (seconds, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    fs::remove_dir_all(dir)?;
    let bytes = report.written.bytes as f64;
    Ok((bytes / 1e6 / seconds, cpu / (bytes / 1e9), bytes / report.files_bytes as f64))
}
