//! The callers of a flight recorder: who writes, also in the middle of a call to the disk, and what became of each
//! record.

use std::sync::Arc;

use bufferedwriter_testkit::message::{self, Drops};

use super::Met;
use crate::accept;
use crate::accept::formatted::RecordWriter;
use crate::memory::message::Message;
use crate::memory::slot::current::LeasePhase;
use crate::memory::slot::owned::OwnedSlot;
use crate::memory::slot::{Slot, gate};
use crate::report::error::WriteError;
use crate::report::stats::Count;
use crate::tests::property::callers::ensure;
use crate::tests::property::model::{RECORDS_MAX, bytes};
use crate::tests::property::plan::{Call, Format, THREADS, Way};
use crate::writer::inner::Inner;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Refused,
    Pending,
    Visible,
    Overwritten,
}

pub(super) struct Record {
    pub(super) slot: usize,
    pub(super) len: usize,
    pub(super) fate: Fate,
}

/// A slot of a thread.
#[derive(Clone, Copy)]
pub(super) struct Owned(*const Slot);

// SAFETY: a case runs in one thread; only the hooks of the file system must be able to be sent.
unsafe impl Send for Owned {}

/// Who writes, also in the middle of a call to the disk.
pub(super) struct Callers {
    pub(super) handle: Arc<Inner>,
    pub(super) threads: [Option<Owned>; THREADS],
    pub(super) records: Vec<Record>,
    pub(super) accepted: Count,
    pub(super) messages: &'static Drops,
    /// A dump may hold chunks.
    pub(super) dumps: bool,
    pub(super) failure: Option<String>,
    pub(super) met: Met,
}

impl Callers {
    pub(super) fn call(&mut self, call: &Call) -> Result<(), String> {
        match *call {
            Call::Write { thread, way, len } => self.write(thread, way, len),
            Call::Exit { thread } => {
                if let Some(slot) = self.threads[thread].take() {
                    self.handle.shared.slots.release(slot.0);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn write(&mut self, thread: usize, way: Way, len: usize) -> Result<(), String> {
        let shared = self.handle.shared.clone();
        let ring = shared.ring.as_ref().expect("a recorder");
        let keeps = ring.keeps();
        let number = self.records.len();
        if number == RECORDS_MAX {
            return Ok(());
        }
        let slots = &shared.slots;
        let slot = self.threads[thread].get_or_insert_with(|| Owned(slots.acquire().unwrap())).0;
        let others = leased(&self.handle).filter(|&other| !std::ptr::eq(other, slot)).count();
        let order = shared.slots.iter().position(|other| std::ptr::eq(other, slot));
        let chunks = len.div_ceil(shared.arena.size()).max(1);
        // A record that is formatted moves on before it is known how long it will be.
        let needed = chunks + if matches!(way, Way::Record { .. }) { 2 } else { 0 };
        let (before, record) = (self.handle.stats().overwritten, bytes(number, len));
        let used = ring.used() + needed as u32;
        // SAFETY: the slot is its thread's alone, and lives as long as the writer.
        let said = unsafe { self.hand_over(way, &*slot, &record) };
        let now = self.handle.stats().overwritten;
        // A chain that is taken over may be longer than what was needed, and goes to the pool.
        ensure(now == before || ring.used().max(used) >= keeps, || {
            format!("{} overwritten, {used} of {keeps} chunks used", now.records)
        })?;
        let is_right = match said {
            Ok(()) => chunks <= keeps as usize,
            Err(WriteError::TooLarge) => chunks > keeps as usize,
            Err(WriteError::Format) => matches!(way, Way::Record { .. }),
            Err(WriteError::Full) => self.dumps || needed + others > shared.arena.none() as usize,
            Err(_) => false,
        };
        self.met.full += u64::from(said == Err(WriteError::Full));
        self.met.chains += u64::from(said.is_ok() && chunks > 1);
        let fate = if said.is_ok() { Fate::Pending } else { Fate::Refused };
        if said.is_err() || len > 0 {
            let slot = shared.slots.iter().count() - order.unwrap_or(0);
            self.records.push(Record { slot, len, fate });
        }
        if said.is_ok() && len > 0 {
            self.accepted += Count::new(1, len as u64);
        }
        ensure(is_right, || format!("{way:?} of {len} bytes beside {others} leases: {said:?}"))
    }

    fn hand_over(&self, way: Way, slot: &Slot, record: &[u8]) -> Result<(), WriteError> {
        // SAFETY: the slot is its thread's alone, and of this writer.
        let owned = || unsafe { OwnedSlot::new(&self.handle.shared, slot) };
        match way {
            Way::Write => accept::write(&mut owned(), record),
            Way::Send { .. } => {
                let message = Message::new(self.messages.message(record));
                let sent = accept::send(&mut owned(), message);
                // SAFETY: what comes back is of that type.
                unsafe { accept::sent::<message::Message>(sent) }.map_err(|error| error.kind())
            }
            Way::Record { part, end, .. } => accept::record(owned(), |w: &mut RecordWriter<'_>| {
                record.chunks(part).try_for_each(|part| w.write_bytes(part))?;
                if end == Format::Whole { Ok(()) } else { Err(std::fmt::Error) }
            }),
        }
    }

    pub(super) fn pending(&self) -> Vec<usize> {
        let pending = |&number: &usize| self.records[number].fate == Fate::Pending;
        (0..self.records.len()).filter(pending).collect()
    }

    /// The pending records of a file, in order.
    pub(super) fn parse(&self, mut content: &[u8]) -> Result<Vec<usize>, String> {
        let mut found: Vec<usize> = Vec::new();
        while let Some(&first) = content.first() {
            let number = usize::from(first);
            let record = self.records.get(number).ok_or(format!("no record {number} yet"))?;
            let whole = content.strip_prefix(&*bytes(number, record.len));
            let is_pending = record.fate == Fate::Pending && !found.contains(&number);
            let earlier = |&&other: &&usize| self.records[other].slot == record.slot;
            let in_order = found.iter().filter(earlier).all(|&other| other < number);
            match whole.filter(|_| is_pending && in_order) {
                Some(rest) => content = rest,
                None => return Err(format!("{:?} record {number} after {found:?}", record.fate)),
            }
            found.push(number);
        }
        Ok(found)
    }
}

/// Slots that lease a chunk.
pub(super) fn leased(handle: &Inner) -> impl Iterator<Item = &Slot> {
    let leases =
        |slot: &&Slot| slot.current().phase() == LeasePhase::Live && !gate::is_taken(slot.gate());
    handle.shared.slots.iter().filter(leases)
}
