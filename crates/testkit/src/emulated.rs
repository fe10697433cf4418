//! Processors and systems that only a program imitates: qemu-user, which passes not every call on to the kernel, and Wine.

/// Set by `scripts/platforms` where one is imitated.
const VARIABLE: &str = "BUFFEREDWRITER_EMULATED";

/// Whether one is imitated.
pub fn is_on() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Whether a test is to be skipped, for this reason.
pub fn skips(why: &str) -> bool {
    if is_on() {
        println!("skipped: {why}");
    }
    is_on()
}

/// How many times as few cases a test tries that would take minutes there: imitated processors, and files under Wine,
/// are some twenty times as slow.
pub fn fewer() -> usize {
    if is_on() { 20 } else { 1 }
}
