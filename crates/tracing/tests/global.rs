//! What needs the process for itself: events within events, and whether an event allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt;
use std::fs;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config};
use bufferedwriter_testkit::dir::{TestDir, paths_below};
use serde_json::Value;
use tracing::{info, info_span};
use tracing_subscriber::prelude::*;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: all is passed on to the system's allocator. Counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps to the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps to the contract.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Logs;

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        info!("within");
        f.write_str("logs")
    }
}

fn events(number: u64) {
    info!(number, path = "/index.html?a=\"b\"", ratio = 0.25, odd = ?Some("\n"), "an event");
}

/// One test, since the subscriber is that of all.
#[test]
fn an_event_allocates_nothing_and_may_log_while_it_is_formatted() {
    let dir = TestDir::new();
    let dirs = [dir.dir("json"), dir.dir("logfmt")];
    let files = dirs.each_ref().map(|dir| {
        BufferedWriter::new(Config::default().path(dir).temp(dir).queue_size(4096).workers(1))
            .unwrap()
    });
    let (json, json_guard) = bufferedwriter_tracing::json(&files[0]);
    let (logfmt, logfmt_guard) = bufferedwriter_tracing::logfmt(&files[1]);
    let json = json.with_file(true).with_thread_names(true).with_thread_ids(true);
    tracing_subscriber::registry()
        .with(json.limit(1 << 20, Duration::from_secs(60)))
        .with(logfmt)
        .init();

    let spans: Vec<_> = (0..3).map(|depth| info_span!("span", depth).entered()).collect();
    (0..3).for_each(events);
    let before = ALLOCATIONS.get();
    (3..10_000).for_each(events);
    assert_eq!(ALLOCATIONS.get() - before, 0);
    spans.into_iter().rev().for_each(drop);

    // Each of both layers formats both values.
    info_span!("span", value = ?Logs).in_scope(|| info!(value = ?Logs, "around"));
    info!(name: "last", "last");
    for guard in [json_guard, logfmt_guard] {
        let report = guard.close().unwrap();
        assert_eq!((report.written.records, report.refused.total().records), (10_006, 0));
    }
    let text: String =
        paths_below(&dirs[0]).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of =
        |message: &str| lines.iter().filter(|line| line["fields"]["message"] == message).count();
    assert_eq!((of("an event"), of("within"), of("around"), of("last")), (10_000, 4, 1, 1));
}
