//! The thread that tells other processes what the writer counts, through its state file.
//!
//! Guarantees: it looks at most once a second, and tells only what has changed. Once all is published and nothing
//! changes, it sleeps until a worker has something to do, so an idle writer costs nothing. While records lie in memory
//! and nothing changes, each look is twice as late as the one before. A flight recorder's memory always changes, so
//! there it looks only after its worker has done something. A disk that hangs holds up nobody but this thread.

use std::time::{Duration, Instant};

use crate::base::sync::{Arc, lock};
use crate::base::thread::spawn;
use crate::config::WallClock;
use crate::file::state_file::counters::{self, Times};
use crate::file::state_file::live::StateFile;
use crate::file::state_file::slot_writer::SlotWriter;
use crate::naming::Stamp;
use crate::report::error::Error;
use crate::worker::activity::Woken;
use crate::writer::inner::{Core, Inner};

/// Shortest time between two refreshes.
const INTERVAL: Duration = Duration::from_secs(1);

impl Inner {
    /// Starts the thread. It is the last one, after those of the workers.
    pub(super) fn start_refresher(&self) -> Result<(), Error> {
        let Some(state) = lock(&self.state).clone() else { return Ok(()) };
        let core = self.core.clone();
        let run = move || Refresher::new(core, state, Instant::now()).run();
        let failed = |e| Error::io("start a thread for", &self.target.files.path, e);
        lock(&self.threads).push(spawn("bw-stats", run).map_err(failed)?);
        Ok(())
    }
}

struct Refresher {
    core: Arc<Core>,
    state: Arc<StateFile>,
    slots: SlotWriter,
    /// When the writer was started.
    start: Instant,
}

impl Refresher {
    fn new(core: Arc<Core>, state: Arc<StateFile>, start: Instant) -> Self {
        let slots = SlotWriter::new(state.clone());
        Refresher { core, state, slots, start }
    }

    fn run(mut self) {
        let activity = &self.core.clone().control.activity;
        let (mut pause, mut latest) = (INTERVAL, None);
        loop {
            match activity.wait(Instant::now() + INTERVAL, latest) {
                Woken::Ended => return,
                Woken::Stirred => pause = INTERVAL,
                Woken::Late => pause = pause.saturating_mul(2),
            }
            activity.begin();
            let (is_new, is_settled) = self.refresh();
            if is_new {
                pause = INTERVAL;
            }
            // A change that no worker has noticed yet may follow one that was new.
            let sleeps = is_settled && (!is_new || self.is_recorder());
            latest = if sleeps { None } else { Instant::now().checked_add(pause) };
        }
    }

    fn is_recorder(&self) -> bool {
        self.core.shared.ring.is_some()
    }

    /// Returns whether there was anything new, and whether everything is published.
    fn refresh(&mut self) -> (bool, bool) {
        let (stats, health) = (self.core.stats(), self.core.health());
        let (start, started) = (self.start, self.state.start().started);
        let uptime = start.elapsed();
        let refreshed = Stamp::read(&WallClock::default());
        let times = Times { started, refreshed, uptime };
        // Hooks return at any time.
        let waits = stats.publishing.map_or(0, |told| told.unlisted + told.unacknowledged);
        let is_published = stats.pending.is_zero() || self.is_recorder();
        let is_settled = is_published && waits == 0 && health.is_ok();
        (self.slots.refresh(times, counters::body(&stats, &health, start)), is_settled)
    }
}
