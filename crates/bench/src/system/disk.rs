//! The disk's own speed: what a program gets that only writes, one aligned block after the other, one file after
//! the other, with direct I/O.
//!
//! Guarantees: removes its files. Where the file system refuses direct I/O, it writes through the page cache with
//! an `fdatasync` for each file, and [`Speed::direct`] is false.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bufferedwriter_testkit::random::Random;
use serde::{Deserialize, Serialize};

use crate::stats;
use crate::system::scratch::Scratch;

const BLOCK_BYTES: usize = 1 << 20;
const FILE_BYTES: usize = 64 << 20;
/// Enough for every disk's logical blocks.
const ALIGNMENT: usize = 4096;
/// The most that a round writes, however fast the disk is.
const ROUND_BYTES_MAX: u64 = 4 << 30;

/// What was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Speed {
    /// The rounds' median.
    pub bytes_per_s: f64,
    /// `false` if the file system refuses direct writes.
    pub direct: bool,
    /// Each round's bytes per second, in the order in which they ran.
    pub rounds: Vec<f64>,
}

impl Speed {
    pub fn mb_per_s(&self) -> f64 {
        self.bytes_per_s / 1e6
    }

    /// How it was measured, in words.
    pub fn method(&self) -> &'static str {
        if self.direct {
            "direct writes of 1 MiB, one after the other, files of 64 MiB"
        } else {
            "direct writes refused; writes of 1 MiB and an fdatasync for each file of 64 MiB"
        }
    }
}

/// Writes below `dir` for `round`, `rounds` times.
pub fn measure(dir: &Path, rounds: usize, round: Duration) -> io::Result<Speed> {
    let block = Block::new();
    let direct = accepts_direct(dir, &block)?;
    let mut speeds = Vec::with_capacity(rounds.max(1));
    for _ in 0..rounds.max(1) {
        let scratch = Scratch::new(dir)?;
        let (began, mut bytes) = (Instant::now(), 0);
        while bytes == 0 || (began.elapsed() < round && bytes < ROUND_BYTES_MAX) {
            write_file(&scratch.path().join(bytes.to_string()), direct, &block)?;
            bytes += FILE_BYTES as u64;
        }
        speeds.push(bytes as f64 / began.elapsed().as_secs_f64());
    }
    let bytes_per_s = stats::median(speeds.clone()).unwrap_or(0.0);
    Ok(Speed { bytes_per_s, direct, rounds: speeds })
}

fn write_file(path: &Path, direct: bool, block: &Block) -> io::Result<()> {
    let mut file = open(path, direct)?;
    for _ in 0..FILE_BYTES / BLOCK_BYTES {
        file.write_all(block.bytes())?;
    }
    if !direct {
        file.sync_data()?;
    }
    Ok(())
}

fn open(path: &Path, direct: bool) -> io::Result<File> {
    let flags = if direct { libc::O_DIRECT } else { 0 };
    OpenOptions::new().write(true).create_new(true).custom_flags(flags).open(path)
}

/// Tries a write too, since some file systems refuse only that.
fn accepts_direct(dir: &Path, block: &Block) -> io::Result<bool> {
    let scratch = Scratch::new(dir)?;
    let tried = open(&scratch.path().join("direct"), true)
        .and_then(|mut file| file.write_all(block.bytes()));
    match tried {
        Ok(()) => Ok(true),
        Err(error) if refuses_direct(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn refuses_direct(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS))
}

/// Random bytes, which no disk can compress, at an address that is aligned for direct writes.
struct Block(Vec<u8>);

impl Block {
    fn new() -> Self {
        let mut random = Random::new(1);
        let bytes = std::iter::repeat_with(|| random.next() as u8);
        Block(bytes.take(BLOCK_BYTES + ALIGNMENT).collect())
    }

    fn bytes(&self) -> &[u8] {
        let skip = self.0.as_ptr().align_offset(ALIGNMENT);
        &self.0[skip..skip + BLOCK_BYTES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_aligned() {
        let block = Block::new();
        assert_eq!(block.bytes().as_ptr() as usize % ALIGNMENT, 0);
        assert_eq!(block.bytes().len(), BLOCK_BYTES);
    }

    #[test]
    fn a_round_is_a_file_at_least_and_leaves_nothing() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let speed = measure(scratch.path(), 1, Duration::ZERO).unwrap();
        assert!(speed.bytes_per_s > 0.0);
        assert_eq!(speed.rounds.len(), 1);
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    #[test]
    fn plain_writes_do_where_direct_ones_are_refused() {
        assert!(refuses_direct(&io::Error::from_raw_os_error(libc::EINVAL)));
        assert!(!refuses_direct(&io::Error::from_raw_os_error(libc::ENOSPC)));
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let path = scratch.path().join("plain");
        write_file(&path, false, &Block::new()).unwrap();
        assert_eq!(path.metadata().unwrap().len(), FILE_BYTES as u64);
    }
}
