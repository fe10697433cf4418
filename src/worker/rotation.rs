//! Decides when a file is finished and the next one begins: by its size and by the age of its
//! oldest record. `period` decides it by the wall clock.
//!
//! Guarantees: the limit that is met first applies. Pure: time and lengths are passed in.

use std::time::{Duration, Instant};

use crate::config::Files;
use crate::worker::queue::BATCH_BYTES;

/// A file that cannot become visible grows to at most this multiple of its size, or to one write.
/// One file grows instead of several waiting, since a state file names one per worker. The limit
/// exists because readers count on a bound.
const OVERSIZE: u64 = 4;
/// Longest lead by which a file is published before its age limit, since publishing takes time.
const LEAD_MAX: Duration = Duration::from_millis(50);

/// The limits of a writer's files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotation {
    file_size: u64,
    /// `None` without an age limit.
    age_max: Option<Duration>,
}

impl Rotation {
    pub(crate) fn new(files: &Files) -> Self {
        Rotation { file_size: files.file_size, age_max: files.age_max() }
    }

    /// Whether a file of this length is finished.
    pub(crate) fn is_full(self, len: u64) -> bool {
        len >= self.file_size.max(1)
    }

    /// Bytes by which a file of this length may still grow, roughly. `is_held` if it cannot become
    /// visible.
    pub(crate) fn room(self, len: u64, is_held: bool) -> u64 {
        let limit = if is_held {
            self.file_size.saturating_mul(OVERSIZE).max(BATCH_BYTES as u64)
        } else {
            self.file_size
        };
        limit.saturating_sub(len)
    }

    /// Whether there is an age limit.
    pub(crate) fn has_age(self) -> bool {
        self.age_max.is_some()
    }

    /// When to publish a file whose oldest record was accepted at `oldest`: shortly before its age
    /// limit.
    pub(crate) fn due_at(self, oldest: Instant) -> Option<Instant> {
        let age = self.age_max?;
        oldest.checked_add(age - (age / 16).min(LEAD_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(file_size: u64, file_age: Duration, forced: Duration) -> Rotation {
        Rotation::new(&Files { file_size, file_age, forced, ..Files::default() })
    }

    #[test]
    fn the_shorter_age_holds_and_leaves_time() {
        let (now, ms) = (Instant::now(), Duration::from_millis);
        for (file_age, forced, due) in [
            (0, 0, None),
            (1600, 0, Some(1550)),
            (0, 160, Some(150)),
            (16_000, 1600, Some(1550)),
            (16, 1600, Some(15)),
        ] {
            let rotation = rotation(1, ms(file_age), ms(forced));
            assert_eq!(rotation.due_at(now), due.map(|due| now + ms(due)));
            assert_eq!(rotation.has_age(), due.is_some());
        }
    }

    #[test]
    fn a_file_is_full_at_its_size_and_grows_on_while_it_is_held() {
        let small = rotation(10, Duration::ZERO, Duration::ZERO);
        assert!(!small.is_full(9) && small.is_full(10));
        assert_eq!((small.room(0, false), small.room(9, false), small.room(11, false)), (10, 1, 0));
        assert_eq!(small.room(40, true), (1 << 20) - 40);
        let large = rotation(1 << 20, Duration::ZERO, Duration::ZERO);
        assert_eq!(large.room(0, true), 4 << 20);
        // The first makes a file for every chunk, the second has no limit.
        let each = rotation(0, Duration::ZERO, Duration::ZERO);
        assert!(!each.is_full(0) && each.is_full(1));
        assert_eq!(rotation(u64::MAX, Duration::ZERO, Duration::ZERO).room(1, true), u64::MAX - 1);
    }
}
