//! Runs a program with tests where it can do no harm. It may hang, or take all memory: it has a mutant.
//!
//! Where namespaces are permitted, no process and no mounted file system outlives a run. Its files are in memory,
//! unless it needs a disk, and `/dev/shm` is its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, about};

/// KiB of address space.
const MEMORY: u32 = 8 << 20;

/// What runs within the namespaces. The shell is their first process, so that signals reach the tests as usual.
const WITHIN: &str =
    "for at in /dev/shm ${IN_MEMORY:+\"$IN_MEMORY\"}; do mount -t tmpfs -o size=2g none \"$at\"; done
    cd \"$TMPDIR\"; ulimit -v $MEMORY_KIB; \"$0\" \"$@\"; exit $?";

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// All tests passed.
    Passed,
    /// This test failed, or the program died.
    Failed(String),
    /// Nothing came for too long.
    Late,
}

/// What is to be run.
pub struct Run<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: Vec<&'a str>,
    /// A variable that says which mutant is active, or where those that are reached are noted.
    pub variable: (&'static str, String),
    /// Whether its files are on a disk.
    pub is_on_disk: bool,
    /// How long no test may end.
    pub patience: Duration,
}

/// Where programs run.
pub struct Cage {
    has_namespaces: bool,
    scratch: PathBuf,
    runs: AtomicU32,
}

impl Cage {
    /// Uses a directory for the tests' files.
    pub fn new(scratch: PathBuf) -> Self {
        let tried = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--mount-proc", "mount", "-t", "tmpfs"])
            .args(["none", "/dev/shm"])
            .stderr(Stdio::null())
            .status();
        let has_namespaces = tried.is_ok_and(|status| status.success());
        if !has_namespaces {
            eprintln!("no namespaces here: what a mutant leaves behind stays");
        }
        Self { has_namespaces, scratch, runs: AtomicU32::new(0) }
    }

    /// Runs until the end, the first failure, or until no test has ended for too long.
    pub fn run(&self, run: &Run) -> Result<End, Failure> {
        let scratch = self.fresh()?;
        let mut child = self.start(run, &scratch)?;
        let end = watch(&mut child, run.patience);
        let _ = child.kill();
        let status = child.wait().map_err(|error| error.to_string())?;
        let _ = fs::remove_dir_all(&scratch);
        Ok(match end {
            End::Passed if !status.success() => End::Failed(format!("the program: {status}")),
            end => end,
        })
    }

    /// An empty directory. What could not be removed stays, so each run has a name of its own.
    fn fresh(&self) -> Result<PathBuf, Failure> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let fresh = self.scratch.join(format!("{}-{run}", std::process::id()));
        fs::create_dir_all(&fresh).map_err(about(&fresh))?;
        Ok(fresh)
    }

    fn start(&self, run: &Run, scratch: &Path) -> Result<Child, Failure> {
        let mut command = if self.has_namespaces {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
            command.args(["sh", "-c", WITHIN]);
            command
        } else {
            let mut command = Command::new("sh");
            command.args(["-c", "ulimit -v $MEMORY_KIB; exec \"$0\" \"$@\""]);
            command
        };
        command
            .arg(run.program)
            .args(&run.arguments)
            .current_dir(scratch)
            .env("MEMORY_KIB", MEMORY.to_string())
            .env("TMPDIR", scratch)
            .env("IN_MEMORY", if run.is_on_disk { Path::new("") } else { scratch })
            .env("RUST_BACKTRACE", "0")
            .env("PROPTEST_CASES", "300")
            .env("BUFFEREDWRITER_SEEDS", "150")
            .env("BUFFEREDWRITER_KILLS", "10")
            .env(run.variable.0, &run.variable.1)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command.spawn().map_err(about(run.program))
    }
}

/// Reads what the harness says of each test.
fn watch(child: &mut Child, patience: Duration) -> End {
    let (sender, lines) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }
    let mut deadline = Instant::now() + patience;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => return End::Late,
            Err(RecvTimeoutError::Disconnected) => break,
            Ok(line) => {
                let Some(line) = line.strip_prefix("test ") else { continue };
                if let Some(name) = line.strip_suffix(" ... FAILED") {
                    return End::Failed(name.trim_end_matches(" - should panic").to_owned());
                }
                if line.contains(" ... ok") {
                    deadline = Instant::now() + patience;
                }
            }
        }
    }
    // It has closed its output, so it ends at once; or a process that it started goes on.
    while let Ok(None) = child.try_wait() {
        if Instant::now() >= deadline {
            return End::Late;
        }
        thread::sleep(Duration::from_millis(1));
    }
    End::Passed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(script: &str, patience: Duration) -> End {
        let cage = Cage::new(std::env::temp_dir().join(format!("mutants-{}", std::process::id())));
        let run = Run {
            program: Path::new("/bin/sh"),
            arguments: vec!["-c", script],
            variable: ("MUTANT", "7".into()),
            is_on_disk: false,
            patience,
        };
        cage.run(&run).unwrap()
    }

    #[test]
    fn ends_of_runs() {
        let (long, short) = (Duration::from_secs(60), Duration::from_millis(200));
        assert_eq!(end("echo test a ... ok; test $MUTANT = 7", long), End::Passed);
        let failed = "echo test a ... ok; echo test b ... FAILED; sleep 1000";
        assert_eq!(end(failed, long), End::Failed("b".into()));
        assert!(matches!(end("exit 3", long), End::Failed(_)));
        assert!(matches!(end("kill -9 $$", long), End::Failed(_)));
        assert_eq!(end("sleep 1000", short), End::Late);
        assert_eq!(end("sleep 1000 & exec >&-; sleep 1000", short), End::Late);
    }
}
