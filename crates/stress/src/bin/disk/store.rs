//! The disk's contents: what is durable, and what is only in its write cache until the next flush.
//!
//! These are blocks below a real file system; the simulator's disk in the library's tests stands in for one instead.

use bufferedwriter_testkit::random::Random;

/// Errors that the disk can answer with.
pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;

/// The unit that a loss of power keeps or loses.
const PIECE: usize = 4096;

/// Which operations fail.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    Ok,
    /// Each write fails with this error.
    Write(i32),
    /// Each flush fails.
    Flush,
    /// Nothing fails, but each write and flush takes this many milliseconds.
    Slow(u64),
    /// Everything fails: there is no power.
    Off,
}

pub(crate) struct Store {
    /// What a read returns: all that was written.
    current: Vec<u8>,
    /// What survives a loss of power: all that a flush covered.
    durable: Vec<u8>,
    /// Writes since the last flush, oldest first.
    cache: Vec<(usize, Vec<u8>)>,
    mode: Mode,
}

impl Store {
    pub(crate) fn new(bytes: usize) -> Self {
        Store {
            current: vec![0; bytes],
            durable: vec![0; bytes],
            cache: Vec::new(),
            mode: Mode::Ok,
        }
    }

    pub(crate) fn set(&mut self, mode: Mode) -> String {
        self.mode = mode;
        format!("{mode:?}")
    }

    /// How long a write or a flush takes, in milliseconds.
    pub(crate) fn pause_ms(&self) -> u64 {
        if let Mode::Slow(ms) = self.mode { ms } else { 0 }
    }

    /// Bytes at an offset; fewer at the end of the disk.
    pub(crate) fn read(&self, offset: usize, len: usize) -> &[u8] {
        let from = offset.min(self.current.len());
        &self.current[from..(from + len).min(self.current.len())]
    }

    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), i32> {
        match self.mode {
            Mode::Write(errno) => return Err(errno),
            Mode::Off => return Err(EIO),
            _ => {}
        }
        let end = offset.checked_add(bytes.len()).filter(|&end| end <= self.current.len());
        let Some(end) = end else { return Err(EIO) };
        self.current[offset..end].copy_from_slice(bytes);
        self.cache.push((offset, bytes.to_vec()));
        Ok(())
    }

    /// Makes the write cache durable or, if the flush fails, drops it.
    pub(crate) fn flush(&mut self) -> Result<(), i32> {
        match self.mode {
            Mode::Off => Err(EIO),
            Mode::Flush => {
                for (offset, bytes) in self.cache.drain(..) {
                    let at = offset..offset + bytes.len();
                    self.current[at.clone()].copy_from_slice(&self.durable[at]);
                }
                Err(EIO)
            }
            _ => {
                for (offset, bytes) in self.cache.drain(..) {
                    self.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
                Ok(())
            }
        }
    }

    /// The power fails: a random part of the write cache becomes durable, the rest is lost.
    pub(crate) fn cut(&mut self, seed: u64) -> String {
        let mut random = Random::new(seed);
        // How many pieces of four are kept.
        let share = random.pick(&[0, 1, 2, 3, 4]);
        let (mut kept, mut pieces) = (0, 0);
        for (offset, bytes) in self.cache.drain(..) {
            for (i, piece) in bytes.chunks(PIECE).enumerate() {
                pieces += 1;
                if random.below(4) < share {
                    kept += 1;
                    let at = offset + i * PIECE;
                    self.durable[at..at + piece.len()].copy_from_slice(piece);
                }
            }
        }
        self.current.copy_from_slice(&self.durable);
        self.mode = Mode::Off;
        format!("{kept} of {pieces} pieces kept")
    }
}
