//! Marks that are queued after the records, for peers that do not tell the length of their queue. Once a mark
//! comes out, so have all records before it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::sink::wait_until;

#[derive(Default)]
pub struct Marks {
    asked: AtomicU64,
    /// The highest mark that came out.
    seen: AtomicU64,
}

impl Marks {
    /// Sends a mark again and again until it comes out, since a full queue drops it.
    pub fn settle(&self, timeout: Duration, send: impl Fn(&str)) -> bool {
        let mark = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let as_text = mark.to_string();
        let seen = || self.seen.load(Ordering::Acquire) >= mark;
        wait_until(timeout, || {
            send(&as_text);
            wait_until(timeout.min(Duration::from_millis(1)), seen)
        })
    }

    /// Called where the queue ends. Pairs with the load in `settle`.
    pub fn came_out(&self, mark: &str) {
        let mark = mark.parse().expect("a mark is a number");
        self.seen.fetch_max(mark, Ordering::Release);
    }
}
