//! The thread that calls the hook.
//!
//! Guarantees: the hook runs while nothing is held, and its panic is caught. It is called for one file
//! after the other, until it succeeds, or until it has failed several times for a file that is gone.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::base::foreign::quietly;
use crate::base::latch::wait_on;
use crate::base::sync::lock;
use crate::housekeeping::publication::Publication;
use crate::housekeeping::publications::{PAUSE_MIN, Publications};
use crate::housekeeping::queue::{Call, UPCOMING_MAX};
use crate::report::error::Error;
use crate::report::published::{OnPublish, PublishedFile};
use crate::report::stats::PublishStats;

const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After so many files the journal gives back their room.
const RELEASED_AT_ONCE: u64 = 256;
/// After so many calls in a row that failed for a file that is gone, the next file has its turn.
const GONE_CALLS: u32 = 5;

/// The next file for the hook.
struct Next {
    file: Publication,
    /// Somebody waits for its call: it is in no journal of ours.
    is_urgent: bool,
}

/// What came of the calls for a file.
enum Called {
    Acknowledged,
    /// The file no longer exists, and the hook fails for it.
    Gone,
    /// The writer has ended.
    Ended,
}

impl Publications {
    /// The thread that calls the hook.
    pub(super) fn run_hook(&self) {
        while let Some(Next { file, is_urgent }) = self.next_for_hook() {
            let called = file.told(&self.dir).map(|told| self.call(&told));
            let is_gone = match called.unwrap_or(Called::Acknowledged) {
                Called::Acknowledged => false,
                Called::Gone => true,
                Called::Ended => return,
            };
            self.acknowledge(is_urgent, is_gone);
        }
    }

    /// Calls another hook from the next call on. A call that runs goes on.
    pub(crate) fn set_hook(&self, hook: OnPublish) {
        let former = std::mem::replace(&mut *lock(&self.hook), hook);
        // Nothing is held.
        quietly(|| drop(former));
    }

    /// Calls the hook for a file until it succeeds.
    fn call(&self, told: &PublishedFile) -> Called {
        lock(&self.queue).call = Some(Call {
            file: told.path.clone(),
            since: Instant::now(),
            attempts: 0,
            error: String::new(),
            running: None,
        });
        let (mut pause, mut gone) = (PAUSE_MIN, 0);
        loop {
            self.with_call(|call| call.running = Some(Instant::now()));
            let mut result = Err("it panicked".into());
            let hook = lock(&self.hook).0.clone();
            quietly(|| {
                result = hook.as_ref().map_or(Ok(()), |hook| hook(told));
                // It may be the last one.
                drop(hook);
            });
            let error = match result {
                Ok(()) => return Called::Acknowledged,
                Err(error) => error.to_string(),
            };
            self.with_call(|call| {
                (call.running, call.error) = (None, error);
                call.attempts += 1;
            });
            gone = if self.is_gone(&told.path) { gone + 1 } else { 0 };
            if gone == GONE_CALLS {
                return Called::Gone;
            }
            if !self.rest(pause) {
                return Called::Ended;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Whether a file is known to exist no more. If its directory is another one by now, or can't be looked at,
    /// nobody knows: a volume may be away.
    fn is_gone(&self, file: &Path) -> bool {
        let id = |path: &Path| self.fs.facts(path).map(|facts| facts.map(|facts| facts.id));
        id(file).is_ok_and(|id| id.is_none())
            && self.dir_id.is_some()
            && id(&self.dir).is_ok_and(|id| id == self.dir_id)
    }

    /// Calls the hook for all files that are listed, once each.
    #[cfg(test)]
    pub(crate) fn step_hook(&self) {
        let hook = lock(&self.hook).0.clone().expect("a hook");
        while self.stats().unacknowledged > 0 {
            let Next { file, is_urgent } = self.next_for_hook().expect("a file");
            hook(&file.told(&self.dir).expect("a name")).expect("acknowledged");
            self.acknowledge(is_urgent, false);
        }
    }

    fn with_call(&self, change: impl FnOnce(&mut Call)) {
        lock(&self.queue).call.as_mut().map(change);
    }

    /// Waits. `false` once the writer has ended.
    pub(super) fn rest(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut queue = lock(&self.queue);
        while !queue.ends {
            match wait_on(&self.told, queue, Some(until)) {
                Some(woken) => queue = woken,
                None => return true,
            }
        }
        false
    }

    /// Waits for a file for the hook. `None` once the writer has ended.
    fn next_for_hook(&self) -> Option<Next> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.ends {
                return None;
            }
            let is_urgent = queue.urgent.is_some();
            if let Some(file) = queue.urgent.as_ref().or(queue.upcoming.front()) {
                return Some(Next { file: file.clone(), is_urgent });
            }
            if queue.acknowledged < queue.entries {
                drop(queue);
                let read = self.read_upcoming();
                if read.is_err() && !self.rest(PAUSE_MIN) {
                    return None;
                }
                queue = lock(&self.queue);
                continue;
            }
            queue = wait_on(&self.told, queue, None).expect("without a deadline");
        }
    }

    /// Reads the next files from the journal. An entry that can't be read any more is passed over.
    fn read_upcoming(&self) -> Result<(), Error> {
        let mut lister = lock(&self.lister);
        let from = lock(&self.queue).acknowledged;
        let Some(journal) = &mut lister.journal else { return Ok(()) };
        let read = journal.read(from, UPCOMING_MAX)?;
        let mut queue = lock(&self.queue);
        if read.is_empty() {
            queue.acknowledged += 1;
        }
        queue.unread.take(read.len().max(1) as u64);
        queue.upcoming = read.into();
        Ok(())
    }

    /// The hook has acknowledged the file, or the file is gone. An error of the journal means that it is called again after a crash.
    fn acknowledge(&self, is_urgent: bool, is_gone: bool) {
        let mut lister = lock(&self.lister);
        let mut queue = lock(&self.queue);
        queue.call = None;
        let PublishStats { acknowledged, gone, .. } = &mut queue.stats;
        *if is_gone { gone } else { acknowledged } += 1;
        if is_urgent {
            queue.urgent = None;
            return self.told.notify_all();
        }
        queue.upcoming.pop_front();
        queue.acknowledged += 1;
        let (acknowledged, is_all) = (queue.acknowledged, queue.acknowledged == queue.entries);
        let waits_from = queue.waits_from();
        drop(queue);
        if let Some(journal) = &mut lister.journal {
            if !is_all {
                let noted = journal.note_acknowledged(acknowledged, waits_from);
                if noted.is_ok() && acknowledged % RELEASED_AT_ONCE == 0 {
                    journal.release(acknowledged);
                }
            } else if journal.forget_entries().is_ok_and(|forgotten| forgotten) {
                let mut queue = lock(&self.queue);
                (queue.acknowledged, queue.entries) = (0, 0);
            }
        }
        self.told.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Publishing;
    use crate::fs::Fs;
    use crate::fs::real::RealFs;
    use crate::report::published::OnPublish;
    use bufferedwriter_testkit::dir::TestDir;
    use std::fs;

    /// A volume that is away, or another in its place, has no files either.
    #[test]
    fn a_file_is_gone_only_if_its_directory_is_there() {
        let dir = TestDir::new();
        let path = dir.dir("path");
        let file = path.join("dt=1/file");
        let real: std::sync::Arc<dyn Fs> = std::sync::Arc::new(RealFs);
        let on_publish = OnPublish(Some(std::sync::Arc::new(|_| Ok(()))));
        let wanted = Publishing { on_publish, manifest: None };
        let publications = Publications::new(&real, &path, wanted, 0o600, false, 1);
        let publications = publications.unwrap().unwrap();
        fs::create_dir(path.join("dt=1")).unwrap();
        fs::write(&file, "x").unwrap();
        assert!(!publications.is_gone(&file));
        fs::remove_file(&file).unwrap();
        assert!(publications.is_gone(&file));
        fs::remove_dir(path.join("dt=1")).unwrap();
        assert!(publications.is_gone(&file));
        fs::rename(&path, dir.join("away")).unwrap();
        assert!(!publications.is_gone(&file));
        fs::create_dir(&path).unwrap();
        assert!(!publications.is_gone(&file));
    }
}
