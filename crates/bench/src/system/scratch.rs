//! Directories for one run, one subject or one test, which are removed with what is in them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory that is removed with its contents when this is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(parent: &Path) -> std::io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("bufferedwriter-bench-{}-{number}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Scratch(path.canonicalize()?))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Fails if a subject still writes there; then some files stay.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
