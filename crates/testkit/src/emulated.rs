//! Processors that only a program imitates (qemu-user), which passes not every call on to the kernel.

/// Set by `scripts/platforms` where a processor is imitated.
const VARIABLE: &str = "BUFFEREDWRITER_EMULATED";

/// Whether a test is to be skipped, for this reason.
pub fn skips(why: &str) -> bool {
    let is_emulated = std::env::var_os(VARIABLE).is_some();
    if is_emulated {
        println!("skipped: {why}");
    }
    is_emulated
}
