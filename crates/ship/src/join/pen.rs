//! Where small files wait for others. A pure function of what comes and of the time that it is told.
//!
//! Guarantees: at most `FILES_MAX` files wait, none longer than the age. A group has as few files as reach the size, so
//! its object is shorter than twice that, and `MEMBERS_MAX` at most.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::join::Sort;
use crate::source::Candidate;

/// Their list is 150 KB then.
pub(crate) const MEMBERS_MAX: usize = 1000;
/// In all pens: 4 MiB.
const FILES_MAX: usize = 16_384;

/// Files that may share an object, in the order of their names.
pub(crate) type Group = Vec<Candidate>;

#[derive(Debug)]
pub(crate) struct Pens {
    min: u64,
    age: Duration,
    pens: HashMap<Sort, Pen>,
    /// When each pen is due, the first one first. Some are closed by now.
    opened: VecDeque<(Instant, Sort)>,
    count: usize,
}

#[derive(Debug)]
struct Pen {
    files: Group,
    bytes: u64,
    due: Instant,
}

impl Pens {
    /// Files shorter than `min` bytes wait, for `age` at most.
    pub(crate) fn new(min: u64, age: Duration) -> Self {
        Pens { min, age, pens: HashMap::new(), opened: VecDeque::new(), count: 0 }
    }

    pub(crate) fn takes(&self, file: &Candidate) -> bool {
        file.bytes < self.min && Sort::of(&file.path).is_some()
    }

    /// Returns a group that has become complete by this file, or that has to make room for it.
    pub(crate) fn add(&mut self, file: Candidate, now: Instant) -> Option<Group> {
        let Some(sort) = Sort::of(&file.path) else { return Some(vec![file]) };
        let due = now + self.age;
        let pen = self.pens.entry(sort.clone()).or_insert_with(|| {
            self.opened.push_back((due, sort.clone()));
            Pen { files: Vec::new(), bytes: 0, due }
        });
        pen.bytes += file.bytes;
        pen.files.push(file);
        self.count += 1;
        if pen.bytes >= self.min || pen.files.len() == MEMBERS_MAX {
            return self.close(&sort);
        }
        if self.count > FILES_MAX { self.close_first() } else { None }
    }

    /// A group whose time is over, or any with `all`.
    pub(crate) fn next(&mut self, now: Instant, all: bool) -> Option<Group> {
        let is_due = self.due().is_some_and(|due| all || due <= now);
        if is_due { self.close_first() } else { None }
    }

    /// When the first pen is due.
    pub(crate) fn due(&mut self) -> Option<Instant> {
        loop {
            let (due, sort) = self.opened.front()?;
            if self.pens.get(sort).is_some_and(|pen| pen.due == *due) {
                return Some(*due);
            }
            self.opened.pop_front();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A file that belongs elsewhere.
    pub(crate) fn remove(&mut self, file: &Candidate) {
        let Some(pen) = Sort::of(&file.path).and_then(|sort| self.pens.get_mut(&sort)) else {
            return;
        };
        let Some(at) = pen.files.iter().position(|one| one.path == file.path) else { return };
        pen.bytes -= pen.files.remove(at).bytes;
        self.count -= 1;
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &Candidate> {
        self.pens.values().flat_map(|pen| &pen.files)
    }

    fn close_first(&mut self) -> Option<Group> {
        self.due()?;
        let (_, sort) = self.opened.pop_front()?;
        self.close(&sort)
    }

    fn close(&mut self, sort: &Sort) -> Option<Group> {
        let mut files = self.pens.remove(sort)?.files;
        self.count -= files.len();
        files.sort_by(|a, b| (a.time, &a.path).cmp(&(b.time, &b.path)));
        Some(files).filter(|files| !files.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn file(dir: &str, nth: u64, bytes: u64) -> Candidate {
        let name = format!("20261122T194030.{nth:09}Z-000000000000feed-1-w3-{nth}.log");
        let time = UNIX_EPOCH + Duration::from_secs(nth);
        Candidate { path: format!("{dir}/{name}").into(), time, bytes, modified: time }
    }

    fn times(group: Option<Group>) -> Vec<u64> {
        let seconds = |file: Candidate| file.time.duration_since(UNIX_EPOCH).unwrap().as_secs();
        group.unwrap_or_default().into_iter().map(seconds).collect()
    }

    #[test]
    fn a_group_is_complete_at_its_size_and_in_the_order_of_names() {
        let (mut pens, now) = (Pens::new(100, Duration::from_secs(60)), Instant::now());
        assert!(pens.takes(&file("a", 1, 99)) && !pens.takes(&file("a", 1, 100)));
        assert_eq!(pens.add(file("a", 2, 60), now), None);
        assert_eq!(pens.add(file("b", 3, 60), now), None);
        assert_eq!(times(pens.add(file("a", 1, 60), now)), [1, 2]);
        pens.remove(&file("b", 3, 60));
        assert!(pens.is_empty());
        assert_eq!(pens.next(now, true), None);
    }

    #[test]
    fn nothing_waits_longer_than_its_age() {
        let (mut pens, now) = (Pens::new(100, Duration::from_secs(60)), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        pens.add(file("a", 1, 10), now);
        pens.add(file("b", 2, 10), later(10));
        pens.add(file("a", 3, 10), later(59));
        assert_eq!((pens.due(), pens.next(later(59), false)), (Some(later(60)), None));
        assert_eq!(times(pens.next(later(60), false)), [1, 3]);
        pens.add(file("a", 4, 99), later(61));
        assert_eq!(times(pens.add(file("a", 5, 99), later(62))), [4, 5]);
        pens.add(file("a", 6, 10), later(65));
        assert_eq!(times(pens.next(later(70), false)), [2], "of b");
        assert_eq!(pens.due(), Some(later(125)));
        assert_eq!(times(pens.next(later(70), true)), [6]);
    }

    #[test]
    fn the_oldest_pen_makes_room() {
        let (mut pens, now) = (Pens::new(100, Duration::from_secs(60)), Instant::now());
        for nth in 0..FILES_MAX as u64 {
            assert_eq!(pens.add(file(&nth.to_string(), nth, 1), now), None);
        }
        assert_eq!(times(pens.add(file("x", 99_999, 1), now)), [0]);
        assert_eq!(pens.files().count(), FILES_MAX);
        let mut pens = Pens::new(u64::MAX, Duration::from_secs(60));
        let full = (0..2000).find_map(|nth| pens.add(file("a", nth, 0), now));
        assert_eq!(full.unwrap().len(), MEMBERS_MAX);
    }
}
