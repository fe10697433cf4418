//! How a program ends without losing what it logged: by itself, by a signal, by a panic.
//!
//! The library installs no signal handler and no panic hook: which signals end a program is the
//! program's business. What is in memory when a process ends without `close` is gone, and its temp
//! files stay for the next start. So:
//!
//! - a thread waits for SIGTERM and SIGINT, as a byte in a pipe, since a handler itself may do next
//!   to nothing. It closes the writer, with a deadline, then ends the process;
//! - a panic hook flushes, with a deadline: it runs also where a panic aborts. A panic of one thread
//!   need not end the others, so it does not close;
//! - `main` closes, by a guard, so that it does so when it unwinds and returns early, too.
//!
//! Nothing can catch SIGKILL or a loss of power: see `Config::crash_proof` and `Config::durability`.
//!
//! `cargo run --example shutdown` writes to the directory `bufferedwriter-shutdown` in the system's
//! temp directory, until it gets a signal. With `-- DIR exit` and `-- DIR panic` it ends by itself.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config, WriteError};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static LOG: OnceLock<BufferedWriter> = OnceLock::new();

/// How long an end may take on a disk that hangs. An init system kills after 10 to 90 seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes everything and says how much there was; what could not be saved is an error to tell.
fn close(writer: &BufferedWriter) {
    match writer.close(PATIENCE) {
        Ok(report) => println!("{}", report.written.records),
        Err(error) => eprintln!("{error}"),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments
        .next()
        .map_or_else(|| std::env::temp_dir().join("bufferedwriter-shutdown"), PathBuf::from);
    let end = arguments.next().unwrap_or_default();

    // Before any thread is started, so that none misses them.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let config = Config::default()
        .path(directory.join("ready"))
        .temp(directory.join("unfinished"))
        .create_dirs(true);
    let writer = LOG.get_or_init(|| BufferedWriter::new(config).expect("the log"));

    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            close(writer);
            // As a shell reports a signal.
            std::process::exit(128 + signal);
        }
    });

    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let _ = writer.write(b"the program panicked\n");
        if let Err(error) = writer.flush(PATIENCE) {
            eprintln!("the log is not complete: {error}");
        }
        before(panic);
    }));

    // Unwinding drops no static; and an early return must not forget it either.
    let _closes = AtExit(writer);
    for request in 0.. {
        match writer.record(|w| writeln!(w, "request {request}")) {
            // Dropped and counted, or the program is about to end.
            Ok(()) | Err(WriteError::Full | WriteError::Closed) => {}
            Err(error) => eprintln!("{error}"),
        }
        if request == 1000 {
            std::fs::write(directory.join("started"), "")?;
        }
        if request >= 1000 && end == "exit" {
            break;
        }
        if request >= 1000 && end == "panic" {
            panic!("on purpose");
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

/// Closes at the end of `main`, however that comes.
struct AtExit(&'static BufferedWriter);

impl Drop for AtExit {
    fn drop(&mut self) {
        close(self.0);
    }
}
