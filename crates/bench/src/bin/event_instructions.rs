//! Logs a number of events through the layer for JSON, for callgrind to count: `scripts/event-instructions` takes the
//! difference of two runs.

use std::io;
use std::process::exit;

use bufferedwriter::{BufferedWriter, Config};
use bufferedwriter_bench::traced::{enter_spans, event, leave};
use tracing_subscriber::prelude::*;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, spans, dir, events] = &args[..] else { usage() };
    let Ok(events) = events.parse() else { usage() };
    // No event waits for memory, and none is refused.
    let config = Config::default().path(dir).temp(dir);
    let writer = BufferedWriter::new(config).map_err(io::Error::other)?;
    let (layer, guard) = bufferedwriter_tracing::json(&writer);
    tracing_subscriber::registry().with(layer).init();
    count(spans == "3", events);
    let refused = writer.stats().refused.total();
    drop(guard);
    if refused.is_zero() { Ok(()) } else { Err(io::Error::other("events were refused")) }
}

/// All that callgrind counts, on this thread alone: how often the workers look depends on the clock.
#[inline(never)]
fn count(in_spans: bool, events: u32) {
    let spans = enter_spans(in_spans);
    (0..events).for_each(event);
    leave(spans);
}

fn usage() -> ! {
    eprintln!("usage: event_instructions 0|3 DIR EVENTS");
    exit(2)
}
