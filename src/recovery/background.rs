//! The recovery that a writer runs at its start, on a thread of its own.
//!
//! Guarantees: the thread keeps no writer open. Only a close waits for it, until its deadline.
//! Errors are in the result, even if no thread could be started. What it could not tell of dead writers' files
//! is tried again while the writer lives: a full disk may have room later, and a neighbour may die. Refuses nothing.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::latch::Latch;
use crate::base::sync::{Arc, Mutex, lock};
use crate::base::sys::threads::reap;
use crate::base::thread::spawn;
use crate::fs::Fs;
use crate::housekeeping::notices::Notices;
use crate::naming::Names;
use crate::recovery::audience::Audience;
use crate::recovery::run::{self, Untold};
use crate::recovery::scan::Scan;
use crate::report::error::Error;
use crate::report::recovery::Recovery;

/// Pauses between two tries to tell of dead writers' files: they double from the first to the last.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 30_000 });

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
    /// The writer closes.
    closes: Latch,
    /// The thread has nothing left to do.
    ended: Latch,
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
        let started = spawn("bw-recover", move || background.run(task));
        let started = started.map(|thread| *lock(&this.thread) = Some(thread));
        if let Err(error) = started {
            let error = Error::io("start a recovery for", &path, error);
            this.end(Recovery { errors: vec![error], ..Recovery::default() });
        }
    }

    fn run(&self, mut task: Task) {
        let (recovery, mut untold) = task.recover();
        let mut pause = PAUSE_MIN;
        loop {
            let mut result = recovery.clone();
            result.errors.extend_from_slice(&untold.errors);
            *lock(&self.state) = State::Over(result);
            // Who has somebody to tell does so for whoever dies later, too.
            let is_over = matches!(task.audience, Audience::Next(_));
            let is_done = untold.errors.is_empty() && !untold.are_left;
            let wait = if is_done { PAUSE_MAX } else { pause };
            if is_over || self.closes.wait(Instant::now().checked_add(wait)) {
                return self.ended.set();
            }
            let is_better = is_done || untold.has_progress;
            pause = if is_better { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
            untold = task.tell();
        }
    }

    /// Notes the result.
    pub(crate) fn end(&self, recovery: Recovery) {
        *lock(&self.state) = State::Over(recovery);
        self.ended.set();
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

    /// Ends the tries, and waits until the recovery is over or the deadline has passed.
    pub(crate) fn wait(&self, deadline: Option<Instant>) {
        self.closes.set();
        if matches!(*lock(&self.state), State::Idle) || !self.ended.wait(deadline) {
            return;
        }
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            reap(thread);
        }
    }
}

impl Task {
    /// Recovers once.
    pub(crate) fn run(mut self) -> Recovery {
        let (mut recovery, untold) = self.recover();
        recovery.errors.extend(untold.errors);
        recovery
    }

    /// Recovers. Returns the result, and what [`tell`](Self::tell) tries again.
    fn recover(&mut self) -> (Recovery, Untold) {
        let mut recovery = std::mem::take(&mut self.so_far);
        let untold = self.in_each(|scan, own, audience| {
            run::run(scan, Some(own), &mut recovery, audience).unwrap_or_else(|error| {
                recovery.errors.push(error);
                Untold::default()
            })
        });
        if let Some(notices) = &self.notices {
            recovery.published.iter().for_each(|file| notices.publish(file, &self.names));
        }
        // What could not be synced is visible all the same.
        self.audience.synced();
        (recovery, untold)
    }

    /// Tells of the files of dead writers that nobody has heard of.
    fn tell(&mut self) -> Untold {
        self.in_each(|scan, own, audience| {
            let mut recovery = Recovery::default();
            let untold = run::tell(scan, own, &mut recovery, audience);
            let mut untold =
                untold.unwrap_or_else(|error| Untold { errors: vec![error], ..Untold::default() });
            untold.errors.append(&mut recovery.errors);
            untold
        })
    }

    /// Calls `what` for each directory.
    fn in_each(
        &mut self,
        mut what: impl FnMut(Scan<'_>, &Names, &mut Audience) -> Untold,
    ) -> Untold {
        let Task { fs, path, temps, memory, names, audience, .. } = self;
        let scan = |temp| Scan {
            fs: &**fs,
            path,
            from: None,
            temp,
            prefix: Some(&*names.prefix),
            memory,
            without_memory: false,
            dry_run: false,
        };
        let mut all = Untold::default();
        for temp in temps.iter() {
            let Untold { errors, are_left, has_progress } = what(scan(temp), names, audience);
            all.errors.extend(errors);
            all.are_left |= are_left;
            all.has_progress |= has_progress;
        }
        all
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
