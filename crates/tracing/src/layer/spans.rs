//! The text of spans: encoded when a span begins, copied into each event within it.
//!
//! A span keeps its own text behind that of the spans around it, so an event needs its innermost span
//! alone. Fields that are recorded later make the copies in spans within stale; all spans of a tree share a version
//! that tells. A stale text is put together anew by the next event that needs it.
//!
//! Guarantees: an event has each field of its spans as it was when the event began or later. The caller's code
//! does not run here but in `fields_of`, which holds no lock.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::time::Instant;

use tracing_core::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::held::{HeldEvents, HeldSpans};
use super::span_events::{Life, Times};
use super::syntax::{Pieces, Syntax};

/// A longer text is not copied into spans within, so that memory grows with the depth of spans, not with its square.
const COPIED_MAX: usize = 4096;
/// The version of a text that is never fresh.
const STALE: u64 = u64::MAX;

/// The texts of a span, one for each layer that knows it.
#[derive(Default)]
struct SpanTexts(Vec<(u64, SpanText)>);

impl SpanTexts {
    fn get(&self, layer: u64) -> Option<&SpanText> {
        self.0.iter().find(|(id, _)| *id == layer).map(|(_, text)| text)
    }

    fn get_mut(&mut self, layer: u64) -> Option<&mut SpanText> {
        self.0.iter_mut().find(|(id, _)| *id == layer).map(|(_, text)| text)
    }
}

/// Of one span and layer.
pub(crate) struct SpanText {
    syntax: Syntax,
    name: &'static str,
    fields: SpanFields,
    /// All spans from the root on; this one alone if that would be too long.
    all: String,
    /// Where in `all` this span begins.
    own_at: usize,
    /// `all` begins with the root.
    is_whole: bool,
    /// The tree's version of which the texts before `own_at` are.
    version: u64,
    /// Counts the changes of spans that have others within.
    tree: Arc<AtomicU64>,
    has_children: AtomicBool,
    held: Option<Arc<HeldEvents>>,
    /// The events wait for the end of this span.
    is_holder: bool,
    /// Kept if events tell of its end.
    times: Option<Times>,
}

impl SpanText {
    fn new<S: for<'a> LookupSpan<'a>>(
        span: &SpanRef<'_, S>,
        layer: u64,
        syntax: Syntax,
        fields: SpanFields,
        holds: Option<&Arc<HeldSpans>>,
    ) -> SpanText {
        let mut text = SpanText {
            syntax,
            name: span.name(),
            fields,
            all: String::new(),
            own_at: 0,
            is_whole: true,
            version: 0,
            tree: Arc::default(),
            has_children: AtomicBool::new(false),
            held: None,
            is_holder: false,
            times: None,
        };
        if let Some(parent) = span.parent() {
            match parent.extensions().get::<SpanTexts>().and_then(|texts| texts.get(layer)) {
                Some(parent) => text.be_within(parent),
                // It is older than the layer.
                None => text.version = STALE,
            }
        }
        if let (None, Some(spans)) = (&text.held, holds.filter(|spans| spans.has_name(text.name))) {
            text.held = Some(HeldEvents::new(spans));
            text.is_holder = true;
        }
        text.write_own();
        text
    }

    fn be_within(&mut self, parent: &SpanText) {
        parent.has_children.store(true, Relaxed);
        self.tree = Arc::clone(&parent.tree);
        self.held.clone_from(&parent.held);
        self.version = parent.version;
        self.is_whole = parent.is_whole && parent.all.len() <= COPIED_MAX;
        if self.is_whole {
            self.all.clone_from(&parent.all);
        }
    }

    /// Writes this span behind those around it.
    fn write_own(&mut self) {
        self.own_at = begin_next(self.syntax, &mut self.all);
        write_span(self.syntax, &mut self.all, self.name, &self.fields.text);
    }

    /// All spans from the root to this one, unless that is not kept here or stale.
    pub(crate) fn all(&self) -> Option<&str> {
        let is_fresh = self.is_whole && self.version == self.tree.load(Acquire);
        is_fresh.then_some(&self.all)
    }

    /// This span alone: an object, or pairs.
    pub(crate) fn own(&self) -> &str {
        &self.all[self.own_at..]
    }

    pub(crate) fn held(&self) -> Option<&Arc<HeldEvents>> {
        self.held.as_ref()
    }

    fn change(&mut self, new: SpanFields) {
        self.fields.merge(new);
        self.all.truncate(self.own_at);
        write_span(self.syntax, &mut self.all, self.name, &self.fields.text);
        if self.has_children.load(Relaxed) {
            let before = self.tree.fetch_add(1, AcqRel);
            // This span's own text is right, unless another one changed meanwhile.
            if self.version == before {
                self.version = before + 1;
            }
        }
    }
}

fn begin_next(syntax: Syntax, all: &mut String) -> usize {
    if syntax == Syntax::Json && !all.is_empty() {
        all.push(',');
    }
    all.len()
}

/// One span: `{"field":1,"name":"span"}`, or ` span.field=1`.
fn write_span(syntax: Syntax, all: &mut String, name: &str, fields: &str) {
    match syntax {
        Syntax::Logfmt => all.push_str(fields),
        Syntax::Json => {
            let at = all.len();
            all.push_str(fields);
            all.push_str(&syntax.text_piece("name", name));
            // In the place of the first separator.
            all.replace_range(at..=at, "{");
            all.push('}');
        }
    }
}

/// Keeps the text of a new span.
pub(crate) fn insert<S: for<'a> LookupSpan<'a>>(
    span: &SpanRef<'_, S>,
    layer: u64,
    syntax: Syntax,
    fields: SpanFields,
    holds: Option<&Arc<HeldSpans>>,
) {
    let text = SpanText::new(span, layer, syntax, fields, holds);
    let mut extensions = span.extensions_mut();
    match extensions.get_mut::<SpanTexts>() {
        Some(texts) => texts.0.push((layer, text)),
        None => extensions.insert(SpanTexts(vec![(layer, text)])),
    }
}

/// Keeps the times of a span, and returns them.
pub(crate) fn time<S: for<'a> LookupSpan<'a>>(
    span: &SpanRef<'_, S>,
    layer: u64,
    life: Life,
    now: Instant,
) -> Option<Times> {
    let mut extensions = span.extensions_mut();
    let text = extensions.get_mut::<SpanTexts>().and_then(|texts| texts.get_mut(layer))?;
    match (life, &mut text.times) {
        (Life::New, times) => *times = Some(Times::new(now)),
        (_, Some(times)) => times.change(life, now),
        // The layer has not seen it begin.
        (_, None) => {}
    }
    text.times
}

/// Adds fields that are recorded later.
pub(crate) fn update<S: for<'a> LookupSpan<'a>>(
    span: &SpanRef<'_, S>,
    layer: u64,
    new: SpanFields,
) {
    let mut extensions = span.extensions_mut();
    if let Some(text) = extensions.get_mut::<SpanTexts>().and_then(|texts| texts.get_mut(layer)) {
        text.change(new);
    }
}

/// Calls `with` with the span's text, if the layer has seen the span begin.
pub(crate) fn read<S: for<'a> LookupSpan<'a>, R>(
    span: &SpanRef<'_, S>,
    layer: u64,
    with: impl FnOnce(Option<&SpanText>) -> R,
) -> R {
    let extensions = span.extensions();
    with(extensions.get::<SpanTexts>().and_then(|texts| texts.get(layer)))
}

/// The span is over, and nobody wants the events that it kept.
pub(crate) fn end<S: for<'a> LookupSpan<'a>>(span: &SpanRef<'_, S>, layer: u64) {
    let held = read(span, layer, |text| {
        text.filter(|text| text.is_holder).and_then(|text| text.held.clone())
    });
    if let Some(held) = held {
        held.discard();
    }
}

/// Calls `with` with the text of this span alone: its name, if it is older than the layer.
pub(crate) fn read_own<S: for<'a> LookupSpan<'a>, R>(
    span: &SpanRef<'_, S>,
    layer: u64,
    syntax: Syntax,
    with: impl FnOnce(&str) -> R,
) -> R {
    read(span, layer, |text| match text {
        Some(text) => with(text.own()),
        None => {
            let mut own = String::new();
            write_span(syntax, &mut own, span.name(), "");
            with(&own)
        }
    })
}

/// Calls `with` with the texts of all spans from the root to this one.
pub(crate) fn read_all<S: for<'a> LookupSpan<'a>>(
    span: &SpanRef<'_, S>,
    layer: u64,
    syntax: Syntax,
    with: impl FnOnce(&str) -> fmt::Result,
) -> fmt::Result {
    let mut with = Some(with);
    let fresh = read(span, layer, |text| {
        let all = text?.all()?;
        with.take().map(|with| with(all))
    });
    match (fresh, with) {
        (None, Some(with)) => with(&renewed(span, layer, syntax)),
        (result, _) => result.unwrap_or(Ok(())),
    }
}

/// Puts the texts together anew, and keeps them with the span unless that is too long.
#[cold]
fn renewed<S: for<'a> LookupSpan<'a>>(span: &SpanRef<'_, S>, layer: u64, syntax: Syntax) -> String {
    // Before the texts: a change meanwhile makes this version stale.
    let tree = read(span, layer, |text| {
        text.map(|text| (Arc::clone(&text.tree), text.tree.load(Acquire)))
    });
    let (mut all, mut own_at) = (String::new(), 0);
    let spans: Vec<_> = span.scope().collect();
    // A span that began while the layer was away may stand between two trees.
    let mut is_one_tree = true;
    for span in spans.iter().rev() {
        own_at = begin_next(syntax, &mut all);
        read(span, layer, |text| {
            let text_of_tree = text.zip(tree.as_ref());
            is_one_tree &=
                text_of_tree.is_none_or(|(text, (tree, _))| Arc::ptr_eq(&text.tree, tree));
        });
        read_own(span, layer, syntax, |own| all.push_str(own));
    }
    if all.len() <= COPIED_MAX && is_one_tree {
        let mut extensions = span.extensions_mut();
        let text = extensions.get_mut::<SpanTexts>().and_then(|texts| texts.get_mut(layer));
        // Another change of this span's own may have come meanwhile.
        let text = text.filter(|text| text.own() == &all[own_at..]);
        if let (Some(text), Some((_, version))) = (text, tree) {
            text.all.clone_from(&all);
            (text.own_at, text.version, text.is_whole) = (own_at, version, true);
        }
    }
    all
}

/// The fields of a span, each with its separator.
#[derive(Default)]
pub(crate) struct SpanFields {
    text: String,
    /// Their names, and the lengths of their texts, in order.
    fields: Vec<(&'static str, usize)>,
}

impl SpanFields {
    /// Takes a value's place, so that each name is there once.
    fn set(&mut self, name: &'static str, text: &str) {
        let mut at = 0;
        if let Some(index) = self.fields.iter().position(|(other, len)| {
            let found = *other == name;
            at += if found { 0 } else { *len };
            found
        }) {
            self.text.replace_range(at..at + self.fields[index].1, "");
            self.fields.remove(index);
        }
        self.text.push_str(text);
        self.fields.push((name, text.len()));
    }

    fn merge(&mut self, new: SpanFields) {
        let mut at = 0;
        for (name, len) in new.fields {
            self.set(name, &new.text[at..at + len]);
            at += len;
        }
    }
}

/// Encodes the fields of a span. This runs the caller's code.
pub(crate) fn fields_of(syntax: Syntax, span: &str, values: &impl RecordFields) -> SpanFields {
    let mut visitor =
        Fields { syntax, span, fields: SpanFields::default(), scratch: String::new() };
    values.record(&mut visitor);
    visitor.fields
}

struct Fields<'a> {
    syntax: Syntax,
    span: &'a str,
    fields: SpanFields,
    scratch: String,
}

impl Fields<'_> {
    fn set(&mut self, name: &'static str, write: impl FnOnce(Syntax, &mut String) -> fmt::Result) {
        self.scratch.clear();
        match self.syntax {
            // What stands there is the span's own name.
            Syntax::Json if name == "name" => return,
            Syntax::Json => self.scratch.push_str(&self.syntax.key_piece(name)),
            Syntax::Logfmt => {
                self.scratch.push_str(&self.syntax.key_piece(&format!("{}.{name}", self.span)))
            }
        }
        // A String takes everything, and a value that fails ends there.
        let _ = write(self.syntax, &mut self.scratch);
        self.fields.set(name, &self.scratch);
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), |syntax, out| syntax.float(out, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), |_, out| bufferedwriter_encode::json::integer(out, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), |_, out| bufferedwriter_encode::json::integer(out, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), |_, out| bufferedwriter_encode::json::boolean(out, value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), |syntax, out| syntax.text(out, value));
    }

    /// As tracing-subscriber does it: a list of numbers in spans, and hexadecimal text in events.
    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.set(field.name(), |syntax, out| match syntax {
            Syntax::Json => {
                out.push('[');
                for (at, byte) in value.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    bufferedwriter_encode::json::integer(out, *byte)?;
                }
                out.push(']');
                Ok(())
            }
            Syntax::Logfmt => syntax.debug(out, &value),
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let name = field.name();
        self.set(name.strip_prefix("r#").unwrap_or(name), |syntax, out| syntax.debug(out, value));
    }
}
