//! A service whose debug events stay in memory, until the kernel kills it because its memory cgroup is full. After its
//! restart the last 1,000 events are in a file.
//!
//! Where the system permits no cgroup, the service is killed with SIGKILL instead.
//!
//! `cargo run -p bufferedwriter-tracing --example recorder`; it takes a second.

#[path = "../../../examples/flight_recorder/memory_limit.rs"]
mod memory_limit;

use std::error::Error;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Config, CrashProof, DumpOptions, Recorder};
use bufferedwriter_testkit::dir::paths_below;
use serde_json::Value;
use tracing::Level;
use tracing_subscriber::prelude::*;

use memory_limit::MemoryLimit;

/// The events that must be there after the death.
const LAST: usize = 1_000;
const LIMIT: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match &args[..] {
        [directory] => serve(directory, None),
        [directory, cgroup] => serve(directory, Some(cgroup)),
        _ => drive(),
    }
}

fn config(directory: &Path) -> Config {
    Config::default()
        .path(directory.join("ready"))
        .temp(directory.join("unfinished"))
        .create_dirs(true)
        .recorder(Recorder::Last(1 << 20))
        .queue_size(64)
        .crash_proof(CrashProof::Auto)
}

/// The service. An error would make it dump, at most once a minute; it meets none, and is killed.
fn serve(directory: &Path, cgroup: Option<&PathBuf>) -> Result<(), Box<dyn Error>> {
    cgroup.map_or(Ok(()), |cgroup| memory_limit::enter(cgroup))?;
    let recorder = BufferedWriter::new(config(directory))?;
    let (layer, _guard) = bufferedwriter_tracing::json(&recorder);
    let minute = Duration::from_secs(60);
    let layer = layer.dump_on(Level::ERROR, minute, DumpOptions::default())?;
    tracing_subscriber::registry().with(layer).init();
    let mut leak = Vec::new();
    for number in 0_u64.. {
        tracing::debug!(number, "state of the service, in some detail");
        if number == 50_000 {
            // From here on it may be killed.
            fs::create_dir(directory.join("is-busy"))?;
        }
        if number > 50_000 && number % 100 == 0 && cgroup.is_some() {
            leak.push(vec![1_u8; 1 << 20]);
        }
    }
    Ok(())
}

fn drive() -> Result<(), Box<dyn Error>> {
    if !Path::new("/dev/shm").is_dir() {
        println!("skipped: there is no /dev/shm");
        return Ok(());
    }
    let name = format!("bufferedwriter-tracing-recorder-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir(&directory)?;
    let limit = MemoryLimit::new(LIMIT);
    let cgroup = limit.iter().map(MemoryLimit::path);
    let program = std::env::current_exe()?;
    let mut service = Command::new(program).arg(&directory).args(cgroup).spawn()?;
    let began = Instant::now();
    while !directory.join("is-busy").exists() {
        if began.elapsed() > PATIENCE {
            service.kill()?;
            return Err("the service does not come to work".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    if limit.is_none() {
        service.kill()?;
    }
    let status = service.wait()?;
    if status.signal() != Some(9) {
        return Err(format!("the service ended otherwise: {status}").into());
    }

    // The restart, which finds what the dead one recorded.
    let recorder = BufferedWriter::new(config(&directory))?;
    while recorder.recovery().is_none() && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
    let recovery = recorder.recovery().ok_or("the recovery does not end")?;
    recorder.close(PATIENCE)?;
    let found = paths_below(&directory.join("ready"));
    let [file] = &found[..] else { return Err(format!("{} files", found.len()).into()) };
    let numbers = fs::read_to_string(file)?
        .lines()
        .map(|line| Ok(serde_json::from_str::<Value>(line)?["fields"]["number"].as_u64()))
        .collect::<Result<Vec<_>, serde_json::Error>>()?;
    let first = recovery.overwritten.records;
    let expected = (first..).map(Some).take(numbers.len());
    if numbers.len() < LAST || !numbers.iter().copied().eq(expected) {
        return Err(format!("{} events, and not the last ones", numbers.len()).into());
    }
    let how = if limit.is_some() { "out of memory" } else { "killed with SIGKILL" };
    println!(
        "{how}; after the restart: {} events, the newest ones, without a gap; {first} older ones were overwritten",
        numbers.len()
    );
    fs::remove_dir_all(&directory)?;
    Ok(())
}
