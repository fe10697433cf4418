//! Do the layers keep lines valid and complete, whatever the events do, and beside other layers and filters?

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bufferedwriter::{BufferedWriter, CloseReport, Config};
use bufferedwriter_testkit::dir::{TestDir, paths_below};
use bufferedwriter_tracing::{BufferSpans, EventLayer};
use serde_json::{Value, json};
use tracing::subscriber::with_default;
use tracing::{Level, Subscriber, debug, error, error_span, info, info_span, warn};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{registry, reload};

type New = fn(&BufferedWriter) -> (EventLayer, bufferedwriter_tracing::Guard);

/// The lines that this wrote, and the report of the close.
fn lines_of(new: New, log: impl FnOnce(EventLayer)) -> (Vec<String>, CloseReport) {
    let dir = TestDir::new();
    let config = Config::default().path(dir.path()).temp(dir.path()).workers(1);
    let files = BufferedWriter::new(config).unwrap();
    let (layer, guard) = new(&files);
    log(layer);
    let report = guard.close().unwrap();
    let text: String =
        paths_below(dir.path()).iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    (text.lines().map(str::to_owned).collect(), report)
}

fn json_of(log: impl FnOnce(EventLayer)) -> Vec<Value> {
    let (lines, _) = lines_of(bufferedwriter_tracing::json, log);
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn plain(layer: EventLayer) -> EventLayer {
    layer.without_time().with_level(false).with_target(false)
}

fn messages(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["fields"]["message"].as_str().unwrap()).collect()
}

struct Panics;

impl fmt::Debug for Panics {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("as it is meant to")
    }
}

struct Fails;

impl fmt::Debug for Fails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("half")?;
        Err(fmt::Error)
    }
}

#[test]
fn an_event_whose_debug_panics_is_dropped_and_counted() {
    let (lines, report) = lines_of(bufferedwriter_tracing::json, |layer| {
        with_default(registry().with(layer), || {
            info!("before");
            let event = catch_unwind(AssertUnwindSafe(|| info!(value = ?Panics, "panics")));
            let span = catch_unwind(AssertUnwindSafe(|| {
                info_span!("span", value = ?Panics).in_scope(|| info!("in it"))
            }));
            assert!(event.is_err() && span.is_err());
            info!("after");
        });
    });
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(messages(&lines), ["before", "after"]);
    assert_eq!((report.refused.format.records, report.refused.total().records), (1, 1));
}

#[test]
fn an_event_whose_debug_fails_keeps_what_was_written() {
    let lines = json_of(|layer| {
        with_default(registry().with(plain(layer)), || info!(value = ?Fails, after = 1, "fails"));
    });
    assert_eq!(lines, [json!({ "fields": { "message": "fails", "value": "half", "after": 1 } })]);
}

/// A reader that takes no object with two fields of one name takes each line.
#[test]
fn each_line_is_one_object_without_a_name_twice() {
    let flat = |is_flat| {
        lines_of(bufferedwriter_tracing::json, |layer| {
            with_default(
                registry().with(plain(layer).with_level(true).flatten_event(is_flat)),
                || {
                    let span = info_span!("span", name = "field", a = 1, a = 2);
                    span.in_scope(|| info!(a = 1, level = "mine", a = 2, span = 3, "second"));
                },
            );
        })
        .0
    };
    let spans = r#""span":{"a":2,"name":"span"},"spans":[{"a":2,"name":"span"}]"#;
    let nested = r#"{"level":"INFO","fields":{"message":"second","level":"mine","a":2,"span":3},"#;
    assert_eq!(sorted(&flat(false)), sorted(&[format!("{nested}{spans}}}")]));
    assert_eq!(
        sorted(&flat(true)),
        sorted(&[format!(r#"{{"message":"second","level":"mine","a":2,{spans}}}"#)])
    );
}

/// The parts of lines between commas and braces, in order: the macro decides on the order of fields.
fn sorted(lines: &[String]) -> Vec<String> {
    let mut parts: Vec<_> = lines
        .iter()
        .flat_map(|line| line.split([',', '{', '}', '[', ']']))
        .map(str::to_owned)
        .collect();
    parts.sort_unstable();
    parts
}

#[test]
fn a_hundred_nested_spans_and_a_change_of_the_outermost() {
    let lines = json_of(|layer| {
        with_default(registry().with(plain(layer)), || {
            let outermost = info_span!(
                "level",
                number = 0,
                padding = "x".repeat(200),
                late = tracing::field::Empty
            );
            let mut entered = vec![outermost.clone().entered()];
            entered
                .extend((1..100).map(|number| {
                    info_span!("level", number, padding = "x".repeat(200)).entered()
                }));
            info!("deep");
            outermost.record("late", true);
            info!("deep");
            while entered.pop().is_some() {}
        });
    });
    assert_eq!(lines.len(), 2);
    for (line, late) in lines.iter().zip([Value::Null, Value::Bool(true)]) {
        let numbers = line["spans"].as_array().unwrap().iter().map(|span| span["number"].as_u64());
        assert!(numbers.eq((0..100).map(Some)));
        assert_eq!((&line["span"]["number"], &line["spans"][0]["late"]), (&json!(99), &late));
    }
}

/// A record of the `log` crate has its own target, file and line, as tracing-subscriber has it.
#[test]
fn records_of_the_log_crate_have_their_own_target() {
    let lines = json_of(|layer| {
        with_default(registry().with(layer.without_time().with_line_number(true)), || {
            let record = log::Record::builder()
                .level(log::Level::Warn)
                .target("their::target")
                .line(Some(7))
                .args(format_args!("old"))
                .build();
            tracing_log::format_trace(&record).unwrap();
        });
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["level"], &lines[0]["target"]),
        (&json!("WARN"), &json!("their::target"))
    );
    assert_eq!(
        (&lines[0]["line_number"], &lines[0]["fields"]["message"]),
        (&json!(7), &json!("old"))
    );
}

#[test]
fn logfmt_is_pairs_with_the_spans_fields_behind_its_name() {
    let (lines, _) = lines_of(bufferedwriter_tracing::logfmt, |layer| {
        with_default(registry().with(layer.without_time()), || {
            let _outer = info_span!("request", id = 7, path = "/a b").entered();
            let _inner = info_span!("query", rows = tracing::field::Empty).entered();
            info!(answer = 42, ratio = 0.5, odd = ?"x=y", empty = "", "hello world");
            tracing::Span::current().record("rows", 3);
            warn!("plain");
        });
    });
    assert_eq!(
        lines,
        [
            "level=info message=\"hello world\" answer=42 ratio=0.5 odd=\"\\\"x=y\\\"\" empty=\"\" target=layers \
             span=query request.id=7 request.path=\"/a b\"",
            "level=warn message=plain target=layers span=query request.id=7 request.path=\"/a b\" query.rows=3",
        ]
    );
}

#[test]
fn a_line_without_anything_is_still_a_line() {
    let nothing = |layer: EventLayer| {
        plain(layer).with_current_span(false).with_span_list(false).flatten_event(true)
    };
    let (json, _) = lines_of(bufferedwriter_tracing::json, |layer| {
        with_default(registry().with(nothing(layer)), || {
            tracing::event!(Level::INFO, a = tracing::field::Empty);
            tracing::event!(Level::INFO, a = 1);
        });
    });
    assert_eq!(json, ["{}", "{\"a\":1}"]);
    let (logfmt, _) = lines_of(bufferedwriter_tracing::logfmt, |layer| {
        with_default(registry().with(nothing(layer).with_thread_ids(true)), || {
            tracing::event!(Level::INFO, a = 1);
        });
    });
    assert!(logfmt[0].starts_with("a=1 threadId=ThreadId("), "{logfmt:?}");
}

#[test]
fn filters_and_reload_decide_what_a_layer_sees() {
    let (other_dir, mut lines) = (TestDir::new(), Vec::new());
    let other =
        BufferedWriter::new(Config::default().path(other_dir.path()).temp(other_dir.path()))
            .unwrap();
    let (other_layer, other_guard) = bufferedwriter_tracing::json(&other);
    lines.extend(json_of(|layer| {
        let (filter, handle) = reload::Layer::new(LevelFilter::WARN);
        // One layer sees no spans named `hidden`, the other one sees all.
        let other = other_layer.with_filter(filter_fn(|metadata| metadata.name() != "hidden"));
        let subscriber =
            registry().with(layer.with_filter(filter)).with(other).with(EnvFilter::new("info"));
        with_default(subscriber, || {
            let _shown = info_span!("shown", a = 1).entered();
            let _hidden = info_span!("hidden", b = 2).entered();
            info!("info before");
            warn!("warn");
            handle.modify(|filter| *filter = LevelFilter::TRACE).unwrap();
            info!("info after");
            debug!("debug");
        });
    }));
    assert_eq!(messages(&lines), ["warn", "info after"]);
    // Its filter let the spans not pass when they began.
    assert_eq!(lines[1]["spans"], Value::Null);
    assert_eq!(other_guard.close().unwrap().written.records, 3);
    let text = std::fs::read_to_string(&paths_below(other_dir.path())[0]).unwrap();
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["spans"], json!([{ "a": 1, "name": "shown" }]));
}

/// Options of a layer may change while it runs: spans that began before have a name, and no fields.
#[test]
fn a_layer_may_be_put_in_later() {
    let lines = json_of(|layer| {
        let (slot, handle) = reload::Layer::new(None::<EventLayer>);
        // Without it, nobody would want the first span.
        let other = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
        with_default(registry().with(slot).with(other), || {
            let _span = info_span!("before", a = 1).entered();
            info!("nobody hears it");
            handle.reload(Some(plain(layer))).unwrap();
            let _span = info_span!("after", b = 2).entered();
            info!("heard");
            handle.reload(None).unwrap();
        });
    });
    let span = json!({ "b": 2, "name": "after" });
    assert_eq!(
        lines,
        [
            json!({ "fields": { "message": "heard" }, "span": span, "spans": [{ "name": "before" }, span] })
        ]
    );
}

#[test]
fn events_beyond_the_limit_are_counted_in_the_next_one() {
    let mut counts = None;
    let lines = json_of(|layer| {
        let period = Duration::from_millis(500);
        let layer = plain(layer).limit(2, period);
        let suppressed = layer.counts();
        with_default(registry().with(layer), || {
            let mut number = 0;
            // Until two periods have begun: the clock is what it waits for.
            let began = std::time::Instant::now();
            while began.elapsed() < period * 3 {
                info!(number, "often");
                number += 1;
                std::thread::yield_now();
            }
            counts = Some((number, suppressed.suppressed()));
            info!("another call site");
        });
    });
    let (events, suppressed) = counts.unwrap();
    let (often, last) = lines.split_at(lines.len() - 1);
    assert_eq!(messages(last), ["another call site"]);
    assert!((5..=8).contains(&often.len()), "{often:?}");
    assert_eq!(often.len() as u64 + suppressed, events);
    let told: u64 = often.iter().filter_map(|line| line["fields"]["suppressed"].as_u64()).sum();
    assert!(told > 0 && told <= suppressed, "{told} of {suppressed}");
}

fn requests<S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync>(subscriber: S) {
    with_default(subscriber, || {
        for number in 0..10 {
            let _request = info_span!("request", number).entered();
            debug!("begins");
            info_span!("query").in_scope(|| match number {
                3 => error!("fails"),
                5 => warn!("is slow"),
                _ => info!("goes well"),
            });
            debug!("ends");
        }
        info!("in no request");
    });
}

#[test]
fn a_spans_events_are_written_only_if_it_fails() {
    let mut discarded = 0;
    let lines = json_of(|layer| {
        let layer = layer.buffer_spans(BufferSpans::named("request"));
        let counts = layer.counts();
        requests(registry().with(layer));
        discarded = counts.discarded();
    });
    assert_eq!(messages(&lines), ["begins", "fails", "ends", "in no request"]);
    assert!(lines[..3].iter().all(|line| line["spans"][0]["number"] == 3));
    assert_eq!(discarded, 27);
    let lines = json_of(|layer| {
        requests(
            registry().with(layer.buffer_spans(BufferSpans::named("request").keep_on(Level::WARN))),
        );
    });
    assert_eq!(
        messages(&lines),
        ["begins", "fails", "ends", "begins", "is slow", "ends", "in no request"]
    );
}

#[test]
fn what_spans_hold_is_bounded_and_the_oldest_goes_first() {
    let mut discarded = 0;
    let lines = json_of(|layer| {
        let layer = plain(layer).with_span_list(false).with_current_span(false);
        let layer = layer.buffer_spans(BufferSpans::named("request").bytes(400));
        let counts = layer.counts();
        with_default(registry().with(layer), || {
            let other = info_span!("request");
            other.in_scope(|| debug!(number = 0, "other"));
            let request = info_span!("request").entered();
            (0..100).for_each(|number| debug!(number, "request"));
            error!(number = 100, "request");
            drop(request);
            other.in_scope(|| error!(number = 101, "other"));
        });
        discarded = counts.discarded();
    });
    let numbers: Vec<_> =
        lines.iter().map(|line| line["fields"]["number"].as_u64().unwrap()).collect();
    let kept = numbers.len() as u64 - 4;
    assert!((5..12).contains(&kept), "{numbers:?}");
    assert_eq!(numbers, [((99 - kept)..=100).collect(), vec![0, 101]].concat());
    assert_eq!(discarded, 99 - kept);
}

/// When something fails, what led to it matters, however often it fails.
#[test]
fn a_limit_suppresses_no_event_that_has_a_span_written() {
    let lines = json_of(|layer| {
        let layer = layer.limit(3, Duration::from_secs(3600));
        with_default(registry().with(layer.buffer_spans(BufferSpans::named("request"))), || {
            for number in 0..6 {
                let _request = info_span!("request", number).entered();
                error!("fails");
            }
        });
    });
    assert_eq!(messages(&lines), ["fails"; 6]);
}

#[test]
fn what_a_span_cant_hold_is_counted() {
    let mut discarded = 0;
    let (lines, report) = lines_of(bufferedwriter_tracing::json, |layer| {
        let layer = plain(layer).buffer_spans(BufferSpans::named("request").bytes(1000));
        let kept = layer.counts();
        with_default(registry().with(layer), || {
            let request = info_span!("request").entered();
            (0..4).for_each(|number| debug!(number, "small"));
            // It can never fit, and pushes nothing out.
            debug!(large = "x".repeat(2000), "large");
            assert!(catch_unwind(AssertUnwindSafe(|| debug!(value = ?Panics, "panics"))).is_err());
            error!("fails");
            drop(request);
            discarded = kept.discarded();
        });
    });
    assert_eq!((lines.len(), discarded), (5, 1));
    assert_eq!(report.refused.format.records, 1);
}

#[test]
fn a_span_that_began_while_the_layer_was_away_stands_between_two_that_change() {
    let lines = json_of(|layer| {
        let (slot, handle) = reload::Layer::new(Some(plain(layer)));
        let other = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
        with_default(registry().with(slot).with(other), || {
            let outer = info_span!("outer", late = tracing::field::Empty);
            let _outer = outer.clone().entered();
            let mut kept = None;
            handle.modify(|layer| kept = layer.take()).unwrap();
            let _away = info_span!("away").entered();
            handle.modify(|layer| *layer = kept).unwrap();
            let _inner = info_span!("inner").entered();
            info!("before");
            outer.record("late", 1);
            info!("after");
            handle.reload(None).unwrap();
        });
    });
    assert_eq!(
        lines[0]["spans"],
        json!([{ "name": "outer" }, { "name": "away" }, { "name": "inner" }])
    );
    assert_eq!(lines[1]["spans"][0], json!({ "late": 1, "name": "outer" }));
}

#[test]
fn a_spans_life_waits_with_its_events_and_its_level_is_no_error() {
    let (lines, _) = lines_of(bufferedwriter_tracing::logfmt, |layer| {
        let layer = layer.without_time().with_target(false).with_span_events(FmtSpan::FULL);
        let layer = layer.buffer_spans(BufferSpans::named("request"));
        let counts = layer.counts();
        with_default(registry().with(layer), || {
            error_span!("request", id = 1).in_scope(|| info!("well"));
            error_span!("request", id = 2).in_scope(|| error!("failed"));
            info_span!("other").in_scope(|| ());
        });
        assert_eq!(counts.discarded(), 5);
    });
    let request = ["new", "enter", "failed", "exit", "close"]
        .map(|message| format!("level=error message={message} span=request request.id=2"));
    let other = ["new", "enter", "exit", "close"]
        .map(|message| format!("level=info message={message} span=other"));
    assert_eq!(lines, [&request[..], &other].concat());
}

#[test]
fn each_moment_of_a_call_sites_spans_has_a_limit_of_its_own() {
    let (lines, _) = lines_of(bufferedwriter_tracing::logfmt, |layer| {
        let layer = plain(layer).with_span_events(FmtSpan::ACTIVE);
        let layer = layer.limit(1, Duration::from_secs(3600));
        let counts = layer.counts();
        with_default(registry().with(layer), || {
            for _ in 0..3 {
                info_span!("span").in_scope(|| ());
            }
        });
        assert_eq!(counts.suppressed(), 4);
    });
    assert_eq!(lines, ["message=enter span=span", "message=exit span=span"]);
}
