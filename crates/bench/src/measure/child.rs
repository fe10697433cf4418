//! Measures that need a process of their own: this program is started again with a task, as JSON, and
//! answers in JSON on its standard output.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bench::{Buffers, Entry};
use crate::measure::{quiet, startup};
use crate::subject::Subject;
use crate::subjects;

/// The subcommand, which no user needs.
pub const SUBCOMMAND: &str = "child";

#[derive(Serialize, Deserialize)]
pub enum Task {
    Quiet(quiet::Task),
    Idle(startup::idle::Task),
    Crowd(startup::crowd::Task),
}

/// A subject and what it is set up with, by values that another process understands.
#[derive(Clone, Serialize, Deserialize)]
pub struct Who {
    pub subject: String,
    pub buffer_bytes: usize,
    pub memory_bytes: usize,
    pub dir: PathBuf,
}

impl Who {
    pub fn new(entry: Entry, dir: &Path) -> Self {
        Who {
            subject: entry.name().into(),
            buffer_bytes: entry.buffers.buffer_bytes,
            memory_bytes: entry.buffers.memory_bytes,
            dir: dir.into(),
        }
    }

    pub fn buffers(&self) -> Buffers {
        Buffers { buffer_bytes: self.buffer_bytes, memory_bytes: self.memory_bytes }
    }

    pub fn subject(&self) -> Result<Box<dyn Subject>, String> {
        let found = subjects::all().into_iter().find(|subject| subject.name() == self.subject);
        found.ok_or_else(|| format!("there is no subject {}", self.subject))
    }
}

/// In another process. An error is a reason why it could not be measured.
pub fn ask<T: DeserializeOwned>(task: &Task) -> Result<T, String> {
    let task = serde_json::to_string(task).map_err(|error| error.to_string())?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args([SUBCOMMAND, &task]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("its process ended with {}", output.status));
    }
    let answer: Result<T, String> =
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    answer
}

/// In that process.
pub fn answer(task: &str) -> std::io::Result<()> {
    fn encode<T: Serialize>(answer: Result<T, String>) -> serde_json::Result<String> {
        serde_json::to_string(&answer)
    }
    let answer = match serde_json::from_str(task)? {
        Task::Quiet(task) => encode(quiet::answer(&task)),
        Task::Idle(task) => encode(startup::idle::answer(&task)),
        Task::Crowd(task) => encode(startup::crowd::answer(&task)),
    };
    println!("{}", answer?);
    Ok(())
}
