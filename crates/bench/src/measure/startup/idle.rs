//! An idle writer with the defaults: its memory, and how often its threads wake up. A process with a writer is
//! compared with the same process without one.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bufferedwriter::BufferedWriter;
use serde::{Deserialize, Serialize};

use super::new_close::defaults;
use crate::bench::Bench;
use crate::measure::child;
use crate::report::Idle;
use crate::system::machine::field;
use crate::system::scratch::Scratch;

/// One process's job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    dir: PathBuf,
    has_writer: bool,
    seconds: f64,
}

impl child::Job for Job {
    const KIND: &'static str = "idle";
    type Answer = Seen;

    fn run(&self) -> io::Result<Seen> {
        look(self)
    }
}

/// What a process measures of itself.
#[derive(Serialize, Deserialize)]
pub struct Seen {
    resident_kib: u64,
    private_kib: u64,
    threads: u64,
    wakeups_fresh: u64,
    wakeups_after_traffic: u64,
}

pub fn measure(bench: &Bench) -> io::Result<Idle> {
    let seconds = bench.full_or_quick(5.0, 1.0);
    let ask = |has_writer| {
        let scratch = bench.scratch();
        let job = Job { dir: scratch.path().into(), has_writer, seconds };
        child::answer(&job, Duration::from_secs(60))
    };
    let (with, without) = (ask(true)?, ask(false)?);
    Ok(Idle {
        with_kib: with.resident_kib,
        without_kib: without.resident_kib,
        private_with_kib: with.private_kib,
        private_without_kib: without.private_kib,
        threads: with.threads - without.threads,
        seconds,
        wakeups_fresh: with.wakeups_fresh,
        wakeups_after_traffic: with.wakeups_after_traffic,
    })
}

/// In a process of its own.
fn look(job: &Job) -> io::Result<Seen> {
    let scratch = Scratch::new(&job.dir)?;
    let writer = if job.has_writer {
        let writer = BufferedWriter::new(defaults(&scratch));
        Some(writer.map_err(io::Error::other)?)
    } else {
        None
    };
    // Until the new threads have gone to sleep.
    std::thread::sleep(Duration::from_millis(300));
    let status = read("/proc/self/status")?;
    let rollup = read("/proc/self/smaps_rollup")?;
    let get = |text: &str, name| {
        field(text, name).ok_or_else(|| io::Error::other(format!("there is no {name}")))
    };
    let resident_kib = get(&status, "VmRSS")?;
    let private_kib = get(&rollup, "Private_Clean")? + get(&rollup, "Private_Dirty")?;
    let wakeups_fresh = wakeups_while_idle(job.seconds)?;
    if let Some(writer) = &writer {
        for _ in 0..1000 {
            writer.write(b"a record that ends the idle time\n")?;
        }
        writer.flush(Duration::from_secs(5)).map_err(io::Error::other)?;
        std::thread::sleep(Duration::from_secs(1));
    }
    let wakeups_after_traffic = wakeups_while_idle(job.seconds)?;
    if let Some(writer) = writer {
        writer.close(Duration::from_secs(5)).map_err(io::Error::other)?;
    }
    let threads = get(&status, "Threads")?;
    Ok(Seen { resident_kib, private_kib, threads, wakeups_fresh, wakeups_after_traffic })
}

fn wakeups_while_idle(seconds: f64) -> io::Result<u64> {
    let before = switches_of_others()?;
    std::thread::sleep(Duration::from_secs_f64(seconds));
    Ok(switches_of_others()? - before)
}

/// Context switches, voluntary or not, of the other threads of this process so far.
fn switches_of_others() -> io::Result<u64> {
    // SAFETY: it reads a number.
    let this = unsafe { libc::gettid() }.to_string();
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?;
        if task.file_name().to_str() == Some(this.as_str()) {
            continue;
        }
        let status = read(task.path().join("status"))?;
        sum += field(&status, "voluntary_ctxt_switches").unwrap_or(0);
        sum += field(&status, "nonvoluntary_ctxt_switches").unwrap_or(0);
    }
    Ok(sum)
}

fn read(path: impl AsRef<std::path::Path>) -> io::Result<String> {
    std::fs::read_to_string(&path)
        .map_err(|error| io::Error::other(format!("{}: {error}", path.as_ref().display())))
}
