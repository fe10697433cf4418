//! Where the merged lines go: standard output, or a writer's files.
//!
//! Guarantees: a write to standard output is large, and overlaps with the merging. Every line is in the files, or
//! counted as refused.

use std::io::{self, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, CloseReport, Config, Producer, WriteError};

use crate::commands::merge::merging::Sink;
use crate::commands::merge::outcome::Outcome;
use crate::console::{self, Descriptor};
use crate::sys;

/// Bytes of one write to standard output.
const BLOCK_BYTES: usize = 256 << 10;
/// Blocks that may wait for standard output.
const BLOCKS: usize = 2;
/// Memory of standard output's blocks: one is filled, one is written.
pub(crate) const STDOUT_BYTES: usize = (BLOCKS + 2) * BLOCK_BYTES;
/// How long to wait for memory of the writer before its health is looked at.
const SLICE: Duration = Duration::from_secs(1);
/// How long the end may take.
const CLOSE_MAX: Duration = Duration::from_secs(60);

/// Standard output, written by a thread of its own.
pub(crate) struct Stdout {
    block: Vec<u8>,
    full: Option<SyncSender<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
    failed: Receiver<io::Error>,
}

impl Stdout {
    pub(crate) fn new() -> io::Result<Self> {
        let (full, blocks) = sync_channel::<Vec<u8>>(BLOCKS);
        let (give_back, empty) = sync_channel(BLOCKS + 2);
        let (fail, failed) = sync_channel(1);
        let thread = sys::spawn("stdout", move || {
            while let Ok(mut block) = blocks.recv() {
                if let Err(error) = Descriptor::stdout().write_all(&block) {
                    let _ = fail.send(error);
                    return;
                }
                block.clear();
                // The last ones are not wanted any more.
                let _ = give_back.send(block);
            }
        })?;
        let block = Vec::with_capacity(BLOCK_BYTES);
        Ok(Stdout { block, full: Some(full), empty, thread: Some(thread), failed })
    }

    #[cold]
    fn hand_over(&mut self) -> io::Result<()> {
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK_BYTES));
        let block = std::mem::replace(&mut self.block, next);
        match self.full.as_ref().map(|full| full.send(block)) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failed.try_recv().unwrap_or_else(|_| io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Waits until all is written.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.hand_over()?;
        }
        self.full = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.failed.try_recv().map_or(Ok(()), Err)
    }
}

impl<K> Sink<K> for Stdout {
    #[inline]
    fn put(&mut self, _: K, _: u64, piece: &[u8]) -> io::Result<()> {
        if self.block.len() + piece.len() > BLOCK_BYTES && !self.block.is_empty() {
            self.hand_over()?;
        }
        self.block.extend_from_slice(piece);
        Ok(())
    }
}

/// A writer's files.
pub(crate) struct Files<'a> {
    writer: BufferedWriter,
    producer: Producer,
    outcome: &'a Outcome,
    /// Pieces of a line whose end has not come.
    line: Vec<u8>,
    line_bytes_max: usize,
    /// The line is longer than permitted.
    is_too_long: bool,
    told: Option<String>,
}

impl<'a> Files<'a> {
    /// Lines of up to `line_bytes_max` bytes find room.
    pub(crate) fn new(
        config: Config,
        outcome: &'a Outcome,
        line_bytes_max: usize,
    ) -> Result<Self, bufferedwriter::Error> {
        let writer = BufferedWriter::new(config)?;
        let producer = writer.producer();
        let line = Vec::new();
        Ok(Files {
            writer,
            producer,
            outcome,
            line,
            line_bytes_max,
            is_too_long: false,
            told: None,
        })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let mut result = self.producer.write(line);
        while let Err(WriteError::Full | WriteError::OutOfMemory | WriteError::DiskGuard) = result {
            result = self.producer.write_timeout(line, SLICE);
            if result.is_err() {
                self.tell_stall();
            }
        }
        match result {
            Err(WriteError::TooLarge) => {
                self.refuse();
                Ok(())
            }
            result => result.map_err(io::Error::other),
        }
    }

    /// Says once why the writer takes no more.
    fn tell_stall(&mut self) {
        let stall =
            self.writer.health().stalls.into_iter().next().map(|stall| stall.error.to_string());
        if stall.is_some() && stall != self.told {
            console::report(format_args!("{} (retrying)", stall.as_deref().unwrap_or_default()));
            self.told = stall;
        }
    }

    fn refuse(&mut self) {
        if self.outcome.refused.fetch_add(1, Relaxed) == 0 {
            let bytes = self.line_bytes_max;
            console::report(format_args!("lines of more than {bytes} bytes are left out"));
        }
    }

    /// Ends the last file.
    pub(crate) fn finish(self) -> io::Result<CloseReport> {
        drop(self.producer);
        self.writer.close(CLOSE_MAX).map_err(|error| io::Error::other(error.to_string()))
    }
}

impl<K> Sink<K> for Files<'_> {
    fn put(&mut self, _: K, _: u64, piece: &[u8]) -> io::Result<()> {
        let is_end = piece.ends_with(b"\n");
        if is_end && self.line.is_empty() && !self.is_too_long {
            return self.write(piece);
        }
        if self.line.len() + piece.len() > self.line_bytes_max {
            (self.line, self.is_too_long) = (Vec::new(), true);
        }
        if !self.is_too_long {
            self.line.extend_from_slice(piece);
        }
        if !is_end {
            return Ok(());
        }
        if std::mem::take(&mut self.is_too_long) {
            self.refuse();
            return Ok(());
        }
        let line = std::mem::take(&mut self.line);
        self.write(&line)
    }
}
