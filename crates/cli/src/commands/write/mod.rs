//! The run: inputs -> lines -> producer, until the end or a signal, then the drain.
//!
//! Guarantees: every line that was read counts as written, refused or lost. A signal is answered
//! within one slice of waiting, whatever the input and the disk do.

pub(crate) mod args;
mod monitor;
mod signals;
mod summary;
mod watch;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Config, Count, FlushError, Missing, Producer, WriteError};

use crate::commands::recover;
use crate::commands::write::args::WhenFull;
use crate::commands::write::monitor::Monitor;
use crate::commands::write::signals::Signals;
use crate::commands::write::summary::Summary;
use crate::console;
use crate::exit;
use crate::inputs::lines::{Line, Lines};
use crate::inputs::{Input, STDIN};

/// Large enough to make system calls cheap, small enough for the processor's cache.
const BLOCK_BYTES: usize = 256 << 10;

/// How long a wait for memory or the disk may ignore signals.
const SLICE: Duration = Duration::from_millis(100);

/// Runs the command. Returns the exit code.
pub(crate) fn run(args: &args::Write) -> u8 {
    let started = Instant::now();
    let run = match Run::start(args) {
        Ok(run) => run,
        Err((message, exit::USAGE)) => {
            console::report_usage(message);
            return exit::USAGE;
        }
        Err((message, code)) => {
            console::report(message);
            return code;
        }
    };
    let mut summary = run.copy_all();
    summary.elapsed = started.elapsed();
    console::end_progress();
    if args.json {
        if let Err(error) = writeln!(io::stdout(), "{}", summary.json()) {
            // A program that reads the summary must not mistake its absence for success.
            console::report(format_args!("write the summary to standard output: {error}"));
            summary.io_errors += 1;
        }
    } else if !args.quiet {
        console::report(&summary);
    }
    summary.exit_code()
}

/// What the operator should know before a crash shows it.
fn tell_missing(missing: Missing) {
    if missing.locks {
        console::report("the file system has no locks: what a crash leaves can't be recovered");
    }
    if missing.permissions {
        console::report("the file system can't set permissions: files have its own");
    }
}

struct Run<'a> {
    args: &'a args::Write,
    writer: BufferedWriter,
    producer: Producer,
    signals: Signals,
    monitor: Monitor,
    drain: Drain,
    summary: Summary,
}

/// Whether to continue reading, and how long to keep trying.
#[derive(Debug, Default)]
struct Drain {
    /// Number of SIGTERM and SIGINT so far. The first ends the reading, the second everything.
    stops: usize,
    /// When the drain began, and its time limit.
    began: Option<(Instant, Duration)>,
}

impl Drain {
    fn begin(&mut self, deadline: Duration) {
        self.began.get_or_insert_with(|| (Instant::now(), deadline));
    }

    fn give_up(&mut self) {
        self.stops = self.stops.max(2);
    }

    fn is_stopping(&self) -> bool {
        self.stops > 0
    }

    /// Time left to keep trying: none after a second signal, unlimited before the drain.
    fn left(&self) -> Duration {
        match self.began {
            _ if self.stops > 1 => Duration::ZERO,
            Some((at, deadline)) => deadline.saturating_sub(at.elapsed()),
            None => Duration::MAX,
        }
    }
}

impl<'a> Run<'a> {
    /// Does everything that can fail before the first line. An error has its exit code.
    fn start(args: &'a args::Write) -> Result<Self, (String, u8)> {
        // First, so that from here on a signal drains.
        let signals =
            Signals::catch().map_err(|error| (format!("catch signals: {error}"), exit::IO))?;
        let writer = open_writer(args.config())?;
        tell_missing(writer.stats().missing);
        let options = monitor::Options {
            deadline: args.deadline,
            drops: args.when_full == WhenFull::Drop,
            progress: shows_progress(args),
        };
        let monitor = Monitor::start(writer.clone(), options)
            .map_err(|error| (format!("start a thread: {error}"), exit::IO))?;
        let producer = writer.producer();
        let (drain, summary) = (Drain::default(), Summary::default());
        Ok(Run { args, writer, producer, signals, monitor, drain, summary })
    }

    /// Copies all inputs, or those up to a signal, and drains.
    fn copy_all(mut self) -> Summary {
        for path in self.args.inputs() {
            if self.drain.is_stopping() {
                break;
            }
            match Input::open(&path) {
                Ok(input) => self.copy(&input),
                Err(message) => self.io_error(message),
            }
        }
        self.close()
    }

    /// Copies all lines of one input, or those up to a signal.
    fn copy(&mut self, input: &Input) {
        let mut lines = Lines::new(BLOCK_BYTES, self.args.line_bytes_max());
        if let Err(error) = self.copy_blocks(input, &mut lines) {
            self.io_error(format_args!("read {}: {error}", input.name()));
        }
        // Also after a signal or an error, or the last line would vanish.
        if let Some(line) = lines.finish() {
            self.hand_over(input.name(), &line);
        }
    }

    fn copy_blocks(&mut self, input: &Input, lines: &mut Lines) -> io::Result<()> {
        while !self.drain.is_stopping() {
            if self.wait(Some(input), None)?
                && self.copy_block(input, lines, usize::MAX)? == Some(0)
            {
                return Ok(());
            }
        }
        // A pipe's contents vanish with its last reader, and may be the last words of a program
        // that has ended. Read only what it holds now: a busy writer would keep the program running
        // without end.
        let mut left = input.bytes_in_flight();
        while left > 0
            && !self.drain.left().is_zero()
            && self.wait(Some(input), Some(Duration::ZERO))?
        {
            match self.copy_block(input, lines, left)? {
                Some(0) | None => break,
                Some(bytes) => left -= bytes,
            }
        }
        Ok(())
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
                if self.args.when_full == WhenFull::Wait =>
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
            let left = self.drain.left();
            match self.producer.write_timeout(line, left.min(SLICE)) {
                Err(WriteError::Full) if !left.is_zero() => self.look_for_signals(Duration::ZERO),
                // The writer does not wait for room on the disk, nor for the system's memory, so
                // wait here.
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
                if !self.drain.left().is_zero() {
                    self.io_error(format_args!("{input_name}, line {}: {error}", line.number));
                    self.drain.give_up();
                }
            }
        }
    }

    /// Waits and handles signals. Returns whether the input can be read now.
    fn wait(&mut self, input: Option<&Input>, timeout: Option<Duration>) -> io::Result<bool> {
        let arrived = self.signals.wait(input.map(Input::fd), timeout)?;
        let is_reading = self.drain.began.is_none();
        if arrived.stops > 0 {
            if is_reading {
                self.summary.stopped_by = arrived.stop_name;
            }
            self.drain.begin(self.args.deadline);
            self.drain.stops += arrived.stops;
        }
        // The drain publishes anyway.
        if arrived.publish && is_reading {
            self.monitor.publish();
        }
        Ok(arrived.input)
    }

    fn look_for_signals(&mut self, timeout: Duration) {
        // If the system refuses, the next slice tries again.
        let _ = self.wait(None, Some(timeout));
    }

    /// Publishes everything while time is left, and closes the writer.
    fn close(mut self) -> Summary {
        self.drain.begin(self.args.deadline);
        // In slices, since `close` can't be told of a second signal.
        while !self.drain.left().is_zero() {
            match self.writer.flush(self.drain.left().min(SLICE)) {
                Ok(()) | Err(FlushError::Closed) => break,
                Err(_) => self.look_for_signals(Duration::ZERO),
            }
        }
        match self.writer.close(self.drain.left()) {
            Ok(report) => self.summary.settle(&report),
            Err(error) => {
                self.summary.settle(error.report());
                self.io_error(error);
            }
        }
        // The final counts, since the monitor may have missed the latest ones.
        let removed = self.summary.lost.temp_file_removed.records;
        // The close has waited for the recovery, if there was time. Its errors are not errors of
        // this run.
        if let Some(recovery) = self.writer.recovery() {
            recover::tell(&recovery);
        }
        if removed > 0 {
            let temp_dir = self.writer.stats().temp_dir.display().to_string();
            self.io_error(format_args!(
                "temp files in {temp_dir} were removed: {removed} lines lost"
            ));
        }
        let gave_up = self.summary.lost.gave_up.records;
        if gave_up > 0 {
            self.io_error(format_args!("gave up on the disk: {gave_up} lines lost"));
        }
        self.summary
    }

    fn io_error(&mut self, message: impl Display) {
        self.summary.io_errors += 1;
        console::report(message);
    }
}

fn open_writer(config: Config) -> Result<BufferedWriter, (String, u8)> {
    BufferedWriter::new(config).map_err(|error| {
        if error.path().is_some() {
            return (error.to_string(), exit::IO);
        }
        // An error without a path is about an option. Name it as on the command line.
        let option = error.operation();
        let flag = format!("--{}", option.replace('_', "-"));
        (error.to_string().replacen(&format!("option {option}"), &flag, 1), exit::USAGE)
    })
}

/// Progress is shown only on a terminal, and only if no one types the input there.
fn shows_progress(args: &args::Write) -> bool {
    let typed =
        args.inputs().iter().any(|path| path.as_os_str() == STDIN) && io::stdin().is_terminal();
    io::stderr().is_terminal() && !typed && !args.quiet && !args.json
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(1000);

    #[test]
    fn the_first_stop_ends_the_reading_and_the_second_everything() {
        let mut drain = Drain::default();
        assert_eq!((drain.is_stopping(), drain.left()), (false, Duration::MAX));
        drain.begin(DEADLINE);
        drain.stops += 1;
        assert!(drain.is_stopping() && drain.left() > Duration::ZERO && drain.left() <= DEADLINE);
        drain.stops += 1;
        assert_eq!(drain.left(), Duration::ZERO);
    }

    #[test]
    fn a_first_stop_after_the_end_of_the_input_leaves_the_drain_its_time() {
        let mut drain = Drain::default();
        drain.begin(DEADLINE);
        drain.stops += 1;
        drain.begin(Duration::ZERO);
        assert!(drain.left() > Duration::ZERO, "the first deadline holds");
        drain.give_up();
        assert_eq!(drain.left(), Duration::ZERO);
    }
}
