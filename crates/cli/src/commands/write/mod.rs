//! The run: inputs -> lines -> producer, until the end or a signal, then the drain.
//!
//! Guarantees: every line that was read counts as written, refused or lost. A signal is answered
//! within one slice of waiting, whatever the input, the disk and the outputs do.

pub(crate) mod args;
mod drain;
mod dump;
mod hook;
pub(crate) mod metrics;
mod monitor;
mod progress;
mod reading;
pub(crate) mod reload;
mod summary;
mod watch;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::net::TcpListener;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Config, DumpError, FlushError, Missing, Producer};
use bytesize::ByteSize;

use crate::commands::recover::Told;
use crate::commands::write::args::When;
use crate::commands::write::drain::Drain;
use crate::commands::write::monitor::Monitor;
use crate::commands::write::progress::Progress;
use crate::commands::write::reload::Reload;
use crate::commands::write::summary::Summary;
use crate::console::{self, Descriptor};
use crate::exit;
use crate::inputs::{self, Input, STDIN};
use crate::sys::{self, Signals};

/// How long a wait for memory or the disk may ignore signals.
const SLICE: Duration = Duration::from_millis(100);

/// How long standard output may take in any case.
const STDOUT: Duration = Duration::from_secs(1);

/// Runs the command. Returns the exit code. `reload`: what SIGHUP reads anew, if there is a file of options.
pub(crate) fn run(args: &args::Write, reload: Option<Reload>) -> u8 {
    let started = Instant::now();
    if args.is_verbose() {
        console::tell_details();
    }
    let mut run = match Run::start(args, reload) {
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
    run.copy_all();
    run.close();
    run.summary.elapsed = started.elapsed();
    console::end_progress();
    if args.is_json() {
        run.print_json();
    } else if !args.is_quiet() {
        console::report(&run.summary);
    }
    run.summary.exit_code()
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
    told: Told,
    drain: Drain,
    summary: Summary,
}

impl<'a> Run<'a> {
    /// Does everything that can fail before the first line. An error has its exit code.
    fn start(args: &'a args::Write, reload: Option<Reload>) -> Result<Self, (String, u8)> {
        // First, so that from here on a signal drains.
        let signals = Signals::catch(args.ignores_interrupts())
            .map_err(|error| (format!("catch signals: {error}"), exit::IO))?;
        // Before the writer, whose state file would stay if the port is in use.
        let listener = listen(args)?;
        let writer = open_writer(args, args.config())?;
        tell_missing(writer.stats().missing);
        let options = monitor::Options {
            deadline: args.deadline(),
            drops: args.drops_when_full(),
            progress: shows_progress(args).then(|| Progress::new(&args.inputs())),
            told: Told::default(),
            has_no_hook: !args.has_hook(),
            records: args.records(),
            reload,
        };
        let told = options.told.clone();
        let monitor = Monitor::start(writer.clone(), options)
            .map_err(|error| (format!("start a thread: {error}"), exit::IO))?;
        if let Some(listener) = listener {
            serve_metrics(args, listener, &writer)?;
        }
        let producer = writer.producer();
        console::detail(format_args!(
            "writing to {}, temp files in {}; workers: {}; memory: {} at most",
            args.path().display(),
            writer.stats().temp_dir.display(),
            writer.stats().workers.len(),
            ByteSize(writer.stats().memory_bound_bytes as u64).display().iec(),
        ));
        let drain = Drain::new(args.grace(), args.deadline());
        let summary = Summary { path: args.path().to_owned(), ..Summary::default() };
        Ok(Run { args, writer, producer, signals, monitor, told, drain, summary })
    }

    /// Copies all inputs, or those up to a signal.
    fn copy_all(&mut self) {
        for path in self.args.inputs() {
            if self.drain.is_stopping() {
                break;
            }
            match Input::open(&path, self.args.keeps_open()) {
                Ok(input) => {
                    console::detail(format_args!("reading {}", input.name()));
                    self.copy(&input);
                }
                Err(message) => self.io_error(message),
            }
        }
        console::detail(format_args!("the reading is over: {} lines", self.summary.read.records));
        // All inputs are closed by now.
        inputs::release_stdin();
        self.drain.end_reading(Instant::now());
    }

    /// Publishes everything while time is left, and closes the writer.
    fn close(&mut self) {
        if self.args.records() {
            self.dump();
        }
        // In slices, since `close` can't be told of a second signal.
        while !self.args.records() && !self.left().is_zero() {
            match self.writer.flush(self.left().min(SLICE)) {
                Ok(()) | Err(FlushError::Closed) => break,
                Err(_) => self.look_for_signals(Duration::ZERO),
            }
        }
        while self.has_unacknowledged() && !self.left().is_zero() {
            self.look_for_signals(SLICE);
        }
        match self.writer.close(self.left()) {
            Ok(report) => self.summary.settle(&report),
            Err(error) => {
                self.summary.settle(error.report());
                self.io_error(error);
            }
        }
        let stats = self.writer.stats();
        let deleted = stats.retention.as_ref();
        self.summary.deleted = deleted.map(|told| (told.files_deleted, told.bytes_deleted));
        if self.args.compresses() {
            let times = stats.workers.iter().map(|worker| worker.codec_time);
            self.summary.codec_times = Some((times.clone().sum(), times.max().unwrap_or_default()));
        }
        // The final counts, since the monitor may have missed the latest ones.
        let lost = &self.summary.lost;
        let gone = (lost.temp_file_removed + lost.temp_file_damaged).records;
        console::keep_all();
        // The close has waited for the recovery, if there was time. Its errors are not errors of
        // this run.
        self.told.tell(self.writer.recovery());
        if gone > 0 {
            let temp_dir = stats.temp_dir.display();
            self.io_error(format_args!(
                "temp files in {temp_dir} were removed or truncated: {gone} lines lost"
            ));
        }
        let unacknowledged = self.summary.unacknowledged;
        if unacknowledged > 0 {
            self.io_error(format_args!(
                "files without a line in the manifest or a successful --on-publish: {unacknowledged}; \
                 the next run goes on with them"
            ));
        }
        let gone = stats.publishing.map_or(0, |told| told.gone);
        if gone > 0 {
            self.io_error(format_args!(
                "--on-publish failed for files that no longer existed: {gone}"
            ));
        }
        let gave_up = self.summary.lost.gave_up.records;
        if gave_up > 0 {
            self.io_error(format_args!("gave up on the disk: {gave_up} lines lost"));
        }
        for (what, error) in monitor::aftercare_errors(&stats) {
            self.io_error(format_args!("{what}: {error}"));
        }
    }

    /// Publishes what a flight recorder holds. The close tries again, if there is time.
    fn dump(&mut self) {
        let (writer, left) = (self.writer.clone(), self.left());
        let look = || {
            self.look_for_signals(Duration::ZERO);
            self.left()
        };
        match dump::dump(&writer, left, SLICE, look) {
            Ok(()) | Err(DumpError::Closed) => {}
            Err(error) => self.io_error(error),
        }
    }

    /// Whether published files wait for the manifest or for `--on-publish`.
    fn has_unacknowledged(&self) -> bool {
        let publishing = self.writer.stats().publishing;
        publishing.is_some_and(|told| told.unlisted + told.unacknowledged > 0)
    }

    /// Prints the summary for machines while time is left, or within a second. A thread of its own
    /// waits for a reader, so that a signal is answered meanwhile.
    fn print_json(&mut self) {
        let text = format!("{}\n", self.summary.json());
        let (done, result) = channel();
        let began = Instant::now();
        let print = move || {
            // Nobody receives it once time is over.
            let _ = done.send(Descriptor::stdout().write_all(text.as_bytes()));
        };
        let mut printed = sys::spawn("stdout", print).map(drop);
        while printed.is_ok() {
            match result.recv_timeout(SLICE) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => printed = Err(error),
                Err(RecvTimeoutError::Timeout) if !self.left().is_zero() => {
                    self.look_for_signals(Duration::ZERO);
                }
                Err(_) if began.elapsed() < STDOUT => {}
                Err(_) => printed = Err(io::Error::other("nobody reads it")),
            }
        }
        // A program that reads the summary must not mistake its absence for success.
        if let Err(error) = printed {
            self.io_error(format_args!("write the summary to standard output: {error}"));
        }
    }

    /// Time left to keep trying.
    fn left(&self) -> Duration {
        self.drain.left(Instant::now())
    }

    fn io_error(&mut self, message: impl Display) {
        self.summary.io_errors += 1;
        console::report(message);
    }
}

/// Takes the port of `--metrics`. An error has its exit code.
fn listen(args: &args::Write) -> Result<Option<TcpListener>, (String, u8)> {
    let told = |error, address| format!("listen at {address} for --metrics: {error}");
    args.metrics()
        .map(|address| TcpListener::bind(address).map_err(|error| (told(error, address), exit::IO)))
        .transpose()
}

/// An error has its exit code.
fn serve_metrics(
    args: &args::Write,
    listener: TcpListener,
    writer: &BufferedWriter,
) -> Result<(), (String, u8)> {
    let (prefix, path) = (args.prefix().to_owned(), args.path().to_owned());
    let served = metrics::Served { writer: writer.clone(), prefix, path };
    let bound = metrics::serve(listener, served)
        .map_err(|error| (format!("serve --metrics: {error}"), exit::IO))?;
    if args.metrics().is_some_and(|address| address.port() == 0) {
        console::report(format_args!("metrics are at http://{bound}/metrics"));
    }
    Ok(())
}

fn open_writer(args: &args::Write, config: Config) -> Result<BufferedWriter, (String, u8)> {
    BufferedWriter::new(config).map_err(|error| {
        if error.path().is_some() {
            let is_missing = error.kind() == io::ErrorKind::NotFound && !args.creates_dirs();
            let hint = if is_missing { "; --create-dirs makes missing directories" } else { "" };
            return (format!("{error}{hint}"), exit::IO);
        }
        // An error without a path is about an option. Name it as on the command line.
        let option = error.operation();
        let flag = match option {
            "compression" => "--compress".to_owned(),
            option => format!("--{}", option.replace('_', "-")),
        };
        (error.to_string().replacen(&format!("option {option}"), &flag, 1), exit::USAGE)
    })
}

/// Progress is shown only on a terminal, and only if no one types the input there, unless it is asked for.
fn shows_progress(args: &args::Write) -> bool {
    let typed =
        || args.inputs().iter().any(|path| path.as_os_str() == STDIN) && io::stdin().is_terminal();
    match args.progress() {
        When::Always => true,
        When::Never => false,
        When::Auto => io::stderr().is_terminal() && !typed() && !args.is_quiet() && !args.is_json(),
    }
}
