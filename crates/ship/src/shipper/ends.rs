//! What follows from the end of an attempt: counters, journal, another attempt, answers to hooks.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use crate::pace;
use crate::report::Conflict;
use crate::shipper::known::State;
use crate::shipper::one::{Done, Failure, Outcome, Task};
use crate::shipper::queue::Waiting;
use crate::shipper::round::{Round, TOLD_MAX};
use crate::store::{Kind, Trouble};

impl Round {
    pub(super) fn ended(&mut self, outcome: Outcome) {
        let Outcome { waiting, task, result } = outcome;
        self.is_large_in_flight &= waiting.file.bytes <= self.shared.config.multipart;
        self.in_flight_files.remove(&waiting.file.path);
        if matches!(result, Ok(_) | Err(Failure::Conflict(_))) {
            self.gate.succeeded();
        }
        match result {
            Ok(done) => self.succeeded(&waiting, task, done),
            Err(Failure::Conflict(reason)) => self.conflicted(&waiting, reason),
            Err(Failure::Trouble(trouble)) => self.failed(waiting, &trouble),
        }
        if let Some(warning) = self.shared.journal.borrow_mut().take_failure() {
            self.report.warnings.push(warning);
        }
    }

    fn succeeded(&mut self, waiting: &Waiting, task: Task, done: Done) {
        let path = &waiting.file.path;
        self.window.succeeded();
        self.known.set(path, State::Done);
        self.shared.journal.borrow_mut().done(path, done.bytes, done.checksum);
        self.uncount(waiting.file.bytes);
        match done.is_new {
            true => {
                self.stats.shipped += 1;
                self.stats.shipped_bytes += done.bytes;
            }
            false => self.stats.already += u64::from(!waiting.is_again),
        }
        if !waiting.is_again {
            self.stats.records += task.line.map_or(0, |line| line.records);
        }
        self.stats.deleted += u64::from(done.is_deleted);
        if let Some(manifest) = &mut self.manifest {
            manifest.forget(path);
        }
        if let Some(warning) = done.warning {
            self.warn(format!("{}: {warning}", path.display()));
        }
        self.answer(path, &Ok(()));
    }

    fn conflicted(&mut self, waiting: &Waiting, reason: String) {
        let path = &waiting.file.path;
        self.known.set(path, State::GivenUp);
        self.uncount(waiting.file.bytes);
        self.answer(path, &Err(reason.clone()));
        // A hook asks again and again.
        let is_told = self.report.conflicts.iter().any(|told| told.file == *path);
        self.stats.conflicts += u64::from(!is_told);
        if !is_told && self.report.conflicts.len() < TOLD_MAX {
            self.report.conflicts.push(Conflict { file: path.clone(), reason });
        }
    }

    fn failed(&mut self, mut waiting: Waiting, trouble: &Trouble) {
        let path = waiting.file.path.clone();
        if trouble.kind == Kind::Gone {
            self.stats.gone += 1;
            self.uncount(waiting.file.bytes);
            self.known.forget(&path);
            self.answer_gone(&path);
            return;
        }
        let (now, config) = (Instant::now(), &self.shared.config);
        if trouble.kind == Kind::Throttled {
            self.stats.throttled += 1;
            self.window.throttled(now);
        }
        if trouble.kind != Kind::Changed {
            self.gate.failed(now, config.backoff_max, pace::random());
        }
        waiting.attempts += 1;
        waiting.reason = trouble.to_string();
        if config.attempts.is_some_and(|max| waiting.attempts >= max) {
            self.known.set(&path, State::GivenUp);
            self.uncount(waiting.file.bytes);
            self.answer(&path, &Err(waiting.reason.clone()));
            self.leave(path, &waiting.reason);
            return;
        }
        self.stats.retries += 1;
        // The answer may have been lost, not the request.
        waiting.asks_first = true;
        let pause = pace::backoff(waiting.attempts, config.backoff_max, pace::random());
        self.queue.pause(waiting, now + pause);
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
        self.questions.push(Box::pin(async move {
            for (bytes, answer) in waiters {
                let result = match shared.destination.has(&key, bytes).await {
                    Ok(true) => Ok(()),
                    Ok(false) => Err("the file is gone, and its object is not there".to_owned()),
                    Err(trouble) => Err(trouble.to_string()),
                };
                let _ = answer.send(result);
            }
        }));
    }
}
