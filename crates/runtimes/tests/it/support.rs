//! Executors, and a writer whose worker is held up.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config, WriteError, testing};
use bufferedwriter_testkit::dir::{TestDir, paths};
use bufferedwriter_testkit::record::{self, Id};
use bufferedwriter_testkit::record_set::RecordSet;
use bufferedwriter_testkit::wait::{BOUND, until};

pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone, Copy, Debug)]
pub enum Executor {
    TokioCurrentThread,
    TokioMultiThread,
    Smol,
}

/// Runs a test on each executor.
pub fn on_each(test: impl Fn(Executor)) {
    for executor in [Executor::TokioCurrentThread, Executor::TokioMultiThread, Executor::Smol] {
        println!("{executor:?}");
        test(executor);
    }
}

impl Executor {
    /// Runs tasks side by side until all are done.
    pub fn run(self, tasks: impl IntoIterator<Item = Task>) {
        let tasks = tasks.into_iter();
        let mut builder = match self {
            Executor::TokioCurrentThread => tokio::runtime::Builder::new_current_thread(),
            Executor::TokioMultiThread => tokio::runtime::Builder::new_multi_thread(),
            Executor::Smol => {
                let tasks: Vec<_> = tasks.map(smol::spawn).collect();
                let all = async {
                    for task in tasks {
                        task.await;
                    }
                };
                return smol::block_on(async { self.within(BOUND, all).await.expect("in time") });
            }
        };
        builder.worker_threads(3).enable_time().build().unwrap().block_on(async {
            let tasks: Vec<_> = tasks.map(tokio::spawn).collect();
            let all = async {
                for task in tasks {
                    task.await.unwrap();
                }
            };
            self.within(BOUND, all).await.expect("in time");
        });
    }

    /// `None` if the time is over first. Then the future is dropped.
    pub async fn within<T>(self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        match self {
            Executor::Smol => {
                let timer = async {
                    smol::Timer::after(time).await;
                    None
                };
                smol::future::or(async { Some(future.await) }, timer).await
            }
            _ => tokio::time::timeout(time, future).await.ok(),
        }
    }
}

/// A message whose `Drop` holds its worker up until the gate is opened.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar, AtomicU32)>);

struct Message(Gate);

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        // A record that no test makes, large enough to be handed over.
        b"0.ffffffffffffffff.48.QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ\n"
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        let (is_open, opened, waiting) = &*self.0.0;
        waiting.fetch_add(1, Ordering::Relaxed);
        let is_open = is_open.lock().unwrap();
        drop(opened.wait_while(is_open, |is_open| !*is_open).unwrap());
    }
}

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn is_reached(&self) -> bool {
        self.0.2.load(Ordering::Relaxed) > 0
    }
}

/// A writer with little memory.
pub fn small(dir: &TestDir) -> BufferedWriter {
    let config = Config::default().path(dir.path()).temp(dir.path()).workers(1);
    BufferedWriter::new(config.size(256).queue_size(4)).unwrap()
}

/// A writer with one worker, which is held up, and with full memory. Records that fill it do not
/// count: they are empty lines.
pub fn full(dir: &TestDir) -> (BufferedWriter, Gate) {
    let (writer, gate) = (small(dir), Gate::default());
    assert!(writer.send(Message(gate.clone())).is_ok());
    until("the worker is held up", || {
        let _ = writer.write(&[b'\n'; 256]);
        gate.is_reached()
    });
    while writer.write(b"\n").is_ok() {}
    assert_eq!(writer.write(b"\n"), Err(WriteError::Full));
    (writer, gate)
}

/// Waits for memory, or for nothing: the numbers of futures that wait for memory, and for a flush.
pub fn waiting(writer: &BufferedWriter) -> (u64, usize) {
    testing::waiting_tasks(writer)
}

pub fn make(producer: u32, seq: u64, len: usize) -> Vec<u8> {
    let mut record = Vec::new();
    record::make(&mut record, Id { producer, seq }, len);
    record
}

/// The records of all visible files, without the lines of [`full`].
pub fn visible(dir: &Path) -> RecordSet {
    let mut set = RecordSet::in_any_order();
    for path in paths(dir) {
        if bufferedwriter_testkit::dir::is_hidden(&path) {
            continue;
        }
        let mut file = std::fs::read(&path).unwrap();
        let lines: Vec<u8> = file
            .split_inclusive(|&byte| byte == b'\n')
            .filter(|line| line.len() > 1 && !line.starts_with(b"0.ffffffffffffffff."))
            .flatten()
            .copied()
            .collect();
        file = lines;
        if !file.is_empty() {
            set.add(&file).unwrap();
        }
    }
    set
}
