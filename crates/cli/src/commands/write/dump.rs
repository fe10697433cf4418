//! Publishing what a flight recorder holds, while whoever asked for it looks at other things.
//!
//! Guarantees: one dump with the whole time, however short the looks: a dump that is given up begins anew.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use bufferedwriter::{BufferedWriter, DumpError, DumpOptions};

use crate::sys;

/// Dumps on a thread of its own, which ends with the dump. `look` is called about every `slice`, and returns
/// the time that is left.
pub(super) fn dump(
    writer: &BufferedWriter,
    timeout: Duration,
    slice: Duration,
    mut look: impl FnMut() -> Duration,
) -> Result<(), DumpError> {
    let (done, answer) = sync_channel(1);
    let options = DumpOptions::default().timeout(timeout);
    let dumping = writer.clone();
    let started = sys::spawn("dump", move || {
        // Nobody waits if the time is over.
        let _ = done.send(dumping.dump(options).map(drop));
    });
    if started.is_err() {
        return writer.dump(options).map(drop);
    }
    loop {
        match answer.recv_timeout(slice) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Timeout) if !look().is_zero() => {}
            Err(_) => return Err(DumpError::TimedOut),
        }
    }
}
