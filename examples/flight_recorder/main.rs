//! A service that records debug lines in memory, until the kernel kills it because its memory cgroup is full. After
//! its restart the last 1,000 lines are in a file, counted. No file was made before.
//!
//! Where the system permits no cgroup, the service is killed with SIGKILL instead.
//!
//! `cargo run --example flight_recorder`; it takes a second. `-- --no-cgroup` kills in any case.

mod memory_limit;

use std::error::Error;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Config, CrashProof, Recorder};

use memory_limit::MemoryLimit;

/// The lines that must be there after the death.
const LAST: u64 = 1_000;
/// What the service may use: its memory for lines takes 2 MB of it.
const LIMIT: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [what, directory] if what == "--serve" => serve(Path::new(directory), None),
        [what, directory, cgroup] if what == "--serve" => {
            serve(Path::new(directory), Some(Path::new(cgroup)))
        }
        [what] if what == "--no-cgroup" => drive(None),
        _ => drive(MemoryLimit::new(LIMIT)),
    }
}

fn config(directory: &Path) -> Config {
    Config::default()
        .path(directory.join("ready"))
        .temp(directory.join("unfinished"))
        .create_dirs(true)
        .prefix("debug_")
        .recorder(Recorder::Last(1 << 20))
        .queue_size(64)
        .crash_proof(CrashProof::Auto)
}

/// The service: it records until it is killed. In a cgroup it forgets to free memory.
fn serve(directory: &Path, cgroup: Option<&Path>) -> Result<(), Box<dyn Error>> {
    cgroup.map_or(Ok(()), memory_limit::enter)?;
    let mut leak = Vec::new();
    let recorder = BufferedWriter::new(config(directory))?;
    let mut number = 0_u64;
    loop {
        recorder.record(|line| {
            writeln!(line, "{number} debug: state of the service, in some detail")
        })?;
        number += 1;
        if number == 100_000 {
            // From here on it may be killed. Complete when it is there.
            fs::write(directory.join("ready.new"), "")?;
            fs::rename(directory.join("ready.new"), directory.join("is-busy"))?;
        }
        if number > 100_000 && number % 100 == 0 && cgroup.is_some() {
            leak.push(vec![1_u8; 1 << 20]);
        }
    }
}

fn drive(limit: Option<MemoryLimit>) -> Result<(), Box<dyn Error>> {
    if !Path::new("/dev/shm").is_dir() {
        println!("skipped: there is no /dev/shm");
        return Ok(());
    }
    let name = format!("bufferedwriter-flight-recorder-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir(&directory)?;
    let cgroup = limit.iter().map(MemoryLimit::path);
    let mut service = Command::new(std::env::current_exe()?)
        .arg("--serve")
        .arg(&directory)
        .args(cgroup)
        .spawn()?;
    let began = Instant::now();
    while !directory.join("is-busy").exists() {
        if began.elapsed() > PATIENCE {
            service.kill()?;
            return Err("the service does not come to work".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    let how = if limit.is_some() { "out of memory" } else { "killed with SIGKILL" };
    if limit.is_none() {
        service.kill()?;
    }
    let status = service.wait()?;
    if status.signal() != Some(9) {
        return Err(format!("the service ended otherwise: {status}").into());
    }
    if !files(&directory)?.is_empty() {
        return Err("a recorder made a file that nobody asked for".into());
    }

    // The restart, which finds what the dead one recorded.
    let recorder = BufferedWriter::new(config(&directory))?;
    while recorder.recovery().is_none() && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
    let recovery = recorder.recovery().ok_or("the recovery does not end")?;
    recorder.close(PATIENCE)?;
    let found = files(&directory)?;
    let [file] = &found[..] else { return Err(format!("{} files", found.len()).into()) };
    check(file, recovery.overwritten.records)?;
    println!(
        "{how}; after the restart: {} lines, the newest ones, without a gap; {} older ones were overwritten",
        recovery.records.records, recovery.overwritten.records
    );
    fs::remove_dir_all(&directory)?;
    Ok(())
}

/// Lines follow each other up to the last one, and the first one comes after those that were overwritten.
fn check(file: &Path, overwritten: u64) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(file)?;
    let number = |line: &str| line.split(' ').next().and_then(|word| word.parse::<u64>().ok());
    let mut expected = overwritten;
    for line in text.lines() {
        if number(line) != Some(expected) {
            return Err(format!("{line:?} instead of line {expected}").into());
        }
        expected += 1;
    }
    if expected - overwritten < LAST {
        return Err(format!("only {} lines", expected - overwritten).into());
    }
    Ok(())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let ready = directory.join("ready");
    let entries = fs::read_dir(ready)?.map(|entry| entry.map(|entry| entry.path()));
    Ok(entries.collect::<Result<_, _>>()?)
}
