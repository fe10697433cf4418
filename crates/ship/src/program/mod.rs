//! Runs a shipper, and tells.

pub(crate) mod args;
mod output;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter_ship::{Destination, Error, Report, Running, Shipper};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::program::args::Args;
use crate::program::output::Progress;

/// Each file that was found has its object.
const SHIPPED: u8 = 0;
/// Some file is left, or differs from its object.
const LEFT: u8 = 1;
/// An option is wrong. clap exits with this code too.
const USAGE: u8 = 2;

const LOOK_EVERY: Duration = Duration::from_millis(50);
const METRICS_EVERY: Duration = Duration::from_secs(10);

/// Returns the exit code.
pub(crate) fn run(args: &Args) -> u8 {
    // Before there is another thread, so that each signal comes here.
    let signals = match signals() {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("signals: {error}")),
    };
    let running = match start(args) {
        Ok(running) => running,
        Err(error) => return refuse(&error.to_string()),
    };
    let report = watch(running, args, &signals);
    if let Some(path) = &args.metrics {
        told(output::metrics(path, &report.stats), path);
    }
    if args.json {
        output::json(&report);
    }
    if !args.quiet {
        output::summary(&report);
    }
    if report.is_complete() { SHIPPED } else { LEFT }
}

fn refuse(error: &str) -> u8 {
    eprintln!("bufferedwriter-ship: {error}");
    USAGE
}

fn start(args: &Args) -> Result<Running, Error> {
    let destination = Destination::open(&args.to, &args.access())?;
    let mut shipper = Shipper::new(args.config(), destination)?;
    if !args.files.is_empty() {
        shipper = shipper.only(args.files.iter().cloned())?;
    }
    shipper.spawn(args.until())
}

/// Until it ends: by itself, or by a signal.
fn watch(running: Running, args: &Args, signals: &Receiver<()>) -> Report {
    let shows = io::stderr().is_terminal() && !args.quiet;
    let mut progress = shows.then(Progress::new);
    let mut metrics_at = Instant::now();
    let mut stop_within = args.stop_within;
    while !running.is_finished() {
        match signals.recv_timeout(LOOK_EVERY) {
            Ok(()) => {
                running.ask_to_stop(stop_within);
                stop_within = Duration::ZERO;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK_EVERY),
        }
        let stats = running.stats();
        if let Some(progress) = &mut progress {
            progress.show(&stats);
        }
        if let Some(path) = args.metrics.as_ref().filter(|_| Instant::now() >= metrics_at) {
            metrics_at = Instant::now() + METRICS_EVERY;
            told(output::metrics(path, &stats), path);
        }
    }
    running.wait()
}

fn told(result: io::Result<()>, path: &Path) {
    if let Err(error) = result {
        eprintln!("bufferedwriter-ship: write {}: {error}", path.display());
    }
}

fn signals() -> io::Result<Receiver<()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (tell, told) = channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            if tell.send(()).is_err() {
                return;
            }
        }
    })?;
    Ok(told)
}
