//! Call sites that are made at random, as the macros make theirs.

use std::error::Error;
use std::fmt;
use std::sync::OnceLock;

use bufferedwriter_testkit::random::Random;
use tracing::field::{DebugValue, Field, FieldSet, Value, ValueSet, debug};
use tracing::metadata::Kind;
use tracing::span::Id;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Span};
use tracing_core::callsite::{Callsite, Identifier};

/// Fields of a call site, at most.
const FIELDS: usize = 6;

/// Some with characters that need escapes, and some that a line has of its own.
const NAMES: [&str; 20] = [
    "with \"quotes\"",
    "line\nbreak",
    "a",
    "b",
    "message",
    "message",
    "user.id",
    "r#type",
    "level",
    "target",
    "timestamp",
    "span",
    "spans",
    "name",
    "threadName",
    "threadId",
    "filename",
    "line_number",
    "fields",
    "ß",
];

struct Site(OnceLock<Metadata<'static>>);

impl Callsite for Site {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        self.0.get().expect("it is set at once")
    }
}

fn metadata(random: &mut Random, kind: Kind) -> &'static Metadata<'static> {
    // A span of tracing-subscriber takes no further fields once the name of one has escapes.
    let permitted = if kind == Kind::SPAN { &NAMES[2..] } else { &NAMES };
    let names = (0..random.below(FIELDS + 1)).map(|_| random.pick(permitted)).collect::<Vec<_>>();
    let level = random.pick(&[Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE]);
    let file = random.pick(&[Some("src/main.rs"), Some("C:\\src\\\"x\".rs"), None]);
    let target = random.pick(&["app", "app::db", "odd \"target\"\t"]);
    let site: &'static Site = Box::leak(Box::new(Site(OnceLock::new())));
    let fields = FieldSet::new(Vec::leak(names), Identifier(site));
    let line = file.map(|_| random.below(1000_u32));
    let metadata = Metadata::new(
        random.pick(&["request", "handler", "odd \"name\""]),
        target,
        level,
        file,
        line,
        None,
        fields,
        kind,
    );
    site.0.get_or_init(|| metadata)
}

/// A few hundred call sites, so that their memory is bounded.
pub struct Pool {
    spans: Vec<&'static Metadata<'static>>,
    events: Vec<&'static Metadata<'static>>,
}

impl Pool {
    pub fn new(size: usize) -> Pool {
        let mut random = Random::new(1);
        let mut sites =
            |kind: fn() -> Kind| (0..size).map(|_| metadata(&mut random, kind())).collect();
        Pool { spans: sites(|| Kind::SPAN), events: sites(|| Kind::EVENT) }
    }

    pub fn span(&self, random: &mut Random, parent: Option<Id>) -> Span {
        let metadata = random.pick(&self.spans);
        let values = Values::new(random);
        values.with(metadata, |values| match parent {
            Some(parent) => Span::child_of(parent, metadata, values),
            None => Span::new(metadata, values),
        })
    }

    pub fn record(&self, random: &mut Random, span: &Span) {
        let values = Values::new(random);
        values.with(span.metadata().unwrap(), |values| {
            span.record_all(values);
        });
    }

    pub fn event(&self, random: &mut Random, parent: Option<Id>) {
        let metadata = random.pick(&self.events);
        let values = Values::new(random);
        values.with(metadata, |values| match parent {
            Some(parent) => Event::child_of(parent, metadata, values),
            None => Event::dispatch(metadata, values),
        });
    }
}

/// As many values as a call site may have fields.
pub struct Values([Box<dyn Value>; FIELDS]);

impl Values {
    fn new(random: &mut Random) -> Values {
        Values(std::array::from_fn(|_| value(random)))
    }

    fn with<R>(
        &self,
        metadata: &'static Metadata<'static>,
        call: impl FnOnce(&ValueSet<'_>) -> R,
    ) -> R {
        let fields: Vec<Field> = metadata.fields().iter().collect();
        // A set has one length: what is too much is of the last field, and has no value.
        let Some(last) = fields.last() else { return call(&metadata.fields().value_set(&[])) };
        let pairs: [(&Field, Option<&dyn Value>); FIELDS] =
            std::array::from_fn(|at| match fields.get(at) {
                Some(field) => (field, Some(&*self.0[at])),
                None => (last, None),
            });
        call(&metadata.fields().value_set(&pairs))
    }
}

#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused: \"\u{1b}[31m\"")
    }
}

impl Error for Refused {}

fn value(random: &mut Random) -> Box<dyn Value> {
    match random.below(14) {
        0 => Box::new(random.next()),
        1 => Box::new(random.next() as i64),
        2 => Box::new(f64::from_bits(random.next())),
        3 => Box::new(random.pick(&[
            0.0,
            -0.0,
            1e300,
            0.1,
            f64::NAN,
            f64::INFINITY,
            f64::MIN_POSITIVE,
        ])),
        4 => Box::new(random.one_in(2)),
        5 => Box::new(u128::from(random.next()) << 64 | 1),
        6 => Box::new(-i128::from(random.next()) << 63),
        7 => Box::new(tracing::field::Empty),
        8 => Box::new(debug(vec![text(random), text(random)])),
        9 => Box::new(DisplayedText(text(random)).debug()),
        10 => Box::new(text(random).into_bytes().leak() as &'static [u8]),
        11 => Box::new(Box::new(Refused) as Box<dyn Error + Send + Sync>),
        _ => Box::new(text(random)),
    }
}

/// What `%value` makes of a value.
struct DisplayedText(String);

impl DisplayedText {
    fn debug(self) -> DebugValue<Self> {
        debug(self)
    }
}

impl fmt::Debug for DisplayedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Up to 30 characters of any kind.
fn text(random: &mut Random) -> String {
    let len = random.below(31);
    let char = |random: &mut Random| match random.below(6) {
        0 => char::from(random.below(32_u8)),
        1 => random.pick(&['"', '\\', '/', '\u{7f}', '\u{2028}', '\u{feff}', 'ß', '🦀']),
        2 => char::from_u32(random.below(0x11_0000)).unwrap_or('?'),
        _ => char::from(random.below(95_u8) + b' '),
    };
    (0..len).map(|_| char(random)).collect()
}
