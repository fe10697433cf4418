//! Events that tell of a span's life: that it begins, is entered, is left, and ends, and how long it took.
//!
//! Names, values and times are those of `with_span_events` of `tracing_subscriber::fmt()`.

use std::fmt::{self, Debug};
use std::time::{Duration, Instant};

use tracing_core::field::{FieldSet, Value, display};
use tracing_core::span::Id;
use tracing_core::{Event, Metadata};
use tracing_subscriber::fmt::format::FmtSpan;

use super::options::Options;
use super::sites::{Site, Sites};

/// The fields of the events; the last two are those of a span that ends.
const FIELDS: &[&str] = &["message", "time.busy", "time.idle"];

/// What happens to a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    New,
    Enter,
    Exit,
    Close,
}

impl Life {
    fn message(self) -> &'static str {
        match self {
            Life::New => "new",
            Life::Enter => "enter",
            Life::Exit => "exit",
            Life::Close => "close",
        }
    }
}

/// Which events of a span's life are written, and the call sites of those that were.
pub(crate) struct SpanEvents {
    wanted: [bool; 4],
    sites: [Sites; 4],
}

impl SpanEvents {
    /// `None` if none is wanted.
    pub(crate) fn new(kind: &FmtSpan) -> Option<Self> {
        let all = [FmtSpan::NEW, FmtSpan::ENTER, FmtSpan::EXIT, FmtSpan::CLOSE];
        let wanted = all.map(|one| kind.clone() & one.clone() == one);
        let events = SpanEvents { wanted, sites: [const { Sites::new() }; 4] };
        wanted.contains(&true).then_some(events)
    }

    pub(crate) fn wants(&self, life: Life) -> bool {
        self.wanted[life as usize]
    }

    /// Makes the event, and the site to which it belongs: that of the span.
    pub(crate) fn with_event(
        &self,
        life: Life,
        span: (&Id, &'static Metadata<'static>),
        times: Option<Times>,
        options: &Options,
        with: impl FnOnce(&Event<'_>, &Site),
    ) {
        let (id, metadata) = span;
        let fields = FieldSet::new(FIELDS, metadata.callsite());
        let temporary;
        let site = match self.sites[life as usize].get(metadata, &fields, options) {
            Some(site) => site,
            None => {
                temporary = Site::new(metadata, &fields, options);
                &temporary
            }
        };
        let times = times.filter(|_| life == Life::Close);
        let times = times.map(|times| (display(Shown(times.busy)), display(Shown(times.idle))));
        let message = life.message();
        let mut fields_of = fields.iter();
        let [Some(first), Some(second), Some(third)] = [(); 3].map(|()| fields_of.next()) else {
            return;
        };
        let values = [
            (&first, Some(&message as &dyn Value)),
            (&second, times.as_ref().map(|(busy, _)| busy as &dyn Value)),
            (&third, times.as_ref().map(|(_, idle)| idle as &dyn Value)),
        ];
        with(&Event::new_child_of(id, metadata, &fields.value_set(&values)), site);
    }
}

impl Debug for SpanEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanEvents").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// How long a span has been entered, and how long it has not.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    busy: Duration,
    idle: Duration,
    /// The last change from one to the other.
    last: Instant,
    /// Threads that are in it, or the depth on one of them.
    entered: u64,
}

impl Times {
    pub(crate) fn new(now: Instant) -> Self {
        Times { busy: Duration::ZERO, idle: Duration::ZERO, last: now, entered: 0 }
    }

    pub(crate) fn change(&mut self, life: Life, now: Instant) {
        let since = now.saturating_duration_since(self.last);
        let before = self.entered;
        match life {
            Life::New => {}
            Life::Enter => self.entered += 1,
            Life::Exit => self.entered = before.saturating_sub(1),
            Life::Close => self.entered = 0,
        }
        if life == Life::Close || (before == 0) != (self.entered == 0) {
            let sum = if before == 0 { &mut self.idle } else { &mut self.busy };
            *sum += since;
            self.last = now;
        }
    }
}

/// Three digits and a unit, as tracing-subscriber has them.
struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut time = self.0.as_nanos() as f64;
        for unit in ["ns", "µs", "ms"] {
            if time < 1000.0 {
                return three_digits(f, time, unit);
            }
            time /= 1000.0;
        }
        three_digits(f, time, "s")
    }
}

fn three_digits(f: &mut fmt::Formatter<'_>, value: f64, unit: &str) -> fmt::Result {
    let decimals = match value {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    write!(f, "{value:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        for (nanos, text) in [
            (0, "0.00ns"),
            (7, "7.00ns"),
            (42, "42.0ns"),
            (999, "999ns"),
            (1_000, "1.00µs"),
            (12_345, "12.3µs"),
            (123_456_789, "123ms"),
            (1_500_000_000, "1.50s"),
            (7_200_000_000_000, "7200s"),
        ] {
            assert_eq!(Shown(Duration::from_nanos(nanos)).to_string(), text);
        }
    }

    #[test]
    fn a_span_is_busy_while_any_thread_is_in_it() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut times = Times::new(start);
        for (life, seconds) in [
            (Life::Enter, 1),
            (Life::Enter, 2),
            (Life::Exit, 4),
            (Life::Exit, 8),
            (Life::Close, 16),
        ] {
            times.change(life, at(seconds));
        }
        assert_eq!((times.busy.as_secs(), times.idle.as_secs()), (7, 9));
    }
}
