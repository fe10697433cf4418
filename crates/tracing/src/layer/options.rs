//! What a line holds, and which events become lines. The names are those of `tracing_subscriber::fmt()`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::fmt::time::FormatTime;

use super::EventLayer;
use super::dump::DumpOn;
use super::held::{BufferSpans, HeldSpans};
use super::limit::Limit;
use super::span_events::SpanEvents;
use super::syntax::Syntax;

pub(crate) type Timer = Box<dyn FormatTime + Send + Sync>;

pub(crate) struct Options {
    pub(crate) syntax: Syntax,
    pub(crate) time: bool,
    /// `None`: RFC 3339 in UTC.
    pub(crate) timer: Option<Timer>,
    pub(crate) level: bool,
    pub(crate) target: bool,
    pub(crate) file: bool,
    pub(crate) line_number: bool,
    pub(crate) thread_names: bool,
    pub(crate) thread_ids: bool,
    /// Logfmt is flat in any case.
    pub(crate) is_flat: bool,
    pub(crate) current_span: bool,
    pub(crate) span_list: bool,
    pub(crate) limit: Option<Limit>,
    pub(crate) held: Option<Arc<HeldSpans>>,
    pub(crate) span_events: Option<SpanEvents>,
    pub(crate) dump_on: Option<DumpOn>,
}

impl Options {
    pub(crate) fn new(syntax: Syntax) -> Self {
        Options {
            syntax,
            time: true,
            timer: None,
            level: true,
            target: true,
            file: false,
            line_number: false,
            thread_names: false,
            thread_ids: false,
            is_flat: syntax == Syntax::Logfmt,
            current_span: true,
            span_list: true,
            limit: None,
            held: None,
            span_events: None,
            dump_on: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("syntax", &self.syntax)
            .field("limit", &self.limit)
            .field("dump_on", &self.dump_on)
            .finish_non_exhaustive()
    }
}

impl EventLayer {
    /// Leaves out the time. Default: `timestamp` (`ts` in logfmt), RFC 3339 in UTC to the microsecond.
    #[must_use]
    pub fn without_time(mut self) -> Self {
        self.options.time = false;
        self
    }

    /// Writes the time as `timer` has it, such as `tracing_subscriber::fmt::time::uptime()`, as text.
    #[must_use]
    pub fn with_timer(mut self, timer: impl FormatTime + Send + Sync + 'static) -> Self {
        self.options.time = true;
        self.options.timer = Some(Box::new(timer));
        self
    }

    /// Whether `level` is written. Default: true.
    #[must_use]
    pub fn with_level(mut self, level: bool) -> Self {
        self.options.level = level;
        self
    }

    /// Whether `target` is written. Default: true.
    #[must_use]
    pub fn with_target(mut self, target: bool) -> Self {
        self.options.target = target;
        self
    }

    /// Whether the source file is written, as `filename`. Default: false.
    #[must_use]
    pub fn with_file(mut self, file: bool) -> Self {
        self.options.file = file;
        self
    }

    /// Whether the line of the source file is written, as `line_number`. Default: false.
    #[must_use]
    pub fn with_line_number(mut self, line_number: bool) -> Self {
        self.options.line_number = line_number;
        self
    }

    /// Whether the thread's name is written, as `threadName`. Default: false.
    #[must_use]
    pub fn with_thread_names(mut self, thread_names: bool) -> Self {
        self.options.thread_names = thread_names;
        self
    }

    /// Whether the thread's number is written, as `threadId`. Default: false.
    #[must_use]
    pub fn with_thread_ids(mut self, thread_ids: bool) -> Self {
        self.options.thread_ids = thread_ids;
        self
    }

    /// Whether an event's fields stand in the line itself instead of in `fields`. Default: false.
    ///
    /// A field with a name that the line has, such as `level`, takes the place of what comes before the fields and
    /// gives way to what comes after them. Logfmt is flat in any case.
    #[must_use]
    pub fn flatten_event(mut self, flatten: bool) -> Self {
        self.options.is_flat = flatten || self.options.syntax == Syntax::Logfmt;
        self
    }

    /// Whether the current span is written, as `span`. Default: true.
    #[must_use]
    pub fn with_current_span(mut self, current_span: bool) -> Self {
        self.options.current_span = current_span;
        self
    }

    /// Whether the fields of all spans around an event are written, from the root on. Default: true.
    #[must_use]
    pub fn with_span_list(mut self, span_list: bool) -> Self {
        self.options.span_list = span_list;
        self
    }

    /// Which moments of a span's life are written as events: `new`, `enter`, `exit`, `close`. Default: none.
    ///
    /// They have the span's level and target. `close` has the fields `time.busy` and `time.idle` too, unless the layer
    /// is [without time](Self::without_time): how long the span was entered, and how long it was not. Keeping these
    /// times takes a lock of the span in each `enter` and `exit`.
    ///
    /// For [`limit`](Self::limit) each of the four moments of a span's call site counts by itself. In a
    /// [buffered span](Self::buffer_spans) they wait with the other events, and their level is no error.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("bw-tracing-spans-{}", std::process::id()));
    /// # let config = bufferedwriter::Config::default().path(&dir).create_dirs(true);
    /// # let files = bufferedwriter::BufferedWriter::new(config)?;
    /// use tracing_subscriber::fmt::format::FmtSpan;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let (layer, guard) = bufferedwriter_tracing::json(&files);
    /// let layer = layer.with_span_events(FmtSpan::CLOSE);
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || {
    ///     // "fields":{"message":"close","time.busy":"1.50ms","time.idle":"1.02µs"}
    ///     tracing::info_span!("request").in_scope(|| ());
    /// });
    /// # assert_eq!(guard.close()?.written.records, 1);
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_span_events(mut self, kind: FmtSpan) -> Self {
        self.options.span_events = SpanEvents::new(&kind);
        self
    }

    /// Lets each call site write at most `events` events in each `period`.
    ///
    /// Further ones are [counted](super::EventCounts::suppressed). The next event of that call site that passes has
    /// their number as its field `suppressed`. Periods begin at multiples of `period` after the layer was made, so
    /// up to twice `events` may come within one period's length. Default: no limit.
    ///
    /// Events that have a [buffered span](Self::buffer_spans) written pass in any case. Records of the `log` crate that come
    /// through its bridge have no call site, and pass too.
    ///
    /// `events` is at most 16,777,215 and at least 1; `period` at least 1 ms. What is beyond is taken as that bound.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let dir = std::env::temp_dir().join(format!("bw-tracing-limit-{}", std::process::id()));
    /// # let config = bufferedwriter::Config::default().path(&dir).create_dirs(true);
    /// # let files = bufferedwriter::BufferedWriter::new(config)?;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let (layer, guard) = bufferedwriter_tracing::json(&files);
    /// let layer = layer.limit(10, Duration::from_secs(3600));
    /// let counts = layer.counts();
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || {
    ///     for attempt in 0..1000 {
    ///         tracing::warn!(attempt, "the cache is away");
    ///     }
    /// });
    /// assert_eq!(counts.suppressed(), 990);
    /// # assert_eq!(guard.close()?.written.records, 10);
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn limit(mut self, events: u32, period: Duration) -> Self {
        self.options.limit = Some(Limit::new(events, period));
        self
    }

    /// Keeps the events of these spans in memory, and writes them only if the span meets an error.
    ///
    /// See [`BufferSpans`]. Default: each event is written at once.
    #[must_use]
    pub fn buffer_spans(mut self, spans: BufferSpans) -> Self {
        self.options.held = Some(Arc::new(HeldSpans::new(spans, Arc::clone(&self.counts))));
        self
    }
}
