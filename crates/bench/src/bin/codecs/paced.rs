//! How long a write takes while a worker compresses.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Compression, Config, Producer};
use bufferedwriter_bench::measure::pacer;
use bufferedwriter_bench::subject::Writer;
use bufferedwriter_bench::system::clock::Calibration;

/// Each codec of the table takes more on one core.
pub const MB_PER_S: u32 = 40;
const TIME: Duration = Duration::from_secs(3);

/// Of one turn, in ns.
pub struct Waits {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub refused: u64,
}

/// Writes the lines of a log in turn, whatever it is asked to write.
struct Lines<'a> {
    producer: Producer,
    lines: std::iter::Cycle<std::slice::Iter<'a, &'a [u8]>>,
}

impl Writer for Lines<'_> {
    fn write(&mut self, _: &[u8]) -> bool {
        self.lines.next().is_some_and(|line| self.producer.write(line).is_ok())
    }
}

pub fn run(
    dir: &Path,
    compression: Compression,
    log: &[u8],
    clock: &Calibration,
) -> io::Result<Waits> {
    let config = Config::default()
        .path(dir.join("ready"))
        .temp(dir.join("unfinished"))
        .create_dirs(true)
        .workers(1)
        .compression(compression);
    let writer = BufferedWriter::new(config).map_err(io::Error::other)?;
    let lines: Vec<&[u8]> = log.split_inclusive(|&byte| byte == b'\n').collect();
    let per_s = f64::from(MB_PER_S) * 1e6 / (log.len() as f64 / lines.len() as f64);
    let mut subject = Lines { producer: writer.producer(), lines: lines.iter().cycle() };
    let paced = pacer::run(&mut subject, b"", per_s, TIME);
    drop(subject);
    writer.close(Duration::from_secs(60)).map_err(io::Error::other)?;
    fs::remove_dir_all(dir)?;
    let [p50, p99, p999] =
        [0.5, 0.99, 0.999].map(|share| clock.ns(paced.latency.value_at_quantile(share)));
    Ok(Waits { p50, p99, p999, refused: paced.refused })
}
