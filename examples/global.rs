//! One writer for the whole program, in a static.
//!
//! A static is never dropped, so nobody closes the writer unless `main` does. Without the last
//! lines here, the program loses what is in memory at its end. That is up to `size` bytes per
//! thread, and what waits for the workers. No report tells of the loss, and the temp files stay
//! behind.
//!
//! `cargo run --example global` writes to the directory `bufferedwriter-global` in the system's temp
//! directory.

use std::sync::OnceLock;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config, WriteError};

static ACCESS_LOG: OnceLock<BufferedWriter> = OnceLock::new();

/// Called from anywhere. A record for which there is no memory is dropped: the writer counts it.
fn log_access(method: &str, path: &str, status: u16) {
    let Some(writer) = ACCESS_LOG.get() else { return };
    match writer.record(|w| writeln!(w, "{method} {path} {status}")) {
        Ok(()) | Err(WriteError::Full | WriteError::Closed) => {}
        Err(error) => eprintln!("access log: {error}"),
    }
}

fn serve(worker: usize) {
    for request in 0..1000 {
        log_access("GET", &format!("/worker/{worker}/item/{request}"), 200);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join("bufferedwriter-global");
    let config = Config::default()
        .path(directory.join("ready"))
        .temp(directory.join("unfinished"))
        .create_dirs(true)
        .prefix("access_");
    let writer = ACCESS_LOG.get_or_init(|| BufferedWriter::new(config).expect("the access log"));

    let threads: Vec<_> = (0..4).map(|n| std::thread::spawn(move || serve(n))).collect();
    for thread in threads {
        thread.join().expect("a thread of the service");
    }

    // Not a matter of taste: see above. Later calls of `log_access` are refused and counted.
    let report = writer.close(Duration::from_secs(5))?;
    println!(
        "{} records in {} files in {}; refused {}, lost {}",
        report.written.records,
        report.files,
        directory.join("ready").display(),
        report.refused.total().records,
        report.lost.total().records,
    );
    Ok(())
}
