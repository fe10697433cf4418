//! The callers' side of a case: who writes, asks and looks, also while a worker is in the middle of a
//! call; and what they are told, held against the model.

use std::sync::Arc;
use std::time::Instant;

use super::model::{Model, RECORDS_MAX};
use super::plan::{Call, HANDS, Way};
use super::tally::Seen;
use crate::error::{FlushError, WriteError};
use crate::handle::{Flush, Handle};
use crate::memory_fs::{Clock, MemoryFs};
use crate::slot::{Phase, Slot, gate};
use crate::stats::{Count, Stats};
use crate::submit;

/// A slot and the right to write through it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Owned(*const Slot);

// SAFETY: a case runs in one thread; this is only for the hooks, which a file system must be able to
// send.
unsafe impl Send for Owned {}

pub(super) struct Callers {
    pub(super) handle: Arc<Handle>,
    fs: MemoryFs,
    clock: Clock,
    pub(super) model: Model,
    hands: [Option<Owned>; HANDS],
    /// Flushes without an answer, and what was pending and lost when they were asked for.
    flushes: Vec<(Flush, Vec<usize>, Count)>,
    /// Somebody has seen that close gave up: the accounts as they were then.
    given_up: Option<Stats>,
    pub(super) seen: Seen,
    /// The first thing that went wrong in the middle of a call.
    pub(super) failure: Option<String>,
}

impl Callers {
    pub(super) fn new(handle: Arc<Handle>, fs: MemoryFs, clock: Clock) -> Self {
        Callers {
            handle,
            fs,
            clock,
            model: Model::default(),
            hands: [None; HANDS],
            flushes: Vec::new(),
            given_up: None,
            seen: Seen::default(),
            failure: None,
        }
    }

    pub(super) fn call(&mut self, call: &Call, amid: bool) -> Result<(), String> {
        match *call {
            Call::Write { hand, way, len } => self.write(hand, way, len).map(|_| ()),
            Call::Exit { hand } => {
                if let Some(slot) = self.hands[hand].take() {
                    self.handle.shared.slots.release(slot.0);
                }
                Ok(())
            }
            Call::Starve(wanted) => {
                let shared = &self.handle.shared;
                shared.starve(wanted.min(shared.arena.none()));
                Ok(())
            }
            Call::Flush => {
                // After close it says so.
                if let Ok(flush) = self.handle.ask_flush() {
                    self.take_note()?;
                    self.flushes.push((flush, self.model.pending(), self.model.lost));
                }
                Ok(())
            }
            Call::Snapshot => self.look(amid),
        }
    }

    /// What the writer said; nothing if there are records enough.
    pub(super) fn write(
        &mut self,
        hand: usize,
        way: Way,
        len: usize,
    ) -> Result<Option<WriteError>, String> {
        let Some(record) = self.model.next(len) else { return Ok(None) };
        let owned = *self.hands[hand].get_or_insert_with(|| {
            let before = self.handle.shared.slots.iter().count();
            let slot = self.handle.shared.slots.acquire();
            let adopted = self.handle.shared.slots.iter().count() == before;
            // SAFETY: slots live as long as the writer.
            self.seen.adoption |= adopted && leases(unsafe { &*slot });
            Owned(slot)
        });
        // SAFETY: as above.
        let slot = unsafe { &*owned.0 };
        let (size, all) = (self.handle.shared.arena.size(), self.handle.shared.arena.none());
        let chunks = len.div_ceil(size);
        let free = self.free();
        let said = self.hand_over(way, slot, &record);
        let order = self.handle.shared.slots.iter().position(|other| std::ptr::eq(other, slot));
        // The slot registered last comes first.
        let number = self.handle.shared.slots.iter().count() - order.unwrap_or(0);
        self.model.note(number, len, self.clock.now(), said);
        let right = match said {
            Ok(()) => chunks <= all as usize && !self.is_closed(),
            Err(WriteError::Full) => chunks <= all as usize && free < chunks && !self.is_closed(),
            Err(WriteError::TooLarge) => chunks > all as usize && !self.is_closed(),
            Err(WriteError::Closed) => self.is_closed(),
        };
        self.seen.chain |= said.is_ok() && chunks > 1;
        self.seen.full |= said == Err(WriteError::Full);
        let told = || format!("a record of {len} bytes, {free} chunks free: {said:?}");
        ensure(right, told).map(|()| said.err())
    }

    fn hand_over(&self, way: Way, slot: &Slot, record: &[u8]) -> Result<(), WriteError> {
        let shared = &self.handle.shared;
        match way {
            // SAFETY: the slot is its hand's alone, and of this writer.
            Way::Write => unsafe { submit::write(shared, slot, record) },
        }
    }

    fn is_closed(&self) -> bool {
        self.handle.shared.slots.is_closed()
    }

    /// Free chunks.
    pub(super) fn free(&self) -> usize {
        let (pool, arena) = (&self.handle.shared.pool, &self.handle.shared.arena);
        (1..=arena.none()).take_while(|&count| pool.holds(arena, count)).count()
    }

    /// Chunks that slots lease.
    pub(super) fn leased(&self) -> Vec<u32> {
        let slots = self.handle.shared.slots.iter();
        slots.filter(|slot| leases(slot)).map(|slot| slot.current().chunk()).collect()
    }

    /// What the disk shows since the last look.
    pub(super) fn take_note(&mut self) -> Result<(), String> {
        self.fs.appeared().iter().try_for_each(|content| self.model.appear(content))?;
        self.fs.vanished().iter().try_for_each(|content| self.model.vanish(content))?;
        let breaches = self.fs.breaches();
        ensure(breaches.is_empty(), || format!("{breaches:?}"))
    }

    /// The accounts are the model's. In the middle of a call they may lag by one file.
    pub(super) fn look(&mut self, amid: bool) -> Result<(), String> {
        self.take_note()?;
        let stats = self.handle.stats();
        let Model { accepted, refused, visible, lost, files, .. } = &self.model;
        let told = |what: &str| format!("{what}: {stats:?}, expected {:?}", self.model);
        let balance = stats.written + stats.pending + stats.lost.total();
        ensure(stats.accepted == *accepted, || told("accepted"))?;
        ensure(stats.refused == *refused, || told("refused"))?;
        ensure(balance == *accepted, || told("balance"))?;
        let in_flight = visible.saturating_sub(stats.written);
        ensure(stats.written + in_flight == *visible, || told("written"))?;
        ensure(amid || (in_flight.is_zero() && stats.files == *files), || told("written"))?;
        let in_use = stats.memory_bytes / self.handle.shared.arena.size();
        let all = self.handle.shared.arena.none() as usize;
        ensure(in_use + self.free() == all, || told("memory"))?;
        match &self.given_up {
            None => {
                ensure(stats.lost.shutdown.is_zero(), || told("lost early"))?;
                ensure(amid || stats.lost.temp_file_removed == *lost, || told("lost"))
            }
            Some(then) => {
                // What was said to be lost stays so; what was in flight is one or the other.
                let (now, before) = (stats.written, then.written + then.pending);
                ensure(now.records <= before.records, || told("published late"))?;
                ensure(amid || stats.pending.is_zero(), || told("pending"))
            }
        }
    }

    /// Answers to flushes: one that succeeds covers what was accepted before it.
    pub(super) fn hear(&mut self) -> Result<(), String> {
        if self.flushes.is_empty() {
            return Ok(());
        }
        self.take_note()?;
        let mut failure = Ok(());
        self.flushes.retain(|(flush, pending, _)| {
            match self.handle.wait_flushed(flush, Some(Instant::now())) {
                Ok(()) => {
                    self.seen.flush = true;
                    let early = ensure(self.given_up.is_none(), || {
                        "a flush succeeded after close gave up".to_owned()
                    });
                    let visible = self.model.expect_visible(pending, self.fs.settled());
                    let result = early.and(visible);
                    failure = failure.clone().and(result);
                    false
                }
                Err(FlushError::Closed) => false,
                Err(FlushError::TimedOut | FlushError::Io(_)) => true,
            }
        });
        failure
    }

    /// The workers have done what they could: only a loss keeps a flush from succeeding.
    pub(super) fn expect_answers(&self) -> Result<(), String> {
        let late = self.flushes.iter().any(|(flush, _, lost_before)| {
            let answer = self.handle.wait_flushed(flush, Some(Instant::now()));
            !matches!(answer, Err(FlushError::Io(_))) || self.model.lost == *lost_before
        });
        ensure(!late, || "a flush was not answered".to_owned())
    }

    /// Close gives up.
    pub(super) fn give_up(&mut self) {
        self.handle.give_up();
        self.given_up = Some(self.handle.stats());
    }

    /// Whether everything is dealt with and nothing fails.
    pub(super) fn is_calm(&self) -> bool {
        let stats = self.handle.stats();
        stats.pending.is_zero() && stats.workers.iter().all(|worker| worker.last_error.is_none())
    }

    /// Whether the model has numbers left for a record and so many tries.
    pub(super) fn has_room(&self, attempts: usize) -> bool {
        self.model.handed_over() + attempts < RECORDS_MAX
    }
}

/// Whether a slot leases a chunk that was not revoked.
fn leases(slot: &Slot) -> bool {
    let taken = matches!(slot.gate() & gate::STATE, gate::TAKEN | gate::CLOSED_TAKEN);
    slot.current().phase() == Phase::Live && !taken
}

/// An error, unless it is so.
pub(super) fn ensure(so: bool, told: impl FnOnce() -> String) -> Result<(), String> {
    if so { Ok(()) } else { Err(told()) }
}
