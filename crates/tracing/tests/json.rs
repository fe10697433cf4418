//! Is each line what tracing-subscriber's JSON has, whatever the events, spans, fields and options?

mod sites;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use bufferedwriter::{BufferedWriter, Config};
use bufferedwriter_testkit::dir::{TestDir, paths_below};
use bufferedwriter_testkit::random::Random;
use serde_json::{Map, Value};
use tracing::span::EnteredSpan;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::prelude::*;

use sites::Pool;

/// Events that are compared.
const EVENTS: usize = 10_000;
const EVENTS_OF_A_CASE: usize = 40;

/// What tracing-subscriber writes.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Lines;

    fn make_writer(&self) -> Lines {
        self.clone()
    }
}

/// The lines, without their times; those are checked to be times.
fn parsed(text: &[u8], has_time: bool) -> Vec<Value> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let values = lines.map(|line| {
        assert_eq!(line.last(), Some(&b'\n'));
        serde_json::from_slice::<Value>(line).unwrap()
    });
    values
        .map(|mut value| {
            // A field may have taken its place.
            if has_time && value["timestamp"].as_str().is_some_and(|time| time.starts_with("20")) {
                let time = value.as_object_mut().unwrap().remove("timestamp").unwrap();
                let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
                let age = jiff::Timestamp::now().duration_since(time).as_secs();
                assert!((0..60).contains(&age), "{time}");
            }
            without_durations(&mut value);
            value
        })
        .collect()
}

/// How long a span took differs; that it is a time is checked.
fn without_durations(line: &mut Value) {
    let is_closed = |fields: &Value| fields["message"] == "close" && !fields["time.busy"].is_null();
    let fields = if is_closed(line) { line } else { &mut line["fields"] };
    if !is_closed(fields) {
        return;
    }
    for name in ["time.busy", "time.idle"] {
        let time = fields.as_object_mut().unwrap().remove(name).unwrap();
        let number = time.as_str().unwrap().strip_suffix('s').unwrap();
        number.trim_end_matches(['n', 'µ', 'm']).parse::<f64>().unwrap();
    }
}

/// Where they differ, with both values.
fn differences(ours: &Value, theirs: &Value) -> Vec<String> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
            let at =
                |map: &Map<String, Value>, name: &str| map.get(name).cloned().unwrap_or_default();
            let inner = |name: &str| differences(&at(ours, name), &at(theirs, name));
            names
                .iter()
                .flat_map(|name| inner(name).into_iter().map(move |text| format!("{name}: {text}")))
                .collect()
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            ours.iter().zip(theirs).flat_map(|(ours, theirs)| differences(ours, theirs)).collect()
        }
        _ if ours == theirs => Vec::new(),
        _ => vec![format!("{ours} and {theirs}")],
    }
}

fn compare(seed: u64, pool: &Pool) {
    let mut random = Random::new(seed);
    let mut flag = || random.below(2) == 1;
    let dir = TestDir::new();
    let config = Config::default().path(dir.path()).temp(dir.path()).workers(1);
    let files = BufferedWriter::new(config).unwrap();
    let (ours, guard) = bufferedwriter_tracing::json(&files);
    let theirs = Lines::default();
    let fmt = tracing_subscriber::fmt::layer().json().with_writer(theirs.clone());
    let (level, target, file, line) = (flag(), flag(), flag(), flag());
    let (names, ids, flat, current, list, time) = (flag(), flag(), flag(), flag(), flag(), flag());
    let lives = [FmtSpan::NEW, FmtSpan::ENTER, FmtSpan::EXIT, FmtSpan::CLOSE];
    let lives = lives.into_iter().filter(|_| flag()).fold(FmtSpan::NONE, |all, life| all | life);
    let ours = ours.with_level(level).with_target(target).with_file(file).with_line_number(line);
    let ours = ours.with_thread_names(names).with_thread_ids(ids).flatten_event(flat);
    let ours = ours.with_current_span(current).with_span_list(list).with_span_events(lives.clone());
    let fmt = fmt.with_level(level).with_target(target).with_file(file).with_line_number(line);
    let fmt = fmt.with_thread_names(names).with_thread_ids(ids).flatten_event(flat);
    let fmt = fmt.with_current_span(current).with_span_list(list).with_span_events(lives);
    let (ours, fmt) = if time {
        (ours.boxed(), fmt.boxed())
    } else {
        (ours.without_time().boxed(), fmt.without_time().boxed())
    };
    let subscriber = tracing_subscriber::registry().with(ours).with(fmt);
    tracing::subscriber::with_default(subscriber, || log_at_random(&mut random, pool));
    assert_eq!(guard.close().unwrap().refused.total().records, 0);
    let ours: Vec<u8> =
        paths_below(dir.path()).iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    let (ours, theirs) = (parsed(&ours, time), parsed(&theirs.0.lock().unwrap(), time));
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.len() >= EVENTS_OF_A_CASE);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(differences(ours, theirs), [""; 0], "seed {seed}\n{ours}\n{theirs}");
    }
}

/// Spans begin and end, get further fields, and events come in them, outside and with a parent of their own.
fn log_at_random(random: &mut Random, pool: &Pool) {
    let mut entered: Vec<EnteredSpan> = Vec::new();
    let mut events = 0;
    while events < EVENTS_OF_A_CASE {
        match random.below(8) {
            0 | 1 => {
                let parent = random.below(entered.len() + 3);
                let parent = entered.get(parent).and_then(|span| span.id());
                entered.push(pool.span(random, parent).entered());
            }
            2 => drop(entered.pop()),
            3 if !entered.is_empty() => {
                let span = &entered[random.below(entered.len())];
                pool.record(random, span);
            }
            4 => {
                let parent = random.below(entered.len() + 1);
                let parent = entered.get(parent).and_then(|span| span.id());
                pool.event(random, parent);
                events += 1;
            }
            _ => {
                pool.event(random, None);
                events += 1;
            }
        }
    }
    // In the order in which they were entered, from the last on.
    while entered.pop().is_some() {}
}

#[test]
fn each_line_equals_that_of_tracing_subscriber() {
    let pool = Pool::new(300);
    for seed in 0..(EVENTS / EVENTS_OF_A_CASE) as u64 {
        compare(seed, &pool);
    }
}
