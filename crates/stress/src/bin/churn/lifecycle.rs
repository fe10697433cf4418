//! One writer's life: it is made, handed to all callers, closed while they write, and compared with its files.

use std::time::Duration;

use bufferedwriter::{BufferedWriter, CloseReport, Config, Durability, Stats};
use bufferedwriter_stress::failure::{expect, fail};
use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::wait::{BOUND, holds_within};

use crate::account::{Account, Sum};
use crate::handoff::{Memory, NewWriter, Slot};
use crate::output_dirs::OutputDirs;

/// Runs the writer of this number. Returns how many records it wrote.
pub(crate) fn run(
    number: u32,
    account: &'static Account,
    slots: &[Slot],
    dirs: &OutputDirs,
) -> u64 {
    let mut random = Random::new(u64::from(number) << 32);
    let (config, memory) = options(&mut random, dirs);
    let writer = expect("make a writer", BufferedWriter::new(config));
    for slot in slots {
        slot.put(NewWriter { writer: writer.clone(), number, account, memory });
    }
    let records = random.below(120) as u64;
    until("threads to write", || account.records() >= records);
    if random.one_in(4) {
        flush(&writer, account);
    }
    account.begin_close();
    let report = match writer.close(BOUND) {
        Ok(report) => report,
        Err(error) => fail(&format!("writer {number}: {error}: {:?}", error.report())),
    };
    account.end_close();
    let visible = dirs.take_files(number);
    compare(number, &report, visible);
    // A caller may not have counted its last accepted record yet.
    if !holds_within(BOUND, || account.sum() == visible) {
        fail(&format!("writer {number}: visible {visible:?}, accepted {:?}", account.sum()));
    }
    check(&writer.stats());
    report.written.records
}

/// Little memory, so that each path is taken often. Records are due by age never or at once.
fn options(random: &mut Random, dirs: &OutputDirs) -> (Config, Memory) {
    let size = random.pick(&[64, 100, 128, 256, 512]);
    let queue_size = random.pick(&[0, 1, 2, 3, 4, 16]);
    let workers = random.pick(&[1, 2, 3]);
    let config = dirs
        .config()
        .size(size)
        .queue_size(queue_size)
        .workers(workers)
        .file_size(random.pick(&[0, 300, 2000, 64 << 20]))
        .file_age(random.pick(&[Duration::ZERO, Duration::from_secs(10)]))
        .forced(random.pick(&[Duration::ZERO, Duration::ZERO, Duration::from_millis(1)]))
        .durability(if random.one_in(32) { Durability::File } else { Durability::None });
    (config, Memory { size, chunks: queue_size + workers })
}

fn flush(writer: &BufferedWriter, account: &Account) {
    let before = account.records();
    expect("flush", writer.flush(BOUND));
    let stats = writer.stats();
    check(&stats);
    if stats.written.records < before {
        fail(&format!("{before} records were accepted before a flush; after it: {stats:?}"));
    }
}

/// A snapshot must balance.
fn check(stats: &Stats) {
    if stats.accepted != sum([stats.written, stats.pending, stats.lost.total()]) {
        fail(&format!("the accounts do not balance: {stats:?}"));
    }
}

/// The report must balance and tell of no loss, and the visible files must hold what it says.
fn compare(number: u32, report: &CloseReport, visible: Sum) {
    let balanced = report.accepted == sum([report.written, report.lost.total(), report.unresolved]);
    let complete = report.written == report.accepted;
    let agree = (visible.records, visible.bytes) == (report.written.records, report.written.bytes);
    if !(balanced && complete && agree) {
        fail(&format!("writer {number}: visible {visible:?}, {report:?}"));
    }
}

fn sum(counts: [bufferedwriter::Count; 3]) -> bufferedwriter::Count {
    counts.into_iter().sum()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    if !holds_within(BOUND, condition) {
        fail(&format!("waited in vain for {what}"));
    }
}
