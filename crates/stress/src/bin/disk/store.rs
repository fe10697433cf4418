//! What is on the disk, and what it was only sent.

use bufferedwriter_stress::random::Random;

use crate::fuse::EIO;

/// Pieces that a loss of power keeps or loses.
const PIECE: usize = 4096;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    Ok,
    /// Each write, with this error.
    Write(i32),
    /// Each flush.
    Flush,
    /// Nothing, but it takes so many milliseconds.
    Slow(u64),
    /// Everything: there is no power.
    Off,
}

pub(crate) struct Store {
    /// What is read: all that was written.
    current: Vec<u8>,
    /// What the last flush covered.
    kept: Vec<u8>,
    /// Written since, oldest first.
    sent: Vec<(usize, Vec<u8>)>,
    mode: Mode,
}

impl Store {
    pub(crate) fn new(bytes: usize) -> Self {
        Store { current: vec![0; bytes], kept: vec![0; bytes], sent: Vec::new(), mode: Mode::Ok }
    }

    pub(crate) fn set(&mut self, mode: Mode) -> String {
        self.mode = mode;
        format!("{mode:?}")
    }

    /// How long a write or a flush takes, in milliseconds.
    pub(crate) fn pause_ms(&self) -> u64 {
        if let Mode::Slow(ms) = self.mode { ms } else { 0 }
    }

    /// What stands there; less at the end.
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
        self.sent.push((offset, bytes.to_vec()));
        Ok(())
    }

    /// What was sent is kept from here on; or, if the flush fails, nothing of it.
    pub(crate) fn flush(&mut self) -> Result<(), i32> {
        match self.mode {
            Mode::Off => Err(EIO),
            Mode::Flush => {
                for (offset, bytes) in self.sent.drain(..) {
                    let at = offset..offset + bytes.len();
                    self.current[at.clone()].copy_from_slice(&self.kept[at]);
                }
                Err(EIO)
            }
            _ => {
                for (offset, bytes) in self.sent.drain(..) {
                    self.kept[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
                Ok(())
            }
        }
    }

    /// The power fails: what was sent is kept in part.
    pub(crate) fn cut(&mut self, seed: u64) -> String {
        let mut random = Random::new(seed);
        // Of four pieces so many are kept.
        let share = random.pick(&[0, 1, 2, 3, 4]);
        let (mut kept, mut pieces) = (0, 0);
        for (offset, bytes) in self.sent.drain(..) {
            for (i, piece) in bytes.chunks(PIECE).enumerate() {
                pieces += 1;
                if random.below(4) < share {
                    kept += 1;
                    let at = offset + i * PIECE;
                    self.kept[at..at + piece.len()].copy_from_slice(piece);
                }
            }
        }
        self.current.copy_from_slice(&self.kept);
        self.mode = Mode::Off;
        format!("{kept} of {pieces} pieces kept")
    }
}
