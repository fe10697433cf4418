//! A thread beside the run for slow or periodic work: publishing and reading options on SIGHUP, watching the disk,
//! progress. So no line waits for a flush or for a look at the counters.
//!
//! Guarantees: looks once a second. Requests to publish that arrive during a publication are merged
//! into one more. Never joined, since it may be waiting for a disk that no longer answers.

use std::io::{self, ErrorKind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Count, DumpError, Error, FlushError, Stats};
use bytesize::ByteSize;

use crate::commands::recover::Told;
use crate::commands::write::dump::dump;
use crate::commands::write::progress::Progress;
use crate::commands::write::reload::Reload;
use crate::commands::write::watch::{Stall, Watch};
use crate::console;
use crate::sys;

const TICK: Duration = Duration::from_secs(1);

/// What the thread does besides watching the disk.
pub(crate) struct Options {
    /// Time limit for a publication on SIGHUP.
    pub(crate) deadline: Duration,
    /// Lines are dropped while memory is full, and the operator is told.
    pub(crate) drops: bool,
    /// What is drawn, if it is.
    pub(crate) progress: Option<Progress>,
    /// Whether the recovery was told of.
    pub(crate) told: Told,
    /// Old files can only wait for other writers' hooks.
    pub(crate) has_no_hook: bool,
    /// The writer is a flight recorder.
    pub(crate) records: bool,
    /// What SIGHUP reads anew. `None` without a file of options.
    pub(crate) reload: Option<Reload>,
}

/// The run's handle of the thread. The thread ends when this is dropped.
pub(crate) struct Monitor {
    publish: SyncSender<()>,
}

impl Monitor {
    /// Starts the thread.
    pub(crate) fn start(writer: BufferedWriter, options: Options) -> io::Result<Self> {
        let (publish, requests) = sync_channel(1);
        let mut state = State { writer, options, watch: Watch::default(), files: (0, 0) };
        sys::spawn("monitor", move || state.run(&requests))?;
        Ok(Monitor { publish })
    }

    /// Asks the thread to publish everything accepted so far. Returns at once.
    pub(crate) fn publish(&self) {
        // A full channel holds a request that has not begun. It covers this one.
        let _ = self.publish.try_send(());
    }
}

struct State {
    writer: BufferedWriter,
    options: Options,
    watch: Watch,
    /// Files published and deleted, as told.
    files: (u64, u64),
}

impl State {
    fn run(&mut self, requests: &Receiver<()>) {
        loop {
            match requests.recv_timeout(TICK) {
                Ok(()) => {
                    if let Some(reload) = &mut self.options.reload {
                        reload.run(&self.writer);
                    }
                    if self.options.records { self.dump() } else { self.publish() }
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Flushes in ticks, so that the looks continue meanwhile.
    fn publish(&mut self) {
        let begun = Instant::now();
        loop {
            let left = self.options.deadline.saturating_sub(begun.elapsed());
            match self.writer.flush(left.min(TICK)) {
                // Closed: the end of the run publishes and reports.
                Ok(()) | Err(FlushError::Closed) => return,
                Err(error) if left <= TICK => {
                    return console::report(format_args!("SIGHUP: not all published yet: {error}"));
                }
                Err(_) => self.look(),
            }
        }
    }

    /// Dumps, and looks meanwhile.
    fn dump(&mut self) {
        let (writer, deadline, begun) =
            (self.writer.clone(), self.options.deadline, Instant::now());
        let look = || {
            self.look();
            // The dump itself ends in time.
            deadline.saturating_add(TICK).saturating_sub(begun.elapsed())
        };
        match dump(&writer, deadline, TICK, look) {
            Ok(()) | Err(DumpError::Closed) => {}
            Err(error) => console::report(format_args!("not all published yet: {error}")),
        }
    }

    /// Tells of the files that appeared or went since the last look.
    fn tell_files(&mut self, stats: &Stats) {
        let deleted = stats.retention.as_ref().map_or(0, |told| told.files_deleted);
        let (published, gone) = (stats.files - self.files.0, deleted - self.files.1);
        self.files = (stats.files, deleted);
        if published > 0 {
            let all = ByteSize(stats.files_bytes).display().si();
            console::detail(format_args!(
                "files published: {published}; {} in all, {all}",
                stats.files
            ));
        }
        if gone > 0 {
            console::detail(format_args!("old files deleted: {gone}; {deleted} in all"));
        }
    }

    fn look(&mut self) {
        self.options.told.tell(self.writer.recovery());
        let stats = self.writer.stats();
        let now = Instant::now();
        let disk = self.watch.disk(now, &stalls(&stats));
        let guard = self.watch.guard(now, guard_reason(&stats).as_deref());
        let guard_error = stats.disk_guard.as_ref().and_then(|guard| guard.last_error.as_ref());
        let guard_error = self.watch.guard_error(guard_error.map(stall));
        let aftercare = aftercare_errors(&stats).next().map(|(what, error)| {
            let Stall { kind, text } = stall(error);
            Stall { kind, text: format!("{what}: {text}") }
        });
        let held = held(&stats).filter(|_| self.options.has_no_hook);
        let aftercare = self.watch.aftercare(aftercare.or(held));
        let dropped = |count: Count| if self.options.drops { count.records } else { 0 };
        let full = stats.refused.full + stats.refused.out_of_memory;
        let drops = self.watch.drops(now, dropped(full));
        let guard_drops = self.watch.guard_drops(now, dropped(stats.refused.disk_guard));
        let lost = (stats.lost.temp_file_removed + stats.lost.temp_file_damaged).records;
        let losses = self.watch.losses(now, lost, &stats.temp_dir);
        let given_up = self.watch.given_up(now, stats.lost.gave_up.records);
        let health = self.writer.health();
        let manifest = health.manifest.map(|stall| stall.error.to_string());
        let manifest = self.watch.manifest(now, manifest);
        let hook = health.hook.map(|stall| match stall.error.as_str() {
            "" => format!("it has not returned for {}", stall.file.display()),
            error => format!("{error}, for {}", stall.file.display()),
        });
        let hook = self.watch.hook(now, hook);
        let messages = [
            disk,
            guard_error,
            guard,
            drops,
            guard_drops,
            losses,
            given_up,
            manifest,
            hook,
            aftercare,
        ];
        for message in messages.into_iter().flatten() {
            console::report(message);
        }
        self.tell_files(&stats);
        if let Some(progress) = &mut self.options.progress {
            progress.draw(&stats, now);
        }
    }
}

fn stalls(stats: &Stats) -> Vec<Stall> {
    let errors = stats.workers.iter().filter_map(|worker| worker.last_error.as_ref());
    errors.map(stall).collect()
}

/// Why old files can't be deleted, or the link to the newest can't be set.
pub(super) fn aftercare_errors(stats: &Stats) -> impl Iterator<Item = (&'static str, &Error)> {
    let retention = stats.retention.as_ref().and_then(|told| told.last_error.as_ref());
    let latest = stats.latest_error.as_ref();
    retention.map(|error| ("old files", error)).into_iter().chain(latest.map(|e| ("latest", e)))
}

/// Old files wait for the hook of another writer.
fn held(stats: &Stats) -> Option<Stall> {
    let journal = stats.retention.as_ref()?.held_by.as_ref()?;
    let text = format!(
        "old files stay, since the --on-publish of another writer has not succeeded for one of them, as \
         {} notes; start it again, or use --retain-unacknowledged false",
        journal.display()
    );
    Some(Stall { kind: ("held", ErrorKind::Other), text })
}

fn stall(error: &Error) -> Stall {
    Stall { kind: (error.operation(), error.kind()), text: error.to_string() }
}

/// Why the disk guard refuses lines. `None` while it does not.
fn guard_reason(stats: &Stats) -> Option<String> {
    let guard = stats.disk_guard.as_ref().filter(|guard| guard.refuses)?;
    let shown = |bytes| ByteSize(bytes).display().si();
    let free = guard.free_bytes.map(|bytes| format!("{} are free", shown(bytes)));
    let total = guard.total_bytes.map(|bytes| format!("the files take {}", shown(bytes)));
    let facts: Vec<_> = [free, total].into_iter().flatten().collect();
    // Nothing is measured before the first file.
    let full = facts.is_empty().then(|| "the disk has been full since the start".to_owned());
    Some(format!("disk guard: {}", full.unwrap_or_else(|| facts.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter::GuardStats;

    #[test]
    fn the_guard_says_why_it_refuses() {
        let mut guard = GuardStats::default();
        let reason = |guard: &GuardStats| {
            let mut stats = Stats::default();
            stats.disk_guard = Some(guard.clone());
            guard_reason(&stats).unwrap_or_default()
        };
        assert_eq!(reason(&guard), "");
        guard.refuses = true;
        assert_eq!(reason(&guard), "disk guard: the disk has been full since the start");
        (guard.free_bytes, guard.total_bytes) = (Some(1000), Some(2000));
        assert_eq!(reason(&guard), "disk guard: 1.0 kB are free, the files take 2.0 kB");
    }
}
