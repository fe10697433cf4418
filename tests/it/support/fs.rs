//! File systems of a test: the machine's behind a closure that may answer in its place, or hang.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bufferedwriter::testing::Errno;

#[path = "../../../src/tests/fs/hooked.rs"]
mod hooked;

pub use hooked::{Answer, Call, Op};

type Hook = Box<dyn Fn(&Call<'_>) -> Answer + Send + Sync>;

pub type TestFs = hooked::HookedFs<Hook>;

impl TestFs {
    pub fn new(hook: impl Fn(&Call<'_>) -> Answer + Send + Sync + 'static) -> Arc<TestFs> {
        Arc::new(TestFs::with(Box::new(hook)))
    }
}

/// Where calls hang as long as it is shut. Opens by itself when the test ends, also by a panic.
pub struct Gate(Arc<Bar>);

#[derive(Default)]
struct Bar {
    shut: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicUsize,
}

/// A file system on which one operation on temp files hangs while the gate is shut.
pub fn hangs_at(op: Op) -> (Gate, Arc<TestFs>) {
    let (gate, pass) = Gate::open();
    let fs = TestFs::new(move |call| {
        if call.op == op && call.is_temp() {
            pass.through();
        }
        Answer::Go
    });
    (gate, fs)
}

/// A file system that fails these calls as long as the flag, which begins set, says so.
pub fn fails_while_broken(
    errno: Errno,
    calls: impl Fn(&Call<'_>) -> bool + Send + Sync + 'static,
) -> (Arc<AtomicBool>, Arc<TestFs>) {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let fs = TestFs::new(move |call| {
        let fails = calls(call) && is_broken.load(Ordering::SeqCst);
        if fails { Answer::Error(errno) } else { Answer::Go }
    });
    (broken, fs)
}

/// The side of the gate that goes into a hook.
#[derive(Clone)]
pub struct Pass(Arc<Bar>);

impl Gate {
    pub fn open() -> (Gate, Pass) {
        let bar = Arc::new(Bar::default());
        (Gate(bar.clone()), Pass(bar))
    }

    pub fn set_shut(&self, shut: bool) {
        *self.0.shut.lock().unwrap() = shut;
        self.0.opened.notify_all();
    }

    /// Calls that hang now.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.set_shut(false);
    }
}

impl Pass {
    pub fn through(&self) {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let mut shut = self.0.shut.lock().unwrap();
        while *shut {
            shut = self.0.opened.wait(shut).unwrap();
        }
        drop(shut);
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
