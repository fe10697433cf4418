//! Decides when the error callback is told of a worker's failures.
//!
//! Guarantees: the callback is told of every loss, of a new failure at once, and of a repeated one
//! once a second. It is foreign code: it runs while nothing is held, and its panic is caught.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::base::foreign::quietly;
use crate::report::error::Error;
use crate::report::health::{ErrorEvent, OnError, Stall};
use crate::report::stats::Count;

/// Shortest time between two reports of the same stall.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Tells the callback about one worker, and remembers what it was told.
#[derive(Debug)]
pub(crate) struct Teller {
    on_error: OnError,
    told: Option<(Instant, (&'static str, ErrorKind))>,
    /// Losses that the callback was told of.
    lost: Count,
}

impl Teller {
    pub(crate) fn new(on_error: OnError) -> Self {
        Teller { on_error, told: None, lost: Count::ZERO }
    }

    /// Whether there is a callback.
    pub(crate) fn is_heard(&self) -> bool {
        self.on_error.0.is_some()
    }

    /// Tells the callback of the worker's stall and its new losses, if it is time.
    pub(crate) fn tell(&mut self, now: Instant, stall: Option<Stall>, lost: Count) {
        let (Some(on_error), Some(stall)) = (self.on_error.0.clone(), stall) else { return };
        let lost_now = lost.saturating_sub(self.lost);
        if self.tells(now, &stall.error, stall.attempts == 1, !lost_now.is_zero()) {
            self.lost = lost;
            quietly(|| on_error(&ErrorEvent { stall, lost: lost_now }));
        }
    }

    fn tells(&mut self, now: Instant, error: &Error, is_first: bool, lost: bool) -> bool {
        let what = (error.operation(), error.kind());
        let lately = self.told.filter(|&(at, _)| now.saturating_duration_since(at) < TELL_INTERVAL);
        let is_new = lately.is_none_or(|(_, told)| is_first && told != what);
        if is_new || lost {
            self.told = Some((now, what));
        }
        is_new || lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_is_told_at_once_and_then_once_a_second() {
        let (mut teller, began) = (Teller::new(OnError::default()), Instant::now());
        let error = |kind: ErrorKind| Error::io("write", Path::new("file"), kind.into());
        let (full, other) = (error(ErrorKind::StorageFull), error(ErrorKind::NotFound));
        for (ms, error, is_first, lost, expected) in [
            (0, &full, true, false, true),
            (10, &full, false, false, false),
            (20, &other, false, false, false),
            (30, &full, true, false, false),
            (40, &other, true, false, true),
            (50, &full, false, true, true),
            (1049, &full, false, false, false),
            (1050, &full, false, false, true),
            (1060, &full, true, true, true),
        ] {
            let told = teller.tells(began + MS * ms, error, is_first, lost);
            assert_eq!(told, expected, "{error} after {ms} ms");
        }
    }
}
