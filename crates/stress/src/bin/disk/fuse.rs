//! The part of the kernel's FUSE protocol (linux/fuse.h, version 7.31) that one file in one directory needs.
//!
//! Guarantees: requests are answered one by one, in their order. All other requests are refused with
//! ENOSYS, after which the kernel does not ask again.

use std::ffi::CString;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bufferedwriter_stress::failure::{expect, fail};
use rustix::mount::{MountFlags, mount as mount_at};

use crate::store::Store;

const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;

const ROOT: u64 = 1;
const DISK: u64 = 2;
const NAME: &[u8] = b"disk";

/// The largest write, in bytes.
const WRITE_MAX: u32 = 1 << 20;
/// Bytes of a request's header.
const HEAD: usize = 40;
/// `FUSE_BIG_WRITES` and `FUSE_MAX_PAGES`.
const FLAGS: u32 = 1 << 5 | 1 << 22;

/// Opens `/dev/fuse` and mounts it at a directory.
pub(crate) fn mount(at: &Path) -> File {
    let device = expect("open", File::options().read(true).write(true).open("/dev/fuse"));
    let options =
        format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
    let options = expect("options", CString::new(options));
    let flags = MountFlags::NODEV | MountFlags::NOSUID;
    expect("mount", mount_at("faulty-disk", at, "fuse", flags, &*options));
    device
}

/// Answers requests until the file system is unmounted.
pub(crate) fn serve(mut device: &File, size: u64, store: &Mutex<Store>) {
    let mut buffer = vec![0; WRITE_MAX as usize + (64 << 10)];
    loop {
        let len = match device.read(&mut buffer) {
            Ok(len) => len,
            // A request that was interrupted.
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::NotFound) => {
                continue;
            }
            // ENODEV: unmounted.
            Err(error) if error.raw_os_error() == Some(19) => return,
            Err(error) => fail(&format!("read a request: {error}")),
        };
        let request = &buffer[..len];
        let opcode = u32_at(request, 4);
        // FORGET, INTERRUPT and BATCH_FORGET have no answer.
        if matches!(opcode, 2 | 36 | 42) {
            continue;
        }
        let (error, body) = match answer(opcode, request, size, store) {
            Ok(body) => (0, body),
            Err(errno) => (-errno, Vec::new()),
        };
        let mut reply = Vec::with_capacity(16 + body.len());
        reply.extend((16 + body.len() as u32).to_le_bytes());
        reply.extend(error.to_le_bytes());
        reply.extend(&request[8..16]);
        reply.extend(body);
        match device.write(&reply) {
            // The caller was interrupted and waits no longer.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            written => drop(expect("answer a request", written)),
        }
    }
}

fn answer(opcode: u32, request: &[u8], size: u64, store: &Mutex<Store>) -> Result<Vec<u8>, i32> {
    let node = u64_at(request, 16);
    let body = &request[HEAD..];
    let locked = || store.lock().unwrap_or_else(PoisonError::into_inner);
    let pause = || match locked().pause_ms() {
        0 => {}
        ms => thread::sleep(Duration::from_millis(ms)),
    };
    match opcode {
        // LOOKUP: the node, which the kernel may cache for ever.
        1 if body.strip_suffix(b"\0") == Some(NAME) => {
            let mut entry = words(&[DISK, 0, FOR_EVER, FOR_EVER, 0]);
            entry.extend(attributes(DISK, size));
            Ok(entry)
        }
        1 => Err(ENOENT),
        // GETATTR, SETATTR
        3 | 4 => {
            let mut reply = words(&[FOR_EVER, 0]);
            reply.extend(attributes(node, size));
            Ok(reply)
        }
        // OPEN, OPENDIR: no flag keeps the cache, so the kernel drops what it had cached.
        14 | 27 => Ok(words(&[0, 0])),
        // READ
        15 => Ok(locked().read(u64_at(body, 8) as usize, u32_at(body, 16) as usize).to_vec()),
        // WRITE
        16 => {
            pause();
            let len = u32_at(body, 16);
            locked().write(u64_at(body, 8) as usize, &body[40..40 + len as usize])?;
            Ok(words(&[u64::from(len)]))
        }
        // FSYNC
        20 => {
            pause();
            locked().flush().map(|()| Vec::new())
        }
        // STATFS: all zeros.
        17 => Ok(words(&[0; 10])),
        // RELEASE, FLUSH, RELEASEDIR, DESTROY; an empty READDIR.
        18 | 25 | 29 | 38 | 28 => Ok(Vec::new()),
        // INIT
        26 => {
            let mut reply = Vec::new();
            for word in [7, 31, u32_at(body, 8), FLAGS, 0, WRITE_MAX, 1, WRITE_MAX >> 12] {
                reply.extend(u32::to_le_bytes(word));
            }
            reply.resize(64, 0);
            Ok(reply)
        }
        _ => Err(ENOSYS),
    }
}

const FOR_EVER: u64 = 1 << 30;

/// `fuse_attr` of the directory or the file.
fn attributes(node: u64, size: u64) -> Vec<u8> {
    let (mode, size) = if node == ROOT { (0o40755, 0) } else { (0o100_600, size) };
    let mut attr = words(&[node, size, size / 512, 0, 0, 0]);
    for word in [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0u32] {
        attr.extend(word.to_le_bytes());
    }
    attr
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}
