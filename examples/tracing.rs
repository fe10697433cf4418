//! Events of `tracing`, one event one record. The subscriber has formatted an event before it writes
//! it, and what is refused is dropped: the writer counts it, and the end tells.
//!
//! `cargo run --example tracing` writes to the directory `bufferedwriter-tracing` in the system's temp
//! directory.

use std::sync::Arc;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join("bufferedwriter-tracing");
    let writer = BufferedWriter::new(
        Config::default()
            .path(directory.join("ready"))
            .temp(directory.join("unfinished"))
            .create_dirs(true)
            .prefix("events_"),
    )?;

    // An `Arc` of what `&T: io::Write` is for: no clone and no lock per event.
    tracing_subscriber::fmt()
        .with_writer(Arc::new(writer.clone()))
        .with_ansi(false)
        // A refused event would be told of on stderr, once each.
        .log_internal_errors(false)
        .init();

    let threads: Vec<_> = (0..4)
        .map(|thread| {
            std::thread::spawn(move || {
                let span = tracing::info_span!("worker", thread);
                let _entered = span.enter();
                for item in 0..1000 {
                    tracing::info!(item, "done");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a thread of the service");
    }

    // The subscriber is global and keeps its clone for ever: close by hand.
    let report = writer.close(Duration::from_secs(5))?;
    println!(
        "{} events in {} files in {}; refused: full {}, too large {}; lost {}",
        report.written.records,
        report.files,
        directory.join("ready").display(),
        report.refused.full.records,
        report.refused.too_large.records,
        report.lost.total().records,
    );
    Ok(())
}
