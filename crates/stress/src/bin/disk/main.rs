//! A disk that fails on command: a FUSE mount with one file, `disk`, for a loop device to use as its backing
//! file. Usage: disk MOUNTPOINT MIB (root). Commands come on standard input; each is answered by a line:
//!
//! ```text
//! ok                nothing fails (the state at the start)
//! eio-write         writes fail with EIO
//! enospc-write      writes fail with ENOSPC
//! eio-flush         flushes fail with EIO, and what was written since the last one is lost
//! slow MS           each write and flush takes MS milliseconds
//! cut SEED          the power fails: of what was written since the last flush, pieces of 4 KiB are kept at
//!                   random, in any order, none, or all; from here on all writes and flushes fail
//! ```
//!
//! Guarantees: what a flush covered is kept. A write of at most 1 MiB fails as a whole or not at all, so the
//! loop device's `max_sectors_kb` must be below that. The contents are in memory and end with the program.
//!
//! Layers: `main` reads commands, `fuse` speaks the protocol, `store` holds the contents.

mod fuse;
mod store;

use std::io::{BufRead, stdin};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bufferedwriter_stress::failure::{expect, fail};

use store::{Mode, Store};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [mount, mib] = &args[..] else { fail("usage: disk MOUNTPOINT MIB") };
    let bytes = expect::<usize, _>("a size in MiB", mib.parse()) << 20;
    let store = Arc::new(Mutex::new(Store::new(bytes)));
    let device = fuse::mount(Path::new(mount));
    let commands = store.clone();
    expect("start a thread", thread::Builder::new().spawn(move || obey(&commands)));
    println!("ready");
    fuse::serve(&device, bytes as u64, &store);
}

fn obey(store: &Mutex<Store>) {
    for line in stdin().lock().lines() {
        let line = expect("read a command", line);
        let (word, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number: u64 = expect("a number", number.parse());
        let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match word {
            "ok" => store.set(Mode::Ok),
            "eio-write" => store.set(Mode::Write(store::EIO)),
            "enospc-write" => store.set(Mode::Write(store::ENOSPC)),
            "eio-flush" => store.set(Mode::Flush),
            "slow" => store.set(Mode::Slow(number)),
            "cut" => store.cut(number),
            _ => fail(&format!("no such command: {line}")),
        };
        println!("{line}: {answer}");
    }
}
