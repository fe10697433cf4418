//! Requests to workers and their answers: who waits is told. A call that is missed is a deadlock, since these waits have
//! no deadline.

use super::*;
use crate::worker::control::{Control, Phase};

/// Waits as a caller of flush or close does, while `meanwhile` runs on another thread.
fn wait(
    workers: usize,
    meanwhile: impl FnOnce(&Control) + Send + 'static,
    wait: impl FnOnce(&Control) -> bool,
) -> bool {
    let control = Arc::new(Control::new(workers));
    let other = {
        let control = control.clone();
        thread::spawn(move || meanwhile(&control))
    };
    let answer = wait(&control);
    other.join().unwrap();
    answer
}

/// A close that gives up ends the waits of all others.
#[test]
fn giving_up_against_a_wait() {
    explore("giving_up_against_a_wait", || {
        let give_up = |control: &Control| control.advance(Phase::Abandoned);
        assert!(!wait(1, give_up, |control| control.wait_flushed(1, None)));
    });
    explore("giving_up_against_a_wait, of a close", || {
        let give_up = |control: &Control| control.advance(Phase::Abandoned);
        assert!(!wait(1, give_up, |control| control.wait_finished(None)));
    });
}

/// The answers of all workers end a wait, and what a worker did before its answer is seen after it.
#[test]
fn answers_against_a_wait() {
    explore("answers_against_a_wait", || {
        let done = Arc::new(AtomicU32::new(0));
        let (one, seen) = (done.clone(), done);
        let answer = move |control: &Control| {
            control.answer_flush(1, 1);
            one.store(1, Relaxed);
            control.answer_flush(0, 1);
        };
        assert!(wait(2, answer, |control| control.wait_flushed(control.ask_flush(), None)));
        assert_eq!(seen.load(Relaxed), 1);
    });
    explore("answers_against_a_wait, of a close", || {
        let end = |control: &Control| {
            control.answer_ended(0, false);
            control.answer_ended(1, true);
        };
        assert!(wait(2, end, |control| control.wait_ended(None)));
    });
}

/// A worker that sees a request sees what the caller saw before it asked: `asked` covers it.
#[test]
fn a_request_shows_what_came_before() {
    explore("a_request_shows_what_came_before", || {
        let written = Arc::new(AtomicU32::new(0));
        let control = Arc::new(Control::new(1));
        let caller = {
            let (written, control) = (written.clone(), control.clone());
            thread::spawn(move || {
                written.store(1, Relaxed);
                control.ask_flush();
                written.store(2, Relaxed);
                control.advance(Phase::Draining);
            })
        };
        let asked = control.asked();
        let least = if asked.phase == Phase::Draining { 2 } else { asked.flushes as u32 };
        assert!(written.load(Relaxed) >= least, "{asked:?}");
        caller.join().unwrap();
    });
}
