//! Does an event of a level make a flight recorder dump, at most so often, and hold up nobody?

use std::fs;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config, DumpOptions, Recorder};
use bufferedwriter_testkit::dir::{TestDir, paths_below};
use bufferedwriter_testkit::wait::{BOUND, holds_within};
use tracing::subscriber::with_default;
use tracing::{Level, debug, error, info, warn};
use tracing_subscriber::prelude::*;

const HOUR: Duration = Duration::from_secs(3600);

fn recorder(dir: &TestDir) -> BufferedWriter {
    let config = Config::default().path(dir.path()).temp(dir.path());
    BufferedWriter::new(config.recorder(Recorder::Last(1 << 20))).unwrap()
}

fn lines(dir: &TestDir) -> Vec<String> {
    let texts =
        paths_below(dir.path()).into_iter().filter(|path| path.extension() == Some("log".as_ref()));
    let texts: String = texts.map(|path| fs::read_to_string(path).unwrap()).collect();
    texts.lines().map(str::to_owned).collect()
}

fn until(what: &str, is_so: impl FnMut() -> bool) {
    assert!(holds_within(BOUND, is_so), "not within {BOUND:?}: {what}");
}

#[test]
fn an_error_brings_what_came_before_it() {
    let dir = TestDir::new();
    let recorder = recorder(&dir);
    let (layer, _guard) = bufferedwriter_tracing::json(&recorder);
    let layer = layer.dump_on(Level::ERROR, Duration::ZERO, DumpOptions::default()).unwrap();
    with_default(tracing_subscriber::registry().with(layer), || {
        (0..100).for_each(|number| debug!(number, "before"));
        warn!("not severe enough");
        assert_eq!(recorder.stats().files, 0);
        error!("wrong");
        until("it is dumped", || recorder.stats().written.records == 102);
        let lines = lines(&dir);
        assert!(lines.len() == 102 && lines[101].contains("wrong"), "{}", lines.len());
        // The next one brings what came since.
        info!("after");
        error!("again");
        until("it is dumped", || recorder.stats().written.records == 104);
    });
}

#[test]
fn errors_in_the_interval_lead_to_one_dump_more() {
    let dir = TestDir::new();
    let recorder = recorder(&dir);
    let (layer, _guard) = bufferedwriter_tracing::json(&recorder);
    let layer = layer.dump_on(Level::WARN, HOUR, DumpOptions::default()).unwrap();
    with_default(tracing_subscriber::registry().with(layer), || {
        error!("the first");
        until("it is dumped", || recorder.stats().written.records == 1);
        (0..1000).for_each(|number| warn!(number, "more"));
        let stats = recorder.stats();
        assert_eq!((stats.files, stats.pending.records), (1, 1000));
    });
    // The layer is gone, so the dump that was asked for is due.
    until("it is dumped", || recorder.stats().written.records == 1001);
    assert_eq!((recorder.stats().files, lines(&dir).len()), (2, 1001));
}

/// A dump of the last time goes back from the event, however long it is put off.
#[test]
fn a_dump_that_is_put_off_has_the_event() {
    let dir = TestDir::new();
    let config = Config::default().path(dir.path()).temp(dir.path()).size(256);
    let recorder = BufferedWriter::new(config.recorder(Recorder::Last(1 << 20))).unwrap();
    let (layer, _guard) = bufferedwriter_tracing::json(&recorder);
    let options = DumpOptions::default().last(Duration::ZERO);
    let layer = layer.dump_on(Level::ERROR, HOUR, options).unwrap();
    with_default(tracing_subscriber::registry().with(layer), || {
        error!("the first");
        until("it is dumped", || recorder.stats().written.records == 1);
        error!("the second");
        // The chunk of the event is full long before the dump is due.
        (0..10).for_each(|number| debug!(number, "after"));
    });
    until("it is dumped", || lines(&dir).len() > 1);
    assert!(lines(&dir).iter().any(|line| line.contains("the second")), "{:?}", lines(&dir));
}

#[test]
fn other_writers_and_closed_ones_go_on_without() {
    let dir = TestDir::new();
    let files = BufferedWriter::new(Config::default().path(dir.path()).temp(dir.path())).unwrap();
    let (layer, guard) = bufferedwriter_tracing::json(&files);
    let layer = layer.dump_on(Level::ERROR, Duration::ZERO, DumpOptions::default()).unwrap();
    with_default(tracing_subscriber::registry().with(layer), || {
        (0..10).for_each(|number| error!(number, "wrong"));
        assert_eq!(guard.close().unwrap().written.records, 10);
        error!("nobody takes this one");
    });
    assert_eq!(lines(&dir).len(), 10);
}
