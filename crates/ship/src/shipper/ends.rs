//! What follows from the end of an attempt: counters, journal, another attempt, answers to hooks.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use crate::pace;
use crate::report::{Conflict, Error};
use crate::shipper::bound::has_joined;
use crate::shipper::known::State;
use crate::shipper::one::{Done, End, Failure, Outcome};
use crate::shipper::queue::Waiting;
use crate::shipper::round::{Round, TOLD_MAX};
use crate::source::Candidate;
use crate::source::manifest::Line;
use crate::store::{Kind, Trouble};

impl Round {
    pub(super) fn ended(&mut self, outcome: Outcome) {
        let Outcome { waiting, lines, result } = outcome;
        self.is_large_in_flight &= waiting.file.bytes <= self.shared.config.multipart;
        self.asks_in_flight -= usize::from(waiting.may_join);
        self.in_flight_files.remove(&waiting.file.path);
        if matches!(result, Ok(_) | Err(Failure::Conflict(_))) {
            self.gate.succeeded();
        }
        // A plan names it by now, and its group goes the way of the plan, or has gone.
        let path = &waiting.file.path;
        let is_elsewhere = waiting.join.is_none()
            && (self.bound.contains(path) || self.known.get(path) != Some(State::Waits));
        match result {
            _ if is_elsewhere => {}
            Ok(End::Done(done)) => {
                self.succeeded(
                    &waiting.file,
                    waiting.is_again,
                    lines.first().copied().flatten(),
                    done,
                );
            }
            Ok(End::Joined(joined)) => self.joined(&waiting, &lines, joined),
            Ok(End::Free) => self.wait_for_others(waiting.file),
            Ok(End::Bound(plan)) => self.adopt(&plan, waiting.is_again),
            Ok(End::Dissolved(apart)) => self.dissolved(&waiting, &apart),
            Err(Failure::Conflict(reason)) => {
                self.unbind(&waiting);
                for file in waiting.files() {
                    self.conflicted(file, reason.clone());
                }
            }
            Err(Failure::Trouble(trouble)) => self.failed(waiting, &trouble),
        }
        let failure = self.shared.journal.borrow_mut().take_failure();
        failure.into_iter().for_each(|warning| self.warn(warning));
    }

    pub(super) fn succeeded(
        &mut self,
        file: &Candidate,
        is_again: bool,
        line: Option<Line>,
        done: Done,
    ) {
        let path = &file.path;
        self.window.succeeded();
        self.alone.remove(path);
        self.known.set(path, State::Done);
        self.shared.journal.borrow_mut().done(path, done.bytes, done.checksum);
        self.uncount(file.bytes);
        match done.is_new {
            true => {
                self.stats.shipped += 1;
                self.stats.shipped_bytes += done.bytes;
            }
            false => self.stats.already += u64::from(!is_again),
        }
        if !is_again {
            self.stats.records += line.map_or(0, |line| line.records);
        }
        self.stats.deleted += u64::from(done.is_deleted);
        if done.is_deleted {
            self.emptied.extend(path.parent().map(Path::to_owned));
        }
        if let Some(manifest) = &mut self.manifest {
            manifest.forget(path);
        }
        if let Some(warning) = done.warning {
            self.warn(format!("{}: {warning}", path.display()));
        }
        self.answer(path, &Ok(()));
    }

    pub(super) fn conflicted(&mut self, file: &Candidate, reason: String) {
        let path = &file.path;
        self.known.set(path, State::GivenUp);
        self.uncount(file.bytes);
        self.answer(path, &Err(reason.clone()));
        // A hook asks again and again.
        let is_told = self.report.conflicts.iter().any(|told| told.file == *path);
        self.stats.conflicts += u64::from(!is_told);
        if !is_told && self.report.conflicts.len() < TOLD_MAX {
            self.report.conflicts.push(Conflict { file: path.clone(), reason });
        }
    }

    /// Somebody took it.
    pub(super) fn gone(&mut self, file: &Candidate) {
        self.stats.gone += 1;
        self.uncount(file.bytes);
        self.known.forget(&file.path);
        self.answer_gone(&file.path);
    }

    fn failed(&mut self, mut waiting: Waiting, trouble: &Trouble) {
        if trouble.kind == Kind::Gone {
            return self.gone(&waiting.file);
        }
        let shared = Rc::clone(&self.shared);
        let (now, config) = (Instant::now(), &shared.config);
        if trouble.kind == Kind::Throttled {
            self.stats.throttled += 1;
            self.window.throttled(now);
        }
        if trouble.kind == Kind::Refused {
            self.report.error =
                Some(Error::new("ship to", shared.destination.to_string(), trouble));
            self.deadline = Some(now);
        }
        if !matches!(trouble.kind, Kind::Changed | Kind::Local) {
            self.gate.failed(now, config.backoff_max, pace::random());
        }
        if waiting.is_noted {
            self.alone.insert(waiting.file.path.clone());
        }
        waiting.attempts += 1;
        waiting.reason = trouble.to_string();
        if config.attempts.is_some_and(|max| waiting.attempts >= max) {
            return self.give_up(&waiting);
        }
        self.stats.retries += 1;
        // The answer may have been lost, not the request.
        waiting.asks_first = true;
        let pause = pace::backoff(waiting.attempts, config.backoff_max, pace::random());
        self.queue.pause(waiting, now + pause);
        // Else each of many files would have all its attempts, after pauses that all have to wait for.
        let is_away = config.attempts.is_some_and(|max| self.gate.failures() >= max);
        if is_away && self.ends_when_idle() {
            self.report.error.get_or_insert_with(|| {
                let why = format!("nothing succeeds; at last: {trouble}");
                Error::new("ship to", shared.destination.to_string(), why)
            });
            self.deadline = Some(now);
        }
    }

    /// Until the next start.
    fn give_up(&mut self, waiting: &Waiting) {
        self.unbind(waiting);
        for file in waiting.files() {
            self.known.set(&file.path, State::GivenUp);
            self.uncount(file.bytes);
            self.answer(&file.path, &Err(waiting.reason.clone()));
            self.leave(file.path.clone(), &waiting.reason);
        }
    }

    /// Whoever asked for this file hears of it.
    fn answer(&mut self, file: &Path, result: &Result<(), String>) {
        for (_, answer) in self.waiters.remove(file).unwrap_or_default() {
            let _ = answer.send(result.clone());
        }
    }

    /// Somebody took the file. It counts as shipped if its object is there.
    pub(super) fn answer_gone(&mut self, file: &Path) {
        let shared = Rc::clone(&self.shared);
        let (Some(waiters), Some(key)) = (self.waiters.remove(file), shared.destination.key(file))
        else {
            return;
        };
        let file = file.to_owned();
        self.questions.push(Box::pin(async move {
            for (bytes, answer) in waiters {
                let result = match shared.destination.has(&key, bytes).await {
                    Ok(true) => Ok(()),
                    Ok(false) if has_joined(&shared, &file).await.unwrap_or(false) => Ok(()),
                    Ok(false) => Err("the file is gone, and its object is not there".to_owned()),
                    Err(trouble) => Err(trouble.to_string()),
                };
                let _ = answer.send(result);
            }
        }));
    }
}
