//! A layer that encodes events straight into the writer's memory.
//!
//! Guarantees: each event is one record, whole and valid whatever its fields hold, or is refused and
//! counted. Without spans and with them, an event allocates nothing once its call site and its spans are known.
//! Code of the caller (`Debug`, `Display`) runs while the layer holds no lock.
//!
//! Layers, each of which uses only those below it: `mod` answers the subscriber, `encode` writes an event, `dump` asks for dumps, `held`
//! keeps those of a span until it ends, `span_events` makes those of a span's life, `limit` counts those of a call
//! site, `spans` has the text of spans, `sites` that of call sites, `syntax` knows JSON and logfmt.

mod dump;
mod encode;
mod held;
mod limit;
mod options;
mod sites;
mod span_events;
mod spans;
mod syntax;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use bufferedwriter::BufferedWriter;
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Level, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::buffer;
use encode::Encoder;
use held::HeldEvents;
use options::Options;
use sites::{Site, Sites};
use span_events::Life;

pub use held::BufferSpans;
pub(crate) use syntax::Syntax;

/// Writes each event as a line: see [`json`](crate::json) and [`logfmt`](crate::logfmt).
///
/// Its options have the names of those of `tracing_subscriber::fmt()`. It takes its place among other
/// layers, filters and `reload` as any layer does.
pub struct EventLayer {
    files: BufferedWriter,
    /// Tells the texts of this layer's spans from those of another one.
    id: u64,
    options: Options,
    sites: Sites,
    counts: Arc<Counts>,
}

/// Events that a layer kept from the files on purpose; see [`EventLayer::counts`].
#[derive(Clone, Debug)]
pub struct EventCounts(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    suppressed: AtomicU64,
    discarded: AtomicU64,
}

impl EventCounts {
    /// Events beyond the [`limit`](EventLayer::limit) of their call site.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.0.suppressed.load(Relaxed)
    }

    /// Events of [spans that ended well](EventLayer::buffer_spans), or for which their memory had no room.
    #[must_use]
    pub fn discarded(&self) -> u64 {
        self.0.discarded.load(Relaxed)
    }
}

impl EventLayer {
    pub(crate) fn new(files: BufferedWriter, syntax: Syntax) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        EventLayer {
            files,
            id: NEXT_ID.fetch_add(1, Relaxed),
            options: Options::new(syntax),
            sites: Sites::new(),
            counts: Arc::default(),
        }
    }

    /// The counts of this layer, which stay readable once the layer is part of a subscriber.
    #[must_use]
    pub fn counts(&self) -> EventCounts {
        EventCounts(Arc::clone(&self.counts))
    }

    /// Writes the event, has its span hold it back, or counts it as suppressed.
    fn take<S>(&self, event: &Event<'_>, level: Level, site: &Site, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let encoder = Encoder::new(self.id, &self.options, site, event, level, ctx);
        let held = self.options.held.as_ref().and_then(|_| encoder.held());
        let is_wanted = held.as_ref().is_some_and(|held| held.keeps_on(encoder.level()));
        if !is_wanted && !site.limit.pass(self.options.limit) {
            self.counts.suppressed.fetch_add(1, Relaxed);
            return;
        }
        match held {
            Some(held) => self.hold(&encoder, &held),
            None => self.write(&encoder, site),
        }
        if let Some(dump_on) = &self.options.dump_on {
            dump_on.saw(encoder.level());
        }
    }

    /// Writes an event of a span's life, if it is wanted.
    #[inline]
    fn tell<S>(&self, life: Life, id: &Id, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if self.options.span_events.is_some() {
            self.tell_and_time(life, id, ctx);
        }
    }

    #[inline(never)]
    fn tell_and_time<S>(&self, life: Life, id: &Id, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let (Some(events), Some(span)) = (&self.options.span_events, ctx.span(id)) else { return };
        let is_timed = self.options.time && events.wants(Life::Close);
        let times = if is_timed { spans::time(&span, self.id, life, Instant::now()) } else { None };
        if events.wants(life) {
            let metadata = span.metadata();
            drop(span);
            events.with_event(life, (id, metadata), times, &self.options, |event, site| {
                // A span of level ERROR is no error.
                self.take(event, Level::TRACE, site, ctx);
            });
        }
    }

    /// Writes the event, and tells of those that were suppressed before it.
    fn write<S>(&self, encoder: &Encoder<'_, '_, S>, site: &Site)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let untold = site.limit.untold();
        // What is refused is counted by the writer.
        if self.files.record(|out| encoder.event(out, untold.count)).is_ok() {
            untold.told();
        }
    }

    /// Has its span hold the event back, or writes all that the span holds.
    fn hold<S>(&self, encoder: &Encoder<'_, '_, S>, held: &HeldEvents)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        // It is empty, so it is text.
        let mut text = String::from_utf8(buffer::take()).unwrap_or_default();
        let uncounted = Uncounted(&self.files);
        if encoder.event(&mut text, 0).is_ok() {
            std::mem::forget(uncounted);
            if let Some(before) = held.keep(encoder.level(), &text) {
                for text in before {
                    let _ = self.files.write(text.as_bytes());
                }
                let _ = self.files.write(text.as_bytes());
            }
        }
        buffer::give_back(text.into_bytes());
    }
}

/// Counts an event that could not be encoded, also if the caller's code panics.
struct Uncounted<'a>(&'a BufferedWriter);

impl Drop for Uncounted<'_> {
    fn drop(&mut self) {
        let _ = self.0.record(|_| Err(fmt::Error));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for EventLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        // The caller's code runs here, before any lock.
        let own = spans::fields_of(self.options.syntax, span.name(), attributes);
        spans::insert(&span, self.id, self.options.syntax, own, self.options.held.as_ref());
        drop(span);
        self.tell(Life::New, id, &ctx);
    }

    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        self.tell(Life::Enter, id, &ctx);
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        self.tell(Life::Exit, id, &ctx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let new = spans::fields_of(self.options.syntax, span.name(), values);
        spans::update(&span, self.id, new);
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let fields = event.metadata().fields();
        let found = self.sites.get(event.metadata(), fields, &self.options);
        let temporary;
        let site = match found {
            Some(site) if !site.may_be_of_log => site,
            // Records of the `log` crate share call sites, and have their own target and line.
            _ => {
                let normal = event.normalized_metadata();
                let metadata = normal.as_ref().unwrap_or(event.metadata());
                temporary = Site::new(metadata, fields, &self.options);
                &temporary
            }
        };
        self.take(event, *event.metadata().level(), site, &ctx);
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        self.tell(Life::Close, &id, &ctx);
        if self.options.held.is_none() {
            return;
        }
        let Some(span) = ctx.span(&id) else { return };
        spans::end(&span, self.id);
    }
}

impl fmt::Debug for EventLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLayer").field("options", &self.options).finish_non_exhaustive()
    }
}
