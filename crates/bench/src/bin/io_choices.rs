//! What one thread that writes one file after the other gets out of a disk, and at what cost. It compares sizes
//! of writes, huge pages, preallocation, and direct I/O with the page cache. The library's choices rest on it;
//! it does not use the library.
//!
//! Usage: `io_choices DIR [MIB_PER_RUN [ROUNDS]]` (default 1024 MiB, 5 rounds, interleaved; medians)

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

const FILE_BYTES: u64 = 64 << 20;
const HUGE: usize = 2 << 20;

/// How a file's space is allocated before it is written.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    /// fallocate(KEEP_SIZE)
    Room,
    /// fallocate, with the length
    Length,
}

/// What is done to a file once it is written.
#[derive(Clone, Copy)]
enum After {
    /// Truncated by 100 bytes, like a file whose last block is padded.
    Cut,
    /// sync_file_range for each part as it is written; at the end waited for and dropped from the page cache.
    WriteBack,
}

struct Choice {
    name: &'static str,
    write_bytes: usize,
    is_direct: bool,
    is_huge: bool,
    before: Before,
    after: After,
}

const fn direct(name: &'static str, kib: usize, is_huge: bool, before: Before) -> Choice {
    Choice { name, write_bytes: kib << 10, is_direct: true, is_huge, before, after: After::Cut }
}

const fn buffered(name: &'static str, kib: usize, before: Before, after: After) -> Choice {
    Choice { name, write_bytes: kib << 10, is_direct: false, is_huge: false, before, after }
}

const CHOICES: &[Choice] = &[
    direct("direct, 64 KiB", 64, false, Before::Nothing),
    direct("direct, 256 KiB", 256, false, Before::Nothing),
    direct("direct, 512 KiB", 512, false, Before::Nothing),
    direct("direct, 512 KiB, huge pages", 512, true, Before::Nothing),
    direct("direct, 1 MiB", 1024, false, Before::Nothing),
    direct("direct, 1 MiB, huge pages", 1024, true, Before::Nothing),
    direct("direct, 1 MiB, huge pages, fallocate KEEP_SIZE", 1024, true, Before::Room),
    direct("direct, 1 MiB, huge pages, fallocate", 1024, true, Before::Length),
    direct("direct, 2 MiB, huge pages", 2048, true, Before::Nothing),
    buffered("buffered, 64 KiB", 64, Before::Nothing, After::Cut),
    buffered("buffered, 1 MiB", 1024, Before::Nothing, After::Cut),
    buffered("buffered, 1 MiB, fallocate KEEP_SIZE", 1024, Before::Room, After::Cut),
    buffered("buffered, 1 MiB, sync_file_range, dropped", 1024, Before::Nothing, After::WriteBack),
];

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize, default| args.get(i).map_or(Some(default), |text| text.parse().ok());
    let (Some(dir), Some(mib), Some(rounds)) = (args.get(1), number(2, 1024_u64), number(3, 5_u64))
    else {
        eprintln!("usage: io_choices DIR [MIB_PER_RUN [ROUNDS]]");
        std::process::exit(2)
    };
    let dir = PathBuf::from(dir).join(format!("io-choices-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let mut results: Vec<Vec<(f64, f64)>> = CHOICES.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds.max(1) {
        for (choice, results) in CHOICES.iter().zip(&mut results) {
            match run(&dir, choice, mib << 20) {
                Ok(result) => results.push(result),
                Err(error) => eprintln!("{}: {error}", choice.name),
            }
        }
    }
    println!("| one thread, files of 64 MiB | MiB/s | CPU s/GB |\n|---|---|---|");
    for (choice, results) in CHOICES.iter().zip(results) {
        if !results.is_empty() {
            let speed = median(results.iter().map(|r| r.0).collect());
            let cpu = median(results.iter().map(|r| r.1).collect());
            println!("| {} | {speed:.0} | {cpu:.3} |", choice.name);
        }
    }
    fs::remove_dir_all(dir)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// MiB per second and seconds of the processor per GB.
fn run(dir: &Path, choice: &Choice, bytes: u64) -> io::Result<(f64, f64)> {
    let memory = Memory::new(choice.is_huge)?;
    let files: Vec<PathBuf> =
        (0..bytes.div_ceil(FILE_BYTES)).map(|i| dir.join(format!("{i}"))).collect();
    let (began, cpu_before) = (Instant::now(), cpu_seconds());
    files.iter().try_for_each(|path| write(path, choice, memory.bytes(choice.write_bytes)))?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    files.iter().try_for_each(fs::remove_file)?;
    let written = (files.len() as u64 * FILE_BYTES) as f64;
    Ok((written / seconds / f64::from(1 << 20), cpu / (written / 1e9)))
}

fn write(path: &Path, choice: &Choice, bytes: &[u8]) -> io::Result<()> {
    let flags = if choice.is_direct { libc::O_DIRECT } else { 0 };
    let file = OpenOptions::new().write(true).create_new(true).custom_flags(flags).open(path)?;
    let mode = match choice.before {
        Before::Nothing => None,
        Before::Room => Some(libc::FALLOC_FL_KEEP_SIZE),
        Before::Length => Some(0),
    };
    if let Some(mode) = mode {
        // SAFETY: a call on an open descriptor, without memory.
        check(unsafe { libc::fallocate(file.as_raw_fd(), mode, 0, FILE_BYTES as i64) })?;
    }
    let mut at = 0;
    while at < FILE_BYTES {
        file.write_all_at(bytes, at)?;
        if matches!(choice.after, After::WriteBack) {
            write_back(&file, at, bytes.len() as u64, libc::SYNC_FILE_RANGE_WRITE)?;
        }
        at += bytes.len() as u64;
    }
    match choice.after {
        After::Cut => file.set_len(FILE_BYTES - 100),
        After::WriteBack => drop_cached(&file),
    }
}

fn write_back(file: &File, at: u64, len: u64, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: a call on an open descriptor, without memory.
    check(unsafe { libc::sync_file_range(file.as_raw_fd(), at as i64, len as i64, flags) })
}

fn drop_cached(file: &File) -> io::Result<()> {
    use libc::{SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE};
    let all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    write_back(file, 0, FILE_BYTES, all)?;
    // SAFETY: a call on an open descriptor, without memory.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn cpu_seconds() -> f64 {
    // SAFETY: zero is a valid value of each field; the call fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Non-zero memory of the size and alignment of a huge page.
struct Memory(*mut u8);

impl Memory {
    const MAPPED: usize = 2 * HUGE;

    fn new(is_huge: bool) -> io::Result<Self> {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let map = unsafe { libc::mmap(std::ptr::null_mut(), Self::MAPPED, prot, flags, -1, 0) };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = Memory(map.cast());
        let advice = if is_huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
        // SAFETY: within a mapping of this program's own, to which nothing refers yet.
        unsafe {
            check(libc::madvise(memory.begin().cast(), HUGE, advice))?;
            std::ptr::write_bytes(memory.begin(), b'x', HUGE);
        }
        Ok(memory)
    }

    fn begin(&self) -> *mut u8 {
        // SAFETY: alignment skips less than `HUGE` bytes, and the mapping has twice as many.
        unsafe { self.0.add(self.0.align_offset(HUGE)) }
    }

    fn bytes(&self, len: usize) -> &[u8] {
        assert!(len <= HUGE);
        // SAFETY: initialised in `new`, and never written again.
        unsafe { std::slice::from_raw_parts(self.begin(), len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made.
        unsafe { libc::munmap(self.0.cast(), Self::MAPPED) };
    }
}
