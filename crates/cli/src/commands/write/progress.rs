//! The line of progress: how much is written, how fast, and what still waits.
//!
//! Guarantees: nothing here waits for the terminal, since indicatif draws into a text, and [`console`] draws that.

use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bufferedwriter::Stats;
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use terminal_size::{Width, terminal_size_of};

use crate::console;

/// Columns where the system does not tell.
const COLUMNS: u16 = 80;

/// What is drawn about once a second.
pub(super) struct Progress {
    bar: ProgressBar,
    at: Instant,
    bytes: u64,
}

impl Progress {
    /// With a bar and the time that is left, if all inputs are files, whose lengths are known.
    pub(super) fn new(inputs: &[PathBuf]) -> Self {
        let length = |path: &PathBuf| path.metadata().ok().filter(|found| found.is_file());
        let all: Option<u64> = inputs.iter().map(|path| length(path).map(|file| file.len())).sum();
        let template =
            if all.is_some() { "{msg} {wide_bar} {percent} %, {eta} left" } else { "{msg}" };
        let style = ProgressStyle::with_template(template).expect("these are its fields");
        let target = ProgressDrawTarget::term_like(Box::new(Line::default()));
        let bar =
            ProgressBar::with_draw_target(all, target).with_style(style.progress_chars("=> "));
        Progress { bar, at: Instant::now(), bytes: 0 }
    }

    /// Draws the state of now.
    pub(super) fn draw(&mut self, stats: &Stats, now: Instant) {
        let seconds = now.duration_since(self.at).as_secs_f64().max(f64::EPSILON);
        let rate = stats.accepted.bytes.saturating_sub(self.bytes) as f64 / seconds;
        (self.at, self.bytes) = (now, stats.accepted.bytes);
        self.bar.set_position(stats.accepted.bytes);
        self.bar.set_message(text(stats, rate));
        self.bar.tick();
    }
}

/// The counts. The rate is in bytes per second.
fn text(stats: &Stats, rate: f64) -> String {
    let shown = |bytes| ByteSize(bytes).display().si().to_string();
    let mut text = format!(
        "{} records, {} written, {:.1} MB/s",
        stats.written.records,
        shown(stats.written.bytes),
        rate / 1e6
    );
    if stats.pending.bytes > 0 {
        let share = stats.memory_bytes as f64 / stats.memory_bound_bytes.max(1) as f64 * 100.0;
        // Writing to a string can't fail.
        let _ = write!(text, ", backlog {} (memory {share:.0} %)", shown(stats.pending.bytes));
    }
    text
}

/// What indicatif takes for a terminal: one line, handed to the console as a whole.
#[derive(Debug, Default)]
struct Line(Mutex<String>);

impl Line {
    fn change(&self, change: impl FnOnce(&mut String)) -> io::Result<()> {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

impl TermLike for Line {
    fn width(&self) -> u16 {
        // In the last column some terminals begin a new line.
        terminal_size_of(io::stderr()).map_or(COLUMNS, |(Width(columns), _)| columns.max(2)) - 1
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.change(|line| line.push_str(text.trim_start_matches('\r')))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.change(String::clear)
    }

    fn flush(&self) -> io::Result<()> {
        self.change(|line| {
            let text = line.trim_end().to_owned();
            line.clear();
            console::progress(text);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter::Count;

    #[test]
    fn the_rate_and_what_waits_are_told() {
        let mut stats = Stats::default();
        stats.written = Count { records: 7, bytes: 1_000_000 };
        assert_eq!(text(&stats, 2_500_000.0), "7 records, 1.0 MB written, 2.5 MB/s");
        stats.pending = Count { records: 1, bytes: 2000 };
        (stats.memory_bytes, stats.memory_bound_bytes) = (1024, 4096);
        assert!(text(&stats, 0.0).ends_with(", 0.0 MB/s, backlog 2.0 kB (memory 25 %)"));
    }

    #[test]
    fn only_files_have_a_length() {
        let file = std::env::current_exe().unwrap();
        let bytes = file.metadata().unwrap().len();
        assert_eq!(Progress::new(&[file.clone(), file.clone()]).bar.length(), Some(2 * bytes));
        assert_eq!(Progress::new(&[file, "-".into()]).bar.length(), None);
    }
}
