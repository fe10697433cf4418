//! The directory in memory that crash-proof writers use unless they are told otherwise.

use std::path::Path;

const SHM: &str = "/dev/shm";

/// Its path. Where there is none, or no crash-proof memory, this says that a test is skipped.
pub fn dir() -> Option<&'static Path> {
    if !cfg!(target_os = "linux") {
        println!("skipped: only Linux has crash-proof memory");
        return None;
    }
    if cfg!(bufferedwriter_portable) {
        println!(
            "skipped: portable builds rename in two steps, so they have no crash-proof memory"
        );
        return None;
    }
    let dir = Path::new(SHM);
    if !dir.is_dir() {
        println!("skipped: there is no {SHM}");
        return None;
    }
    Some(dir)
}
