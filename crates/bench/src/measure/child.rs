//! Jobs that run in a process of their own. So no subject sees what another one left behind: its memory, its
//! threads, its page faults.
//!
//! The program runs itself with the hidden subcommand [`SUBCOMMAND`], the kind of the job, and the job as JSON.
//! The child prints its answer as a line of JSON. A child that exceeds its timeout is killed, and that is its
//! row's error. Which jobs there are only [`super::jobs`] knows.

use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bench::{Buffers, Entry, setup};
use crate::subject::{Running, Sink};
use crate::subjects;
use crate::system::process;
use crate::system::scratch::Scratch;

/// What the program's command line must hand to [`super::jobs::run`].
pub const SUBCOMMAND: &str = "child";

/// What a child can be asked for.
pub trait Job: Serialize + DeserializeOwned {
    /// Tells the child which job it is.
    const KIND: &'static str;
    /// The child's last line.
    type Answer: Serialize + DeserializeOwned;
    /// The child's side.
    fn run(&self) -> io::Result<Self::Answer>;
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

    pub fn run(&self) -> io::Result<Box<dyn Running>> {
        let Start { buffer_bytes, memory_bytes, .. } = *self;
        let buffers = Buffers { buffer_bytes, memory_bytes };
        let setup = setup(&self.dir, buffers, Sink::Files, self.record_bytes);
        subjects::named(&self.subject)?
            .start(&setup)
            .map_err(|unavailable| io::Error::other(unavailable.to_string()))
    }
}

/// The child's side: does the job and prints the answer.
pub fn run<J: Job>(json: &str) -> io::Result<()> {
    let job: J = serde_json::from_str(json)?;
    say(job.run())
}

/// Prints a line for the parent. An error takes the same way, as text.
pub fn say<T: Serialize>(answer: io::Result<T>) -> io::Result<()> {
    let answer = answer.map_err(|error| error.to_string());
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}

/// A child that runs. Killed when it is dropped.
pub struct ChildProcess {
    child: Child,
    /// Closed to tell the child to end.
    stdin: Option<ChildStdin>,
    lines: Receiver<io::Result<String>>,
}

impl ChildProcess {
    pub fn start<J: Job>(job: &J) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([SUBCOMMAND, J::KIND, &serde_json::to_string(job)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = stdout.ok_or_else(|| io::Error::other("a child without output"))?;
        Ok(ChildProcess { child, stdin, lines: read_lines(stdout) })
    }

    /// Processor time that it has used so far.
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        process::cpu_seconds_of(self.child.id())
    }

    /// The child's next line; fails after the timeout.
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

    /// Closes the child's standard input: a child that waits for that comes to its end.
    pub fn hang_up(&mut self) {
        self.stdin = None;
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.hang_up();
        // Its answer was read or is no longer wanted. Both calls fail only if the child has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads on a thread, since a read from a pipe has no timeout.
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

/// Starts a child and waits for its only answer.
pub fn answer<J: Job>(job: &J, timeout: Duration) -> io::Result<J::Answer> {
    ChildProcess::start(job)?.next(timeout)
}
