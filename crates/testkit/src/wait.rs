//! Waiting for a condition, with a bound. No test sleeps for a time and hopes.

use std::thread;
use std::time::{Duration, Instant};

/// Far more than anything takes, also on a busy machine: only a fault reaches it. It is shorter where bugs are planted,
/// which often make a test wait in vain.
pub const BOUND: Duration = Duration::from_secs(match option_env!("BUFFEREDWRITER_SHORT_BOUND") {
    Some(_) => 8,
    None => 60,
});

/// Returns once the condition holds.
///
/// # Panics
/// It does not hold within [`BOUND`].
#[track_caller]
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(BOUND, condition), "waited in vain: {what}");
}

/// Returns once the condition holds, or the time is over. Whether it holds.
pub fn holds_within(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    let mut looks = 0_u32;
    while !condition() {
        if began.elapsed() >= time {
            return false;
        }
        looks += 1;
        // Yields first. Later it leaves the processor to those that it waits for, the longer the more.
        match looks / 100 {
            0 => thread::yield_now(),
            longer => thread::sleep(Duration::from_micros(200) * longer.min(25)),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_asked_until_it_holds_or_the_time_is_over() {
        let mut looks = 0;
        until("the third look", || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
        assert!(!holds_within(Duration::from_millis(1), || false));
        assert!(holds_within(Duration::ZERO, || true));
    }
}
