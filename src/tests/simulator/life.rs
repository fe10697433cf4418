//! One life of a process that has a writer: until it is closed, or until it crashes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::record::{self, Id};

use super::disk::SimFs;
use crate::accept;
use crate::config::{Boundary, Compression, Config, Durability, Envelope, Io, Recorder};
use crate::memory::slot::Slot;
use crate::memory::slot::owned::OwnedSlot;
use crate::tests::clock::Clock;
use crate::tests::driven::Driven;
use crate::writer::inner::{Flush, Inner};
use crate::writer::open;

const PRODUCERS: usize = 3;
const STEPS_MAX: usize = 200;
/// Bytes of the shortest records.
const LEN_MIN: usize = 13;
/// A flight recorder that writes over most records.
const SMALL: Recorder = Recorder::Last(200);

/// What a life promised.
#[derive(Default)]
pub(super) struct Promised {
    /// Records that were accepted.
    pub(super) accepted: BTreeSet<Id>,
    /// Those of them that a flush, or a close, said to be visible.
    pub(super) acknowledged: BTreeSet<Id>,
    /// Bytes that were visible or in temp files, as the state file knew, whatever became of the process.
    pub(super) noted_bytes: u64,
    /// Dumps of a flight recorder that succeeded.
    pub(super) dumps: u64,
    /// Records that it has written over.
    pub(super) overwritten: u64,
}

pub(super) struct Life {
    number: u32,
    handle: Inner,
    workers: Vec<Driven>,
    clock: Clock,
    fs: SimFs,
    flush: Option<(Flush, BTreeSet<Id>)>,
    promised: Promised,
}

impl Life {
    /// None if the disk does not let it begin.
    pub(super) fn begin(
        number: u32,
        durability: Durability,
        (codec, envelope): (Compression, &Envelope),
        fs: &SimFs,
        clock: &Clock,
        random: &mut Random,
    ) -> Option<Self> {
        let config = Config::default()
            .size(random.pick(&[16, 64, 200]))
            .queue_size(random.pick(&[0, 3, 20]))
            .workers(1 + random.below(3))
            .path("/ready")
            .temp("/unfinished")
            .forced(Duration::from_millis(random.pick(&[0, 5, 50])))
            .file_size(random.pick(&[0, 100, 400, 64 << 20]))
            .file_age(Duration::from_millis(random.pick(&[0, 20, 200])))
            .rotate_at(random.pick(&[Boundary::Never, Boundary::Minutes(1), Boundary::Day]))
            .partition(random.pick(&["", "", "fixed", "dt=%F/m=%H%M"]))
            .wall_clock(clock.wall_clock())
            .durability(durability)
            .compression(codec)
            .header(&*envelope.header)
            .footer(&*envelope.footer)
            .io(random.pick(&[Io::Direct, Io::Buffered]))
            .recorder(random.pick(&[Recorder::Off, Recorder::Off, Recorder::Last(1 << 14), SMALL]))
            .dump_on_close(true)
            .drop_timeout(Duration::ZERO)
            .fs(Arc::new(fs.clone()));
        let (handle, workers) = open::assemble(config, clock.now()).ok()?;
        let driven = |worker| Driven::new(worker, clock);
        Some(Life {
            number,
            handle,
            workers: workers.into_iter().map(driven).collect(),
            clock: clock.clone(),
            fs: fs.clone(),
            flush: None,
            promised: Promised::default(),
        })
    }

    /// Lives until it crashes, or until it is closed and all is visible.
    pub(super) fn live(mut self, random: &mut Random) -> Result<Promised, String> {
        let slots: Vec<*const Slot> =
            (0..PRODUCERS).map(|_| self.handle.shared.slots.acquire().unwrap()).collect();
        for _ in 0..random.below(STEPS_MAX) {
            if self.fs.is_dead() {
                return Ok(self.promised);
            }
            match random.below(11) {
                0..5 => (0..1 + random.below(4)).for_each(|_| self.write(&slots, random)),
                5 if self.flush.is_none() => {
                    let flush = self.handle.ask_flush(None).map_err(|e| e.to_string())?;
                    self.flush = Some((flush, self.promised.accepted.clone()));
                }
                6 => self.clock.advance(Duration::from_micros(random.below(400_000))),
                7 => {
                    // Somebody sets the clock, now and then to another minute or day.
                    let seconds = random.pick(&[0, 1, -1, 59, -61, 90_000]);
                    self.clock.shift_wall(seconds * 1_000_000_000);
                }
                _ => self.drive(random.below(self.workers.len())),
            }
            self.hear();
        }
        self.close()
    }

    /// Through one of the slots, which were acquired for this life. Each is a producer of its own.
    fn write(&mut self, slots: &[*const Slot], random: &mut Random) {
        let slot = random.below(slots.len());
        let producer = self.number * PRODUCERS as u32 + slot as u32;
        let id = Id { producer, seq: self.promised.accepted.len() as u64 };
        let extra = random.pick(&[0, 5, 20, 100, 300]);
        let mut record = Vec::new();
        record::make(&mut record, id, LEN_MIN + random.below(extra + 1));
        // SAFETY: the slot is ours, and lives as long as the writer.
        let mut slot = unsafe { OwnedSlot::new(&self.handle.shared, &*slots[slot]) };
        if accept::write(&mut slot, &record).is_ok() {
            self.promised.accepted.insert(id);
        }
    }

    /// One step of a worker that wants one.
    fn drive(&mut self, worker: usize) {
        let (parker, now) = (&self.handle.shared.mailboxes[worker].parker, self.clock.now());
        let driven = &mut self.workers[worker];
        if driven.due(parker, now).is_none_or(|due| due > now) {
            return;
        }
        driven.step(parker, &self.clock);
        if !self.fs.is_dead() {
            let stats = self.handle.stats();
            let unpublished =
                stats.workers.iter().map(|worker| worker.temp_file_bytes).sum::<u64>();
            self.promised.noted_bytes = stats.files_bytes + unpublished;
        }
    }

    fn hear(&mut self) {
        if let Some((flush, before)) = &self.flush
            && !self.fs.is_dead()
            && self.handle.wait_flushed(flush, Some(Instant::now())).is_ok()
        {
            // What a recorder has written over is in no file, and nobody knows which records those are.
            if self.handle.stats().overwritten.is_zero() {
                self.promised.acknowledged.extend(before);
            }
            self.promised.dumps += u64::from(self.handle.shared.ring.is_some());
            self.flush = None;
        }
    }

    fn close(mut self) -> Result<Promised, String> {
        self.handle.begin_close(None);
        for step in 0.. {
            if self.fs.is_dead() {
                return Ok(self.promised);
            }
            if self.handle.is_finished() {
                break;
            }
            if step > 20_000 {
                return Err(format!("close does not end: {:?}", self.handle.stats()));
            }
            self.clock.advance(Duration::from_millis(1));
            self.drive(step % self.workers.len());
        }
        let report = self.handle.close(Duration::ZERO).map_err(|error| error.to_string())?;
        if report.accepted.records != self.promised.accepted.len() as u64 {
            return Err(format!("{} accepted: {report:?}", self.promised.accepted.len()));
        }
        if report.written + report.overwritten != report.accepted {
            return Err(format!("not all is written: {report:?}"));
        }
        self.promised.overwritten = report.overwritten.records;
        if !self.fs.is_dead() && report.overwritten.is_zero() {
            self.promised.acknowledged.clone_from(&self.promised.accepted);
        }
        Ok(self.promised)
    }
}
