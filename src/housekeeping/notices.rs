//! What workers and the thread of housekeeping tell each other.
//!
//! Guarantees: no lock is held during a call to the file system, so workers never wait for the disk
//! here. Of many files that became visible only the newest is kept. A pass that was asked for has
//! begun after the question once it is answered.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::base::latch::wait_on;
use crate::base::sync::{Condvar, Mutex, lock};
use crate::config::Retain;
use crate::naming::{self, Names, Stamp};
use crate::report::error::Error;
use crate::report::stats::RetentionStats;

/// A file that became visible.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) path: PathBuf,
    /// That of its name.
    pub(crate) stamp: Stamp,
}

/// How far the thread is to go on. Never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Open,
    /// No more files are published. What is left to do is done once more, then the thread ends.
    Finishing,
    /// The thread ends after the call that it is in.
    Stopped,
}

/// What the thread is to do.
#[derive(Debug)]
pub(super) struct News {
    pub(super) phase: Phase,
    /// The newest file, if one became visible since the last look.
    pub(super) newest: Option<Published>,
    /// Files that became visible in all.
    pub(super) published: u64,
    /// The number of the last pass that was asked for, if it is not answered.
    pub(super) asked: Option<u64>,
    /// Other rules by which files are deleted, and whether lengths count.
    pub(super) rules: Option<(Retain, bool)>,
}

/// The shared state.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    newest: Option<Published>,
    /// The newest of all, to compare with.
    newest_stamp: Option<Stamp>,
    published: u64,
    /// `published` at the last look of the thread.
    seen: u64,
    asked: u64,
    answered: u64,
    retention: RetentionStats,
    latest_error: Option<Error>,
    /// There are rules by which files are deleted.
    deletes: bool,
    rules: Option<(Retain, bool)>,
}

impl Notices {
    /// Worker, recovery: this file became visible. A recovery may publish files with another
    /// extension, which is not ours to care for.
    pub(crate) fn publish(&self, path: &Path, names: &Names) {
        let name = path.file_name().unwrap_or_default();
        let Some(parsed) = naming::parse(name, &names.prefix, &names.extension) else { return };
        let file = Published { path: path.to_owned(), stamp: parsed.stamp };
        let mut state = lock(&self.state);
        state.published += 1;
        // Two workers may tell of their files in another order than they named them.
        if state.newest_stamp.is_none_or(|newest| file.stamp.is_after(newest)) {
            state.newest_stamp = Some(file.stamp);
            state.newest = Some(file);
        }
        self.told.notify_all();
    }

    /// Writer: from now on these rules hold. `by_len` as in `Retention`.
    pub(crate) fn set_rules(&self, rules: Retain, by_len: bool) {
        let mut state = lock(&self.state);
        state.deletes = rules.is_on();
        state.rules = Some((rules, by_len));
        self.told.notify_all();
    }

    /// Whether there are rules by which files are deleted.
    pub(crate) fn deletes(&self) -> bool {
        lock(&self.state).deletes
    }

    /// Quota: asks for a pass of retention. Returns its number.
    pub(crate) fn ask(&self) -> u64 {
        let mut state = lock(&self.state);
        state.asked += 1;
        self.told.notify_all();
        state.asked
    }

    /// How often the quota has asked.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> u64 {
        lock(&self.state).asked
    }

    /// Whether that pass has ended.
    pub(crate) fn is_answered(&self, number: u64) -> bool {
        let state = lock(&self.state);
        state.answered >= number || state.phase == Phase::Stopped
    }

    /// What was deleted, and the last error.
    pub(crate) fn retention(&self) -> RetentionStats {
        lock(&self.state).retention.clone()
    }

    pub(crate) fn bytes_deleted(&self) -> u64 {
        lock(&self.state).retention.bytes_deleted
    }

    pub(crate) fn latest_error(&self) -> Option<Error> {
        lock(&self.state).latest_error.clone()
    }

    /// The thread is to end.
    pub(super) fn advance(&self, phase: Phase) {
        let mut state = lock(&self.state);
        state.phase = state.phase.max(phase);
        self.told.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        lock(&self.state).phase == Phase::Stopped
    }

    /// Thread: waits for something new, or for that time.
    pub(super) fn wait(&self, until: Instant) -> News {
        let mut state = lock(&self.state);
        while state.phase == Phase::Open
            && state.published == state.seen
            && state.asked == state.answered
            && state.rules.is_none()
        {
            match wait_on(&self.told, state, Some(until)) {
                Some(woken) => state = woken,
                None => {
                    state = lock(&self.state);
                    break;
                }
            }
        }
        state.seen = state.published;
        News {
            phase: state.phase,
            newest: state.newest.take(),
            published: state.published,
            asked: Some(state.asked).filter(|&asked| asked > state.answered),
            rules: state.rules.take(),
        }
    }

    /// Thread: a file was deleted.
    pub(crate) fn deleted(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.retention.files_deleted += 1;
        state.retention.bytes_deleted += bytes;
    }

    /// Thread: the end of a pass that began after this one was asked for.
    pub(crate) fn answer(
        &self,
        asked: Option<u64>,
        held_by: Option<PathBuf>,
        error: Option<Error>,
    ) {
        let mut state = lock(&self.state);
        state.answered = state.answered.max(asked.unwrap_or(0));
        (state.retention.held_by, state.retention.last_error) = (held_by, error);
    }

    /// Thread: whether the link could be set.
    pub(super) fn set_latest_error(&self, error: Option<Error>) {
        lock(&self.state).latest_error = error;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { prefix: "p_".into(), extension: "log".into(), instance: 1, pid: 1 }
    }

    #[test]
    fn of_many_files_the_newest_is_kept() {
        let (notices, now) = (Notices::default(), Instant::now());
        let publish = |stamp, seq| {
            let path = Path::new("/dir").join(names().visible(Stamp(stamp), 0, seq));
            notices.publish(&path, &names());
        };
        publish(5, 1);
        publish(7, 2);
        publish(6, 3);
        let news = notices.wait(now);
        let newest = news.newest.expect("one of three");
        assert_eq!((newest.stamp, news.published), (Stamp(7), 3));
        assert_eq!(newest.path.file_name().unwrap(), &*names().visible(Stamp(7), 0, 2));
        // What is older than one that was seen is none.
        publish(6, 4);
        assert!(notices.wait(now).newest.is_none());
        publish(8, 5);
        assert!(notices.wait(now).newest.is_some());
        // Of a recovery, with another extension.
        notices.publish(Path::new("/dir/p_file.gz"), &names());
        let news = notices.wait(now);
        assert!(news.newest.is_none() && news.published == 5);
    }

    #[test]
    fn a_pass_answers_what_was_asked_before_it() {
        let (notices, now) = (Notices::default(), Instant::now());
        let one = notices.ask();
        assert!(!notices.is_answered(one));
        let news = notices.wait(now + std::time::Duration::from_secs(60));
        let two = notices.ask();
        notices.answer(news.asked, None, None);
        assert!(notices.is_answered(one) && !notices.is_answered(two));
        assert_eq!(notices.wait(now).asked, Some(two));
        // Nobody answers any more.
        notices.advance(Phase::Stopped);
        notices.advance(Phase::Finishing);
        assert!(notices.is_answered(two) && notices.is_stopped());
    }
}
