//! The callers' side of a case: who writes, asks and looks, also while a worker is in the middle of a call. What
//! they are told is compared with the model.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bufferedwriter_testkit::message::{self, Drops};

use super::model::{Model, RECORDS_MAX};
use super::plan::{Call, Format, NESTED_BYTES, THREADS, Way};
use super::tally::Seen;
use crate::accept;
use crate::accept::formatted::RecordWriter;
use crate::memory::message::Message;
use crate::memory::slot::current::LeasePhase;
use crate::memory::slot::owned::OwnedSlot;
use crate::memory::slot::{Slot, gate};
use crate::report::error::{FlushError, WriteError};
use crate::report::stats::{Count, Stats};
use crate::tests::clock::Clock;
use crate::tests::fs::memory::MemoryFs;
use crate::writer::inner::{Flush, Inner};

/// A slot and the right to write through it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Owned(*const Slot);

// SAFETY: a case runs in one thread; this is only for the hooks, which a file system must be able to
// send.
unsafe impl Send for Owned {}

pub(super) struct Callers {
    pub(super) handle: Arc<Inner>,
    fs: MemoryFs,
    clock: Clock,
    give_up_after: Duration,
    pub(super) model: Model,
    threads: [Option<Owned>; THREADS],
    /// Flushes without an answer, and what was pending, lost and given up when they were asked for.
    flushes: Vec<(Flush, Vec<usize>, Count, Count)>,
    /// Somebody has seen that close gave up: the accounts as they were then.
    given_up: Option<Stats>,
    pub(super) seen: Seen,
    pub(super) messages: &'static Drops,
    /// The first thing that went wrong in the middle of a call.
    pub(super) failure: Option<String>,
}

impl Callers {
    pub(super) fn new(
        handle: Arc<Inner>,
        fs: MemoryFs,
        clock: Clock,
        give_up_after: Duration,
    ) -> Self {
        Callers {
            handle,
            fs,
            clock,
            give_up_after,
            model: Model::default(),
            threads: [None; THREADS],
            flushes: Vec::new(),
            given_up: None,
            seen: Seen::default(),
            messages: Drops::leaked(),
            failure: None,
        }
    }

    pub(super) fn call(&mut self, call: &Call, amid: bool) -> Result<(), String> {
        match *call {
            Call::Write { thread, way, len } => self.write(thread, way, len).map(|_| ()),
            Call::Exit { thread } => {
                if let Some(slot) = self.threads[thread].take() {
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
                if let Ok(flush) = self.handle.ask_flush(None) {
                    self.take_note()?;
                    let lost = self.handle.stats().lost;
                    // Of what the model takes for pending.
                    let gave_up = lost.gave_up.saturating_sub(self.model.gave_up);
                    let pending = self.model.pending();
                    self.flushes.push((flush, pending, lost.total(), gave_up));
                }
                Ok(())
            }
            Call::Snapshot => self.look(amid),
        }
    }

    /// What the writer said; nothing if there are records enough.
    pub(super) fn write(
        &mut self,
        thread: usize,
        way: Way,
        len: usize,
    ) -> Result<Option<WriteError>, String> {
        let (size, all) = (self.handle.shared.arena.size(), self.handle.shared.arena.none());
        let len = if let Way::Send { quarter: true } = way { size.div_ceil(4) } else { len };
        // A nested record comes first in the list.
        let nested = matches!(way, Way::Record { nested: true, .. });
        let Some(record) = self.model.next(usize::from(nested), len) else { return Ok(None) };
        let slot = self.slot(thread);
        let (free, closed) = (self.free(), self.is_closed());
        let over_quota = self.handle.shared.is_over_quota();
        let said = self.hand_over(way, slot, &record);
        let order = self.handle.shared.slots.iter().position(|other| std::ptr::eq(other, slot));
        // The slot registered last comes first.
        let number = self.handle.shared.slots.iter().count() - order.unwrap_or(0);
        self.model.note(number, len, (self.clock.now(), self.clock.wall()), said);
        let said = said.map_err(|(cause, _)| cause);
        let (chunks, all) = (len.div_ceil(size), all as usize);
        self.seen.chain |= said.is_ok() && chunks > 1;
        self.seen.full |= said == Err(WriteError::Full);
        self.seen.quota |= said == Err(WriteError::DiskGuard);
        self.seen.nested |= nested;
        let right = match (said, way) {
            (Ok(()), _) => chunks <= all && !closed,
            (Err(WriteError::Closed), _) => closed,
            (Err(WriteError::Format), Way::Record { end, .. }) => end != Format::Whole && !closed,
            // It is not known beforehand how long it will be, and a nested one takes memory too.
            (Err(WriteError::Full), Way::Record { nested, .. }) => {
                let beside = if nested { NESTED_BYTES.div_ceil(size) } else { 0 };
                free < chunks.max(1) + beside && !closed && !over_quota
            }
            (Err(WriteError::Full), _) => chunks <= all && free < chunks && !closed && !over_quota,
            (Err(WriteError::DiskGuard), Way::Record { .. }) => over_quota && !closed,
            (Err(WriteError::DiskGuard), _) => over_quota && chunks <= all && !closed,
            (Err(WriteError::TooLarge), _) => chunks > all && !closed,
            (Err(WriteError::Format | WriteError::Forked | WriteError::OutOfMemory), _) => false,
        };
        let told = || format!("{way:?} of {len} bytes, {free} chunks free: {said:?}");
        ensure(right, told).map(|()| said.err())
    }

    /// A thread's slot: a new one, or one that another left.
    fn slot(&mut self, thread: usize) -> &'static Slot {
        let owned = *self.threads[thread].get_or_insert_with(|| {
            let before = self.handle.shared.slots.iter().count();
            let slot = self.handle.shared.slots.acquire().unwrap();
            let adopted = self.handle.shared.slots.iter().count() == before;
            // SAFETY: slots live as long as the writer.
            self.seen.adoption |= adopted && leases(unsafe { &*slot });
            Owned(slot)
        });
        // SAFETY: the slot lives as long as the writer, and the caller drops the reference within the step, before
        // the writer.
        unsafe { &*owned.0 }
    }

    fn owned<'a>(&'a self, slot: &'a Slot) -> OwnedSlot<'a> {
        // SAFETY: the slot is its thread's alone, and of this writer.
        unsafe { OwnedSlot::new(&self.handle.shared, slot) }
    }

    /// What the writer said, and how many bytes of a refused record count.
    fn hand_over(
        &mut self,
        way: Way,
        slot: &Slot,
        record: &[u8],
    ) -> Result<(), (WriteError, usize)> {
        let all = |cause| (cause, record.len());
        match way {
            Way::Write => accept::write(&mut self.owned(slot), record).map_err(all),
            Way::Send { .. } => {
                let message = self.messages.message(record);
                let sent = accept::send(&mut self.owned(slot), Message::new(message));
                // SAFETY: what comes back is of that type.
                unsafe { accept::sent::<message::Message>(sent) }.map_err(|error| all(error.kind()))
            }
            Way::Record { part, nested, end } => self.format(slot, record, part, nested, end),
        }
    }

    fn format(
        &mut self,
        slot: &Slot,
        record: &[u8],
        part: usize,
        nested: bool,
        end: Format,
    ) -> Result<(), (WriteError, usize)> {
        let shared = self.handle.shared.clone();
        let mut done = 0;
        let mut format = |w: &mut RecordWriter<'_>| {
            if nested {
                self.write_nested(slot);
            }
            for part in record.chunks(part) {
                w.write_bytes(part)?;
                done += part.len();
            }
            match end {
                Format::Whole => Ok(()),
                Format::Error => Err(fmt::Error),
                Format::Panic => resume_unwind(Box::new("formatter")),
            }
        };
        // SAFETY: the slot is its thread's alone, and of this writer; `format` uses it while it is not busy.
        let owned = unsafe { OwnedSlot::new(&shared, slot) };
        let call = || accept::record(owned, &mut format);
        let said = catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(WriteError::Format));
        said.map_err(|cause| (cause, done))
    }

    /// A record through a slot that is recording.
    fn write_nested(&mut self, slot: &Slot) {
        let Some(record) = self.model.next(0, NESTED_BYTES) else { return };
        let (free, over_quota) = (self.free(), self.handle.shared.is_over_quota());
        let said = accept::write(&mut self.owned(slot), &record);
        let (size, all) = (self.handle.shared.arena.size(), self.handle.shared.arena.none());
        let chunks = NESTED_BYTES.div_ceil(size);
        let right = match said {
            Ok(()) => chunks <= all as usize,
            Err(WriteError::Full) => free < chunks && !over_quota,
            Err(WriteError::DiskGuard) => over_quota,
            Err(WriteError::TooLarge) => chunks > all as usize,
            Err(_) => false,
        };
        // Which slot it came through is not known: it has an order of its own.
        let number = usize::MAX - self.model.handed_over();
        self.model.note(
            number,
            NESTED_BYTES,
            (self.clock.now(), self.clock.wall()),
            said.map_err(|c| (c, NESTED_BYTES)),
        );
        if !right {
            self.failure.get_or_insert(format!("a nested record, {free} chunks free: {said:?}"));
        }
    }

    fn is_closed(&self) -> bool {
        self.handle.shared.slots.is_closed()
    }

    /// Free chunks.
    pub(super) fn free(&self) -> usize {
        let (pool, arena) = (&self.handle.shared.pool, &self.handle.shared.arena);
        (1..=arena.none()).take_while(|&count| pool.holds(arena, count) == Some(true)).count()
    }

    /// Chunks that slots lease.
    pub(super) fn leased(&self) -> Vec<u32> {
        let slots = self.handle.shared.slots.iter();
        slots.filter(|slot| leases(slot)).map(|slot| slot.current().chunk()).collect()
    }

    /// What the disk shows since the last look.
    pub(super) fn take_note(&mut self) -> Result<(), String> {
        for (dir, content) in self.fs.appeared_in() {
            self.model.appear(dir, &content)?;
        }
        for content in self.fs.vanished() {
            let lost = self.handle.stats().lost.temp_file_removed.records;
            self.model.vanish(&content, lost - self.model.lost.records)?;
        }
        let breaches = self.fs.breaches();
        ensure(breaches.is_empty(), || format!("{breaches:?}"))
    }

    /// The accounts are the model's. In the middle of a call they may lag by one file.
    pub(super) fn look(&mut self, amid: bool) -> Result<(), String> {
        self.take_note()?;
        let stats = self.handle.stats();
        if stats.pending.is_zero() && self.given_up.is_none() && !amid {
            self.model.note_given_up();
        }
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
        let gave_up = stats.lost.gave_up;
        ensure(self.may_give_up(gave_up), || told("given up early"))?;
        self.seen.loss |= !gave_up.is_zero();
        match &self.given_up {
            None => {
                ensure(stats.lost.shutdown.is_zero(), || told("lost early"))?;
                let noted = amid || !stats.pending.is_zero() || self.model.gave_up == gave_up;
                ensure(noted, || told("given up"))?;
                ensure(amid || stats.lost.temp_file_removed == *lost, || told("lost"))
            }
            Some(then) => {
                // What was said to be lost stays so; what was in flight is one or the other.
                let (now, before) = (stats.written, then.written + then.pending);
                ensure(gave_up == then.lost.gave_up, || told("given up late"))?;
                ensure(now.records <= before.records, || told("published late"))?;
                ensure(amid || stats.pending.is_zero(), || told("pending"))
            }
        }
    }

    /// Nothing is given up before its time.
    fn may_give_up(&self, gave_up: Count) -> bool {
        let patience = self.give_up_after;
        gave_up.is_zero() || !patience.is_zero() && self.clock.passed() >= patience
    }

    /// Answers to flushes: one that succeeds covers what was accepted before it.
    pub(super) fn hear(&mut self) -> Result<(), String> {
        if self.flushes.is_empty() {
            return Ok(());
        }
        self.take_note()?;
        let mut failure = Ok(());
        self.flushes.retain(|(flush, pending, _, gave_up)| {
            match self.handle.wait_flushed(flush, Some(Instant::now())) {
                Ok(()) => {
                    self.seen.flush = true;
                    let early = ensure(self.given_up.is_none(), || {
                        "a flush succeeded after close gave up".to_owned()
                    });
                    let visible = self.model.expect_visible(pending, self.fs.settled(), *gave_up);
                    let result = early.and(visible);
                    failure = failure.clone().and(result);
                    false
                }
                Err(FlushError::Closed | FlushError::OnWorker | FlushError::Forked) => false,
                Err(FlushError::TimedOut | FlushError::Io(_)) => true,
            }
        });
        failure
    }

    /// The workers have done what they could: only a loss keeps a flush from succeeding.
    pub(super) fn expect_answers(&self) -> Result<(), String> {
        let lost = self.handle.stats().lost.total();
        let late = self.flushes.iter().any(|(flush, _, lost_before, _)| {
            let answer = self.handle.wait_flushed(flush, Some(Instant::now()));
            !matches!(answer, Err(FlushError::Io(_))) || lost == *lost_before
        });
        ensure(!late, || "a flush was not answered".to_owned())
    }

    /// Close gives up.
    pub(super) fn give_up(&mut self) {
        self.handle.abandon();
        self.given_up = Some(self.handle.stats());
    }

    /// Whether everything is dealt with and nothing fails.
    pub(super) fn is_calm(&self) -> bool {
        let stats = self.handle.stats();
        stats.pending.is_zero() && stats.workers.iter().all(|worker| worker.last_error.is_none())
    }

    /// Whether the model has numbers left for a record that is tried `attempts` times.
    pub(super) fn has_room(&self, attempts: usize) -> bool {
        self.model.handed_over() + attempts < RECORDS_MAX
    }
}

/// Whether a slot leases a chunk that was not revoked.
fn leases(slot: &Slot) -> bool {
    slot.current().phase() == LeasePhase::Live && !gate::is_taken(slot.gate())
}

/// An error, unless it is so.
pub(super) fn ensure(so: bool, told: impl FnOnce() -> String) -> Result<(), String> {
    if so { Ok(()) } else { Err(told()) }
}
