//! What of a line depends on its call site alone: encoded once, found by the address of its metadata.
//!
//! Guarantees: a look-up takes no lock. A site that was made stays as long as the layer.

use std::sync::OnceLock;

use tracing_core::field::{Field, FieldSet, Visit};
use tracing_core::{Event, Level, Metadata};

use super::limit::SiteLimit;
use super::options::Options;
use super::syntax::Pieces;

/// Slots of the first table; each further one has twice as many.
const FIRST_SLOTS: usize = 256;
/// A million sites.
const TABLES: usize = 12;
/// Slots of a table in which a site may be.
const PROBES: usize = 8;
/// The name of each event that comes through the bridge of the `log` crate.
const OF_LOG: &str = "log event";
/// The field that tells of suppressed events.
const SUPPRESSED: &str = "suppressed";

type Table = Box<[OnceLock<Entry>]>;

pub(crate) struct Sites {
    tables: [OnceLock<Table>; TABLES],
}

struct Entry {
    metadata: &'static Metadata<'static>,
    site: Site,
}

impl Sites {
    pub(crate) const fn new() -> Self {
        Sites { tables: [const { OnceLock::new() }; TABLES] }
    }

    /// The site of this metadata with these fields, which are always the same ones; made if need be. `None` if its
    /// slots in all tables are taken.
    #[inline]
    pub(crate) fn get(
        &self,
        metadata: &'static Metadata<'static>,
        fields: &FieldSet,
        options: &Options,
    ) -> Option<&Site> {
        // Statics lie at least 8 bytes apart. The high half of the product is what spreads them.
        let address = std::ptr::from_ref(metadata).addr();
        let hash = ((address >> 3) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.tables.iter().enumerate().find_map(|(number, table)| {
            let slots = FIRST_SLOTS << number;
            let table = table.get_or_init(|| (0..slots).map(|_| OnceLock::new()).collect());
            (0..PROBES).find_map(|probe| {
                let entry = table[(hash as usize + probe) % slots]
                    .get_or_init(|| Entry { metadata, site: Site::new(metadata, fields, options) });
                std::ptr::eq(entry.metadata, metadata).then_some(&entry.site)
            })
        })
    }
}

pub(crate) struct Site {
    /// The pieces between the time and the fields, each with its separator.
    pub(crate) head: String,
    /// The same after a timestamp, with its end. `None` if there is none, or one of a timer.
    pub(crate) timed_head: Option<String>,
    /// By number of the field: its name, from the separator up to the value.
    pub(crate) keys: Box<[String]>,
    /// The pieces after the fields that are always the same.
    pub(crate) tail: String,
    pub(crate) suppressed: Option<String>,
    pub(crate) limit: SiteLimit,
    /// Its name is that of the call sites that all records of the `log` crate share.
    pub(crate) may_be_of_log: bool,
    /// Fields may share a name with each other or with a piece of the line.
    has_conflicts: bool,
}

/// Numbers of fields, below 256. A call site with more of them may have names twice.
#[derive(Clone, Copy, Default)]
pub(crate) struct Numbers([u64; 4]);

impl Numbers {
    #[inline]
    fn has(self, field: &Field) -> bool {
        self.0.get(field.index() / 64).is_some_and(|bits| bits >> (field.index() % 64) & 1 == 1)
    }

    fn add(&mut self, field: &Field) {
        if let Some(bits) = self.0.get_mut(field.index() / 64) {
            *bits |= 1 << (field.index() % 64);
        }
    }
}

/// What is left out, so that each name is in a line once.
#[derive(Clone, Copy, Default)]
pub(crate) struct Left {
    pub(crate) fields: Numbers,
    pub(crate) time: bool,
    pub(crate) level: bool,
}

impl Left {
    #[inline]
    pub(crate) fn has(self, field: &Field) -> bool {
        self.fields.has(field)
    }
}

impl Site {
    pub(crate) fn new(metadata: &Metadata<'_>, fields: &FieldSet, options: &Options) -> Site {
        let syntax = options.syntax;
        let mut tail = String::new();
        if options.target {
            tail.push_str(&syntax.text_piece("target", metadata.target()));
        }
        if let Some(file) = metadata.file().filter(|_| options.file) {
            tail.push_str(&syntax.text_piece("filename", file));
        }
        if let Some(line) = metadata.line().filter(|_| options.line_number) {
            tail.push_str(&syntax.key_piece("line_number"));
            tail.push_str(&line.to_string());
        }
        let names = || fields.iter().map(|field| field.name());
        let is_twice = |(at, name)| names().skip(at + 1).any(|other| other == name);
        let head = head(*metadata.level(), options);
        let has_stamp = options.time && options.timer.is_none();
        Site {
            timed_head: has_stamp.then(|| format!("{}{head}", syntax.around_time().1)),
            head,
            keys: names().map(|name| syntax.key_piece(name)).collect(),
            tail,
            suppressed: (!names().any(|name| name == SUPPRESSED))
                .then(|| syntax.key_piece(SUPPRESSED)),
            limit: SiteLimit::default(),
            may_be_of_log: metadata.name() == OF_LOG,
            has_conflicts: names().enumerate().any(is_twice)
                || options.is_flat
                    && names().any(|name| BEFORE.contains(&name) || AFTER.contains(&name)),
        }
    }

    /// What this event leaves out: of several fields with one name all but the last.
    #[inline]
    pub(crate) fn left(&self, event: &Event<'_>, options: &Options, has_span: bool) -> Left {
        if self.has_conflicts { left(event, options, has_span) } else { Left::default() }
    }
}

fn head(level: Level, options: &Options) -> String {
    let mut head = if options.level { options.syntax.level_piece(level) } else { String::new() };
    if !options.is_flat {
        head.push_str(options.syntax.around_fields().0);
    }
    head
}

/// Names of pieces before an event's fields, and after them.
const BEFORE: [&str; 3] = ["timestamp", "ts", "level"];
const AFTER: [&str; 7] =
    ["target", "filename", "line_number", "span", "spans", "threadName", "threadId"];

#[cold]
fn left(event: &Event<'_>, options: &Options, has_span: bool) -> Left {
    let mut present = Present(Numbers::default());
    event.record(&mut present);
    let is_present = |field: &Field| present.0.has(field);
    let metadata = event.metadata();
    let is_after = |name| match name {
        "target" => options.target,
        "filename" => options.file && metadata.file().is_some(),
        "line_number" => options.line_number && metadata.line().is_some(),
        "span" => options.current_span && has_span,
        "spans" => options.span_list && has_span && options.syntax == super::Syntax::Json,
        "threadName" => options.thread_names,
        "threadId" => options.thread_ids,
        _ => false,
    };
    let (time, _) = options.syntax.around_time();
    let mut left = Left::default();
    for field in event.fields().filter(is_present) {
        let mut later = event.fields().skip(field.index() + 1).filter(is_present);
        if later.any(|other| other.name() == field.name())
            || options.is_flat && is_after(field.name())
        {
            left.fields.add(&field);
        } else if options.is_flat {
            left.time |= BEFORE[..2].contains(&field.name()) && time.contains(field.name());
            left.level |= field.name() == "level";
        }
    }
    left
}

/// Which fields of an event have a value.
struct Present(Numbers);

impl Visit for Present {
    fn record_debug(&mut self, field: &Field, _: &dyn std::fmt::Debug) {
        self.0.add(field);
    }
}
