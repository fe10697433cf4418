//! What a process has used, and what its file system has free.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Processor time, in seconds, of all threads so far, ended ones included: in user mode and in system calls.
/// What the kernel's own threads do later on their behalf is not included.
pub fn cpu_seconds() -> f64 {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the call fills in what it is given; with these arguments it can't fail.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// The same for another process, with the kernel's resolution, a hundredth of a second.
pub fn cpu_seconds_of(pid: u32) -> io::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = cpu_ticks(&stat).ok_or(io::ErrorKind::InvalidData)?;
    // SAFETY: only reads a number.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(ticks as f64 / per_second as f64)
}

/// The name, in parentheses, may hold any character. The twelfth and thirteenth fields after it are user and
/// system time.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// This process's peak of resident memory.
pub fn peak_memory_bytes() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    Ok(kib.ok_or(io::ErrorKind::InvalidData)? << 10)
}

/// This process's resident memory now.
pub fn memory_bytes() -> io::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    Ok(pages.ok_or(io::ErrorKind::InvalidData)? * super::page_cache::page_bytes())
}

/// Stops a load before a subject that queues without a bound takes all of the machine's memory.
pub struct MemoryGuard {
    bytes_max: u64,
    next_look: Instant,
}

impl MemoryGuard {
    /// Far more than any subject is configured for, and far less than machines have.
    pub const BYTES_MAX: u64 = 4 << 30;
    const EVERY: Duration = Duration::from_millis(100);

    pub fn new(bytes_max: u64) -> Self {
        MemoryGuard { bytes_max, next_look: Instant::now() }
    }

    /// Whether the process has grown too large. Looks at most ten times a second.
    pub fn is_exceeded(&mut self, now: Instant) -> bool {
        if now < self.next_look {
            return false;
        }
        self.next_look = now + Self::EVERY;
        memory_bytes().is_ok_and(|bytes| bytes > self.bytes_max)
    }
}

/// Bytes that an unprivileged user can still write below `dir`.
pub fn free_bytes(dir: &Path) -> io::Result<u64> {
    let path = CString::new(dir.as_os_str().as_bytes())?;
    let mut stat = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: a string that ends in NUL, and room for the answer.
    let result = unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled it in.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Waits until the whole file system of `dir` has nothing left to write.
pub fn sync_file_system(dir: &Path) -> io::Result<()> {
    let dir = std::fs::File::open(dir)?;
    // SAFETY: `dir` is open.
    match unsafe { libc::syncfs(dir.as_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Waits until all files directly in `dir` are on the disk.
pub fn sync_files(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::File::open(entry.path())?.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_something() {
        while cpu_seconds() == 0.0 {
            std::hint::spin_loop();
        }
        assert!(peak_memory_bytes().unwrap() > 1 << 16);
        assert!(memory_bytes().unwrap() > 1 << 16);
    }

    #[test]
    fn memory_is_looked_at_now_and_then() {
        let now = Instant::now();
        let mut guard = MemoryGuard::new(1);
        assert!(guard.is_exceeded(now + MemoryGuard::EVERY));
        assert!(!guard.is_exceeded(now + MemoryGuard::EVERY));
        assert!(!MemoryGuard::new(u64::MAX).is_exceeded(now + MemoryGuard::EVERY));
    }

    #[test]
    fn another_process_tells_what_it_used() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 9 9 20 0 1 0 1 1 1 1";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert!(cpu_seconds_of(std::process::id()).unwrap() >= 0.0);
    }

    #[test]
    fn a_file_system_has_room_and_can_be_synced() {
        let dir = std::env::temp_dir();
        assert!(free_bytes(&dir).unwrap() > 0);
        sync_file_system(&dir).unwrap();
        assert!(free_bytes(Path::new("/nowhere/at/all")).is_err());
    }
}
