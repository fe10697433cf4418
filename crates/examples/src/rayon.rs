//! A parallel loop whose results go to files: one producer for each of rayon's splits of the work.
//!
//! The loop makes results faster than a disk takes them, so it waits for memory, with
//! `write_timeout`. These are threads for work and not for tasks, so they may wait. A producer saves
//! the look-up of the thread's chunk, and the results of one producer stay in order within a file.
//!
//! `cargo run --bin rayon` writes to the directory `bufferedwriter-rayon` in the system's temp
//! directory.

use std::path::PathBuf;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config, WriteError};
use rayon::prelude::*;

const NUMBERS: u64 = 1_000_000;

/// How long a worker may do without the disk.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os()
        .nth(1)
        .map_or_else(|| std::env::temp_dir().join("bufferedwriter-rayon"), PathBuf::from);
    let config = Config::default()
        .path(directory.join("ready"))
        .temp(directory.join("unfinished"))
        .create_dirs(true);
    let writer = BufferedWriter::new(config)?;

    (0..NUMBERS).into_par_iter().try_for_each_init(
        || (writer.producer(), String::new()),
        |(producer, line), number| -> Result<(), WriteError> {
            use std::fmt::Write as _;
            line.clear();
            let _ = writeln!(line, "{number} {}", steps(number + 1));
            producer.write_timeout(line.as_bytes(), PATIENCE)
        },
    )?;

    let report = writer.close(PATIENCE)?;
    assert_eq!(report.written.records, NUMBERS);
    println!("{} records in {} files", report.written.records, report.files);
    Ok(())
}

/// Steps of the Collatz sequence down to one.
fn steps(mut number: u64) -> u32 {
    let mut steps = 0;
    while number != 1 {
        number = if number.is_multiple_of(2) { number / 2 } else { 3 * number + 1 };
        steps += 1;
    }
    steps
}
