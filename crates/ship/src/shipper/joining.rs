//! Small files between their discovery and their group: pens, groups, plans of earlier shippers.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use crate::join::assemble::Apart;
use crate::join::pen::Group;
use crate::join::{Plan, object_of};
use crate::shipper::joined::Joined;
use crate::shipper::known::State;
use crate::shipper::queue::{Join, Waiting};
use crate::shipper::round::Round;
use crate::source::Candidate;
use crate::source::manifest::Line;

impl Round {
    /// Whether this file may go with others.
    pub(super) fn may_join(&self, file: &Candidate) -> bool {
        self.pens.as_ref().is_some_and(|pens| pens.takes(file)) && !self.alone.contains(&file.path)
    }

    pub(super) fn wait_for_others(&mut self, file: Candidate) {
        let now = Instant::now();
        let group = match &mut self.pens {
            Some(pens) => pens.add(file, now),
            None => Some(vec![file]),
        };
        group.into_iter().for_each(|group| self.send_group(group));
    }

    /// Groups that wait no longer: those whose time is over, and all when nothing comes any more.
    pub(super) fn close_pens(&mut self) {
        let all = self.ends_when_idle() && !self.queue.is_asking() && self.asks_in_flight == 0;
        let now = Instant::now();
        while let Some(group) = self.pens.as_mut().and_then(|pens| pens.next(now, all)) {
            self.send_group(group);
        }
    }

    fn send_group(&mut self, members: Group) {
        if let [file] = &members[..] {
            self.push(Waiting::new(file.clone()));
        } else if let Some(waiting) = waiting_for(members, None) {
            self.push(waiting);
        }
    }

    /// It goes, or went, by this plan: so do all its files that are still here. Also those that are done, since the
    /// object may have to be made again.
    pub(super) fn adopt(&mut self, plan: &Rc<Plan>, is_again: bool) {
        let mut members = Vec::new();
        for member in &plan.members {
            let path = Path::new(&member.path);
            self.planned.remove(path);
            let Some(file) = Candidate::look(&self.shared.config.from, path.to_owned()) else {
                continue;
            };
            if self.known.get(path) == Some(State::Waits) {
                self.queue.remove(&file);
                self.pens.as_mut().into_iter().for_each(|pens| pens.remove(&file));
            } else {
                self.known.set(path, State::Waits);
                self.count(file.bytes);
            }
            members.push(file);
        }
        if let Some(waiting) = waiting_for(members, Some(Rc::clone(plan))) {
            self.bound.extend(waiting.files().iter().map(|file| file.path.clone()));
            self.push(Waiting { asks_first: true, is_again, ..waiting });
        }
    }

    /// Its files are no longer on their way. If they are found again, they go by their plan.
    pub(super) fn unbind(&mut self, waiting: &Waiting) {
        let Some(join) = &waiting.join else { return };
        for file in &join.members {
            self.bound.remove(&file.path);
            if let Some(plan) = &join.plan {
                self.planned.insert(file.path.clone(), Rc::clone(plan));
            }
        }
    }

    pub(super) fn joined(&mut self, waiting: &Waiting, lines: &[Option<Line>], joined: Joined) {
        self.unbind(waiting);
        self.stats.joined_objects += u64::from(!waiting.is_again);
        let lines = lines.iter().copied().chain(std::iter::repeat(None));
        for ((file, done), line) in waiting.files().iter().zip(joined.files).zip(lines) {
            self.planned.remove(&file.path);
            self.stats.joined += u64::from(!waiting.is_again);
            self.succeeded(file, waiting.is_again, line, done);
        }
        self.shared.journal.borrow_mut().joined(&joined.object);
    }

    /// Some files can't go with the others.
    pub(super) fn dissolved(&mut self, waiting: &Waiting, apart: &[(usize, Apart)]) {
        let plan = waiting.join.as_ref().and_then(|join| join.plan.clone());
        let files = waiting.files();
        for (nth, why) in apart {
            let file = &files[*nth];
            match why {
                Apart::Gone => self.gone(file),
                Apart::Alone(reason) if plan.is_some() => self.conflicted(file, reason.clone()),
                Apart::Alone(reason) => {
                    self.warn(format!("{} goes alone: {reason}", file.path.display()));
                    self.push(Waiting::new(file.clone()));
                }
                Apart::Unreadable => self.push(Waiting::new(file.clone())),
            }
        }
        let is_left = |nth: &usize| apart.iter().all(|(other, _)| other != nth);
        let left: Group = (0..files.len()).filter(is_left).map(|nth| files[nth].clone()).collect();
        match plan {
            None if left.is_empty() => {}
            None => self.send_group(left),
            Some(plan) => {
                self.unbind(waiting);
                if let Some(rest) = waiting_for(left, Some(plan)) {
                    for file in rest.files() {
                        self.planned.remove(&file.path);
                        self.bound.insert(file.path.clone());
                    }
                    let (attempts, is_again) = (waiting.attempts, waiting.is_again);
                    self.push(Waiting { asks_first: true, attempts, is_again, ..rest });
                }
            }
        }
    }
}

/// It has the time of the oldest file, and the path of the object, which no file has.
fn waiting_for(members: Group, plan: Option<Rc<Plan>>) -> Option<Waiting> {
    let first = members.first()?;
    let path = match &plan {
        Some(plan) => plan.object.clone().into(),
        None => object_of(&first.path)?,
    };
    let bytes = members.iter().map(|file| file.bytes).sum();
    let file = Candidate { path, bytes, ..first.clone() };
    Some(Waiting { join: Some(Rc::new(Join { members, plan })), ..Waiting::new(file) })
}
