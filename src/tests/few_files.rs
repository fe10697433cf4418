//! Little traffic makes few files, however many workers there are: a whole writer whose workers are stepped by hand.
//!
//! Guarantees: each record that was accepted is in a file at the end, once.

use std::ops::Range;
use std::time::Duration;

use crate::base::sys::Errno;

use crate::config::{Boundary, Config};
use crate::memory::Mailbox;
use crate::memory::slot::current::LeasePhase;
use crate::memory::slot::gate;
use crate::tests::fs::hooked::Op;
use crate::tests::fs::memory::{DiskFault, FaultPlan};
use crate::tests::periods::Scene;

const WORKERS: usize = 8;
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A scene, and who wrote which record.
struct Traffic {
    scene: Scene,
    by: Vec<usize>,
}

impl Traffic {
    fn new(producers: usize) -> Self {
        let config = Config::default().workers(WORKERS).rotate_at(Boundary::Minutes(1));
        Traffic { scene: Scene::with(config, producers), by: Vec::new() }
    }

    fn producers(&self) -> usize {
        self.scene.slots.len()
    }

    /// A record of 100 bytes.
    fn write(&mut self, producer: usize) {
        self.scene.write(producer, 92);
        self.by.push(producer);
    }

    /// 100 records a second by all producers in turn, for so many minutes. Returns the files of each minute.
    fn little(&mut self, minutes: usize) -> Vec<usize> {
        let minute = |_| {
            let before = self.scene.files.len();
            for i in 0..6000 {
                self.scene.go_on(SECOND / 100);
                self.write(i % self.producers());
            }
            self.scene.files.len() - before
        };
        (0..minutes).map(minute).collect()
    }

    /// More than the first workers can take at once, until each worker has chunks, and a producer if there are so many.
    fn spread(&mut self) {
        for producer in 0..self.producers().min(WORKERS) {
            while self.home(producer) != Some(producer) {
                self.write(producer);
            }
        }
        // A single producer visits all of them.
        while self.mailboxes().iter().any(|mailbox| mailbox.inbox.depth() == 0) {
            self.write(self.producers().min(WORKERS) - 1);
        }
    }

    fn home(&self, producer: usize) -> Option<usize> {
        // SAFETY: slots live as long as the writer.
        let slot = unsafe { &*self.scene.slots[producer] };
        let is_live = slot.current().phase() == LeasePhase::Live && !gate::is_taken(slot.gate());
        is_live.then(|| slot.current().home())
    }

    /// Chunks that a worker that hangs may hold, and those that producers had begun by then.
    fn most(&self) -> usize {
        let share = self.scene.handle.shared.share as usize;
        share + share / 4 + 2 * self.producers()
    }

    fn chunks(&self, records: usize) -> usize {
        records * 100 / self.scene.handle.shared.arena.size()
    }

    fn mailboxes(&self) -> &[Mailbox] {
        &self.scene.handle.shared.mailboxes
    }

    /// Who wrote these records, as far as they are in no file.
    fn missing(&self, records: Range<usize>) -> Vec<usize> {
        let mut is_there = vec![false; self.by.len()];
        self.scene.files.iter().flatten().for_each(|&number| is_there[number] = true);
        records.filter(|&number| !is_there[number]).map(|number| self.by[number]).collect()
    }
}

#[test]
fn a_hundred_records_a_second_make_one_file_a_minute() {
    for producers in [1, 8, 64] {
        let mut traffic = Traffic::new(producers);
        assert_eq!(traffic.little(4), [1; 4], "{producers} producers");
        traffic.scene.close();
    }
}

#[test]
fn under_load_all_workers_take_part_and_after_it_one_is_enough_again() {
    for producers in [1, 8, 64] {
        let mut traffic = Traffic::new(producers);
        for _ in 0..3 {
            traffic.spread();
            assert_eq!(
                traffic.little(1),
                [WORKERS],
                "{producers} producers, in the minute of the load"
            );
            assert_eq!(traffic.little(3), [1; 3], "{producers} producers, after the load");
        }
        traffic.scene.close();
    }
}

/// A load that lasts, by one producer of each worker: nobody goes anywhere.
#[test]
fn a_worker_that_has_much_to_do_keeps_its_producers() {
    for (len, first_homes) in [(4000, WORKERS), (2000, 1)] {
        let mut traffic = Traffic::new(WORKERS);
        traffic.spread();
        traffic.scene.go_on(SECOND);
        let before = traffic.scene.files.len();
        // So many bytes to each worker, 100 times a second.
        for i in 0..WORKERS * 60 * 100 {
            traffic.scene.write(i % WORKERS, len);
            if i % WORKERS == 0 {
                traffic.scene.go_on(SECOND / 100);
            }
        }
        traffic.scene.go_on(SECOND * 60);
        assert_eq!(traffic.scene.files.len() - before, WORKERS + first_homes, "{len} bytes");
        traffic.scene.close();
    }
}

/// The first worker hangs. Producers of others do not go there, and what they write lands. Its own leave once it holds
/// its share.
#[test]
fn a_first_worker_that_hangs_strands_nobody() {
    for producers in [8, 64] {
        let mut traffic = Traffic::new(producers);
        traffic.spread();
        traffic.scene.go_on(SECOND);
        let hung = traffic.by.len();
        traffic.scene.hung = Some(0);
        traffic.mailboxes()[0].set_working(true);
        traffic.little(1);
        assert_eq!(traffic.little(3), [1; 3], "{producers} producers");
        let before = traffic.by.len() - 6000;
        let missing = traffic.missing(hung..before);
        assert!(missing.iter().all(|producer| *producer == 0 || *producer >= WORKERS));
        assert!(traffic.chunks(missing.len()) <= traffic.most(), "{} records", missing.len());
        // It comes back.
        traffic.mailboxes()[0].set_working(false);
        traffic.scene.hung = None;
        traffic.little(1);
        assert_eq!(traffic.little(2), [1; 2], "{producers} producers");
        assert!(traffic.missing(0..before).is_empty());
        traffic.scene.close();
    }
}

/// All producers are at home with the first worker, and it hangs: it gets its share and a quarter more, and the rest
/// lands.
#[test]
fn of_a_first_worker_that_hangs_its_producers_take_leave() {
    for producers in [1, 8, 64] {
        let mut traffic = Traffic::new(producers);
        traffic.little(1);
        traffic.scene.hung = Some(0);
        traffic.mailboxes()[0].set_working(true);
        traffic.little(5);
        let missing = traffic.missing(0..traffic.by.len() - 6000).len();
        assert!(traffic.chunks(missing) <= traffic.most(), "{missing} records");
        assert!((0..producers).all(|producer| traffic.home(producer) != Some(0)));
        traffic.scene.hung = None;
        traffic.mailboxes()[0].set_working(false);
        traffic.little(1);
        assert_eq!(traffic.little(1), [1], "{producers} producers");
        traffic.scene.close();
    }
}

#[test]
fn a_worker_shows_that_it_is_in_a_call_or_that_the_disk_fails() {
    let mut traffic = Traffic::new(1);
    traffic.write(0);
    traffic.scene.go_on(SECOND);
    let is_working = |traffic: &Traffic| traffic.mailboxes()[0].is_working();
    assert!(!is_working(&traffic));
    let shared = traffic.scene.handle.shared.clone();
    let amid = move || assert!(shared.mailboxes[0].is_working());
    traffic.scene.fs.amid(false, Box::new(amid));
    traffic.scene.go_on(SECOND * 60);
    assert!(traffic.scene.fs.take_hook().is_none() && traffic.scene.files.len() == 1);
    assert!(!is_working(&traffic));
    let fault = DiskFault::Error(Errno::IO, 0);
    traffic.scene.fs.fail(Some(FaultPlan { op: Some(Op::Rename), fault, after: 0, times: None }));
    traffic.write(0);
    traffic.scene.go_on(SECOND * 60);
    assert!(is_working(&traffic));
    traffic.scene.fs.fail(None);
    traffic.scene.go_on(SECOND * 2);
    assert!(!is_working(&traffic) && traffic.scene.files.len() == 2);
    traffic.scene.close();
}

/// Nobody is before it.
#[test]
fn the_first_worker_keeps_its_producers() {
    let mut traffic = Traffic::new(8);
    traffic.little(1);
    traffic.scene.go_on(SECOND * 60);
    assert!((0..8).all(|producer| traffic.home(producer) == Some(0)));
    traffic.scene.close();
}

/// Who let all its producers go sleeps over boundaries.
#[test]
fn a_worker_without_producers_does_not_wake_up() {
    let mut traffic = Traffic::new(8);
    traffic.spread();
    traffic.little(2);
    traffic.scene.go_on(MS * 200);
    assert_eq!(traffic.scene.idle(), [&[false][..], &[true; WORKERS - 1]].concat());
    traffic.scene.close();
}
