//! The recovery that a writer runs at its start, on a thread of its own.
//!
//! Guarantees: the thread keeps no writer open. Only a close waits for it, until its deadline.
//! Errors are in the result, even if no thread could be started. Refuses nothing.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::base::latch::Latch;
use crate::base::sync::{Arc, Mutex, lock};
use crate::base::thread::spawn;
use crate::fs::Fs;
use crate::housekeeping::notices::Notices;
use crate::naming::Names;
use crate::recovery::audience::Audience;
use crate::recovery::run;
use crate::recovery::scan::Scan;
use crate::report::error::Error;
use crate::report::recovery::Recovery;

/// The job: recover dead writers with the same directories and prefix.
pub(crate) struct Task {
    pub(crate) fs: std::sync::Arc<dyn Fs>,
    pub(crate) path: PathBuf,
    /// Where state files and temp files may be.
    pub(crate) temps: Vec<PathBuf>,
    /// Directories that may hold crash-proof memory.
    pub(crate) memory: Vec<PathBuf>,
    /// The names of the writer itself.
    pub(crate) names: Names,
    /// Who hears of each file that is published.
    pub(crate) notices: Option<Arc<Notices>>,
    pub(crate) audience: Audience,
    /// What a recovery before the start has done already.
    pub(crate) so_far: Recovery,
}

/// The state of the recovery, and later its result.
#[derive(Debug, Default)]
pub(crate) struct Background {
    state: Mutex<State>,
    over: Latch,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
enum State {
    /// Not wanted, or not started yet.
    #[default]
    Idle,
    Running,
    Over(Recovery),
}

impl Background {
    /// Starts the recovery.
    pub(crate) fn start(this: &Arc<Self>, task: Task) {
        *lock(&this.state) = State::Running;
        let (background, path) = (this.clone(), task.path.clone());
        let started = spawn("bw-recover", move || background.end(task.run()));
        let started = started.map(|thread| *lock(&this.thread) = Some(thread));
        if let Err(error) = started {
            let error = Error::io("start a recovery for", &path, error);
            this.end(Recovery { errors: vec![error], ..Recovery::default() });
        }
    }

    /// Notes the result.
    pub(crate) fn end(&self, recovery: Recovery) {
        *lock(&self.state) = State::Over(recovery);
        self.over.set();
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(*lock(&self.state), State::Over(_))
    }

    /// The result. `None` while the recovery runs, or if none was started.
    pub(crate) fn result(&self) -> Option<Recovery> {
        match &*lock(&self.state) {
            State::Over(recovery) => Some(recovery.clone()),
            State::Idle | State::Running => None,
        }
    }

    /// Waits until the recovery is over or the deadline has passed.
    pub(crate) fn wait(&self, deadline: Option<Instant>) {
        if matches!(*lock(&self.state), State::Idle) || !self.over.wait(deadline) {
            return;
        }
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // The thread has nothing left to do.
            let _ = thread.join();
        }
    }
}

impl Task {
    pub(crate) fn run(self) -> Recovery {
        let Task { fs, path, temps, memory, names, mut audience, notices, so_far } = self;
        let prefix = Some(&*names.prefix);
        let mut recovery = so_far;
        for temp in &temps {
            let scan = Scan {
                fs: &*fs,
                path: &path,
                temp,
                from: None,
                prefix,
                memory: &memory,
                without_memory: false,
                dry_run: false,
            };
            if let Err(error) = run::run(scan, Some(&names), &mut recovery, &mut audience) {
                recovery.errors.push(error);
            }
        }
        if let Some(notices) = notices {
            recovery.published.iter().for_each(|file| notices.publish(file, &names));
        }
        // What could not be synced is visible all the same.
        audience.synced();
        recovery
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fs::faulty::{Answer, Faulty, Op};
    use bufferedwriter_testkit::dir::TestDir;
    use std::ffi::OsString;
    use std::time::Duration;

    #[test]
    fn what_goes_wrong_is_in_the_result() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        fs.plan(Op::List, 1, Answer::Error(crate::base::sys::Errno::IO));
        let names =
            Names { prefix: OsString::new(), extension: OsString::new(), instance: 1, pid: 1 };
        let path = dir.path().to_owned();
        let task = Task {
            fs: std::sync::Arc::new(fs),
            temps: vec![path.clone()],
            path,
            memory: vec![],
            names,
            notices: None,
            audience: Audience::default(),
            so_far: Recovery::default(),
        };
        let background = Arc::new(Background::default());
        assert!(background.result().is_none());
        // Nothing was started, so there is nothing to wait for.
        background.wait(None);
        Background::start(&background, task);
        background.wait(Instant::now().checked_add(Duration::from_secs(60)));
        let result = background.result().expect("it is over");
        assert_eq!(result.errors.iter().map(Error::operation).collect::<Vec<_>>(), ["list"]);
    }
}
