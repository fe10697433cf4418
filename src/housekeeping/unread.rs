//! The oldest of the files that wait in the journal only, in bounded memory.
//!
//! Guarantees: no file that waits is older than [`Unread::oldest`] says. It is exact to a group of files that
//! follow each other.

use std::collections::VecDeque;

use crate::naming::Stamp;

/// Files of one group.
const GROUP: u64 = 256;
/// More than a million files. Beyond, the last group takes all.
const GROUPS_MAX: usize = 4096;

/// Files in the order of the journal, in groups.
#[derive(Debug, Default)]
pub(super) struct Unread(VecDeque<Group>);

#[derive(Debug)]
struct Group {
    /// Files that came, and those of them that are not read yet.
    files: u64,
    left: u64,
    oldest: Stamp,
}

impl Unread {
    /// A file comes to the journal's end.
    pub(super) fn push(&mut self, stamp: Stamp) {
        let is_full = self.0.len() == GROUPS_MAX;
        match self.0.back_mut() {
            Some(last) if is_full || last.files < GROUP => {
                (last.files, last.left) = (last.files + 1, last.left + 1);
                last.oldest = last.oldest.min(stamp);
            }
            _ => self.0.push_back(Group { files: 1, left: 1, oldest: stamp }),
        }
    }

    /// That many files were read.
    pub(super) fn take(&mut self, mut files: u64) {
        while let Some(first) = self.0.front_mut().filter(|_| files > 0) {
            let taken = first.left.min(files);
            (first.left, files) = (first.left - taken, files - taken);
            if first.left == 0 {
                self.0.pop_front();
            }
        }
    }

    /// No file that waits is older.
    pub(super) fn oldest(&self) -> Option<Stamp> {
        self.0.iter().map(|group| group.oldest).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::random::Random;

    /// Beside all stamps: never younger than the oldest, and not older than a group's.
    #[test]
    fn it_is_the_oldest_of_a_group_and_memory_is_bounded() {
        let (mut unread, mut all, mut random) =
            (Unread::default(), VecDeque::new(), Random::new(7));
        for at in 0..20_000_u64 {
            let stamp = Stamp(at * 10 + random.below(50));
            unread.push(stamp);
            all.push_back(stamp);
            // A backlog that grows, and then one that stays.
            if at < 1000 && random.one_in(2) || at >= 1000 && all.len() > 100 {
                unread.take(1);
                all.pop_front();
            }
            let oldest = all.iter().min().copied();
            assert!(unread.oldest() <= oldest && unread.oldest().is_some() == oldest.is_some());
            let behind = oldest.map_or(0, |oldest| oldest.0 - unread.oldest().unwrap().0);
            assert!(behind <= 20 * GROUP, "{behind}");
        }
        for at in 0..2 * GROUPS_MAX as u64 * GROUP {
            unread.push(Stamp(1_000_000 + at));
        }
        assert_eq!(unread.0.len(), GROUPS_MAX);
        unread.take(u64::MAX);
        assert_eq!(unread.oldest(), None);
    }
}
