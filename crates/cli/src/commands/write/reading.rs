//! The reading: from the bytes of an input to lines in the writer's memory, until the input ends or
//! a signal ends the reading.
//!
//! Guarantees: after a signal no byte is read from beyond the end of a line, as far as that comes
//! within bounds. So a process that reads on from the same pipe begins with a whole line.

use std::io;
use std::time::{Duration, Instant};

use bufferedwriter::{Count, WriteError};

use crate::commands::write::{Run, SLICE, drain};
use crate::console;
use crate::inputs::Input;
use crate::inputs::lines::{Line, Lines};

/// Large enough to make system calls cheap, small enough for the processor's cache.
const BLOCK_BYTES: usize = 256 << 10;

/// What ended the reading of an input.
#[derive(PartialEq, Eq)]
enum End {
    Input,
    Signal,
}

impl Run<'_> {
    /// Copies all lines of one input, or those up to a signal.
    pub(super) fn copy(&mut self, input: &Input) {
        let mut lines = Lines::new(BLOCK_BYTES, self.args.line_bytes_max());
        let end = self.copy_blocks(input, &mut lines);
        let unfinished = lines.unfinished_bytes();
        // Also after a signal or an error, or the last line would vanish.
        let last = lines.finish();
        match (end, &last) {
            (Ok(End::Signal), Some(line)) => console::report(format_args!(
                "{}, line {}: stopped after {unfinished} bytes, before the end of the line",
                input.name(),
                line.number,
            )),
            (Ok(_), _) => {}
            (Err(error), _) => self.io_error(format_args!("read {}: {error}", input.name())),
        }
        if let Some(line) = last {
            self.hand_over(input.name(), &line);
        }
    }

    fn copy_blocks(&mut self, input: &Input, lines: &mut Lines) -> io::Result<End> {
        loop {
            let left = self.reading_left(input);
            if left == Some(Duration::ZERO) {
                return self.copy_rest(input, lines);
            }
            // A named pipe that no program has opened never becomes ready. Its end shows in a read.
            let asks = left.is_some() && input.never_waits();
            if asks && self.copy_block(input, lines, usize::MAX)? == Some(0) {
                return Ok(End::Input);
            }
            let is_ready = self.wait(Some(input), left)?;
            if is_ready && self.copy_block(input, lines, usize::MAX)? == Some(0) {
                return Ok(End::Input);
            }
        }
    }

    /// Time left for reading this input on to its end. `None` = without limit.
    fn reading_left(&self, input: &Input) -> Option<Duration> {
        let left = self.drain.reading_left(Instant::now())?;
        // The signal was meant for the programs before the pipe, too. No end follows from it
        // elsewhere.
        Some(if input.ends_with_its_writers() { left } else { Duration::ZERO })
    }

    /// Empties the pipe after the grace time. Its content vanishes with its last reader, and may be
    /// the last words of a program that has ended.
    fn copy_rest(&mut self, input: &Input, lines: &mut Lines) -> io::Result<End> {
        let began = Instant::now();
        while began.elapsed() < drain::EMPTYING && !self.left().is_zero() {
            let held = input.bytes_in_flight();
            if held == 0 || !self.wait(Some(input), Some(Duration::ZERO))? {
                break;
            }
            match self.copy_block(input, lines, held)? {
                Some(0) => return Ok(End::Input),
                Some(_) => {}
                None => break,
            }
        }
        self.copy_end_of_line(input, lines)
    }

    /// Reads a line that has begun to its end. Byte by byte, since what comes after it is for the
    /// next process that reads the pipe.
    fn copy_end_of_line(&mut self, input: &Input, lines: &mut Lines) -> io::Result<End> {
        let began = Instant::now();
        while lines.unfinished_bytes() > 0 {
            let left = self.drain.line_left(began, Instant::now());
            if left.is_zero() {
                break;
            }
            if self.wait(Some(input), Some(left))? && self.copy_block(input, lines, 1)? == Some(0) {
                return Ok(End::Input);
            }
        }
        Ok(End::Signal)
    }

    /// Reads once and hands over the lines that this completes. The result is that of
    /// [`Input::read`].
    fn copy_block(
        &mut self,
        input: &Input,
        lines: &mut Lines,
        bytes_max: usize,
    ) -> io::Result<Option<usize>> {
        let space = lines.space();
        let bytes_max = bytes_max.min(space.len());
        let bytes = input.read(&mut space[..bytes_max])?;
        lines.filled(bytes.unwrap_or(0));
        while let Some(line) = lines.next() {
            self.hand_over(input.name(), &line);
        }
        // Only now: lines may have waited for memory, and the input was not silent meanwhile.
        if bytes.is_some() {
            self.drain.hear(Instant::now());
        }
        Ok(bytes)
    }

    fn hand_over(&mut self, input_name: &str, line: &Line<'_>) {
        self.summary.read += Count { records: 1, bytes: line.bytes };
        let result = match &line.text {
            Some(text) => self.write(text),
            None => Err(WriteError::TooLarge),
        };
        if let Err(error) = result {
            self.refuse(input_name, line, error);
        }
    }

    fn write(&mut self, line: &[u8]) -> Result<(), WriteError> {
        match self.producer.write(line) {
            Err(WriteError::Full | WriteError::DiskGuard | WriteError::OutOfMemory)
                if !self.args.drops_when_full() =>
            {
                self.write_waiting(line)
            }
            result => result,
        }
    }

    /// Writes a line once there is memory and room on the disk, or gives up when no time is left.
    #[cold]
    fn write_waiting(&mut self, line: &[u8]) -> Result<(), WriteError> {
        loop {
            let left = self.left();
            match self.producer.write_timeout(line, left.min(SLICE)) {
                Err(WriteError::Full) if !left.is_zero() => self.look_for_signals(Duration::ZERO),
                // The writer does not wait for room on the disk, nor for the system's memory.
                Err(WriteError::DiskGuard | WriteError::OutOfMemory) if !left.is_zero() => {
                    self.look_for_signals(left.min(SLICE));
                }
                result => return result,
            }
        }
    }

    #[cold]
    fn refuse(&mut self, input_name: &str, line: &Line<'_>, error: WriteError) {
        self.summary.refused += Count { records: 1, bytes: line.bytes };
        if error == WriteError::DiskGuard {
            self.summary.refused_by_guard += Count { records: 1, bytes: line.bytes };
        }
        match error {
            // Dropped as requested, or time was over. The summary reports it, and the monitor
            // during the run.
            WriteError::Full | WriteError::DiskGuard | WriteError::OutOfMemory => {}
            WriteError::TooLarge => console::report(format_args!(
                "{input_name}, line {}: {} bytes are more than the writer's memory holds ({}); refused",
                line.number,
                line.bytes,
                self.args.line_bytes_max(),
            )),
            // The error is permanent, so there is no point in reading further.
            _ => {
                if !self.left().is_zero() {
                    self.io_error(format_args!("{input_name}, line {}: {error}", line.number));
                    self.drain.give_up();
                }
            }
        }
    }

    /// Waits and handles signals. Returns whether the input can be read now.
    pub(super) fn wait(
        &mut self,
        input: Option<&Input>,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        let arrived = self.signals.wait(input, timeout)?;
        if let Some(name) = arrived.stop {
            console::detail(format_args!("{name}"));
            if self.drain.is_reading() {
                self.summary.stopped_by.get_or_insert(name);
            }
            self.drain.stop(Instant::now());
        }
        // After the reading all is published anyway.
        if arrived.publish && self.drain.is_reading() {
            console::detail("SIGHUP: publishing all lines");
            self.monitor.publish();
        }
        Ok(arrived.input)
    }

    pub(super) fn look_for_signals(&mut self, timeout: Duration) {
        // If the system refuses, the next slice tries again.
        let _ = self.wait(None, Some(timeout));
    }
}
