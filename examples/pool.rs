//! Pooled buffers. A thread fills one and gives it away with `send`. It comes back to the pool when
//! the writer drops it, on whatever path. The counters at the end show that none is lost.
//!
//! `cargo run --example pool` writes to the directory `bufferedwriter-pool` in the system's temp
//! directory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config};

/// Buffers that wait for their next use.
#[derive(Default)]
struct Pool {
    free: Mutex<Vec<Vec<u8>>>,
    made: AtomicU64,
    lent: AtomicU64,
    returned: AtomicU64,
}

/// A buffer that goes back to its pool when it is dropped.
struct Pooled {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
}

impl Pool {
    fn take(self: &Arc<Self>) -> Pooled {
        self.lent.fetch_add(1, Ordering::Relaxed);
        let free = self.free.lock().expect("the pool").pop();
        let bytes = free.unwrap_or_else(|| {
            self.made.fetch_add(1, Ordering::Relaxed);
            Vec::with_capacity(16 << 10)
        });
        Pooled { bytes, pool: self.clone() }
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.pool.free.lock().expect("the pool").push(bytes);
        self.pool.returned.fetch_add(1, Ordering::Relaxed);
    }
}

/// One request after the other; `Full` is not an error here: the message comes back and is dropped.
fn serve(writer: &BufferedWriter, pool: &Arc<Pool>, thread: usize) -> u64 {
    let mut refused = 0;
    for request in 0..5000_usize {
        let mut message = pool.take();
        // 1 to 16 KB: some are copied, most are handed over.
        let body = "x".repeat(1000 + request * 7919 % 15_000);
        message.bytes.extend_from_slice(format!("{{\"thread\":{thread},\"body\":\"").as_bytes());
        message.bytes.extend_from_slice(body.as_bytes());
        message.bytes.extend_from_slice(b"\"}\n");
        if let Err(error) = writer.send(message) {
            refused += 1;
            drop(error.into_inner());
        }
    }
    refused
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join("bufferedwriter-pool");
    let config = Config::default()
        .path(directory.join("ready"))
        .temp(directory.join("unfinished"))
        .create_dirs(true);
    let writer = BufferedWriter::new(config)?;
    let pool = Arc::new(Pool::default());

    let refused: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let (writer, pool) = (&writer, &pool);
                scope.spawn(move || serve(writer, pool, thread))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).sum()
    });
    let report = writer.close(Duration::from_secs(30))?;

    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (made, lent, returned) = (count(&pool.made), count(&pool.lent), count(&pool.returned));
    println!("{} messages in {} files, {refused} refused", report.written.records, report.files);
    println!("{made} buffers made, {lent} times lent, {returned} times returned");
    assert_eq!((lent, refused + report.written.records), (returned, 4 * 5000));
    assert_eq!(pool.free.lock().expect("the pool").len() as u64, made);
    Ok(())
}
