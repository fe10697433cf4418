//! Messages on their way to a sink that may hang, and the thread that waits there.
//!
//! Guarantees: [`push`](Outbox::push) never waits for the sink. Messages beyond a bound are dropped
//! and counted, and the count is written once the sink takes text again. Each message is one write.

use std::collections::VecDeque;
use std::io::Write;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::sys;

/// Bytes of messages that may wait: some hundred messages.
const BYTES_MAX: usize = 64 << 10;

/// How long [`Outbox::finish`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// A second for each write, ten seconds for all.
    Bounded,
    /// Until all is written.
    Unbounded,
}

impl Patience {
    pub(super) fn for_one_write(self) -> Option<Duration> {
        (self == Patience::Bounded).then_some(Duration::from_secs(1))
    }

    fn for_all(self) -> Option<Duration> {
        (self == Patience::Bounded).then_some(Duration::from_secs(10))
    }
}

/// The way to one sink.
pub(super) struct Outbox {
    shared: Arc<Shared>,
    /// Whether there is a thread.
    is_served: bool,
}

impl Outbox {
    /// Starts the thread. It is never joined, since it may hang in a write.
    pub(super) fn new(sink: impl Write + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let served = Arc::clone(&shared);
        let is_served = sys::spawn("console", move || served.serve(sink)).is_ok();
        Outbox { shared, is_served }
    }

    /// Queues a message. Of one that alone is more than may wait, the beginning and the end.
    pub(super) fn push(&self, message: String) {
        let message = shortened(message);
        self.shared.change(|state| state.push(message));
    }

    /// Draws a line of progress in place of the one before.
    pub(super) fn draw(&self, line: String) {
        self.shared.change(|state| state.progress = Some(line));
    }

    /// Removes the line of progress for good.
    pub(super) fn end_drawing(&self) {
        self.shared.change(|state| state.drawing_ended = true);
    }

    /// From now on nothing is dropped.
    pub(super) fn keep_all(&self) {
        self.shared.change(|state| {
            let told = state.dropped_message();
            state.keeps_all = true;
            told.into_iter().for_each(|told| state.push(told));
        });
    }

    /// Waits until everything is written, or until patience is over.
    pub(super) fn finish(&self, patience: Patience) {
        let began = Instant::now();
        let mut state = self.shared.lock();
        while self.is_served && !state.is_idle() {
            let now = Instant::now();
            // A write that hung before counts, so that one that hangs for long costs no more time.
            let write_began = state.writing_since.unwrap_or(now);
            let left = |limit: Option<Duration>, since: Instant| {
                limit.map_or(Duration::MAX, |limit| limit.saturating_sub(now - since))
            };
            let left =
                left(patience.for_all(), began).min(left(patience.for_one_write(), write_began));
            if left.is_zero() {
                return;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes all messages, if there is no thread to write them.
    pub(super) fn take_unserved(&self) -> Vec<String> {
        let mut state = self.shared.lock();
        if self.is_served { Vec::new() } else { std::iter::from_fn(|| state.next()).collect() }
    }
}

fn shortened(message: String) -> String {
    if message.len() <= BYTES_MAX {
        return message;
    }
    let boundary = |from: usize| (from..).find(|&at| message.is_char_boundary(at)).unwrap_or(from);
    let (start, end) = (boundary(BYTES_MAX / 4), boundary(message.len() - BYTES_MAX / 4));
    format!("{}... ({} bytes) ...{}", &message[..start], end - start, &message[end..])
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write, or something has been written.
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // After a panic of another thread the state is still valid, so poison does not matter.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn serve(&self, mut sink: impl Write) {
        let mut state = self.lock();
        loop {
            let Some(text) = state.next() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.writing_since = Some(Instant::now());
            drop(state);
            // If the sink fails, there is nowhere to report it.
            let _ = sink.write_all(text.as_bytes());
            state = self.lock();
            state.writing_since = None;
            self.changed.notify_all();
        }
    }
}

#[derive(Default)]
struct State {
    messages: VecDeque<String>,
    /// The sum of their lengths.
    bytes: usize,
    /// Messages that were dropped and not told of.
    dropped: u64,
    keeps_all: bool,
    /// The newest line of progress, until it is drawn.
    progress: Option<String>,
    /// Nothing is drawn any more, and what is drawn goes.
    drawing_ended: bool,
    /// Columns of the drawn line; 0 = none is drawn.
    columns: usize,
    /// Since when the thread is in a write.
    writing_since: Option<Instant>,
}

impl State {
    fn push(&mut self, message: String) {
        let is_full = self.bytes + message.len() > BYTES_MAX;
        // Once one is dropped, so are all until that is told. So the count stands where they are
        // missing.
        if (is_full || self.dropped > 0) && !self.keeps_all {
            self.dropped += 1;
        } else {
            self.bytes += message.len();
            self.messages.push_back(message);
        }
    }

    /// The next text to write.
    fn next(&mut self) -> Option<String> {
        if let Some(message) = self.messages.pop_front() {
            self.bytes -= message.len();
            return Some(self.erase() + &message);
        }
        if let Some(message) = self.dropped_message() {
            return Some(self.erase() + &message);
        }
        if self.drawing_ended {
            return (self.columns > 0).then(|| self.erase());
        }
        let line = self.progress.take()?;
        let columns = line.chars().count();
        let padding = mem::replace(&mut self.columns, columns).saturating_sub(columns);
        Some(format!("\r{line}{:padding$}", ""))
    }

    fn dropped_message(&mut self) -> Option<String> {
        let dropped = mem::take(&mut self.dropped);
        let told = format!("bufferedwriter: {dropped} messages dropped: standard error was full\n");
        (dropped > 0).then_some(told)
    }

    /// Blanks the drawn line, so that the next output begins at the left edge.
    fn erase(&mut self) -> String {
        match mem::take(&mut self.columns) {
            0 => String::new(),
            columns => format!("\r{:columns$}\r", ""),
        }
    }

    fn is_idle(&self) -> bool {
        let draws = if self.drawing_ended { self.columns > 0 } else { self.progress.is_some() };
        self.messages.is_empty() && self.dropped == 0 && !draws && self.writing_since.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, pipe};
    use std::sync::mpsc;

    use super::*;

    fn all(state: &mut State) -> String {
        std::iter::from_fn(|| state.next()).collect()
    }

    #[test]
    fn messages_come_in_order_and_progress_is_redrawn_and_removed() {
        let mut state = State { progress: Some("50 %".into()), ..State::default() };
        assert_eq!(all(&mut state), "\r50 %");
        state.progress = Some("9".into());
        assert_eq!(all(&mut state), "\r9   ");
        state.push("one\n".into());
        state.push("two\n".into());
        assert_eq!(all(&mut state), "\r \rone\ntwo\n");
        state.progress = Some("99 %".into());
        assert!(!state.is_idle());
        assert_eq!(all(&mut state), "\r99 %");
        state.progress = Some("100 %".into());
        state.drawing_ended = true;
        assert!(!state.is_idle());
        assert_eq!(all(&mut state), "\r    \r");
        assert!(state.is_idle() && state.bytes == 0);
    }

    #[test]
    fn what_does_not_fit_is_counted_where_it_is_missing() {
        let mut state = State::default();
        let long = "x".repeat(BYTES_MAX - 5);
        for message in [&long, "fits\n", "not\n", "nor\n"] {
            state.push(message.into());
        }
        let told = "bufferedwriter: 2 messages dropped: standard error was full\n";
        assert_eq!(all(&mut state), format!("{long}fits\n{told}"));
        state.push("again\n".into());
        assert_eq!(all(&mut state), "again\n");
    }

    #[test]
    fn a_message_that_alone_is_too_long_is_cut_and_told() {
        let cut = shortened("\u{20ac}".repeat(BYTES_MAX));
        let (start, end) = cut.split_once("... (163839 bytes) ...").unwrap();
        assert_eq!((start.len(), end.len()), (16_386, 16_383));
        assert_eq!(shortened("short\n".to_owned()), "short\n");
    }

    #[test]
    fn in_the_end_nothing_is_dropped() {
        let outbox = Outbox { shared: Arc::default(), is_served: false };
        let long = "x".repeat(BYTES_MAX);
        for message in [&long, "not\n"] {
            outbox.push(message.into());
        }
        outbox.keep_all();
        outbox.push("last\n".into());
        let told = "bufferedwriter: 1 messages dropped: standard error was full\n";
        assert_eq!(outbox.take_unserved(), [&long, told, "last\n"]);
    }

    /// A sink that takes nothing until it is told to, and says when it is asked.
    struct Stuck(mpsc::Receiver<()>, mpsc::Sender<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.send(()).unwrap();
            self.0.recv().map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_sink_that_hangs_holds_up_nobody_and_the_end_only_for_a_time() {
        let (let_go, told) = mpsc::channel();
        let (asks, asked) = mpsc::channel();
        let outbox = Outbox::new(Stuck(told, asks));
        (0..100_000).for_each(|n| outbox.push(format!("message {n}\n")));
        asked.recv().unwrap();
        outbox.finish(Patience::Bounded);
        assert!(!outbox.shared.lock().is_idle(), "it hangs still");
        assert!(outbox.shared.lock().bytes <= BYTES_MAX);
        drop(let_go);
        outbox.finish(Patience::Unbounded);
        assert!(outbox.shared.lock().is_idle());
    }

    #[test]
    fn a_slow_reader_gets_all_that_is_said_in_the_end() {
        let (mut reader, writer) = pipe().unwrap();
        let outbox = Outbox::new(writer);
        outbox.keep_all();
        let expected: String = (0..100_000).map(|n| format!("message {n}\n")).collect();
        let mut read = vec![0; expected.len()];
        let reader = std::thread::spawn(move || reader.read_exact(&mut read).map(|()| read));
        expected.split_inclusive('\n').for_each(|message| outbox.push(message.into()));
        outbox.finish(Patience::Unbounded);
        let read = reader.join().unwrap().unwrap();
        assert!(read == expected.as_bytes());
    }
}
