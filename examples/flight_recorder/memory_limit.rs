//! A memory cgroup for a process that is to run out of memory, where the system permits one.

use std::fs;
use std::path::{Path, PathBuf};

/// The cgroup, which is removed at the end.
pub struct MemoryLimit(PathBuf);

impl MemoryLimit {
    /// A cgroup below that of this process, with a limit of this many bytes. `None` where that is not
    /// permitted.
    pub fn new(bytes: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let (dir, [limit, swap]) = own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let (root, path) = (Path::new("/sys/fs/cgroup"), path.trim_start_matches('/'));
            let is_old = controllers.split(',').any(|name| name == "memory");
            let is_new = controllers.is_empty() && root.join("cgroup.controllers").exists();
            let old = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
            match (is_old, is_new) {
                (true, _) => Some((root.join("memory").join(path), old)),
                (_, true) => Some((root.join(path), ["memory.max", "memory.swap.max"])),
                _ => None,
            }
        })?;
        let made = MemoryLimit(dir.join(format!("bufferedwriter-{}", std::process::id())));
        fs::create_dir(&made.0).ok()?;
        fs::write(made.0.join(limit), bytes.to_string()).ok()?;
        // Memory that is swapped out would count no more. Not every system has the file.
        let _ =
            fs::write(made.0.join(swap), if limit == "memory.max" { 0 } else { bytes }.to_string());
        Some(made)
    }

    /// The directory of the cgroup.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Puts this process into the cgroup with this directory.
pub fn enter(cgroup: &Path) -> std::io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
}
