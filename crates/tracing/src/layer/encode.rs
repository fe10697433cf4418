//! Writes one event as a line.

use std::fmt::{self, Debug, Write};
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use bufferedwriter_encode::{json, stamp};
use tracing_core::field::{Field, Visit};
use tracing_core::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::held::HeldEvents;
use super::options::Options;
use super::sites::{Left, Site};
use super::spans;
use super::syntax::{Pieces, Syntax};

pub(crate) struct Encoder<'a, 'e, S: Subscriber + for<'l> LookupSpan<'l>> {
    layer: u64,
    options: &'a Options,
    site: &'a Site,
    event: &'a Event<'e>,
    level: Level,
    /// The innermost span that this thread is in.
    innermost: Option<SpanRef<'a, S>>,
    /// The span that the event names as its own.
    named: Option<SpanRef<'a, S>>,
}

impl<'a, 'e, S: Subscriber + for<'l> LookupSpan<'l>> Encoder<'a, 'e, S> {
    pub(crate) fn new(
        layer: u64,
        options: &'a Options,
        site: &'a Site,
        event: &'a Event<'e>,
        level: Level,
        ctx: &'a Context<'a, S>,
    ) -> Self {
        let looks = options.current_span || options.span_list || options.held.is_some();
        let innermost = if looks { ctx.lookup_current() } else { None };
        let named = if looks { event.parent().and_then(|id| ctx.span(id)) } else { None };
        Encoder { layer, options, site, event, level, innermost, named }
    }

    /// How serious the event is for a span that keeps its events.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    fn current(&self) -> Option<&SpanRef<'a, S>> {
        self.named.as_ref().or(self.innermost.as_ref())
    }

    /// The span that keeps this event.
    pub(crate) fn held(&self) -> Option<Arc<HeldEvents>> {
        spans::read(self.current()?, self.layer, |text| text?.held().cloned())
    }

    /// Writes all of it, and the number of events that were suppressed before. What the caller's code
    /// writes comes first, then what needs a span's lock.
    pub(crate) fn event(&self, out: &mut impl Write, suppressed: u64) -> fmt::Result {
        let (open, close) = self.options.syntax.around_line();
        let left = self.site.left(self.event, self.options, self.current().is_some());
        let mut line = Line { out, is_first: true };
        if let (false, false, Some(head)) = (left.time, left.level, &self.site.timed_head) {
            // The common case: few pieces.
            line.out.write_str(self.options.syntax.up_to_time())?;
            stamp::write(line.out, SystemTime::now())?;
            line.out.write_str(head)?;
            line.is_first = false;
        } else {
            line.out.write_str(open)?;
            self.time(&mut line, left)?;
            // Only the fields of a flat line can take the level's place, and then it is all of the head.
            if !left.level {
                line.piece(&self.site.head)?;
            }
        }
        self.fields(&mut line, left, suppressed)?;
        line.piece(&self.site.tail)?;
        if let Some(current) = self.current() {
            match self.options.syntax {
                Syntax::Json => self.span_objects(&mut line, current)?,
                Syntax::Logfmt => self.span_pairs(&mut line, current)?,
            }
        }
        self.thread(&mut line)?;
        line.out.write_str(close)
    }

    fn time<W: Write>(&self, line: &mut Line<'_, W>, left: Left) -> fmt::Result {
        if !self.options.time || left.time {
            return Ok(());
        }
        let (before, after) = self.options.syntax.around_time();
        let Some(timer) = &self.options.timer else {
            line.piece(before)?;
            stamp::write(line.out, SystemTime::now())?;
            return line.out.write_str(after);
        };
        let mut text = String::new();
        timer.format_time(&mut Writer::new(&mut text))?;
        line.piece(before.trim_end_matches('"'))?;
        self.options.syntax.text(line.out, &text)
    }

    fn fields<W: Write>(&self, line: &mut Line<'_, W>, left: Left, suppressed: u64) -> fmt::Result {
        let syntax = self.options.syntax;
        line.is_first |= !self.options.is_flat;
        let mut fields = Fields { line, site: self.site, syntax, left, result: Ok(()) };
        self.event.record(&mut fields);
        fields.result?;
        if let (true, Some(key)) = (suppressed > 0, &self.site.suppressed) {
            line.piece(key)?;
            json::integer(line.out, suppressed)?;
        }
        if !self.options.is_flat {
            line.out.write_str(syntax.around_fields().1)?;
            line.is_first = false;
        }
        Ok(())
    }

    /// `span` and `spans`. The list is that of the thread's spans, even if the event names another one:
    /// tracing-subscriber does the same.
    fn span_objects<W: Write>(
        &self,
        line: &mut Line<'_, W>,
        current: &SpanRef<'a, S>,
    ) -> fmt::Result {
        let Options { current_span, span_list, .. } = *self.options;
        if self.named.is_none() && current_span && span_list && !line.is_first {
            // The common case needs one look at the span.
            let both = spans::read(current, self.layer, |text| {
                let (text, all) = text.and_then(|text| Some((text, text.all()?)))?;
                Some(spans_around(line.out, text.own(), all))
            });
            if let Some(result) = both {
                return result;
            }
        }
        if current_span {
            line.piece(",\"span\":")?;
            spans::read_own(current, self.layer, Syntax::Json, |own| line.out.write_str(own))?;
        }
        if span_list {
            line.piece(",\"spans\":[")?;
            if let Some(innermost) = &self.innermost {
                spans::read_all(innermost, self.layer, Syntax::Json, |all| {
                    line.out.write_str(all)
                })?;
            }
            line.out.write_str("]")?;
        }
        Ok(())
    }

    /// The span's name, and the fields of all spans around it, or of it alone.
    fn span_pairs<W: Write>(
        &self,
        line: &mut Line<'_, W>,
        current: &SpanRef<'a, S>,
    ) -> fmt::Result {
        if self.options.current_span {
            line.piece(" span=")?;
            Syntax::Logfmt.text(line.out, current.name())?;
        }
        if self.options.span_list {
            return spans::read_all(current, self.layer, Syntax::Logfmt, |all| line.piece(all));
        }
        if self.options.current_span {
            spans::read_own(current, self.layer, Syntax::Logfmt, |own| line.piece(own))?;
        }
        Ok(())
    }

    fn thread<W: Write>(&self, line: &mut Line<'_, W>) -> fmt::Result {
        let options = self.options;
        if !options.thread_names && !options.thread_ids {
            return Ok(());
        }
        let thread = thread::current();
        if options.thread_names && (thread.name().is_some() || !options.thread_ids) {
            line.piece(thread_key(options.syntax, ",\"threadName\":", " threadName="))?;
            match thread.name() {
                Some(name) => options.syntax.text(line.out, name)?,
                None => options.syntax.debug(line.out, &thread.id())?,
            }
        }
        if options.thread_ids {
            line.piece(thread_key(options.syntax, ",\"threadId\":", " threadId="))?;
            options.syntax.debug(line.out, &thread.id())?;
        }
        Ok(())
    }
}

fn spans_around(out: &mut impl Write, own: &str, all: &str) -> fmt::Result {
    out.write_str(",\"span\":")?;
    out.write_str(own)?;
    out.write_str(",\"spans\":[")?;
    out.write_str(all)?;
    out.write_str("]")
}

fn thread_key(syntax: Syntax, json: &'static str, logfmt: &'static str) -> &'static str {
    match syntax {
        Syntax::Json => json,
        Syntax::Logfmt => logfmt,
    }
}

/// Pieces one after another: each begins with a separator of one byte, which the first one goes without.
struct Line<'w, W> {
    out: &'w mut W,
    is_first: bool,
}

impl<W: Write> Line<'_, W> {
    #[inline]
    fn piece(&mut self, piece: &str) -> fmt::Result {
        if !self.is_first {
            return self.out.write_str(piece);
        }
        match piece.get(1..) {
            Some(piece) => {
                self.is_first = false;
                self.out.write_str(piece)
            }
            None => Ok(()),
        }
    }
}

/// The fields of an event.
struct Fields<'l, 'w, W> {
    line: &'l mut Line<'w, W>,
    site: &'l Site,
    syntax: Syntax,
    left: Left,
    result: fmt::Result,
}

impl<W: Write> Fields<'_, '_, W> {
    #[inline]
    fn value(&mut self, field: &Field, write: impl FnOnce(Syntax, &mut W) -> fmt::Result) {
        if self.result.is_err() || self.left.has(field) {
            return;
        }
        let Some(key) = self.site.keys.get(field.index()) else { return };
        self.result = self.line.piece(key).and_then(|()| write(self.syntax, self.line.out));
    }
}

impl<W: Write> Visit for Fields<'_, '_, W> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.value(field, |syntax, out| syntax.float(out, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, |_, out| json::integer(out, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, |_, out| json::integer(out, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, |_, out| json::boolean(out, value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.value(field, |syntax, out| syntax.text(out, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.value(field, |syntax, out| syntax.debug(out, value));
    }
}
