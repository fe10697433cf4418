//! Rows of a table, each in a process of its own, so that no subject sees what another one left behind:
//! its memory, its threads, its page faults.
//!
//! The program runs itself with the hidden subcommand [`SUBCOMMAND`] and a [`Job`] as JSON; the child
//! prints its answer as a line of JSON. A child that takes far too long is ended, and that is its row's
//! error.

use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{http, landed, quiet, startup, sustained};
use crate::bench::{Buffers, Entry, Scratch, setup};
use crate::subject::{self, Sink};
use crate::{process, subjects};

/// What the program's command line must hand to [`run_job`].
pub const SUBCOMMAND: &str = "child";

/// What a child can be asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Job {
    Sustained(sustained::Job),
    Landed(landed::Job),
    HttpServer(http::Job),
    Quiet(quiet::Job),
    Idle(startup::idle::Job),
    Crowd(startup::crowd::Job),
}

/// A subject to be started, with files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    pub subject: String,
    /// Empty.
    pub dir: PathBuf,
    pub buffer_bytes: usize,
    pub memory_bytes: usize,
    pub record_bytes: usize,
}

impl Start {
    pub fn new(entry: Entry, dir: &Scratch, record_bytes: usize) -> Self {
        let Buffers { buffer_bytes, memory_bytes } = entry.buffers;
        let (subject, dir) = (entry.name().into(), dir.path().into());
        Start { subject, dir, buffer_bytes, memory_bytes, record_bytes }
    }

    pub fn run(&self) -> io::Result<Box<dyn subject::Running>> {
        let Start { buffer_bytes, memory_bytes, .. } = *self;
        let buffers = Buffers { buffer_bytes, memory_bytes };
        let setup = setup(&self.dir, buffers, Sink::Files, self.record_bytes);
        subjects::named(&self.subject)?
            .start(&setup)
            .map_err(|unavailable| io::Error::other(unavailable.to_string()))
    }
}

/// The child's side: does what it was asked for and prints what came of it.
pub fn run_job(json: &str) -> io::Result<()> {
    match serde_json::from_str(json)? {
        Job::Sustained(job) => say(sustained::row(&job)),
        Job::Landed(job) => say(landed::row(&job)),
        Job::HttpServer(job) => say(http::serve(&job, &mut |port| say(Ok(port)))),
        Job::Quiet(job) => say(quiet::row(&job)),
        Job::Idle(job) => say(startup::idle::look(&job)),
        Job::Crowd(job) => say(startup::crowd::row(&job)),
    }
}

/// Errors go the same way as answers, as text.
fn say<T: Serialize>(answer: io::Result<T>) -> io::Result<()> {
    let answer = answer.map_err(|error| error.to_string());
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}

/// A child at work.
pub struct Running {
    child: Child,
    /// Dropped: the child may end.
    stdin: Option<ChildStdin>,
    lines: Receiver<io::Result<String>>,
}

impl Running {
    pub fn start(job: &Job) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(SUBCOMMAND)
            .arg(serde_json::to_string(job)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = stdout.ok_or_else(|| io::Error::other("a child without output"))?;
        Ok(Running { child, stdin, lines: read_lines(stdout) })
    }

    /// Processor time that it has used so far.
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        process::cpu_seconds_of(self.child.id())
    }

    /// The child's next answer, waiting at most so long.
    pub fn next<T: DeserializeOwned>(&mut self, timeout: Duration) -> io::Result<T> {
        let line = match self.lines.recv_timeout(timeout) {
            Ok(line) => line?,
            Err(RecvTimeoutError::Timeout) => {
                return Err(io::Error::other(format!("no answer within {timeout:?}")));
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait()?;
                return Err(io::Error::other(format!("ended without an answer: {status}")));
            }
        };
        serde_json::from_str::<Result<T, String>>(&line)?.map_err(io::Error::other)
    }

    /// Tells a child that waits for it to come to an end.
    pub fn hang_up(&mut self) {
        self.stdin = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.hang_up();
        // Its answer is there, or nobody waits for it any more. Both fail only if it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Through a thread, so that a wait for a line can end.
fn read_lines(stdout: ChildStdout) -> Receiver<io::Result<String>> {
    let (lines, received) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    received
}

/// Starts a child and waits for its one answer.
pub fn answer<T: DeserializeOwned>(job: &Job, timeout: Duration) -> io::Result<T> {
    Running::start(job)?.next(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_is_none_is_an_error() {
        assert!(run_job("{}").is_err());
    }
}
