//! What tells one writer from others.

use bufferedwriter::InstanceStats;

/// The end of its name, as files have it: random number and process id.
pub(super) fn id(it: &InstanceStats) -> String {
    format!("{:016x}-{}", it.instance, it.pid)
}
