//! What the parent did with signals: does the program hear those that were blocked, and leave ignored
//! those that were ignored?

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

use bufferedwriter_testkit::process;
use rustix::process::{Pid, Signal, kill_process};

use crate::help::{Place, SPOKEN, full_pipe, inherit, wait_until};

/// Has the program find these signals blocked, and perhaps one of them pending.
fn block(command: &mut Command, signals: &[Signal], pending: Option<Signal>) {
    let signals: Vec<i32> = signals.iter().map(|signal| signal.as_raw()).collect();
    let pending = pending.map(Signal::as_raw);
    let block = move || {
        // SAFETY: the set is initialised before it is used; none of the calls needs more.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for &signal in &signals {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            pending.map(|signal| libc::raise(signal));
        }
        Ok(())
    };
    // SAFETY: between fork and exec, `block` makes only calls that may be made there.
    unsafe { command.pre_exec(block) };
}

#[test]
fn blocked_signals_are_heard() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let args = ["--forced=0", "--file-age=0", "--grace=0"];
        let mut program = place.start_with(args, |command| block(command, &SPOKEN, None));
        program.wait_until_caught();
        program.feed("one\n");
        program.wait_until_read();
        program.signal(Signal::HUP);
        wait_until("the line is visible", || place.written() == b"one\n");
        program.signal(signal);
        let ended = program.wait();
        assert_eq!((ended.code, ended.records("written")), (0, 1), "{ended:?}");
    }
}

#[test]
fn a_signal_that_came_before_the_start_is_heard() {
    let place = Place::new();
    let block = |command: &mut Command| block(command, &SPOKEN, Some(Signal::TERM));
    let ended = place.start_with(["--grace=0"], block).wait();
    assert_eq!((ended.code, &ended.json["stopped_by"]), (0, &"SIGTERM".into()), "{ended:?}");
}

/// As under `nohup`, in a background job of a shell, or with `trap '' TERM`.
#[test]
fn ignored_signals_stay_ignored() {
    for ignored in SPOKEN {
        let place = Place::new();
        let args = ["--forced=0", "--file-age=0", "--grace=0"];
        let ignore = |command: &mut Command| inherit(command, libc::SIG_IGN, &[ignored]);
        let mut program = place.start_with(args, ignore);
        let others: Vec<_> = SPOKEN.into_iter().filter(|&signal| signal != ignored).collect();
        wait_until("the others are caught", || program.has_signals("SigCgt:", &others));
        program.feed("one\n");
        program.wait_until_read();
        assert!(program.has_signals("SigIgn:", &[ignored]));
        program.signal(ignored);
        program.feed("two\n");
        program.wait_until_read();
        program.wait_until_heard();
        assert!(place.visible().is_empty() && !program.has_ended(), "{ignored:?}");
        let ended = program.end();
        assert_eq!((ended.code, ended.records("written")), (0, 2), "{ended:?}");
        assert!(ended.json["stopped_by"].is_null(), "{ended:?}");
    }
}

/// Handlers on other threads would interrupt what these wait for.
#[test]
fn the_main_thread_takes_the_signals() {
    let place = Place::new();
    let mut program = place.start(["--workers=2"]);
    program.wait_until_caught();
    // Its error starts the thread that prints.
    program.feed([b'x'; 100]);
    program.wait_until_read();
    let id = program.id();
    let takes = |thread: &str| {
        // One that ended meanwhile takes none.
        let status = fs::read_to_string(format!("/proc/{id}/task/{thread}/status"));
        let Ok(status) = status else { return false };
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
        SPOKEN.iter().any(|signal| blocked & 1 << (signal.as_raw() - 1) == 0)
    };
    let mut threads = Vec::new();
    wait_until("all threads are there", || {
        let entries = fs::read_dir(format!("/proc/{id}/task")).unwrap();
        threads = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        // The main one, two workers, the monitor.
        threads.len() >= 4
    });
    threads.retain(|thread| takes(thread));
    assert_eq!(threads, [id.to_string()]);
    assert_eq!(program.end().code, 0);
}

/// The thread that starts it blocks all. `timeout` would wait for ever then, and Ctrl-C would not end a command that hangs.
#[test]
fn a_command_of_on_publish_has_no_signal_blocked() {
    let place = Place::new();
    let told = place.join("told");
    let hook = format!("--on-publish=sh -c 'grep ^SigBlk: /proc/self/status > {}'", told.display());
    let others = [Signal::CHILD, Signal::ALARM, Signal::USR1];
    let mut program = place.start_with([hook.as_str()], |command| block(command, &others, None));
    program.feed("one\n");
    let ended = program.end();
    assert_eq!((ended.code, ended.records("written")), (0, 1), "{ended:?}");
    assert_eq!(fs::read_to_string(told).unwrap(), "SigBlk:\t0000000000000000\n");
}

#[test]
fn a_command_of_on_publish_that_hangs_can_be_ended_and_is_run_again() {
    let place = Place::new();
    let mark = place.join("mark");
    let first = "kill $$; sleep 60";
    let hook = format!(
        "--on-publish=sh -c 'echo run >> {0}; [ $(wc -l < {0}) = 2 ] || {{ {first}; }}'",
        mark.display()
    );
    let mut program = place.start([hook.as_str(), "--deadline=30s"]);
    program.feed("one\n");
    let ended = program.end();
    assert_eq!((ended.code, ended.records("written")), (0, 1), "{ended:?}");
    assert_eq!(fs::read_to_string(mark).unwrap(), "run\nrun\n");
}

/// It handles no signal, so each must end it.
#[test]
fn a_blocked_signal_ends_a_recovery() {
    let place = Place::new();
    let (_reader, writer) = full_pipe();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    command.args(["recover", "--json", "--path"]).arg(place.out()).arg("--temp").arg(place.tmp());
    inherit(&mut command, libc::SIG_DFL, &SPOKEN);
    block(&mut command, &SPOKEN, None);
    // It waits for whoever reads its result.
    let mut child = command.stdout(writer).spawn().unwrap();
    let id = child.id();
    wait_until("it writes", || process::status(id, "State:").starts_with('S'));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let mut status = None;
    wait_until("it ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().signal(), Some(libc::SIGTERM));
}
