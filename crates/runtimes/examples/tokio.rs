//! A service on tokio that loses nothing when a signal ends it.
//!
//! Each task writes with `write`, which waits for nothing, or with `write_async`, which waits until
//! memory is free and leaves the thread to other tasks. At SIGTERM or Ctrl-C the tasks end, and
//! `close_async` publishes the rest while timers and connections go on. The last handle is dropped
//! after the close, so the drop does not block.
//!
//! `cargo run -p bufferedwriter-runtimes --example tokio` writes to the directory
//! `bufferedwriter-tokio` in the system's temp directory, until it gets a signal. With `-- DIR 1000`
//! it also ends after 1000 requests to each of its tasks.

use std::path::PathBuf;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config, WriteError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long an end may take on a disk that hangs. An init system kills after 10 to 90 seconds.
const PATIENCE: Duration = Duration::from_secs(5);

const TASKS: u32 = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments
        .next()
        .map_or_else(|| std::env::temp_dir().join("bufferedwriter-tokio"), PathBuf::from);
    let requests = arguments.next().map(|n| n.to_string_lossy().parse()).transpose()?;
    let config = Config::default()
        .path(directory.join("ready"))
        .temp(directory.join("unfinished"))
        .create_dirs(true);
    let writer = BufferedWriter::new(config)?;

    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(serve(task, requests.unwrap_or(u64::MAX), writer.clone(), stopped.clone()));
    }

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = async { while tasks.join_next().await.is_some() {} } => {}
    }
    // The tasks end at their next request, and give their handles back.
    let _ = stop.send(true);
    while tasks.join_next().await.is_some() {}

    let report = writer.close_async(PATIENCE).await?;
    println!("{} records in {} files", report.written.records, report.files);
    Ok(())
}

async fn serve(task: u32, requests: u64, writer: BufferedWriter, stopped: watch::Receiver<bool>) {
    for request in 0..requests {
        if *stopped.borrow() {
            return;
        }
        let line = format!("task {task} served request {request}\n");
        match writer.write_async(line.as_bytes()).await {
            Ok(()) => {}
            // Somebody else has closed it.
            Err(WriteError::Closed) => return,
            Err(error) => eprintln!("{error}"),
        }
        tokio::task::yield_now().await;
    }
}
