//! Threads of the library: which signals they take, and that no call spins for long.

use std::fs;
use std::sync::mpsc;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::wait::until;

use crate::base::thread::spawn;
use crate::config::Config;
use crate::memory::slot::owned::Borrowed;
use crate::writer::open;

/// A line of what the system says of a thread of this process.
fn status(thread: &str, line: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
    let found = status.lines().find_map(|each| each.strip_prefix(line));
    found.unwrap().trim().to_owned()
}

/// Starts a thread, and says how the system calls it.
pub(super) fn with_id<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    body: impl FnOnce() -> T + Send + 'scope,
) -> (String, ScopedJoinHandle<'scope, T>) {
    let (say, hear) = mpsc::channel();
    let thread = scope.spawn(move || {
        let id = fs::read_link("/proc/thread-self").unwrap();
        say.send(id.to_str().unwrap().to_owned()).unwrap();
        body()
    });
    (hear.recv_timeout(Duration::from_secs(10)).unwrap(), thread)
}

/// Waits until a thread sleeps. Who gives way to others all the time is never found asleep.
pub(super) fn asleep(what: &str, thread: &str) {
    until(what, || status(thread, "State:").starts_with('S'));
}

fn blocked() -> u64 {
    u64::from_str_radix(&status("thread-self", "SigBlk:"), 16).unwrap()
}

#[test]
fn they_take_no_signals_but_those_of_their_own_faults() {
    if bufferedwriter_testkit::emulated::skips("qemu-user has signals of its own in the mask") {
        return;
    }
    let before = blocked();
    let (say, hear) = mpsc::channel();
    let thread = spawn("bw-test", move || say.send(blocked()).unwrap()).unwrap();
    let inside = hear.recv().unwrap();
    thread.join().unwrap();
    assert_eq!(blocked(), before, "the caller's mask is as it was");
    let is_blocked = |signal: i32| inside & 1 << (signal - 1) != 0;
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGUSR1, libc::SIGCHLD] {
        assert!(is_blocked(signal), "{signal} would be handled here");
    }
    // A write beyond a limit of the file's size then returns an error, which workers understand.
    assert!(is_blocked(libc::SIGXFSZ));
    // macOS and FreeBSD name none.
    #[cfg(target_os = "linux")]
    assert!(is_blocked(libc::SIGRTMIN()));
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
        assert!(!is_blocked(signal), "{signal} would end the process unheard");
    }
}

/// As with a producer that a thread with a real-time priority has preempted.
#[test]
fn who_waits_for_a_producer_sleeps_after_a_while() {
    let dir = TestDir::new();
    let config = Config::default().path(dir.path()).temp(dir.path()).drop_timeout(Duration::ZERO);
    let (handle, workers) = open::assemble(config, std::time::Instant::now()).unwrap();
    drop(workers);
    let mut producer = Borrowed::new(&handle.shared).unwrap();
    let mut producer = producer.owned();
    let calls: [(&str, &(dyn Fn() + Sync)); 2] = [
        ("stats", &|| {
            handle.stats();
        }),
        ("close", &|| {
            handle.begin_close(None);
        }),
    ];
    for (call, waits) in calls {
        let busy = producer.enter();
        let before = busy.slot.current();
        busy.slot.set_current(before.swapping());
        thread::scope(|scope| {
            let (id, waiter) = with_id(scope, waits);
            asleep(call, &id);
            busy.slot.set_current(before);
            drop(busy);
            waiter.join().unwrap();
        });
    }
}
