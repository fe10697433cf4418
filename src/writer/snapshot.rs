//! Snapshots for users: counts and health, read while the writer works.
//!
//! Guarantees: the counts of each snapshot balance. Takes no lock that a caller's write takes, and
//! touches no file.

use std::time::Instant;

use crate::base::sync::lock;
use crate::base::thread::Backoff;
use crate::memory::Mailbox;
use crate::memory::slot::Slot;
use crate::report::close::CloseReport;
use crate::report::health::Health;
use crate::report::stats::{Count, Refused, Stats};
use crate::worker::control::Phase;
use crate::worker::ledger::{Ledger, Totals};
use crate::worker::quota::Quota;
use crate::writer::inner::Core;

impl Core {
    pub(super) fn report(&self) -> CloseReport {
        let stats = self.stats();
        CloseReport {
            accepted: stats.accepted,
            written: stats.written,
            lost: stats.lost,
            overwritten: stats.overwritten,
            unresolved: stats.pending,
            refused: stats.refused,
            files: stats.files,
            files_bytes: stats.files_bytes,
            unacknowledged: stats.publishing.map_or(0, |told| told.unlisted + told.unacknowledged),
        }
    }

    /// The counts. Written records are read first and accepted records last, so that no record
    /// seems to be written before it was accepted.
    pub(crate) fn stats(&self) -> Stats {
        if self.is_forked() {
            let (memory_bound_bytes, temp_dir) = (self.memory_bound, self.temp_dir());
            return Stats { memory_bound_bytes, temp_dir, ..Stats::default() };
        }
        // After the workers were abandoned, pending records are lost, except those in a file that
        // is being renamed.
        let abandoned = self.control.phase() == Phase::Abandoned && !self.control.is_finished();
        let mut totals = Totals::default();
        self.ledgers.iter().for_each(|ledger| ledger.add_to(&mut totals));
        let (now, temp) = (Instant::now(), &self.target.files.temp);
        let worker = |(ledger, held): (&Ledger, usize)| ledger.worker_stats(held, now, temp);
        let workers = self.held().map(worker).collect();
        let free_before = self.chunks_freed();
        // Like written ones, before the accepted ones.
        let slots = self.shared.slots.iter();
        totals.overwritten += slots.map(Slot::overwritten).sum();
        let accepted: Count = self.shared.slots.iter().map(|slot| self.accepted(slot)).sum();
        let gone = totals.written + totals.lost.total() + totals.overwritten;
        let mut pending = accepted.saturating_sub(gone);
        if abandoned {
            totals.lost.shutdown = pending.saturating_sub(totals.in_flight);
            pending = totals.in_flight;
        }
        let out_of_memory = self.shared.slots.refused();
        let mut refused = Refused { out_of_memory, ..Refused::default() };
        self.shared.slots.iter().for_each(|slot| refused += slot.refused());
        let leased: u64 = self.shared.slots.iter().map(Slot::leased).sum();
        let in_use = match &self.shared.ring {
            Some(ring) => ring.used().into(),
            None => leased.saturating_sub(free_before),
        };
        let chunks_in_use = in_use.min(self.shared.arena.none().into());
        Stats {
            accepted,
            written: totals.written,
            pending,
            lost: totals.lost,
            overwritten: totals.overwritten,
            refused,
            files: totals.files,
            files_bytes: totals.files_bytes,
            memory_bytes: chunks_in_use as usize * self.shared.arena.size(),
            memory_bound_bytes: self.memory_bound,
            temp_dir: self.temp_dir(),
            workers,
            disk_guard: self.target.quota.get().and_then(Quota::stats),
            missing: *lock(&self.target.missing),
            publishing: self.publications().map(|publications| publications.stats()),
            retention: self.housekeeper.retention(),
            latest_error: self.housekeeper.notices.latest_error(),
        }
    }

    /// The workers that are held up.
    pub(crate) fn health(&self) -> Health {
        if self.is_forked() {
            return Health::default();
        }
        let (now, temp) = (Instant::now(), &self.target.files.temp);
        let workers = self.held().enumerate();
        let stall =
            |(me, (ledger, held)): (usize, (&Ledger, usize))| ledger.stall(me, now, temp, held);
        let housekeeping = self.publications().map(|publications| publications.stalls(now));
        let (manifest, hook) = housekeeping.unwrap_or_default();
        Health { stalls: workers.filter_map(stall).collect(), manifest, hook }
    }

    /// Each worker's ledger and the number of chunks that it holds.
    fn held(&self) -> impl Iterator<Item = (&Ledger, usize)> {
        let workers = self.ledgers.iter().zip(&self.shared.mailboxes);
        workers.map(|(ledger, mailbox)| (&**ledger, mailbox.held() as usize))
    }

    fn chunks_freed(&self) -> u64 {
        self.shared.mailboxes.iter().map(Mailbox::freed).sum()
    }

    /// A swap is short, unless the producer is preempted in it.
    fn accepted(&self, slot: &Slot) -> Count {
        let mut backoff = Backoff::default();
        loop {
            if let Some(count) = slot.accepted(&self.shared.arena) {
                return count;
            }
            backoff.pause();
        }
    }
}
